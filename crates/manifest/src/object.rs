//! A Kubernetes object of any kind, as JSON.

use std::fmt;

use serde_json::{Map, Value};

use crate::id::ObjectId;
use crate::yaml::{self, Limits};

/// An object that has at least an apiVersion, a kind and a name. Displays as its subject:
/// `Kind/namespace/name`, or `Kind/name` without a namespace.
#[derive(Clone, PartialEq)]
pub struct Object(Value);

/// Why text could not be read as objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The text is not YAML.
    #[error("{file}: {source}")]
    Yaml {
        /// The file.
        file: String,
        /// What is wrong, with its line.
        source: yaml::Error,
    },
    /// A document is something else than a mapping.
    #[error("{file}: document {document} is not an object")]
    NotAnObject {
        /// The file.
        file: String,
        /// Which document of the file, from 1.
        document: usize,
    },
}

impl Object {
    /// Takes a value for an object; gives it back when it lacks apiVersion, kind or name.
    ///
    /// # Errors
    /// The value itself.
    pub fn new(value: Value) -> Result<Self, Value> {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str).is_some_and(|t| !t.is_empty());
        if text("/apiVersion") && text("/kind") && text("/metadata/name") {
            Ok(Self(value))
        } else {
            Err(value)
        }
    }

    /// The whole object.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The whole object, to change. Identity must stay intact.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// Gives up the object for its value.
    pub fn into_value(self) -> Value {
        self.0
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Group and kind that this object brings into the cluster, where it is a definition.
    pub fn defines(&self) -> Option<(&str, &str)> {
        let text = |pointer: &str| self.value().pointer(pointer).and_then(Value::as_str);
        let defining = self.kind() == "CustomResourceDefinition" && self.group() == "apiextensions.k8s.io";
        text("/spec/group").zip(text("/spec/names/kind")).filter(|_| defining)
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// The version without the group.
    pub fn version(&self) -> &str {
        let whole = self.api_version();
        whole.rsplit_once('/').map_or(whole, |(_, version)| version)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The namespace, when there is one.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.text("/metadata/namespace")).filter(|text| !text.is_empty())
    }

    /// Sets or (with `None`) removes the namespace.
    pub fn set_namespace(&mut self, namespace: Option<&str>) {
        let Some(metadata) = self.metadata_mut() else { return };
        match namespace {
            Some(namespace) => metadata.insert("namespace".into(), namespace.into()),
            None => metadata.remove("namespace"),
        };
    }

    /// The UID the server gave, when this came from a server.
    pub fn uid(&self) -> Option<&str> {
        Some(self.text("/metadata/uid")).filter(|text| !text.is_empty())
    }

    /// The resourceVersion, when this came from a server.
    pub fn resource_version(&self) -> Option<&str> {
        Some(self.text("/metadata/resourceVersion")).filter(|text| !text.is_empty())
    }

    /// What the object is called across versions.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            group: self.group().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().unwrap_or_default().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// The metadata.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.0.get("metadata")?.as_object()
    }

    fn metadata_mut(&mut self) -> Option<&mut Map<String, Value>> {
        self.0.get_mut("metadata")?.as_object_mut()
    }

    /// The labels, when there are any.
    pub fn labels(&self) -> Option<&Map<String, Value>> {
        self.metadata()?.get("labels")?.as_object()
    }

    /// The annotations, when there are any.
    pub fn annotations(&self) -> Option<&Map<String, Value>> {
        self.metadata()?.get("annotations")?.as_object()
    }

    /// One label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key)?.as_str()
    }

    /// One annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()?.get(key)?.as_str()
    }

    fn set_in(&mut self, field: &str, key: &str, value: &str) {
        let Some(metadata) = self.metadata_mut() else { return };
        let map = metadata.entry(field).or_insert(Value::Null);
        if !map.is_object() {
            *map = Value::Object(Map::new());
        }
        if let Some(map) = map.as_object_mut() {
            map.insert(key.to_owned(), value.into());
        }
    }

    /// Sets a label.
    pub fn set_label(&mut self, key: &str, value: &str) {
        self.set_in("labels", key, value);
    }

    /// Sets an annotation.
    pub fn set_annotation(&mut self, key: &str, value: &str) {
        self.set_in("annotations", key, value);
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_subject(f, self.kind(), self.namespace().unwrap_or_default(), self.name())
    }
}

/// The content may be a Secret's, so only the subject is shown.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({self})")
    }
}

pub(crate) fn write_subject(
    f: &mut fmt::Formatter<'_>,
    kind: &str,
    namespace: &str,
    name: &str,
) -> fmt::Result {
    if namespace.is_empty() { write!(f, "{kind}/{name}") } else { write!(f, "{kind}/{namespace}/{name}") }
}

/// Keeps what can be applied: the items of lists, and objects that have an apiVersion, a kind and
/// a name and are no kustomization files. Everything else is dropped silently, as Flux does.
pub fn flatten(values: impl IntoIterator<Item = Value>) -> Vec<Object> {
    let mut objects = Vec::new();
    for mut value in values {
        if let Some(Value::Array(items)) = value.get_mut("items") {
            objects.extend(std::mem::take(items).into_iter().filter_map(|item| Object::new(item).ok()));
            continue;
        }
        if let Ok(object) = Object::new(value) {
            let kustomization =
                object.kind() == "Kustomization" && object.group() == "kustomize.config.k8s.io";
            if !kustomization {
                objects.push(object);
            }
        }
    }
    objects
}

/// Reads a stream of YAML documents into objects. `file` only names the source in errors.
///
/// # Errors
/// What is not YAML, documents that are no mappings, and what passes a bound of `limits`.
pub fn read_objects(text: &str, file: &str, limits: Limits) -> Result<Vec<Object>, ReadError> {
    let values = yaml::parse_v2_stream(text, limits)
        .map_err(|source| ReadError::Yaml { file: file.to_owned(), source })?;
    for (at, value) in values.iter().enumerate() {
        if !value.is_object() && !value.is_null() {
            return Err(ReadError::NotAnObject { file: file.to_owned(), document: at + 1 });
        }
    }
    Ok(flatten(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_flattened_and_what_cannot_be_applied_is_dropped() {
        let text = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: x}}
- {apiVersion: v1, kind: Namespace, metadata: {name: x}}
---
# nothing
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
metadata: {name: k}
---
kind: Orphan
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
";
        let objects = read_objects(text, "all.yaml", Limits::default()).unwrap();
        let subjects: Vec<_> = objects.iter().map(ToString::to_string).collect();
        assert_eq!(subjects, ["ConfigMap/x/a", "Namespace/x", "Deployment/d"]);
        assert_eq!((objects[2].group(), objects[2].version()), ("apps", "v1"));
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let error = read_objects("a: b\nc: d: e\n", "x.yaml", Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "x.yaml: yaml: line 2: mapping values are not allowed in this context");
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let value = serde_json::json!({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":"hush"}});
        assert_eq!(format!("{:?}", Object::new(value).unwrap()), "Object(Secret/s)");
    }
}
