//! Defaults of the built-in kinds, as far as clients notice them.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::object::{as_map, default_to, section};
use sluice_manifest::quantity::canonical;

type Object = Map<String, Value>;

/// Fills in the defaults that decoding a built-in kind brings.
pub(crate) fn fill_defaults(kind: &Kind, value: &mut Value) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            let name = crate::object::meta(value, "name").to_owned();
            let metadata = section(value, "metadata");
            child(metadata, "labels").insert("kubernetes.io/metadata.name".into(), json!(name));
        }
        ("apps", "Deployment") => deployment(section(value, "spec")),
        ("apps", "StatefulSet") => stateful_set(section(value, "spec")),
        ("apps", "DaemonSet") => {
            let spec = section(value, "spec");
            default_to(spec, "revisionHistoryLimit", 10);
            let strategy = child(spec, "updateStrategy");
            default_to(strategy, "type", "RollingUpdate");
            if is(strategy, "type", "RollingUpdate") {
                let rolling = child(strategy, "rollingUpdate");
                default_to(rolling, "maxSurge", 0);
                default_to(rolling, "maxUnavailable", 1);
            }
            template(spec);
        }
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            let spec = section(value, "spec");
            default_to(spec, "replicas", 1);
            template(spec);
        }
        ("batch", "Job") => job(section(value, "spec")),
        ("batch", "CronJob") => {
            let spec = section(value, "spec");
            default_to(spec, "concurrencyPolicy", "Allow");
            default_to(spec, "failedJobsHistoryLimit", 1);
            default_to(spec, "successfulJobsHistoryLimit", 3);
            default_to(spec, "suspend", false);
            let job = child(spec, "jobTemplate");
            child(job, "metadata");
            template(child(job, "spec"));
        }
        ("", "Pod") => {
            let spec = section(value, "spec");
            pod(spec);
            for list in ["containers", "initContainers"] {
                for container in items(spec, list) {
                    request_limits(child(container, "resources"));
                }
            }
            default_to(spec, "enableServiceLinks", true);
            default_to(spec, "preemptionPolicy", "PreemptLowerPriority");
            default_to(spec, "priority", 0);
            default_to(spec, "serviceAccountName", "default");
            let account = spec.get("serviceAccountName").cloned().unwrap_or_default();
            default_to(spec, "serviceAccount", account);
        }
        ("", "Service") => service(section(value, "spec")),
        ("", "Secret") => {
            super::fold_string_data(value);
            default_to(as_map(value), "type", "Opaque");
        }
        ("", "PersistentVolumeClaim") => {
            let spec = section(value, "spec");
            default_to(spec, "volumeMode", "Filesystem");
            quantities(child_if(spec, "resources"));
        }
        ("", "PersistentVolume") => {
            let spec = section(value, "spec");
            default_to(spec, "volumeMode", "Filesystem");
            default_to(spec, "persistentVolumeReclaimPolicy", "Retain");
            canonical_map(child_if(spec, "capacity"));
        }
        ("networking.k8s.io", "NetworkPolicy") => network_policy(section(value, "spec")),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let spec = section(value, "spec");
            default_to(spec, "minReplicas", 1);
            let metric = json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}});
            default_to(spec, "metrics", json!([metric]));
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            let map = as_map(value);
            default_to(child(map, "roleRef"), "apiGroup", "rbac.authorization.k8s.io");
            for subject in items(map, "subjects") {
                if is(subject, "kind", "User") || is(subject, "kind", "Group") {
                    default_to(subject, "apiGroup", "rbac.authorization.k8s.io");
                }
            }
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            as_map(value).entry("rules").or_insert(Value::Null);
        }
        ("storage.k8s.io", "StorageClass") => {
            default_to(as_map(value), "reclaimPolicy", "Delete");
            default_to(as_map(value), "volumeBindingMode", "Immediate");
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            default_to(as_map(value), "preemptionPolicy", "PreemptLowerPriority")
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(section(value, "spec")),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => webhooks(value, true),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => webhooks(value, false),
        ("", "Event") => {
            let map = as_map(value);
            for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
                map.entry(field).or_insert(Value::Null);
            }
            child(map, "source");
            map.entry("reportingComponent").or_insert(json!(""));
            map.entry("reportingInstance").or_insert(json!(""));
        }
        _ => {}
    }
}

fn child<'v>(map: &'v mut Object, field: &str) -> &'v mut Object {
    as_map(map.entry(field).or_insert_with(|| json!({})))
}

fn child_if<'v>(map: &'v mut Object, field: &str) -> Option<&'v mut Object> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

fn items<'v>(map: &'v mut Object, field: &str) -> impl Iterator<Item = &'v mut Object> {
    let list = map.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn is(map: &Object, field: &str, text: &str) -> bool {
    map.get(field).and_then(Value::as_str) == Some(text)
}

fn deployment(spec: &mut Object) {
    default_to(spec, "replicas", 1);
    default_to(spec, "progressDeadlineSeconds", 600);
    default_to(spec, "revisionHistoryLimit", 10);
    let strategy = child(spec, "strategy");
    default_to(strategy, "type", "RollingUpdate");
    if is(strategy, "type", "RollingUpdate") {
        let rolling = child(strategy, "rollingUpdate");
        default_to(rolling, "maxSurge", "25%");
        default_to(rolling, "maxUnavailable", "25%");
    }
    template(spec);
}

fn stateful_set(spec: &mut Object) {
    default_to(spec, "replicas", 1);
    default_to(spec, "revisionHistoryLimit", 10);
    default_to(spec, "podManagementPolicy", "OrderedReady");
    default_to(spec, "serviceName", "");
    let retention = child(spec, "persistentVolumeClaimRetentionPolicy");
    default_to(retention, "whenDeleted", "Retain");
    default_to(retention, "whenScaled", "Retain");
    let strategy = child(spec, "updateStrategy");
    default_to(strategy, "type", "RollingUpdate");
    if is(strategy, "type", "RollingUpdate") {
        default_to(child(strategy, "rollingUpdate"), "partition", 0);
    }
    for claim in items(spec, "volumeClaimTemplates") {
        default_to(claim, "apiVersion", "v1");
        default_to(claim, "kind", "PersistentVolumeClaim");
        let inner = child(claim, "spec");
        default_to(inner, "volumeMode", "Filesystem");
        quantities(child_if(inner, "resources"));
        default_to(child(claim, "status"), "phase", "Pending");
    }
    template(spec);
}

fn job(spec: &mut Object) {
    let open = !spec.contains_key("completions") && !spec.contains_key("parallelism");
    if open {
        default_to(spec, "completions", 1);
    }
    default_to(spec, "parallelism", 1);
    default_to(spec, "backoffLimit", 6);
    default_to(spec, "completionMode", "NonIndexed");
    default_to(spec, "manualSelector", false);
    default_to(spec, "suspend", false);
    default_to(spec, "podReplacementPolicy", "TerminatingOrFailed");
    template(spec);
}

fn service(spec: &mut Object) {
    default_to(spec, "sessionAffinity", "None");
    default_to(spec, "type", "ClusterIP");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        default_to(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default_to(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default_to(spec, "allocateLoadBalancerNodePorts", true);
    }
    for port in items(spec, "ports") {
        default_to(port, "protocol", "TCP");
        let same = port.get("port").cloned().unwrap_or(Value::Null);
        if port.get("targetPort").is_some_and(|target| target == 0) {
            port.remove("targetPort");
        }
        default_to(port, "targetPort", same);
    }
}

fn network_policy(spec: &mut Object) {
    child(spec, "podSelector");
    let egress = spec.contains_key("egress");
    let kinds = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    default_to(spec, "policyTypes", kinds);
    for side in ["ingress", "egress"] {
        for rule in items(spec, side) {
            for port in items(rule, "ports") {
                default_to(port, "protocol", "TCP");
            }
        }
    }
}

fn definition(spec: &mut Object) {
    default_to(child(spec, "conversion"), "strategy", "None");
    let names = child(spec, "names");
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    default_to(names, "singular", kind.to_lowercase());
    default_to(names, "listKind", format!("{kind}List"));
}

fn webhooks(value: &mut Value, mutating: bool) {
    for hook in items(as_map(value), "webhooks") {
        default_to(hook, "failurePolicy", "Fail");
        default_to(hook, "matchPolicy", "Equivalent");
        default_to(hook, "timeoutSeconds", 10);
        child(hook, "namespaceSelector");
        child(hook, "objectSelector");
        if mutating {
            default_to(hook, "reinvocationPolicy", "Never");
        }
        if let Some(service) = child_if(child(hook, "clientConfig"), "service") {
            default_to(service, "port", 443);
        }
        for rule in items(hook, "rules") {
            default_to(rule, "scope", "*");
        }
    }
}

fn template(spec: &mut Object) {
    let template = child(spec, "template");
    child(template, "metadata");
    pod(child(template, "spec"));
}

fn pod(spec: &mut Object) {
    default_to(spec, "dnsPolicy", "ClusterFirst");
    default_to(spec, "restartPolicy", "Always");
    default_to(spec, "schedulerName", "default-scheduler");
    default_to(spec, "terminationGracePeriodSeconds", 30);
    child(spec, "securityContext");
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        default_to(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            self::container(container);
        }
    }
    for volume in items(spec, "volumes") {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(source) = child_if(volume, source) {
                default_to(source, "defaultMode", 420);
            }
        }
        if let Some(host) = child_if(volume, "hostPath") {
            default_to(host, "type", "");
        }
        if volume.len() == 1 {
            child(volume, "emptyDir");
        }
    }
}

fn container(container: &mut Object) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    default_to(container, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
    default_to(container, "terminationMessagePath", "/dev/termination-log");
    default_to(container, "terminationMessagePolicy", "File");
    let resources = child(container, "resources");
    quantities(Some(resources));
    for port in items(container, "ports") {
        default_to(port, "protocol", "TCP");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = child_if(container, probe) {
            default_to(probe, "failureThreshold", 3);
            default_to(probe, "periodSeconds", 10);
            default_to(probe, "successThreshold", 1);
            default_to(probe, "timeoutSeconds", 1);
            if let Some(get) = child_if(probe, "httpGet") {
                default_to(get, "path", "/");
                default_to(get, "scheme", "HTTP");
            }
        }
    }
    for entry in items(container, "env") {
        if let Some(field) = child_if(entry, "valueFrom").and_then(|from| child_if(from, "fieldRef")) {
            default_to(field, "apiVersion", "v1");
        }
    }
}

/// Of a pod, not of a template: a limit is also a request.
fn request_limits(resources: &mut Object) {
    if let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() {
        let requests = child(resources, "requests");
        for (name, value) in limits {
            default_to(requests, &name, value);
        }
    }
}

/// Requests and limits in canonical form.
fn quantities(resources: Option<&mut Object>) {
    let Some(resources) = resources else { return };
    canonical_map(child_if(resources, "limits"));
    canonical_map(child_if(resources, "requests"));
}

fn canonical_map(map: Option<&mut Object>) {
    for value in map.into_iter().flat_map(Map::values_mut) {
        let text = match &*value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        *value = json!(canonical(&text).unwrap_or(text));
    }
}
