//! Any bytes as YAML.

use sluice_manifest::yaml::{
    Limits, emit_node, emit_v2, parse_documents, parse_stream, parse_v2_json, parse_v2_stream, read_text,
    to_json, to_json_into,
};

const LIMITS: Limits = Limits { bytes: 1 << 16, documents: 100, depth: 64, nodes: 20_000 };

/// Reads the bytes in every way there is; what was read as JSON is the same after it was written and read.
///
/// # Panics
/// When it is not.
pub(crate) fn yaml(bytes: &[u8]) {
    let Ok(text) = read_text(bytes) else { return };
    let _ = parse_v2_stream(text, LIMITS);
    if let Ok(value) = parse_v2_json(text, LIMITS) {
        check_written(&value);
    }
    for node in parse_documents(text, LIMITS).unwrap_or_default() {
        let _ = emit_node(&node);
    }
    for node in parse_stream(text, LIMITS).unwrap_or_default() {
        let value = to_json(&node);
        assert_eq!(value, to_json_into(node));
        if let Ok(value) = value {
            check_written(&value);
        }
    }
}

/// go-yaml writes such a key as it writes any text, and reads it as a merge.
fn has_merge_key(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(items) => items.iter().any(has_merge_key),
        serde_json::Value::Object(map) => map.iter().any(|(key, value)| key == "<<" || has_merge_key(value)),
        _ => false,
    }
}

fn check_written(value: &serde_json::Value) {
    if has_merge_key(value) {
        return;
    }
    let written = emit_v2(value);
    let read = parse_v2_json(&written, Limits::default());
    let Ok(read) = read else { panic!("{written}\ncannot be read: {read:?}") };
    assert_eq!(emit_v2(&read), written);
}
