//! How watches that broke off are taken up again: ever less often while the server refuses, at once when it answers.
//!
//! Asks no server itself, and never ends a watch. Whoever watches may use it.

use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt, unfold};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{self, DefaultBackoff, Event};

/// Pauses after an error, longer each time until something arrives. kube's own combinator takes the beginning of
/// another try for success, and would ask for what is refused once a second for ever.
pub fn patient<K: Send + 'static>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
) -> BoxStream<'static, watcher::Result<Event<K>>> {
    let state = (Box::pin(events), DefaultBackoff::default(), Duration::ZERO);
    let paced = unfold(state, |(mut events, mut backoff, pause)| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let event = events.next().await?;
        let pause = match &event {
            Err(_) => backoff.next().unwrap_or_default(),
            Ok(Event::Init) => Duration::ZERO,
            Ok(_) => {
                backoff.reset();
                Duration::ZERO
            }
        };
        Some((event, (events, backoff, pause)))
    });
    paced.boxed()
}

/// A pause that doubles, from the shortest to the longest.
#[derive(Debug)]
pub struct Pause {
    next: Duration,
    bounds: [Duration; 2],
}

impl Pause {
    /// The first pause is the shortest.
    #[must_use]
    pub const fn between(shortest: Duration, longest: Duration) -> Self {
        Self { next: shortest, bounds: [shortest, longest] }
    }

    /// Begins anew with the shortest.
    pub const fn reset(&mut self) {
        self.next = self.bounds[0];
    }

    /// Waits; the next pause is longer. To cancel it counts as having waited.
    pub async fn pass(&mut self) {
        let pause = self.next;
        self.next = (pause * 2).min(self.bounds[1]);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::Error;
    use kube::core::Status;
    use tokio::time::Instant;

    use super::*;

    fn refused() -> watcher::Result<Event<()>> {
        Err(watcher::Error::InitialListFailed(Error::Api(
            Status::failure("no", "Forbidden").with_code(403).boxed(),
        )))
    }

    /// How long `tries` take that are all refused.
    async fn spent(tries: usize) -> Duration {
        let begun = Instant::now();
        let events = stream::iter((0..tries).flat_map(|_| [Ok(Event::Init), refused()]));
        assert_eq!(patient(events).count().await, 2 * tries);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_refused_is_asked_for_ever_less_often() {
        // 0.8, 1.6 and 3.2 s, each of them up to doubled by chance.
        let most = 2 * Duration::from_millis(800 + 1600 + 3200);
        assert!(spent(3).await <= most + Duration::from_millis(10));
        assert!(spent(30).await > Duration::from_secs(600));
    }

    #[tokio::test(start_paused = true)]
    async fn what_arrives_ends_the_pauses() {
        let begun = Instant::now();
        let events = (0..30).flat_map(|_| [Ok(Event::Init), Ok(Event::InitDone), refused()]);
        patient(stream::iter(events)).collect::<Vec<_>>().await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_their_bound() {
        let mut pause = Pause::between(Duration::from_secs(1), Duration::from_secs(60));
        let begun = Instant::now();
        for _ in 0..8 {
            pause.pass().await;
        }
        assert_eq!(begun.elapsed().as_secs(), 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60);
        pause.reset();
        pause.pass().await;
        assert_eq!(begun.elapsed().as_secs(), 184);
    }
}
