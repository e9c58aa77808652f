//! What happened to an object so far, which references are resolved by. Upstream keeps it in annotations.

use std::collections::BTreeMap;

use sluice_manifest::yaml::{Node, Style};

use crate::id::{Gvk, ResId};
use crate::node;
use crate::resource::Resource;

const PREFIX: &str = "internal.config.kubernetes.io/";

const KINDS: &str = "internal.config.kubernetes.io/previousKinds";
const NAMES: &str = "internal.config.kubernetes.io/previousNames";
const NAMESPACES: &str = "internal.config.kubernetes.io/previousNamespaces";
const PREFIXES: &str = "internal.config.kubernetes.io/prefixes";
const SUFFIXES: &str = "internal.config.kubernetes.io/suffixes";
const BEHAVIOR: &str = "internal.config.kubernetes.io/generatorBehavior";
const ALLOW_NAME_CHANGE: &str = "internal.config.kubernetes.io/allowNameChange";
const ALLOW_KIND_CHANGE: &str = "internal.config.kubernetes.io/allowKindChange";
const ALLOWANCES: [&str; 2] = [ALLOW_NAME_CHANGE, ALLOW_KIND_CHANGE];
const NEEDS_HASH: &str = "internal.config.kubernetes.io/needsHashSuffix";

/// Annotations that never leave a build.
pub(crate) const INTERNAL: &[&str] = &[
    KINDS,
    NAMES,
    PREFIXES,
    SUFFIXES,
    NAMESPACES,
    ALLOW_NAME_CHANGE,
    ALLOW_KIND_CHANGE,
    "internal.config.kubernetes.io/refBy",
    BEHAVIOR,
    NEEDS_HASH,
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

/// Whether an annotation belongs to a history.
pub(crate) fn is_note(key: &str) -> bool {
    key.starts_with(PREFIX)
}

impl Resource {
    /// Annotations somebody copied out of a build's inside count as if they came from there.
    pub(crate) fn adopt_notes(&mut self) {
        let Some(annotations) = self.meta("annotations").and_then(Node::pairs) else { return };
        if !annotations.iter().any(|(key, _)| key.text().is_some_and(is_note)) {
            return;
        }
        let get = |key: &str| {
            let value = annotations.iter().find(|(k, _)| k.text() == Some(key));
            value.and_then(|(_, value)| value.text()).unwrap_or("")
        };
        let list = |key: &str| -> Vec<String> {
            let text = get(key);
            if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
        };
        let (names, namespaces, kinds) = (list(NAMES), list(NAMESPACES), list(KINDS));
        let history = History {
            former: if names.len() == namespaces.len() && names.len() == kinds.len() {
                let rest = namespaces.into_iter().zip(kinds);
                let former = names.into_iter().zip(rest);
                former.map(|(name, (namespace, kind))| Former { name, namespace, kind }).collect()
            } else {
                Vec::new()
            },
            prefixes: list(PREFIXES),
            suffixes: list(SUFFIXES),
            generated: !get(BEHAVIOR).is_empty(),
            behavior: Behavior::parse(get(BEHAVIOR)),
            needs_hash: get(NEEDS_HASH) == "enabled",
            allow_name_change: get(ALLOW_NAME_CHANGE) == "enabled",
            allow_kind_change: get(ALLOW_KIND_CHANGE) == "enabled",
        };
        self.is_noted = history.needs_hash;
        self.history = history;
    }

    /// Marks what a generator made.
    pub(crate) fn mark_generated(&mut self, behavior: Behavior, needs_hash: bool) {
        self.history.generated = true;
        self.history.behavior = behavior;
        self.history.needs_hash = needs_hash;
        self.is_noted = needs_hash;
        if needs_hash {
            self.annotate(NEEDS_HASH, "enabled");
            self.annotate(BEHAVIOR, behavior.word());
        }
    }

    /// Lets this patch change names or kinds of what it is applied to.
    pub(crate) fn allow_changes(&mut self, of_name: bool, of_kind: bool) {
        self.history.allow_name_change |= of_name;
        self.history.allow_kind_change |= of_kind;
        if of_name {
            self.annotate(ALLOW_NAME_CHANGE, "enabled");
        }
        if of_kind {
            self.annotate(ALLOW_KIND_CHANGE, "enabled");
        }
    }

    /// Whether it would write a history of its own into what it is merged with.
    pub(crate) fn brings_notes(&self) -> bool {
        let Some(annotations) = self.meta("annotations").and_then(Node::pairs) else { return false };
        let mut keys = annotations.iter().filter_map(|(key, _)| key.text());
        keys.any(|key| is_note(key) && !ALLOWANCES.contains(&key))
    }

    /// Whether annotations that look like upstream's history cannot be one. Upstream panics over them.
    pub(crate) fn has_broken_history(&self) -> bool {
        let Some(annotations) = self.meta("annotations") else { return false };
        let count = |key: &str| {
            let text = annotations.get(key).and_then(Node::text).unwrap_or("");
            if text.is_empty() { 0 } else { text.split(',').count() }
        };
        self.history.former.is_empty() && [NAMES, NAMESPACES].iter().any(|key| count(key) != count(KINDS))
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
        self.note(NAMES, &id.name);
        self.note(NAMESPACES, &namespace);
        self.note(KINDS, &id.gvk.kind);
        self.history.former.push(Former { name: id.name, namespace, kind: id.gvk.kind });
    }

    /// Remembers what is put before or behind the name.
    pub(crate) fn remember_affix(&mut self, affix: &str, front: bool) {
        let (list, key) = if front {
            (&mut self.history.prefixes, PREFIXES)
        } else {
            (&mut self.history.suffixes, SUFFIXES)
        };
        list.push(affix.to_owned());
        self.note(key, affix);
    }

    /// Adds to one of the lists in the annotations.
    fn note(&mut self, key: &str, value: &str) {
        if !self.is_noted || value.is_empty() {
            return;
        }
        self.ground_annotations();
        let Some(annotations) = self.node.at_mut(&["metadata", "annotations"]) else { return };
        let list = match annotations.get(key).and_then(Node::text) {
            Some(list) => format!("{list},{value}"),
            None => value.to_owned(),
        };
        let mut list = Node::string(list);
        node::set_style(&mut list, Style::Single);
        node::set_field(annotations, key, list);
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

    /// Those of its annotations that upstream guards against patches.
    pub(crate) fn notes(&self) -> BTreeMap<String, String> {
        let mut annotations = self.annotations();
        annotations.retain(|key, _| is_note(key));
        annotations
    }

    /// The history as annotations.
    fn internal_annotations(&self) -> Vec<(&'static str, String)> {
        let history = &self.history;
        let column =
            |part: fn(&Former) -> &str| history.former.iter().map(part).collect::<Vec<_>>().join(",");
        let mut list = Vec::new();
        if !history.former.is_empty() {
            list.push((KINDS, column(|former| &former.kind)));
            list.push((NAMES, column(|former| &former.name)));
            list.push((NAMESPACES, column(|former| &former.namespace)));
        }
        if !history.prefixes.is_empty() {
            list.push((PREFIXES, history.prefixes.join(",")));
        }
        if !history.suffixes.is_empty() {
            list.push((SUFFIXES, history.suffixes.join(",")));
        }
        if history.generated {
            list.push((BEHAVIOR, history.behavior.word().to_owned()));
        }
        if history.needs_hash {
            list.push((NEEDS_HASH, "enabled".to_owned()));
        }
        list
    }
}
