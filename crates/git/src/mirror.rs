//! One mirror: what is known and fetched of one remote with one credential.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gix::ObjectId;
use tokio::time::Instant;

use crate::depot::{self, Depot};
use crate::error::Error;
use crate::greeting::Greeting;
use crate::object;
use crate::reference::missing_commit;
use crate::remote::Remote;
use crate::waiter::Waiter;
use crate::wire::{Conversation, RemoteRef, Wish};

/// Commits whose ancestry may be walked.
const HISTORY: usize = 5_000_000;

/// An answer of the server, with when it was asked.
pub(crate) struct Listing {
    pub(crate) asked: Instant,
    pub(crate) result: Result<Arc<Found>, Error>,
}

/// The references that were found.
pub(crate) struct Found {
    pub(crate) refs: Vec<RemoteRef>,
    /// The remote has no references at all.
    pub(crate) empty: bool,
}

pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Listing>>>;

/// One remote with one credential.
pub(crate) struct Mirror {
    dir: PathBuf,
    /// Tells directories of mirrors apart.
    home: String,
    object_limit: u64,
    greeting: Greeting,
    /// One fetch at a time; whoever waits finds the work done.
    pub(crate) fetching: Arc<tokio::sync::Mutex<()>>,
    depot: Mutex<Option<Arc<Depot>>>,
    pub(crate) listings: Mutex<HashMap<Vec<String>, Slot>>,
    used: Mutex<Instant>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// `left` is what an earlier process left of it.
    pub(crate) fn new(dir: PathBuf, home: String, object_limit: u64, left: Option<Depot>) -> Self {
        Self {
            dir,
            home,
            object_limit,
            greeting: Greeting::default(),
            fetching: Arc::default(),
            depot: Mutex::new(left.map(Arc::new)),
            listings: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    pub(crate) fn used(&self) -> Instant {
        *lock(&self.used)
    }

    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.depot).as_ref().map_or(0, |depot| depot.bytes())
    }

    /// The depot, if it holds all of `ids`.
    pub(crate) fn holding(&self, ids: &[ObjectId]) -> Option<Arc<Depot>> {
        let depot = lock(&self.depot).clone().filter(|depot| !depot.is_broken())?;
        ids.iter().all(|id| depot.contains(id)).then_some(depot)
    }

    fn open(&self) -> Result<Arc<Depot>, Error> {
        let mut slot = lock(&self.depot);
        if let Some(depot) = slot.as_ref().filter(|depot| !depot.is_worn()) {
            return Ok(depot.clone());
        }
        let depot = Arc::new(Depot::new(&self.dir, &self.home, self.object_limit)?);
        if let Some(worn) = slot.replace(depot.clone()) {
            worn.give_up();
        }
        Ok(depot)
    }

    /// Has everything removed once nobody reads it any more.
    pub(crate) fn give_up(&self) {
        if let Some(depot) = lock(&self.depot).take() {
            depot.give_up();
        }
    }

    /// Talks to the server. If it no longer is what it was when it greeted us, it is greeted again.
    fn converse<T>(
        &self,
        remote: &Remote,
        client: &reqwest::Client,
        waiter: &Waiter,
        talk: impl Fn(Conversation) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let known = self.greeting.recall().is_some();
        let open = || Conversation::open(remote, client, &self.greeting, waiter.clone());
        match open().and_then(&talk) {
            Err(Error::Protocol { .. } | Error::Network { .. } | Error::RepositoryNotFound { .. })
                if known =>
            {
                self.greeting.forget();
                waiter.forgive();
                open().and_then(&talk)
            }
            other => other,
        }
    }

    /// Lists references. Blocks.
    pub(crate) fn list(
        &self,
        remote: &Remote,
        client: &reqwest::Client,
        prefixes: &[String],
        waiter: &Waiter,
    ) -> Result<Found, Error> {
        self.converse(remote, client, waiter, |mut conversation| {
            let refs = conversation.list(prefixes)?;
            let empty = refs.is_empty() && (prefixes.is_empty() || conversation.list(&[])?.is_empty());
            Ok(Found { refs, empty })
        })
    }

    /// Brings `want` (a commit, or a tag object that leads to `commit`) into the depot. Blocks;
    /// the caller holds `fetching`.
    pub(crate) fn fetch(
        &self,
        remote: &Remote,
        client: &reqwest::Client,
        target: &Target,
        waiter: &Waiter,
    ) -> Result<Arc<Depot>, Error> {
        let mut depot = self.open()?;
        if let Some(head) = target.within {
            self.converse(remote, client, waiter, |conversation| {
                self.prove(conversation, target.commit, head, waiter)
            })?;
        }
        let offered = target.offered || target.within.is_some() || depot.may_show(&target.commit);
        if offered && depot.contains(&target.want) && depot.contains(&target.commit) {
            depot.add_tip(target.commit);
            return Ok(depot);
        }
        let haves = depot.tips();
        let bases = !haves.is_empty();
        let wish = Wish { wants: vec![target.want], haves, shallow: true, commits_only: false };
        let ask = |wish: &Wish| {
            self.converse(remote, client, waiter, |conversation| conversation.fetch(wish, &depot))
        };
        let fetched = match ask(&wish) {
            // Some servers cannot build on what they are told we have.
            Err(Error::Protocol { .. }) if bases => {
                waiter.forgive();
                ask(&Wish { haves: Vec::new(), ..wish })
            }
            other => other,
        };
        match fetched {
            Ok(_) => {}
            Err(Error::NotOffered { .. }) if target.bare => {
                waiter.forgive();
                // What an earlier process was shown proves nothing now.
                if depot.is_adopted() {
                    self.give_up();
                    depot = self.open()?;
                }
                self.converse(remote, client, waiter, |talk| self.fetch_everything(talk, &depot))?;
            }
            Err(error) => return Err(error),
        }
        if !depot.contains(&target.commit) {
            return Err(missing_commit(&target.commit.to_string(), &remote.shown()));
        }
        depot.add_tip(target.commit);
        Ok(depot)
    }

    /// For servers that hand out nothing but what their references name: all of it.
    fn fetch_everything(&self, mut conversation: Conversation, depot: &Depot) -> Result<(), Error> {
        let refs = conversation.list(&["refs/heads/".to_owned(), "refs/tags/".to_owned()])?;
        let mut wants: Vec<ObjectId> = refs.iter().map(|found| found.oid).collect();
        wants.sort_unstable();
        wants.dedup();
        if wants.is_empty() {
            return Err(Error::EmptyRemote);
        }
        conversation.fetch(&Wish { wants, ..Wish::default() }, depot)?;
        Ok(())
    }

    /// Makes sure that a commit lies on a branch, from the branch's history without trees.
    fn prove(
        &self,
        conversation: Conversation,
        commit: ObjectId,
        head: ObjectId,
        waiter: &Waiter,
    ) -> Result<(), Error> {
        // Without a tip, it is gone when it is no longer needed.
        let history = Depot::new(&self.dir, &self.home, self.object_limit)?;
        let commits_only = conversation.can_filter();
        let wish = Wish { wants: vec![head], commits_only, ..Wish::default() };
        conversation.fetch(&wish, &history)?;
        let handle = history.handle();
        let (mut seen, mut stack) = (std::collections::HashSet::new(), vec![head]);
        while let Some(id) = stack.pop() {
            if id == commit {
                return Ok(());
            }
            if waiter.interrupt().load(std::sync::atomic::Ordering::Relaxed) || seen.len() > HISTORY {
                break;
            }
            if !seen.insert(id) {
                continue;
            }
            let Ok((_, raw)) = history.find(&handle, &id, depot::STRUCTURE) else { continue };
            stack.extend(object::links(&raw).map(|links| links.parents).unwrap_or_default());
        }
        Err(waiter.failure().unwrap_or_else(|| missing_commit(&commit.to_string(), &waiter.url())))
    }
}

/// What a fetch is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) want: ObjectId,
    pub(crate) commit: ObjectId,
    /// The commit must be an ancestor of this one.
    pub(crate) within: Option<ObjectId>,
    /// No reference names the commit.
    pub(crate) bare: bool,
    /// The server has just offered it.
    pub(crate) offered: bool,
}
