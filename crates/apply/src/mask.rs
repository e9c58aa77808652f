//! Keeps a Secret's values out of what the server says about it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sluice_manifest::Object;

use crate::Failure;

const MASK: &str = "*****";

/// Replaces every value of a Secret, as written and decoded, wherever a failure repeats it.
pub(crate) fn mask(failure: Failure, secret: &Object) -> Failure {
    let hidden = values(secret);
    let cover = |text: &str| {
        let mut text = text.to_owned();
        for value in &hidden {
            // A short value is part of many words; as one that stands alone it is still hidden.
            if value.len() >= 4 {
                text = text.replace(value.as_str(), MASK);
            } else {
                text = text.replace(&format!("\"{value}\""), &format!("\"{MASK}\""));
            }
        }
        text
    };
    match failure {
        Failure::Refused(mut refusal) => {
            refusal.message = cover(&refusal.message);
            for cause in &mut refusal.causes {
                cause.message = cover(&cause.message);
            }
            Failure::Refused(refusal)
        }
        Failure::Transport(text) => Failure::Transport(cover(&text)),
        other => other,
    }
}

fn values(secret: &Object) -> Vec<String> {
    let mut found = Vec::new();
    for place in ["data", "stringData"] {
        if let Some(map) = secret.value().get(place) {
            collect(map, &mut found);
        }
    }
    found.retain(|value: &String| !value.is_empty());
    // Longer values first: one may be part of another.
    found.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found.dedup();
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Some(decoded) = STANDARD.decode(text).ok().and_then(|raw| String::from_utf8(raw).ok()) {
                found.push(decoded);
            }
            found.push(STANDARD.encode(text));
            // As Go and JSON quote it, where that looks different.
            found.extend(quoted(text));
            found.push(text.clone());
        }
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => map.values().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A text with its line breaks and quotes escaped, without the quotes around it.
fn quoted(text: &str) -> Option<String> {
    let quoted = serde_json::to_string(text).ok()?;
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    (inner != text).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn neither_a_value_nor_its_encoding_is_shown() {
        let secret = Object::new(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"a": "aHVudGVyMg==", "n": 12345},
            "stringData": {"b": "swordfish", "c": "x", "d": "first\n\"second\""}
        }))
        .expect("an object");
        for (text, expected) in [
            (
                "got \"hunter2\", aHVudGVyMg==, swordfish, c3dvcmRmaXNo, 12345 and \"x\" for x",
                "got \"*****\", *****, *****, *****, ***** and \"*****\" for x",
            ),
            (r#"got "first\n\"second\"""#, "got \"*****\""),
            ("got first\n\"second\"", "got *****"),
        ] {
            let masked = mask(Failure::Transport(text.to_owned()), &secret).to_string();
            assert_eq!(masked, expected);
        }
    }
}
