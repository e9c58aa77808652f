//! One object under construction.

use std::collections::BTreeMap;

use sluice_manifest::yaml::{Node, NodeValue};

use crate::error::Result;
use crate::history::{History, INTERNAL};
use crate::id::{Gvk, IdRef, ResId, split_api_version};
use crate::merge;
use crate::node;
use crate::objects::check_meta;
use crate::schema::Schemas;

pub(crate) const ORIGIN: &str = "config.kubernetes.io/origin";
pub(crate) const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";
pub(crate) const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";

/// One object under construction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) node: Node,
    pub(crate) history: History,
    /// Names of the variables whose source this is.
    pub(crate) variables: Vec<String>,
    /// Whether some scalars are shared between several places.
    pub(crate) has_twins: bool,
    /// Whether the history also stands in the annotations, where upstream keeps it. It does for what is
    /// named after its content, since the content may count with its annotations.
    pub(crate) is_noted: bool,
}

/// The texts of a mapping of texts.
pub(crate) fn texts(map: Option<&Node>) -> BTreeMap<String, String> {
    let pairs = map.and_then(Node::pairs).unwrap_or_default();
    pairs
        .iter()
        .map(|(key, value)| (key.text().unwrap_or("").to_owned(), value.text().unwrap_or("").to_owned()))
        .collect()
}

fn replaces_annotations(patch: &Node) -> bool {
    let replaces = |node: &Node| {
        node.is_null() || matches!(node.get("$patch").and_then(Node::text), Some("replace" | "delete"))
    };
    replaces(patch)
        || patch
            .get("metadata")
            .is_some_and(|meta| replaces(meta) || meta.get("annotations").is_some_and(replaces))
}

impl Resource {
    pub(crate) fn new(node: Node) -> Self {
        let mut resource = Self {
            node,
            history: History::default(),
            variables: Vec::new(),
            has_twins: false,
            is_noted: false,
        };
        resource.adopt_notes();
        resource
    }

    pub(crate) fn meta(&self, field: &str) -> Option<&Node> {
        self.node.get("metadata")?.get(field)
    }

    pub(crate) fn name(&self) -> &str {
        self.node.get("metadata").map_or("", |meta| node::key_text(meta, "name"))
    }

    pub(crate) fn namespace(&self) -> &str {
        self.node.get("metadata").map_or("", |meta| node::key_text(meta, "namespace"))
    }

    pub(crate) fn kind(&self) -> &str {
        node::key_text(&self.node, "kind")
    }

    pub(crate) fn api_version(&self) -> &str {
        node::key_text(&self.node, "apiVersion")
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::new(self.api_version(), self.kind())
    }

    /// The present identity.
    pub(crate) fn id(&self) -> ResId {
        ResId { gvk: self.gvk(), name: self.name().to_owned(), namespace: self.namespace().to_owned() }
    }

    /// Whether one of its identities, former ones included, is wanted.
    pub(crate) fn any_id(&self, mut wanted: impl FnMut(&IdRef<'_>) -> bool) -> bool {
        let (group, version) = split_api_version(self.api_version());
        let present =
            IdRef { group, version, kind: self.kind(), name: self.name(), namespace: self.namespace() };
        let mut former = self.history.former.iter().map(|former| IdRef {
            kind: &former.kind,
            name: &former.name,
            namespace: &former.namespace,
            ..present
        });
        former.any(|id| wanted(&id)) || wanted(&present)
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        node::set_path(&mut self.node, &["metadata", "name"], node::untagged(name));
    }

    pub(crate) fn set_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() {
            if let Some(meta) = self.node.get_mut("metadata") {
                meta.remove("namespace");
            }
        } else {
            node::set_path(&mut self.node, &["metadata", "namespace"], node::untagged(namespace));
        }
    }

    pub(crate) fn set_kind(&mut self, kind: &str) {
        node::set_field(&mut self.node, "kind", node::untagged(kind));
    }

    pub(crate) fn set_gvk(&mut self, gvk: &Gvk) {
        self.set_kind(&gvk.kind);
        node::set_field(&mut self.node, "apiVersion", node::untagged(gvk.api_version()));
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        texts(self.meta("labels"))
    }

    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        texts(self.meta("annotations"))
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.meta("annotations")?.get(key).map(|value| value.text().unwrap_or(""))
    }

    fn set_texts(&mut self, field: &str, map: &BTreeMap<String, String>) {
        let value = if self.is_noted { node::made_text } else { |text: &str| Node::string(text) };
        let Some(meta) = self.node.ensure_map("metadata") else { return };
        meta.remove(field);
        if map.is_empty() {
            return;
        }
        let fresh = node::text_map(map, value);
        // Where the key stood twice, the second is left, and added to.
        match (meta.get_mut(field).filter(|left| left.is_mapping()), fresh.value) {
            (Some(left), NodeValue::Mapping(pairs)) => {
                pairs
                    .into_iter()
                    .for_each(|(key, value)| node::set_field(left, key.text().unwrap_or(""), value));
            }
            (_, fresh) => node::set_field(meta, field, Node { value: fresh, ..Node::empty_map() }),
        }
    }

    /// Replaces the labels; without any, the field goes.
    pub(crate) fn set_labels(&mut self, labels: &BTreeMap<String, String>) {
        self.set_texts("labels", labels);
    }

    /// Replaces the annotations; without any, the field goes.
    pub(crate) fn set_annotations(&mut self, annotations: &BTreeMap<String, String>) {
        self.set_texts("annotations", annotations);
    }

    /// Puts one annotation.
    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        let mut annotations = self.annotations();
        annotations.insert(key.to_owned(), value.to_owned());
        self.set_annotations(&annotations);
    }

    /// Turns all annotations into text and drops those that are nobody's business, and those in `also`.
    pub(crate) fn clean_annotations(&mut self, also: &[&str]) {
        // A list without items and metadata is given some.
        self.node.ensure_map("metadata");
        if self.meta("annotations").is_none() {
            return;
        }
        let mut annotations = self.annotations();
        annotations.retain(|key, _| !INTERNAL.contains(&key.as_str()) && !also.contains(&key.as_str()));
        self.set_annotations(&annotations);
    }

    /// Takes labels, annotations, name and namespace over from `other`, which comes from below.
    pub(crate) fn merge_meta_from(&mut self, other: &Resource) {
        let mut labels = other.labels();
        labels.extend(self.labels());
        self.set_labels(&labels);
        let needs_hash = self.history.needs_hash && other.history.needs_hash;
        let mut annotations = other.annotations();
        annotations.extend(self.annotations());
        if self.is_noted || other.is_noted {
            annotations.retain(|key, _| !INTERNAL.contains(&key.as_str()));
            let notes = other.annotations().into_iter();
            annotations.extend(notes.filter(|(key, _)| needs_hash && INTERNAL.contains(&key.as_str())));
        }
        self.set_annotations(&annotations);
        self.is_noted = needs_hash;
        self.history = History { needs_hash, ..other.history.clone() };
        self.set_name(other.name());
        self.set_namespace(other.namespace());
        self.variables.clone_from(&other.variables);
    }

    /// Merges a patch, which may leave nothing of the object.
    pub(crate) fn apply_patch(&mut self, patch: &Resource, schemas: &Schemas) -> Result<()> {
        let (name, namespace, kind) =
            (self.name().to_owned(), self.namespace().to_owned(), self.kind().to_owned());
        if patch.history.allow_name_change || patch.history.allow_kind_change {
            self.remember_id();
        }
        // Upstream loses the result of replacing a whole object and goes on with the old one.
        if patch.node.get("$patch").and_then(Node::text) == Some("replace") {
            return Ok(());
        }
        // Upstream keeps the history in the annotations, so that who replaces those loses it.
        if replaces_annotations(&patch.node) {
            self.history = History::default();
        }
        let brings_notes = patch.brings_notes();
        if brings_notes {
            self.expose_history();
        }
        let target = std::mem::replace(&mut self.node, Node::null());
        match merge::merge(target, &patch.node, schemas, self.is_noted)? {
            Some(merged) if !node::is_nil_or_empty(&merged) => self.node = merged,
            _ => return Ok(()),
        }
        self.settle_twins();
        if brings_notes {
            self.adopt_notes();
        }
        if !patch.history.allow_kind_change {
            self.set_kind(&kind);
        }
        if !patch.history.allow_name_change {
            self.set_name(&name);
        }
        self.set_namespace(&namespace);
        Ok(())
    }

    /// Refuses what lost its kind or name under way.
    pub(crate) fn check_meta(&self) -> Result<()> {
        if check_meta(&self.node).is_ok() {
            return Ok(());
        }
        let mut shown = self.clone();
        shown.expose_history();
        check_meta(&shown.node)
    }

    /// Lets changes of shared scalars show in all their places.
    pub(crate) fn settle_twins(&mut self) {
        if self.has_twins {
            node::settle_twins(&mut self.node);
        }
    }

    /// Whether a patch took the object away.
    pub(crate) fn is_gone(&self) -> bool {
        node::is_nil_or_empty(&self.node)
    }

    /// The object as JSON.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value> {
        node::to_json(&self.node)
    }

    /// The object as messages show it, with its history, and without what a secret holds.
    pub(crate) fn to_shown(&self) -> String {
        let mut shown = self.clone();
        shown.expose_history();
        if shown.kind() == "Secret" {
            shown.node.remove("data");
            shown.node.remove("stringData");
        }
        shown.to_json().map(|value| crate::gojson::compact(&value)).unwrap_or_default()
    }
}
