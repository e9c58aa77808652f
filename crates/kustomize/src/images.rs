//! Image names, tags and digests.

use regex::Regex;
use sluice_manifest::yaml::{Node, NodeValue};

use crate::error::Result;
use crate::fieldspec::{Create, FieldSpec, visit};
use crate::kustomization::Image;
use crate::node;
use crate::selector::compile;

/// One `images` entry, ready to be applied.
#[derive(Debug)]
pub(crate) struct Images {
    image: Image,
    pattern: Regex,
    fields: Vec<FieldSpec>,
}

/// The parts of an image reference: name, tag, digest.
fn split(image: &str) -> (&str, &str, &str) {
    // A colon before the first slash belongs to a port.
    let start = match image.find('/') {
        Some(at) if at > 0 => at,
        _ => 0,
    };
    let (host, rest) = image.split_at(start);
    let at = rest.find('@');
    let colon = rest.find(':');
    let cut = |at: usize| image.split_at(host.len() + at);
    match (colon, at) {
        (None, None) => (image, "", ""),
        (colon, Some(at)) if colon.is_none_or(|colon| at < colon) => {
            let (name, digest) = cut(at);
            (name, "", digest.strip_prefix('@').unwrap_or(digest))
        }
        (Some(colon), at) => {
            let (name, tail) = cut(colon);
            let tail = tail.strip_prefix(':').unwrap_or(tail);
            match at {
                Some(_) => {
                    let (tag, digest) = tail.split_once('@').unwrap_or((tail, ""));
                    (name, tag, digest)
                }
                None => (name, tail, ""),
            }
        }
        (None, Some(_)) => (image, "", ""),
    }
}

impl Images {
    pub(crate) fn new(image: &Image, fields: &[FieldSpec]) -> Result<Self> {
        // The name goes into the pattern as it is; upstream never quoted it.
        let pattern =
            compile(&format!("^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", image.name))?;
        Ok(Self { image: image.clone(), pattern, fields: fields.to_vec() })
    }

    /// The new reference, or `None` when the entry is about another image.
    fn renamed(&self, reference: &str) -> Option<String> {
        if !self.pattern.is_match(reference) {
            return None;
        }
        let (name, mut tag, mut digest) = split(reference);
        let image = &self.image;
        let name = if image.new_name.is_empty() { name } else { &image.new_name };
        let longer;
        match (image.new_tag.is_empty(), image.digest.is_empty()) {
            (false, false) => (tag, digest) = (&image.new_tag, &image.digest),
            (false, true) => (tag, digest) = (&image.new_tag, ""),
            (true, false) => (tag, digest) = ("", &image.digest),
            (true, true) if !image.tag_suffix.is_empty() => {
                longer = format!("{tag}{}", image.tag_suffix);
                (tag, digest) = (&longer, "");
            }
            (true, true) => {}
        }
        let mut renamed = name.to_owned();
        if !tag.is_empty() {
            renamed.push(':');
            renamed.push_str(tag);
        }
        if !digest.is_empty() {
            renamed.push('@');
            renamed.push_str(digest);
        }
        Some(renamed)
    }

    fn set(&self, at: &mut Node) -> Result<()> {
        let Some(text) = at.text() else { return Err(node::wrong_kind(at, node::Shape::Scalar)) };
        match self.renamed(text) {
            Some(renamed) => node::set_scalar(at, renamed),
            None => Ok(()),
        }
    }

    /// Changes every container found anywhere.
    fn walk(&self, at: &mut Node) -> Result<()> {
        match &mut at.value {
            NodeValue::Scalar { .. } => Ok(()),
            NodeValue::Sequence(items) => items.iter_mut().try_for_each(|item| self.walk(item)),
            NodeValue::Mapping(pairs) => pairs.iter_mut().try_for_each(|(key, value)| {
                self.walk(value)?;
                if !matches!(key.text(), Some("containers" | "initContainers")) {
                    return Ok(());
                }
                for item in value.items_mut().into_iter().flatten() {
                    if !item.is_mapping() && !item.is_null() {
                        return Err(node::wrong_kind(item, node::Shape::Mapping));
                    }
                    if let Some(image) = item.get_mut("image") {
                        self.set(image)?;
                    }
                }
                Ok(())
            }),
        }
    }

    pub(crate) fn walk_object(&self, object: &mut Node) -> Result<()> {
        if node::key_text(object, "kind") == "CustomResourceDefinition" { Ok(()) } else { self.walk(object) }
    }

    pub(crate) fn visit_fields(&self, object: &mut Node) -> Result<()> {
        if node::key_text(object, "kind") == "CustomResourceDefinition" {
            return Ok(());
        }
        self.fields.iter().try_for_each(|spec| visit(object, spec, Create::Nothing, &mut |at| self.set(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_splits_into_name_tag_and_digest() {
        let table = [
            ("nginx", ("nginx", "", "")),
            ("nginx:1", ("nginx", "1", "")),
            ("reg:5000/a", ("reg:5000/a", "", "")),
            ("reg:5000/a:1", ("reg:5000/a", "1", "")),
            ("a@sha256:f", ("a", "", "sha256:f")),
            ("a/b:1@sha256:f", ("a/b", "1", "sha256:f")),
            ("a:", ("a", "", "")),
        ];
        for (text, parts) in table {
            assert_eq!(split(text), parts, "{text}");
        }
    }
}
