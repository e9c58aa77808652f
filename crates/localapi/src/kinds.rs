//! The kinds that are served: a table of built-in ones, and those that definitions add.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::schema::{BUILTIN, Graph, Id, Type, builtin};
use crate::status::Subject;
use crate::structural;

/// A column of `kubectl get`.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) priority: i64,
}

/// Where a scale lives in an object.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) spec: String,
    pub(crate) status: String,
}

/// One served version of a kind.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) served: bool,
    pub(crate) graph: Arc<Graph>,
    pub(crate) root: Id,
    pub(crate) status: bool,
    pub(crate) scale: Option<Scale>,
    pub(crate) columns: Vec<Column>,
    /// JSON paths of fields that field selectors may name.
    pub(crate) selectable: Vec<String>,
}

impl Version {
    pub(crate) fn ty(&self) -> Type<'_> {
        Type::new(&self.graph, self.root)
    }
}

/// A resource.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) builtin: bool,
    /// Whether `metadata.generation` is kept.
    pub(crate) generation: bool,
    pub(crate) versions: Vec<Version>,
}

/// Group and plural: what storage is keyed by.
pub(crate) type Resource = (String, String);

impl Kind {
    pub(crate) fn resource(&self) -> Resource {
        (self.group.clone(), self.plural.clone())
    }

    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name && version.served)
    }

    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    pub(crate) fn subject(&self, name: &str) -> Subject {
        Subject {
            group: self.group.clone(),
            resource: self.plural.clone(),
            kind: self.kind.clone(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    fn from_row(row: &str) -> Option<Self> {
        let words: Vec<&str> = row.split(' ').collect();
        let [group, version, plural, kind, scope, short, categories, flags] = words.as_slice() else {
            return None;
        };
        let list = |text: &str| match text {
            "-" => Vec::new(),
            text => text.split(',').map(str::to_owned).collect(),
        };
        let group = if *group == "-" { "" } else { group };
        let family = match group.split('.').next() {
            Some("" | "events") | None => "core",
            Some("rbac") => "rbac",
            Some(first) => first,
        };
        let scale = flags
            .contains('c')
            .then(|| Scale { spec: "/spec/replicas".into(), status: "/status/replicas".into() });
        let version = Version {
            name: (*version).to_owned(),
            served: true,
            graph: BUILTIN.0.clone(),
            root: builtin(&format!("{family}.{version}.{kind}"))?,
            status: flags.contains('s'),
            scale,
            columns: Vec::new(),
            selectable: Vec::new(),
        };
        Some(Self {
            group: group.to_owned(),
            plural: (*plural).to_owned(),
            singular: kind.to_lowercase(),
            kind: (*kind).to_owned(),
            list_kind: format!("{kind}List"),
            short: list(short),
            categories: list(categories),
            namespaced: *scope == "n",
            builtin: true,
            generation: flags.contains('g'),
            versions: vec![version],
        })
    }

    /// The kind that a definition declares.
    pub(crate) fn from_definition(crd: &Value) -> Option<Self> {
        let spec = crd.get("spec")?;
        let names = spec.get("names")?;
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |value: &Value, key: &str| {
            let list = value.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let versions = spec.get("versions")?.as_array()?.iter().map(version_of).collect();
        Some(Self {
            group: text(spec, "group"),
            plural: text(names, "plural"),
            singular: text(names, "singular"),
            kind: text(names, "kind"),
            list_kind: text(names, "listKind"),
            short: list(names, "shortNames"),
            categories: list(names, "categories"),
            namespaced: text(spec, "scope") == "Namespaced",
            builtin: false,
            generation: true,
            versions,
        })
    }
}

fn version_of(version: &Value) -> Version {
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |key: &str| version.get(key).and_then(Value::as_bool).unwrap_or(false);
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let (graph, root) = structural::read(version.pointer("/schema/openAPIV3Schema").unwrap_or(&open));
    let scale = version.pointer("/subresources/scale").map(|scale| Scale {
        spec: text(scale, "specReplicasPath").replace('.', "/"),
        status: text(scale, "statusReplicasPath").replace('.', "/"),
    });
    let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
    let columns = columns.into_iter().flatten().map(|column| Column {
        name: text(column, "name"),
        kind: text(column, "type"),
        path: text(column, "jsonPath"),
        priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
    });
    let selectable = version.get("selectableFields").and_then(Value::as_array);
    Version {
        name: text(version, "name"),
        served: flag("served"),
        graph: Arc::new(graph),
        root,
        status: version.pointer("/subresources/status").is_some(),
        scale,
        columns: columns.collect(),
        selectable: selectable.into_iter().flatten().map(|field| text(field, "jsonPath")).collect(),
    }
}

/// Everything that is served at the moment.
#[derive(Debug)]
pub(crate) struct Registry {
    kinds: BTreeMap<Resource, Arc<Kind>>,
}

impl Registry {
    pub(crate) fn builtin() -> Self {
        let rows = include_str!("../schema/kinds.txt").lines().filter_map(Kind::from_row);
        Self { kinds: rows.map(|kind| (kind.resource(), Arc::new(kind))).collect() }
    }

    pub(crate) fn get(&self, group: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds.get(&(group.to_owned(), plural.to_owned()))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values()
    }

    pub(crate) fn insert(&mut self, kind: Kind) {
        self.kinds.insert(kind.resource(), Arc::new(kind));
    }

    pub(crate) fn remove(&mut self, group: &str, plural: &str) {
        self.kinds.remove(&(group.to_owned(), plural.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_names_a_recorded_type() {
        let rows = include_str!("../schema/kinds.txt").lines();
        for row in rows {
            assert!(Kind::from_row(row).is_some(), "{row}");
        }
    }
}
