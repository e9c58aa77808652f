//! What the server knows about the shape of an object: its fields, and how lists and maps merge.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::rules::Rules;

/// Index of a node in its [`Graph`].
pub(crate) type Id = usize;

/// The kinds of values a schema tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything; maps merge field by field, lists are replaced as a whole.
    Any,
    String,
    Bytes,
    Time,
    Quantity,
    IntOrString,
    Integer,
    Number,
    Boolean,
    Object,
    List,
}

/// How the elements of a list or map belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Replaced and owned as a whole.
    Atomic,
    /// Each key of a map on its own.
    Granular,
    /// A list of unique scalars.
    Set,
    /// A list of objects told apart by these fields.
    Keys(Vec<String>),
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) node: Id,
    pub(crate) required: bool,
    /// Strategic merge: the merge key (`""` for lists of scalars).
    pub(crate) merge: Option<String>,
    /// Strategic merge: fields absent from the patch are cleared.
    pub(crate) retain_keys: bool,
}

/// One type.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// The struct's name, of built-in types.
    pub(crate) name: &'static str,
    pub(crate) fields: BTreeMap<String, Field>,
    /// Type of a map's values or a list's items.
    pub(crate) element: Option<Id>,
    pub(crate) relation: Relation,
    pub(crate) default: Option<Value>,
    /// Unknown fields are kept.
    pub(crate) open: bool,
    /// Holds a whole object with apiVersion, kind and metadata.
    pub(crate) embedded: bool,
    pub(crate) nullable: bool,
    /// Decoded into a struct by the server: unknown and empty fields vanish, types must fit.
    pub(crate) typed: bool,
    pub(crate) rules: Option<Box<Rules>>,
}

impl Node {
    pub(crate) fn of(kind: Kind) -> Self {
        let relation = match kind {
            Kind::List => Relation::Atomic,
            _ => Relation::Granular,
        };
        Self {
            kind,
            name: "",
            fields: BTreeMap::new(),
            element: None,
            relation,
            default: None,
            open: false,
            embedded: false,
            nullable: false,
            typed: false,
            rules: None,
        }
    }

    fn typed(kind: Kind) -> Self {
        Self { typed: true, ..Self::of(kind) }
    }
}

/// A closed set of types that refer to each other; node 0 is [`Kind::Any`].
#[derive(Debug)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::of(Kind::Any)] }
    }

    pub(crate) fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(crate) fn set(&mut self, id: Id, node: Node) {
        if let Some(slot) = self.nodes.get_mut(id) {
            *slot = node;
        }
    }

    pub(crate) fn has_expressions(&self) -> bool {
        self.nodes.iter().any(|node| node.rules.as_ref().is_some_and(|rules| rules.has_expressions()))
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        // Node 0 always exists; ids only come from `add`.
        self.nodes.get(id).unwrap_or(&self.nodes[0])
    }
}

/// A type inside its graph.
#[derive(Clone, Copy)]
pub(crate) struct Type<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
}

impl<'a> Type<'a> {
    pub(crate) fn new(graph: &'a Graph, id: Id) -> Self {
        Self { graph, node: graph.node(id) }
    }

    fn at(&self, id: Id) -> Type<'a> {
        Type::new(self.graph, id)
    }

    /// Whether `name` is a declared field rather than a key of a map.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.node.fields.contains_key(name)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&'a Field> {
        self.node.fields.get(name)
    }

    /// Type of what stands under `name` in an object of this type; `None` when nothing may.
    pub(crate) fn child(&self, name: &str) -> Option<Type<'a>> {
        if let Some(field) = self.node.fields.get(name) {
            return Some(self.at(field.node));
        }
        if let (Kind::Object, Some(element)) = (self.node.kind, self.node.element) {
            return Some(self.at(element));
        }
        (self.node.open || self.node.kind == Kind::Any).then(|| self.at(0))
    }

    /// As [`Type::child`], anything where nothing is known.
    pub(crate) fn child_or_any(&self, name: &str) -> Type<'a> {
        self.child(name).unwrap_or_else(|| self.at(0))
    }

    pub(crate) fn items(&self) -> Type<'a> {
        match (self.node.kind, self.node.element) {
            (Kind::List, Some(element)) => self.at(element),
            _ => self.at(0),
        }
    }

    /// Whether `value` is owned as one piece.
    pub(crate) fn is_leaf(&self, value: &Value) -> bool {
        match value {
            Value::Object(_) => match self.node.kind {
                Kind::Any => false,
                Kind::Object => self.node.relation == Relation::Atomic,
                _ => true,
            },
            Value::Array(_) => self.node.kind != Kind::List || self.node.relation == Relation::Atomic,
            _ => true,
        }
    }
}

const TEXT: &str = include_str!("../schema/builtin.txt");

/// The types of the built-in kinds.
pub(crate) static BUILTIN: LazyLock<(Arc<Graph>, HashMap<&'static str, Id>)> = LazyLock::new(|| {
    let mut graph = Graph::new();
    let names = parse(&mut graph, |_| true);
    (Arc::new(graph), names)
});

/// The type of a built-in kind, e.g. `apps.v1.Deployment`.
pub(crate) fn builtin(name: &str) -> Option<Id> {
    BUILTIN.1.get(name).copied()
}

/// Adds the type of `metadata` to a graph of its own.
pub(crate) fn add_metadata(graph: &mut Graph) -> Id {
    let wanted = ["meta.v1.ObjectMeta", "meta.v1.OwnerReference", "meta.v1.ManagedFieldsEntry"];
    let names = parse(graph, |name| wanted.contains(&name));
    names.get("meta.v1.ObjectMeta").copied().unwrap_or(0)
}

fn parse(graph: &mut Graph, wanted: impl Fn(&str) -> bool) -> HashMap<&'static str, Id> {
    let mut names = HashMap::new();
    let mut lines = Vec::new();
    for line in TEXT.lines() {
        let mut words = line.split(' ');
        let Some(head) = words.next() else { continue };
        let name = head.trim_end_matches('~');
        if wanted(name) {
            let id = graph.add(Node::typed(Kind::Object));
            names.insert(name, id);
            lines.push((id, name, head.ends_with('~'), words));
        }
    }
    for (id, name, atomic, words) in lines {
        let mut node = Node::typed(Kind::Object);
        node.name = name.rsplit('.').next().unwrap_or_default();
        if atomic {
            node.relation = Relation::Atomic;
        }
        for word in words {
            let Some((name, rest)) = word.split_once(':') else { continue };
            let (shape, retain_keys) = match rest.strip_suffix("^^") {
                Some(shape) => (shape, true),
                None => (rest, false),
            };
            let (shape, merge) = match shape.split_once('^') {
                Some((shape, key)) => (shape, Some(key.to_owned())),
                None => (shape, None),
            };
            let field = Field {
                node: shape_of(graph, &names, shape),
                required: name.ends_with('!'),
                merge,
                retain_keys,
            };
            node.fields.insert(name.trim_end_matches('!').to_owned(), field);
        }
        graph.set(id, node);
    }
    names
}

fn shape_of(graph: &mut Graph, names: &HashMap<&'static str, Id>, shape: &str) -> Id {
    if let Some(name) = shape.strip_prefix('@') {
        return names.get(name.trim_start_matches('+')).copied().unwrap_or(0);
    }
    if let Some(rest) = shape.strip_prefix('{') {
        let (mark, element) = rest.split_once('}').unwrap_or(("", rest));
        let element = shape_of(graph, names, element);
        let mut node = Node::typed(Kind::Object);
        node.element = Some(element);
        if mark == "~" {
            node.relation = Relation::Atomic;
        }
        return graph.add(node);
    }
    if let Some(rest) = shape.strip_prefix('[') {
        let (mark, element) = rest.split_once(']').unwrap_or(("", rest));
        let element = shape_of(graph, names, element);
        let mut node = Node::typed(Kind::List);
        node.element = Some(element);
        node.relation = match mark {
            "" => Relation::Atomic,
            "s" => Relation::Set,
            keys => Relation::Keys(keys.split(',').map(str::to_owned).collect()),
        };
        return graph.add(node);
    }
    let kind = match shape {
        "s" => Kind::String,
        "i" => Kind::Integer,
        "n" => Kind::Number,
        "b" => Kind::Boolean,
        "y" => Kind::Bytes,
        "t" => Kind::Time,
        "q" => Kind::Quantity,
        "x" => Kind::IntOrString,
        _ => return 0,
    };
    graph.add(Node::typed(kind))
}
