//! What has to hold for the objects of a text.

use sluice_manifest::yaml::Node;

use crate::error::{Result, bad};
use crate::node;

/// Whether the text was cut into several documents, be they empty.
pub(crate) fn has_separator(text: &str) -> bool {
    text.match_indices("\n---").any(|(at, _)| text.get(at + 4..).is_some_and(|rest| rest.contains('\n')))
}

pub(crate) fn check_objects(nodes: Vec<Node>, mut keep: impl FnMut(Node)) -> Result<()> {
    for object in nodes {
        if node::is_nil_or_empty(&object) {
            continue;
        }
        check_meta(&object).map_err(|error| error.at_line(Some(object.line)))?;
        keep(object);
    }
    Ok(())
}

/// Refuses what lacks kind or name.
pub(crate) fn check_meta(object: &Node) -> Result<()> {
    if !object.is_mapping() {
        return Err(bad!("missing Resource metadata"));
    }
    let api_version = node::key_text(object, "apiVersion");
    let kind = node::key_text(object, "kind");
    let meta = object.get("metadata").filter(|meta| !node::is_nil_or_empty(meta));
    if api_version.is_empty() && kind.is_empty() && meta.is_none() {
        return Err(bad!("missing Resource metadata"));
    }
    let text = |key: &str| meta.map_or("", |meta| node::key_text(meta, key)).to_owned();
    let shown = || {
        let map = |key: &str| {
            let texts = crate::resource::texts(meta.and_then(|meta| meta.get(key)));
            texts.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(" ")
        };
        format!(
            "{{{{{api_version} {kind}}} {{{{{} {}}} map[{}] map[{}]}}}}",
            text("name"),
            text("namespace"),
            map("labels"),
            map("annotations")
        )
    };
    if kind.is_empty() {
        return Err(bad!("missing kind in object {}", shown()));
    }
    if !kind.ends_with("List") && text("name").is_empty() {
        return Err(bad!("missing metadata.name in object {}", shown()));
    }
    Ok(())
}
