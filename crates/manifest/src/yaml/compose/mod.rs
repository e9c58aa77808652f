//! The parser: tokens to node trees. Aliases and (for v3) merge keys are expanded here, counted
//! against the bound on nodes.

mod collections;
mod merge;

use std::collections::HashMap;

use super::comments::Found;
use super::limits::{Error, Limits};
use super::node::{Node, NodeValue, Style, Tag, Text};
use super::resolve;
use super::scan::{Kind, Mark, Outcome, Problem, Scanner};

/// Whose reader is played.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// go-yaml v2, through `sigs.k8s.io/yaml`.
    V2,
    /// go-yaml v3, through kyaml.
    V3,
}

const MAX_TAG_DIRECTIVES: usize = 64;
const EXCESSIVE: &str = "document contains excessive aliasing";
const UNCLOSED: [&str; 3] =
    ["could not find expected ':'", "found unexpected end of stream", "found unexpected document indicator"];
const CORE: &str = "tag:yaml.org,2002:";

pub(super) struct Composer<'a> {
    scanner: Scanner<'a>,
    dialect: Dialect,
    limits: Limits,
    line_offset: u32,
    begun: bool,
    ended: bool,
    tag_directives: Vec<(&'a str, String)>,
    anchors: HashMap<&'a str, (Node, Size)>,
    open_anchors: Vec<&'a str>,
    /// What was made so far.
    made: Size,
    /// What anchors made copies of.
    held: Size,
    /// How many of the nodes came from aliases.
    aliased: usize,
    depth: usize,
    /// Anchors by the nodes that bear them, where aliases are to stay aliases.
    kept_anchors: Option<HashMap<(u32, u32, u8), String>>,
}

/// How much there is of something.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    /// Of texts and tags.
    bytes: usize,
}

impl Size {
    fn add(&mut self, more: Size, limits: Limits) -> Outcome<()> {
        self.nodes = self.nodes.saturating_add(more.nodes);
        self.bytes = self.bytes.saturating_add(more.bytes);
        if self.nodes > limits.nodes || self.bytes > limits.bytes.saturating_mul(2) {
            return Err(plain_failure(EXCESSIVE.to_owned()));
        }
        Ok(())
    }
}

#[derive(Default)]
struct Properties<'a> {
    anchor: Option<&'a str>,
    tag: Option<String>,
}

impl<'a> Composer<'a> {
    pub(super) fn new(text: &'a str, dialect: Dialect, limits: Limits, line_offset: u32) -> Self {
        Self {
            scanner: Scanner::new(text, limits.depth, if dialect == Dialect::V3 { 2 } else { 0 }),
            dialect,
            limits,
            line_offset,
            begun: false,
            ended: false,
            tag_directives: Vec::new(),
            anchors: HashMap::new(),
            open_anchors: Vec::new(),
            made: Size::default(),
            held: Size::default(),
            aliased: 0,
            depth: 0,
            kept_anchors: None,
        }
    }

    /// Keeps what is lost otherwise: comments and, unless aliases are to be expanded, anchors.
    pub(super) fn keep_layout(&mut self, expand: bool) {
        self.scanner.comments = Some(Vec::new());
        self.kept_anchors = (!expand).then(HashMap::new);
    }

    /// The anchors that were kept.
    pub(super) fn take_anchors(&mut self) -> HashMap<(u32, u32, u8), String> {
        self.kept_anchors.take().unwrap_or_default()
    }

    /// How many nodes were made so far.
    pub(super) fn nodes(&self) -> usize {
        self.made.nodes
    }

    /// The comments up to the end of the document that was read last.
    pub(super) fn comments(&mut self, text: &'a str) -> Vec<Found<'a>> {
        let end = match self.scanner.peek() {
            Ok(token) if !matches!(token.kind, Kind::StreamEnd) => token.start.index,
            _ => usize::MAX,
        };
        let found = self.scanner.comments.take().unwrap_or_default();
        let own = found.into_iter().filter(|(mark, _)| mark.index < end);
        own.map(|(mark, range)| Found {
            line: mark.line + 1,
            column: mark.column + 1,
            text: text.get(range).unwrap_or_default(),
        })
        .collect()
    }

    /// The next document's node, or `None` at the end of the stream.
    pub(super) fn next_document(&mut self) -> Result<Option<Node>, Error> {
        self.document().map_err(|problem| self.explain(&problem))
    }

    fn explain(&self, problem: &Problem) -> Error {
        let (first, second) = match self.dialect {
            Dialect::V3 => (problem.context_line, problem.problem_line),
            Dialect::V2 => (problem.problem_line, problem.context_line),
        };
        if let Some(fault) = merge::FAULTS.iter().find(|fault| problem.text == **fault) {
            return Error::Merge(fault);
        }
        let line = if first != 0 { first } else { second };
        // The Go readers count a parser's line from 0 and a scanner's from 1.
        let line = if line != 0 && problem.from_scanner { line + 1 } else { line };
        // What is never closed is told where it begins, everything else where reading stopped.
        let unclosed = UNCLOSED.iter().any(|fault| problem.text.starts_with(fault));
        let line_before = match (unclosed, problem.problem_line) {
            (true, _) | (false, 0) => problem.context_line,
            (false, line) => line,
        };
        let known = problem.from_scanner || line_before > 0;
        let place = if known { line_before + 1 } else { 0 };
        Error::Syntax { line, place, message: problem.text.clone().into_owned() }.below(self.line_offset)
    }

    fn document(&mut self) -> Outcome<Option<Node>> {
        if self.ended {
            return Ok(None);
        }
        let first = !self.begun;
        if first {
            self.scanner.next()?;
            self.begun = true;
        } else {
            while matches!(self.scanner.peek()?.kind, Kind::DocumentEnd) {
                self.scanner.next()?;
            }
        }
        self.anchors.clear();
        self.held = Size::default();
        self.tag_directives.clear();
        let node = match self.scanner.peek()?.kind {
            Kind::StreamEnd => {
                self.ended = true;
                return Ok(None);
            }
            Kind::Version(..) | Kind::TagDirective { .. } | Kind::DocumentStart => {
                self.explicit_document()?
            }
            _ if first => self.node(true, false)?,
            _ => self.explicit_document()?,
        };
        if matches!(self.scanner.peek()?.kind, Kind::DocumentEnd) {
            self.scanner.next()?;
        }
        Ok(Some(node))
    }

    fn explicit_document(&mut self) -> Outcome<Node> {
        let mut version_seen = false;
        loop {
            let start = self.scanner.peek()?.start;
            match self.scanner.peek()?.kind {
                Kind::Version(major, minor) => {
                    if version_seen {
                        return Err(failure(None, start, "found duplicate %YAML directive"));
                    }
                    if (major, minor) != (1, 1) {
                        return Err(failure(None, start, "found incompatible YAML document"));
                    }
                    version_seen = true;
                    self.scanner.next()?;
                }
                Kind::TagDirective { .. } => {
                    if let Kind::TagDirective { handle, prefix } = self.scanner.next()?.kind {
                        if self.tag_directives.iter().any(|(h, _)| *h == handle) {
                            return Err(failure(None, start, "found duplicate %TAG directive"));
                        }
                        if self.tag_directives.len() >= MAX_TAG_DIRECTIVES {
                            return Err(failure(None, start, "found too many %TAG directives"));
                        }
                        self.tag_directives.push((handle, prefix));
                    }
                }
                Kind::DocumentStart => {
                    self.scanner.next()?;
                    break;
                }
                _ => return Err(failure(None, start, "did not find expected <document start>")),
            }
        }
        let token = self.scanner.peek()?;
        match token.kind {
            Kind::Version(..)
            | Kind::TagDirective { .. }
            | Kind::DocumentStart
            | Kind::DocumentEnd
            | Kind::StreamEnd => {
                let mark = token.start;
                self.empty(mark)
            }
            _ => self.node(true, false),
        }
    }

    fn made(&mut self, value: NodeValue, tag: Tag, flow: bool, start: Mark) -> Outcome<Node> {
        let text = if let NodeValue::Scalar { text, .. } = &value { text.len() } else { 0 };
        let name = if let Tag::Custom(name) = &tag { name.len() } else { 0 };
        if self.made.nodes >= self.limits.nodes {
            return Err(plain_failure(format!("number of nodes exceeds the limit of {}", self.limits.nodes)));
        }
        self.made.add(Size { nodes: 1, bytes: text + name }, self.limits)?;
        let line = self.line_offset.saturating_add(start.line).saturating_add(1);
        Ok(Node {
            value,
            tag,
            flow,
            tagged: false,
            emptied: false,
            remarks: None,
            line,
            column: start.column + 1,
        })
    }

    /// What stands where nothing is written.
    fn empty(&mut self, mark: Mark) -> Outcome<Node> {
        self.made(NodeValue::Scalar { text: Text::default(), style: Style::Plain }, Tag::Null, false, mark)
    }

    fn node(&mut self, block: bool, indentless: bool) -> Outcome<Node> {
        let start = self.scanner.peek()?.start;
        if let Kind::Alias(name) = self.scanner.peek()?.kind {
            self.scanner.next()?;
            return self.alias(name, start);
        }
        let properties = self.properties(start)?;
        let before = self.made;
        if let Some(anchor) = properties.anchor {
            self.open_anchors.push(anchor);
        }
        let anchor = properties.anchor;
        let tagged = properties.tag.as_deref().is_some_and(|tag| tag != "!");
        let mut node = self.content(properties, start, block, indentless)?;
        node.tagged = tagged;
        if let Some(anchor) = anchor {
            self.open_anchors.pop();
            let size = Size {
                nodes: self.made.nodes.saturating_sub(before.nodes),
                bytes: self.made.bytes.saturating_sub(before.bytes),
            };
            if let Some(kept) = &mut self.kept_anchors {
                kept.insert(node.spot(), anchor.to_owned());
            }
            // Anchors inside of each other hold the same nodes again and again.
            self.held.add(size, self.limits)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn alias(&mut self, name: &'a str, start: Mark) -> Outcome<Node> {
        if self.open_anchors.contains(&name) {
            return Err(plain_failure(format!("anchor '{name}' value contains itself")));
        }
        let Some((node, size)) = self.anchors.get(name) else {
            return Err(plain_failure(format!("unknown anchor '{name}' referenced")));
        };
        if self.kept_anchors.is_some() {
            let value = NodeValue::Scalar { text: name.into(), style: Style::Plain };
            return self.made(value, Tag::Alias, false, start);
        }
        self.made.add(*size, self.limits)?;
        self.aliased = self.aliased.saturating_add(size.nodes);
        if excessive(self.aliased, self.made.nodes) {
            return Err(plain_failure(EXCESSIVE.to_owned()));
        }
        Ok(node.clone())
    }

    fn properties(&mut self, start: Mark) -> Outcome<Properties<'a>> {
        let mut found = Properties::default();
        for _ in 0..2 {
            let token = self.scanner.peek()?;
            match &token.kind {
                Kind::Anchor(name) if found.anchor.is_none() => {
                    found.anchor = Some(name);
                    self.scanner.next()?;
                }
                Kind::Tag { .. } if found.tag.is_none() => {
                    let token = self.scanner.next()?;
                    if let Kind::Tag { handle, suffix } = token.kind {
                        found.tag = Some(self.full_tag(handle, suffix, start, token.start)?);
                    }
                }
                _ => break,
            }
        }
        Ok(found)
    }

    fn full_tag(&self, handle: String, suffix: String, start: Mark, at: Mark) -> Outcome<String> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let declared = self.tag_directives.iter().find(|(h, _)| *h == handle).map(|(_, p)| p.as_str());
        let prefix = match (declared, handle.as_str()) {
            (Some(prefix), _) => prefix,
            (None, "!") => "!",
            (None, "!!") => CORE,
            _ => return Err(failure(Some(start), at, "found undefined tag handle")),
        };
        Ok(format!("{prefix}{suffix}"))
    }

    fn content(
        &mut self,
        properties: Properties<'a>,
        start: Mark,
        block: bool,
        indentless: bool,
    ) -> Outcome<Node> {
        let token = self.scanner.peek()?;
        let token_start = token.start;
        match token.kind {
            Kind::Scalar { .. } => {
                let token = self.scanner.next()?;
                let Kind::Scalar { text, style } = token.kind else {
                    return Err(failure(Some(start), token_start, "did not find expected node content"));
                };
                let tag = self.scalar_tag(&text, style, properties.tag.as_deref());
                self.made(NodeValue::Scalar { text: text.into(), style }, tag, false, start)
            }
            Kind::BlockEntry if indentless => {
                self.enter()?;
                let node = self.indentless_sequence(start);
                self.depth -= 1;
                node
            }
            Kind::FlowSequenceStart => {
                self.enter()?;
                let node = self.flow_sequence(start);
                self.depth -= 1;
                node
            }
            Kind::FlowMappingStart => {
                self.enter()?;
                let node = self.flow_mapping(start);
                self.depth -= 1;
                node
            }
            Kind::BlockSequenceStart if block => {
                self.enter()?;
                let node = self.block_sequence(start);
                self.depth -= 1;
                node
            }
            Kind::BlockMappingStart if block => {
                self.enter()?;
                let node = self.block_mapping(start);
                self.depth -= 1;
                node
            }
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                let tag = self.scalar_tag("", Style::Plain, properties.tag.as_deref());
                let value = NodeValue::Scalar { text: Text::default(), style: Style::Plain };
                self.made(value, tag, false, start)
            }
            _ => Err(failure(Some(start), token_start, "did not find expected node content")),
        }
    }

    fn enter(&mut self) -> Outcome<()> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(plain_failure(format!("exceeded max depth of {}", self.limits.depth)));
        }
        Ok(())
    }

    fn scalar_tag(&self, text: &str, style: Style, explicit: Option<&str>) -> Tag {
        match explicit {
            None | Some("!") if style != Style::Plain => Tag::Str,
            Some("!") if self.dialect == Dialect::V2 => Tag::Str,
            None | Some("!") => match self.dialect {
                Dialect::V3 if text == "<<" => Tag::Merge,
                Dialect::V3 => resolve::resolve_v3(text),
                Dialect::V2 => resolve::resolve_v2(text),
            },
            Some(tag) => match tag.strip_prefix(CORE).or_else(|| tag.strip_prefix("!!")) {
                Some("null") => Tag::Null,
                Some("bool") => Tag::Bool,
                Some("int") => Tag::Int,
                Some("float") => Tag::Float,
                Some("str") => Tag::Str,
                Some("timestamp") => Tag::Timestamp,
                Some("binary") => Tag::Binary,
                Some("merge") => Tag::Merge,
                _ => Tag::Custom(tag.into()),
            },
        }
    }

    fn mapping(&mut self, pairs: Vec<(Node, Node)>, flow: bool, start: Mark) -> Outcome<Node> {
        let expanded = self.dialect == Dialect::V3 && self.kept_anchors.is_none();
        let is_merge = |key: &Node| key.tag == Tag::Merge || key.text() == Some(merge::KEY);
        let merges = expanded && pairs.iter().any(|(key, _)| is_merge(key));
        let pairs = if merges { merge::expand(pairs)? } else { pairs };
        self.made(NodeValue::Mapping(pairs), Tag::Map, flow, start)
    }
}

/// go-yaml's bound: of a small document nearly everything may come from aliases, of a large one a
/// tenth.
fn excessive(aliased: usize, all: usize) -> bool {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    if aliased <= 100 || all <= 1000 {
        return false;
    }
    let share = ((all as f64 - LOW) / (HIGH - LOW)).clamp(0.0, 1.0);
    aliased as f64 / all as f64 > 0.99 - 0.89 * share
}

/// The place after a one-character indicator.
fn after(mark: Mark) -> Mark {
    Mark { index: mark.index + 1, column: mark.column + 1, ..mark }
}

fn failure(context: Option<Mark>, at: Mark, text: &'static str) -> Box<Problem> {
    Box::new(Problem {
        context_line: context.map_or(0, |mark| mark.line),
        problem_line: at.line,
        from_scanner: false,
        text: text.into(),
    })
}

fn plain_failure(text: String) -> Box<Problem> {
    Box::new(Problem { context_line: 0, problem_line: 0, from_scanner: false, text: text.into() })
}
