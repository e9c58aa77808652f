//! Dotted paths into objects, as replacements and variables use them.

use sluice_manifest::yaml::{self, Node, NodeValue, Tag};

use crate::error::{Result, bad};
use crate::fieldspec::split_path;
use crate::node::{self, Shape};
use crate::pattern::compile;

/// Splits a path at the delimiter; brackets protect what is between them.
pub(crate) fn split(path: &str, delimiter: char) -> Vec<String> {
    let parts = split_path(path, delimiter);
    let mut result = Vec::with_capacity(parts.len());
    let mut iter = parts.into_iter();
    while let Some(part) = iter.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            result.push(part);
            continue;
        }
        let mut whole = part;
        for next in iter.by_ref() {
            whole.push(delimiter);
            whole.push_str(&next);
            if next.ends_with(']') {
                break;
            }
        }
        if whole.contains('=') {
            result.push(whole);
        } else {
            result.push(whole.trim_matches(['[', ']']).to_owned());
        }
    }
    result
}

/// `[key=value]` as its two halves.
fn list_entry(part: &str) -> Option<Result<(&str, &str)>> {
    let inner = part.strip_prefix('[')?.strip_suffix(']')?;
    Some(
        inner
            .split_once('=')
            .ok_or_else(|| bad!("list path element must contain fieldName=fieldValue for element to match")),
    )
}

fn index_of(part: &str) -> Option<usize> {
    part.strip_prefix('+').unwrap_or(part).parse().ok()
}

fn field<'a>(at: &'a Node, name: &str) -> Result<Option<&'a Node>> {
    if at.is_null() {
        return Ok(None);
    }
    if !at.is_mapping() {
        return Err(node::wrong_kind(at, Shape::Mapping));
    }
    Ok(at.get(name))
}

/// The value at the end of the path, which must not branch.
pub(crate) fn lookup<'a>(root: &'a Node, path: &[String]) -> Result<Option<&'a Node>> {
    let mut at = root;
    for part in path.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        let next = if let Ok(index) = part.parse::<i64>() {
            let index = usize::try_from(index).map_err(|_| bad!("array index {index} cannot be negative"))?;
            items(at)?.get(index)
        } else if part == "-" {
            items(at)?.last()
        } else if part == "*" {
            return Err(bad!("wildcard is not supported in PathGetter"));
        } else if let Some(entry) = list_entry(part) {
            let (key, value) = entry?;
            items(at)?.iter().find(|item| {
                if key.is_empty() {
                    item.text().unwrap_or("") == value
                } else {
                    item.get(key).is_some_and(|found| found.text().unwrap_or("") == value)
                }
            })
        } else {
            field(at, part)?
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// As [`lookup`], to change.
pub(crate) fn lookup_mut<'a>(root: &'a mut Node, path: &[String]) -> Option<&'a mut Node> {
    let mut at = root;
    for part in path.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        at = if let Ok(index) = part.parse::<usize>() {
            at.items_mut()?.get_mut(index)?
        } else if part == "-" {
            at.items_mut()?.last_mut()?
        } else if let Some(entry) = list_entry(part) {
            let (key, value) = entry.ok()?;
            at.items_mut()?.iter_mut().find(|item| {
                if key.is_empty() {
                    item.text().unwrap_or("") == value
                } else {
                    item.get(key).is_some_and(|found| found.text().unwrap_or("") == value)
                }
            })?
        } else {
            at.get_mut(part)?
        };
    }
    Some(at)
}

fn items(at: &Node) -> Result<&[Node]> {
    match at.items() {
        Some(items) => Ok(items),
        None if at.is_null() => Ok(&[]),
        None => Err(node::wrong_kind(at, Shape::Sequence)),
    }
}

/// What is made of the missing end of a path.
pub(crate) type Blank = Option<Shape>;

fn make(shape: Shape) -> Node {
    match shape {
        Shape::Scalar => node::untagged(""),
        Shape::Sequence => Node::sequence(Vec::new()),
        Shape::Mapping => Node::empty_map(),
    }
}

fn blank_for(next: Option<&String>, end: Shape) -> Node {
    make(match next {
        None => end,
        Some(part) if list_entry(part).is_some() || index_of(part).is_some() => Shape::Sequence,
        Some(_) => Shape::Mapping,
    })
}

/// Calls `set` for every value the path leads to; returns how many there are.
pub(crate) fn visit(
    at: &mut Node,
    path: &[String],
    create: Blank,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    let Some((first, rest)) = path.split_first() else {
        set(at)?;
        return Ok(1);
    };
    if let Some(index) = index_of(first) {
        return visit_index(at, index, rest, create, set);
    }
    if let Some(entry) = list_entry(first) {
        let (key, pattern) = entry?;
        let found = visit_matching(at, key, pattern, rest, create, set)?;
        let Some(_) = create.filter(|_| found == 0) else { return Ok(found) };
        let value = node::untagged(pattern);
        let made = if key.is_empty() { value } else { Node::mapping(vec![(node::untagged(key), value)]) };
        match at.items_mut() {
            Some(items) => items.push(made),
            None => return Err(node::wrong_kind(at, Shape::Sequence)),
        }
        // The element just made is matched, or else it would be made for ever.
        return match visit_matching(at, key, pattern, rest, create, set)? {
            0 => Err(bad!("failed to create element for {first:?}")),
            found => Ok(found),
        };
    }
    if first == "*" {
        return visit_all(at, rest, create, set);
    }
    visit_field(at, first, rest, create, set)
}

fn visit_index(
    at: &mut Node,
    index: usize,
    rest: &[String],
    create: Blank,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    items(at)?;
    let count = at.items().map_or(0, <[_]>::len);
    let Some(list) = at.items_mut() else { return Err(index_error(index, 0)) };
    if let Some(end) = create.filter(|_| count == index) {
        list.push(blank_for(rest.first(), end));
    }
    let count = list.len();
    match list.get_mut(index) {
        Some(item) => visit(item, rest, create, set),
        None => Err(index_error(index, count)),
    }
}

fn index_error(index: usize, count: usize) -> crate::error::Error {
    bad!("index {index} specified but only {count} elements found")
}

fn visit_all(
    at: &mut Node,
    rest: &[String],
    create: Blank,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    items(at)?;
    let mut found = 0;
    for item in at.items_mut().into_iter().flatten() {
        found += visit(item, rest, create, set)?;
    }
    Ok(found)
}

fn visit_matching(
    at: &mut Node,
    key: &str,
    pattern: &str,
    rest: &[String],
    create: Blank,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    items(at)?;
    let regex = compile(pattern)?;
    let mut found = 0;
    for item in at.items_mut().into_iter().flatten() {
        if key.is_empty() {
            if regex.is_match(node::to_text(item).trim()) {
                set(item)?;
                found += 1;
            }
            continue;
        }
        if item.get(key).is_some_and(|value| regex.is_match(node::to_text(value).trim())) {
            found += visit(item, rest, create, set)?;
        }
    }
    Ok(found)
}

fn visit_field(
    at: &mut Node,
    name: &str,
    rest: &[String],
    create: Blank,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    if field(at, name)?.is_none() {
        let Some(end) = create else { return Ok(0) };
        let made = blank_for(rest.first(), end);
        if at.is_null() {
            // A null takes no fields: what is put there is lost.
            let mut lost = made;
            return visit(&mut lost, rest, create, set);
        }
        if let NodeValue::Mapping(pairs) = &mut at.value {
            pairs.push((node::untagged(name), made));
        }
    }
    let Some(next) = at.get_mut(name) else { return Ok(0) };
    if let Some(text) = next.text().filter(|_| !rest.is_empty() && !next.is_null() && next.tag != Tag::Alias)
    {
        // Upstream steps into a copy of the document in the text, and drops the copy.
        let parsed = yaml::parse_commented(text, false, yaml::Limits::default());
        return match parsed.map_err(|error| bad!("{error}"))? {
            Some((mut document, _)) => visit(&mut document, rest, create, set),
            None => Err(node::wrong_kind(next, Shape::Mapping)),
        };
    }
    visit(next, rest, create, set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_backslashes_protect_dots() {
        let table: [(&str, &[&str]); 6] = [
            ("a.b", &["a", "b"]),
            ("a\\.b.c", &["a.b", "c"]),
            ("m.[a.b/c].d", &["m", "a.b/c", "d"]),
            ("l.[k=v.w].x", &["l", "[k=v.w]", "x"]),
            (".a", &["a"]),
            ("a", &["a"]),
        ];
        for (text, parts) in table {
            assert_eq!(split(text, '.'), parts, "{text}");
        }
    }
}
