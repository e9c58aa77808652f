//! What a controller must be allowed to do, as data: its ClusterRole is generated from this.

/// Some verbs on some resources of some groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API groups; the core group is empty.
    pub groups: &'static [&'static str],
    /// Plural names, subresources after a slash.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
}

/// The verbs of a reader.
pub const READ: &[&str] = &["get", "list", "watch"];
