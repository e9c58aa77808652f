//! The writers. Both follow libyaml's emitter, which go-yaml is a port of: what a scalar may be
//! written as, where lines fold, how far things are indented.

mod analysis;
mod commented;
mod scalars;

use serde_json::Value;

use super::comments::Comments;
use super::float::json_number;
use super::key_order::{natural_order, natural_order_v3, sort_by};
use super::node::{Node, NodeValue, Style, Tag};
use super::resolve::{is_base60, old_bool, resolve_v2, resolve_v3};
use analysis::Analysis;

/// Longest key that is written without `?`.
const SIMPLE_KEY_LENGTH: usize = 128;

/// Writes a JSON value as `sigs.k8s.io/yaml` does: keys in natural order, lines folded at 80
/// columns, sequences not indented. Ends with a line break.
pub fn emit_v2(value: &Value) -> String {
    let mut out = String::with_capacity(1024);
    emit_v2_into(value, &mut out);
    out
}

/// As `emit_v2`, appending to `out`.
pub fn emit_v2_into(value: &Value, out: &mut String) {
    let mut emitter = Emitter::new(out, Some(80));
    emitter.value(value, false);
    emitter.end();
}

/// Writes a JSON value as kyaml does: by go-yaml v3, with its order of keys, its quotes and floating point
/// numbers. Ends with a line break.
pub fn emit_v3(value: &Value) -> String {
    emit_node(&quoted_v3(value))
}

fn quoted_v3(value: &Value) -> Node {
    let text = |text: &str| {
        let mut node = Node::string(text);
        if !text.contains('\n')
            && (resolve_v3(text) != Tag::Str || is_base60(text) || old_bool(text).is_some())
            && let NodeValue::Scalar { style, .. } = &mut node.value
        {
            *style = Style::Double;
        }
        node
    };
    match value {
        Value::String(value) => text(value),
        Value::Array(items) => Node::sequence(items.iter().map(quoted_v3).collect()),
        Value::Object(map) => {
            let entries = sort_by(natural_order_v3, map.iter().map(|(k, v)| (k.as_str(), v)).collect());
            Node::mapping(entries.into_iter().map(|(key, value)| (text(key), quoted_v3(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Node::from(value),
    }
}

/// Writes documents with `---` lines between them.
pub fn emit_stream<'a>(documents: impl IntoIterator<Item = &'a Value>) -> String {
    let mut out = String::new();
    for (at, value) in documents.into_iter().enumerate() {
        if at > 0 {
            out.push_str("---\n");
        }
        emit_v2_into(value, &mut out);
    }
    out
}

/// Writes a node as kyaml does (go-yaml v3, indentation 2, sequences not indented): order and
/// style are kept, lines do not fold. Ends with a line break.
pub fn emit_node(node: &Node) -> String {
    let mut out = String::with_capacity(256);
    let mut emitter = Emitter::new(&mut out, None);
    emitter.node(node, false);
    emitter.end();
    out
}

/// As `emit_node`, with the comments the document was read with.
pub fn emit_commented(node: &Node, comments: &Comments) -> String {
    let mut out = String::with_capacity(256);
    let mut emitter = Emitter::new(&mut out, None);
    emitter.comments = Some(comments);
    emitter.begin_commented();
    emitter.node(node, false);
    emitter.end_commented();
    emitter.end();
    out
}

struct Emitter<'o> {
    out: &'o mut String,
    /// Where lines fold; `None` also selects the v3 rules.
    width: Option<usize>,
    indent: i32,
    column: usize,
    whitespace: bool,
    indention: bool,
    flow_level: usize,
    simple_key: bool,
    comments: Option<&'o Comments>,
    /// The indentation of the last comment below something, which nothing may stand right under.
    foot_indent: Option<i32>,
    /// A comment for the line a block scalar begins on.
    beside_header: Option<String>,
}

impl<'o> Emitter<'o> {
    fn new(out: &'o mut String, width: Option<usize>) -> Self {
        Self {
            out,
            width,
            indent: -1,
            column: 0,
            whitespace: true,
            indention: true,
            flow_level: 0,
            simple_key: false,
            comments: None,
            foot_indent: None,
            beside_header: None,
        }
    }

    fn end(&mut self) {
        self.indent = 0;
        self.write_indent();
    }

    fn too_wide(&self) -> bool {
        self.width.is_some_and(|width| self.column > width)
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
        self.indention = true;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.max(0) as usize;
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        if self.foot_indent.take().is_some_and(|foot| foot.max(0) as usize == indent) {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, need_whitespace: bool, is_whitespace: bool, is_indention: bool) {
        if need_whitespace && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = is_whitespace;
        self.indention = self.indention && is_indention;
    }

    /// Steps in; returns what to restore.
    fn increase_indent(&mut self, flow: bool, indentless: bool) -> i32 {
        let before = self.indent;
        if before < 0 {
            self.indent = if flow { 2 } else { 0 };
        } else if !indentless {
            self.indent += 2;
        }
        before
    }

    fn value(&mut self, value: &Value, in_mapping: bool) {
        match value {
            Value::Null => self.plain("null"),
            Value::Bool(true) => self.plain("true"),
            Value::Bool(false) => self.plain("false"),
            Value::Number(number) => self.plain(&json_number(number)),
            Value::String(text) => self.text_v2(text),
            Value::Array(items) if items.is_empty() => self.indicator("[]", true, false, false),
            Value::Array(items) => {
                let before = self.increase_indent(false, in_mapping && !self.indention);
                for item in items {
                    self.write_indent();
                    self.indicator("-", true, false, true);
                    self.value(item, false);
                }
                self.indent = before;
            }
            Value::Object(map) if map.is_empty() => self.indicator("{}", true, false, false),
            Value::Object(map) => {
                let before = self.increase_indent(false, false);
                let entries = sort_by(natural_order, map.iter().map(|(k, v)| (k.as_str(), v)).collect());
                for (key, value) in entries {
                    self.write_indent();
                    let analysis = Analysis::of(key, true);
                    if key.len() <= SIMPLE_KEY_LENGTH && !analysis.multiline {
                        self.simple_key = true;
                        self.text_v2(key);
                        self.simple_key = false;
                        self.indicator(":", false, false, false);
                    } else {
                        self.indicator("?", true, false, true);
                        self.text_v2(key);
                        self.write_indent();
                        self.indicator(":", true, false, true);
                    }
                    self.value(value, true);
                }
                self.indent = before;
            }
        }
    }

    /// A number or a word that is never quoted.
    fn plain(&mut self, text: &str) {
        self.indicator(text, true, false, false);
    }

    /// Text as go-yaml v2 encodes a string.
    fn text_v2(&mut self, text: &str) {
        let style = if text.contains('\n') {
            Style::Literal
        } else if resolve_v2(text) == Tag::Str && !is_base60(text) || text == "<<" {
            Style::Plain
        } else {
            Style::Double
        };
        self.scalar(text, style);
    }

    fn node(&mut self, node: &Node, in_mapping: bool) {
        if let Some(anchor) = self.comments.and_then(|comments| comments.anchors.get(&node.spot())) {
            self.indicator(&format!("&{anchor}"), true, false, false);
        }
        match &node.value {
            NodeValue::Scalar { text, .. } if node.tag == Tag::Alias => {
                self.indicator(&format!("*{text}"), true, false, false);
            }
            NodeValue::Scalar { text, style } => self.scalar_node(node, text, *style),
            NodeValue::Sequence(items) if self.flow_level > 0 || node.flow || items.is_empty() => {
                self.flow_sequence(items);
            }
            NodeValue::Mapping(pairs) if self.flow_level > 0 || node.flow || pairs.is_empty() => {
                self.flow_mapping(pairs);
            }
            NodeValue::Sequence(items) => {
                let before = self.increase_indent(false, in_mapping && (self.column == 0 || !self.indention));
                for item in items {
                    let around = self.begin_entry(item, true);
                    self.write_indent();
                    self.indicator("-", true, false, true);
                    self.beside_dash(around);
                    self.entry_value(item, false, around);
                }
                self.indent = before;
            }
            NodeValue::Mapping(pairs) => {
                let before = self.increase_indent(false, false);
                for (key, value) in pairs {
                    let around = self.begin_entry(key, false);
                    self.write_indent();
                    if is_simple(key) {
                        self.simple_key = true;
                        self.node(key, true);
                        self.simple_key = false;
                        self.indicator(":", false, false, false);
                    } else {
                        self.indicator("?", true, false, true);
                        self.node(key, true);
                        self.write_indent();
                        self.indicator(":", true, false, true);
                    }
                    self.entry_value(value, true, around);
                }
                self.indent = before;
            }
        }
    }

    fn flow_sequence(&mut self, items: &[Node]) {
        self.indicator("[", true, true, false);
        let before = self.increase_indent(true, false);
        self.flow_level += 1;
        let mut trail = true;
        for item in items {
            let around = self.begin_flow_entry(item, true, trail);
            self.node(item, false);
            trail = self.end_flow_entry(around);
        }
        self.flow_level -= 1;
        self.indent = before;
        self.begin_flow_end();
        self.indicator("]", false, false, false);
    }

    fn flow_mapping(&mut self, pairs: &[(Node, Node)]) {
        self.indicator("{", true, true, false);
        let before = self.increase_indent(true, false);
        self.flow_level += 1;
        let mut trail = true;
        for (key, value) in pairs {
            let around = self.begin_flow_entry(key, false, trail);
            if is_simple(key) {
                self.simple_key = true;
                self.node(key, true);
                self.simple_key = false;
                self.indicator(":", false, false, false);
            } else {
                self.indicator("?", true, false, false);
                self.node(key, true);
                self.indicator(":", true, false, false);
            }
            self.node(value, true);
            trail = self.end_flow_entry(around);
        }
        self.flow_level -= 1;
        self.indent = before;
        self.begin_flow_end();
        self.indicator("}", false, false, false);
    }

    fn scalar_node(&mut self, node: &Node, text: &str, style: Style) {
        let mut style = style;
        if style == Style::Plain {
            if text.contains('\n') {
                style = Style::Literal;
            } else if node.tag == Tag::Str && !node.tagged && (resolve_v3(text) != Tag::Str || text == "<<") {
                style = Style::Double;
            }
        }
        if let Some(tag) = shown_tag(node, text) {
            self.indicator(tag, true, false, false);
        }
        self.scalar(text, style);
    }

    /// Writes a scalar in `style`, or in the nearest style that can hold it.
    fn scalar(&mut self, text: &str, style: Style) {
        let analysis = Analysis::of(text, self.width.is_some());
        let mut style = style;
        if self.simple_key && analysis.multiline {
            style = Style::Double;
        }
        if style == Style::Plain {
            let allowed =
                if self.flow_level > 0 { analysis.flow_plain_allowed } else { analysis.block_plain_allowed };
            let nothing = text.is_empty() && (self.flow_level > 0 || self.simple_key);
            if !allowed || nothing {
                style = Style::Single;
            }
        }
        if style == Style::Single && !analysis.single_quoted_allowed {
            style = Style::Double;
        }
        let block = matches!(style, Style::Literal | Style::Folded);
        if block && (!analysis.block_allowed || self.flow_level > 0 || self.simple_key) {
            style = Style::Double;
        }
        let before = self.increase_indent(true, false);
        match style {
            Style::Plain => self.write_plain(text, analysis.simple),
            Style::Single => self.write_single_quoted(text),
            Style::Double => self.write_double_quoted(text),
            Style::Literal => self.write_literal(text),
            Style::Folded => self.write_folded(text),
        }
        self.indent = before;
    }
}

/// The tag that has to stand before a scalar for it to be read back as what it is.
fn shown_tag<'n>(node: &'n Node, text: &str) -> Option<&'n str> {
    let wanted = match &node.tag {
        Tag::Custom(tag) => return Some(&**tag).filter(|tag| !tag.is_empty()),
        Tag::Str if node.tagged => "!!str",
        Tag::Str | Tag::Map | Tag::Seq | Tag::Alias => return None,
        Tag::Null => "!!null",
        Tag::Bool => "!!bool",
        Tag::Int => "!!int",
        Tag::Float => "!!float",
        Tag::Timestamp => "!!timestamp",
        Tag::Binary => "!!binary",
        Tag::Merge => "!!merge",
    };
    (node.tagged || resolve_v3(text) != node.tag).then_some(wanted)
}

/// Whether a key fits before `:` on one line.
fn is_simple(key: &Node) -> bool {
    match &key.value {
        NodeValue::Scalar { text, .. } => {
            text.len() <= SIMPLE_KEY_LENGTH && !Analysis::of(text, false).multiline
        }
        NodeValue::Sequence(items) => items.is_empty(),
        NodeValue::Mapping(pairs) => pairs.is_empty(),
    }
}
