//! Go's formatting of numbers.

use serde_json::Number;

/// Decimal digits without trailing zeros and the exponent of the first: `1234.5` is (`12345`, 3).
fn digits(value: f64) -> (bool, String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    (value.is_sign_negative(), digits, exponent.parse().unwrap_or(0))
}

fn scientific(negative: bool, digits: &str, exponent: i32) -> String {
    let mut text = String::with_capacity(digits.len() + 8);
    if negative {
        text.push('-');
    }
    let (head, tail) = digits.split_at(digits.len().min(1));
    text.push_str(head);
    if !tail.is_empty() {
        text.push('.');
        text.push_str(tail);
    }
    text.push('e');
    text.push(if exponent < 0 { '-' } else { '+' });
    text.push_str(&format!("{:02}", exponent.abs()));
    text
}

/// `strconv.FormatFloat(value, 'g', -1, 64)`, but for what is no number as YAML writes it.
pub fn go_g(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf".to_owned() } else { "-.inf".to_owned() };
    }
    let (negative, digits, exponent) = digits(value);
    // Asked for the shortest form, Go chooses between the notations as if the precision were 6.
    if !(-4..6).contains(&exponent) {
        return scientific(negative, &digits, exponent);
    }
    format!("{value}")
}

/// A JSON number as Go's JSON encoder and the YAML writer leave it: whole numbers that fit 64 bits
/// without an exponent, everything else as `%g`.
pub(super) fn json_number(number: &Number) -> String {
    if let Some(value) = number.as_i64() {
        return value.to_string();
    }
    if let Some(value) = number.as_u64() {
        return value.to_string();
    }
    let value = number.as_f64().unwrap_or_default();
    if value.fract() == 0.0 {
        let text = format!("{value}");
        if text == "-0" {
            return "0".to_owned();
        }
        if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
            return text;
        }
    }
    go_g(value)
}

/// Text for a number where text is wanted (a mapping key, a text field), as `sigs.k8s.io/yaml`
/// makes it: the shortest form that is right to 32 bits.
pub fn go_g32(value: f64) -> String {
    let short = value as f32;
    if !short.is_finite() {
        return go_g(f64::from(short));
    }
    let text = format!("{:e}", short.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        return scientific(short.is_sign_negative(), &digits, exponent);
    }
    format!("{short}")
}
