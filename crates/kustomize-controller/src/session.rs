//! What is remembered of each Kustomization between its passes, in memory only: losing it costs requests,
//! never correctness. A pass takes the whole of it and gives it back, so a pass that dies leaves nothing half
//! true behind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use sluice_api::Artifact;
use sluice_apply::{Desired, Fingerprint, HealthWatch, Memory, ObjectId, WatchLease};
use sluice_manifest::order::StageKind;
use sluice_manifest::{Inventory, Plan};
use sluice_runtime::Key;
use sluice_tree::{Index, ReadSet};
use tokio::time::Instant;

use crate::contest::Contest;
use crate::remembered::Inputs;

/// The memory of one Kustomization.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// What the cluster was last brought to, to the end.
    pub(crate) settled: Option<Settled>,
    /// What it is being brought to.
    pub(crate) work: Option<Work>,
    /// What was applied, object by object.
    pub(crate) memory: Memory,
    /// Keeps the watches of what was applied.
    pub(crate) lease: Option<WatchLease>,
    /// Keeps the watches of what is missing.
    pub(crate) missing: Vec<WatchLease>,
    /// Objects that are changed back again and again.
    pub(crate) contests: HashMap<ObjectId, Contest>,
    /// Since when the gate keeps it waiting.
    pub(crate) stopped: Option<Instant>,
    /// What was last told about the wait.
    pub(crate) told: Option<String>,
    /// True once it was told that some kinds cannot be watched.
    pub(crate) told_unwatched: bool,
    /// Attempts to fetch the artifact with this digest.
    pub(crate) fetches: Option<(String, u32)>,
    /// True once it was tried to recall the last success of an earlier life.
    pub(crate) recalled: bool,
}

/// UID and drift key of an object as it was left.
pub(crate) type Left = (Arc<str>, Fingerprint);

/// A success.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) inputs: Inputs,
    /// What the build read of the artifact; `None` after a restart.
    pub(crate) reads: Option<Arc<ReadSet>>,
    /// Digest of what was built.
    pub(crate) digest: String,
    /// The members with the state that they were left in; `None` where that is not known.
    pub(crate) members: Vec<(ObjectId, Option<Left>)>,
    /// Health, where it was asked for.
    pub(crate) health: Option<HealthWatch>,
    /// Since when it is not healthy any more.
    pub(crate) degraded: Option<Instant>,
}

/// A build on its way into the cluster.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) inputs: Inputs,
    pub(crate) reads: Arc<ReadSet>,
    /// Digest of what was built.
    pub(crate) digest: String,
    /// What is applied, stage after stage.
    pub(crate) stages: Vec<(StageKind, Vec<Desired>)>,
    /// The rest of the plan; its own stages are empty.
    pub(crate) plan: Plan,
    pub(crate) began: Instant,
    /// True when these very inputs were applied before and only drift is repaired.
    pub(crate) repairs: bool,
    /// When the stages that others rely on were first found unhealthy, by their place.
    pub(crate) waits: HashMap<usize, Instant>,
    /// What is answered for once everything is applied and pruned.
    pub(crate) inventory: Option<Inventory>,
    /// Members that controls say to leave alone, as they were found.
    pub(crate) left_alone: HashMap<ObjectId, Option<Left>>,
    /// The wait for health.
    pub(crate) checking: Option<Checking>,
    /// True when a member was created, changed or deleted.
    pub(crate) changed: bool,
    /// Members that this very work applied before: to apply them once more is a repair.
    pub(crate) touched: HashSet<ObjectId>,
}

/// The wait for health.
#[derive(Debug)]
pub(crate) struct Checking {
    pub(crate) watch: HealthWatch,
    pub(crate) since: Instant,
    /// Since when, and in which words, it is known that health will not come by itself.
    pub(crate) failed: Option<(Instant, String)>,
}

/// What others than the pass may know of a session.
#[derive(Debug, Default)]
struct Outline {
    settled: Option<(Inputs, Option<Arc<ReadSet>>)>,
    health: bool,
    /// True while a pass has it, or a build is on its way into the cluster.
    busy: bool,
}

/// A session, unless a pass has it, and what may be known of it meanwhile.
type Entry = (Outline, Option<Box<Session>>);

/// The sessions of all Kustomizations.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: Mutex<HashMap<Key, Entry>>,
}

/// What a new artifact means for a Kustomization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It is the one that was applied, and nothing else is under way.
    Nothing,
    /// It reads the same; only the revision moves.
    Revision,
    /// It may have to be applied.
    Content,
}

impl Sessions {
    /// Takes the session out; a new one where there is none.
    pub(crate) fn take(&self, key: &Key) -> Box<Session> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (outline, session) = table.entry(key.clone()).or_default();
        outline.busy = true;
        session.take().unwrap_or_default()
    }

    /// Puts it back.
    pub(crate) fn put(&self, key: &Key, session: Box<Session>) {
        let outline = Outline {
            settled: session.settled.as_ref().map(|settled| (settled.inputs.clone(), settled.reads.clone())),
            health: session.settled.as_ref().is_some_and(|settled| settled.health.is_some()),
            busy: session.work.is_some(),
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(key.clone(), (outline, Some(session)));
    }

    /// Forgets a Kustomization that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets all but those that `keep` answers true for.
    pub(crate) fn retain(&self, keep: impl Fn(&Key) -> bool) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keep(key));
    }

    /// True when changes of health of its members concern it.
    pub(crate) fn minds_health(&self, key: &Key) -> bool {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(key).is_some_and(|(outline, _)| outline.health)
    }

    /// True when a pass may have read this reference before it was in this version.
    pub(crate) fn may_lack(&self, key: &Key, reference: &str, version: &str) -> bool {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.get(key) {
            None => false,
            Some((Outline { settled: Some((inputs, _)), busy: false, .. }, _)) => {
                inputs.references.iter().any(|(name, read)| name == reference && read != version)
            }
            Some(_) => true,
        }
    }

    /// What this artifact means for the Kustomization. `revision` is what it says to be ready at.
    pub(crate) fn news(
        &self,
        key: &Key,
        revision: Option<&str>,
        artifact: &Artifact,
        index: Option<&Index>,
    ) -> News {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((Outline { settled: Some((inputs, reads)), busy, .. }, _)) = table.get(key) else {
            return News::Content;
        };
        if inputs.artifact == artifact.digest {
            if *busy {
                // What is under way may be for an artifact that was there for a while only.
                return News::Content;
            }
            return if revision == Some(artifact.revision.as_str()) { News::Nothing } else { News::Revision };
        }
        match (reads, index) {
            (Some(reads), Some(index)) if reads.holds(index) => News::Revision,
            _ => News::Content,
        }
    }
}

/// What a pass has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// The artifact reads as what was applied, and nothing else moved.
    Rest,
    /// A build is under way: go on with it.
    Continue,
    /// Fetch, build and apply.
    Build,
}

/// Chooses between them. `index` is that of the artifact.
pub(crate) fn choose(session: &Session, inputs: &Inputs, index: Option<&Index>) -> Course {
    if session.work.as_ref().is_some_and(|work| work.inputs == *inputs) {
        return Course::Continue;
    }
    let Some(settled) = &session.settled else { return Course::Build };
    if session.work.is_some() || !settled.inputs.is_like(inputs) {
        return Course::Build;
    }
    if settled.inputs.artifact == inputs.artifact {
        return Course::Rest;
    }
    match (&settled.reads, index) {
        (Some(reads), Some(index)) if reads.holds(index) => Course::Rest,
        _ => Course::Build,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tree::{Files as _, Recording};
    use sluice_types::RelPath;

    fn inputs(artifact: &str) -> Inputs {
        Inputs { generation: 1, artifact: artifact.to_owned(), references: Vec::new(), target: String::new() }
    }

    fn index(content: &str, other: &str) -> (Index, ReadSet) {
        let tree = sluice_tree::Memory::of([("app/a.yaml", content), ("other/b.yaml", other)]).unwrap();
        let recording = Recording::new(&tree);
        recording.read(&RelPath::new("app/a.yaml").unwrap()).unwrap();
        (Index::of(&tree).unwrap(), recording.finish())
    }

    fn settled(artifact: &str, reads: Option<ReadSet>) -> Session {
        Session {
            settled: Some(Settled {
                inputs: inputs(artifact),
                reads: reads.map(Arc::new),
                digest: String::new(),
                members: Vec::new(),
                health: None,
                degraded: None,
            }),
            ..Session::default()
        }
    }

    #[test]
    fn only_what_the_build_read_decides_whether_it_is_built_again() {
        let (_, reads) = index("1", "x");
        let session = settled("one", Some(reads));
        let (elsewhere, _) = index("1", "y");
        let (here, _) = index("2", "x");
        assert_eq!(choose(&session, &inputs("one"), None), Course::Rest);
        assert_eq!(choose(&session, &inputs("two"), Some(&elsewhere)), Course::Rest);
        assert_eq!(choose(&session, &inputs("two"), Some(&here)), Course::Build);
        assert_eq!(choose(&session, &inputs("two"), None), Course::Build);
        assert_eq!(choose(&settled("one", None), &inputs("two"), Some(&elsewhere)), Course::Build);
        assert_eq!(choose(&Session::default(), &inputs("one"), Some(&elsewhere)), Course::Build);
    }

    #[test]
    fn another_spec_reference_or_target_is_always_built() {
        let session = settled("one", None);
        let changes: [fn(&mut Inputs); 3] = [
            |inputs| inputs.generation = 2,
            |inputs| inputs.target.push('x'),
            |inputs| inputs.references.push(("ConfigMap/a".to_owned(), "1".to_owned())),
        ];
        for change in changes {
            let mut inputs = inputs("one");
            change(&mut inputs);
            assert_eq!(choose(&session, &inputs, None), Course::Build);
        }
    }

    #[test]
    fn what_a_new_artifact_means_is_known_without_a_pass() {
        let key = Key::new("apps", "app");
        let sessions = Sessions::default();
        let mut artifact = crate::sample::source("r2").status.artifact.unwrap();
        artifact.digest = "two".to_owned();
        let (elsewhere, reads) = index("1", "y");
        assert_eq!(sessions.news(&key, None, &artifact, Some(&elsewhere)), News::Content);
        sessions.put(&key, Box::new(settled("one", Some(reads))));
        assert_eq!(sessions.news(&key, Some("r1"), &artifact, Some(&elsewhere)), News::Revision);
        assert_eq!(sessions.news(&key, Some("r1"), &artifact, None), News::Content);
        artifact.digest = "one".to_owned();
        assert_eq!(sessions.news(&key, Some("r1"), &artifact, None), News::Revision);
        assert_eq!(sessions.news(&key, Some("r2"), &artifact, None), News::Nothing);
        let mut session = sessions.take(&key);
        let back = sessions.news(&key, Some("r2"), &artifact, None);
        assert_eq!(back, News::Content, "a pass may be about something else");
        session.work = Some(crate::sample::work(inputs("three")));
        sessions.put(&key, session);
        let back = sessions.news(&key, Some("r2"), &artifact, None);
        assert_eq!(back, News::Content, "another artifact is on its way");
    }

    #[test]
    fn a_reference_that_was_read_before_it_changed_is_known() {
        let key = Key::new("apps", "app");
        let sessions = Sessions::default();
        assert!(!sessions.may_lack(&key, "ConfigMap/a", "1"), "nobody has read anything");
        let mut session = sessions.take(&key);
        assert!(sessions.may_lack(&key, "ConfigMap/a", "1"), "a pass may be reading");
        let mut read = inputs("one");
        read.references.push(("ConfigMap/a".to_owned(), "1".to_owned()));
        session.settled = settled("one", None).settled.map(|settled| Settled { inputs: read, ..settled });
        sessions.put(&key, session);
        assert!(!sessions.may_lack(&key, "ConfigMap/a", "1"));
        assert!(sessions.may_lack(&key, "ConfigMap/a", "2"));
    }
}
