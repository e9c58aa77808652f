//! What an object is called across versions, and how the inventory writes it.

use std::fmt;
use std::str::FromStr;

use crate::object::write_subject;

/// A group and a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

/// The identity of an object: everything but the version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for what belongs to the cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Text that is no inventory id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse stored object metadata: {0}")]
pub struct IdError(String);

impl ObjectId {
    /// `Kind/namespace/name`, or `Kind/name` without a namespace.
    pub fn subject(&self) -> String {
        struct Subject<'a>(&'a ObjectId);
        impl fmt::Display for Subject<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_subject(f, &self.0.kind, &self.0.namespace, &self.0.name)
            }
        }
        Subject(self).to_string()
    }
}

/// Writes `<namespace>_<name>_<group>_<Kind>`, with `:` of RBAC names as `__`.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.replace(':', "__");
        write!(f, "{}_{}_{}_{}", self.namespace, name, self.group, self.kind)
    }
}

impl FromStr for ObjectId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = || {
            let (namespace, rest) = text.split_once('_')?;
            let (rest, kind) = rest.rsplit_once('_')?;
            let (name, group) = rest.rsplit_once('_')?;
            if name.is_empty() || kind.is_empty() {
                return None;
            }
            Some(Self {
                group: group.to_owned(),
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.replace("__", ":"),
            })
        };
        parts().ok_or_else(|| IdError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_written_as_flux_writes_them() {
        for (id, group, kind, namespace, name) in [
            ("default_backend__Service", "", "Service", "default", "backend"),
            ("_tenants__Namespace", "", "Namespace", "", "tenants"),
            ("apps_backend_apps_Deployment", "apps", "Deployment", "apps", "backend"),
            (
                "_system__controller_rbac.authorization.k8s.io_ClusterRole",
                "rbac.authorization.k8s.io",
                "ClusterRole",
                "",
                "system:controller",
            ),
        ] {
            let parsed: ObjectId = id.parse().unwrap();
            assert_eq!(
                (&*parsed.group, &*parsed.kind, &*parsed.namespace, &*parsed.name),
                (group, kind, namespace, name)
            );
            assert_eq!(parsed.to_string(), id);
        }
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "a", "a_b", "a_b_c", "ns___Kind", "ns_name_group_"] {
            assert!(text.parse::<ObjectId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_id_survives_being_written(
            namespace in "[a-z0-9-]{0,8}",
            name in "[a-z0-9]([a-z0-9:.-]{0,8}[a-z0-9])?",
            group in "[a-z.]{0,8}",
            kind in "[A-Z][A-Za-z]{0,8}",
        ) {
            let id = ObjectId { group, kind, namespace, name };
            prop_assert_eq!(id.to_string().parse::<ObjectId>().unwrap(), id);
        }
    }
}
