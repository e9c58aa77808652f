//! Reading the metadata of objects with as few requests as possible.
//!
//! Looks that come within a moment of each other, for the same kind, namespace and identity, are
//! answered together: with one GET each while they are few, with one LIST when they are many.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt, stream};
use serde_json::Value;

use crate::kinds::Resource;
use crate::transport::{Call, METADATA, METADATA_LIST, Transport};
use crate::{Failure, Identity};

/// How long a look waits for others to join it.
const MOMENT: Duration = Duration::from_millis(2);
/// Up to this many objects are read one by one.
const HANDFUL: usize = 3;
/// A namespace may hold this many times more objects than are wanted before a list stops paying.
const DILUTION: usize = 8;
const SMALLEST_PAGE: usize = 64;
const LARGEST_PAGE: usize = 500;
/// GETs sent at the same time.
const ABREAST: usize = 8;
/// Places remembered where listing is forbidden.
const MOST_UNLISTABLE: usize = 4096;

/// An object's `metadata`, or `None` when it does not exist.
pub(crate) type Found = Result<Option<Arc<Value>>, Failure>;
type Batch = HashMap<String, Found>;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Spot {
    who: Identity,
    resource: Arc<Resource>,
    namespace: String,
}

struct Gathering {
    names: Arc<Mutex<BTreeSet<String>>>,
    answer: Shared<BoxFuture<'static, Arc<Batch>>>,
}

#[derive(Default)]
struct State {
    gathering: HashMap<Spot, Gathering>,
    unlistable: HashSet<Spot>,
}

#[derive(Clone, Default)]
pub(crate) struct Looks {
    state: Arc<Mutex<State>>,
}

impl Looks {
    /// Reads one object's metadata as `who`.
    pub(crate) async fn look(
        &self,
        transport: &Transport,
        who: &Identity,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
    ) -> Found {
        let spot = Spot {
            who: who.clone(),
            resource: Arc::clone(resource),
            namespace: if resource.namespaced { namespace } else { "" }.to_owned(),
        };
        let answer = self.join(transport, spot, name);
        let Some(answer) = answer else {
            return Err(Failure::Transport("looking is out of order".to_owned()));
        };
        match answer.await.get(name) {
            Some(found) => found.clone(),
            None => Err(Failure::Transport("the look was lost".to_owned())),
        }
    }

    fn join(
        &self,
        transport: &Transport,
        spot: Spot,
        name: &str,
    ) -> Option<Shared<BoxFuture<'static, Arc<Batch>>>> {
        let mut state = self.state.lock().ok()?;
        let gathering = state.gathering.entry(spot.clone()).or_insert_with(|| {
            let names = Arc::new(Mutex::new(BTreeSet::new()));
            let answer = gather(self.clone(), transport.clone(), spot, Arc::clone(&names));
            Gathering { names, answer: answer.boxed().shared() }
        });
        gathering.names.lock().ok()?.insert(name.to_owned());
        Some(gathering.answer.clone())
    }

    /// Closes a gathering: who comes now starts another.
    fn close(&self, spot: &Spot, names: &Mutex<BTreeSet<String>>) -> (BTreeSet<String>, bool) {
        let Ok(mut state) = self.state.lock() else {
            return (BTreeSet::new(), false);
        };
        state.gathering.remove(spot);
        let listable = spot.resource.watchable && !state.unlistable.contains(spot);
        let names = names.lock().map(|mut names| std::mem::take(&mut *names));
        (names.unwrap_or_default(), listable)
    }

    fn note_unlistable(&self, spot: &Spot) {
        if let Ok(mut state) = self.state.lock() {
            if state.unlistable.len() >= MOST_UNLISTABLE {
                state.unlistable.clear();
            }
            state.unlistable.insert(spot.clone());
        }
    }
}

async fn gather(
    looks: Looks,
    transport: Transport,
    spot: Spot,
    names: Arc<Mutex<BTreeSet<String>>>,
) -> Arc<Batch> {
    tokio::time::sleep(MOMENT).await;
    let (mut wanted, listable) = looks.close(&spot, &names);
    let mut batch = Batch::new();
    if wanted.len() > HANDFUL && listable {
        match list(&transport, &spot, &mut wanted).await {
            Ok(found) => batch = found,
            Err(failure) if failure.is_forbidden() => looks.note_unlistable(&spot),
            // Whatever it was, the single reads below will meet it again and report it.
            Err(_) => {}
        }
    }
    let rest: Vec<(String, Found)> = stream::iter(wanted)
        .map(|name| {
            let (transport, spot) = (&transport, &spot);
            async move {
                let found = get(transport, spot, &name).await;
                (name, found)
            }
        })
        .buffer_unordered(ABREAST)
        .collect()
        .await;
    batch.extend(rest);
    Arc::new(batch)
}

async fn get(transport: &Transport, spot: &Spot, name: &str) -> Found {
    let path = spot.resource.object(&spot.namespace, name)?;
    match transport.send(&spot.who, &Call::get(path, METADATA)).await {
        Ok(mut answer) => match answer.body.get_mut("metadata").map(Value::take) {
            Some(metadata) if is_of(&metadata, name) => Ok(Some(Arc::new(metadata))),
            _ => Err(Failure::Malformed("the object that was asked for")),
        },
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether these are the metadata of a stored object of this name.
fn is_of(metadata: &Value, name: &str) -> bool {
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default();
    text("name") == name && !text("uid").is_empty()
}

/// Reads one page; what is wanted and not on it stays in `wanted` unless the page was the last.
async fn list(transport: &Transport, spot: &Spot, wanted: &mut BTreeSet<String>) -> Result<Batch, Failure> {
    let page = (wanted.len() * DILUTION).clamp(SMALLEST_PAGE, LARGEST_PAGE);
    let path = format!("{}?limit={page}", spot.resource.collection(&spot.namespace)?);
    let mut answer = transport.send(&spot.who, &Call::get(path, METADATA_LIST)).await?;
    let mut batch = Batch::new();
    let listed = answer.body.get_mut("items").map(Value::take);
    let items = match listed {
        Some(Value::Array(items)) => items,
        // An empty list may be written as null.
        Some(Value::Null) => Vec::new(),
        _ => return Err(Failure::Malformed("a list")),
    };
    for mut item in items {
        let Some(metadata) = item.get_mut("metadata").map(Value::take) else {
            continue;
        };
        let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some(name) = wanted.take(name) {
            batch.insert(name, Ok(Some(Arc::new(metadata))));
        }
    }
    let more = answer
        .body
        .pointer("/metadata/continue")
        .and_then(Value::as_str)
        .is_some_and(|token| !token.is_empty());
    if !more {
        for name in std::mem::take(wanted) {
            batch.insert(name, Ok(None));
        }
    }
    Ok(batch)
}
