//! Image names, tags and digests.

use std::cell::OnceCell;

use regex::Regex;
use sluice_manifest::yaml::{Node, NodeValue};

use crate::error::Result;
use crate::fieldspec::{Create, FieldSpec, visit};
use crate::kustomization::Image;
use crate::node;
use crate::pattern::compile;
use crate::session::Session;

/// One `images` entry. Its pattern is compiled when it is applied and not kept: it may be much larger than its text.
#[derive(Debug)]
pub(crate) struct Images {
    image: Image,
    fields: Vec<FieldSpec>,
}

/// An entry and its pattern.
pub(crate) struct Ready<'i> {
    image: &'i Image,
    fields: &'i [FieldSpec],
    /// Made for the first reference there is: without any, upstream does not look at it either.
    name: OnceCell<Name>,
}

/// What an image must be called. The name goes into upstream's pattern as it is, unquoted.
#[derive(Debug)]
enum Name {
    /// Nothing in it but dots has a meaning of its own.
    Plain(String),
    Pattern(Regex),
}

impl Name {
    fn new(name: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b':' | b'-' | b'_' | b'@');
        if name.bytes().all(plain) {
            return Ok(Self::Plain(name.to_owned()));
        }
        compile(&format!("^{name}{TAG_AND_DIGEST}$")).map(Self::Pattern)
    }

    fn matches(&self, reference: &str) -> bool {
        let name = match self {
            Self::Pattern(pattern) => return pattern.is_match(reference),
            Self::Plain(name) => name,
        };
        let mut rest = reference.chars();
        let same = |wanted: char| rest.next().is_some_and(|c| c == wanted || wanted == '.' && c != '\n');
        name.chars().all(same) && is_tag_and_digest(rest.as_str())
    }
}

/// Steps to compile a pattern takes.
const COMPILING: usize = 1 << 12;

const TAG_AND_DIGEST: &str = "(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?";

/// Whether the text matches [`TAG_AND_DIGEST`].
fn is_tag_and_digest(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'{' | b'}' | b'-');
    let (tag, digest) = match text.split_once('@') {
        Some((tag, digest)) => (tag, digest.strip_prefix("sha256:")),
        None => (text, Some("")),
    };
    let is_tag = tag.is_empty() || tag.strip_prefix(':').is_some_and(|tag| tag.bytes().all(word));
    is_tag && digest.is_some_and(|digest| digest.bytes().all(word))
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
    pub(crate) fn new(image: &Image, fields: Vec<FieldSpec>) -> Self {
        Self { image: image.clone(), fields }
    }

    pub(crate) fn ready(&self) -> Ready<'_> {
        Ready { image: &self.image, fields: &self.fields, name: OnceCell::new() }
    }

    /// How many fields are looked at beside the containers that are found anywhere.
    pub(crate) fn fields(&self) -> usize {
        self.fields.len()
    }
}

impl Ready<'_> {
    fn matches(&self, session: &Session<'_>, reference: &str) -> Result<bool> {
        if let Some(name) = self.name.get() {
            return Ok(name.matches(reference));
        }
        let name = Name::new(&self.image.name)?;
        if let Name::Pattern(_) = name {
            session.step(COMPILING)?;
        }
        Ok(self.name.get_or_init(|| name).matches(reference))
    }

    /// The new form of a reference the entry is about.
    fn renamed(&self, reference: &str) -> String {
        let (name, mut tag, mut digest) = split(reference);
        let image = self.image;
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
        renamed
    }

    fn set(&self, session: &Session<'_>, at: &mut Node) -> Result<()> {
        let Some(text) = at.text() else { return Err(node::wrong_kind(at, node::Shape::Scalar)) };
        if !self.matches(session, text)? {
            return Ok(());
        }
        let renamed = self.renamed(text);
        session.spend(renamed.len())?;
        node::set_scalar(at, renamed)
    }

    /// Changes every container found anywhere.
    fn walk(&self, session: &Session<'_>, at: &mut Node) -> Result<()> {
        match &mut at.value {
            NodeValue::Scalar { .. } => Ok(()),
            NodeValue::Sequence(items) => {
                session.step(items.len())?;
                items.iter_mut().try_for_each(|item| self.walk(session, item))
            }
            NodeValue::Mapping(pairs) => {
                session.step(pairs.len())?;
                for (key, value) in pairs {
                    self.walk(session, value)?;
                    if matches!(key.text(), Some("containers" | "initContainers")) {
                        self.set_all(session, value)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Changes every container of a list.
    fn set_all(&self, session: &Session<'_>, containers: &mut Node) -> Result<()> {
        for item in containers.items_mut().into_iter().flatten() {
            if !item.is_mapping() && !item.is_null() {
                return Err(node::wrong_kind(item, node::Shape::Mapping));
            }
            if let Some(image) = item.get_mut("image") {
                self.set(session, image)?;
            }
        }
        Ok(())
    }

    pub(crate) fn walk_object(&self, session: &Session<'_>, object: &mut Node) -> Result<()> {
        if node::key_text(object, "kind") == "CustomResourceDefinition" {
            return Ok(());
        }
        self.walk(session, object)
    }

    pub(crate) fn visit_fields(&self, session: &Session<'_>, object: &mut Node) -> Result<()> {
        if node::key_text(object, "kind") == "CustomResourceDefinition" {
            return Ok(());
        }
        let mut set = |at: &mut Node| self.set(session, at);
        self.fields.iter().try_for_each(|spec| visit(object, spec, Create::Nothing, &mut set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_matches_what_its_pattern_would() {
        let names = ["nginx", "a.b/c", "reg:5000/a", "", "a@b", "a..b", "docker.io/x-y_z"];
        let ends = [
            "",
            ":",
            ":1.2",
            ":{a}",
            ":a/b",
            "@sha256:",
            "@sha256:f",
            ":1@sha256:f",
            "@md5:f",
            "@",
            ":1:2",
            ":é",
            "x",
        ];
        for name in names {
            let pattern = compile(&format!("^{name}{TAG_AND_DIGEST}$")).unwrap();
            let plain = Name::new(name).unwrap();
            assert!(matches!(plain, Name::Plain(_)));
            for start in names
                .iter()
                .map(|name| (*name).to_owned())
                .chain([name.replace('.', "é"), name.replace('.', "\n")])
            {
                for end in ends {
                    let reference = format!("{start}{end}");
                    assert_eq!(plain.matches(&reference), pattern.is_match(&reference), "{name} {reference}");
                }
            }
        }
        assert!(matches!(Name::new("a+").unwrap(), Name::Pattern(_)));
    }

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
