//! The entry points of reading.

use serde_json::Value;

use super::comments::Comments;
use super::compose::{Composer, Dialect};
use super::limits::{Error, Limits};
use super::node::Node;
use super::{decode, limits};

/// Reads a file of documents as the build engine does: split on lines starting with `---`,
/// each part read alone with go-yaml v3's rules, anchors and merges expanded, comments dropped,
/// empty documents left out. Lines in errors count from the start of their document.
///
/// # Errors
/// What is not YAML, and what passes a bound of `limits`.
pub fn parse_stream(text: &str, limits: Limits) -> Result<Vec<Node>, Error> {
    parse_parts(text, false, limits)
}

/// As [`parse_stream`], with the comments in the nodes and all lines counted from the start of their document.
///
/// # Errors
/// As there.
pub fn parse_remarked(text: &str, limits: Limits) -> Result<Vec<Node>, Error> {
    parse_parts(text, true, limits)
}

fn parse_parts(text: &str, remarked: bool, limits: Limits) -> Result<Vec<Node>, Error> {
    check_size(text, limits)?;
    let normal;
    let text = if text.contains("\r\n") {
        normal = text.replace("\r\n", "\n");
        &normal
    } else {
        text
    };
    let mut nodes = Vec::new();
    let mut lines_before = 0;
    let mut left = limits;
    for part in split(text)? {
        let part = part.strip_prefix('\u{feff}').unwrap_or(part);
        check_characters(part).map_err(|error| error.below(lines_before))?;
        let before = if remarked { 0 } else { lines_before };
        let mut composer = Composer::new(part, Dialect::V3, left, before);
        if remarked {
            composer.keep_layout(true);
        }
        if let Some(mut node) = composer.next_document()?.filter(|n| !n.is_null()) {
            if remarked {
                let found = composer.comments(part);
                Comments::attach(&node, part, &found).remark(&mut node);
            }
            nodes.push(node);
            if nodes.len() > limits.documents {
                return Err(Error::Limit { what: "number of documents", limit: limits.documents });
            }
        }
        left.nodes = left.nodes.saturating_sub(composer.nodes());
        lines_before += count_lines(part) + 1;
    }
    Ok(nodes)
}

/// Reads every document of a stream with go-yaml v3's rules, separators found by the parser.
/// Empty documents are null nodes.
///
/// # Errors
/// What is not YAML, and what passes a bound of `limits`.
pub fn parse_documents(text: &str, limits: Limits) -> Result<Vec<Node>, Error> {
    documents(text, Dialect::V3, limits)
}

/// Reads the first document of a text with go-yaml v3's rules, and its comments. Unless they are to be expanded,
/// anchors, aliases and merge keys stay as they are written.
///
/// # Errors
/// What is not YAML, and what passes a bound of `limits`.
pub fn parse_commented(text: &str, expand: bool, limits: Limits) -> Result<Option<(Node, Comments)>, Error> {
    check_size(text, limits)?;
    check_characters(text)?;
    let mut composer = Composer::new(text, Dialect::V3, limits, 0);
    composer.keep_layout(expand);
    let Some(document) = composer.next_document()? else { return Ok(None) };
    let mut comments = Comments::attach(&document, text, &composer.comments(text));
    comments.anchors = composer.take_anchors();
    Ok(Some((document, comments)))
}

/// Reads every document of a stream as `sigs.k8s.io/yaml` does, as JSON values.
///
/// # Errors
/// What is not YAML, what JSON cannot hold, and what passes a bound of `limits`.
pub fn parse_v2_stream(text: &str, limits: Limits) -> Result<Vec<Value>, Error> {
    documents(text, Dialect::V2, limits)?.iter().map(decode::v2_to_json).collect()
}

/// Reads the first document as `sigs.k8s.io/yaml` does: YAML 1.1 scalars, the last of duplicate
/// keys wins, keys become text. An empty text is null.
///
/// # Errors
/// What is not YAML, what JSON cannot hold, and what passes a bound of `limits`.
pub fn parse_v2_json(text: &str, limits: Limits) -> Result<Value, Error> {
    match first_document(text, limits)? {
        Some(node) => decode::v2_to_json(&node),
        None => Ok(Value::Null),
    }
}

/// As [`parse_v2_json`], refusing keys that stand twice in a mapping.
///
/// # Errors
/// As there, and repeated keys.
pub fn parse_v2_strict(text: &str, limits: Limits) -> Result<Value, Error> {
    let Some(node) = first_document(text, limits)? else { return Ok(Value::Null) };
    let mut repeated = Vec::new();
    decode::find_repeated(&node, &mut repeated);
    if repeated.is_empty() { decode::v2_to_json(&node) } else { Err(Error::Unmarshal(repeated)) }
}

fn first_document(text: &str, limits: Limits) -> Result<Option<Node>, Error> {
    check_size(text, limits)?;
    check_characters(text)?;
    Composer::new(text, Dialect::V2, limits, 0).next_document()
}

fn documents(text: &str, dialect: Dialect, limits: Limits) -> Result<Vec<Node>, Error> {
    check_size(text, limits)?;
    check_characters(text)?;
    let mut composer = Composer::new(text, dialect, limits, 0);
    let mut nodes = Vec::new();
    while let Some(node) = composer.next_document()? {
        nodes.push(node);
        if nodes.len() > limits.documents {
            return Err(Error::Limit { what: "number of documents", limit: limits.documents });
        }
    }
    Ok(nodes)
}

/// Takes bytes for text.
///
/// # Errors
/// Bytes that are not UTF-8.
pub fn read_text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::at(0, "invalid leading UTF-8 octet"))
}

fn check_size(text: &str, limits: Limits) -> Result<(), Error> {
    if text.len() > limits.bytes {
        return Err(Error::Limit { what: "size in bytes", limit: limits.bytes });
    }
    Ok(())
}

/// Refuses characters that may not stand in YAML at all.
pub(super) fn check_characters(text: &str) -> Result<(), limits::Error> {
    let suspicious =
        |b: &u8| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || *b == 0x7F || *b == 0xC2 || *b == 0xEF;
    if !text.as_bytes().iter().any(suspicious) {
        return Ok(());
    }
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(()),
        Some((at, _)) => Err(Error::Syntax {
            line: 0,
            place: count_lines(text.get(..at).unwrap_or_default()) + 1,
            message: "control characters are not allowed".to_owned(),
        }),
    }
}

fn count_lines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX)
}

/// Cuts a file at the lines that start with `---`.
fn split(text: &str) -> Result<Vec<&str>, Error> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut search = 0;
    while let Some(at) = text.get(search..).and_then(|rest| rest.find("\n---")).map(|i| search + i) {
        let Some(end) = text.get(at + 4..).and_then(|rest| rest.find('\n')).map(|i| at + 4 + i) else {
            break;
        };
        let after = text.get(at + 4..end).unwrap_or_default().trim();
        if !after.is_empty() && !after.starts_with('#') {
            let line = text.get(at..end).unwrap_or_default().trim();
            return Err(Error::Split(line.to_owned()));
        }
        // The part keeps its own final line break.
        parts.push(text.get(from..=at).unwrap_or_default());
        from = end + 1;
        search = from;
    }
    parts.push(text.get(from..).unwrap_or_default());
    Ok(parts)
}
