//! What a plain scalar means: go-yaml's v2 (YAML 1.1 booleans) and v3 resolvers.

use super::node::Tag;
use super::timestamp::parse_timestamp;

/// A scalar with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Timestamp(String),
    Merge,
    Str,
}

impl Resolved {
    pub(super) fn tag(&self) -> Tag {
        match self {
            Self::Null => Tag::Null,
            Self::Bool(_) => Tag::Bool,
            Self::Int(_) | Self::Uint(_) => Tag::Int,
            Self::Float(_) => Tag::Float,
            Self::Timestamp(_) => Tag::Timestamp,
            Self::Merge => Tag::Merge,
            Self::Str => Tag::Str,
        }
    }
}

/// The meaning of a plain scalar of a resource file.
pub(super) fn resolve_v3(text: &str) -> Tag {
    value_v3(text).tag()
}

/// The meaning of a plain scalar of a kustomization file.
pub(super) fn resolve_v2(text: &str) -> Tag {
    value_v2(text).tag()
}

pub(super) fn value_v3(text: &str) -> Resolved {
    resolve(text, false)
}

pub(super) fn value_v2(text: &str) -> Resolved {
    if text == "<<" { Resolved::Merge } else { resolve(text, true) }
}

/// YAML 1.1 booleans that YAML 1.2 takes for text, as `Some(value)`.
pub(super) fn old_bool(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn resolve(text: &str, old: bool) -> Resolved {
    let Some(first) = text.bytes().next() else { return Resolved::Null };
    match first {
        b'0'..=b'9' | b'+' | b'-' => match text {
            "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
            _ => number_or_date(text, old),
        },
        b'.' => match text {
            ".inf" | ".Inf" | ".INF" => Resolved::Float(f64::INFINITY),
            ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
            _ if is_float(text) => float(text),
            _ => Resolved::Str,
        },
        b'~' if text == "~" => Resolved::Null,
        b't' | b'T' | b'f' | b'F' | b'n' | b'N' | b'y' | b'Y' | b'o' | b'O' if text.len() <= 5 => {
            match text {
                "null" | "Null" | "NULL" => Resolved::Null,
                "true" | "True" | "TRUE" => Resolved::Bool(true),
                "false" | "False" | "FALSE" => Resolved::Bool(false),
                _ => match old_bool(text) {
                    Some(value) if old => Resolved::Bool(value),
                    _ => Resolved::Str,
                },
            }
        }
        _ => Resolved::Str,
    }
}

fn number_or_date(text: &str, old: bool) -> Resolved {
    if let Some(date) = parse_timestamp(text) {
        return Resolved::Timestamp(date);
    }
    let stripped;
    let plain = if text.contains('_') {
        stripped = text.replace('_', "");
        &stripped
    } else {
        text
    };
    if let Some(value) = go_int(plain) {
        return value;
    }
    if is_float(plain) {
        return float(plain);
    }
    // Go also takes a sign after the prefix.
    let signed = |prefix: &str, radix| {
        let digits = plain.strip_prefix(prefix)?;
        digits.starts_with(['+', '-']).then(|| i64::from_str_radix(digits, radix).ok())?
    };
    match signed("0b", 2).or_else(|| if old { None } else { signed("0o", 8) }) {
        Some(value) => Resolved::Int(value),
        None => Resolved::Str,
    }
}

/// Go's `ParseInt`, then `ParseUint`, with base 0.
fn go_int(text: &str) -> Option<Resolved> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, text.get(1..)?),
        b'+' => (false, true, text.get(1..)?),
        _ => (false, false, text),
    };
    let bytes = digits.as_bytes();
    let (radix, digits) = match (bytes.first()?, bytes.get(1).map(u8::to_ascii_lowercase)) {
        (b'0', Some(b'b')) if bytes.len() >= 3 => (2, digits.get(2..)?),
        (b'0', Some(b'o')) if bytes.len() >= 3 => (8, digits.get(2..)?),
        (b'0', Some(b'x')) if bytes.len() >= 3 => (16, digits.get(2..)?),
        (b'0', Some(_)) => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        let value = -i128::from(magnitude);
        return i64::try_from(value).ok().map(Resolved::Int);
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Resolved::Int(value)),
        Err(_) if signed => None,
        Err(_) => Some(Resolved::Uint(magnitude)),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    let digits = |from: usize| rest.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut at = whole;
    if rest.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if whole == 0 && fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    } else if whole == 0 {
        return false;
    }
    if matches!(rest.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(rest.get(at), Some(b'-' | b'+')) {
            at += 1;
        }
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == rest.len()
}

fn float(text: &str) -> Resolved {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Resolved::Float(value),
        _ => Resolved::Str,
    }
}

/// Numbers in base 60, which YAML 1.1 knew: quoted on output, though read as text.
pub(super) fn is_base60(text: &str) -> bool {
    let Some(first) = text.bytes().next() else { return false };
    if !(first == b'+' || first == b'-' || first.is_ascii_digit()) || !text.contains(':') {
        return false;
    }
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (rest, fraction) = match rest.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (rest, ""),
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return false;
    }
    let mut groups = rest.split(':');
    let head = groups.next().unwrap_or_default();
    let head_fits = head.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && head.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let group_fits = |group: &str| match group.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [b'0'..=b'5', digit] => digit.is_ascii_digit(),
        _ => false,
    };
    head_fits && groups.all(group_fits)
}
