//! Reads objects through views that are given up now and then: what is read through a view stays mapped, and
//! counts as our memory, for as long as the view lives.

use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::objs::Kind;

use crate::depot::{Depot, ReadError};

/// Bytes that one view may map, roughly.
const VIEW: usize = 4 << 20;
/// Bytes that are mapped around each that is read.
const AROUND: usize = 64 << 10;

/// Reads from one depot, from any number of threads.
pub(crate) struct Reader {
    depot: Arc<Depot>,
    view: Mutex<View>,
}

#[derive(Default)]
struct View {
    store: Option<Arc<gix::odb::Store>>,
    /// Handles that were used before, whose buffers are warm.
    idle: Vec<gix::odb::HandleArc>,
    mapped: usize,
}

impl Reader {
    pub(crate) fn new(depot: Arc<Depot>) -> Self {
        Self { depot, view: Mutex::default() }
    }

    /// One object, at most `limit` bytes long.
    pub(crate) fn read(&self, id: &ObjectId, limit: u64) -> Result<(Kind, Vec<u8>), ReadError> {
        let lock = || self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let (store, handle) = {
            let mut view = lock();
            if view.mapped > VIEW {
                *view = View::default();
            }
            let store = match &view.store {
                Some(store) => store.clone(),
                None => view.store.insert(self.depot.open()?).clone(),
            };
            (store.clone(), view.idle.pop().unwrap_or_else(|| store.to_cache_arc()))
        };
        let found = self.depot.find(&handle, id, limit)?;
        let mut view = lock();
        if view.store.as_ref().is_some_and(|current| Arc::ptr_eq(current, &store)) {
            view.idle.push(handle);
            view.mapped += found.1.len() + AROUND;
        }
        Ok(found)
    }
}
