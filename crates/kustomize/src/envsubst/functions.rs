//! What the operators do to a value.

use super::{Error, glob};

/// Operators that give a value to what has none. They all mean the same.
pub(super) fn is_default(operator: &str) -> bool {
    matches!(operator, "=" | ":=" | ":-" | ":+" | ":?")
}

/// Applies an operator; `None` is the value itself.
pub(super) fn apply(
    operator: &str,
    value: &[u8],
    arguments: &[Vec<u8>],
    limit: usize,
    steps: &mut u64,
) -> Result<Option<Vec<u8>>, Error> {
    let first = arguments.first().map_or(&[][..], Vec::as_slice);
    let second = arguments.get(1).map(Vec::as_slice);
    Ok(match operator {
        "," => Some(change_first(value, lower)),
        ",," => Some(text(value).chars().map(lower).collect::<String>().into_bytes()),
        "^" => Some(change_first(value, upper)),
        "^^" => Some(text(value).chars().map(upper).collect::<String>().into_bytes()),
        "#" if arguments.is_empty() => Some(value.len().to_string().into_bytes()),
        "#" => glob::trim_prefix(value, first, false, steps)?,
        "##" => glob::trim_prefix(value, first, true, steps)?,
        "%" => glob::trim_suffix(value, first, false, steps)?,
        "%%" => glob::trim_suffix(value, first, true, steps)?,
        ":" => substring(value, first, second)?,
        "/" => Some(replace(value, first, second.unwrap_or_default(), 1, limit)?),
        "//" => Some(replace(value, first, second.unwrap_or_default(), usize::MAX, limit)?),
        "/#" => match second {
            Some(with) if value.starts_with(first) => Some(replace(value, first, with, 1, limit)?),
            _ => None,
        },
        "/%" => match second {
            Some(with) => value.strip_suffix(first).map(|rest| [rest, with].concat()),
            None => None,
        },
        // A default.
        _ if value.is_empty() && !arguments.is_empty() => Some(arguments.concat()),
        _ => None,
    })
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Go maps characters one to one.
fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

fn lower(c: char) -> char {
    single(c, c.to_lowercase())
}

fn upper(c: char) -> char {
    single(c, c.to_uppercase())
}

fn change_first(value: &[u8], change: fn(char) -> char) -> Vec<u8> {
    let whole = text(value);
    let mut characters = whole.chars();
    let Some(first) = characters.next() else { return Vec::new() };
    format!("{}{}", change(first), characters.as_str()).into_bytes()
}

fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Offsets count bytes and may cut a character. What is no number leaves the value whole.
fn substring(value: &[u8], offset: &[u8], length: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
    let size = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let Some(mut from) = number(offset) else { return Ok(None) };
    if from < 0 {
        from = size.saturating_add(from).max(0);
    }
    let until = match length.map(number) {
        None => size,
        Some(None) => return Ok(None),
        Some(Some(length)) => from.saturating_add(length),
    };
    if until < size && until < from {
        return Err(Error::Length);
    }
    let at = |place: i64| usize::try_from(place.min(size)).unwrap_or_default();
    Ok(Some(value.get(at(from)..at(until).max(at(from))).unwrap_or_default().to_vec()))
}

fn replace(value: &[u8], from: &[u8], with: &[u8], times: usize, limit: usize) -> Result<Vec<u8>, Error> {
    let (value, from, with) = (text(value), text(from), text(with));
    let found = if from.is_empty() { value.chars().count() + 1 } else { value.matches(&*from).count() };
    let grown = value.len().saturating_add(found.min(times).saturating_mul(with.len()));
    if grown > limit {
        return Err(Error::Limit { what: "bytes", limit: limit as u64 });
    }
    let replaced =
        if times == usize::MAX { value.replace(&*from, &with) } else { value.replacen(&*from, &with, times) };
    Ok(replaced.into_bytes())
}
