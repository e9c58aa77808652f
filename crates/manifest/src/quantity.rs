//! Canonical quantities: Kubernetes prints `1000m` as `1` and `1024Mi` as `1Gi`.

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];

/// The canonical text, or the text itself where it is beyond what is reckoned with here; `None` for
/// what is no quantity.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.len() + fraction.len() == 0 {
        return None;
    }
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty()) {
        // These stay as they are written.
        return exponent.parse::<i32>().ok().map(|_| text.to_owned());
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let digits: Option<i128> = format!("{sign}{whole}{fraction}").parse().ok();
    let places = u32::try_from(fraction.len()).ok();
    let printed = if let Some(power) = BINARY.iter().position(|unit| *unit == suffix) {
        digits.zip(places).and_then(|(digits, places)| binary(digits, places, power))
    } else {
        let (_, exponent) = DECIMAL.iter().find(|(unit, _)| *unit == suffix)?;
        digits.zip(places).and_then(|(digits, places)| decimal(digits, places, *exponent))
    };
    Some(printed.unwrap_or_else(|| text.to_owned()))
}

fn binary(digits: i128, places: u32, power: usize) -> Option<String> {
    let scale = 1024i128.checked_pow(u32::try_from(power + 1).ok()?)?;
    let (value, divisor) = (digits.checked_mul(scale)?, 10i128.checked_pow(places)?);
    if value % divisor != 0 {
        return decimal(value, places, 0);
    }
    let (mut value, mut unit) = (value / divisor, "");
    for larger in BINARY {
        if value == 0 || value % 1024 != 0 {
            break;
        }
        (value, unit) = (value / 1024, larger);
    }
    Some(format!("{value}{unit}"))
}

fn decimal(digits: i128, places: u32, exponent: i32) -> Option<String> {
    // In units of 10^-9, the smallest a quantity has.
    let shift = u32::try_from(exponent + 9).ok()?.checked_sub(places)?;
    let nanos = digits.checked_mul(10i128.checked_pow(shift)?)?;
    if nanos == 0 {
        return Some("0".to_owned());
    }
    let (unit, scale) = DECIMAL.iter().find_map(|(unit, exponent)| {
        let scale = 10i128.pow(u32::try_from(exponent + 9).ok()?);
        (nanos % scale == 0).then_some((unit, scale))
    })?;
    Some(format!("{}{unit}", nanos / scale))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn quantities_print_canonically() {
        let cases = [
            ("0.5", "500m"),
            (".5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000", "1k"),
            ("100M", "100M"),
            ("250m", "250m"),
            ("0", "0"),
            ("1e3", "1e3"),
            ("12E6", "12E6"),
            ("-1.50", "-1500m"),
            ("0.1Gi", "107374182400m"),
            ("0.00000000001", "0.00000000001"),
        ];
        for (given, expected) in cases {
            assert_eq!(canonical(given).as_deref(), Some(expected), "{given}");
        }
    }

    #[test]
    fn other_texts_are_no_quantities() {
        for given in ["", "-", ".", "many", "1 Gi", "1x", "--1", "1.2.3", "1-2", "1e", "1ex", "Gi"] {
            assert_eq!(canonical(given), None, "{given}");
        }
    }
}
