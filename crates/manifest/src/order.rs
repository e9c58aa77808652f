//! The order in which objects are applied; pruning goes the other way.

use std::cmp::Ordering;

use crate::id::{GroupKind, ObjectId};

/// Kinds that come first, in this order, whatever their group.
const FIRST: [&str; 23] = [
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// Kinds that come last, in this order.
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// A kind's place: smaller is applied earlier.
pub fn rank(kind: &str) -> usize {
    let place = |list: &[&str]| list.iter().position(|listed| *listed == kind);
    match (place(&FIRST), place(&LAST)) {
        (Some(at), _) => at,
        (None, Some(at)) => FIRST.len() + 1 + at,
        (None, None) => FIRST.len(),
    }
}

/// Which objects are applied side by side: a wave is begun once the one before is through. Coarser than
/// [`rank`], for most kinds only have to be there before the workloads, not before each other.
pub fn wave(kind: &str) -> usize {
    match kind {
        // A Role before its bindings, an account before the Secrets that hold its tokens, a quota before
        // what it counts.
        "ServiceAccount" | "Role" | "ConfigMap" | "Service" | "LimitRange" => rank("ServiceAccount"),
        "RoleBinding" | "Secret" => rank("RoleBinding"),
        "Deployment" | "StatefulSet" | "CronJob" | "PodDisruptionBudget" => FIRST.len(),
        other => rank(other),
    }
}

/// Apply order: rank, then group, kind, namespace and name.
pub fn apply_order(a: &ObjectId, b: &ObjectId) -> Ordering {
    rank(&a.kind).cmp(&rank(&b.kind)).then_with(|| a.cmp(b))
}

/// What is applied together, before the next is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKind {
    /// Custom resource definitions, namespaces and cluster roles.
    Definitions,
    /// Kinds whose name ends in `Class`.
    Classes,
    /// Kinds named by the operator.
    Custom,
    /// Everything else.
    Rest,
}

impl StageKind {
    /// The stage of an object; `custom` are the operator's kinds.
    pub fn of(id: &ObjectId, custom: &[GroupKind]) -> Self {
        let is = |group: &str, kind: &str| id.group == group && id.kind.eq_ignore_ascii_case(kind);
        if is("apiextensions.k8s.io", "CustomResourceDefinition")
            || is("", "Namespace")
            || is("rbac.authorization.k8s.io", "ClusterRole")
        {
            Self::Definitions
        } else if id.kind.to_ascii_lowercase().ends_with("class") {
            Self::Classes
        } else if custom.iter().any(|c| c.group == id.group && c.kind == id.kind) {
            Self::Custom
        } else {
            Self::Rest
        }
    }

    /// Whether the next stage waits until this one is healthy.
    pub fn waits(self) -> bool {
        matches!(self, Self::Definitions | Self::Classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(group: &str, kind: &str, name: &str) -> ObjectId {
        ObjectId { group: group.into(), kind: kind.into(), namespace: "n".into(), name: name.into() }
    }

    #[test]
    fn definitions_come_first_and_webhooks_last() {
        let mut ids = [
            id("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "w"),
            id("example.com", "Widget", "b"),
            id("apps", "Deployment", "d"),
            id("", "Secret", "s"),
            id("example.com", "Gadget", "z"),
            id("", "Namespace", "n"),
            id("apiextensions.k8s.io", "CustomResourceDefinition", "c"),
            id("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "w"),
        ];
        ids.sort_by(apply_order);
        let kinds: Vec<_> = ids.iter().map(|id| id.kind.as_str()).collect();
        assert_eq!(
            kinds,
            [
                "CustomResourceDefinition",
                "Namespace",
                "Secret",
                "Deployment",
                "Gadget",
                "Widget",
                "MutatingWebhookConfiguration",
                "ValidatingWebhookConfiguration"
            ]
        );
    }

    #[test]
    fn what_others_rely_on_is_in_an_earlier_wave() {
        let chains: [&[&str]; 4] = [
            &[
                "CustomResourceDefinition",
                "Namespace",
                "ResourceQuota",
                "ServiceAccount",
                "Secret",
                "Deployment",
            ],
            &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Job"],
            &["LimitRange", "StatefulSet", "MutatingWebhookConfiguration"],
            &["Service", "Ingress", "ValidatingWebhookConfiguration"],
        ];
        for chain in chains {
            assert!(chain.is_sorted_by(|a, b| wave(a) < wave(b)), "{chain:?}");
        }
        assert_eq!(wave("Service"), wave("ServiceAccount"));
        assert_eq!(wave("Deployment"), wave("Ingress"));
    }

    #[test]
    fn stages_follow_group_and_kind() {
        let role = GroupKind { group: "rbac.authorization.k8s.io".into(), kind: "Role".into() };
        for (group, kind, expected) in [
            ("apiextensions.k8s.io", "customresourcedefinition", StageKind::Definitions),
            ("", "Namespace", StageKind::Definitions),
            ("other.io", "Namespace", StageKind::Rest),
            ("storage.k8s.io", "StorageClass", StageKind::Classes),
            ("any.io", "FooClass", StageKind::Classes),
            ("rbac.authorization.k8s.io", "Role", StageKind::Custom),
            ("", "ConfigMap", StageKind::Rest),
        ] {
            assert_eq!(StageKind::of(&id(group, kind, "x"), std::slice::from_ref(&role)), expected, "{kind}");
        }
    }
}
