//! Where objects come from, for the annotations `buildMetadata` asks for.

use sluice_manifest::yaml::{self, Node};

use crate::error::Result;
use crate::resource::{ORIGIN, Resource, TRANSFORMATIONS};
use crate::session::Session;

/// What configured a generator or transformer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Configurer {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// The provenance of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Origin {
    pub(crate) path: String,
    pub(crate) configured_in: String,
    pub(crate) configured_by: Configurer,
}

/// Joins and cleans two relative paths, keeping leading `..`.
fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() && !(base.is_empty() && path.is_empty()) { ".".to_owned() } else { parts.join("/") }
}

impl Origin {
    /// The origin of what `path` names from here.
    pub(crate) fn append(&self, path: &str) -> Self {
        Self { path: join(&self.path, path), ..self.clone() }
    }

    /// The origin of what a built-in generator or transformer made here.
    pub(crate) fn of_builtin(&self, file: &str, kind: &str) -> Self {
        Self {
            path: String::new(),
            configured_in: join(&self.path, file),
            configured_by: Configurer {
                api_version: "builtin".into(),
                kind: kind.into(),
                ..Configurer::default()
            },
        }
    }

    /// The origin of what a configured plugin made.
    pub(crate) fn of_plugin(config: &Resource) -> Option<Self> {
        let text = config.annotation(ORIGIN)?;
        let path = parse(text)?.get("path").and_then(Node::text).unwrap_or("").to_owned();
        Some(Self {
            path: String::new(),
            configured_in: path,
            configured_by: Configurer {
                api_version: config.api_version().to_owned(),
                kind: config.kind().to_owned(),
                name: config.name().to_owned(),
                namespace: config.namespace().to_owned(),
            },
        })
    }

    fn to_node(&self) -> Node {
        let by = &self.configured_by;
        let mapping = |fields: &[(&str, &str)]| {
            let filled = fields.iter().filter(|(_, text)| !text.is_empty());
            Node::mapping(filled.map(|(key, text)| (Node::string(*key), Node::string(*text))).collect())
        };
        let mut node = mapping(&[("path", &self.path), ("configuredIn", &self.configured_in)]);
        let by = mapping(&[
            ("apiVersion", &by.api_version),
            ("kind", &by.kind),
            ("name", &by.name),
            ("namespace", &by.namespace),
        ]);
        if by.pairs().is_some_and(|pairs| !pairs.is_empty()) {
            node.set("configuredBy", by);
        }
        node
    }

    /// The text of the annotation.
    pub(crate) fn to_text(&self) -> String {
        yaml::emit_node(&self.to_node())
    }

    /// Notes on every resource that this transformed it, or made it when nothing else is known.
    pub(crate) fn note(&self, session: &Session<'_>, list: &mut [Resource]) -> Result<()> {
        let size = self.to_text().len();
        for resource in list {
            session.spend(size)?;
            if resource.annotation(ORIGIN).is_none() {
                resource.annotate(ORIGIN, &self.to_text());
                continue;
            }
            let known = resource.annotation(TRANSFORMATIONS).and_then(parse);
            let mut entries = match known {
                Some(node) => node.items().map(<[_]>::to_vec).unwrap_or_default(),
                None => Vec::new(),
            };
            // All of them are read and written again.
            session.step(NOTE.saturating_mul(entries.len()))?;
            entries.push(self.to_node());
            resource.annotate(TRANSFORMATIONS, &yaml::emit_node(&Node::sequence(entries)));
        }
        Ok(())
    }
}

/// Steps it takes to read and write a note.
const NOTE: usize = 32;

fn parse(text: &str) -> Option<Node> {
    yaml::parse_documents(text, yaml::Limits::default()).ok()?.into_iter().next()
}
