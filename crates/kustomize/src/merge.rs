//! Strategic merging of a patch into an object.

use sluice_manifest::yaml::{Node, NodeValue, Tag};

use crate::error::{Error, Result, bad};
use crate::lists::{Lists, unite, valid};
use crate::merge_fields::{Fields, repeats};
use crate::node::{self, Manner, Shape, shape};
use crate::schema::{Schema, Schemas};

/// What became of a value.
enum Outcome {
    Gone,
    /// The value; null means that the field is to go.
    Value(Node),
    /// A null somebody wrote on purpose and nobody patched.
    KeptNull(Node),
}

impl Outcome {
    fn into_node(self) -> Option<Node> {
        match self {
            Outcome::Gone => None,
            Outcome::Value(node) | Outcome::KeptNull(node) => Some(node),
        }
    }
}

impl From<Option<Node>> for Outcome {
    fn from(node: Option<Node>) -> Self {
        node.map_or(Outcome::Gone, Outcome::Value)
    }
}

#[derive(PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

const DIRECTIVE: &str = "$patch";

/// Longest list that is merged element against element.
const LONGEST: usize = 4_000;

/// Merges `patch` into `target`. `None` when the patch deletes the whole object.
///
/// With `exact`, what only some hashes tell is done as well: text that other readers would take for something else
/// is quoted wherever the merge passes, and comments of the patch take the place of the target's.
pub(crate) fn merge(target: Node, patch: &Node, schemas: &Schemas, exact: bool) -> Result<Option<Node>> {
    let merged = Walk { schemas, exact }.pair(Some(target), Some(patch.clone()), None)?;
    Ok(merged.into_node().filter(|node| !node.is_null()))
}

struct Walk<'a> {
    schemas: &'a Schemas,
    exact: bool,
}

fn directive_of(text: &str) -> Result<Directive> {
    match text {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        other => Err(bad!("unknown patch strategy '{other}'")),
    }
}

/// Reads the directive of a mapping and takes it out.
fn map_directive(patch: &mut Node) -> Result<Directive> {
    let Some(value) = patch.get(DIRECTIVE) else { return Ok(Directive::Merge) };
    let directive = directive_of(value.text().unwrap_or(""))?;
    patch.remove(DIRECTIVE);
    Ok(directive)
}

/// Reads the directive of a list, an element of its own, and takes it out.
fn list_directive(patch: &mut Vec<Node>) -> Result<Directive> {
    let Some(found) = patch.iter().find(|item| item.get(DIRECTIVE).is_some()) else {
        return Ok(Directive::Merge);
    };
    if found.pairs().is_some_and(|pairs| pairs.len() > 1) {
        return Ok(Directive::Merge);
    }
    let text = found.get(DIRECTIVE).and_then(Node::text).unwrap_or("").to_owned();
    let directive = directive_of(&text)?;
    patch.retain(|item| {
        !node::is_null_or_empty_map(item) && item.get(DIRECTIVE).and_then(Node::text) != Some(text.as_str())
    });
    Ok(directive)
}

/// Upstream takes a key without text for the mapping itself.
fn refuse_empty_key(map: &Node) -> Result<()> {
    match map.get("") {
        Some(_) => Err(node::wrong_kind(map, Shape::Scalar)),
        None => Ok(()),
    }
}

fn is_empty_collection(node: &Node) -> bool {
    node.pairs().is_some_and(<[_]>::is_empty) || node.items().is_some_and(<[_]>::is_empty)
}

fn wrong_kind(node: &Node, expected: Shape) -> Result<()> {
    if node.is_null() || shape(node) == expected {
        return Ok(());
    }
    Err(bad!(
        "wrong node kind: expected {} but got {}: node contents:\n{}",
        expected.name(),
        shape(node).name(),
        node::to_text(node)
    ))
}

impl<'a> Walk<'a> {
    fn quote(&self, node: &mut Node) {
        if self.exact {
            node::guard(node);
        }
    }

    fn schema_of(&self, nodes: [Option<&Node>; 2], known: Option<Schema<'a>>) -> Option<Schema<'a>> {
        if known.is_some() {
            return known;
        }
        nodes.into_iter().flatten().find_map(|node| {
            let api_version = node.get("apiVersion")?.text().filter(|text| !text.is_empty())?;
            let kind = node.get("kind")?.text().filter(|text| !text.is_empty())?;
            self.schemas.of_kind(api_version, kind)
        })
    }

    fn pair(&self, dest: Option<Node>, origin: Option<Node>, schema: Option<Schema<'a>>) -> Result<Outcome> {
        let schema = self.schema_of([dest.as_ref(), origin.as_ref()], schema);
        let kind = [&dest, &origin].into_iter().flatten().find(|node| !node.is_null()).map(shape);
        let Some(kind) = kind else {
            return Ok(match (dest, origin) {
                (Some(dest), None) if dest.text().is_some_and(|text| !text.is_empty()) => {
                    Outcome::KeptNull(Node { line: 0, column: 0, ..dest })
                }
                (_, origin) => origin.into(),
            });
        };
        for node in [&dest, &origin].into_iter().flatten() {
            wrong_kind(node, kind)?;
        }
        match kind {
            Shape::Mapping => self.maps(dest, origin, schema),
            Shape::Scalar => Ok(match (dest, origin) {
                (Some(mut dest), Some(origin)) if !origin.is_null() => {
                    node::replace(&mut dest, origin);
                    Outcome::Value(dest)
                }
                (dest, origin) => origin.or(dest).into(),
            }),
            Shape::Sequence => match schema.and_then(Schema::merge_keys) {
                None => Ok(origin.or(dest).into()),
                Some(keys) => self.lists(dest, origin, &keys.0, schema.and_then(Schema::elements)),
            },
        }
    }

    fn maps(&self, dest: Option<Node>, origin: Option<Node>, schema: Option<Schema<'a>>) -> Result<Outcome> {
        let Some(mut dest) = dest.filter(|node| !node.is_null()) else {
            let Some(mut origin) = origin else { return Ok(Outcome::Gone) };
            // An unknown directive under a new key is left where it is.
            if map_directive(&mut origin).is_ok_and(|directive| directive == Directive::Delete) {
                return Ok(Outcome::Gone);
            }
            return Ok(Outcome::Value(self.settle_map(origin, schema)?));
        };
        if origin.as_ref().is_some_and(Node::is_null) {
            return Ok(Outcome::Gone);
        }
        let mut origin = origin;
        if self.exact
            && let Some(remarks) = origin.as_ref().and_then(|patch| patch.remarks.as_ref())
        {
            dest.remarks.get_or_insert_default().replace_with(remarks);
        }
        if let Some(patch) = origin.as_mut() {
            match map_directive(patch)? {
                Directive::Merge => {}
                Directive::Delete => return Ok(Outcome::Gone),
                Directive::Replace => {
                    let patch = origin.take().unwrap_or_else(Node::empty_map);
                    return Ok(Outcome::Value(self.settle_map(patch, schema)?));
                }
            }
        }
        let mut patch = Fields::new(match origin.map(|node| node.value) {
            Some(NodeValue::Mapping(pairs)) => pairs,
            _ => Vec::new(),
        });
        if patch.has("") {
            return Err(node::wrong_kind(&dest, Shape::Scalar));
        }
        refuse_empty_key(&dest)?;
        let Some(pairs) = dest.pairs_mut() else { return Ok(Outcome::Value(dest)) };
        let repeated = repeats(pairs);
        let had_some = !pairs.is_empty();
        let mut merged = Vec::with_capacity(pairs.len() + patch.len());
        for (at, (key, mut value)) in std::mem::take(pairs).into_iter().enumerate() {
            if repeated.contains(&at) {
                merged.push((key, value));
                continue;
            }
            let name = key.text().unwrap_or("");
            let other = patch.take(name);
            let manner = match &other {
                Some(other) if is_empty_collection(&value) => Manner::of(other),
                Some(_) => Manner::of(&value),
                None => {
                    self.quote(&mut value);
                    Manner::of(&value)
                }
            };
            let field = schema.and_then(|schema| schema.field(name));
            match self.pair(Some(value), other, field)? {
                Outcome::Gone => {}
                Outcome::Value(node) if node.is_null() => {}
                Outcome::Value(mut node) | Outcome::KeptNull(mut node) => {
                    // The place keeps its quoting.
                    manner.apply(&mut node);
                    merged.push((key, node));
                }
            }
        }
        let mut left = patch.into_left();
        left.sort_by(|a, b| a.0.text().cmp(&b.0.text()));
        let repeated = repeats(&left);
        for (at, (key, value)) in left.into_iter().enumerate() {
            if repeated.contains(&at) {
                continue;
            }
            let name = key.text().unwrap_or("");
            let field = schema.and_then(|schema| schema.field(name));
            match self.pair(None, Some(value), field)? {
                Outcome::Gone => {}
                Outcome::Value(node) if node.is_null() => {}
                Outcome::Value(mut node) | Outcome::KeptNull(mut node) => {
                    self.quote(&mut node);
                    let mut new = node::untagged(name);
                    let is_own_list = node.is_sequence() && node.line == 0;
                    let style = key.style().filter(|_| !is_own_list).unwrap_or_default();
                    node::set_style(&mut new, style);
                    merged.push((new, node));
                }
            }
        }
        dest.emptied = merged.is_empty() && (dest.emptied || had_some);
        dest.value = NodeValue::Mapping(merged);
        Ok(Outcome::Value(dest))
    }

    /// What merging a value with itself makes of it: nulls go, directives act, keyed lists lose duplicates.
    fn settle_map(&self, mut map: Node, schema: Option<Schema<'a>>) -> Result<Node> {
        refuse_empty_key(&map)?;
        let Some(pairs) = map.pairs_mut() else { return Ok(map) };
        let mut settled = Vec::with_capacity(pairs.len());
        for (key, value) in std::mem::take(pairs) {
            let field = schema.and_then(|schema| schema.field(key.text().unwrap_or("")));
            let manner = Manner::of(&value);
            match self.settle(value, field)? {
                Some(mut node) if !node.is_null() => {
                    self.quote(&mut node);
                    if node.is_sequence() {
                        manner.apply(&mut node);
                    }
                    settled.push((key, node));
                }
                _ => map.emptied = true,
            }
        }
        map.emptied &= settled.is_empty();
        map.value = NodeValue::Mapping(settled);
        Ok(map)
    }

    fn settle(&self, mut value: Node, schema: Option<Schema<'a>>) -> Result<Option<Node>> {
        if value.is_null() {
            return Ok(None);
        }
        let schema = self.schema_of([Some(&value), None], schema);
        match shape(&value) {
            Shape::Scalar => Ok(Some(value)),
            Shape::Mapping => {
                if map_directive(&mut value)? == Directive::Delete {
                    return Ok(None);
                }
                self.settle_map(value, schema).map(Some)
            }
            Shape::Sequence => match schema.and_then(Schema::merge_keys) {
                None => Ok(Some(value)),
                Some(keys) => {
                    if let Some(items) = value.items_mut()
                        && list_directive(items)? == Directive::Delete
                    {
                        return Ok(None);
                    }
                    let elements = schema.and_then(Schema::elements);
                    self.keyed(value, None, true, &keys.0, elements).map(Some)
                }
            },
        }
    }

    fn lists(
        &self,
        dest: Option<Node>,
        origin: Option<Node>,
        keys: &[String],
        elements: Option<Schema<'a>>,
    ) -> Result<Outcome> {
        let Some(dest) = dest.filter(|node| !node.is_null()) else {
            let Some(origin) = origin else { return Ok(Outcome::Gone) };
            return Ok(Outcome::Value(self.keyed(origin, None, true, keys, elements)?));
        };
        let Some(mut origin) = origin else {
            return Ok(Outcome::Value(self.keyed(dest, None, false, keys, elements)?));
        };
        if origin.is_null() {
            return Ok(Outcome::Gone);
        }
        if let Some(items) = origin.items_mut() {
            match list_directive(items)? {
                Directive::Merge => {}
                Directive::Delete => return Ok(Outcome::Gone),
                Directive::Replace => {
                    return Ok(Outcome::Value(self.keyed(origin, None, true, keys, elements)?));
                }
            }
        }
        Ok(Outcome::Value(self.keyed(dest, Some(origin), false, keys, elements)?))
    }

    /// Merges lists element by element. `same` says that the list is merged with itself.
    fn keyed(
        &self,
        mut dest: Node,
        origin: Option<Node>,
        same: bool,
        keys: &[String],
        elements: Option<Schema<'a>>,
    ) -> Result<Node> {
        let mut lists = Lists::default();
        let own = dest.items_mut().map(std::mem::take).unwrap_or_default();
        lists.dest = lists.hold(own);
        lists.origin = match origin.map(|node| node.value) {
            Some(NodeValue::Sequence(items)) => Some(lists.hold(items)),
            _ if same => Some(lists.dest.clone()),
            _ => None,
        };
        let values = lists.values(keys);
        let primitive = values.is_empty() && keys.is_empty();
        let (keys, mut values) =
            if primitive { (vec![String::new()], lists.texts()) } else { (keys.to_vec(), values) };
        if keys.len() > 1 {
            unite(&mut values);
        }
        if !values.is_empty() {
            // The result is a list of its own.
            dest = Node::sequence(Vec::new());
        }
        if let ([key], false) = (&keys[..], primitive)
            && lists.is_plain(key)
        {
            self.plain(&mut lists, key, &values, same, elements)?;
            return Ok(lists.into_node(dest));
        }
        if lists.all.len() > LONGEST {
            return Err(Error::limit(
                "number of elements in a list merged by keys that are missing or repeated",
                LONGEST,
            ));
        }
        let mut added: Vec<usize> = Vec::new();
        let mut used_keys: Vec<String> = Vec::new();
        for wanted in &values {
            if wanted.is_empty() {
                continue;
            }
            let (valid_keys, valid_values) = valid(&values, wanted, &keys);
            used_keys.clone_from(&valid_keys);
            let Some(at) = self.element(&mut lists, &valid_keys, &valid_values, same, elements)? else {
                if !valid_keys.is_empty() {
                    lists.dest = lists.without(&lists.dest, &valid_keys, &valid_values);
                    if same {
                        lists.origin = Some(lists.dest.clone());
                    }
                }
                continue;
            };
            added = lists.put(&added, at, &valid_keys, &valid_values);
        }
        if !values.is_empty() {
            lists.dest = lists.append(added, &used_keys)?;
        }
        Ok(lists.into_node(dest))
    }

    /// The common case: one key that every element has, and none twice.
    fn plain(
        &self,
        lists: &mut Lists,
        key: &str,
        values: &[Vec<String>],
        same: bool,
        schema: Option<Schema<'a>>,
    ) -> Result<()> {
        let mine = lists.places(&lists.dest, key);
        let theirs = lists.origin.as_ref().map(|list| lists.places(list, key)).unwrap_or_default();
        let keys = [key.to_owned()];
        let mut order = Vec::with_capacity(values.len());
        for value in values {
            let Some(text) = value.first() else { continue };
            let (own, other) = (mine.get(text).copied(), theirs.get(text).copied());
            if let Some(at) = self.element_at(lists, (own, other), &keys, value, same, schema)? {
                // What is there already wins over what would take its place.
                order.push(own.unwrap_or(at));
            }
        }
        lists.dest = order;
        Ok(())
    }

    /// Merges the elements the keys point at; the place of the result, or `None` when it is to go.
    fn element(
        &self,
        lists: &mut Lists,
        keys: &[String],
        values: &[String],
        same: bool,
        schema: Option<Schema<'a>>,
    ) -> Result<Option<usize>> {
        let (keys, values) = valid(&[values.to_vec()], values, keys);
        let mine = lists.find(&lists.dest, &keys, &values);
        let theirs = lists.origin.as_ref().and_then(|origin| lists.find(origin, &keys, &values));
        self.element_at(lists, (mine, theirs), &keys, &values, same, schema)
    }

    fn element_at(
        &self,
        lists: &mut Lists,
        found: (Option<usize>, Option<usize>),
        keys: &[String],
        values: &[String],
        same: bool,
        schema: Option<Schema<'a>>,
    ) -> Result<Option<usize>> {
        let at = match found {
            (None, None) => return Ok(None),
            (Some(mine), Some(theirs)) if same || mine == theirs => {
                let value = std::mem::replace(&mut lists.all[mine], Node::null());
                match self.settle(value, schema)? {
                    None => return Ok(None),
                    Some(node) => {
                        lists.all[mine] = node;
                        mine
                    }
                }
            }
            (Some(mine), theirs) => {
                let before = lists.all[mine].clone();
                let other = theirs.map(|at| lists.all[at].clone());
                let replaces = other.as_ref().is_some_and(|node| {
                    node.is_scalar() || node.get(DIRECTIVE).and_then(Node::text) == Some("replace")
                });
                match self.pair(Some(before), other, schema)?.into_node() {
                    None => return Ok(None),
                    Some(node) if replaces => lists.hold_one(node),
                    Some(node) => {
                        lists.all[mine] = node;
                        mine
                    }
                }
            }
            (None, Some(theirs)) => {
                let other = lists.all[theirs].clone();
                match self.pair(None, Some(other), schema)?.into_node() {
                    None => return Ok(None),
                    Some(node) => lists.hold_one(node),
                }
            }
        };
        if node::is_null_or_empty_map(&lists.all[at]) {
            return Ok(None);
        }
        for (key, value) in keys.iter().zip(values) {
            let element = &mut lists.all[at];
            if element.is_mapping() && !key.is_empty() && element.get(key).is_none() && !value.is_empty() {
                element.set(key, Node { tag: Tag::Custom("".into()), ..Node::string(value.as_str()) });
            }
        }
        Ok(Some(at))
    }
}
