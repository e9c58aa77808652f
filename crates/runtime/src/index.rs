//! Which objects refer to what.

use std::collections::{HashMap, HashSet};

use crate::handle::Key;
use crate::wake::WakeKey;

/// Objects by what they refer to.
#[derive(Debug, Default)]
pub(crate) struct Index {
    referring: HashMap<WakeKey, HashSet<Key>>,
}

impl Index {
    /// An object refers to these now, and no longer to those.
    pub(crate) fn replace(&mut self, key: &Key, before: &[WakeKey], now: &[WakeKey]) {
        if before == now {
            return;
        }
        for gone in before {
            if let Some(keys) = self.referring.get_mut(gone) {
                keys.remove(key);
                if keys.is_empty() {
                    self.referring.remove(gone);
                }
            }
        }
        for new in now {
            self.referring.entry(new.clone()).or_default().insert(key.clone());
        }
    }

    /// The objects that refer to this.
    pub(crate) fn of(&self, wake: &WakeKey) -> Vec<Key> {
        self.referring.get(wake).into_iter().flatten().cloned().collect()
    }
}
