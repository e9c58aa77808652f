//! The built-in fields of the transformers, by kind.

use crate::config::Referrers;
use crate::fieldspec::FieldSpec;
use crate::id::Gvk;

/// `(group, version, kind, path, create)`; an empty part matches anything.
pub(crate) type Row = (&'static str, &'static str, &'static str, &'static str, bool);

pub(crate) const NAMESPACE: &[Row] = &[
    ("", "", "Namespace", "metadata/name", true),
    ("apiregistration.k8s.io", "", "APIService", "spec/service/namespace", true),
    (
        "apiextensions.k8s.io",
        "",
        "CustomResourceDefinition",
        "spec/conversion/webhook/clientConfig/service/namespace",
        false,
    ),
];

/// Labels of objects and of what they make.
pub(crate) const LABELS: &[Row] = &[
    ("", "", "", "metadata/labels", true),
    ("", "v1", "ReplicationController", "spec/template/metadata/labels", true),
    ("", "", "Deployment", "spec/template/metadata/labels", true),
    ("", "", "ReplicaSet", "spec/template/metadata/labels", true),
    ("", "", "DaemonSet", "spec/template/metadata/labels", true),
    ("apps", "", "StatefulSet", "spec/template/metadata/labels", true),
    ("apps", "", "StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", true),
    ("batch", "", "Job", "spec/template/metadata/labels", true),
    ("batch", "", "CronJob", "spec/jobTemplate/metadata/labels", true),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/labels", true),
];

/// Labels objects are selected by.
pub(crate) const SELECTORS: &[Row] = &[
    ("", "v1", "Service", "spec/selector", true),
    ("", "v1", "ReplicationController", "spec/selector", true),
    ("", "", "Deployment", "spec/selector/matchLabels", true),
    (
        "apps",
        "",
        "Deployment",
        "spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "Deployment",
        "spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "Deployment",
        "spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "Deployment",
        "spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "Deployment",
        "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
        false,
    ),
    ("", "", "ReplicaSet", "spec/selector/matchLabels", true),
    ("", "", "DaemonSet", "spec/selector/matchLabels", true),
    ("apps", "", "StatefulSet", "spec/selector/matchLabels", true),
    (
        "apps",
        "",
        "StatefulSet",
        "spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "StatefulSet",
        "spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "StatefulSet",
        "spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "StatefulSet",
        "spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
        false,
    ),
    (
        "apps",
        "",
        "StatefulSet",
        "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
        false,
    ),
    ("batch", "", "Job", "spec/selector/matchLabels", false),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/selector/matchLabels", false),
    ("policy", "", "PodDisruptionBudget", "spec/selector/matchLabels", false),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/podSelector/matchLabels", false),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/ingress/from/podSelector/matchLabels", false),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/egress/to/podSelector/matchLabels", false),
];

pub(crate) const ANNOTATIONS: &[Row] = &[
    ("", "", "", "metadata/annotations", true),
    ("", "v1", "ReplicationController", "spec/template/metadata/annotations", true),
    ("", "", "Deployment", "spec/template/metadata/annotations", true),
    ("", "", "ReplicaSet", "spec/template/metadata/annotations", true),
    ("", "", "DaemonSet", "spec/template/metadata/annotations", true),
    ("", "", "StatefulSet", "spec/template/metadata/annotations", true),
    ("batch", "", "Job", "spec/template/metadata/annotations", true),
    ("batch", "", "CronJob", "spec/jobTemplate/metadata/annotations", true),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/annotations", true),
];

pub(crate) const IMAGES: &[Row] = &[
    ("", "", "", "spec/containers[]/image", true),
    ("", "", "", "spec/initContainers[]/image", true),
    ("", "", "", "spec/volumes[]/image/reference", true),
    ("", "", "", "spec/template/spec/containers[]/image", true),
    ("", "", "", "spec/template/spec/initContainers[]/image", true),
    ("", "", "", "spec/template/spec/volumes[]/image/reference", true),
];

pub(crate) const REPLICAS: &[Row] = &[
    ("", "", "Deployment", "spec/replicas", true),
    ("", "", "ReplicationController", "spec/replicas", true),
    ("", "", "ReplicaSet", "spec/replicas", true),
    ("", "", "StatefulSet", "spec/replicas", true),
];

/// Selectors and labels in the order upstream's sorting leaves them in: it decides the order in which fields
/// are created, and that the hashes of some kinds.
pub(crate) fn common_labels() -> Vec<FieldSpec> {
    let (mut labels, last): (Vec<_>, Vec<_>) = specs(LABELS).into_iter().partition(|spec| {
        spec.path != "spec/template/metadata/labels"
            || !matches!(spec.gvk.kind.as_str(), "Job" | "StatefulSet")
    });
    let (first, selectors): (Vec<_>, Vec<_>) = specs(SELECTORS)
        .into_iter()
        .partition(|spec| spec.gvk.kind == "StatefulSet" && spec.path == "spec/selector/matchLabels");
    labels.splice(0..0, first);
    labels.extend(selectors);
    labels.extend(last);
    labels
}

pub(crate) fn specs(rows: &[Row]) -> Vec<FieldSpec> {
    rows.iter()
        .map(|(group, version, kind, path, create)| FieldSpec::new(group, version, kind, path, *create))
        .collect()
}

/// Where a kind keeps its pod spec: `(version, kind, prefix)`.
const PODS: &[(&str, &str, &str)] = &[
    ("v1", "Pod", "spec/"),
    ("", "PodTemplate", "template/spec/"),
    ("", "Deployment", "spec/template/spec/"),
    ("", "ReplicaSet", "spec/template/spec/"),
    ("", "DaemonSet", "spec/template/spec/"),
    ("", "StatefulSet", "spec/template/spec/"),
    ("", "Job", "spec/template/spec/"),
    ("", "CronJob", "spec/jobTemplate/spec/template/spec/"),
];

/// The kinds that refer to accounts, claims and priorities.
const WORKLOADS: &[(&str, &str)] = &[
    ("Pod", "spec/"),
    ("StatefulSet", "spec/template/spec/"),
    ("Deployment", "spec/template/spec/"),
    ("ReplicationController", "spec/template/spec/"),
    ("CronJob", "spec/jobTemplate/spec/template/spec/"),
    ("Job", "spec/template/spec/"),
    ("DaemonSet", "spec/template/spec/"),
];

const CONFIG_MAP: &[&str] = &[
    "volumes/configMap/name",
    "containers/env/valueFrom/configMapKeyRef/name",
    "initContainers/env/valueFrom/configMapKeyRef/name",
    "containers/envFrom/configMapRef/name",
    "initContainers/envFrom/configMapRef/name",
    "volumes/projected/sources/configMap/name",
];

const SECRET: &[&str] = &[
    "volumes/secret/secretName",
    "containers/env/valueFrom/secretKeyRef/name",
    "initContainers/env/valueFrom/secretKeyRef/name",
    "containers/envFrom/secretRef/name",
    "initContainers/envFrom/secretRef/name",
    "imagePullSecrets/name",
    "volumes/projected/sources/secret/name",
];

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// `(group, version, kind)` of the referent and the rows of its referrers.
type Target = (&'static str, &'static str, &'static str, &'static [Row]);

const REFERENCES: &[Target] = &[
    ("", "", "Deployment", &[("", "", "HorizontalPodAutoscaler", "spec/scaleTargetRef/name", false)]),
    (
        "",
        "",
        "ReplicationController",
        &[("", "", "HorizontalPodAutoscaler", "spec/scaleTargetRef/name", false)],
    ),
    ("", "", "ReplicaSet", &[("", "", "HorizontalPodAutoscaler", "spec/scaleTargetRef/name", false)]),
    ("", "", "StatefulSet", &[("", "", "HorizontalPodAutoscaler", "spec/scaleTargetRef/name", false)]),
    (
        "",
        "v1",
        "ConfigMap",
        &[
            ("", "", "Node", "spec/configSource/configMap", false),
            ("", "", "Role", "rules/resourceNames", false),
            ("", "", "ClusterRole", "rules/resourceNames", false),
            (
                "",
                "",
                "Ingress",
                "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap",
                false,
            ),
        ],
    ),
    (
        "",
        "v1",
        "Secret",
        &[
            ("", "", "Ingress", "spec/tls/secretName", false),
            ("", "", "Ingress", "metadata/annotations/ingress.kubernetes.io\\/auth-secret", false),
            ("", "", "Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret", false),
            ("", "", "Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret", false),
            ("", "", "ServiceAccount", "imagePullSecrets/name", false),
            ("", "", "StorageClass", "parameters/secretName", false),
            ("", "", "StorageClass", "parameters/adminSecretName", false),
            ("", "", "StorageClass", "parameters/userSecretName", false),
            ("", "", "StorageClass", "parameters/secretRef", false),
            ("", "", "Role", "rules/resourceNames", false),
            ("", "", "ClusterRole", "rules/resourceNames", false),
            (
                "serving.knative.dev",
                "v1",
                "Service",
                "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
                false,
            ),
            ("", "", "PersistentVolume", "spec/azureFile/secretName", false),
        ],
    ),
    (
        "",
        "v1",
        "Service",
        &[
            ("apps", "", "StatefulSet", "spec/serviceName", false),
            ("", "", "Ingress", "spec/rules/http/paths/backend/serviceName", false),
            ("", "", "Ingress", "spec/backend/serviceName", false),
            ("", "", "Ingress", "spec/rules/http/paths/backend/service/name", false),
            ("", "", "Ingress", "spec/defaultBackend/service/name", false),
            ("apiregistration.k8s.io", "", "APIService", "spec/service/name", false),
            (ADMISSION, "", "ValidatingWebhookConfiguration", "webhooks/clientConfig/service", false),
            (ADMISSION, "", "MutatingWebhookConfiguration", "webhooks/clientConfig/service", false),
        ],
    ),
    (RBAC, "", "Role", &[(RBAC, "", "RoleBinding", "roleRef/name", false)]),
    (
        RBAC,
        "",
        "ClusterRole",
        &[
            (RBAC, "", "RoleBinding", "roleRef/name", false),
            (RBAC, "", "ClusterRoleBinding", "roleRef/name", false),
        ],
    ),
    (
        "",
        "v1",
        "ServiceAccount",
        &[(RBAC, "", "RoleBinding", "subjects", false), (RBAC, "", "ClusterRoleBinding", "subjects", false)],
    ),
    ("", "v1", "PersistentVolumeClaim", &[]),
    (
        "",
        "v1",
        "PersistentVolume",
        &[
            ("", "", "PersistentVolumeClaim", "spec/volumeName", false),
            ("", "", "ClusterRole", "rules/resourceNames", false),
        ],
    ),
    (
        "storage.k8s.io",
        "v1",
        "StorageClass",
        &[
            ("", "", "PersistentVolume", "spec/storageClassName", false),
            ("", "", "PersistentVolumeClaim", "spec/storageClassName", false),
            ("", "", "StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName", false),
        ],
    ),
    ("scheduling.k8s.io", "v1", "PriorityClass", &[]),
    // The group is malformed upstream, so that this entry never applies.
    ("networking.k8s.io/v1", "v1", "IngressClass", &[("", "", "Ingress", "spec/ingressClassName", false)]),
    (
        ADMISSION,
        "",
        "ValidatingAdmissionPolicy",
        &[(ADMISSION, "", "ValidatingAdmissionPolicyBinding", "spec/policyName", false)],
    ),
];

/// All fields that refer to others by name.
pub(crate) fn references() -> Vec<Referrers> {
    let pods = |paths: &'static [&'static str]| {
        PODS.iter().flat_map(move |(version, kind, prefix)| {
            paths.iter().map(move |path| FieldSpec::new("", version, kind, &format!("{prefix}{path}"), false))
        })
    };
    let workloads = |path: &'static str| {
        WORKLOADS
            .iter()
            .map(move |(kind, prefix)| FieldSpec::new("", "", kind, &format!("{prefix}{path}"), false))
    };
    let mut all = Vec::with_capacity(REFERENCES.len());
    for (group, version, kind, rows) in REFERENCES {
        let mut fields: Vec<FieldSpec> = match *kind {
            "ConfigMap" => pods(CONFIG_MAP).collect(),
            "Secret" => pods(SECRET).collect(),
            _ => Vec::new(),
        };
        fields.extend(specs(rows));
        match *kind {
            "ServiceAccount" => fields.extend(workloads("serviceAccountName")),
            "PersistentVolumeClaim" => fields.extend(workloads("volumes/persistentVolumeClaim/claimName")),
            "PriorityClass" => fields.extend(workloads("priorityClassName")),
            _ => {}
        }
        let target = Gvk { group: (*group).into(), version: (*version).into(), kind: (*kind).into() };
        all.push(Referrers { target, fields });
    }
    all
}

const VARIABLE_PODS: &[(&str, &str)] = &[
    ("CronJob", "spec/jobTemplate/spec/template/spec/"),
    ("DaemonSet", "spec/template/spec/"),
    ("Deployment", "spec/template/spec/"),
    ("Job", "spec/template/spec/"),
    ("Pod", "spec/"),
    ("ReplicaSet", "spec/template/spec/"),
    ("StatefulSet", "spec/template/spec/"),
];

const VARIABLE_PATHS: &[&str] = &[
    "containers/args",
    "containers/command",
    "containers/env/value",
    "containers/volumeMounts/mountPath",
    "initContainers/args",
    "initContainers/command",
    "initContainers/env/value",
    "initContainers/volumeMounts/mountPath",
];

const VARIABLES: &[Row] = &[
    // The path lacks a `spec` upstream, so that this entry never applies.
    ("", "", "CronJob", "spec/jobTemplate/spec/template/volumes/nfs/server", false),
    ("", "", "DaemonSet", "spec/template/spec/volumes/nfs/server", false),
    ("", "", "Deployment", "spec/template/spec/volumes/nfs/server", false),
    ("", "", "Deployment", "spec/template/metadata/annotations", false),
    ("", "", "Ingress", "spec/rules/host", false),
    ("", "", "Ingress", "spec/tls/hosts", false),
    ("", "", "Ingress", "spec/tls/secretName", false),
    ("", "", "Job", "spec/template/spec/volumes/nfs/server", false),
    ("", "", "Pod", "spec/volumes/nfs/server", false),
    ("", "", "ReplicaSet", "spec/template/spec/volumes/nfs/server", false),
    ("", "", "Service", "spec/ports/port", false),
    ("", "", "Service", "spec/ports/targetPort", false),
    ("", "", "StatefulSet", "spec/volumeClaimTemplates/spec/nfs/server", false),
    ("", "", "PersistentVolume", "spec/nfs/server", false),
    ("", "", "", "metadata/labels", false),
    ("", "", "", "metadata/annotations", false),
];

/// All fields variables are replaced in.
pub(crate) fn variables() -> Vec<FieldSpec> {
    let mut all: Vec<FieldSpec> = VARIABLE_PODS
        .iter()
        .flat_map(|(kind, prefix)| {
            VARIABLE_PATHS
                .iter()
                .map(move |path| FieldSpec::new("", "", kind, &format!("{prefix}{path}"), false))
        })
        .collect();
    all.extend(specs(VARIABLES));
    all
}
