//! Canonical quantities: the server prints `1000m` as `1` and `1024Mi` as `1Gi`.

/// The canonical text, or the text itself when it is not a quantity this reads.
pub(crate) fn canonical(text: &str) -> String {
    parse(text).unwrap_or_else(|| text.to_owned())
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];

fn parse(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    if let Some(power) = BINARY.iter().skip(1).position(|unit| *unit == suffix) {
        let scale = 1024i128.checked_pow(u32::try_from(power + 1).ok()?)?;
        let value = digits.checked_mul(scale)?;
        let divisor = 10i128.checked_pow(u32::try_from(places).ok()?)?;
        if value % divisor != 0 {
            return None;
        }
        return Some(print_binary(value / divisor));
    }
    let exponent = match suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty()) {
        Some(rest) => rest.parse().ok()?,
        None => DECIMAL.iter().find(|(unit, _)| *unit == suffix)?.1,
    };
    // In units of 10^-9, the smallest a quantity has.
    let nanos = digits.checked_mul(10i128.checked_pow(u32::try_from(exponent - places + 9).ok()?)?)?;
    Some(print_decimal(nanos))
}

fn print_binary(mut value: i128) -> String {
    let mut unit = 0;
    while value != 0 && value % 1024 == 0 && unit + 1 < BINARY.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value}{}", BINARY[unit])
}

fn print_decimal(nanos: i128) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    for (unit, exponent) in DECIMAL {
        let Ok(power) = u32::try_from(exponent + 9) else { continue };
        let scale = 10i128.pow(power);
        if nanos % scale == 0 {
            return format!("{}{unit}", nanos / scale);
        }
    }
    format!("{nanos}n")
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn quantities_print_canonically() {
        let cases = [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000", "1k"),
            ("100M", "100M"),
            ("250m", "250m"),
            ("0", "0"),
            ("1e3", "1k"),
        ];
        for (given, expected) in cases {
            assert_eq!(canonical(given), expected, "{given}");
        }
    }
}
