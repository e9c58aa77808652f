use std::fmt;

use crate::{Error, ObjectId, Seen, Status};

/// How an apply is to be done.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Objects of one wave applied at the same time (`--concurrent-ssa`).
    pub concurrency: usize,
    /// Turns for more than that, which all applies of a process share: a large set on its own need not go at the
    /// pace of one among many.
    pub spare: std::sync::Arc<tokio::sync::Semaphore>,
    /// Recreate objects whose immutable fields changed (`spec.force`).
    pub force: bool,
    /// Flux's way: nothing of a stage is applied unless everything in it can be.
    pub all_or_nothing: bool,
    /// Move field ownership to the desired API version first (gate `MigrateAPIVersion`).
    pub migrate_api_version: bool,
    /// What may differ (`spec.ignore`).
    pub ignore: std::sync::Arc<crate::IgnoreRules>,
}

/// What an apply did, object by object, in the order they were given.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One outcome for each desired object.
    pub outcomes: Vec<Outcome>,
}

/// What happened to one object.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its identity in the cluster: without namespace where the kind is cluster-scoped.
    pub id: ObjectId,
    /// What happened.
    pub fate: Fate,
}

/// What can happen to an object that is to be applied.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is in the cluster as desired.
    Applied {
        /// What had to be done.
        action: Action,
        /// The object after it.
        seen: Seen,
        /// Its health as the answer showed it, by the rules for built-in kinds; `None` when no
        /// request was needed.
        health: Option<(Status, String)>,
    },
    /// A control said to leave it alone. It stays in the inventory.
    Skipped {
        /// The live object, where one was seen.
        seen: Option<Seen>,
    },
    /// It cannot be applied yet; something else must come (or go) first.
    Parked {
        /// What is waited for.
        on: Missing,
        /// The words for the status.
        error: Error,
    },
    /// It could not be applied.
    Failed(Error),
    /// It was not tried: the pass was cancelled, or another object of an all-or-nothing stage failed.
    Untried,
}

/// What an object can wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// Its kind is not served; [`crate::Signal::Kind`] tells when it is.
    Kind {
        /// API group.
        group: String,
        /// Kind.
        kind: String,
    },
    /// Its namespace does not exist or is being deleted; watch it with
    /// [`crate::Cluster::watch_object`].
    Namespace(String),
    /// The object itself was deleted in order to be recreated and is still terminating; apply
    /// again when [`crate::Change::Deleted`] is signalled for it, or after a few seconds.
    Termination(ObjectId),
}

/// What an apply or a prune did to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It was not there.
    Created,
    /// It was changed.
    Configured,
    /// It was as desired.
    Unchanged,
    /// It was left alone.
    Skipped,
    /// It was deleted.
    Deleted,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Deleted => "deleted",
        })
    }
}

impl Outcome {
    /// The object as it is now, when it is known to be as desired.
    #[must_use]
    pub fn settled(&self) -> Option<&Seen> {
        match &self.fate {
            Fate::Applied { seen, .. } => Some(seen),
            _ => None,
        }
    }

    /// The word for events and logs, if the object was dealt with.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        match &self.fate {
            Fate::Applied { action, .. } => Some(*action),
            Fate::Skipped { .. } => Some(Action::Skipped),
            Fate::Parked { .. } | Fate::Failed(_) | Fate::Untried => None,
        }
    }

    /// Why it is not as desired.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.fate {
            Fate::Parked { error, .. } | Fate::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl Report {
    /// Whether every object is as desired, or was left alone on purpose.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.action().is_some())
    }

    /// Failures that nothing else has to come for, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Error> {
        self.outcomes.iter().filter_map(|outcome| match &outcome.fate {
            Fate::Failed(error) => Some(error),
            _ => None,
        })
    }

    /// What is waited for, with the words for it, in order.
    pub fn parked(&self) -> impl Iterator<Item = (&Missing, &Error)> {
        self.outcomes.iter().filter_map(|outcome| match &outcome.fate {
            Fate::Parked { on, error } => Some((on, error)),
            _ => None,
        })
    }

    /// `Kind/namespace/name action` for each object that was dealt with, in order.
    pub fn changes(&self) -> impl Iterator<Item = (&ObjectId, Action)> {
        self.outcomes.iter().filter_map(|outcome| Some((&outcome.id, outcome.action()?)))
    }
}

/// What a deletion did, object by object, in the order they were given.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// One outcome for each object.
    pub outcomes: Vec<Removal>,
}

/// What happened to one object that was to be deleted.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Its identity.
    pub id: ObjectId,
    /// What happened.
    pub fate: Gone,
}

/// What can happen to an object that is to be deleted.
#[derive(Clone, Debug)]
pub enum Gone {
    /// It is gone: it was not there, or the server confirmed.
    Deleted,
    /// The server accepted; finalizers or a grace period hold it. It counts as deleted.
    Terminating {
        /// The UID that carries the deletion timestamp.
        uid: String,
    },
    /// It stays, and is ours no longer.
    Released(Release),
    /// It could not be deleted, or not be read. It stays in the inventory.
    Failed(Error),
    /// It was not tried: the pass was cancelled.
    Untried,
}

/// Why an object is left alone by a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Its labels name another owner, or none.
    ForeignOwner,
    /// `prune: disabled`.
    PruneDisabled,
    /// `reconcile: disabled`.
    ReconcileDisabled,
    /// `ssa: Ignore`.
    Ignored,
}

impl Removal {
    /// The word for events and logs, if the object was dealt with.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        match self.fate {
            Gone::Deleted | Gone::Terminating { .. } => Some(Action::Deleted),
            Gone::Released(_) => Some(Action::Skipped),
            Gone::Failed(_) | Gone::Untried => None,
        }
    }
}

impl Deletion {
    /// `delete failed, errors: …;…;` if anything failed, else `None`.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let mut text = String::new();
        for removal in &self.outcomes {
            if let Gone::Failed(error) = &removal.fate {
                text.push_str(&format!("{error};"));
            }
        }
        (!text.is_empty()).then(|| format!("delete failed, errors: {text}"))
    }

    /// The objects that must stay in the inventory: not deleted, and not released on purpose.
    pub fn survivors(&self) -> impl Iterator<Item = &ObjectId> {
        self.outcomes.iter().filter(|removal| removal.action().is_none()).map(|removal| &removal.id)
    }

    /// `Kind/namespace/name action` for each object that was dealt with, in order.
    pub fn changes(&self) -> impl Iterator<Item = (&ObjectId, Action)> {
        self.outcomes.iter().filter_map(|removal| Some((&removal.id, removal.action()?)))
    }
}
