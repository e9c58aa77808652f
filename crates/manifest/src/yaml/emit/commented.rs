//! Writing comments where they were read.

use super::Emitter;
use crate::yaml::comments::{Around, Spot};
use crate::yaml::node::{Node, NodeValue, Style};

impl<'o> Emitter<'o> {
    pub(super) fn begin_commented(&mut self) {
        let Some(comments) = self.comments.filter(|comments| !comments.head.is_empty()) else { return };
        self.lines(&comments.head);
        self.put_break();
        self.put_break();
        self.whitespace = true;
    }

    pub(super) fn end_commented(&mut self) {
        self.foot_indent = None;
        let Some(comments) = self.comments.filter(|comments| !comments.foot.is_empty()) else { return };
        self.indent = 0;
        self.foot_indent = Some(0);
        self.lines(&comments.foot);
    }

    /// Writes what stands above an entry or element.
    pub(super) fn begin_entry(&mut self, node: &Node, is_element: bool) -> Option<&'o Around> {
        let around = self.comments?.around(Spot::of(node, is_element))?;
        self.lines(&around.head);
        Some(around)
    }

    pub(super) fn beside_dash(&mut self, around: Option<&'o Around>) {
        if let Some(text) = around.and_then(|around| around.dash.as_deref()) {
            self.beside(text);
        }
    }

    /// Writes a value, what stands beside it or its key, and what stands below.
    pub(super) fn entry_value(&mut self, value: &Node, in_mapping: bool, around: Option<&'o Around>) {
        let Some(around) = around else { return self.node(value, in_mapping) };
        let is_block = match &value.value {
            NodeValue::Scalar { .. } => false,
            NodeValue::Sequence(items) => !value.flow && !items.is_empty(),
            NodeValue::Mapping(pairs) => !value.flow && !pairs.is_empty(),
        };
        match &around.line {
            None => self.node(value, in_mapping),
            Some(text) if is_block => {
                self.beside(text);
                self.node(value, in_mapping);
            }
            Some(text) if matches!(value.style(), Some(Style::Literal | Style::Folded)) => {
                self.beside_header = Some(text.clone());
                self.node(value, in_mapping);
                if let Some(text) = self.beside_header.take() {
                    self.beside(&text);
                }
            }
            Some(text) => {
                self.node(value, in_mapping);
                self.beside(text);
            }
        }
        if !around.foot.is_empty() {
            self.lines(&around.foot);
            self.foot_indent = Some(self.indent);
        }
    }

    /// Writes the comma before an entry of a flow collection, unless one was written already, and what stands above.
    pub(super) fn begin_flow_entry(
        &mut self,
        node: &Node,
        is_element: bool,
        trail: bool,
    ) -> Option<&'o Around> {
        if !trail {
            self.indicator(",", false, false, false);
        }
        let around = self.comments.and_then(|comments| comments.around(Spot::of(node, is_element)));
        if let Some(around) = around.filter(|around| !around.head.is_empty()) {
            self.lines(&around.head);
            self.put_break();
            self.whitespace = true;
        }
        self.begin_flow_end();
        around
    }

    /// Starts a line behind a comment.
    pub(super) fn begin_flow_end(&mut self) {
        if self.column == 0 && self.comments.is_some() {
            self.write_indent();
        }
    }

    /// Writes what stands beside and below an entry, after its comma; returns whether there is anything.
    pub(super) fn end_flow_entry(&mut self, around: Option<&'o Around>) -> bool {
        let Some(around) = around.filter(|around| around.line.is_some() || !around.foot.is_empty()) else {
            return false;
        };
        self.indicator(",", false, false, false);
        if let Some(text) = &around.line {
            self.beside(text);
        }
        self.lines(&around.foot);
        self.put_break();
        self.whitespace = true;
        true
    }

    pub(super) fn finish_header(&mut self) {
        if let Some(text) = self.beside_header.take() {
            self.beside(&text);
        }
    }

    fn beside(&mut self, text: &str) {
        self.indicator(text, true, false, false);
    }

    fn lines(&mut self, lines: &[String]) {
        for line in lines.iter().filter(|line| !line.is_empty()) {
            self.write_indent();
            self.indicator(line, false, false, false);
        }
    }
}
