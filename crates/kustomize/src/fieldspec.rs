//! Paths into objects, filtered by group, version and kind.

use std::borrow::Borrow;
use std::collections::HashMap;

use sluice_manifest::yaml::Node;

use crate::error::{Result, bad};
use crate::id::{Gvk, ResId, split_api_version};
use crate::node::{self, Shape};
use crate::session::Session;

/// One place to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub(crate) gvk: Gvk,
    pub(crate) path: String,
    pub(crate) create: bool,
}

impl FieldSpec {
    pub(crate) fn new(group: &str, version: &str, kind: &str, path: &str, create: bool) -> Self {
        let gvk = Gvk { group: group.into(), version: version.into(), kind: kind.into() };
        Self { gvk, path: path.into(), create }
    }

    pub(crate) fn anywhere(path: &str, create: bool) -> Self {
        Self::new("", "", "", path, create)
    }
}

/// Splits at the delimiter unless a backslash stands before it.
pub(crate) fn split_path(path: &str, delimiter: char) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let text = path.strip_prefix(delimiter).unwrap_or(path);
    let mut glued = false;
    for part in text.split(delimiter) {
        match parts.last_mut() {
            Some(last) if glued => {
                last.pop();
                last.push(delimiter);
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
        glued = part.ends_with('\\');
    }
    parts
}

/// What is made of a missing end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    Nothing,
    /// A scalar that is text.
    Text,
    /// A scalar of unknown type.
    Scalar,
    Number,
    Mapping,
}

impl Create {
    fn make(self) -> Node {
        match self {
            Create::Nothing | Create::Scalar => node::untagged(""),
            Create::Text => Node::string(""),
            Create::Number => Node { tag: sluice_manifest::yaml::Tag::Int, ..Node::string("") },
            Create::Mapping => Node::empty_map(),
        }
    }
}

/// Calls `set` for every place in `object` the spec leads to.
pub(crate) fn visit(
    object: &mut Node,
    spec: &FieldSpec,
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<()> {
    if !applies(object, spec) {
        return Ok(());
    }
    if spec.path.contains('\\') {
        return visit_parts(object, spec, &split_path(&spec.path, '/'), create, set);
    }
    let parts: Vec<&str> = spec.path.strip_prefix('/').unwrap_or(&spec.path).split('/').collect();
    visit_parts(object, spec, &parts, create, set)
}

/// As [`visit`], with the path split already.
pub(crate) fn visit_parts<S: Borrow<str>>(
    object: &mut Node,
    spec: &FieldSpec,
    parts: &[S],
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<()> {
    let create = if spec.create { create } else { Create::Nothing };
    match step(object, parts, create, set) {
        Ok(()) => Ok(()),
        Err(error) => {
            Err(error.wrap(format!("considering field '{}' of object {}", spec.path, id_of(object))))
        }
    }
}

fn id_of(object: &Node) -> ResId {
    let meta = object.get("metadata");
    let text = |key: &str| meta.map_or("", |meta| node::key_text(meta, key)).to_owned();
    ResId {
        gvk: Gvk::new(node::key_text(object, "apiVersion"), node::key_text(object, "kind")),
        name: text("name"),
        namespace: text("namespace"),
    }
}

/// Whether the object passes the filter of the spec.
pub(crate) fn applies(object: &Node, spec: &FieldSpec) -> bool {
    if !spec.gvk.kind.is_empty() && spec.gvk.kind != node::key_text(object, "kind") {
        return false;
    }
    if spec.gvk.group.is_empty() && spec.gvk.version.is_empty() {
        return true;
    }
    let (group, version) = split_api_version(node::key_text(object, "apiVersion"));
    (spec.gvk.group.is_empty() || spec.gvk.group == group)
        && (spec.gvk.version.is_empty() || spec.gvk.version == version)
}

fn step<S: Borrow<str>>(
    at: &mut Node,
    path: &[S],
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<()> {
    let Some((first, rest)) = path.split_first() else { return set(at) };
    if at.is_null() {
        return Ok(());
    }
    match node::shape(at) {
        Shape::Scalar => Err(bad!("expected sequence or mapping node")),
        Shape::Sequence => {
            for item in at.items_mut().into_iter().flatten() {
                step(item, path, create, set)
                    .map_err(|error| error.wrap(format!("visit traversal on path: [{}]", path.join(" "))))?;
            }
            Ok(())
        }
        Shape::Mapping => {
            let first: &str = first.borrow();
            let (name, sequence) = match first.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (first, false),
            };
            if name.is_empty() {
                return Err(bad!("cannot set or create an empty field name"));
            }
            refuse_list_step(name).map_err(|error| error.wrap(format!("fieldName: {name}")))?;
            let making = create != Create::Nothing && !sequence;
            let made = || if rest.is_empty() { create.make() } else { Node::empty_map() };
            match at.get_mut(name) {
                None if making => {
                    if let Some(pairs) = at.pairs_mut() {
                        pairs.push((node::untagged(name), made()));
                    }
                }
                None => return Ok(()),
                Some(found) if found.is_null() => {
                    // A null takes the shape the path asks for.
                    if sequence {
                        *found = Node::sequence(Vec::new());
                    } else if making {
                        *found = made();
                    }
                }
                Some(_) => {}
            }
            match at.get_mut(name) {
                Some(found) => step(found, rest, create, set),
                None => Ok(()),
            }
        }
    }
}

/// Steps that mean elements of lists in other paths; here they never name a field of a map.
fn refuse_list_step(name: &str) -> Result<()> {
    match name.parse::<i64>() {
        Ok(index) if index < 0 => {
            return Err(bad!("array index {index} cannot be negative"));
        }
        Err(_) if name == "*" => {
            return Err(bad!("wildcard is not supported in PathGetter"));
        }
        Err(_) if name != "-" && !(name.starts_with('[') && name.ends_with(']')) => return Ok(()),
        _ => {}
    }
    Err(bad!("wrong node kind: expected SequenceNode but got MappingNode"))
}

/// Adds `spec` unless it is there; the same place must not be both created and not.
pub(crate) fn merge_one(session: &Session<'_>, list: &mut Vec<FieldSpec>, spec: &FieldSpec) -> Result<()> {
    session.step(list.len())?;
    let known = list.iter().find(|known| known.path == spec.path && known.gvk.is_selected(&spec.gvk));
    if is_new(known, spec)? {
        list.push(spec.clone());
    }
    Ok(())
}

fn is_new(known: Option<&FieldSpec>, spec: &FieldSpec) -> Result<bool> {
    match known {
        Some(known) if known.create != spec.create => Err(bad!("conflicting fieldspecs")),
        known => Ok(known.is_none()),
    }
}

/// Counts what a copy of the fields takes.
pub(crate) fn spend_on(session: &Session<'_>, fields: &[FieldSpec]) -> Result<()> {
    session.spend(fields.len().saturating_mul(size_of::<FieldSpec>()))
}

/// Adds all of `more`.
pub(crate) fn merge_all(session: &Session<'_>, list: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Result<()> {
    session.step(list.len())?;
    spend_on(session, more)?;
    let mut places: HashMap<String, Vec<usize>> = HashMap::with_capacity(list.len() + more.len());
    for (at, spec) in list.iter().enumerate() {
        places.entry(spec.path.clone()).or_default().push(at);
    }
    for spec in more {
        let same_path = places.get(&spec.path).map_or(&[][..], Vec::as_slice);
        session.step(1 + same_path.len())?;
        let mut known = same_path.iter().filter_map(|at| list.get(*at));
        if is_new(known.find(|known| known.gvk.is_selected(&spec.gvk)), spec)? {
            places.entry(spec.path.clone()).or_default().push(list.len());
            list.push(spec.clone());
        }
    }
    Ok(())
}
