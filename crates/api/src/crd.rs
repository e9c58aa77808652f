//! The CustomResourceDefinitions of the kinds in this crate, made from the Rust types.

use serde_json::{Value, json};

use crate::keys::kustomize::SUBSTITUTE;
use crate::kustomize::v1::{KustomizationSpec, KustomizationStatus};
use crate::schema::structural;
use crate::source::v1::{
    ExternalArtifactSpec, ExternalArtifactStatus, GitRepositorySpec, GitRepositoryStatus,
};

/// A column that `kubectl get` prints.
struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
}

const AGE: Column = Column { name: "Age", kind: "date", path: ".metadata.creationTimestamp" };
const READY: Column =
    Column { name: "Ready", kind: "string", path: ".status.conditions[?(@.type==\"Ready\")].status" };
const STATUS: Column =
    Column { name: "Status", kind: "string", path: ".status.conditions[?(@.type==\"Ready\")].message" };
const URL: Column = Column { name: "URL", kind: "string", path: ".spec.url" };
const SOURCE: Column = Column { name: "Source", kind: "string", path: ".spec.sourceRef.name" };

/// What a definition says besides its schema.
struct Names {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    category: &'static str,
    purpose: &'static str,
    columns: &'static [Column],
}

/// Every definition with the name of the file it belongs into.
pub fn crds() -> Vec<(String, Value)> {
    let source = crate::keys::source::GROUP;
    vec![
        definition(
            &Names {
                group: source,
                kind: "ExternalArtifact",
                plural: "externalartifacts",
                short: "ea",
                category: "fluxcd-sources",
                purpose: "ExternalArtifact is an artifact that another program makes and serves.",
                columns: &[AGE, READY, STATUS, SOURCE],
            },
            structural::<ExternalArtifactSpec>(),
            structural::<ExternalArtifactStatus>(),
        ),
        definition(
            &Names {
                group: source,
                kind: "GitRepository",
                plural: "gitrepositories",
                short: "gitrepo",
                category: "fluxcd-sources",
                purpose: "GitRepository makes artifacts out of the states of a Git repository.",
                columns: &[URL, AGE, READY, STATUS],
            },
            structural::<GitRepositorySpec>(),
            initial(structural::<GitRepositoryStatus>()),
        ),
        definition(
            &Names {
                group: crate::keys::kustomize::GROUP,
                kind: "Kustomization",
                plural: "kustomizations",
                short: "ks",
                category: "fluxcd-appliers",
                purpose: "Kustomization builds objects from a source and keeps a cluster in their state.",
                columns: &[AGE, READY, STATUS],
            },
            structural::<KustomizationSpec>(),
            initial(structural::<KustomizationStatus>()),
        ),
    ]
}

/// Gives a new object a status that no generation can equal.
fn initial(mut status: Value) -> Value {
    status["default"] = json!({"observedGeneration": -1});
    status
}

fn definition(names: &Names, spec: Value, status: Value) -> (String, Value) {
    let columns: Vec<Value> = names
        .columns
        .iter()
        .map(|column| json!({"name": column.name, "type": column.kind, "jsonPath": column.path}))
        .collect();
    let value = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", names.plural, names.group),
            // The rules and patterns below contain dollar signs that are no variables.
            "annotations": {SUBSTITUTE: "disabled"},
        },
        "spec": {
            "group": names.group,
            "scope": "Namespaced",
            "names": {
                "categories": ["all", "fluxcd", names.category],
                "kind": names.kind,
                "listKind": format!("{}List", names.kind),
                "plural": names.plural,
                "shortNames": [names.short],
                "singular": names.kind.to_ascii_lowercase(),
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": names.purpose,
                    "properties": {
                        "apiVersion": {"type": "string", "description": "Group and version of this representation."},
                        "kind": {"type": "string", "description": "Kind of this object."},
                        "metadata": {"type": "object"},
                        "spec": spec,
                        "status": status,
                    },
                }},
            }],
        },
    });
    (format!("{}_{}.yaml", names.group, names.plural), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds fields without a description.
    fn silent(schema: &Value, at: &str, found: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, inner) in properties {
                let at = format!("{at}.{name}");
                if inner.get("description").is_none() && !at.ends_with(".metadata") {
                    found.push(at.clone());
                }
                silent(inner, &at, found);
            }
        }
        if let Some(items) = schema.get("items") {
            silent(items, at, found);
        }
    }

    /// Keywords that a structural schema must not contain.
    fn forbidden(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if ["$ref", "$schema", "oneOf", "anyOf", "allOf", "const", "nullable", "title"]
                        .contains(&key.as_str())
                    {
                        found.push(key.clone());
                    }
                    forbidden(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| forbidden(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_is_described_and_every_schema_is_structural() {
        for (file, crd) in crds() {
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let (mut undescribed, mut unstructural) = (Vec::new(), Vec::new());
            silent(schema, "", &mut undescribed);
            forbidden(schema, &mut unstructural);
            assert!(undescribed.is_empty(), "{file}: {undescribed:?}");
            assert!(unstructural.is_empty(), "{file}: {unstructural:?}");
        }
    }

    #[test]
    fn the_wire_names_follow_the_kinds() {
        let names: Vec<String> = crds().into_iter().map(|(file, _)| file).collect();
        assert_eq!(
            names,
            [
                "source.toolkit.fluxcd.io_externalartifacts.yaml",
                "source.toolkit.fluxcd.io_gitrepositories.yaml",
                "kustomize.toolkit.fluxcd.io_kustomizations.yaml",
            ]
        );
    }
}
