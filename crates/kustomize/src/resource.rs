//! One object under construction, with the history references are resolved by.

use std::collections::BTreeMap;

use sluice_manifest::yaml::{Node, Style};

use crate::error::Result;
use crate::id::{Gvk, IdRef, ResId, split_api_version};
use crate::merge;
use crate::node;
use crate::objects::check_meta;
use crate::schema::Schemas;

pub(crate) const ORIGIN: &str = "config.kubernetes.io/origin";
pub(crate) const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";
pub(crate) const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";

const PREFIX: &str = "internal.config.kubernetes.io/";

/// Annotations that never leave a build.
const INTERNAL: &[&str] = &[
    "internal.config.kubernetes.io/previousKinds",
    "internal.config.kubernetes.io/previousNames",
    "internal.config.kubernetes.io/prefixes",
    "internal.config.kubernetes.io/suffixes",
    "internal.config.kubernetes.io/previousNamespaces",
    "internal.config.kubernetes.io/allowNameChange",
    "internal.config.kubernetes.io/allowKindChange",
    "internal.config.kubernetes.io/refBy",
    "internal.config.kubernetes.io/generatorBehavior",
    "internal.config.kubernetes.io/needsHashSuffix",
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
    "internal.config.kubernetes.io/helm-generated",
];

/// What a generator does when its object is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behavior {
    #[default]
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "create" => Self::Create,
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            _ => Self::Unspecified,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Merge => "merge",
        }
    }
}

/// A former identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    pub(crate) name: String,
    /// The effective namespace.
    pub(crate) namespace: String,
    pub(crate) kind: String,
}

/// What happened to an object so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) former: Vec<Former>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) suffixes: Vec<String>,
    /// Whether a generator made it.
    pub(crate) generated: bool,
    pub(crate) behavior: Behavior,
    pub(crate) needs_hash: bool,
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
}

/// One object under construction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) node: Node,
    pub(crate) history: History,
    /// Names of the variables whose source this is.
    pub(crate) variables: Vec<String>,
    /// Whether some scalars are shared between several places.
    pub(crate) has_twins: bool,
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
        let mut resource =
            Self { node, history: History::default(), variables: Vec::new(), has_twins: false };
        resource.adopt_internal_annotations();
        resource
    }

    /// Annotations somebody copied out of a build's inside count as if they came from there.
    fn adopt_internal_annotations(&mut self) {
        let Some(annotations) = self.meta("annotations").and_then(Node::pairs) else { return };
        if !annotations.iter().any(|(key, _)| key.text().is_some_and(|key| key.starts_with(PREFIX))) {
            return;
        }
        let get = |key: &str| {
            let value =
                annotations.iter().find(|(k, _)| k.text().and_then(|k| k.strip_prefix(PREFIX)) == Some(key));
            value.and_then(|(_, value)| value.text()).unwrap_or("")
        };
        let list = |key: &str| -> Vec<String> {
            let text = get(key);
            if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
        };
        let (names, namespaces, kinds) =
            (list("previousNames"), list("previousNamespaces"), list("previousKinds"));
        let history = History {
            former: if names.len() == namespaces.len() && names.len() == kinds.len() {
                let rest = namespaces.into_iter().zip(kinds);
                let former = names.into_iter().zip(rest);
                former.map(|(name, (namespace, kind))| Former { name, namespace, kind }).collect()
            } else {
                Vec::new()
            },
            prefixes: list("prefixes"),
            suffixes: list("suffixes"),
            generated: !get("generatorBehavior").is_empty(),
            behavior: Behavior::parse(get("generatorBehavior")),
            needs_hash: get("needsHashSuffix") == "enabled",
            allow_name_change: get("allowNameChange") == "enabled",
            allow_kind_change: get("allowKindChange") == "enabled",
        };
        self.history = history;
    }

    /// Whether annotations that look like upstream's history cannot be one. Upstream panics over them.
    pub(crate) fn has_broken_history(&self) -> bool {
        let Some(annotations) = self.meta("annotations") else { return false };
        let count = |key: &str| {
            let text = annotations.get(key).and_then(Node::text).unwrap_or("");
            if text.is_empty() { 0 } else { text.split(',').count() }
        };
        self.history.former.is_empty()
            && [INTERNAL[1], INTERNAL[4]].iter().any(|key| count(key) != count(INTERNAL[0]))
    }

    fn meta(&self, field: &str) -> Option<&Node> {
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

    /// The former identities, the oldest first.
    pub(crate) fn former_ids(&self) -> Vec<ResId> {
        let gvk = if self.history.former.is_empty() { Gvk::default() } else { self.gvk() };
        let ids = self.history.former.iter().map(|former| ResId {
            gvk: Gvk { kind: former.kind.clone(), ..gvk.clone() },
            name: former.name.clone(),
            namespace: former.namespace.clone(),
        });
        ids.collect()
    }

    /// The identity it was loaded under.
    pub(crate) fn original_id(&self) -> ResId {
        self.former_ids().into_iter().next().unwrap_or_else(|| self.id())
    }

    /// Group, version and kind it was loaded under.
    pub(crate) fn original_gvk(&self) -> Gvk {
        let kind = self.history.former.first().map_or(self.kind(), |former| &former.kind);
        Gvk::new(self.api_version(), kind)
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

    /// Gives the object annotations, as it has upstream once its history is noted there.
    pub(crate) fn ground_annotations(&mut self) {
        let present = self
            .meta("annotations")
            .is_some_and(|annotations| !annotations.is_scalar() && !node::is_nil_or_empty(annotations));
        if !present && let Some(meta) = self.node.ensure_map("metadata") {
            meta.remove("annotations");
            meta.set("annotations", Node::empty_map());
        }
    }

    /// Remembers the present identity before it changes.
    pub(crate) fn remember_id(&mut self) {
        self.ground_annotations();
        let id = self.id();
        let namespace = id.effective_namespace().to_owned();
        self.history.former.push(Former { name: id.name, namespace, kind: id.gvk.kind });
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
        let Some(meta) = self.node.ensure_map("metadata") else { return };
        meta.remove(field);
        if map.is_empty() {
            return;
        }
        let pairs =
            map.iter().map(|(key, value)| (node::untagged(key.as_str()), Node::string(value.as_str())));
        let pairs = pairs.collect();
        node::set_field(meta, field, Node::mapping(pairs));
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
        let mut annotations = other.annotations();
        annotations.extend(self.annotations());
        self.set_annotations(&annotations);
        let needs_hash = self.history.needs_hash && other.history.needs_hash;
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
        let target = std::mem::replace(&mut self.node, Node::null());
        match merge::merge(target, &patch.node, schemas)? {
            Some(merged) if !node::is_nil_or_empty(&merged) => self.node = merged,
            _ => return Ok(()),
        }
        self.settle_twins();
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

    /// Writes the history into annotations, where upstream keeps it; returns their keys.
    pub(crate) fn expose_history(&mut self) -> Vec<&'static str> {
        let internal = self.internal_annotations();
        let Some(meta) = self.node.ensure_map("metadata").filter(|_| !internal.is_empty()) else {
            return Vec::new();
        };
        let Some(annotations) = meta.ensure_map("annotations") else { return Vec::new() };
        for (key, value) in &internal {
            annotations.set(key, Node::string(value.as_str()));
        }
        internal.into_iter().map(|(key, _)| key).collect()
    }

    /// As [`Self::expose_history`], in the order and style of usual histories upstream.
    pub(crate) fn write_history(&mut self) {
        let internal = self.internal_annotations();
        let [first, ..] = &self.history.former[..] else { return };
        // A namespace is set before names are changed; everything else notes its affix first.
        let next = self.history.former.get(1).map_or(self.name(), |next| &next.name);
        let identity_first = first.name == next;
        let rank = |key: &str| match key {
            _ if key == INTERNAL[8] || key == INTERNAL[9] => 0,
            _ if key == INTERNAL[1] => 2,
            _ if key == INTERNAL[4] => 3,
            _ if key == INTERNAL[0] => 4,
            _ if identity_first => 5,
            _ => 1,
        };
        let mut internal: Vec<_> = internal.into_iter().map(|(key, value)| (rank(key), key, value)).collect();
        internal.sort_by_key(|(rank, ..)| *rank);
        let Some(meta) = self.node.ensure_map("metadata") else { return };
        let Some(annotations) = meta.ensure_map("annotations") else { return };
        for (_, key, value) in internal {
            // Who asked for a hash in the file has asked already, and the place is hashed, too.
            if key == INTERNAL[9] && annotations.get(key).and_then(Node::text) == Some(value.as_str()) {
                continue;
            }
            let mut value = Node::string(value);
            if annotations.get(key).is_none() {
                node::set_style(&mut value, Style::Single);
            }
            node::set_field(annotations, key, value);
        }
    }

    /// The history as annotations.
    fn internal_annotations(&self) -> Vec<(&'static str, String)> {
        let history = &self.history;
        let column =
            |part: fn(&Former) -> &str| history.former.iter().map(part).collect::<Vec<_>>().join(",");
        let mut list = Vec::new();
        if !history.former.is_empty() {
            list.push((INTERNAL[0], column(|former| &former.kind)));
            list.push((INTERNAL[1], column(|former| &former.name)));
            list.push((INTERNAL[4], column(|former| &former.namespace)));
        }
        if !history.prefixes.is_empty() {
            list.push((INTERNAL[2], history.prefixes.join(",")));
        }
        if !history.suffixes.is_empty() {
            list.push((INTERNAL[3], history.suffixes.join(",")));
        }
        if history.generated {
            list.push((INTERNAL[8], history.behavior.word().to_owned()));
        }
        if history.needs_hash {
            list.push((INTERNAL[9], "enabled".to_owned()));
        }
        list
    }
}
