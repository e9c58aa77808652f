//! The kinds of the built-in schema (Kubernetes 1.21.2) and whether they live in namespaces.

/// `(apiVersion, cluster-scoped kinds, namespaced kinds)`.
const KINDS: &[(&str, &[&str], &[&str])] = &[
    (
        "admissionregistration.k8s.io/v1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        &[],
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        &[],
    ),
    ("apiextensions.k8s.io/v1", &["CustomResourceDefinition"], &[]),
    ("apiextensions.k8s.io/v1beta1", &["CustomResourceDefinition"], &[]),
    ("apiregistration.k8s.io/v1", &["APIService"], &[]),
    ("apiregistration.k8s.io/v1beta1", &["APIService"], &[]),
    ("apps/v1", &[], &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    ("autoscaling/v1", &[], &["HorizontalPodAutoscaler", "Scale"]),
    ("autoscaling/v2beta1", &[], &["HorizontalPodAutoscaler"]),
    ("autoscaling/v2beta2", &[], &["HorizontalPodAutoscaler"]),
    ("batch/v1", &[], &["CronJob", "Job"]),
    ("batch/v1beta1", &[], &["CronJob"]),
    ("certificates.k8s.io/v1", &["CertificateSigningRequest"], &[]),
    ("certificates.k8s.io/v1beta1", &["CertificateSigningRequest"], &[]),
    ("coordination.k8s.io/v1", &[], &["Lease"]),
    ("coordination.k8s.io/v1beta1", &[], &["Lease"]),
    ("discovery.k8s.io/v1", &[], &["EndpointSlice"]),
    ("discovery.k8s.io/v1beta1", &[], &["EndpointSlice"]),
    ("events.k8s.io/v1", &[], &["Event"]),
    ("events.k8s.io/v1beta1", &[], &["Event"]),
    ("extensions/v1beta1", &[], &["Ingress"]),
    ("flowcontrol.apiserver.k8s.io/v1beta1", &["FlowSchema", "PriorityLevelConfiguration"], &[]),
    ("networking.k8s.io/v1", &["IngressClass"], &["Ingress", "NetworkPolicy"]),
    ("networking.k8s.io/v1beta1", &["IngressClass"], &["Ingress"]),
    ("node.k8s.io/v1", &["RuntimeClass"], &[]),
    ("node.k8s.io/v1beta1", &["RuntimeClass"], &[]),
    ("policy/v1", &[], &["PodDisruptionBudget"]),
    ("policy/v1beta1", &["PodSecurityPolicy"], &["PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io/v1", &["ClusterRole", "ClusterRoleBinding"], &["Role", "RoleBinding"]),
    ("rbac.authorization.k8s.io/v1beta1", &["ClusterRole", "ClusterRoleBinding"], &["Role", "RoleBinding"]),
    ("scheduling.k8s.io/v1", &["PriorityClass"], &[]),
    ("scheduling.k8s.io/v1beta1", &["PriorityClass"], &[]),
    ("storage.k8s.io/v1", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"], &[]),
    (
        "storage.k8s.io/v1beta1",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
        &["CSIStorageCapacity"],
    ),
    (
        "v1",
        &["ComponentStatus", "Namespace", "Node", "NodeProxyOptions", "PersistentVolume"],
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodAttachOptions",
            "PodExecOptions",
            "PodPortForwardOptions",
            "PodProxyOptions",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
            "ServiceProxyOptions",
        ],
    ),
];

fn find(
    group: &str,
    version: &str,
) -> Option<&'static (&'static str, &'static [&'static str], &'static [&'static str])> {
    KINDS.iter().find(|(api_version, _, _)| {
        // Lengths differ mostly, and this is asked for every object.
        let rest = match group.len() {
            0 => Some(*api_version),
            length if api_version.len() == length + 1 + version.len() => {
                api_version.strip_prefix(group).and_then(|rest| rest.strip_prefix('/'))
            }
            _ => None,
        };
        rest == Some(version)
    })
}

/// The cluster-scoped kinds of all groups: the question is asked too often to search the table each time.
fn may_be_cluster_scoped(kind: &str) -> bool {
    matches!(
        kind,
        "APIService"
            | "CSIDriver"
            | "CSINode"
            | "CertificateSigningRequest"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "ComponentStatus"
            | "CustomResourceDefinition"
            | "FlowSchema"
            | "IngressClass"
            | "MutatingWebhookConfiguration"
            | "Namespace"
            | "Node"
            | "NodeProxyOptions"
            | "PersistentVolume"
            | "PodSecurityPolicy"
            | "PriorityClass"
            | "PriorityLevelConfiguration"
            | "RuntimeClass"
            | "StorageClass"
            | "ValidatingWebhookConfiguration"
            | "VolumeAttachment"
    )
}

/// Whether the kind is certainly cluster-scoped. What is unknown counts as namespaced.
pub(crate) fn is_cluster_scoped(group: &str, version: &str, kind: &str) -> bool {
    may_be_cluster_scoped(kind) && find(group, version).is_some_and(|(_, cluster, _)| cluster.contains(&kind))
}

/// Whether the built-in schema knows the kind.
pub(crate) fn is_known(group: &str, version: &str, kind: &str) -> bool {
    find(group, version)
        .is_some_and(|(_, cluster, namespaced)| cluster.contains(&kind) || namespaced.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_scoped_kind_of_the_table_is_found() {
        for (api_version, cluster, namespaced) in KINDS {
            let (group, version) = crate::id::split_api_version(api_version);
            for kind in *cluster {
                assert!(is_cluster_scoped(group, version, kind), "{api_version} {kind}");
            }
            for kind in *namespaced {
                assert!(!is_cluster_scoped(group, version, kind), "{api_version} {kind}");
            }
        }
    }
}
