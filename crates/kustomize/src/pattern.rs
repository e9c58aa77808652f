//! Regular expressions as Go reads and words them.

use regex::{Regex, RegexBuilder};

use crate::error::{Error, Result, bad};

/// How much of a pattern Go's parser shows.
#[derive(Clone, Copy)]
enum Shown {
    All,
    FromFault,
    Fault,
}

/// What Go's parser calls the faults of a pattern.
const FAULTS: &[(&str, &str, Shown)] = &[
    ("unclosed group", "missing closing )", Shown::All),
    ("unopened group", "unexpected )", Shown::All),
    ("unclosed character class", "missing closing ]", Shown::FromFault),
    ("repetition operator missing expression", "missing argument to repetition operator", Shown::Fault),
    ("look-around", "invalid or unsupported Perl syntax", Shown::Fault),
    ("unrecognized escape sequence", "invalid escape sequence", Shown::Fault),
    ("invalid character class range", "invalid character class range", Shown::Fault),
];

/// A pattern, with Go's wording of what is wrong with it.
pub(crate) fn compile(pattern: &str) -> Result<Regex> {
    let translated = translate(pattern)?;
    let pattern = translated.as_str();
    RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| {
        let text = error.to_string();
        let fault = text.lines().next_back().unwrap_or("");
        let fault = fault.strip_prefix("error: ").unwrap_or(fault);
        // The fault is marked below the indented pattern.
        let marks = text.lines().nth(2).and_then(|line| line.get(4..)).unwrap_or("");
        let from = marks.len() - marks.trim_start().len();
        let rest = pattern.get(from..).unwrap_or(pattern);
        let (words, shown) = match FAULTS.iter().find(|(ours, ..)| fault.starts_with(ours)) {
            None => (fault, pattern),
            Some((_, theirs, Shown::All)) => (*theirs, pattern),
            Some((_, theirs, Shown::FromFault)) => (*theirs, rest),
            Some((_, theirs, Shown::Fault)) => (*theirs, rest.get(..marks.trim().len()).unwrap_or(rest)),
        };
        bad!("error parsing regexp: {words}: `{shown}`")
    })
}

/// Rewrites what Go takes literally and this engine's parser does not: `{` that begins no count, `[` and the
/// set operators within a class, `\<` and `\>`, and quotes from `\Q` to `\E`. A repetition may not be repeated.
fn translate(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    // Where the last repetition stands, if nothing came after it.
    let mut repeated: Option<&str> = None;
    while let Some(c) = rest.chars().next() {
        let here = rest;
        let mut operator = None;
        match c {
            '\\' if here.starts_with("\\Q") => {
                let quoted = here.get(2..).unwrap_or("");
                let (quoted, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                out.push_str(&regex::escape(quoted));
                rest = after;
            }
            '\\' => {
                let (shown, length) = escape(here)?;
                out.push_str(&shown);
                rest = here.get(length..).unwrap_or("");
            }
            '[' => {
                let (shown, length) = class(here)?;
                out.push_str(&shown);
                rest = here.get(length..).unwrap_or("");
            }
            '*' | '+' | '?' => operator = Some(1),
            '{' => operator = count(here)?,
            _ => {}
        }
        if let Some(length) = operator {
            let lazy = usize::from(here.as_bytes().get(length) == Some(&b'?'));
            let (shown, after) = here.split_at(length + lazy);
            if c == '{' && (out.is_empty() || out.ends_with(['(', '|', ':'])) {
                return Err(fault("missing argument to repetition operator", &shown[..length]));
            }
            if let Some(before) = repeated {
                let nested = before.get(..before.len() - after.len()).unwrap_or(before);
                return Err(fault("invalid nested repetition operator", nested));
            }
            out.push_str(shown);
            rest = after;
            // What follows an opening is a flag or a fault of its own.
            repeated = (!out.ends_with("(?")).then_some(here);
            continue;
        }
        repeated = None;
        if rest.len() == here.len() {
            if c == '{' {
                out.push('\\');
            }
            out.push(c);
            rest = here.get(c.len_utf8()..).unwrap_or("");
        }
    }
    Ok(out)
}

fn fault(words: &str, shown: &str) -> Error {
    bad!("error parsing regexp: {words}: `{shown}`")
}

/// The length of a count such as `{2,3}`.
fn count(text: &str) -> Result<Option<usize>> {
    const MOST: u32 = 1000;
    let Some((inside, _)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return Ok(None);
    };
    let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if least.is_empty() || !digits(least) || !digits(most) {
        return Ok(None);
    }
    let length = inside.len() + 2;
    let number = |text: &str| text.parse().unwrap_or(u32::MAX);
    let (low, high) = (number(least), if most.is_empty() { MOST } else { number(most) });
    if low > high || high > MOST {
        return Err(fault("invalid repeat count", text.get(..length).unwrap_or(text)));
    }
    Ok(Some(length))
}

/// What stands for an escape, and the length of what it replaces.
fn escape(text: &str) -> Result<(String, usize)> {
    let rest = text.get(1..).unwrap_or("");
    let Some(c) = rest.chars().next() else {
        return Err(fault("trailing backslash at end of expression", ""));
    };
    let length = 1 + c.len_utf8();
    let plain = text.get(..length).unwrap_or(text).to_owned();
    let octal = rest.bytes().take(3).take_while(|b| (b'0'..b'8').contains(b)).count();
    match c {
        '<' | '>' => Ok((c.to_string(), length)),
        // One digit alone would refer back, which neither engine does.
        '0'..='7' if octal > 1 || c == '0' => {
            let digits = rest.get(..octal).unwrap_or(rest);
            Ok((format!("\\x{{{:x}}}", u32::from_str_radix(digits, 8).unwrap_or_default()), 1 + octal))
        }
        // A class by name has braces of its own.
        'p' | 'P' | 'x' if text.get(length..).is_some_and(|text| text.starts_with('{')) => {
            let braces = text.find('}').map_or(length, |end| end + 1);
            Ok((text.get(..braces).unwrap_or(text).to_owned(), braces))
        }
        'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'A' | 'b' | 'B' | 'z' | 'p' | 'P' => Ok((plain, length)),
        'd' | 's' | 'w' | 'D' | 'S' | 'W' => Ok((plain, length)),
        c if c.is_ascii_alphanumeric() => Err(fault("invalid escape sequence", &plain)),
        _ => Ok((plain, length)),
    }
}

/// The classes by name that there are.
const CLASSES: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// What stands for the class a text begins with, and the length of what it replaces.
fn class(text: &str) -> Result<(String, usize)> {
    let mut out = String::from("[");
    let mut at = 1;
    if text.get(at..).is_some_and(|rest| rest.starts_with('^')) {
        out.push('^');
        at += 1;
    }
    let first = at;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let named = rest.starts_with("[:").then(|| rest.find(":]")).flatten();
        let Some(c) = rest.chars().next() else { break };
        match (c, named) {
            (']', _) if at > first => {
                out.push(']');
                return Ok((out, at + 1));
            }
            ('[', Some(end)) => {
                let name = rest.get(..end + 2).unwrap_or(rest);
                if !CLASSES.contains(&name.trim_matches(['[', ']', ':', '^'])) {
                    return Err(fault("invalid character class range", name));
                }
                out.push_str(name);
                at += end + 2;
                continue;
            }
            ('\\', _) => {
                let (shown, length) = escape(rest)?;
                out.push_str(&shown);
                at += length;
                continue;
            }
            ('-', _) if at > first && rest.starts_with("--") => {
                out.push_str("-\\-");
                at += 2;
                continue;
            }
            ('-', _) if rest.starts_with("--") => out.push('\\'),
            ('[' | '&' | '~' | ']', _) => out.push('\\'),
            _ => {}
        }
        out.push(c);
        at += c.len_utf8();
    }
    Ok((out, text.len()))
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn what_go_takes_literally_is_escaped() {
        let cases = [
            (r"\${CLUSTER_NAME}-md-.*", r"\$\{CLUSTER_NAME}-md-.*"),
            ("a{2}b{1,}c{,3}d{1,x}e{", r"a{2}b{1,}c\{,3}d\{1,x}e\{"),
            (r"[[a&&b]", r"[\[a\&\&b]"),
            (r"[^]a[:alpha:]]x{y", r"[^\]a[:alpha:]]x\{y"),
            (r"\Qa.b{\E{c", r"a\.b\{\{c"),
            (r"\<a\>\p{Greek}", r"<a>\p{Greek}"),
            (r"(?:a|b)*?c+(?i)d", r"(?:a|b)*?c+(?i)d"),
        ];
        for (go, ours) in cases {
            assert_eq!(translate(go).as_deref().ok(), Some(ours), "{go}");
        }
    }

    #[test]
    fn a_repetition_of_a_repetition_is_refused() {
        let words = |pattern: &str| translate(pattern).err().map(|error| error.message().to_owned());
        let refused = |shown: &str| {
            Some(format!("error parsing regexp: invalid nested repetition operator: `{shown}`"))
        };
        assert_eq!(words("a**"), refused("**"));
        assert_eq!(words("a+?{2}b"), refused("+?{2}"));
        assert_eq!(words("a*?"), None);
    }
}
