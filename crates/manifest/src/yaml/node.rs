//! The node tree: what a YAML document says, with the style it was said in.

use std::fmt;

/// The text of a scalar. Most are so short that they need no memory of their own, and copies share the rest.
pub use smol_str::SmolStr as Text;

/// How a scalar was (or is to be) written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Without quotes; its meaning depends on the resolver.
    #[default]
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// A `|` block.
    Literal,
    /// A `>` block.
    Folded,
}

/// What a node means, after resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool,
    /// An integer of any notation.
    Int,
    /// A floating point number.
    Float,
    /// Text.
    Str,
    /// A date or a date with a time.
    Timestamp,
    /// Base64 text under `!!binary`.
    Binary,
    /// The merge key `<<`.
    Merge,
    /// A reference to an anchor, whose name is the text; only in documents that are written back.
    Alias,
    /// A tag nobody here knows.
    Custom(Box<str>),
    /// A mapping.
    Map,
    /// A sequence.
    Seq,
}

/// The three kinds of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeValue {
    /// A leaf.
    Scalar {
        /// The text after escape processing.
        text: Text,
        /// How it was written.
        style: Style,
    },
    /// An ordered list.
    Sequence(Vec<Node>),
    /// Ordered pairs; keys may repeat until the tree becomes JSON.
    Mapping(Vec<(Node, Node)>),
}

/// Comments as go-yaml keeps them with a node, several lines in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Above.
    pub head: String,
    /// Beside.
    pub line: String,
    /// Below.
    pub foot: String,
}

impl Remarks {
    /// Takes over what others have to say.
    pub fn replace_with(&mut self, other: &Self) {
        let pairs =
            [(&mut self.head, &other.head), (&mut self.line, &other.line), (&mut self.foot, &other.foot)];
        for (mine, theirs) in pairs.into_iter().filter(|(_, theirs)| !theirs.is_empty()) {
            mine.clone_from(theirs);
        }
    }
}

/// One node of a document. Equality ignores position and style.
#[derive(Clone)]
pub struct Node {
    /// The content.
    pub value: NodeValue,
    /// The resolved meaning.
    pub tag: Tag,
    /// Whether a collection was written in flow style (`[a]`, `{a: b}`); for a scalar, whether it
    /// stood inside such a collection.
    pub flow: bool,
    /// Whether the tag was written out.
    pub tagged: bool,
    /// Whether a mapping lost all it held; Go tells that from one that never held anything.
    pub emptied: bool,
    /// The comments around it, where they were asked for.
    pub remarks: Option<Box<Remarks>>,
    /// Line of the first character, from 1; 0 for made nodes.
    pub line: u32,
    /// Column of the first character, from 1; 0 for made nodes.
    pub column: u32,
}

impl Node {
    fn made(value: NodeValue, tag: Tag) -> Self {
        Self { value, tag, flow: false, tagged: false, emptied: false, remarks: None, line: 0, column: 0 }
    }

    fn scalar(text: impl Into<Text>, style: Style, tag: Tag) -> Self {
        Self::made(NodeValue::Scalar { text: text.into(), style }, tag)
    }

    /// Where the node stands, and its kind: a mapping begins where its first key does.
    pub(super) fn spot(&self) -> (u32, u32, u8) {
        let kind = match self.value {
            NodeValue::Scalar { .. } => 0,
            NodeValue::Sequence(_) => 1,
            NodeValue::Mapping(_) => 2,
        };
        (self.line, self.column, kind)
    }

    /// Text, whatever it looks like.
    pub fn string(text: impl Into<Text>) -> Self {
        Self::scalar(text, Style::Plain, Tag::Str)
    }

    /// A plain scalar whose meaning is found as a resource file's scalars are.
    pub fn plain(text: impl Into<Text>) -> Self {
        let text: Text = text.into();
        let tag = super::resolve::resolve_v3(&text);
        Self::scalar(text, Style::Plain, tag)
    }

    /// An integer.
    pub fn int(value: i64) -> Self {
        Self::scalar(value.to_string(), Style::Plain, Tag::Int)
    }

    /// A boolean.
    pub fn bool(value: bool) -> Self {
        Self::scalar(if value { "true" } else { "false" }, Style::Plain, Tag::Bool)
    }

    /// Null.
    pub fn null() -> Self {
        Self::scalar("null", Style::Plain, Tag::Null)
    }

    /// A sequence of `items`.
    pub fn sequence(items: Vec<Node>) -> Self {
        Self::made(NodeValue::Sequence(items), Tag::Seq)
    }

    /// A mapping of `pairs`.
    pub fn mapping(pairs: Vec<(Node, Node)>) -> Self {
        Self::made(NodeValue::Mapping(pairs), Tag::Map)
    }

    /// An empty mapping.
    pub fn empty_map() -> Self {
        Self::mapping(Vec::new())
    }

    /// Whether this is a scalar.
    pub fn is_scalar(&self) -> bool {
        matches!(self.value, NodeValue::Scalar { .. })
    }

    /// Whether this is a mapping.
    pub fn is_mapping(&self) -> bool {
        matches!(self.value, NodeValue::Mapping(_))
    }

    /// Whether this is a sequence.
    pub fn is_sequence(&self) -> bool {
        matches!(self.value, NodeValue::Sequence(_))
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        self.tag == Tag::Null
    }

    /// The text of any scalar, whatever its type; `None` for collections.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The text of a string scalar; `None` for numbers, booleans, null and collections.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Scalar { text, .. } if self.tag == Tag::Str => Some(text),
            _ => None,
        }
    }

    /// The value of a boolean scalar.
    pub fn as_bool(&self) -> Option<bool> {
        match (&self.tag, self.text()) {
            (Tag::Bool, Some(text)) => Some(text.eq_ignore_ascii_case("true")),
            _ => None,
        }
    }

    /// The style of a scalar.
    pub fn style(&self) -> Option<Style> {
        match &self.value {
            NodeValue::Scalar { style, .. } => Some(*style),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            NodeValue::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a sequence, to change.
    pub fn items_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            NodeValue::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a mapping, in order.
    pub fn pairs(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            NodeValue::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The pairs of a mapping, to change.
    pub fn pairs_mut(&mut self) -> Option<&mut Vec<(Node, Node)>> {
        match &mut self.value {
            NodeValue::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value under `key` in a mapping (the first, when repeated).
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pairs()?.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v)
    }

    /// The value under `key` in a mapping, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.pairs_mut()?.iter_mut().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v)
    }

    /// The value at the end of a path of mapping keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The value at the end of a path of mapping keys, to change.
    pub fn at_mut(&mut self, path: &[&str]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, key| node.get_mut(key))
    }

    /// Puts `value` under `key`: in the place of a present value, else at the end.
    /// Returns the old value. Does nothing (and drops `value`) when this is not a mapping.
    pub fn set(&mut self, key: &str, value: Node) -> Option<Node> {
        if let Some(old) = self.get_mut(key) {
            return Some(std::mem::replace(old, value));
        }
        if let Some(pairs) = self.pairs_mut() {
            pairs.push((Node::string(key), value));
        }
        None
    }

    /// Takes the value under `key` out of a mapping.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let pairs = self.pairs_mut()?;
        let at = pairs.iter().position(|(k, _)| k.text() == Some(key))?;
        let value = pairs.remove(at).1;
        self.emptied = pairs.is_empty();
        Some(value)
    }

    /// The mapping under `key`, made when absent or null. `None` when this is not a mapping or
    /// something else stands there.
    pub fn ensure_map(&mut self, key: &str) -> Option<&mut Node> {
        match self.get(key) {
            Some(found) if found.is_mapping() => {}
            Some(found) if !found.is_null() => return None,
            _ => {
                self.set(key, Node::empty_map());
            }
        }
        self.get_mut(key)
    }

    /// Replaces the text of a scalar and makes it a string; keeps the style.
    pub fn set_text(&mut self, new: impl Into<Text>) {
        match &mut self.value {
            NodeValue::Scalar { text, .. } => {
                *text = new.into();
                self.tag = Tag::Str;
            }
            _ => *self = Node::string(new),
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        if self.tag != other.tag {
            return false;
        }
        match (&self.value, &other.value) {
            (NodeValue::Scalar { text: a, .. }, NodeValue::Scalar { text: b, .. }) => a == b,
            (NodeValue::Sequence(a), NodeValue::Sequence(b)) => a == b,
            (NodeValue::Mapping(a), NodeValue::Mapping(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Node {}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            NodeValue::Scalar { text, .. } => write!(f, "{:?}({text:?})", self.tag),
            NodeValue::Sequence(items) => f.debug_list().entries(items).finish(),
            NodeValue::Mapping(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
        }
    }
}

impl From<&serde_json::Value> for Node {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Node::null(),
            Value::Bool(b) => Node::bool(*b),
            Value::Number(n) => {
                // The Go tools know no other number than this one on the way back from JSON.
                let text = super::float::go_g(n.as_f64().unwrap_or_default());
                let tag = super::resolve::resolve_v3(&text);
                Node::scalar(text, Style::Plain, tag)
            }
            Value::String(s) => Node::string(s.as_str()),
            Value::Array(items) => Node::sequence(items.iter().map(Node::from).collect()),
            Value::Object(map) => {
                Node::mapping(map.iter().map(|(k, v)| (Node::string(k.as_str()), Node::from(v))).collect())
            }
        }
    }
}
