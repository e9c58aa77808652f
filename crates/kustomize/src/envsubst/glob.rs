//! Stripping prefixes and suffixes by pattern: `*` (which also matches `/`), `?`, `[set]`, `\x`.

use super::Error;

/// The pattern is malformed.
struct Malformed;

/// Removes the shortest or longest prefix that matches; `None` when nothing is removed.
pub(super) fn trim_prefix(
    value: &[u8],
    pattern: &[u8],
    longest: bool,
    steps: &mut u64,
) -> Result<Option<Vec<u8>>, Error> {
    let lengths: Box<dyn Iterator<Item = usize>> =
        if longest { Box::new((1..=value.len()).rev()) } else { Box::new(1..=value.len()) };
    for length in lengths {
        let prefix = value.get(..length).unwrap_or_default();
        match matches(pattern, prefix, steps)? {
            Ok(true) => return Ok(value.get(length..).map(<[u8]>::to_vec)),
            Ok(false) => {}
            Err(Malformed) => return Ok(None),
        }
    }
    Ok(None)
}

/// As `trim_prefix` from the other end. Upstream reverses the pattern character by character, so a
/// `[set]` never matches here.
pub(super) fn trim_suffix(
    value: &[u8],
    pattern: &[u8],
    longest: bool,
    steps: &mut u64,
) -> Result<Option<Vec<u8>>, Error> {
    let trimmed = trim_prefix(&reverse(value), &reverse(pattern), longest, steps)?;
    Ok(trimmed.map(|rest| reverse(&rest)))
}

fn reverse(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).chars().rev().collect::<String>().into_bytes()
}

/// Whether the pattern matches the whole name.
fn matches(mut pattern: &[u8], mut name: &[u8], steps: &mut u64) -> Result<Result<bool, Malformed>, Error> {
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = next_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(Ok(true));
        }
        match match_chunk(chunk, name, steps)? {
            Ok(Some(left)) if left.is_empty() || !pattern.is_empty() => {
                name = left;
                continue;
            }
            Ok(_) => {}
            Err(malformed) => return Ok(Err(malformed)),
        }
        if star {
            for skipped in 1..=name.len() {
                match match_chunk(chunk, name.get(skipped..).unwrap_or_default(), steps)? {
                    Ok(Some(left)) if !pattern.is_empty() || left.is_empty() => {
                        name = left;
                        continue 'pattern;
                    }
                    Ok(_) => {}
                    Err(malformed) => return Ok(Err(malformed)),
                }
            }
        }
        return Ok(Ok(false));
    }
    Ok(Ok(name.is_empty()))
}

/// Cuts off leading stars and what stands up to the next one.
fn next_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|b| **b == b'*').count();
    let rest = pattern.get(stars..).unwrap_or_default();
    let mut in_range = false;
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' if at + 1 < rest.len() => at += 1,
            b'[' => in_range = true,
            b']' => in_range = false,
            b'*' if !in_range => break,
            _ => {}
        }
        at += 1;
    }
    let (chunk, rest) = rest.split_at(at.min(rest.len()));
    (stars > 0, chunk, rest)
}

/// Matches a chunk without stars at the start of `text`; returns what is left of it.
fn match_chunk<'t>(
    mut chunk: &[u8],
    mut text: &'t [u8],
    steps: &mut u64,
) -> Result<Result<Option<&'t [u8]>, Malformed>, Error> {
    while let Some((first, rest)) = chunk.split_first() {
        *steps = steps.checked_sub(1).ok_or(Error::Limit { what: "steps of pattern matching", limit: 0 })?;
        let Some((byte, after)) = text.split_first() else { return Ok(Ok(None)) };
        match first {
            b'[' => {
                let (c, width) = decode(text);
                text = text.get(width..).unwrap_or_default();
                match match_set(rest, c) {
                    Ok((true, after)) => chunk = after,
                    Ok((false, _)) => return Ok(Ok(None)),
                    Err(malformed) => return Ok(Err(malformed)),
                }
            }
            b'?' => {
                text = text.get(decode(text).1..).unwrap_or_default();
                chunk = rest;
            }
            _ => {
                let (wanted, rest) = match (first, rest.split_first()) {
                    (b'\\', None) => return Ok(Err(Malformed)),
                    (b'\\', Some((escaped, rest))) => (escaped, rest),
                    _ => (first, rest),
                };
                if wanted != byte {
                    return Ok(Ok(None));
                }
                text = after;
                chunk = rest;
            }
        }
    }
    Ok(Ok(Some(text)))
}

/// Matches the inside of `[…]`; returns what follows it.
fn match_set(mut set: &[u8], c: char) -> Result<(bool, &[u8]), Malformed> {
    let negated = set.first() == Some(&b'^');
    if negated {
        set = set.get(1..).unwrap_or_default();
    }
    let mut found = false;
    let mut ranges = 0;
    loop {
        if set.first() == Some(&b']') && ranges > 0 {
            return Ok((found != negated, set.get(1..).unwrap_or_default()));
        }
        let (low, rest) = set_member(set)?;
        let (high, rest) = match rest.split_first() {
            Some((b'-', rest)) => set_member(rest)?,
            _ => (low, rest),
        };
        found |= low <= c && c <= high;
        ranges += 1;
        set = rest;
    }
}

fn set_member(set: &[u8]) -> Result<(char, &[u8]), Malformed> {
    let set = match set.split_first() {
        None | Some((b'-' | b']', _)) => return Err(Malformed),
        Some((b'\\', [])) => return Err(Malformed),
        Some((b'\\', rest)) => rest,
        Some(_) => set,
    };
    let (c, width) = decode(set);
    match set.get(width..) {
        Some(rest) if !(rest.is_empty() || c == '\u{fffd}' && width == 1) => Ok((c, rest)),
        _ => Err(Malformed),
    }
}

/// The first character and its width; a byte that starts none counts as U+FFFD.
fn decode(bytes: &[u8]) -> (char, usize) {
    let head = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => {
            std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
    };
    valid.chars().next().map_or(('\u{fffd}', 1), |c| (c, c.len_utf8()))
}
