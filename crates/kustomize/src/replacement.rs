//! Replacements: copying a value from one object into fields of others.

use serde_json::Value;
use sluice_manifest::yaml::{self, Node, Tag};

use crate::decode::decode_lenient;
use crate::error::{Error, Result, bad};
use crate::fields::REPLACEMENT;
use crate::gojson;
use crate::id::{Gvk, ResId};
use crate::kustomization::{FieldOptions, Replacement, Source, Target};
use crate::loader::Loader;
use crate::node::{self, Shape};
use crate::path;
use crate::resource::Resource;
use crate::resources::{Resources, quote};
use crate::selector::Pattern;
use crate::session::Session;

const DEFAULT_PATH: &str = "metadata.name";

/// The files that replacements are kept in, as upstream shows its configuration.
pub(crate) fn shown(list: &[Replacement]) -> String {
    let paths: Vec<Value> = list.iter().map(|entry| serde_json::json!({ "path": entry.path })).collect();
    if list.iter().any(|entry| entry.path.is_empty()) {
        return String::new();
    }
    yaml::emit_v2(&serde_json::json!({ "Replacements": paths }))
}

/// The entries as the transformer gets them from the kustomization: without targets where they list none.
pub(crate) fn handed_on(list: &[Replacement]) -> Vec<Replacement> {
    let mut list = list.to_vec();
    for entry in &mut list {
        entry.targets.take_if(|targets| targets.is_empty());
    }
    list
}

/// Reads what is kept in files into the list.
pub(crate) fn load(session: &Session<'_>, loader: &Loader, list: &[Replacement]) -> Result<Vec<Replacement>> {
    let mut all = Vec::with_capacity(list.len());
    for entry in list {
        if entry.path.is_empty() {
            all.push(entry.clone());
            continue;
        }
        if entry.source.is_some() || entry.targets.is_some() {
            return Err(bad!("cannot specify both path and inline replacement"));
        }
        let (file, text) = loader.load_text(session, &entry.path)?;
        let value = session.parse_json(&file, &text, yaml::parse_v2_json)?;
        let decode = |value: Value| -> Result<Replacement> {
            let decoded = decode_lenient(value, &REPLACEMENT, "Replacement")?;
            serde_json::from_value::<Replacement>(decoded)
                .map_err(|error| bad!("error unmarshaling JSON: {error}"))
        };
        let place = |error: Error| error.located(file.as_str(), None);
        match value {
            Value::Array(items) => {
                for item in items {
                    all.push(decode(item).map_err(&place)?);
                }
            }
            Value::Object(_) => all.push(decode(value).map_err(&place)?),
            _ => {
                return Err(bad!(
                    "unsupported replacement type encountered within replacement path: {}",
                    entry.path
                ));
            }
        }
    }
    Ok(all)
}

/// Does one replacement.
pub(crate) fn apply(
    session: &Session<'_>,
    resources: &mut Resources,
    replacement: &Replacement,
) -> Result<()> {
    session.check()?;
    let (Some(targets), true) =
        (&replacement.targets, replacement.source.is_some() || replacement.source_value.is_some())
    else {
        return Err(bad!("replacements must specify a source and at least one target"));
    };
    let mut value = source_value(resources, replacement)?;
    for target in targets {
        apply_to(session, resources, &mut value, target)?;
    }
    Ok(())
}

/// What is copied, and where it stands: a source that is its own target changes under way.
struct Copied {
    node: Node,
    place: Option<(usize, Vec<String>)>,
}

impl Copied {
    fn fixed(node: Node) -> Self {
        Self { node, place: None }
    }

    /// Looks again after the resource at `changed` was changed.
    fn refresh(&mut self, list: &[Resource], changed: usize) {
        if let Some((at, path)) = &self.place
            && *at == changed
            && let Some(Ok(Some(node))) = list.get(*at).map(|resource| path::lookup(&resource.node, path))
        {
            self.node = node::detached(node);
        }
    }
}

fn source_value(resources: &mut Resources, replacement: &Replacement) -> Result<Copied> {
    let source = match (&replacement.source_value, &replacement.source) {
        (Some(_), Some(_)) => return Err(bad!("value and resource selectors are mutually exclusive")),
        (Some(value), None) => return Ok(Copied::fixed(node::untagged(value.as_str()))),
        (None, Some(source)) => source,
        (None, None) => return Err(bad!("replacements must specify a source and at least one target")),
    };
    let selector = ResId {
        gvk: Gvk { group: source.group.clone(), version: source.version.clone(), kind: source.kind.clone() },
        name: source.name.clone(),
        namespace: source.namespace.clone(),
    };
    let mut found: Option<(usize, &Resource)> = None;
    let places = match selector.name.as_str() {
        "" => (0..resources.len()).collect(),
        name => resources.places(name),
    };
    for at in places {
        let Some(resource) = resources.list().get(at) else { continue };
        if resource.any_id(|id| id.is_selected_by(&selector)) {
            if found.is_some() {
                return Err(bad!("multiple matches for selector {}", show(source, &selector)));
            }
            found = Some((at, resource));
        }
    }
    let Some((at, resource)) = found else {
        return Err(bad!("nothing selected by {}", show(source, &selector)));
    };
    let field = if source.field_path.is_empty() { DEFAULT_PATH } else { &source.field_path };
    let parts = path::split(field, '.');
    let value = path::lookup(&resource.node, &parts)
        .map_err(|error| error.wrap("error looking up replacement source"))?;
    let Some(value) = value.filter(|value| !node::is_nil_or_empty(value)) else {
        return Err(bad!("fieldPath `{field}` is missing for replacement source {selector}"));
    };
    match source.options.as_ref().filter(|options| !options.delimiter.is_empty()) {
        Some(options) => refine(value, options).map(Copied::fixed),
        None => Ok(Copied { node: node::detached(value), place: Some((at, parts)) }),
    }
}

fn show(source: &Source, selector: &ResId) -> String {
    let mut text = selector.to_string();
    if !source.field_path.is_empty() {
        text = format!("{text}:{}", source.field_path);
    }
    if let Some(options) = source.options.as_ref().filter(|o| !o.delimiter.is_empty() || o.create) {
        text = format!("{text}:{}({}), create={}", options.delimiter, options.index, options.create);
    }
    text
}

fn refine(value: &Node, options: &FieldOptions) -> Result<Node> {
    let Some(text) = value.text() else {
        return Err(bad!("delimiter option can only be used with scalar nodes"));
    };
    let parts: Vec<&str> = text.split(options.delimiter.as_str()).collect();
    let part = usize::try_from(options.index).ok().and_then(|index| parts.get(index));
    let Some(part) = part else {
        return Err(bad!("options.index {} is out of bounds for value {text}", options.index));
    };
    let mut refined = node::detached(value);
    node::set_raw_text(&mut refined, *part);
    Ok(refined)
}

fn apply_to(
    session: &Session<'_>,
    resources: &mut Resources,
    value: &mut Copied,
    target: &Target,
) -> Result<()> {
    let Some(select) = &target.select else { return Err(bad!("target must specify resources to select")) };
    let pattern = Pattern::new(select).map_err(|error| error.wrap("error creating target selector"))?;
    let mut rejects = Vec::with_capacity(target.reject.len());
    for reject in &target.reject {
        let by_id = [&reject.group, &reject.version, &reject.kind, &reject.name, &reject.namespace]
            .iter()
            .any(|text| !text.is_empty());
        let by_mark = !reject.label_selector.is_empty() || !reject.annotation_selector.is_empty();
        rejects.push((
            Pattern::new(reject).map_err(|e| e.wrap("error creating target selector"))?,
            by_id,
            by_mark,
        ));
    }
    let default = [DEFAULT_PATH.to_owned()];
    let fields = if target.field_paths.is_empty() { &default[..] } else { &target.field_paths };
    let paths: Vec<(&String, Vec<String>)> =
        fields.iter().map(|field| (field, path::split(field, '.'))).collect();
    let places = match pattern.only_name() {
        Some(name) => resources.places(name),
        None => (0..resources.len()).collect(),
    };
    for at in places {
        let Some(resource) = resources.list().get(at) else { continue };
        if !pattern.marks(resource)
            || rejects.iter().any(|(reject, _, by_mark)| *by_mark && reject.marks(resource))
        {
            continue;
        }
        if rejects.iter().any(|(reject, by_id, _)| *by_id && resource.any_id(|id| reject.selects_id(id))) {
            continue;
        }
        if resource.any_id(|id| pattern.selects_id(id)) {
            for (field, parts) in &paths {
                let resource_id = || resources.list().get(at).map(Resource::id).unwrap_or_default();
                let (weight, depth) = node::weigh(&value.node);
                session.spend(weight).map_err(|error| error.concerning(resource_id()))?;
                if depth + parts.len() > node::DEEPEST {
                    return Err(Error::limit("depth of an object", node::DEEPEST).concerning(resource_id()));
                }
                resources.change(at, |resource| {
                    copy(&mut resource.node, &value.node, field, parts, target.options.as_ref())?;
                    resource.settle_twins();
                    Ok(())
                })?;
                value.refresh(resources.list(), at);
            }
        }
    }
    Ok(())
}

fn copy(
    target: &mut Node,
    value: &Node,
    field: &str,
    parts: &[String],
    options: Option<&FieldOptions>,
) -> Result<()> {
    let create = options.filter(|options| options.create).map(|_| node::shape(value));
    if copy_into_text(target, value, parts, create) {
        return Ok(());
    }
    let failed = || {
        let how = if create.is_some() { "find or create" } else { "find" };
        format!("unable to {how} field {} in replacement target", quote(field))
    };
    let mut refused = None;
    let found = path::visit(target, parts, create, &mut |at| {
        set(at, value, options).inspect_err(|error| refused = Some(error.clone()))
    });
    match (found, refused) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(error.wrap(failed())),
        (Ok(0), None) => Err(bad!("{}", failed())),
        (Ok(_), None) => Ok(()),
    }
}

fn set(at: &mut Node, value: &Node, options: Option<&FieldOptions>) -> Result<()> {
    let mut text = value.text().unwrap_or("").to_owned();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        let Some(old) = at.text() else {
            return Err(bad!("delimiter option can only be used with scalar nodes"));
        };
        let new = if value.is_null() { "" } else { text.as_str() };
        let mut parts: Vec<&str> = old.split(options.delimiter.as_str()).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, new),
            Ok(index) => match parts.get_mut(index) {
                Some(part) => *part = new,
                None => parts.push(new),
            },
        }
        text = parts.join(&options.delimiter);
    }
    if at.is_scalar() {
        // The place keeps its type, so that a number stays one.
        node::set_raw_text(at, text);
    } else {
        *at = value.clone();
        node::set_raw_text(at, text);
    }
    Ok(())
}

/// Where the path goes on into a text holding JSON or YAML, changes the document in there.
fn copy_into_text(target: &mut Node, value: &Node, parts: &[String], create: Option<Shape>) -> bool {
    for count in 1..parts.len() {
        let (outer, inner) = parts.split_at(count);
        let Ok(Some(scalar)) = path::lookup(target, outer) else { continue };
        let Some(text) = scalar.text() else { continue };
        let Ok(parsed) = yaml::parse_commented(text, is_json(text), yaml::Limits::default()) else {
            continue;
        };
        let Some((mut document, comments)) = parsed else { return false };
        let original = text.to_owned();
        let found = path::visit(&mut document, inner, create, &mut |at| {
            if at.is_scalar() && at.tag != Tag::Alias {
                node::set_raw_text(at, value.text().unwrap_or(""));
            } else {
                *at = value.clone();
            }
            Ok(())
        });
        if !matches!(found, Ok(found) if found > 0) {
            return false;
        }
        let Some(written) = write(&document, &comments, &original) else { return false };
        if let Some(scalar) = path::lookup_mut(target, outer) {
            node::set_raw_text(scalar, written);
            return true;
        }
        return false;
    }
    false
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn write(document: &Node, comments: &yaml::Comments, original: &str) -> Option<String> {
    if !is_json(original) {
        return Some(yaml::emit_commented(document, comments).trim().to_owned());
    }
    let value = node::to_json(document).ok()?;
    let is_pretty = original.contains('\n') && original.contains("  ");
    Some(if is_pretty { gojson::pretty(&value) } else { gojson::compact(&value) })
}
