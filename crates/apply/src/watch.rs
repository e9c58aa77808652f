//! Shared watches: what is known of objects without asking, and what happens to them.

mod feed;
mod kinds;
mod sighting;
mod store;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use serde_json::Value;
use tokio::sync::{Notify, broadcast, watch as channel};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::kinds::Kinds;
use crate::live::Settings;
use crate::transport::Transport;
use crate::{Cluster, ObjectId, Owner, Seen, Status};

use kinds::KindWatch;
use store::{Known, Store};

/// Signals kept for a receiver that is slow.
const BACKLOG: usize = 4096;
/// Watches of single namespaces at most, over all kinds: each costs a connection's share, and questions about rights.
const NARROW: usize = 256;

/// Something happened that may concern a pass. A hint: the pass looks for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To a watched object.
    Object {
        /// The object.
        id: ObjectId,
        /// Whose it is by its labels, before a deletion by those it had.
        owner: Option<Arc<Owner>>,
        /// What happened.
        change: Change,
    },
    /// A kind that was asked for is served now.
    Kind {
        /// API group.
        group: String,
        /// Kind.
        kind: String,
    },
}

/// What can happen to a watched object. Our own writes are not signalled as drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new, or its UID or drift key changed.
    Drifted,
    /// It is being deleted.
    Terminating,
    /// It is gone.
    Deleted,
    /// Its health changed.
    Health,
}

/// Which objects one watch sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) reach: Reach,
}

/// How far a watch sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// All owned objects.
    Everywhere,
    /// The owned objects of a namespace, where not all namespaces may be watched.
    Namespace(String),
    /// One object, by namespace and name.
    Object(String, String),
}

impl Scope {
    pub(crate) fn owned(group: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), kind: kind.to_owned(), reach: Reach::Everywhere }
    }

    /// The owned objects of the namespace of this one.
    pub(crate) fn around(id: &ObjectId) -> Self {
        Self { reach: Reach::Namespace(id.namespace.clone()), ..Self::owned(&id.group, &id.kind) }
    }

    pub(crate) fn named(id: &ObjectId) -> Self {
        Self {
            reach: Reach::Object(id.namespace.clone(), id.name.clone()),
            ..Self::owned(&id.group, &id.kind)
        }
    }

    fn is_narrow(&self) -> bool {
        matches!(self.reach, Reach::Namespace(_))
    }
}

/// How much of each object a watch reads and keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Depth {
    /// Metadata only.
    Metadata = 0,
    /// Everything is read; the health is kept.
    Health = 1,
    /// Everything is read and what rules may ask for is kept.
    Objects = 2,
}

/// How far a watch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Synced,
    /// The kind is not served, so none of its objects exist; tried again soon.
    Absent,
    /// The watch broke; tried again soon.
    Refused,
    /// Watching is not allowed; asked for again now and then.
    Denied,
}

/// One running watch.
pub(crate) struct Watch {
    pub(crate) scope: Scope,
    depth: AtomicU8,
    leases: AtomicUsize,
    store: RwLock<Store>,
    phase: channel::Sender<Phase>,
    task: Mutex<CancellationToken>,
    /// Rung when an object of the kind was written, so the kind exists.
    bell: Notify,
}

impl Watch {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }
}

/// What all watches of a cluster share.
#[derive(Clone)]
pub(crate) struct Shared {
    transport: Transport,
    kinds: Arc<Kinds>,
    access: Access,
    settings: Arc<Settings>,
    signals: broadcast::Sender<Signal>,
    stop: CancellationToken,
}

pub(crate) struct Watches {
    shared: Shared,
    table: Arc<Mutex<HashMap<Scope, Arc<Watch>>>>,
    /// True once a single namespace was watched.
    narrow: AtomicBool,
    missing: Arc<KindWatch>,
}

/// Keeps watches alive. Dropping it ends those that nobody else needs.
#[must_use]
pub struct WatchLease {
    watches: Vec<Arc<Watch>>,
    table: Arc<Mutex<HashMap<Scope, Arc<Watch>>>>,
    /// The watches end with the cluster, so a lease keeps it.
    _cluster: Cluster,
}

impl fmt::Debug for WatchLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchLease").field("watches", &self.watches.len()).finish()
    }
}

impl WatchLease {
    /// Waits until none of the watches is starting. Others may make one start over meanwhile.
    pub(crate) async fn synced(&self) {
        while let Some(watch) = self.watches.iter().find(|watch| watch.phase() == Phase::Starting) {
            let mut phase = watch.phase.subscribe();
            // The sender lives in the watch, which this lease holds.
            let _ = phase.wait_for(|phase| *phase != Phase::Starting).await;
        }
    }
}

impl Drop for WatchLease {
    fn drop(&mut self) {
        let Ok(mut table) = self.table.lock() else {
            return;
        };
        for watch in &self.watches {
            if watch.leases.fetch_sub(1, Ordering::AcqRel) == 1 {
                table.remove(&watch.scope);
                if let Ok(task) = watch.task.lock() {
                    task.cancel();
                }
            }
        }
    }
}

/// A write of ours that is under way.
#[must_use]
pub(crate) struct Write {
    id: ObjectId,
    watches: Vec<Arc<Watch>>,
    signals: broadcast::Sender<Signal>,
}

impl Write {
    /// Takes over what the answer showed, so that its echo is no news, and so that nobody takes the
    /// health of the former object for that of the new one.
    pub(crate) fn settle(mut self, seen: &Seen, object: &Value) {
        self.finish(|depth| Some(Known::of(seen.clone(), depth, || object.clone())));
    }

    fn finish(&mut self, answer: impl Fn(Depth) -> Option<Known>) {
        for watch in std::mem::take(&mut self.watches) {
            let answer = answer(watch.depth());
            let wrote = answer.is_some();
            let news = match watch.store.write() {
                Ok(mut store) => store.settle(&self.id.namespace, &self.id.name, answer),
                Err(_) => None,
            };
            if wrote && watch.phase() == Phase::Absent {
                // What could be written is of a kind that is there.
                watch.phase.send_replace(Phase::Refused);
            }
            if watch.phase() == Phase::Refused {
                watch.bell.notify_one();
            }
            if let Some(news) = news.filter(|_| watch.phase() == Phase::Synced) {
                let (id, owner, change) = (self.id.clone(), news.owner, news.change);
                // Without a receiver nobody is interested.
                let _ = self.signals.send(Signal::Object { id, owner, change });
            }
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.finish(|_| None);
    }
}

impl Watches {
    pub(crate) fn new(
        transport: Transport,
        kinds: Arc<Kinds>,
        settings: Arc<Settings>,
        stop: CancellationToken,
    ) -> Self {
        let (signals, _) = broadcast::channel(BACKLOG);
        let access = Access::new(transport.clone());
        let shared = Shared { transport, kinds, access, settings, signals, stop };
        Self {
            missing: Arc::new(KindWatch::new(shared.clone())),
            shared,
            table: Arc::default(),
            narrow: AtomicBool::new(false),
        }
    }

    pub(crate) fn signals(&self) -> broadcast::Receiver<Signal> {
        self.shared.signals.subscribe()
    }

    pub(crate) fn lease(
        &self,
        cluster: &Cluster,
        scopes: impl IntoIterator<Item = (Scope, Depth)>,
    ) -> WatchLease {
        let mut wanted: HashMap<Scope, Depth> = HashMap::new();
        for (scope, depth) in scopes {
            let known = wanted.entry(scope).or_insert(depth);
            *known = depth.max(*known);
        }
        let mut watches = Vec::with_capacity(wanted.len());
        if let Ok(mut table) = self.table.lock() {
            let mut narrow = match wanted.keys().any(Scope::is_narrow) {
                true => table.keys().filter(|scope| scope.is_narrow()).count(),
                false => 0,
            };
            for (scope, depth) in wanted {
                if scope.is_narrow() && !table.contains_key(&scope) {
                    if narrow >= NARROW {
                        continue;
                    }
                    narrow += 1;
                    self.narrow.store(true, Ordering::Release);
                }
                let watch =
                    table.entry(scope).or_insert_with_key(|scope| Arc::new(Watch::idle(scope.clone())));
                watch.leases.fetch_add(1, Ordering::AcqRel);
                watch.deepen(&self.shared, depth);
                watches.push(Arc::clone(watch));
            }
        }
        WatchLease { watches, table: Arc::clone(&self.table), _cluster: cluster.clone() }
    }

    fn watch(&self, scope: &Scope) -> Option<Arc<Watch>> {
        self.table.lock().ok()?.get(scope).cloned()
    }

    pub(crate) fn is_synced(&self, scope: &Scope) -> bool {
        self.watch(scope).is_some_and(|watch| watch.phase() == Phase::Synced)
    }

    /// Whether what the watch does not know of does not exist.
    pub(crate) fn is_complete(&self, scope: &Scope) -> bool {
        self.watch(scope).is_some_and(|watch| matches!(watch.phase(), Phase::Synced | Phase::Absent))
    }

    /// Whether the kind may not be watched in all namespaces.
    pub(crate) fn is_denied(&self, group: &str, kind: &str) -> bool {
        self.watch(&Scope::owned(group, kind)).is_some_and(|watch| watch.phase() == Phase::Denied)
    }

    /// Whether nothing tells of changes of an owned object, nor will in a moment.
    pub(crate) fn is_unseen(&self, id: &ObjectId) -> bool {
        let around = || self.watch(&Scope::around(id)).is_some_and(|watch| watch.phase() != Phase::Denied);
        self.is_denied(&id.group, &id.kind) && !around()
    }

    /// The scopes that tell of an owned object, as far as it is known what may be watched.
    pub(crate) fn scopes(&self, id: &ObjectId) -> impl Iterator<Item = Scope> + use<> {
        let narrow = !id.namespace.is_empty() && self.is_denied(&id.group, &id.kind);
        let around = narrow.then(|| Scope::around(id));
        std::iter::once(Scope::owned(&id.group, &id.kind)).chain(around)
    }

    /// The watches that may tell of an object.
    fn around(&self, id: &ObjectId) -> impl Iterator<Item = Arc<Watch>> {
        let narrow = self.narrow.load(Ordering::Acquire).then(|| Scope::around(id));
        let scopes = [Some(Scope::owned(&id.group, &id.kind)), narrow, Some(Scope::named(id))];
        scopes.into_iter().flatten().filter_map(|scope| self.watch(&scope))
    }

    fn find<T>(&self, id: &ObjectId, read: impl Fn(&Known) -> Option<T>) -> Option<T> {
        self.around(id)
            .filter(|watch| watch.phase() == Phase::Synced)
            .find_map(|watch| read(watch.store.read().ok()?.get(&id.namespace, &id.name)?))
    }

    pub(crate) fn known(&self, id: &ObjectId) -> Option<Seen> {
        self.find(id, |known| Some(known.seen.clone()))
    }

    /// Health by the rules for built-in kinds, as the newest event showed it.
    pub(crate) fn health(&self, id: &ObjectId) -> Option<(Status, String)> {
        self.find(id, |known| known.health.as_ref().map(|(status, message)| (*status, message.to_string())))
    }

    /// The part of an object that rules may ask for.
    pub(crate) fn object(&self, id: &ObjectId) -> Option<Arc<Value>> {
        self.find(id, |known| known.object.clone())
    }

    /// Says that a request of ours is about to change an object. Until the answer is settled, or the
    /// guard dropped, signals about it are held back, for the echo may come before the answer.
    pub(crate) fn expect(&self, id: &ObjectId) -> Write {
        let watches: Vec<_> = self.around(id).collect();
        for watch in &watches {
            if let Ok(mut store) = watch.store.write() {
                store.expect(&id.namespace, &id.name);
            }
        }
        Write { id: id.clone(), watches, signals: self.shared.signals.clone() }
    }

    pub(crate) fn await_kind(&self, group: &str, kind: &str) {
        self.missing.add(group, kind);
    }
}

impl Watch {
    fn idle(scope: Scope) -> Self {
        let (phase, _) = channel::channel(Phase::Starting);
        Self {
            scope,
            depth: AtomicU8::new(0),
            leases: AtomicUsize::new(0),
            store: RwLock::default(),
            phase,
            bell: Notify::new(),
            task: Mutex::new({
                let ended = CancellationToken::new();
                ended.cancel();
                ended
            }),
        }
    }

    /// Starts the watch, or starts it over when more of each object is wanted than before.
    fn deepen(self: &Arc<Self>, shared: &Shared, depth: Depth) {
        let Ok(mut task) = self.task.lock() else {
            return;
        };
        let running = !task.is_cancelled();
        if running && self.depth.load(Ordering::Acquire) >= depth as u8 {
            return;
        }
        task.cancel();
        *task = shared.stop.child_token();
        self.depth.fetch_max(depth as u8, Ordering::AcqRel);
        self.phase.send_replace(Phase::Starting);
        feed::start(Arc::clone(self), shared.clone(), self.depth(), task.clone());
    }

    fn depth(&self) -> Depth {
        match self.depth.load(Ordering::Acquire) {
            0 => Depth::Metadata,
            1 => Depth::Health,
            _ => Depth::Objects,
        }
    }
}
