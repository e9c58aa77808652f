//! Writing objects out: full, metadata only, or as the rows of a table.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::events;
use crate::kinds::{Column, Kind, Version};
use crate::object::meta;
use crate::request::Form;

/// How objects of one kind and version are shown.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) kind: Arc<Kind>,
    pub(crate) version: String,
    pub(crate) form: Form,
    /// Events as their newer group shows them.
    pub(crate) newer_events: bool,
}

impl View {
    pub(crate) fn api_version(&self) -> String {
        if self.newer_events {
            return format!("{}/{}", events::GROUP, self.version);
        }
        self.kind.api_version(&self.version)
    }

    fn version(&self) -> Option<&Version> {
        self.kind.version(&self.version)
    }

    /// One object in the full or the metadata form, as bytes.
    pub(crate) fn write(&self, object: &Value, out: &mut Vec<u8>) {
        // Writing into a vector cannot fail.
        let _ = match self.form {
            Form::Metadata => serde_json::to_writer(out, &partial(object)),
            _ if object.get("apiVersion").and_then(Value::as_str) == Some(&self.api_version()) => {
                serde_json::to_writer(out, object)
            }
            _ => serde_json::to_writer(out, &self.shown(object)),
        };
    }

    /// An item of a list; those of built-in kinds go without apiVersion and kind.
    fn write_item(&self, object: &Value, out: &mut Vec<u8>) {
        let Some(map) = object.as_object().filter(|_| self.kind.builtin && self.form == Form::Full) else {
            return self.write(object, out);
        };
        let newer = self.newer_events.then(|| events::to_newer(object));
        let map = newer.as_ref().and_then(Value::as_object).unwrap_or(map);
        out.push(b'{');
        let fields = map.iter().filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind"));
        for (index, (key, value)) in fields.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let _ = serde_json::to_writer(&mut *out, key);
            out.push(b':');
            let _ = serde_json::to_writer(&mut *out, value);
        }
        out.push(b'}');
    }

    /// The object under the version asked for.
    pub(crate) fn shown(&self, object: &Value) -> Value {
        let mut value = if self.newer_events { events::to_newer(object) } else { object.clone() };
        crate::object::as_map(&mut value).insert("apiVersion".into(), json!(self.api_version()));
        value
    }

    /// A list response.
    pub(crate) fn list(&self, objects: &[Arc<Value>], metadata: Value) -> Vec<u8> {
        let (api_version, kind) = match self.form {
            Form::Table => return self.table(objects, metadata).to_string().into_bytes(),
            Form::Metadata => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList"),
            Form::Full => (self.api_version(), self.kind.list_kind.as_str()),
        };
        let head = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata}).to_string();
        let mut out = head.into_bytes();
        out.pop();
        out.extend_from_slice(b",\"items\":[");
        for (index, object) in objects.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.write_item(object, &mut out);
        }
        out.extend_from_slice(b"]}");
        out
    }

    /// One object in whatever form was asked for.
    pub(crate) fn single(&self, object: &Arc<Value>) -> Vec<u8> {
        let mut out = Vec::new();
        match self.form {
            Form::Table => {
                let metadata = json!({"resourceVersion": meta(object, "resourceVersion")});
                out = self.table(std::slice::from_ref(object), metadata).to_string().into_bytes();
            }
            _ => self.write(object, &mut out),
        }
        out
    }

    /// A `Table`, the way `kubectl get` reads it.
    pub(crate) fn table(&self, objects: &[Arc<Value>], metadata: Value) -> Value {
        let columns = self.columns();
        let definitions: Vec<Value> = columns
            .iter()
            .map(|column| {
                let format = if column.name == "Name" { "name" } else { "" };
                json!({"name": column.name, "type": column.kind, "format": format, "description": "", "priority": column.priority})
            })
            .collect();
        let rows: Vec<Value> = objects
            .iter()
            .map(|object| {
                let cells: Vec<Value> = columns.iter().map(|column| cell(column, object)).collect();
                json!({"cells": cells, "object": partial(object)})
            })
            .collect();
        json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": definitions, "rows": rows})
    }

    fn columns(&self) -> Vec<Column> {
        let column = |name: &str, kind: &str, path: &str| Column {
            name: name.into(),
            kind: kind.into(),
            path: path.into(),
            priority: 0,
        };
        let mut columns = vec![column("Name", "string", ".metadata.name")];
        let own = self.version().map(|version| version.columns.clone()).unwrap_or_default();
        if !own.is_empty() {
            columns.extend(own);
            return columns;
        }
        let rows: &[(&str, &str, &str)] = match self.kind.kind.as_str() {
            "Namespace" => &[("Status", "string", ".status.phase")],
            "Pod" => &[("Status", "string", ".status.phase"), ("Node", "string", ".spec.nodeName")],
            "Deployment" => &[
                ("Ready", "string", "ratio:.status.readyReplicas:.spec.replicas"),
                ("Up-to-date", "integer", "number:.status.updatedReplicas"),
                ("Available", "integer", "number:.status.availableReplicas"),
            ],
            "StatefulSet" => &[("Ready", "string", "ratio:.status.readyReplicas:.spec.replicas")],
            "ReplicaSet" => &[
                ("Desired", "integer", "number:.spec.replicas"),
                ("Current", "integer", "number:.status.replicas"),
                ("Ready", "integer", "number:.status.readyReplicas"),
            ],
            "ConfigMap" => &[("Data", "integer", "count:.data")],
            "Secret" => &[("Type", "string", ".type"), ("Data", "integer", "count:.data")],
            "Service" => &[("Type", "string", ".spec.type"), ("Cluster-IP", "string", ".spec.clusterIP")],
            "Event" => {
                return vec![
                    column("Last Seen", "string", "since:.lastTimestamp"),
                    column("Type", "string", ".type"),
                    column("Reason", "string", ".reason"),
                    column("Object", "string", "object:.involvedObject"),
                    column("Message", "string", ".message"),
                ];
            }
            "CustomResourceDefinition" => {
                return vec![columns.remove(0), column("Created At", "date", ".metadata.creationTimestamp")];
            }
            "Job" => &[("Completions", "string", "ratio:.status.succeeded:.spec.completions")],
            "CronJob" => &[("Schedule", "string", ".spec.schedule"), ("Suspend", "boolean", ".spec.suspend")],
            "Lease" => &[("Holder", "string", ".spec.holderIdentity")],
            _ => &[],
        };
        columns.extend(rows.iter().map(|(name, kind, path)| column(name, kind, path)));
        columns.push(column("Age", "date", ".metadata.creationTimestamp"));
        columns
    }
}

/// The metadata of an object, as an object of its own.
pub(crate) fn partial(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn cell(column: &Column, object: &Value) -> Value {
    let number = |path: &str| jsonpath(object, path).and_then(|value| value.as_i64()).unwrap_or(0);
    if let Some(path) = column.path.strip_prefix("number:") {
        return json!(number(path));
    }
    if let Some(path) = column.path.strip_prefix("count:") {
        return json!(jsonpath(object, path).and_then(|value| value.as_object().map(Map::len)).unwrap_or(0));
    }
    if let Some((left, right)) = column.path.strip_prefix("ratio:").and_then(|paths| paths.split_once(':')) {
        return json!(format!("{}/{}", number(left), number(right)));
    }
    if let Some(path) = column.path.strip_prefix("since:") {
        let stamp = [path, ".eventTime", ".metadata.creationTimestamp"];
        let stamp = stamp.iter().find_map(|path| jsonpath(object, path)?.as_str().map(age));
        return json!(stamp.unwrap_or_default());
    }
    if let Some(path) = column.path.strip_prefix("object:") {
        let part = |field: &str| jsonpath(object, &format!("{path}.{field}"))?.as_str().map(str::to_owned);
        let kind = part("kind").unwrap_or_default().to_lowercase();
        return json!(format!("{kind}/{}", part("name").unwrap_or_default()));
    }
    let value = jsonpath(object, &column.path);
    match (column.kind.as_str(), value) {
        ("date", Some(Value::String(stamp))) => json!(age(&stamp)),
        (_, Some(Value::String(text))) => json!(text),
        (_, Some(Value::Null)) | (_, None) => Value::Null,
        (_, Some(other @ (Value::Number(_) | Value::Bool(_)))) => other,
        (_, Some(other)) => json!(other.to_string()),
    }
}

fn age(stamp: &str) -> String {
    let Ok(then) = stamp.parse::<jiff::Timestamp>() else { return "<unknown>".into() };
    let seconds = (jiff::Timestamp::now().as_second() - then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The subset of JSONPath that printer columns use: fields, `['field']`, `[0]` and `[?(@.a=="b")]`.
pub(crate) fn jsonpath(object: &Value, path: &str) -> Option<Value> {
    let mut at = object.clone();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            // A dot in a key is written `\.`.
            let mut name = String::new();
            let mut end = tail.len();
            let mut escaped = false;
            for (index, c) in tail.char_indices() {
                match c {
                    '\\' if !escaped => escaped = true,
                    '.' | '[' if !escaped => {
                        end = index;
                        break;
                    }
                    c => {
                        name.push(c);
                        escaped = false;
                    }
                }
            }
            at = at.get(&name)?.clone();
            rest = &tail[end..];
            continue;
        }
        let inner = rest.strip_prefix('[')?;
        let end = inner.find(']')?;
        let (step, tail) = (&inner[..end], &inner[end + 1..]);
        rest = tail;
        if let Some(filter) = step.strip_prefix("?(@.").and_then(|filter| filter.strip_suffix(')')) {
            let (field, wanted) = filter.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            let found = at
                .as_array()?
                .iter()
                .find(|item| item.get(field.trim()).and_then(Value::as_str) == Some(wanted));
            at = found?.clone();
        } else if let Ok(index) = step.parse::<usize>() {
            at = at.get(index)?.clone();
        } else {
            at = at.get(step.trim_matches(['"', '\'']))?.clone();
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printer_columns_find_conditions_by_type() {
        let object = json!({"status": {"conditions": [{"type": "A", "status": "x"}, {"type": "Ready", "status": "True"}]}});
        assert_eq!(jsonpath(&object, ".status.conditions[?(@.type==\"Ready\")].status"), Some(json!("True")));
        assert_eq!(jsonpath(&object, ".status.missing"), None);
    }
}
