//! What is done to every object between the build and the apply: owner labels, normalisation of
//! built-in kinds, common metadata, and the guard against encrypted Secrets.

mod normalize;
mod typed;

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::{Map, Value};

use crate::controls::Controls;
use crate::object::Object;

pub use normalize::normalize;

/// Whose objects these are: written as the labels `<group>/name` and `<group>/namespace`.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The owner's API group, for example `kustomize.toolkit.fluxcd.io`.
    pub group: &'a str,
    /// The owner's name.
    pub name: &'a str,
    /// The owner's namespace.
    pub namespace: &'a str,
}

/// Labels and annotations laid over every object's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommonMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Why a set of objects cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A field of a built-in kind holds something of another type.
    #[error("{subject} normalization error: {message}")]
    Normalization {
        /// The object.
        subject: String,
        /// Which field, and what is wrong. Never a value.
        message: String,
    },
    /// A Secret nobody decrypted.
    #[error("{0} is SOPS encrypted, configuring decryption is required for this secret to be reconciled")]
    Encrypted(String),
}

impl Owner<'_> {
    /// Sets the owner labels.
    pub fn mark(&self, object: &mut Object) {
        object.set_label(&format!("{}/name", self.group), self.name);
        object.set_label(&format!("{}/namespace", self.group), self.namespace);
    }

    /// Whether an object with these labels is this owner's.
    pub fn owns(&self, labels: Option<&Map<String, Value>>) -> bool {
        let is = |key: &str, wanted: &str| {
            labels.and_then(|l| l.get(&format!("{}/{key}", self.group))).and_then(Value::as_str)
                == Some(wanted)
        };
        is("name", self.name) && is("namespace", self.namespace)
    }
}

/// Prepares a whole set, in Flux's order. Answers a line for each field that is left out because the kind
/// has none of that name.
///
/// # Errors
/// The first object that cannot be normalised, or a Secret that is still encrypted: then nothing
/// of the set may be applied.
pub fn prepare(
    objects: &mut [Object],
    owner: Owner<'_>,
    common: &CommonMetadata,
) -> Result<Vec<String>, PrepareError> {
    // First of all: a type may have no place for what tells that a Secret is encrypted.
    objects.iter().try_for_each(|object| guard_encrypted(object, owner.group))?;
    let mut warnings = Vec::new();
    for object in objects.iter_mut() {
        owner.mark(object);
        let ignored = normalize(object)?;
        warnings
            .extend(ignored.iter().map(|path| format!("unknown field \"{path}\" of {object} is ignored")));
        lay_over(object, common);
        drop_invalid_ca_bundle(object);
    }
    Ok(warnings)
}

/// Lays labels and annotations over the object's own. Pod templates stay as they are.
pub fn lay_over(object: &mut Object, common: &CommonMetadata) {
    for (key, value) in &common.labels {
        object.set_label(key, value);
    }
    for (key, value) in &common.annotations {
        object.set_annotation(key, value);
    }
}

/// Removes a conversion webhook's `caBundle` that is no PEM: the server would refuse the whole
/// definition, and cert injectors fill it in later.
pub fn drop_invalid_ca_bundle(object: &mut Object) {
    if object.kind() != "CustomResourceDefinition" || object.group() != "apiextensions.k8s.io" {
        return;
    }
    let Some(Value::Object(config)) = object.value_mut().pointer_mut("/spec/conversion/webhook/clientConfig")
    else {
        return;
    };
    let valid = config.get("caBundle").is_none_or(|bundle| bundle.as_str().is_some_and(is_pem_bundle));
    if !valid {
        config.remove("caBundle");
    }
}

/// Whether base64 text holds a PEM block.
fn is_pem_bundle(text: &str) -> bool {
    let engine = base64::engine::general_purpose::STANDARD;
    let Ok(bytes) = engine.decode(text) else { return false };
    let Ok(pem) = String::from_utf8(bytes) else { return false };
    let block = || {
        let (_, rest) = pem.split_once("-----BEGIN ")?;
        let (label, rest) = rest.split_once("-----")?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
        let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        engine.decode(body).ok()
    };
    block().is_some()
}

/// Refuses a Secret that still carries SOPS metadata, unless it opted out of decryption.
/// `prefix` is the group the opt-out annotation belongs to.
///
/// # Errors
/// The Secret's subject, never its content.
pub fn guard_encrypted(object: &Object, prefix: &str) -> Result<(), PrepareError> {
    let encrypted = object.kind() == "Secret"
        && object.api_version() == "v1"
        && object.value().get("sops").is_some()
        && !Controls::of(object, prefix).decrypt_disabled;
    if encrypted { Err(PrepareError::Encrypted(object.to_string())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GROUP: &str = "kustomize.toolkit.fluxcd.io";

    fn object(value: Value) -> Object {
        Object::new(value).unwrap()
    }

    #[test]
    fn owner_labels_are_set_and_common_metadata_wins() {
        let owner = Owner { group: GROUP, name: "apps", namespace: "flux-system" };
        let common = CommonMetadata {
            labels: [("team".to_owned(), "a".to_owned())].into(),
            annotations: [("note".to_owned(), "x".to_owned())].into(),
        };
        let mut set = [object(json!({"apiVersion":"v1","kind":"ConfigMap",
            "metadata":{"name":"c","labels":{"team":"b"},"annotations":null}}))];
        prepare(&mut set, owner, &common).unwrap();
        assert_eq!(
            set[0].value()["metadata"],
            json!({"name":"c","annotations":{"note":"x"},"labels":{
                "team":"a",
                "kustomize.toolkit.fluxcd.io/name":"apps",
                "kustomize.toolkit.fluxcd.io/namespace":"flux-system"}})
        );
        assert!(owner.owns(set[0].labels()));
        assert!(!Owner { name: "other", ..owner }.owns(set[0].labels()));
    }

    #[test]
    fn an_encrypted_secret_stops_the_set_unless_it_opted_out() {
        let mut secret = object(json!({"apiVersion":"v1","kind":"Secret",
            "metadata":{"name":"s","namespace":"n"},"sops":{"mac":"x"}}));
        assert_eq!(
            guard_encrypted(&secret, GROUP).unwrap_err().to_string(),
            "Secret/n/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
        );
        secret.set_annotation("kustomize.toolkit.fluxcd.io/decrypt", "Disabled");
        guard_encrypted(&secret, GROUP).unwrap();
    }

    #[test]
    fn a_ca_bundle_that_is_no_pem_is_removed() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let pem = encode("-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n");
        for (bundle, kept) in [(pem, true), (encode("junk"), false), ("Cg==".to_owned(), false)] {
            let mut crd = object(json!({"apiVersion":"apiextensions.k8s.io/v1",
                "kind":"CustomResourceDefinition","metadata":{"name":"x"},
                "spec":{"conversion":{"webhook":{"clientConfig":{"caBundle":bundle}}}}}));
            drop_invalid_ca_bundle(&mut crd);
            let config = crd.value().pointer("/spec/conversion/webhook/clientConfig").unwrap();
            assert_eq!(config.get("caBundle").is_some(), kept);
        }
    }
}
