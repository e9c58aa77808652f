//! What server-side apply refuses in a configuration before anything is merged or compared.

use std::collections::HashSet;

use serde_json::Value;

use crate::fieldset::pretty;
use crate::merge::item_element;
use crate::schema::{Kind, Relation, Type};

/// The first list of keyed items in which a key comes twice.
pub(super) fn repeated(ty: Type<'_>, value: &Value, at: &str) -> Option<String> {
    match value {
        Value::Object(map) => {
            map.iter().find_map(|(key, child)| repeated(ty.child_or_any(key), child, &format!("{at}.{key}")))
        }
        Value::Array(list) if matches!(ty.node.relation, Relation::Keys(_)) => {
            let mut seen = HashSet::new();
            list.iter().find_map(|item| {
                let element = item_element(ty, item)?;
                let key = pretty(&element);
                if !seen.insert(element) {
                    return Some(format!("{at}: duplicate entries for key {key}"));
                }
                repeated(ty.items(), item, &format!("{at}{key}"))
            })
        }
        _ => None,
    }
}

/// Whether a built-in type holds an amount that is none.
pub(super) fn has_no_quantity(ty: Type<'_>, value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, child)| has_no_quantity(ty.child_or_any(key), child)),
        Value::Array(list) => list.iter().any(|item| has_no_quantity(ty.items(), item)),
        Value::String(text) if ty.node.typed && ty.node.kind == Kind::Quantity => !is_quantity(text),
        _ => false,
    }
}

fn is_quantity(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i64>().is_ok());
    number.parse::<f64>().is_ok()
        && (exponent
            || ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
                .contains(&suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_from_words() {
        for text in ["1", "-1.5", "1Gi", "250m", "1e3", "12E2", ".5", "1.", "2E"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "lots", "1 Gi", "1g", "Gi", "1e", "1.2.3", "--1"] {
            assert!(!is_quantity(text), "{text}");
        }
    }
}
