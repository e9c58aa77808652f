//! Names of what a parked object waits for.

use std::sync::Arc;

/// Something whose change or appearance wakes the objects that are parked on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WakeKey {
    /// One object; `namespace` is empty for cluster-wide kinds.
    Object {
        /// API group, empty for the core group.
        group: Arc<str>,
        /// Kind.
        kind: Arc<str>,
        /// Namespace.
        namespace: Arc<str>,
        /// Name.
        name: Arc<str>,
    },
    /// A kind that must be served.
    Kind {
        /// API group.
        group: Arc<str>,
        /// Kind.
        kind: Arc<str>,
    },
    /// A namespace that must exist.
    Namespace(Arc<str>),
    /// Anything else a controller wants to name.
    Named(Arc<str>),
}

impl WakeKey {
    /// Names one object.
    pub fn object(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self::Object {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Names a kind.
    pub fn kind(group: &str, kind: &str) -> Self {
        Self::Kind { group: group.into(), kind: kind.into() }
    }
}
