//! Working on YAML nodes the way the upstream engine does, quoting and all.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sluice_manifest::yaml::{self, Node, NodeValue, Style, Tag, Text};

use crate::error::{Error, Result, bad};

/// The three kinds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar,
    Sequence,
    Mapping,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Scalar => "ScalarNode",
            Shape::Sequence => "SequenceNode",
            Shape::Mapping => "MappingNode",
        }
    }
}

pub(crate) fn shape(node: &Node) -> Shape {
    match node.value {
        NodeValue::Scalar { .. } => Shape::Scalar,
        NodeValue::Sequence(_) => Shape::Sequence,
        NodeValue::Mapping(_) => Shape::Mapping,
    }
}

/// A scalar whose meaning is found anew from its text when it is written.
pub(crate) fn untagged(text: impl Into<Text>) -> Node {
    Node { tag: untagged_tag(), ..Node::string(text) }
}

fn untagged_tag() -> Tag {
    Tag::Custom(Box::from(""))
}

/// Whether the scalar says nothing about its type.
pub(crate) fn is_untagged(node: &Node) -> bool {
    matches!(&node.tag, Tag::Custom(tag) if tag.is_empty())
}

/// Whether a setter sees text here.
pub(crate) fn is_text(node: &Node) -> bool {
    node.is_scalar() && (node.tag == Tag::Str || is_untagged(node))
}

pub(crate) fn set_style(node: &mut Node, new: Style) {
    if let NodeValue::Scalar { style, .. } = &mut node.value {
        *style = new;
    }
}

/// How a node was written.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Of a scalar.
    style: Option<Style>,
    /// Of a collection.
    flow: bool,
    tagged: bool,
}

impl Manner {
    pub(crate) fn of(node: &Node) -> Self {
        Self { style: node.style(), flow: node.flow, tagged: node.tagged }
    }

    /// Writes another node in this manner.
    pub(crate) fn apply(self, node: &mut Node) {
        node.tagged = self.tagged;
        match (&mut node.value, self.style) {
            (NodeValue::Scalar { style, .. }, Some(kept)) => *style = kept,
            (NodeValue::Scalar { style, .. }, None) => *style = Style::Plain,
            (_, None) => node.flow = self.flow,
            (_, Some(_)) => node.flow = false,
        }
    }
}

/// Changes the text alone; type and quoting stay.
pub(crate) fn set_raw_text(node: &mut Node, new: impl Into<Text>) {
    if twin(node).is_some() {
        node.line = CHANGED;
    }
    if let NodeValue::Scalar { text, .. } = &mut node.value {
        *text = new.into();
    }
}

/// The line of a twin that was changed since its siblings last heard of it.
const CHANGED: u32 = u32::MAX;

/// The number a scalar shares with its twins. Upstream puts one and the same node into all places a label
/// goes to, so that changing it in one place changes it in all; a number in the column stands for that.
fn twin(node: &Node) -> Option<u32> {
    ((node.line == 0 || node.line == CHANGED) && node.column != 0).then_some(node.column)
}

/// Makes the scalar one of the twins with this number.
pub(crate) fn make_twin(node: &mut Node, number: u32) {
    (node.line, node.column) = (0, number);
}

/// Puts a new value into an old one's place, and among its twins.
pub(crate) fn replace(old: &mut Node, mut new: Node) {
    let place = match (twin(old), twin(&new)) {
        (Some(number), _) => Some((CHANGED, number)),
        (None, Some(_)) => Some((0, 0)),
        (None, None) => None,
    };
    if let Some(place) = place {
        (new.line, new.column) = place;
    }
    *old = new;
}

/// A copy without twins.
pub(crate) fn detached(node: &Node) -> Node {
    fn detach(node: &mut Node) {
        if twin(node).is_some() {
            (node.line, node.column) = (0, 0);
        }
        match &mut node.value {
            NodeValue::Scalar { .. } => {}
            NodeValue::Sequence(items) => items.iter_mut().for_each(detach),
            NodeValue::Mapping(pairs) => pairs.iter_mut().for_each(|(_, value)| detach(value)),
        }
    }
    let mut copy = node.clone();
    detach(&mut copy);
    copy
}

/// Tells all twins of what was changed; of several changes, the last in the order of keys counts.
pub(crate) fn settle_twins(root: &mut Node) {
    fn any_changed(node: &Node) -> bool {
        match &node.value {
            NodeValue::Scalar { .. } => node.line == CHANGED,
            NodeValue::Sequence(items) => items.iter().any(any_changed),
            NodeValue::Mapping(pairs) => pairs.iter().any(|(_, value)| any_changed(value)),
        }
    }
    fn collect(node: &Node, changed: &mut HashMap<u32, Node>) {
        match &node.value {
            NodeValue::Scalar { .. } if node.line == CHANGED => {
                changed.insert(node.column, Node { line: 0, ..node.clone() });
            }
            NodeValue::Scalar { .. } => {}
            NodeValue::Sequence(items) => items.iter().for_each(|item| collect(item, changed)),
            NodeValue::Mapping(pairs) => {
                let mut sorted: Vec<&(Node, Node)> = pairs.iter().collect();
                sorted.sort_by(|a, b| a.0.text().cmp(&b.0.text()));
                sorted.into_iter().for_each(|(_, value)| collect(value, changed));
            }
        }
    }
    fn spread(node: &mut Node, changed: &HashMap<u32, Node>) {
        if let Some(new) = twin(node).and_then(|number| changed.get(&number)) {
            node.clone_from(new);
            return;
        }
        match &mut node.value {
            NodeValue::Scalar { .. } => {}
            NodeValue::Sequence(items) => items.iter_mut().for_each(|item| spread(item, changed)),
            NodeValue::Mapping(pairs) => pairs.iter_mut().for_each(|(_, value)| spread(value, changed)),
        }
    }
    if any_changed(root) {
        let mut changed = HashMap::new();
        collect(root, &mut changed);
        spread(root, &changed);
    }
}

pub(crate) fn is_null_or_empty_map(node: &Node) -> bool {
    node.is_null() || node.pairs().is_some_and(<[_]>::is_empty)
}

pub(crate) fn is_nil_or_empty(node: &Node) -> bool {
    is_null_or_empty_map(node) || node.items().is_some_and(<[_]>::is_empty)
}

/// The text under a key, empty when there is none.
pub(crate) fn key_text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).filter(|value| !is_nil_or_empty(value)).and_then(Node::text).unwrap_or("")
}

/// Whether YAML 1.1 reads the text as something else than text.
fn is_other_type(text: &str) -> bool {
    if text.is_empty() || text.contains('\n') {
        return false;
    }
    // The common case needs no parser.
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if text.len() > 5
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && text.bytes().all(word)
    {
        return false;
    }
    match yaml::parse_v2_json(text, yaml::Limits::default()) {
        Ok(value) => !value.is_string(),
        Err(_) => false,
    }
}

/// Text in the style upstream makes it with: as a block when it has several lines.
pub(crate) fn made_text(text: &str) -> Node {
    let mut node = Node::string(text);
    if text.contains('\n') {
        set_style(&mut node, Style::Literal);
    }
    guard(&mut node);
    node
}

/// A mapping of texts. Its keys carry no type: one that looks like a number is refused on output, as it is upstream.
pub(crate) fn text_map(map: &BTreeMap<String, String>, value: fn(&str) -> Node) -> Node {
    Node::mapping(map.iter().map(|(key, text)| (untagged(key.as_str()), value(text))).collect())
}

/// Quotes what would otherwise be misread.
pub(crate) fn guard(value: &mut Node) {
    if is_text(value) && value.style() == Some(Style::Plain) && value.text().is_some_and(is_other_type) {
        set_style(value, Style::Double);
    }
}

/// Puts a value under a key. The place keeps its quoting; null takes the key away.
pub(crate) fn set_field(map: &mut Node, key: &str, mut value: Node) {
    if value.is_null() {
        map.remove(key);
        return;
    }
    guard(&mut value);
    if let Some(old) = map.get_mut(key) {
        Manner::of(old).apply(&mut value);
        replace(old, value);
    } else if let Some(pairs) = map.pairs_mut() {
        pairs.push((untagged(key), value));
    }
}

/// Gives a scalar a new text of unknown type; the quoting stays.
pub(crate) fn set_scalar(node: &mut Node, text: String) -> Result<()> {
    if !node.is_scalar() {
        return Err(wrong_kind(node, Shape::Scalar));
    }
    let mut new = untagged(text);
    Manner::of(node).apply(&mut new);
    replace(node, new);
    Ok(())
}

/// Puts a text under a path of keys, making mappings on the way.
pub(crate) fn set_path(root: &mut Node, path: &[&str], value: Node) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = root;
    for key in parents {
        match at.ensure_map(key) {
            Some(next) => at = next,
            None => return,
        }
    }
    set_field(at, last, value);
}

pub(crate) fn wrong_kind(node: &Node, expected: Shape) -> Error {
    bad!(
        "wrong node kind: expected {} but got {}: node contents:\n{}",
        expected.name(),
        if node.tag == Tag::Alias { "AliasNode" } else { shape(node).name() },
        to_text(node)
    )
}

/// The node as a document, for messages and for matching against its text.
pub(crate) fn to_text(node: &Node) -> String {
    yaml::emit_node(node)
}

/// Deeper trees than this are not made.
pub(crate) const DEEPEST: usize = 500;

const SIZE: usize = std::mem::size_of::<Node>();

/// The bytes of all texts and nodes, and how deep the tree is.
pub(crate) fn weigh(node: &Node) -> (usize, usize) {
    match &node.value {
        NodeValue::Scalar { text, .. } => (text.len() + SIZE, 1),
        NodeValue::Sequence(items) => {
            items.iter().map(weigh).fold((SIZE, 1), |a, b| (a.0 + b.0, a.1.max(b.1 + 1)))
        }
        NodeValue::Mapping(pairs) => pairs.iter().fold((SIZE, 1), |a, (key, value)| {
            let (weight, depth) = weigh(value);
            (a.0 + weight + key.text().map_or(0, str::len) + SIZE, a.1.max(depth + 1))
        }),
    }
}

/// How many nodes a tree consists of.
pub(crate) fn count(node: &Node) -> usize {
    match &node.value {
        NodeValue::Scalar { .. } => 1,
        NodeValue::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        NodeValue::Mapping(pairs) => {
            1 + pairs.iter().map(|(key, value)| count(key) + count(value)).sum::<usize>()
        }
    }
}

/// Gives every scalar the type it is read back with once the tree was written.
fn settle(node: &mut Node) {
    match &mut node.value {
        NodeValue::Mapping(pairs) => {
            for (key, value) in pairs {
                settle(key);
                settle(value);
            }
        }
        NodeValue::Sequence(items) => items.iter_mut().for_each(settle),
        NodeValue::Scalar { text, style } => {
            let quoted = *style != Style::Plain;
            match &node.tag {
                Tag::Custom(tag) if tag.is_empty() => {
                    node.tag =
                        if quoted || text.contains('\n') { Tag::Str } else { Node::plain(text.as_str()).tag };
                }
                Tag::Null | Tag::Bool | Tag::Int | Tag::Float | Tag::Timestamp
                    if quoted && !node.tagged && Node::plain(text.as_str()).tag == node.tag =>
                {
                    node.tag = Tag::Str;
                }
                _ => {}
            }
        }
    }
}

/// What a value becomes that upstream writes and reads again: as `Node::from`, with places and quotes.
pub(crate) fn rewritten(value: &Value) -> Result<Node> {
    let mut nodes = yaml::parse_stream(&yaml::emit_v3(value), yaml::Limits::default())
        .map_err(|error| Error::invalid(error.to_string()))?;
    Ok(nodes.pop().unwrap_or_else(Node::empty_map))
}

/// As [`yaml::reread`].
pub(crate) fn reread(value: Value) -> Result<Value> {
    yaml::reread(value).map_err(|error| Error::invalid(error.to_string()))
}

/// The tree as JSON.
pub(crate) fn to_json(node: &Node) -> Result<Value> {
    to_json_into(node.clone())
}

/// As [`to_json`], using the tree up.
pub(crate) fn to_json_into(mut node: Node) -> Result<Value> {
    settle(&mut node);
    yaml::to_json_into(node).map_err(|error| Error::invalid(error.to_string()))
}
