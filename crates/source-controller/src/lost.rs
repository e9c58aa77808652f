//! Artifacts that had to be forgotten, until they are made again: the same one coming back is no news.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluice_api::Artifact;
use sluice_runtime::Key;

/// The last artifact of every object whose archive was lost and has not been replaced yet. A pass that comes to
/// that may not be the one that found the loss.
#[derive(Debug, Default)]
pub(crate) struct Lost(Mutex<HashMap<Key, Artifact>>);

impl Lost {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Artifact>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, key: Key, artifact: Artifact) {
        self.lock().insert(key, artifact);
    }

    pub(crate) fn former(&self, key: &Key) -> Option<Artifact> {
        self.lock().get(key).cloned()
    }

    /// The object has an archive again, or needs none any more.
    pub(crate) fn found(&self, key: &Key) {
        self.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_lost_artifact_is_remembered_until_there_is_one_again() {
        let (lost, key) = (Lost::default(), Key { namespace: "apps".into(), name: "podinfo".into() });
        let artifact = sample::artifact("main@sha1:1", 'a');
        lost.note(key.clone(), artifact.clone());
        assert_eq!(lost.former(&key), Some(artifact));
        lost.found(&key);
        assert_eq!(lost.former(&key), None);
    }
}
