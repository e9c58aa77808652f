//! Comments of a document that is written back: what they belong to, by go-yaml's rules for usual layouts.

use std::collections::HashMap;

use super::node::{Node, NodeValue};

/// A comment as the scanner found it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// From 1.
    pub(super) line: u32,
    /// From 1.
    pub(super) column: u32,
    /// With its `#`.
    pub(super) text: &'a str,
}

/// The comments of one mapping entry or list element.
#[derive(Clone, Debug, Default)]
pub(super) struct Around {
    /// With an empty text for every gap behind a group.
    pub(super) head: Vec<String>,
    pub(super) line: Option<String>,
    /// After the dash of an element that starts on another line.
    pub(super) dash: Option<String>,
    pub(super) foot: Vec<String>,
}

/// An element of a block list, or an entry of a block mapping, by where it or its key starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    line: u32,
    column: u32,
    is_element: bool,
}

impl Spot {
    pub(super) fn of(node: &Node, is_element: bool) -> Self {
        Self { line: node.line, column: node.column, is_element }
    }
}

/// All comments of a document.
#[derive(Clone, Debug, Default)]
pub struct Comments {
    pub(super) head: Vec<String>,
    pub(super) foot: Vec<String>,
    around: HashMap<Spot, Around>,
    /// Names of anchors, by [`Node::spot`].
    pub(super) anchors: HashMap<(u32, u32, u8), String>,
}

/// What stands around comments that have lines of their own.
struct Gaps {
    /// Whether an empty line is above.
    before: bool,
    /// Whether an empty line is below.
    after: bool,
    /// Whether the document was begun with `---` above.
    explicit: bool,
    /// Whether other comments stand between these and the entry before.
    follows: bool,
    /// Whether a bracket that closes something is next below.
    closes: bool,
    /// Where the next comments start, if they come before the next entry.
    next_comment: Option<u32>,
}

struct Entry {
    spot: Spot,
    /// Where the dash or the key stands.
    column: u32,
    parent: Option<usize>,
    /// Whether it stands between brackets.
    flow: bool,
}

fn collect(node: &Node, lines: &[&str], parent: Option<usize>, entries: &mut Vec<Entry>) {
    // What an alias stands for was met at its anchor.
    let is_copy = |node: &Node, entries: &[Entry]| {
        entries.last().is_some_and(|last| (node.line, node.column) < (last.spot.line, last.spot.column))
    };
    match &node.value {
        NodeValue::Sequence(items) if !node.flow => {
            for item in items {
                if is_copy(item, entries) {
                    continue;
                }
                let before = lines.get(item.line.saturating_sub(1) as usize).copied().unwrap_or_default();
                let before: String = before.chars().take(item.column.saturating_sub(1) as usize).collect();
                let dash = before.rfind('-').map_or(item.column.saturating_sub(2), |at| at as u32 + 1);
                entries.push(Entry { spot: Spot::of(item, true), column: dash, parent, flow: false });
                collect(item, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Mapping(pairs) if !node.flow => {
            for (key, value) in pairs {
                if is_copy(key, entries) {
                    continue;
                }
                entries.push(Entry { spot: Spot::of(key, false), column: key.column, parent, flow: false });
                collect(value, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Sequence(items) => {
            for item in items {
                if is_copy(item, entries) {
                    continue;
                }
                entries.push(Entry { spot: Spot::of(item, true), column: item.column, parent, flow: true });
                collect(item, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Mapping(pairs) => {
            for (key, value) in pairs {
                if is_copy(key, entries) {
                    continue;
                }
                entries.push(Entry { spot: Spot::of(key, false), column: key.column, parent, flow: true });
                collect(value, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Scalar { .. } => {}
    }
}

/// The entries of a document, in the order of their lines.
struct Entries(Vec<Entry>);

impl Entries {
    /// The first one below a line.
    fn after(&self, line: u32) -> Option<usize> {
        let at = self.0.partition_point(|entry| entry.spot.line <= line);
        (at < self.0.len()).then_some(at)
    }

    /// The last one above a line, or what it stands in if that is between brackets and not wanted.
    fn before(&self, line: u32, flow: bool) -> Option<usize> {
        let mut at = self.0.partition_point(|entry| entry.spot.line < line).checked_sub(1);
        while let Some(inner) = at.filter(|at| self.0[*at].flow && !flow) {
            at = self.0[inner].parent;
        }
        at
    }
}

/// What a comment belongs to that is set back and stands apart from what follows: the entry before that one, in
/// the same mapping. It is lost before an element between brackets.
fn beyond(next: usize, entries: &[Entry]) -> Option<usize> {
    let inner = entries.get(next + 1).filter(|inner| inner.parent == Some(next));
    let next = match inner {
        Some(inner) if entries[next].spot.is_element && inner.flow => return None,
        Some(_) if entries[next].spot.is_element => next + 1,
        _ => next,
    };
    if entries[next].spot.is_element {
        return Some(next);
    }
    let parent = entries[next].parent;
    let first = parent.map_or(0, |parent| parent + 1);
    let is_sibling = |entry: &Entry| entry.parent == parent && !entry.spot.is_element;
    Some(entries[first..next].iter().rposition(is_sibling).map_or(next, |at| first + at))
}

/// What a comment at the end of a document belongs to: the entry around the last one that starts in its column.
fn around_end(last: usize, column: u32, entries: &[Entry]) -> usize {
    let mut above = Some(last);
    while let Some(at) = above.filter(|at| entries[*at].column != column) {
        above = entries[at].parent;
    }
    above.unwrap_or(last)
}

/// Adds comments to a node.
fn note(node: &mut Node, head: &[String], line: Option<&String>, foot: &[String]) {
    if head.is_empty() && line.is_none() && foot.is_empty() {
        return;
    }
    let remarks = node.remarks.get_or_insert_default();
    if !head.is_empty() {
        remarks.head = head.join("\n");
    }
    if let Some(line) = line {
        remarks.line.clone_from(line);
    }
    if !foot.is_empty() {
        remarks.foot = foot.join("\n");
    }
}

impl Comments {
    /// Finds out what the comments of a document belong to.
    pub(super) fn attach(document: &Node, text: &str, found: &[Found<'_>]) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut entries = Vec::new();
        collect(document, &lines, None, &mut entries);
        let entries = Entries(entries);
        let begins = lines.iter().position(|line| line.starts_with("---"));
        // For each line whether what comes next, from there on, is a bracket that closes something.
        let mut closing = vec![false; lines.len() + 1];
        for (at, line) in lines.iter().enumerate().rev() {
            let line = line.trim_start();
            closing[at] = match line.starts_with('#') || line.is_empty() {
                true => closing[at + 1],
                false => line.starts_with([']', '}']),
            };
        }
        let mut comments = Self::default();
        let is_blank = |line: u32| {
            let at = (line as usize).checked_sub(1);
            at.and_then(|at| lines.get(at)).is_none_or(|line| line.trim().is_empty())
        };
        let stands_alone = |comment: &Found<'_>| {
            let line = lines.get(comment.line.saturating_sub(1) as usize).copied().unwrap_or_default();
            line.trim_start().starts_with('#')
        };
        let mut rest = found;
        let mut group_end = None;
        while let Some((first, others)) = rest.split_first() {
            if !stands_alone(first) {
                comments.beside(first, &lines, &entries);
                rest = others;
                continue;
            }
            let together = |(at, next): &(usize, &Found<'_>)| {
                stands_alone(next) && next.line == first.line + *at as u32 + 1 && next.column >= first.column
            };
            let more = others.iter().enumerate().take_while(together).count();
            let (group, left) = rest.split_at(more + 1);
            rest = left;
            let last = first.line + more as u32;
            let texts: Vec<String> = group.iter().map(|comment| comment.text.to_owned()).collect();
            let next_entry = entries.after(last).map(|at| entries.0[at].spot.line);
            let next_comment = rest
                .first()
                .filter(|next| stands_alone(next) && next_entry.is_none_or(|line| next.line < line));
            let gaps = Gaps {
                before: is_blank(first.line.saturating_sub(1)),
                after: is_blank(last + 1),
                explicit: begins.is_some_and(|line| line < first.line as usize),
                follows: group_end.is_some_and(|end| entries.after(end) == entries.after(first.line)),
                closes: closing.get(last as usize).copied().unwrap_or_default(),
                next_comment: next_comment.map(|next| next.column),
            };
            comments.above_or_below(&texts, first, &gaps, &entries);
            group_end = Some(last);
        }
        comments
    }

    /// A comment behind something.
    fn beside(&mut self, comment: &Found<'_>, lines: &[&str], entries: &Entries) {
        let line = lines.get(comment.line.saturating_sub(1) as usize).copied().unwrap_or_default();
        let before: String = line.chars().take(comment.column.saturating_sub(1) as usize).collect();
        let after_dash =
            before.trim_end().ends_with('-') && before.trim().trim_matches(['-', ' ']).is_empty();
        if before.trim_end().ends_with(['[', '{']) {
            // What stands behind an opening bracket is lost upstream.
            return;
        }
        let entry = if before.trim_end().ends_with([']', '}']) {
            entries.before(comment.line + 1, false)
        } else if after_dash {
            entries.after(comment.line).filter(|at| entries.0[*at].spot.is_element)
        } else {
            entries.before(comment.line + 1, true)
        };
        let entry = entry.map(|at| &entries.0[at]);
        let Some(entry) = entry else { return };
        let around = self.around.entry(entry.spot).or_default();
        let place = if after_dash { &mut around.dash } else { &mut around.line };
        *place = Some(comment.text.to_owned());
    }

    /// Comments on lines of their own, before what follows or after what they follow.
    fn above_or_below(&mut self, texts: &[String], first: &Found<'_>, gaps: &Gaps, entries: &Entries) {
        let before = entries.before(first.line, false);
        let next = entries.after(first.line);
        let inner = entries.before(first.line, true);
        let entries = &entries.0[..];
        if let Some(inner) = inner.filter(|inner| gaps.closes && entries[*inner].flow) {
            self.around.entry(entries[inner].spot).or_default().foot.extend_from_slice(texts);
            return;
        }
        let mut is_lost = false;
        let foot = before.and_then(|before| {
            let indent = entries[before].column;
            let dedented = first.column < indent;
            let opens = next.is_some_and(|next| entries[next].parent == Some(before));
            let directly = !gaps.before && !gaps.follows && !opens;
            if (gaps.after || next.is_none()) && !gaps.before && (directly || dedented) {
                let owner = match next {
                    Some(next) if dedented => beyond(next, entries),
                    None => Some(around_end(before, first.column, entries)),
                    Some(_) => Some(before),
                };
                is_lost = owner.is_none();
                return owner;
            }
            let column = gaps.next_comment.or(next.map(|next| entries[next].column))?;
            // What follows another comment is no longer beside the entry before.
            let owner = if gaps.follows { around_end(before, first.column, entries) } else { before };
            (column < indent && column != first.column).then_some(owner)
        });
        match (foot, next) {
            _ if is_lost => {}
            (Some(foot), _) => {
                self.around.entry(entries[foot].spot).or_default().foot.extend_from_slice(texts)
            }
            (None, None) => self.foot.extend_from_slice(texts),
            (None, Some(_)) if before.is_none() && gaps.after && !gaps.explicit => {
                self.head.extend_from_slice(texts);
            }
            (None, Some(next)) => {
                let around = self.around.entry(entries[next].spot).or_default();
                around.head.extend_from_slice(texts);
                around.head.extend(gaps.after.then(String::new));
            }
        }
    }

    /// Puts the comments into the nodes go-yaml would put them in.
    pub(super) fn remark(&self, node: &mut Node) {
        match &mut node.value {
            NodeValue::Scalar { .. } => {}
            NodeValue::Sequence(items) => {
                for item in items {
                    self.remark(item);
                    let Some(around) = self.around(Spot::of(item, true)) else { continue };
                    note(item, &around.head, around.line.as_ref(), &around.foot);
                    if let Some(dash) = &around.dash {
                        let first = item.pairs_mut().and_then(|pairs| pairs.first_mut());
                        match first {
                            Some((key, _)) => note(key, std::slice::from_ref(dash), None, &[]),
                            None => note(item, std::slice::from_ref(dash), None, &[]),
                        }
                    }
                }
            }
            NodeValue::Mapping(pairs) => {
                for (key, value) in pairs {
                    self.remark(value);
                    let Some(around) = self.around(Spot::of(key, false)) else { continue };
                    note(key, &around.head, None, &around.foot);
                    let is_block = !value.is_scalar() && !value.flow;
                    note(if is_block { key } else { value }, &[], around.line.as_ref(), &[]);
                }
            }
        }
    }

    pub(super) fn around(&self, spot: Spot) -> Option<&Around> {
        self.around.get(&spot)
    }
}
