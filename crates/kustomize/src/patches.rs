//! The patch transformers: strategic merge and JSON 6902.

use sluice_manifest::yaml::{self, Node};

use crate::error::{Error, Result, bad};
use crate::history::is_note;
use crate::jsonpatch::{self, Operation};
use crate::kustomization::{Patch, Selector};
use crate::loader::Loader;
use crate::node::{self, Shape};
use crate::resource::Resource;
use crate::resources::{Resources, quote};
use crate::selector::Pattern;
use crate::session::{Session, unreadable};

/// What a `patches` entry turned out to be.
#[derive(Debug)]
enum Content {
    Strategic(Vec<Resource>),
    Json(Vec<Operation>),
    Nothing,
}

/// A `patches` entry, ready to be applied.
#[derive(Debug)]
pub(crate) struct PatchEntry {
    content: Content,
    target: Option<Selector>,
    source: String,
    /// Bytes of its text, or about what its nodes take if that is more.
    size: usize,
}

/// A JSON 6902 patch of the deprecated field, ready to be applied.
#[derive(Debug)]
pub(crate) struct JsonEntry {
    operations: Vec<Operation>,
    target: Selector,
    /// Bytes of its text, or about what its nodes take if that is more.
    size: usize,
}

/// Bytes a node takes at least.
const NODE: usize = 32;

fn decode_json(session: &Session<'_>, text: &str) -> Result<Vec<Operation>> {
    if text.is_empty() {
        return Err(bad!("empty json patch operations"));
    }
    let value = if text.starts_with('[') {
        // What starts like JSON has to be JSON, unless the engine's YAML reader agrees on it.
        serde_json::from_str(text)
            .map_err(|error| bad!("{error}").at_line(u32::try_from(error.line()).ok()))?
    } else {
        yaml::parse_v2_json(text, session.yaml_limits()).map_err(unreadable)?
    };
    jsonpatch::decode(&value)
}

impl PatchEntry {
    pub(crate) fn new(session: &Session<'_>, loader: &Loader, patch: &Patch, config: &str) -> Result<Self> {
        let inline = patch.patch.trim();
        let (text, source, file) = match (inline.is_empty(), patch.path.is_empty()) {
            (true, true) => return Err(bad!("must specify one of patch and path in\n{config}")),
            (false, false) => return Err(bad!("patch and path can't be set at the same time\n{config}")),
            (false, true) => (inline.to_owned(), format!("[patch: {}]", quote(inline)), None),
            (true, false) => {
                let (file, text) = loader.load_text(session, &patch.path).map_err(|error| {
                    error.wrap(format!("failed to get the patch file from path({})", patch.path))
                })?;
                (text, format!("[path: {}]", quote(&patch.path)), Some(file))
            }
        };
        let strategic = session.parse_resources(&text);
        let json = decode_json(session, &text);
        for error in [strategic.as_ref().err(), json.as_ref().err()].into_iter().flatten() {
            if error.is_final() {
                return Err(error.clone().concerning(&source));
            }
        }
        let content = match (strategic, json) {
            (Ok(patches), Ok(operations)) if !patches.is_empty() && !operations.is_empty() => {
                return Err(bad!("illegally qualifies as both an SM and JSON patch: {source}"));
            }
            (Err(strategic), Err(json)) => {
                // Which of the two was meant, nobody knows; what starts like a list was no object.
                let reason = if text.starts_with(['[', '-']) { json } else { strategic };
                let error = bad!("unable to parse SM or JSON patch from {source}").because(&reason);
                return Err(match file {
                    Some(file) => error.located(file.as_str(), None),
                    None => error,
                });
            }
            (Ok(patches), _) if patches.is_empty() => Content::Nothing,
            (Ok(mut patches), _) => {
                let options = patch.options.unwrap_or_default();
                for patch in &mut patches {
                    patch.allow_changes(options.allow_name_change, options.allow_kind_change);
                }
                Content::Strategic(patches)
            }
            (Err(_), Ok(operations)) => Content::Json(operations),
        };
        let nodes: usize = match &content {
            Content::Strategic(patches) => patches.iter().map(|patch| node::count(&patch.node)).sum(),
            Content::Json(operations) => jsonpatch::nodes(operations),
            Content::Nothing => 0,
        };
        let size = text.len().max(nodes * NODE);
        Ok(Self { content, target: patch.target.clone(), source, size })
    }

    pub(crate) fn apply(&self, session: &Session<'_>, resources: &mut Resources) -> Result<()> {
        match &self.content {
            Content::Nothing => Ok(()),
            Content::Json(operations) => {
                let Some(target) = &self.target else {
                    return Err(bad!("must specify a target for JSON patch {}", self.source));
                };
                change_json(session, resources, target, self.size, |resource| {
                    resource.remember_id();
                    apply_json(session, resource, operations)
                })?;
                resources.drop_gone();
                Ok(())
            }
            Content::Strategic(patches) => {
                let Some(target) = &self.target else {
                    return resources.patch_targets(patches, &session.schemas());
                };
                let [patch] = &patches[..] else {
                    return Err(bad!(
                        "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: {}",
                        self.source
                    ));
                };
                let chosen = select(resources, target)
                    .map_err(|error| error.wrap("unable to find patch target in `resources`"))?;
                session.spend(self.size.saturating_mul(chosen.len()))?;
                if chosen.is_empty() {
                    return Ok(());
                }
                resources.patch_chosen(&chosen, patch, &session.schemas())
            }
        }
    }
}

fn select(resources: &mut Resources, target: &Selector) -> Result<Vec<usize>> {
    let pattern = Pattern::new(target)?;
    let places = match pattern.only_name() {
        Some(name) => resources.places(name),
        None => (0..resources.len()).collect(),
    };
    let list = resources.list();
    let selected = |at: &usize| list.get(*at).is_some_and(|resource| pattern.selects(resource));
    Ok(places.into_iter().filter(selected).collect())
}

/// Changes the JSON form of all that is selected.
fn change_json(
    session: &Session<'_>,
    resources: &mut Resources,
    target: &Selector,
    size: usize,
    mut change: impl FnMut(&mut Resource) -> Result<()>,
) -> Result<()> {
    for at in select(resources, target)? {
        session.check()?;
        session.spend(size)?;
        resources.change(at, |resource| {
            let id = resource.id();
            change(resource).map_err(|error| error.concerning(&id))
        })?;
    }
    Ok(())
}

/// The patches of `patchesStrategicMerge`: paths, or patches themselves.
pub(crate) fn load_strategic(
    session: &Session<'_>,
    loader: &Loader,
    paths: &[String],
) -> Result<Vec<Resource>> {
    let mut patches = Vec::new();
    for path in paths {
        match session.parse_resources(path) {
            Ok(inline) => patches.extend(inline),
            Err(error) if error.is_final() => return Err(error),
            Err(_) => patches.extend(loader.load_resources(session, path)?),
        }
    }
    Ok(patches)
}

/// Applies patches that name their targets themselves.
pub(crate) fn apply_strategic(
    session: &Session<'_>,
    resources: &mut Resources,
    patches: &[Resource],
) -> Result<()> {
    let schemas = session.schemas();
    for patch in patches {
        let at = resources.patch_target(&patch.original_id()).map_err(|error| {
            // This transformer leaves the first half of the sentence out.
            error.reword(|text| match text.split_once("\": ") {
                Some((_, rest)) => rest.to_owned(),
                None => text.to_owned(),
            })
        })?;
        resources.patch_chosen(&[at], patch, &schemas)?;
    }
    Ok(())
}

impl PatchEntry {
    /// How much there is to compare an object with.
    pub(crate) fn weight(&self) -> usize {
        self.target.as_ref().map_or(1, Selector::weight)
    }
}

impl JsonEntry {
    /// How much there is to compare an object with.
    pub(crate) fn weight(&self) -> usize {
        self.target.weight()
    }

    /// An entry as the configuration of its transformer, which has a name of its own for an inline patch.
    pub(crate) fn shown(patch: &Patch) -> String {
        let mut shown = serde_json::to_value(patch).unwrap_or_default();
        if let Some(fields) = shown.as_object_mut() {
            fields.remove("options");
            if let Some(inline) = fields.remove("patch") {
                fields.insert("jsonOp".to_owned(), inline);
            }
        }
        yaml::emit_v2(&shown)
    }

    pub(crate) fn new(session: &Session<'_>, loader: &Loader, patch: &Patch) -> Result<Self> {
        let target = patch.target.clone().unwrap_or_default();
        if target.name.is_empty() {
            return Err(bad!("must specify the target name"));
        }
        let text = match (patch.path.is_empty(), patch.patch.is_empty()) {
            (true, true) => return Err(bad!("empty file path and empty jsonOp")),
            (false, false) => return Err(bad!("must specify a file path or jsonOp, not both")),
            (true, false) => patch.patch.clone(),
            (false, true) => {
                let (_, text) = loader.load_text(session, &patch.path)?;
                if text.is_empty() {
                    return Err(bad!("patch file '{}' empty seems to be empty", patch.path));
                }
                text
            }
        };
        let operations =
            decode_json(session, &text).map_err(|error| error.wrap(format!("decoding {text}")))?;
        if operations.is_empty() {
            return Err(bad!("patch appears to be empty; file={}, JsonOp={text}", patch.path));
        }
        let size = text.len().max(jsonpatch::nodes(&operations) * NODE);
        Ok(Self { operations, target, size })
    }

    pub(crate) fn apply(&self, session: &Session<'_>, resources: &mut Resources) -> Result<()> {
        change_json(session, resources, &self.target, self.size, |resource| {
            apply_json(session, resource, &self.operations)?;
            match resource.node.get("metadata") {
                Some(meta) if !meta.is_null() && !meta.is_mapping() => {
                    Err(node::wrong_kind(meta, Shape::Mapping))
                }
                _ => Ok(()),
            }
        })
    }
}

/// Applies operations to the JSON form of a resource, with the annotations upstream keeps in there.
fn apply_json(session: &Session<'_>, resource: &mut Resource, operations: &[Operation]) -> Result<()> {
    let internal = if resource.is_noted { Vec::new() } else { resource.expose_history() };
    let notes = resource.notes();
    let mut value = resource.to_json()?;
    let copied = jsonpatch::apply(&mut value, operations)?;
    session.spend(copied)?;
    if !value.is_object() {
        return Err(Error::invalid("a JSON patch must leave an object"));
    }
    resource.node = Node::from(&value);
    let mut annotations = resource.annotations();
    let brings_notes = annotations.keys().any(|key| is_note(key) && !notes.contains_key(key));
    if resource.is_noted || brings_notes {
        resource.node = node::rewritten(&value)?;
        annotations.extend(notes);
        resource.set_annotations(&annotations);
        if brings_notes {
            resource.adopt_notes();
        }
        return Ok(());
    }
    annotations.extend(notes.into_iter().filter(|(key, _)| !internal.contains(&key.as_str())));
    let kept = internal.iter().any(|key| annotations.contains_key(*key));
    for key in internal {
        annotations.remove(key);
    }
    resource.set_annotations(&annotations);
    if kept {
        resource.ground_annotations();
    }
    Ok(())
}
