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

struct Entry {
    spot: Spot,
    /// Where the dash or the key stands.
    column: u32,
    parent: Option<usize>,
    /// Whether it stands between brackets.
    flow: bool,
}

fn collect(node: &Node, lines: &[&str], parent: Option<usize>, entries: &mut Vec<Entry>) {
    match &node.value {
        NodeValue::Sequence(items) if !node.flow => {
            for item in items {
                let before = lines.get(item.line.saturating_sub(1) as usize).copied().unwrap_or_default();
                let before: String = before.chars().take(item.column.saturating_sub(1) as usize).collect();
                let dash = before.rfind('-').map_or(item.column.saturating_sub(2), |at| at as u32 + 1);
                entries.push(Entry { spot: Spot::of(item, true), column: dash, parent, flow: false });
                collect(item, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Mapping(pairs) if !node.flow => {
            for (key, value) in pairs {
                entries.push(Entry { spot: Spot::of(key, false), column: key.column, parent, flow: false });
                collect(value, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Sequence(items) => {
            for item in items {
                entries.push(Entry { spot: Spot::of(item, true), column: item.column, parent, flow: true });
                collect(item, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Mapping(pairs) => {
            for (key, value) in pairs {
                entries.push(Entry { spot: Spot::of(key, false), column: key.column, parent, flow: true });
                collect(value, lines, Some(entries.len() - 1), entries);
            }
        }
        NodeValue::Scalar { .. } => {}
    }
}

impl Comments {
    /// Finds out what the comments of a document belong to.
    pub(super) fn attach(document: &Node, text: &str, found: &[Found<'_>]) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut entries = Vec::new();
        collect(document, &lines, None, &mut entries);
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
            comments.above_or_below(
                &texts,
                first,
                (is_blank(first.line.saturating_sub(1)), is_blank(last + 1)),
                &entries,
            );
        }
        comments
    }

    /// A comment behind something.
    fn beside(&mut self, comment: &Found<'_>, lines: &[&str], entries: &[Entry]) {
        let line = lines.get(comment.line.saturating_sub(1) as usize).copied().unwrap_or_default();
        let before: String = line.chars().take(comment.column.saturating_sub(1) as usize).collect();
        let after_dash =
            before.trim_end().ends_with('-') && before.trim().trim_matches(['-', ' ']).is_empty();
        if before.trim_end().ends_with(['[', '{']) {
            // What stands behind an opening bracket is lost upstream.
            return;
        }
        let entry = if before.trim_end().ends_with([']', '}']) {
            entries.iter().rfind(|entry| entry.spot.line <= comment.line && !entry.flow)
        } else if after_dash {
            entries.iter().find(|entry| entry.spot.line > comment.line && entry.spot.is_element)
        } else {
            entries.iter().rfind(|entry| entry.spot.line <= comment.line)
        };
        let Some(entry) = entry else { return };
        let around = self.around.entry(entry.spot).or_default();
        let place = if after_dash { &mut around.dash } else { &mut around.line };
        *place = Some(comment.text.to_owned());
    }

    /// Comments on lines of their own, before what follows or after what they follow.
    fn above_or_below(
        &mut self,
        texts: &[String],
        first: &Found<'_>,
        (blank_before, blank_after): (bool, bool),
        entries: &[Entry],
    ) {
        let before = entries.iter().rposition(|entry| entry.spot.line < first.line);
        let next = entries.iter().find(|entry| entry.spot.line > first.line);
        // The innermost of the entries around the one before that starts in the same column.
        let mut above = before;
        while let Some(at) = above.filter(|at| entries[*at].column != first.column) {
            above = entries[at].parent;
        }
        let above = above.map(|at| &entries[at]);
        let is_foot = match next {
            None => !blank_before,
            Some(next) => above.is_some() && (first.column > next.column || (blank_after && !blank_before)),
        };
        match (above.filter(|_| is_foot), next) {
            (Some(above), _) => self.around.entry(above.spot).or_default().foot.extend_from_slice(texts),
            (None, None) => self.foot.extend_from_slice(texts),
            (None, Some(_)) if before.is_none() && blank_after => self.head.extend_from_slice(texts),
            (None, Some(next)) => self.around.entry(next.spot).or_default().head.extend_from_slice(texts),
        }
    }

    pub(super) fn around(&self, spot: Spot) -> Option<&Around> {
        self.around.get(&spot)
    }
}
