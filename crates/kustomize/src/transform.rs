//! The transformers of a kustomization, configured and in order.

use std::collections::{BTreeMap, HashMap};

use sluice_manifest::yaml::{Node, Tag};

use crate::error::{Result, bad};
use crate::fieldspec::{Create, FieldSpec, applies, split_path, visit, visit_parts};
use crate::hash;
use crate::history::is_note;
use crate::id::{Gvk, ResId};
use crate::images::Images;
use crate::kustomization::{Replacement, Replica, Selector, Target};
use crate::node::{self, Manner, Shape};
use crate::patches::{JsonEntry, PatchEntry, apply_strategic};
use crate::replacement;
use crate::resource::Resource;
use crate::resources::Resources;
use crate::selector::Pattern;
use crate::session::Session;

/// Which subjects of role bindings follow a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subjects {
    #[default]
    DefaultOnly,
    AllServiceAccounts,
    None,
}

/// One target of a [`Transformer::ValueAdd`].
#[derive(Debug)]
pub(crate) struct ValueTarget {
    pub(crate) selector: Option<Selector>,
    pub(crate) field: String,
    pub(crate) position: usize,
}

/// A configured transformer.
#[derive(Debug)]
pub(crate) enum Transformer {
    StrategicMerge(Vec<Resource>),
    Patch(Box<PatchEntry>),
    Namespace { namespace: String, fields: Vec<FieldSpec>, unset_only: bool, subjects: Subjects },
    Prefix { prefix: String, fields: Vec<FieldSpec> },
    Suffix { suffix: String, fields: Vec<FieldSpec> },
    Labels { labels: BTreeMap<String, String>, fields: Vec<FieldSpec> },
    Annotations { annotations: BTreeMap<String, String>, fields: Vec<FieldSpec> },
    Json(JsonEntry),
    Replicas { replica: Replica, fields: Vec<FieldSpec> },
    Images(Box<Images>),
    Replacement(Vec<Replacement>),
    ValueAdd { value: String, targets: Vec<ValueTarget> },
    Hash,
}

impl Transformer {
    /// The kind in transformer annotations.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::StrategicMerge(_) => "PatchStrategicMergeTransformer",
            Self::Patch(_) => "PatchTransformer",
            Self::Namespace { .. } => "NamespaceTransformer",
            Self::Prefix { .. } => "PrefixTransformer",
            Self::Suffix { .. } => "SuffixTransformer",
            Self::Labels { .. } => "LabelTransformer",
            Self::Annotations { .. } => "AnnotationsTransformer",
            Self::Json(_) => "PatchJson6902Transformer",
            Self::Replicas { .. } => "ReplicaCountTransformer",
            Self::Images(_) => "ImageTagTransformer",
            Self::Replacement(_) => "ReplacementTransformer",
            Self::ValueAdd { .. } => "ValueAddTransformer",
            Self::Hash => "HashTransformer",
        }
    }

    /// Whether scalars somewhere in an object may have been changed in place.
    pub(crate) fn changes_scalars(&self) -> bool {
        matches!(
            self,
            Self::Namespace { .. }
                | Self::Prefix { .. }
                | Self::Suffix { .. }
                | Self::Images(_)
                | Self::ValueAdd { .. }
        )
    }

    /// For how many things every object is looked at.
    fn entries(&self) -> usize {
        match self {
            Self::StrategicMerge(patches) => patches.len(),
            Self::Patch(entry) => entry.weight(),
            Self::Json(entry) => entry.weight(),
            Self::Hash => 1,
            Self::Namespace { fields, .. }
            | Self::Prefix { fields, .. }
            | Self::Suffix { fields, .. }
            | Self::Labels { fields, .. }
            | Self::Annotations { fields, .. }
            | Self::Replicas { fields, .. } => fields.len(),
            Self::Images(images) => images.fields(),
            Self::Replacement(list) => {
                let targets =
                    |entry: &Replacement| entry.targets.iter().flatten().map(Target::weight).sum::<usize>();
                list.iter().map(|entry| 1 + targets(entry)).sum()
            }
            Self::ValueAdd { targets, .. } => targets.len(),
        }
    }

    pub(crate) fn apply(&self, session: &Session<'_>, resources: &mut Resources) -> Result<()> {
        session.check()?;
        session.step(self.entries().saturating_mul(resources.len()))?;
        match self {
            Self::StrategicMerge(patches) => apply_strategic(session, resources, patches),
            Self::Patch(entry) => entry.apply(session, resources),
            Self::Namespace { namespace, fields, unset_only, subjects } => {
                set_namespaces(session, resources, namespace, fields, *unset_only, *subjects)
            }
            Self::Prefix { prefix, fields } => rename(session, resources, prefix, fields, true),
            Self::Suffix { suffix, fields } => rename(session, resources, suffix, fields, false),
            Self::Labels { labels, fields } => set_entries(session, resources, labels, fields),
            Self::Annotations { annotations, fields } => set_entries(session, resources, annotations, fields),
            Self::Json(entry) => entry.apply(session, resources),
            Self::Replicas { replica, fields } => set_replicas(session, resources, replica, fields),
            Self::Images(images) => {
                let images = images.ready();
                for resource in resources.list_mut() {
                    images.walk_object(session, &mut resource.node)?;
                }
                resources
                    .list_mut()
                    .iter_mut()
                    .try_for_each(|resource| images.visit_fields(session, &mut resource.node))
            }
            Self::Replacement(list) => {
                list.iter().try_for_each(|replacement| replacement::apply(session, resources, replacement))
            }
            Self::ValueAdd { value, targets } => {
                targets.iter().try_for_each(|target| add_value(session, resources, value, target))
            }
            Self::Hash => add_hashes(resources),
        }
    }
}

/// Appends content hashes where they were asked for.
pub(crate) fn add_hashes(resources: &mut Resources) -> Result<()> {
    for resource in resources.list_mut() {
        if resource.history.needs_hash {
            let suffix = hash::suffix(resource).map_err(|error| error.of_object(&resource.id()))?;
            let name = format!("{}-{suffix}", resource.name());
            resource.remember_id();
            resource.set_name(&name);
        }
    }
    Ok(())
}

/// Puts a text into a scalar; the place keeps its quoting.
fn set_text(at: &mut Node, text: &str, tag: Tag) -> Result<()> {
    if !at.is_scalar() && !at.is_null() {
        return Err(node::wrong_kind(at, Shape::Scalar));
    }
    let mut new = Node { tag, ..Node::string(text) };
    Manner::of(at).apply(&mut new);
    node::replace(at, new);
    Ok(())
}

fn set_namespaces(
    session: &Session<'_>,
    resources: &mut Resources,
    namespace: &str,
    fields: &[FieldSpec],
    unset_only: bool,
    subjects: Subjects,
) -> Result<()> {
    if namespace.is_empty() {
        return Ok(());
    }
    let mut present: HashMap<ResId, usize> = HashMap::with_capacity(resources.len());
    for resource in resources.list() {
        *present.entry(resource.id()).or_default() += 1;
    }
    let mut conflict = None;
    for resource in resources.list_mut() {
        let before = resource.id();
        resource.remember_id();
        set_namespace(session, &mut resource.node, namespace, fields, unset_only, subjects)?;
        let id = resource.id();
        if let Some(count) = present.get_mut(&before) {
            *count -= 1;
        }
        let count = present.entry(id.clone()).or_default();
        *count += 1;
        if *count != 1 {
            conflict = Some(id);
            break;
        }
    }
    let Some(id) = conflict else { return Ok(()) };
    let same = resources.list().iter().filter(|resource| resource.id() == id);
    let shown: Vec<String> = same.map(Resource::to_shown).collect();
    Err(bad!("namespace transformation produces ID conflict: [{}]", shown.join(" ")))
}

/// Sets the namespace of one object and what belongs to it.
fn set_namespace(
    session: &Session<'_>,
    object: &mut Node,
    namespace: &str,
    fields: &[FieldSpec],
    unset_only: bool,
    subjects: Subjects,
) -> Result<()> {
    let mut set = |at: &mut Node| {
        if unset_only && at.text().is_some_and(|text| !at.is_null() && !text.is_empty()) {
            return Ok(());
        }
        session.spend(namespace.len())?;
        set_text(at, namespace, Tag::Str)
    };
    let api_version = node::key_text(object, "apiVersion").to_owned();
    let gvk = Gvk::new(&api_version, node::key_text(object, "kind"));
    if !gvk.is_cluster_scoped() && !session.is_cluster_scoped(&gvk) {
        visit(object, &FieldSpec::anywhere("metadata/namespace", true), Create::Text, &mut set)?;
    }
    let is_binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
    if is_binding && subjects != Subjects::None {
        let (field, wanted) = match subjects {
            Subjects::DefaultOnly => ("name", "default"),
            _ => ("kind", "ServiceAccount"),
        };
        if let Some(list) = object.get_mut("subjects").filter(|list| !list.is_null()) {
            let Some(items) = list.items_mut() else {
                return Err(node::wrong_kind(list, Shape::Sequence)
                    .wrap("setting namespace on (cluster)role binding subjects"));
            };
            for subject in items {
                match subject.get(field) {
                    Some(found) if found.is_scalar() && found.text() == Some(wanted) => {}
                    Some(found) if !found.is_scalar() => {
                        return Err(node::wrong_kind(found, Shape::Scalar)
                            .wrap(format!("looking up {field} on (cluster)role binding subject"))
                            .wrap("setting namespace on (cluster)role binding subjects"));
                    }
                    _ => continue,
                }
                if subject.get("namespace").is_none()
                    && let Some(pairs) = subject.pairs_mut()
                {
                    pairs.push((node::untagged("namespace"), Node::string("")));
                }
                if let Some(at) = subject.get_mut("namespace") {
                    set(at)?;
                }
            }
        }
    }
    for spec in fields {
        let hard_coded = spec.path == "metadata/namespace"
            || (spec.path == "metadata/name" && api_version != "v1")
            || (is_binding
                && spec.path == "subjects/namespace"
                && matches!(spec.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding"));
        if !hard_coded {
            let mut set = |at: &mut Node| {
                session.spend(if at.text().is_some_and(str::is_empty) { made(spec) } else { 0 })?;
                set(at)
            };
            visit(object, spec, Create::Text, &mut set).map_err(|error| {
                let words = error.message();
                if words.contains("wrong node kind: ") && !words.contains("but got ScalarNode") {
                    error.wrap("namespace field specs must target scalar nodes")
                } else {
                    error.wrap("namespace transformation failed")
                }
            })?;
        }
    }
    Ok(())
}

/// Kinds whose names are never changed by prefixes and suffixes.
fn keeps_name(gvk: &Gvk) -> bool {
    match gvk.kind.as_str() {
        "CustomResourceDefinition" | "Namespace" => true,
        "APIService" => gvk.group == "apiregistration.k8s.io",
        _ => false,
    }
}

fn rename(
    session: &Session<'_>,
    resources: &mut Resources,
    affix: &str,
    fields: &[FieldSpec],
    front: bool,
) -> Result<()> {
    for resource in resources.list_mut() {
        let original = resource.original_gvk();
        if keeps_name(&original) {
            continue;
        }
        for spec in fields {
            if !original.is_selected(&spec.gvk) {
                continue;
            }
            if spec.path == "metadata/name" && !affix.is_empty() {
                resource.remember_affix(affix, front);
                resource.remember_id();
            }
            visit(&mut resource.node, spec, Create::Scalar, &mut |at| {
                let Some(text) = at.text() else { return Err(node::wrong_kind(at, Shape::Scalar)) };
                session.spend(affix.len() + if text.is_empty() { made(spec) } else { 0 })?;
                let text = if front { format!("{affix}{text}") } else { format!("{text}{affix}") };
                node::set_scalar(at, text)
            })?;
        }
    }
    Ok(())
}

/// Bytes a field takes that is made where there was none.
fn made(spec: &FieldSpec) -> usize {
    let nodes = 1 + spec.path.matches('/').count();
    spec.path.len() + nodes * 2 * size_of::<Node>()
}

pub(crate) fn set_entries(
    session: &Session<'_>,
    resources: &mut Resources,
    entries: &BTreeMap<String, String>,
    fields: &[FieldSpec],
) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let weight: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    let fields: Vec<(&FieldSpec, Vec<String>)> =
        fields.iter().map(|spec| (spec, split_path(&spec.path, '/'))).collect();
    let brings_notes = entries.keys().any(|key| is_note(key));
    for resource in resources.list_mut() {
        let numbers = session.twins(entries.len());
        if brings_notes {
            resource.expose_history();
        }
        for (spec, parts) in &fields {
            if !applies(&resource.node, spec) {
                continue;
            }
            visit_parts(&mut resource.node, spec, parts, Create::Mapping, &mut |at| {
                if at.is_null() {
                    return Ok(());
                }
                if !at.is_mapping() {
                    return Err(node::wrong_kind(at, Shape::Mapping));
                }
                let is_new = at.pairs().is_none_or(<[_]>::is_empty);
                session.spend(weight + if is_new { made(spec) } else { 0 })?;
                for ((key, value), number) in entries.iter().zip(numbers.clone()) {
                    let mut value = Node::string(value.as_str());
                    node::make_twin(&mut value, number);
                    if at.get(key).is_some() {
                        value = node::detached(&value);
                    }
                    node::set_field(at, key, value);
                }
                Ok(())
            })?;
        }
        resource.has_twins = true;
        resource.settle_twins();
        if brings_notes {
            resource.adopt_notes();
        }
    }
    Ok(())
}

fn set_replicas(
    session: &Session<'_>,
    resources: &mut Resources,
    replica: &Replica,
    fields: &[FieldSpec],
) -> Result<()> {
    let count = replica.count.to_string();
    let mut found = false;
    let places = resources.places(&replica.name);
    for spec in fields {
        for &at in &places {
            resources.change(at, |resource| {
                if !resource.any_id(|id| id.name == replica.name && id.is_of(&spec.gvk)) {
                    return Ok(());
                }
                found = true;
                visit(&mut resource.node, spec, Create::Number, &mut |at| {
                    session.spend(made(spec))?;
                    set_text(at, &count, Tag::Int)
                })
            })?;
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<String> = fields.iter().map(|spec| spec.gvk.to_string()).collect();
    Err(bad!(
        "resource with name {} does not match a config with the following GVK [{}]",
        replica.name,
        kinds.join(" ")
    ))
}

/// Puts `part` into a file path at the given position.
fn insert_part(path: &str, at: usize, part: &str) -> String {
    let (root, rest) = match path.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => ("", path),
    };
    let mut parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let at = at.min(parts.len());
    parts.insert(at, part);
    format!("{root}{}", parts.join("/"))
}

fn add_value(
    session: &Session<'_>,
    resources: &mut Resources,
    value: &str,
    target: &ValueTarget,
) -> Result<()> {
    let pattern = target.selector.as_ref().map(Pattern::new).transpose()?;
    let parts = split_path(&format!("/{}", target.field.trim_start_matches('/')), '/');
    for resource in resources.list_mut() {
        if pattern.as_ref().is_some_and(|pattern| !pattern.selects(resource)) {
            continue;
        }
        if target.field == "metadata/namespace" {
            set_namespace(session, &mut resource.node, value, &[], false, Subjects::DefaultOnly)?;
            continue;
        }
        crate::path::visit(&mut resource.node, &parts, Some(Shape::Scalar), &mut |at| {
            let Some(text) = at.text() else { return Err(node::wrong_kind(at, Shape::Scalar)) };
            let place =
                if text.is_empty() { target.field.len() + parts.len() * 2 * size_of::<Node>() } else { 0 };
            session.spend(value.len() + place)?;
            let new = match target.position {
                0 => value.to_owned(),
                position => insert_part(text, position - 1, value),
            };
            node::set_scalar(at, new)
        })?;
    }
    Ok(())
}
