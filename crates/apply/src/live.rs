//! What an object's metadata tells: who owns it, which controls it carries, whether it drifted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;
use sluice_manifest::{Controls, SsaMode};
use sluice_types::{Algorithm, Hasher};

use crate::{Dialect, Owner};

/// A 128-bit hash, the same on every machine and in every version of this program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of a JSON value; the order of fields plays no part.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let mut hasher = Hasher::new(Algorithm::Blake3);
        feed(&mut hasher, value);
        Self::finish(hasher)
    }

    fn finish(hasher: Hasher) -> Self {
        let digest = hasher.finish();
        let hex = digest.hex().get(..32).unwrap_or_default();
        Self(u128::from_str_radix(hex, 16).unwrap_or_default())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// Hashes a value without ambiguity: every part is preceded by its type and length.
fn feed(hasher: &mut Hasher, value: &Value) {
    let mut part = |tag: u8, bytes: &[u8]| {
        hasher.update(&[tag]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    match value {
        Value::Null => part(b'0', b""),
        Value::Bool(flag) => part(b'b', &[u8::from(*flag)]),
        Value::Number(number) => part(b'n', number.to_string().as_bytes()),
        Value::String(text) => part(b's', text.as_bytes()),
        Value::Array(items) => {
            part(b'a', &(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Object(fields) => {
            part(b'o', &(fields.len() as u64).to_le_bytes());
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            for (key, item) in sorted {
                hasher.update(&(key.len() as u64).to_le_bytes());
                hasher.update(key.as_bytes());
                feed(hasher, item);
            }
        }
    }
}

/// The controls of an object, from its `metadata`.
pub(crate) fn controls(metadata: &Value, dialect: &Dialect) -> Controls {
    let map = |place: &str| metadata.get(place).and_then(Value::as_object);
    Controls::from_metadata(map("labels"), map("annotations"), dialect.group)
}

/// The controls that matter to an object in the cluster, as one byte.
fn bits(controls: Controls) -> u8 {
    let ssa = match controls.ssa {
        None => 0,
        Some(SsaMode::Override) => 1,
        Some(SsaMode::Merge) => 2,
        Some(SsaMode::IfNotPresent) => 3,
        Some(SsaMode::Ignore) => 4,
    };
    [controls.reconcile_disabled, controls.force, controls.prune_disabled]
        .iter()
        .fold(ssa, |bits, &flag| bits << 1 | u8::from(flag))
}

/// What is remembered of an object that was seen in the cluster. Some 150 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The object's UID.
    pub uid: Arc<str>,
    /// The resource version, or 0 where it is not a number.
    pub version: u64,
    /// Moves when somebody changed, took or dropped a field that we applied, changed a control or
    /// the owner; does not move with status, nor with fields that were never ours.
    ///
    /// It is the fingerprint of our own entry of `managedFields` with its time, of the entries we
    /// would take over, of the owner labels and of the controls. The server takes a field out of our
    /// entry when another manager changes it, so this sees drift, and only drift. Where a server
    /// keeps no `managedFields` it is the fingerprint of [`Seen::content`].
    pub drift_key: Fingerprint,
    /// Labels, annotations, and the generation where the kind has one, else the resource version.
    pub content: Fingerprint,
    /// Whose it is, by its labels.
    pub owner: Option<Arc<Owner>>,
    /// The controls it carries.
    pub controls: Controls,
    /// Whether other tools left fields or marks that an apply first takes over.
    pub takeover: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Seen {
    /// Reads an object's `metadata`; `None` when it has no UID.
    pub(crate) fn of(metadata: &Value, settings: &Settings) -> Option<Self> {
        let uid = text(metadata, "uid").filter(|uid| !uid.is_empty())?;
        let version = text(metadata, "resourceVersion").unwrap_or_default();
        let controls = controls(metadata, &settings.dialect);
        let owner = owner(metadata, &settings.dialect);
        let content = content(metadata, version);
        let takeover = settings.takes_over(metadata);
        Some(Self {
            uid: uid.into(),
            version: version.parse().unwrap_or_default(),
            drift_key: drift_key(metadata, settings, controls, owner.as_ref(), content),
            content,
            owner: owner.map(Arc::new),
            controls,
            takeover,
            deleting: metadata.get("deletionTimestamp").is_some_and(|at| !at.is_null()),
        })
    }
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str)
}

pub(crate) fn owner(metadata: &Value, dialect: &Dialect) -> Option<Owner> {
    let label = |word: &str| {
        let value = metadata.get("labels")?.get(dialect.key(word))?.as_str()?;
        Some(value.to_owned())
    };
    Some(Owner { namespace: label("namespace")?, name: label("name")? })
}

fn content(metadata: &Value, version: &str) -> Fingerprint {
    let field = |name: &str| metadata.get(name).cloned().unwrap_or(Value::Null);
    let moment = match metadata.get("generation").and_then(Value::as_i64) {
        Some(generation) if generation > 0 => Value::from(generation),
        _ => Value::from(version),
    };
    Fingerprint::of(&Value::Array(vec![field("labels"), field("annotations"), moment]))
}

fn drift_key(
    metadata: &Value,
    settings: &Settings,
    controls: Controls,
    owner: Option<&Owner>,
    content: Fingerprint,
) -> Fingerprint {
    let mut hasher = Hasher::new(Algorithm::Blake3);
    let mut entries = 0;
    for entry in managed(metadata) {
        let own = settings.is_own(entry);
        if own || settings.claims(entry) {
            entries += 1;
            for field in ["manager", "operation", "apiVersion", "fieldsV1"] {
                feed(&mut hasher, entry.get(field).unwrap_or(&Value::Null));
            }
            if own {
                feed(&mut hasher, entry.get("time").unwrap_or(&Value::Null));
            }
        }
    }
    if entries == 0 && managed(metadata).next().is_none() {
        return content;
    }
    hasher.update(&[bits(controls)]);
    if let Some(owner) = owner {
        feed(&mut hasher, &Value::from(owner.namespace.as_str()));
        feed(&mut hasher, &Value::from(owner.name.as_str()));
    }
    Fingerprint::finish(hasher)
}

/// The entries of `managedFields`.
pub(crate) fn managed(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata.get("managedFields").and_then(Value::as_array).into_iter().flatten()
}

/// Marks of earlier tools that an apply removes.
pub(crate) fn leftovers(dialect: &Dialect) -> [(&'static str, String); 4] {
    let annotation = |key: &str| ("annotations", key.to_owned());
    [
        annotation("kubectl.kubernetes.io/last-applied-configuration"),
        annotation(&dialect.key("checksum")),
        annotation("fluxcd.io/sync-checksum"),
        ("labels", "fluxcd.io/sync-gc-mark".to_owned()),
    ]
}

/// What is the same for every object of a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our names.
    pub dialect: Dialect,
    /// Further field managers whose fields are taken over (`--override-manager`).
    pub override_managers: Vec<String>,
}

impl Settings {
    /// Whether a `managedFields` entry is the one our applies write.
    pub(crate) fn is_own(&self, entry: &Value) -> bool {
        text(entry, "manager") == Some(self.dialect.manager)
            && text(entry, "operation") == Some("Apply")
            && text(entry, "subresource").unwrap_or_default().is_empty()
    }

    /// Whether a `managedFields` entry is one whose fields an apply takes over first.
    pub(crate) fn claims(&self, entry: &Value) -> bool {
        let (Some(manager), Some(operation)) = (text(entry, "manager"), text(entry, "operation")) else {
            return false;
        };
        let spared = manager == "flux-client-side-apply"
            || !text(entry, "subresource").unwrap_or_default().is_empty()
            || self.is_own(entry);
        if spared {
            return false;
        }
        let of =
            |name: &str, operations: &[&str]| manager.starts_with(name) && operations.contains(&operation);
        of("kubectl", &["Apply", "Update"])
            || of("before-first-apply", &["Update"])
            || of(self.dialect.manager, &["Update"])
            || self.override_managers.iter().any(|name| of(name, &["Apply", "Update"]))
    }

    fn takes_over(&self, metadata: &Value) -> bool {
        managed(metadata).any(|entry| self.claims(entry))
            || leftovers(&self.dialect)
                .iter()
                .any(|(place, key)| metadata.get(place).and_then(|map| map.get(key)).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> Settings {
        Settings { override_managers: vec!["helm".into()], ..crate::sample::settings() }
    }

    fn metadata() -> Value {
        json!({
            "uid": "u", "resourceVersion": "7", "generation": 1,
            "labels": {"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": "team"},
            "managedFields": [
                {"manager": "kustomize-controller", "operation": "Apply", "apiVersion": "apps/v1",
                 "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                 "time": "2026-01-01T00:00:00Z", "apiVersion": "apps/v1", "fieldsV1": {"f:status": {}}}
            ]
        })
    }

    #[test]
    fn the_drift_key_moves_with_what_is_ours_and_with_nothing_else() {
        let base = Seen::of(&metadata(), &settings()).expect("has a UID");
        type Change = (&'static str, Value);
        let same: [Change; 5] = [
            ("/resourceVersion", json!("8")),
            ("/generation", json!(2)),
            ("/annotations", json!({"deployment.kubernetes.io/revision": "2"})),
            ("/managedFields/1/fieldsV1", json!({"f:status": {"f:x": {}}})),
            ("/managedFields/1/time", json!("2026-02-01T00:00:00Z")),
        ];
        let moved: [Change; 6] = [
            ("/managedFields/0/fieldsV1", json!({"f:spec": {}})),
            ("/managedFields/0/time", json!("2026-01-01T00:00:01Z")),
            ("/managedFields/0/manager", json!("kubectl-edit")),
            ("/managedFields", json!([{"manager": "kustomize-controller", "operation": "Update"}])),
            ("/annotations", json!({"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"})),
            ("/labels/kustomize.toolkit.fluxcd.io~1name", json!("other")),
        ];
        for (changes, expected) in [(&same[..], true), (&moved[..], false)] {
            for (path, value) in changes {
                let mut changed = metadata();
                if path == &"/annotations" {
                    changed["annotations"] = value.clone();
                } else {
                    *changed.pointer_mut(path).expect("is there") = value.clone();
                }
                let seen = Seen::of(&changed, &settings()).expect("has a UID");
                assert_eq!(seen.drift_key == base.drift_key, expected, "{path} {value}");
            }
        }
    }

    #[test]
    fn without_managed_fields_the_content_decides() {
        let bare = json!({"uid": "u", "resourceVersion": "7", "labels": {"a": "b"}});
        let mut touched = bare.clone();
        touched["resourceVersion"] = json!("8");
        let [one, two] = [bare, touched].map(|m| Seen::of(&m, &settings()).expect("has a UID"));
        assert_eq!(one.drift_key, one.content);
        assert_ne!(one.drift_key, two.drift_key);
    }

    #[test]
    fn managers_are_claimed_by_the_start_of_their_name() {
        for (manager, operation, subresource, expected) in [
            ("kubectl", "Apply", "", true),
            ("kubectl-client-side-apply", "Update", "", true),
            ("kubectl-edit", "Update", "", true),
            ("kubectl", "Update", "scale", false),
            ("before-first-apply", "Update", "", true),
            ("before-first-apply", "Apply", "", false),
            ("kustomize-controller", "Update", "", true),
            ("kustomize-controller", "Apply", "", false),
            ("helm", "Apply", "", true),
            ("helm", "Update", "", true),
            ("flux-client-side-apply", "Update", "", false),
            ("kube-controller-manager", "Update", "", false),
        ] {
            let entry = json!({"manager": manager, "operation": operation, "subresource": subresource});
            assert_eq!(settings().claims(&entry), expected, "{entry}");
        }
    }

    #[test]
    fn a_fingerprint_reads_back_and_ignores_the_order_of_fields() {
        let one = Fingerprint::of(&serde_json::from_str(r#"{"a":1,"b":[2]}"#).expect("JSON"));
        let two = Fingerprint::of(&serde_json::from_str(r#"{"b":[2],"a":1}"#).expect("JSON"));
        assert_eq!(one, two);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_ne!(Fingerprint::of(&json!(["a", "b"])), Fingerprint::of(&json!(["ab"])));
    }
}
