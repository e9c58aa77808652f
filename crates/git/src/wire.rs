//! One conversation with a server, on gix's protocol implementation.
//!
//! One round is enough: the haves are the few tips that the mirror holds completely, and `done`
//! follows at once.

use std::io;

use gix::ObjectId;
use gix::progress::Discard;
use gix::protocol::fetch::{Arguments, Response};
use gix::protocol::handshake::Ref;
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::blocking_io::http;
use gix::protocol::transport::{Protocol, Service};
use gix::protocol::{Command, Handshake, LsRefsCommand};

use crate::depot::Depot;
use crate::error::Error;
use crate::greeting::Greeting;
use crate::http::HttpSession;
use crate::limits::Bound;
use crate::pack::PackError;
use crate::remote::Remote;
use crate::waiter::Waiter;

/// A reference on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteRef {
    pub(crate) name: String,
    /// What the reference names: a commit or a tag object.
    pub(crate) oid: ObjectId,
    /// What the tag object leads to.
    pub(crate) peeled: Option<ObjectId>,
}

impl RemoteRef {
    pub(crate) fn commit(&self) -> ObjectId {
        self.peeled.unwrap_or(self.oid)
    }
}

/// One wish.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) wants: Vec<ObjectId>,
    /// Tips we hold with their whole trees, but without history.
    pub(crate) haves: Vec<ObjectId>,
    /// No history, only the wanted commits.
    pub(crate) shallow: bool,
    /// Commits only, where the server can leave their trees out.
    pub(crate) commits_only: bool,
}

/// A server that has greeted us.
pub(crate) struct Conversation {
    transport: Box<dyn Transport>,
    handshake: Handshake,
    waiter: Waiter,
}

impl Conversation {
    /// Connects. Blocks.
    pub(crate) fn open(
        remote: &Remote,
        client: &reqwest::Client,
        greeting: &Greeting,
        waiter: Waiter,
    ) -> Result<Self, Error> {
        let mut transport: Box<dyn Transport> = if remote.scheme() == "ssh" {
            Box::new(crate::ssh::open(remote, waiter.clone())?)
        } else {
            let session = HttpSession::new(remote, client.clone(), greeting.clone(), waiter.clone())?;
            let url = gix::url::parse(gix::bstr::BStr::new(remote.url.as_str()))
                .map_err(|_| Error::Configuration("address is not understood".to_owned()))?;
            Box::new(http::Transport::new_http(session, url, Protocol::V2, false))
        };
        // Credentials are in the transport already; nobody is asked for more.
        let nobody = |_| Ok(None);
        let handshake =
            gix::protocol::handshake(&mut *transport, Service::UploadPack, nobody, Vec::new(), &mut Discard)
                .map_err(|error| failure(&waiter, &error.to_string(), &error))?;
        let other = handshake.capabilities.capability("object-format");
        let other = other.and_then(|capability| capability.value().map(|format| format != "sha1"));
        if other.unwrap_or(false) {
            let detail = "only SHA-1 repositories are supported".to_owned();
            return Err(Error::Protocol { url: waiter.url(), detail });
        }
        Ok(Self { transport, handshake, waiter })
    }

    /// The references whose names begin with one of `prefixes`; all when there are none.
    pub(crate) fn list(&mut self, prefixes: &[String]) -> Result<Vec<RemoteRef>, Error> {
        let refs = match &self.handshake.refs {
            Some(refs) => refs.clone(),
            None => {
                let wanted = (!prefixes.is_empty()).then(|| {
                    let mut wanted = RefPrefixes::new();
                    wanted.extend(prefixes.iter().map(|prefix| prefix.as_str().into()));
                    wanted
                });
                LsRefsCommand::new(wanted, &self.handshake.capabilities, agent())
                    .invoke_blocking(&mut *self.transport, &mut Discard, false)
                    .map_err(|error| failure(&self.waiter, &error.to_string(), &error))?
            }
        };
        // Prefixes are a hint to the server, no promise by it.
        let wanted =
            |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
        let refs = refs.into_iter().filter_map(|reference| {
            let (name, oid, peeled) = match reference {
                Ref::Peeled { full_ref_name, tag, object } => (full_ref_name, tag, Some(object)),
                Ref::Direct { full_ref_name, object } => (full_ref_name, object, None),
                Ref::Symbolic { full_ref_name, tag, object, .. } => match tag {
                    Some(tag) => (full_ref_name, tag, Some(object)),
                    None => (full_ref_name, object, None),
                },
                Ref::Unborn { .. } => return None,
            };
            let name = String::from_utf8(name.into()).ok()?;
            wanted(&name).then_some(RemoteRef { name, oid, peeled })
        });
        Ok(refs.collect())
    }

    /// True if commits can be asked for without their trees.
    pub(crate) fn can_filter(&self) -> bool {
        self.features().iter().any(|(name, _)| *name == "filter")
    }

    fn features(&self) -> Vec<gix::protocol::command::Feature> {
        let version = self.handshake.server_protocol_version;
        let mut features = Command::Fetch.default_features(version, &self.handshake.capabilities);
        // `multi_ack` alone has answers that gix does not read, and with one round nobody needs it.
        features.retain(|(name, _)| !matches!(*name, "multi_ack" | "no-done"));
        features.push(agent());
        features
    }

    /// Fetches a pack into a depot. Blocks; answers how many objects came.
    pub(crate) fn fetch(mut self, wish: &Wish, depot: &Depot) -> Result<usize, Error> {
        let version = self.handshake.server_protocol_version;
        let mut arguments = Arguments::new(version, self.features(), false);
        for want in &wish.wants {
            arguments.want(want);
        }
        if wish.shallow && arguments.can_use_shallow() {
            for have in &wish.haves {
                arguments.shallow(have);
            }
            arguments.deepen(1);
        }
        if wish.commits_only && arguments.can_use_filter() {
            arguments.filter("tree:0");
        }
        for have in &wish.haves {
            arguments.have(have);
        }
        let waiter = self.waiter.clone();
        let fail = |error: &gix::error::Error| failure(&waiter, &error.to_string(), error);
        let mut reader = arguments
            .send(&mut self.transport, true)
            .map_err(|error| failure(&waiter, &error.to_string(), &error))?;
        let response =
            Response::from_line_reader(version, &mut reader, true, false).map_err(|error| fail(&error))?;
        if !response.has_pack() {
            return Err(Error::Protocol { url: waiter.url(), detail: "it sent no pack".to_owned() });
        }
        // The old protocol has complaints in the pack's place.
        if let Some(Ok(Ok(line))) = reader.peek_data_line()
            && let Some(words) = line.strip_prefix(b"ERR ")
        {
            return Err(refusal(&waiter.url(), &String::from_utf8_lossy(words)));
        }
        let listener = waiter.clone();
        reader.set_progress_handler(Some(Box::new(move |is_error, words: &[u8]| {
            if is_error {
                let _ = listener.fail(refusal(&listener.url(), &String::from_utf8_lossy(words)));
            }
            std::ops::ControlFlow::Continue(())
        })));
        let taken = depot.take(&mut reader, waiter.interrupt());
        if taken.is_ok() {
            // What follows the pack is a flush, and then the connection is free for the next one.
            let _ = io::copy(&mut reader, &mut io::sink());
        }
        taken.map_err(|error| waiter.failure().unwrap_or_else(|| untaken(&waiter, error)))
    }
}

/// Why a pack was not taken, where nothing that happened before explains it.
fn untaken(waiter: &Waiter, error: PackError) -> Error {
    let url = waiter.url();
    match error {
        PackError::TooLarge(limit) => Error::Limit { url, bound: Bound::File(limit) },
        PackError::Source(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Network { url, detail: "the connection was closed early".to_owned() }
        }
        PackError::Source(error) => Error::Network { url, detail: clip(&error.to_string()) },
        PackError::Damaged(_) | PackError::Base(_) => Error::Protocol { url, detail: error.to_string() },
        PackError::Interrupted => Error::Cancelled,
        PackError::Io(error) => Error::Storage(error.to_string()),
    }
}

fn agent() -> gix::protocol::command::Feature {
    ("agent", Some(gix::protocol::agent(concat!("sluice-", env!("CARGO_PKG_VERSION")))))
}

/// Our own failure if there was one, else the server's words.
fn failure(waiter: &Waiter, text: &str, error: &dyn std::fmt::Debug) -> Error {
    if let Some(error) = waiter.failure() {
        return error;
    }
    // gix tells causes apart in its debug form only.
    refusal(&waiter.url(), &format!("{text}: {error:?}"))
}

/// The server's own words, sorted as far as they are known.
fn refusal(url: &str, words: &str) -> Error {
    let (url, lower) = (url.to_owned(), words.to_ascii_lowercase());
    let has = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
    if has(&["not our ref", "unadvertised object", "bad object"]) {
        Error::NotOffered { url }
    } else if has(&["not found", "does not exist", "not exported"]) {
        Error::RepositoryNotFound { url }
    } else if has(&["denied", "authenticat", "authoriz"]) {
        Error::Auth { url, detail: format!(": {}", clip(words)) }
    } else if has(&["unexpected eof", "unexpected end", "broken pipe", "connection reset", "early"]) {
        Error::Network { url, detail: "the connection was closed early".to_owned() }
    } else {
        Error::Protocol { url, detail: clip(words) }
    }
}

/// An error with its causes on one line.
pub(crate) fn describe(error: &gix::error::Error) -> String {
    clip(&format!("{error:?}").replace('\n', " "))
}

/// A server's words, short enough for a condition.
pub(crate) fn clip(words: &str) -> String {
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
