//! What strategic merging knows about lists: which are merged by key. Built-in kinds come from a table that
//! holds just the ways to such lists; custom ones from an OpenAPI document.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::error::{Result, bad};
use crate::id::{Gvk, split_api_version};
use crate::scope::is_known;

/// The fields of a built-in type that lead to keyed lists.
#[derive(Debug)]
pub(crate) struct Type(&'static [(&'static str, Field)]);

#[derive(Debug)]
enum Field {
    Object(&'static Type),
    /// A list merged by the given keys, or as a set of scalars when there are none.
    List(&'static [&'static str], &'static Type),
}

use Field::{List, Object};

static NONE: Type = Type(&[]);
static META: Type = Type(&[("finalizers", List(&[], &NONE)), ("ownerReferences", List(&["uid"], &NONE))]);
static CONDITIONS: Type = Type(&[("conditions", List(&["type"], &NONE))]);
static CONTAINER: Type = Type(&[
    ("env", List(&["name"], &NONE)),
    ("ports", List(&["containerPort", "protocol"], &NONE)),
    ("volumeDevices", List(&["devicePath"], &NONE)),
    ("volumeMounts", List(&["mountPath"], &NONE)),
]);
static EPHEMERAL: Type = Type(&[
    ("env", List(&["name"], &NONE)),
    ("volumeDevices", List(&["devicePath"], &NONE)),
    ("volumeMounts", List(&["mountPath"], &NONE)),
]);
static VOLUME: Type = Type(&[("ephemeral", Object(&EPHEMERAL_VOLUME))]);
static EPHEMERAL_VOLUME: Type = Type(&[("volumeClaimTemplate", Object(&CLAIM_TEMPLATE))]);
static CLAIM_TEMPLATE: Type = Type(&[("metadata", Object(&META))]);
static POD_SPEC: Type = Type(&[
    ("containers", List(&["name"], &CONTAINER)),
    ("ephemeralContainers", List(&["name"], &EPHEMERAL)),
    ("hostAliases", List(&["ip"], &NONE)),
    ("imagePullSecrets", List(&["name"], &NONE)),
    ("initContainers", List(&["name"], &CONTAINER)),
    ("topologySpreadConstraints", List(&["topologyKey", "whenUnsatisfiable"], &NONE)),
    ("volumes", List(&["name"], &VOLUME)),
]);
static POD_STATUS: Type = Type(&[("conditions", List(&["type"], &NONE)), ("podIPs", List(&["ip"], &NONE))]);
static POD: Type =
    Type(&[("metadata", Object(&META)), ("spec", Object(&POD_SPEC)), ("status", Object(&POD_STATUS))]);
static POD_TEMPLATE_SPEC: Type = Type(&[("metadata", Object(&META)), ("spec", Object(&POD_SPEC))]);
static POD_TEMPLATE: Type = Type(&[("metadata", Object(&META)), ("template", Object(&POD_TEMPLATE_SPEC))]);
static WORKLOAD_SPEC: Type = Type(&[("template", Object(&POD_TEMPLATE_SPEC))]);
static WORKLOAD: Type =
    Type(&[("metadata", Object(&META)), ("spec", Object(&WORKLOAD_SPEC)), ("status", Object(&CONDITIONS))]);
static JOB_TEMPLATE: Type = Type(&[("metadata", Object(&META)), ("spec", Object(&WORKLOAD_SPEC))]);
static CRON_SPEC: Type = Type(&[("jobTemplate", Object(&JOB_TEMPLATE))]);
static CRON_JOB: Type = Type(&[("metadata", Object(&META)), ("spec", Object(&CRON_SPEC))]);
static SERVICE_SPEC: Type = Type(&[("ports", List(&["port", "protocol"], &NONE))]);
static SERVICE: Type =
    Type(&[("metadata", Object(&META)), ("spec", Object(&SERVICE_SPEC)), ("status", Object(&CONDITIONS))]);
static SERVICE_ACCOUNT: Type = Type(&[("metadata", Object(&META)), ("secrets", List(&["name"], &NONE))]);
static NODE_SPEC: Type = Type(&[("podCIDRs", List(&[], &NONE))]);
static NODE_STATUS: Type =
    Type(&[("addresses", List(&["type"], &NONE)), ("conditions", List(&["type"], &NONE))]);
static NODE: Type =
    Type(&[("metadata", Object(&META)), ("spec", Object(&NODE_SPEC)), ("status", Object(&NODE_STATUS))]);
static COMPONENT_STATUS: Type = Type(&[("metadata", Object(&META)), ("conditions", List(&["type"], &NONE))]);
static WITH_CONDITIONS: Type = Type(&[("metadata", Object(&META)), ("status", Object(&CONDITIONS))]);
static WEBHOOKS: Type = Type(&[("metadata", Object(&META)), ("webhooks", List(&["name"], &NONE))]);
static CSI_NODE_SPEC: Type = Type(&[("drivers", List(&["name"], &NONE))]);
static CSI_NODE: Type = Type(&[("metadata", Object(&META)), ("spec", Object(&CSI_NODE_SPEC))]);
static PLAIN: Type = Type(&[("metadata", Object(&META))]);
static KUSTOMIZATION: Type =
    Type(&[("configMapGenerator", List(&["name"], &NONE)), ("secretGenerator", List(&["name"], &NONE))]);

/// Definitions a custom document may point at by name.
static DEFINITIONS: &[(&str, &Type)] = &[
    ("io.k8s.api.core.v1.Container", &CONTAINER),
    ("io.k8s.api.core.v1.EphemeralContainer", &EPHEMERAL),
    ("io.k8s.api.core.v1.PodSpec", &POD_SPEC),
    ("io.k8s.api.core.v1.PodTemplateSpec", &POD_TEMPLATE_SPEC),
    ("io.k8s.api.core.v1.PodStatus", &POD_STATUS),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", &WORKLOAD_SPEC),
    ("io.k8s.api.core.v1.ServiceSpec", &SERVICE_SPEC),
    ("io.k8s.api.core.v1.Volume", &VOLUME),
    ("io.k8s.api.apps.v1.DaemonSetSpec", &WORKLOAD_SPEC),
    ("io.k8s.api.apps.v1.DeploymentSpec", &WORKLOAD_SPEC),
    ("io.k8s.api.apps.v1.ReplicaSetSpec", &WORKLOAD_SPEC),
    ("io.k8s.api.apps.v1.StatefulSetSpec", &WORKLOAD_SPEC),
    ("io.k8s.api.batch.v1.CronJobSpec", &CRON_SPEC),
    ("io.k8s.api.batch.v1.JobSpec", &WORKLOAD_SPEC),
    ("io.k8s.api.batch.v1.JobTemplateSpec", &JOB_TEMPLATE),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", &META),
];

/// The built-in definition of a name.
fn definition(name: &str) -> Option<&'static Type> {
    if let Some((_, found)) = DEFINITIONS.iter().find(|(known, _)| *known == name) {
        return Some(found);
    }
    let rest = name.strip_prefix("io.k8s.")?;
    let mut parts = rest.strip_prefix("api.").unwrap_or_default().split('.');
    let whole = match (parts.next(), parts.next(), parts.next()) {
        (Some("core"), Some(version), Some(kind)) => built_in("", version, kind),
        (Some(group), Some(version), Some(kind)) => built_in(group, version, kind),
        _ => None,
    };
    Some(whole.unwrap_or(&NONE))
}

fn built_in(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
    if (group, version, kind) == ("kustomize.config.k8s.io", "v1beta1", "Kustomization") {
        return Some(&KUSTOMIZATION);
    }
    // What sub-resources are asked with has a scope, but no schema.
    if !is_known(group, version, kind) || (group.is_empty() && kind.ends_with("Options")) {
        return None;
    }
    Some(match (group, kind) {
        ("", "Pod") => &POD,
        ("", "PodTemplate") => &POD_TEMPLATE,
        ("", "ReplicationController")
        | ("apps", "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet") => &WORKLOAD,
        ("batch", "Job") => &WORKLOAD,
        ("batch", "CronJob") => &CRON_JOB,
        ("", "Service") => &SERVICE,
        ("", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("", "Node") => &NODE,
        ("", "ComponentStatus") => &COMPONENT_STATUS,
        ("", "Namespace" | "PersistentVolumeClaim")
        | ("policy", "PodDisruptionBudget")
        | ("apiregistration.k8s.io", "APIService") => &WITH_CONDITIONS,
        ("admissionregistration.k8s.io", _) => &WEBHOOKS,
        ("storage.k8s.io", "CSINode") => &CSI_NODE,
        _ => &PLAIN,
    })
}

/// What is known about the value at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema<'a> {
    Built(&'static Type),
    Keyed(&'static [&'static str], &'static Type),
    Custom(&'a Value, &'a Schemas),
}

/// How a list is merged.
#[derive(Debug)]
pub(crate) struct Keys(pub(crate) Vec<String>);

impl<'a> Schema<'a> {
    /// The schema of a field of an object.
    pub(crate) fn field(self, name: &str) -> Option<Schema<'a>> {
        match self {
            Schema::Built(kind) => match &kind.0.iter().find(|(field, _)| *field == name)?.1 {
                Object(kind) => Some(Schema::Built(kind)),
                List(keys, element) => Some(Schema::Keyed(keys, element)),
            },
            Schema::Keyed(..) => None,
            Schema::Custom(value, all) => {
                let found = match value.get("properties").and_then(|p| p.get(name)) {
                    Some(found) => found,
                    None => value.get("additionalProperties").filter(|v| v.is_object())?,
                };
                all.resolve(found)
            }
        }
    }

    /// The schema of the elements of a list.
    pub(crate) fn elements(self) -> Option<Schema<'a>> {
        match self {
            Schema::Built(_) => None,
            Schema::Keyed(_, element) => Some(Schema::Built(element)),
            Schema::Custom(value, all) => {
                let items = value.get("items")?;
                all.resolve(items.as_array().and_then(|list| list.first()).unwrap_or(items))
            }
        }
    }

    /// The merge keys, when the list is merged rather than replaced.
    pub(crate) fn merge_keys(self) -> Option<Keys> {
        match self {
            Schema::Built(_) => None,
            Schema::Keyed(keys, _) => Some(Keys(keys.iter().map(|key| (*key).to_owned()).collect())),
            Schema::Custom(value, _) => {
                let strategy = value.get("x-kubernetes-patch-strategy")?.as_str()?;
                if !strategy.split(',').any(|word| word == "merge") {
                    return None;
                }
                if let Some(list) = value.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
                    return Some(Keys(list.iter().filter_map(|k| k.as_str().map(str::to_owned)).collect()));
                }
                let key = value.get("x-kubernetes-patch-merge-key").and_then(Value::as_str);
                Some(Keys(key.map(str::to_owned).into_iter().collect()))
            }
        }
    }
}

/// How a custom document stands to the built-in definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In their place.
    #[default]
    Alone,
    /// Above them: they had been used when it was chosen.
    Above,
    /// Below them: they had been asked for, without success, and are read after it.
    Below,
}

/// The schemas that count for one build.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schemas {
    custom: Option<Value>,
    standing: Standing,
    /// Names of the custom document's definitions by group, version and kind.
    kinds: HashMap<[String; 3], String>,
    /// The kinds its paths give no place in namespaces.
    cluster_scoped: HashSet<[String; 3]>,
}

/// What a definition or a path says it is of.
fn kind_of(gvk: &Value) -> [String; 3] {
    let text = |key: &str| gvk.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    [text("group"), text("version"), text("kind")]
}

impl Schemas {
    /// Takes a custom document in.
    pub(crate) fn set_custom(&mut self, document: Value, standing: Standing) -> Result<()> {
        self.standing = standing;
        if !document.get("definitions").is_none_or(Value::is_object) {
            return Err(bad!("openapi: 'definitions' must be a mapping"));
        }
        let definitions = document.get("definitions").and_then(Value::as_object);
        for (name, definition) in definitions.into_iter().flatten() {
            let list = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
            for gvk in list.into_iter().flatten() {
                self.kinds.entry(kind_of(gvk)).or_insert_with(|| name.clone());
            }
        }
        let mut namespaced = HashSet::new();
        for (path, operations) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let read = operations.get("get").and_then(|get| get.get("x-kubernetes-group-version-kind"));
            if let Some(kind) = read.map(kind_of) {
                let in_namespaces = path.contains("namespaces/{namespace}");
                if in_namespaces { &mut namespaced } else { &mut self.cluster_scoped }.insert(kind);
            }
        }
        self.cluster_scoped.retain(|kind| !namespaced.contains(kind));
        self.custom = Some(document);
        Ok(())
    }

    /// Whether the custom document says that the kind lives outside of namespaces.
    pub(crate) fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        !self.cluster_scoped.is_empty()
            && self.cluster_scoped.contains(&[gvk.group.clone(), gvk.version.clone(), gvk.kind.clone()])
    }

    fn resolve<'a>(&'a self, mut value: &'a Value) -> Option<Schema<'a>> {
        // A chain of references is followed only so far: it may be a ring.
        for _ in 0..32 {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
                return Some(Schema::Custom(value, self));
            };
            let name = reference.strip_prefix("#/definitions/")?;
            let built = || match self.standing {
                Standing::Alone => None,
                Standing::Above | Standing::Below => definition(name).map(Schema::Built),
            };
            if self.standing == Standing::Below
                && let Some(found) = built()
            {
                return Some(found);
            }
            match self.custom.as_ref().and_then(|custom| custom.get("definitions")?.get(name)) {
                Some(found) => value = found,
                None => return built(),
            }
        }
        None
    }

    /// The schema of a kind.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Schema<'_>> {
        let (group, version) = split_api_version(api_version);
        if let Some(definitions) =
            self.custom.as_ref().and_then(|custom| custom.get("definitions")?.as_object())
        {
            let built = match (self.standing, group) {
                (Standing::Alone, group) if group != "kustomize.config.k8s.io" => None,
                _ => built_in(group, version, kind).map(Schema::Built),
            };
            if self.standing == Standing::Below && built.is_some() {
                return built;
            }
            let gvk = [group.to_owned(), version.to_owned(), kind.to_owned()];
            let custom = self.kinds.get(&gvk).and_then(|name| definitions.get(name));
            return custom.map(|found| Schema::Custom(found, self)).or(built);
        }
        built_in(group, version, kind).map(Schema::Built)
    }
}
