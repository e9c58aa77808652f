//! Sequences and mappings, block and flow.

use super::{Composer, Dialect, after, failure, merge, plain_failure};
use crate::yaml::node::{Node, NodeValue, Tag};
use crate::yaml::scan::{Kind, Mark, Outcome};

impl Composer<'_> {
    pub(super) fn block_sequence(&mut self, start: Mark) -> Outcome<Node> {
        let context = self.scanner.next()?.start;
        let mut items = Vec::new();
        loop {
            let token = self.scanner.next()?;
            match token.kind {
                Kind::BlockEntry => {}
                Kind::BlockEnd => break,
                _ => {
                    return Err(failure(Some(context), token.start, "did not find expected '-' indicator"));
                }
            }
            let next = self.scanner.peek()?;
            let item = match next.kind {
                Kind::BlockEntry | Kind::BlockEnd => self.empty(after(token.start))?,
                _ => self.node(true, false)?,
            };
            items.push(item);
        }
        self.made(NodeValue::Sequence(items), Tag::Seq, false, start)
    }

    pub(super) fn indentless_sequence(&mut self, start: Mark) -> Outcome<Node> {
        let mut items = Vec::new();
        while matches!(self.scanner.peek()?.kind, Kind::BlockEntry) {
            let token = self.scanner.next()?;
            let item = match self.scanner.peek()?.kind {
                Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd => {
                    self.empty(after(token.start))?
                }
                _ => self.node(true, false)?,
            };
            items.push(item);
        }
        self.made(NodeValue::Sequence(items), Tag::Seq, false, start)
    }

    pub(super) fn block_mapping(&mut self, start: Mark) -> Outcome<Node> {
        let context = self.scanner.next()?.start;
        let mut pairs = Vec::new();
        loop {
            let token = self.scanner.peek()?;
            let mark = token.start;
            match token.kind {
                Kind::Key => {}
                Kind::BlockEnd => break,
                _ => return Err(failure(Some(context), mark, "did not find expected key")),
            }
            self.scanner.next()?;
            let key = self.part_of_pair(mark)?;
            let token = self.scanner.peek()?;
            let mark = token.start;
            let value = if matches!(token.kind, Kind::Value) {
                self.scanner.next()?;
                let is_alias = matches!(self.scanner.peek()?.kind, Kind::Alias(_));
                let value = self.part_of_pair(after(mark))?;
                self.check_merge(&key, &value, is_alias)?;
                value
            } else {
                self.empty(mark)?
            };
            pairs.push((key, value));
        }
        self.scanner.next()?;
        self.mapping(pairs, false, start)
    }

    /// A key or a value inside a block mapping, which may be missing.
    fn part_of_pair(&mut self, mark: Mark) -> Outcome<Node> {
        match self.scanner.peek()?.kind {
            Kind::Key | Kind::Value | Kind::BlockEnd => self.empty(mark),
            _ => self.node(true, true),
        }
    }

    pub(super) fn flow_sequence(&mut self, start: Mark) -> Outcome<Node> {
        let context = self.scanner.next()?.start;
        let mut items = Vec::new();
        loop {
            if matches!(self.scanner.peek()?.kind, Kind::FlowSequenceEnd) {
                break;
            }
            if !items.is_empty() {
                let token = self.scanner.peek()?;
                if !matches!(token.kind, Kind::FlowEntry) {
                    let at = token.start;
                    return Err(failure(Some(context), at, "did not find expected ',' or ']'"));
                }
                self.scanner.next()?;
            }
            let token = self.scanner.peek()?;
            match token.kind {
                Kind::Key => {
                    let at = token.start;
                    self.scanner.next()?;
                    self.enter()?;
                    let pair = self.single_pair(at)?;
                    self.depth -= 1;
                    items.push(pair);
                }
                Kind::FlowSequenceEnd => break,
                _ => items.push(self.node(false, false)?),
            }
        }
        self.scanner.next()?;
        self.made(NodeValue::Sequence(items), Tag::Seq, true, start)
    }

    /// `[a: b]`: a mapping of one pair inside a flow sequence.
    fn single_pair(&mut self, start: Mark) -> Outcome<Node> {
        let token = self.scanner.peek()?;
        let mark = token.start;
        let key = match token.kind {
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd => {
                // The Go parser steps over this token.
                let mark = self.scanner.next()?.start;
                self.empty(mark)?
            }
            _ => self.node(false, false)?,
        };
        let token = self.scanner.peek()?;
        let value = if matches!(token.kind, Kind::Value) {
            self.scanner.next()?;
            match self.scanner.peek()?.kind {
                Kind::FlowEntry | Kind::FlowSequenceEnd => self.empty(mark)?,
                _ => self.node(false, false)?,
            }
        } else {
            self.empty(mark)?
        };
        self.mapping(vec![(key, value)], true, start)
    }

    pub(super) fn flow_mapping(&mut self, start: Mark) -> Outcome<Node> {
        let context = self.scanner.next()?.start;
        let mut pairs = Vec::new();
        loop {
            if matches!(self.scanner.peek()?.kind, Kind::FlowMappingEnd) {
                break;
            }
            if !pairs.is_empty() {
                let token = self.scanner.peek()?;
                if !matches!(token.kind, Kind::FlowEntry) {
                    let at = token.start;
                    return Err(failure(Some(context), at, "did not find expected ',' or '}'"));
                }
                self.scanner.next()?;
            }
            let token = self.scanner.peek()?;
            let mark = token.start;
            let pair = match token.kind {
                Kind::FlowMappingEnd => break,
                Kind::Key => {
                    self.scanner.next()?;
                    let key = match self.scanner.peek()?.kind {
                        Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd => self.empty(mark)?,
                        _ => self.node(false, false)?,
                    };
                    let value = self.flow_value(&key, mark)?;
                    (key, value)
                }
                _ => {
                    let key = self.node(false, false)?;
                    (key, self.empty(mark)?)
                }
            };
            pairs.push(pair);
        }
        self.scanner.next()?;
        self.mapping(pairs, true, start)
    }

    fn flow_value(&mut self, key: &Node, mark: Mark) -> Outcome<Node> {
        if !matches!(self.scanner.peek()?.kind, Kind::Value) {
            return self.empty(mark);
        }
        self.scanner.next()?;
        match self.scanner.peek()?.kind {
            Kind::FlowEntry | Kind::FlowMappingEnd => self.empty(mark),
            Kind::Alias(_) => {
                let value = self.node(false, false)?;
                self.check_merge(key, &value, true)?;
                Ok(value)
            }
            _ => self.node(false, false),
        }
    }

    /// An alias may stand for a list of mappings to merge only if it stands in a list itself.
    fn check_merge(&self, key: &Node, value: &Node, is_alias: bool) -> Outcome<()> {
        let merges = self.dialect == Dialect::V3 && self.kept_anchors.is_none() && key.tag == Tag::Merge;
        if merges && is_alias && !value.is_mapping() {
            return Err(plain_failure(merge::BAD_ALIAS.to_owned()));
        }
        Ok(())
    }
}
