//! What a server says before it is asked anything: its capabilities, the same every time. Whoever
//! has heard it need not ask for it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

/// How long a greeting is believed; servers are upgraded now and then.
const BELIEVED: Duration = Duration::from_secs(3600);
/// Greetings of the old protocol list all references, which are not the same every time.
const NEW_PROTOCOL: &[u8] = b"version 2\n";
const FLUSH: &[u8] = b"0000";
const LONGEST: usize = 64 << 10;

/// One server's greeting, shared by all conversations with it.
#[derive(Clone, Default)]
pub(crate) struct Greeting(Arc<Mutex<Option<Heard>>>);

struct Heard {
    base: Url,
    text: Bytes,
    at: Instant,
}

impl Greeting {
    /// The repository's address after redirects, and the words.
    pub(crate) fn recall(&self) -> Option<(Url, Bytes)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heard.as_ref().filter(|heard| heard.at.elapsed() < BELIEVED)?;
        Some((heard.base.clone(), heard.text.clone()))
    }

    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Listens to a greeting as it arrives.
pub(crate) struct Listener {
    greeting: Greeting,
    base: Url,
    text: Vec<u8>,
}

impl Listener {
    pub(crate) const fn new(greeting: Greeting, base: Url) -> Self {
        Self { greeting, base, text: Vec::new() }
    }

    /// Takes the next words; `false` once there is nothing more to listen to.
    pub(crate) fn hear(&mut self, words: &[u8]) -> bool {
        self.text.extend_from_slice(words);
        let new = self.text.windows(NEW_PROTOCOL.len()).take(64).any(|window| window == NEW_PROTOCOL);
        if new && self.text.ends_with(FLUSH) {
            let text = std::mem::take(&mut self.text).into();
            let heard = Heard { base: self.base.clone(), text, at: Instant::now() };
            *self.greeting.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
            return false;
        }
        self.text.len() < LONGEST && (new || self.text.len() < 128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(parts: &[&[u8]]) -> Option<Bytes> {
        let greeting = Greeting::default();
        let mut listener = Listener::new(greeting.clone(), Url::parse("http://host/app.git").unwrap());
        for part in parts {
            if !listener.hear(part) {
                break;
            }
        }
        greeting.recall().map(|(_, text)| text)
    }

    #[test]
    fn only_a_whole_greeting_of_the_new_protocol_is_kept() {
        let (service, version) = (&b"001e# service=git-upload-pack\n0000"[..], &b"000eversion 2\n"[..]);
        let whole: Vec<u8> = [service, version, b"000dls-refs\n0000"].concat();
        assert_eq!(heard(&[&whole]).as_deref(), Some(&whole[..]));
        assert_eq!(heard(&[service, version, b"000dls-refs\n", b"0000"]).as_deref(), Some(&whole[..]));
        assert_eq!(heard(&[service, version, b"000dls-refs\n"]), None);
        let old = [service, &b"003f".repeat(50)[..], b"0000"].concat();
        assert_eq!(heard(&[&old]), None);
    }
}
