//! Identity of resources: group, version, kind, name, namespace.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::scope::is_cluster_scoped;

/// Group, version and kind; empty parts are unknown, or wildcards in a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gvk {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
}

/// Splits an `apiVersion`: without a slash there is no group.
pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl Gvk {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = split_api_version(api_version);
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether this one passes the filter `by`, whose empty parts match anything.
    pub(crate) fn is_selected(&self, by: &Gvk) -> bool {
        let passes = |mine: &str, wanted: &str| wanted.is_empty() || mine == wanted;
        passes(&self.kind, &by.kind) && passes(&self.group, &by.group) && passes(&self.version, &by.version)
    }

    pub(crate) fn is_cluster_scoped(&self) -> bool {
        is_cluster_scoped(&self.group, &self.version, &self.kind)
    }
}

struct Or<'a>(&'a str, &'static str);

impl fmt::Display for Or<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { self.1 } else { self.0 })
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}",
            Or(&self.kind, "[noKind]"),
            Or(&self.version, "[noVer]"),
            Or(&self.group, "[noGrp]")
        )
    }
}

/// What stands for the namespace of cluster-scoped objects.
pub(crate) const NO_NAMESPACE: &str = "_non_namespaceable_";

/// The full identity of a resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResId {
    pub(crate) gvk: Gvk,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// As [`ResId`], borrowed from a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdRef<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
}

impl<'a> IdRef<'a> {
    pub(crate) fn effective_namespace(&self) -> &'a str {
        effective_namespace(is_cluster_scoped(self.group, self.version, self.kind), self.namespace)
    }

    /// Whether group, version and kind pass the filter `by`, whose empty parts match anything.
    pub(crate) fn is_of(&self, by: &Gvk) -> bool {
        let passes = |mine: &str, wanted: &str| wanted.is_empty() || mine == wanted;
        passes(self.kind, &by.kind) && passes(self.group, &by.group) && passes(self.version, &by.version)
    }

    /// Equal but for the namespace.
    pub(crate) fn same_gvk_and_name(&self, other: &ResId) -> bool {
        self.name == other.name
            && self.kind == other.gvk.kind
            && self.group == other.gvk.group
            && self.version == other.gvk.version
    }

    /// Equal in all that counts.
    pub(crate) fn is(&self, other: &ResId) -> bool {
        self.same_gvk_and_name(other) && self.effective_namespace() == other.effective_namespace()
    }

    /// Whether a replacement means this one by `by`, whose empty parts match anything. Where replacements
    /// look for their source, upstream takes every kind for one that lives in namespaces.
    pub(crate) fn is_selected_by(&self, by: &ResId) -> bool {
        let namespaced = |namespace| effective_namespace(false, namespace);
        (by.name.is_empty() || self.name == by.name)
            && self.is_of(&by.gvk)
            && (by.namespace.is_empty() || namespaced(self.namespace) == namespaced(&by.namespace))
    }
}

/// The namespace that counts for comparisons.
pub(crate) fn effective_namespace(cluster_scoped: bool, namespace: &str) -> &str {
    if cluster_scoped {
        NO_NAMESPACE
    } else if namespace.is_empty() {
        "default"
    } else {
        namespace
    }
}

impl ResId {
    pub(crate) fn effective_namespace(&self) -> &str {
        effective_namespace(self.gvk.is_cluster_scoped(), &self.namespace)
    }
}

impl PartialEq for ResId {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.gvk == other.gvk
            && self.effective_namespace() == other.effective_namespace()
    }
}

impl Eq for ResId {}

impl Hash for ResId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.gvk.kind.hash(state);
        self.effective_namespace().hash(state);
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.gvk, Or(&self.name, "[noName]"), Or(&self.namespace, "[noNs]"))
    }
}
