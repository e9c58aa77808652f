use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::ObjectId;
use sluice_range::Range;
use sluice_types::{Proxies, RelPath};
use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkout::{Checkout, FetchOptions, TagInfo};
use crate::depot::Depot;
use crate::error::Error;
use crate::leftovers::Leftovers;
use crate::limits::Limits;
use crate::mirror::{Found, Listing, Mirror, Slot, Target, lock};
use crate::object;
use crate::reference::{Reference, Resolved, commit_id, missing_commit};
use crate::remote::Remote;
use crate::submodule;
use crate::waiter::Waiter;
use crate::walk::{Branches, Walk};

/// References of one listing may take so many bytes.
const LISTING_BYTES: u64 = 64 << 20;
/// Connection pools that are kept.
const CLIENTS: usize = 64;
/// How often is looked for what lies idle.
const SWEEP: Duration = Duration::from_secs(60);

/// The bare mirrors under one directory, one per address and credential.
///
/// Cheap to clone. Passes on the same remote share one listing and one fetch. What an earlier process
/// fetched is built upon.
#[derive(Clone)]
pub struct Mirrors(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    limits: Limits,
    proxies: Proxies,
    mirrors: Mutex<HashMap<[u8; 32], Arc<Mirror>>>,
    leftovers: Leftovers,
    swept: Mutex<Instant>,
    clients: Mutex<HashMap<[u8; 32], (reqwest::Client, Instant)>>,
    listers: Arc<Semaphore>,
    fetchers: Arc<Semaphore>,
}

impl std::fmt::Debug for Mirrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirrors").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl Mirrors {
    /// Takes the directory over, with what an earlier process left there. Remotes over http(s) without a proxy of
    /// their own are reached through `proxies`.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn new(dir: PathBuf, limits: Limits, proxies: Proxies) -> Result<Self, Error> {
        std::fs::create_dir_all(&dir).map_err(|error| Error::Storage(error.to_string()))?;
        let leftovers = Leftovers::find(&dir)?;
        leftovers.sweep(limits.idle, limits.disk_bytes);
        // reqwest asks for the process-wide provider; whoever came first decides.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (listers, fetchers) = (limits.workers.max(1) * 4, limits.workers.max(1));
        Ok(Self(Arc::new(Inner {
            dir,
            limits,
            proxies,
            mirrors: Mutex::default(),
            leftovers,
            swept: Mutex::new(Instant::now()),
            clients: Mutex::default(),
            listers: Arc::new(Semaphore::new(listers)),
            fetchers: Arc::new(Semaphore::new(fetchers)),
        })))
    }

    /// Asks the remote where a reference stands. Lists references, fetches nothing (except the
    /// commits of tags that are equally new in a range).
    ///
    /// # Errors
    /// See [`Error`]. Tripping `cancel` ends it with [`Error::Cancelled`].
    pub async fn resolve(
        &self,
        remote: &Remote,
        reference: &Reference,
        cancel: &CancellationToken,
    ) -> Result<Resolved, Error> {
        let url = remote.shown();
        if let Reference::Semver(range) = reference {
            return self.resolve_range(remote, reference, range, cancel).await;
        }
        let name = match (reference.full_name()?, reference) {
            (Some(name), _) => name,
            (None, Reference::Commit { hash, .. }) => return Resolved::bare(hash, &url),
            (None, _) => return Err(Error::InvalidReference("reference has no name".to_owned())),
        };
        let found = self.list(remote, vec![name.clone()], cancel).await?;
        match found.refs.iter().find(|found| found.name == name) {
            Some(found) => reference.settle(found, &url),
            None => Err(reference.missing(&name, found.empty, &url)),
        }
    }

    async fn resolve_range(
        &self,
        remote: &Remote,
        reference: &Reference,
        range: &str,
        cancel: &CancellationToken,
    ) -> Result<Resolved, Error> {
        let url = remote.shown();
        let range = Range::parse(range).map_err(|error| Error::Range(error.to_string()))?;
        let found = self.list(remote, vec!["refs/tags/".to_owned()], cancel).await?;
        let named = found.refs.iter().filter_map(|tag| Some((tag.name.strip_prefix("refs/tags/")?, tag)));
        let named: HashMap<&str, _> = named.collect();
        let mut best: Option<(i64, Resolved)> = None;
        let newest = sluice_range::latest(named.keys().copied(), &range);
        let alone = newest.len() == 1;
        for name in newest {
            let Some(tag) = named.get(name) else { continue };
            let resolved = reference.settle(tag, &url)?;
            if alone {
                return Ok(resolved);
            }
            // Equally new: the later commit wins.
            let (_, depot) = self.bring(remote, &resolved, cancel).await?;
            let (_, raw) = depot.read(&tag.commit())?;
            let seconds = object::seconds(&raw);
            if best.as_ref().is_none_or(|(known, _)| *known < seconds) {
                best = Some((seconds, resolved));
            }
        }
        match best {
            Some((_, resolved)) => Ok(resolved),
            None => Err(reference.missing("refs/tags/", found.empty, &url)),
        }
    }

    /// Brings a resolved state into the mirror, unless it is there already, and opens it.
    ///
    /// # Errors
    /// See [`Error`]. Tripping `cancel` ends it with [`Error::Cancelled`].
    pub async fn fetch(
        &self,
        remote: &Remote,
        resolved: &Resolved,
        options: &FetchOptions,
        cancel: &CancellationToken,
    ) -> Result<Checkout, Error> {
        let limits = &self.0.limits;
        let (commit, depot) = self.bring(remote, resolved, cancel).await?;
        let (_, raw) = depot.read(&commit)?;
        let malformed = || Error::Protocol { url: remote.shown(), detail: "malformed commit".to_owned() };
        let info = object::commit_info(commit, &raw).ok_or_else(malformed)?;
        let tag = match (resolved.tag_name(), resolved.tag.as_deref().and_then(commit_id)) {
            (Some(name), Some(id)) => {
                let (_, raw) = depot.read(&id)?;
                // The server said so; the signed object itself must agree.
                if object::peel(&depot, id)? != Some(commit) {
                    let detail = format!("tag '{name}' does not lead to commit '{commit}'");
                    return Err(Error::Protocol { url: remote.shown(), detail });
                }
                Some(object::tag_info(name, id, &raw))
            }
            (Some(name), None) => Some(TagInfo { name: name.to_owned(), ..TagInfo::default() }),
            (None, _) => None,
        };
        let mut walk = Walk::new(&options.sparse, limits);
        let recurse = options.recurse_submodules;
        let root =
            Place { remote: remote.clone(), depot, commit, prefix: RelPath::root(), depth: 0, recurse };
        let (mut places, mut mounted) = (vec![root], 0);
        while let Some(place) = places.pop() {
            let nested;
            (walk, nested) = self.walk(walk, &place).await?;
            mounted += nested.len();
            if mounted > submodule::COUNT {
                let why = format!("there are more than {} submodules", submodule::COUNT);
                return Err(Error::InvalidSubmodule(why));
            }
            for Nested { remote, commit, path } in nested {
                let wrap =
                    |source| Error::Submodule { path: path.as_str().to_owned(), source: Box::new(source) };
                let resolved = Resolved::bare(&commit.to_string(), &remote.shown())?;
                let (commit, depot) = self.bring(&remote, &resolved, cancel).await.map_err(wrap)?;
                places.push(Place { remote, depot, commit, prefix: path, depth: place.depth + 1, recurse });
            }
        }
        let (files, skipped) = walk.finish()?;
        Ok(Checkout { commit: info, tag, files: Arc::new(files), skipped })
    }

    fn mirror(&self, remote: &Remote) -> Arc<Mirror> {
        let mut mirrors = lock(&self.0.mirrors);
        let make = || {
            let (home, limit) = (remote.home(), self.0.limits.file_bytes);
            let left = self.0.leftovers.take(&home, limit);
            Arc::new(Mirror::new(self.0.dir.clone(), home, limit, left))
        };
        let mirror = mirrors.entry(remote.key()).or_insert_with(make).clone();
        mirror.touch();
        mirror
    }

    fn client(&self, remote: &Remote) -> Result<reqwest::Client, Error> {
        let mut key = remote.tls.key();
        let proxy = remote.proxy.as_ref().map(crate::remote::Proxy::key).unwrap_or_default();
        key.iter_mut().zip(proxy).for_each(|(a, b)| *a ^= b.rotate_left(1));
        let plain = remote.scheme() == "http";
        key[0] ^= u8::from(plain);
        let mut clients = lock(&self.0.clients);
        if let Some((client, used)) = clients.get_mut(&key) {
            *used = Instant::now();
            return Ok(client.clone());
        }
        if clients.len() >= CLIENTS
            && let Some(oldest) = clients.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key)
        {
            clients.remove(&oldest);
        }
        let client = crate::http::client(&remote.tls, remote.proxy.as_ref(), &self.0.proxies, plain)?;
        clients.insert(key, (client.clone(), Instant::now()));
        Ok(client)
    }

    /// Lists references, together with everyone who asks for the same at the same time. Whoever
    /// asks after the question was sent gets another answer: it may be why he asks.
    async fn list(
        &self,
        remote: &Remote,
        prefixes: Vec<String>,
        cancel: &CancellationToken,
    ) -> Result<Arc<Found>, Error> {
        let (mirror, came) = (self.mirror(remote), Instant::now());
        let slot: Slot = lock(&mirror.listings).entry(prefixes.clone()).or_default().clone();
        let mut listing = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            listing = slot.lock() => listing,
        };
        if let Some(shared) = listing.as_ref().filter(|listing| listing.asked >= came) {
            return shared.result.clone();
        }
        let (client, asked) = (self.client(remote)?, Instant::now());
        let (owned, wanted, listed) = (remote.clone(), prefixes.clone(), mirror.clone());
        let job = move |waiter: Waiter| listed.list(&owned, &client, &wanted, &waiter).map(Arc::new);
        let result = self.run(&self.0.listers, remote, LISTING_BYTES, cancel, None, job).await;
        if !matches!(result, Err(Error::Cancelled)) {
            *listing = Some(Listing { asked, result: result.clone() });
        }
        drop(listing);
        self.sweep();
        let mut listings = lock(&mirror.listings);
        // Only the map and we know the slot: nobody waits for it.
        if Arc::strong_count(&slot) == 2 {
            listings.remove(&prefixes);
        }
        result
    }

    /// The depot that holds a resolved state, and the commit in it.
    async fn bring(
        &self,
        remote: &Remote,
        resolved: &Resolved,
        cancel: &CancellationToken,
    ) -> Result<(ObjectId, Arc<Depot>), Error> {
        let commit =
            commit_id(&resolved.hash).ok_or_else(|| missing_commit(&resolved.hash, &remote.shown()))?;
        let want = resolved.tag.as_deref().and_then(commit_id).unwrap_or(commit);
        let (within, offered) = (resolved.within, resolved.reference.is_some());
        let mirror = self.mirror(remote);
        let at_hand = || {
            let depot = within.is_none().then(|| mirror.holding(&[want, commit])).flatten();
            depot.filter(|depot| offered || depot.may_show(&commit))
        };
        if let Some(depot) = at_hand() {
            return Ok((commit, depot));
        }
        let guard = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            guard = mirror.fetching.clone().lock_owned() => guard,
        };
        if let Some(depot) = at_hand() {
            return Ok((commit, depot));
        }
        let (client, owned, fetched) = (self.client(remote)?, remote.clone(), mirror.clone());
        let target = Target { want, commit, within, bare: !offered, offered };
        let job = move |waiter: Waiter| fetched.fetch(&owned, &client, &target, &waiter);
        let limit = self.0.limits.pack_bytes;
        let depot = self.run(&self.0.fetchers, remote, limit, cancel, Some(guard), job).await?;
        self.evict(Some(&mirror));
        Ok((commit, depot))
    }

    /// Runs blocking work in a bounded pool, until the remote's timeout. `guard` is held for as
    /// long as the work really takes, even where nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        pool: &Arc<Semaphore>,
        remote: &Remote,
        limit: u64,
        cancel: &CancellationToken,
        guard: Option<OwnedMutexGuard<()>>,
        job: impl FnOnce(Waiter) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            permit = pool.clone().acquire_owned() => permit,
        };
        let cancel = cancel.child_token();
        let _on_drop = cancel.clone().drop_guard();
        let deadline = Instant::now() + remote.timeout;
        let waiter = Waiter::new(Handle::current(), deadline, cancel, remote.shown(), limit);
        let watch = tokio::spawn(waiter.clone().watch());
        let work = tokio::task::spawn_blocking(move || {
            let _held = (permit, guard);
            job(waiter)
        });
        let result = work.await;
        watch.abort();
        result.unwrap_or_else(|_| Err(Error::Storage("a git operation broke down".to_owned())))
    }

    /// Lets go of what lies idle, now and then.
    fn sweep(&self) {
        let mut swept = lock(&self.0.swept);
        if swept.elapsed() > SWEEP {
            *swept = Instant::now();
            drop(swept);
            self.evict(None);
        }
    }

    /// Lets go of mirrors that lie idle or take too much room. What a snapshot still reads stays
    /// on disk until it is dropped.
    fn evict(&self, current: Option<&Arc<Mirror>>) {
        let limits = &self.0.limits;
        let spared = |mirror: &Arc<Mirror>| current.is_some_and(|current| Arc::ptr_eq(mirror, current));
        let mut mirrors = lock(&self.0.mirrors);
        let mut gone = Vec::new();
        for (key, mirror) in mirrors.iter() {
            if !spared(mirror) && mirror.used().elapsed() >= limits.idle {
                gone.push(*key);
            }
        }
        let mut size: u64 = mirrors.values().map(|mirror| mirror.bytes()).sum();
        self.0.leftovers.sweep(limits.idle, limits.disk_bytes.saturating_sub(size));
        if size > limits.disk_bytes {
            let mut order: Vec<_> = mirrors.iter().filter(|(_, mirror)| !spared(mirror)).collect();
            order.sort_unstable_by_key(|(_, mirror)| mirror.used());
            for (key, mirror) in order {
                if size <= limits.disk_bytes {
                    break;
                }
                size = size.saturating_sub(mirror.bytes());
                gone.push(*key);
            }
        }
        for key in gone {
            if let Some(mirror) = mirrors.remove(&key) {
                mirror.give_up();
            }
        }
    }

    async fn walk(&self, mut walk: Walk, place: &Place) -> Result<(Walk, Vec<Nested>), Error> {
        let permit = self.0.listers.clone().acquire_owned().await;
        let place = place.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _held = permit;
            let branches =
                walk.add(&place.depot, place.commit, &place.prefix).map_err(|error| match error {
                    Error::Limit { bound, .. } => Error::Limit { url: place.remote.shown(), bound },
                    error => error,
                })?;
            let nested = place.nested(branches, &mut walk)?;
            Ok((walk, nested))
        });
        work.await.unwrap_or_else(|_| Err(Error::Storage("a git operation broke down".to_owned())))
    }
}

/// A repository and where it is mounted.
#[derive(Clone)]
struct Place {
    remote: Remote,
    depot: Arc<Depot>,
    commit: ObjectId,
    prefix: RelPath,
    depth: usize,
    /// Whether submodules are mounted, too.
    recurse: bool,
}

/// A submodule that is to be mounted.
struct Nested {
    remote: Remote,
    commit: ObjectId,
    path: RelPath,
}

impl Place {
    fn nested(&self, branches: Branches, walk: &mut Walk) -> Result<Vec<Nested>, Error> {
        let links = branches.gitlinks;
        if links.is_empty() || !self.recurse {
            walk.skipped.submodules += links.len();
            return Ok(Vec::new());
        }
        if self.depth >= submodule::DEPTH {
            let why = format!("submodules nest deeper than {} levels", submodule::DEPTH);
            return Err(Error::InvalidSubmodule(why));
        }
        let addresses = match branches.gitmodules {
            Some(id) => {
                let (_, text) = self.depot.find(&self.depot.handle(), &id, submodule::TEXT)?;
                submodule::addresses(&text)?
            }
            None => BTreeMap::new(),
        };
        let mut nested = Vec::new();
        for link in links {
            let path = link.path.relative_to(&self.prefix);
            match addresses.get(&path) {
                Some(address) => {
                    let remote = submodule::remote(&self.remote, &path, address)?;
                    nested.push(Nested { remote, commit: link.commit, path: link.path });
                }
                // As Git does: what `.gitmodules` does not name is an empty directory.
                None => walk.skipped.submodules += 1,
            }
        }
        Ok(nested)
    }
}
