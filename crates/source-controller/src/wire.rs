//! Which changes wake which objects.

use std::collections::HashMap;

use sluice_api::keys::source::GROUP;
use sluice_api::source::v1::GitRepository;
use sluice_runtime::{Change, Handle, Key, Urgency, WakeKey};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// Revision and digest of an artifact.
type State = Option<(String, String)>;

/// Runs the repositories that include another one as soon as that one's artifact changes.
pub(crate) async fn wake_includers(handle: Handle<GitRepository>, stop: CancellationToken) {
    let mut changes = handle.subscribe();
    let mut known: HashMap<Key, State> =
        handle.list().iter().map(|object| (Key::of(&**object), state(object))).collect();
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = stop.cancelled() => return,
        };
        match change {
            Ok(Change::Applied(object)) => {
                let (key, state) = (Key::of(&*object), state(&object));
                if known.get(&key) != Some(&state) {
                    known.insert(key.clone(), state);
                    moved(&handle, &key);
                }
            }
            Ok(Change::Deleted(object)) => {
                known.remove(&Key::of(&*object));
            }
            // What was missed is seen by looking at everything.
            Err(RecvError::Lagged(_)) => {
                known.retain(|key, _| handle.get(&key.namespace, &key.name).is_some());
                for object in handle.list() {
                    let (key, state) = (Key::of(&*object), state(&object));
                    if known.get(&key) != Some(&state) {
                        known.insert(key.clone(), state);
                        moved(&handle, &key);
                    }
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn state(object: &GitRepository) -> State {
    let artifact = object.status.as_ref()?.facts.artifact.as_ref()?;
    Some((artifact.revision.clone(), artifact.digest.clone()))
}

fn moved(handle: &Handle<GitRepository>, key: &Key) {
    handle.wake(&WakeKey::object(GROUP, "GitRepository", &key.namespace, &key.name));
    for object in handle.list() {
        let other = Key::of(&*object);
        let includes = object.spec.include.iter().any(|include| *include.repository.name == *key.name);
        if includes && other.namespace == key.namespace && other != *key {
            handle.enqueue(&other, Urgency::Fresh);
        }
    }
}
