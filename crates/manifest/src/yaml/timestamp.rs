//! Dates as go-yaml recognises them, and as Go's JSON prints them.

/// Takes `text` for a date or a date with a time; returns it as RFC 3339.
pub(super) fn parse_timestamp(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes.get(4) != Some(&b'-') || !bytes.get(..4)?.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let year = text.get(..4)?;
    let mut rest = text.get(5..)?;
    let month = number(&mut rest)?;
    rest = rest.strip_prefix('-')?;
    let day = number(&mut rest)?;
    if !(1..=12).contains(&month) || day == 0 || day > days_in(year.parse().ok()?, month) {
        return None;
    }
    let (time, zone) = match rest.chars().next() {
        None => ("00:00:00".to_owned(), "Z".to_owned()),
        Some('T' | 't') => {
            let mut rest = rest.get(1..)?;
            let time = clock(&mut rest)?;
            (time, zone(rest)?)
        }
        Some(' ') => {
            let mut rest = rest.get(1..)?;
            let time = clock(&mut rest)?;
            if !rest.is_empty() {
                return None;
            }
            (time, "Z".to_owned())
        }
        Some(_) => return None,
    };
    Some(format!("{year}-{month:02}-{day:02}T{time}{zone}"))
}

/// One or two digits.
fn number(rest: &mut &str) -> Option<u32> {
    let bytes = rest.as_bytes();
    let first = bytes.first().filter(|b| b.is_ascii_digit())?;
    let mut value = u32::from(first - b'0');
    let mut length = 1;
    if let Some(second) = bytes.get(1).filter(|b| b.is_ascii_digit()) {
        value = value * 10 + u32::from(second - b'0');
        length = 2;
    }
    *rest = rest.get(length..)?;
    Some(value)
}

fn clock(rest: &mut &str) -> Option<String> {
    let hour = number(rest)?;
    *rest = rest.strip_prefix(':')?;
    let minute = number(rest)?;
    *rest = rest.strip_prefix(':')?;
    let second = number(rest)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut text = format!("{hour:02}:{minute:02}:{second:02}");
    let bytes = rest.as_bytes();
    if matches!(bytes.first(), Some(b'.' | b',')) && bytes.get(1).is_some_and(u8::is_ascii_digit) {
        let digits = bytes.iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
        let kept = rest.get(1..=digits.min(9))?.trim_end_matches('0');
        if !kept.is_empty() {
            text.push('.');
            text.push_str(kept);
        }
        *rest = rest.get(digits.min(9) + 1..)?;
    }
    Some(text)
}

fn zone(rest: &str) -> Option<String> {
    if rest == "Z" {
        return Some(rest.to_owned());
    }
    let bytes = rest.as_bytes();
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = bytes else { return None };
    if ![h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hour = (h1 - b'0') * 10 + (h2 - b'0');
    let minute = (m1 - b'0') * 10 + (m2 - b'0');
    if hour > 24 || minute > 60 {
        return None;
    }
    if hour == 0 && minute == 0 {
        return Some("Z".to_owned());
    }
    Some(format!("{}{hour:02}:{minute:02}", *sign as char))
}

fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
