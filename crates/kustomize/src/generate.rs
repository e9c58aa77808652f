//! ConfigMaps and Secrets made from literals and files.

use std::collections::BTreeMap;

use base64::Engine as _;
use sluice_manifest::yaml::{Node, Style};

use crate::error::{Result, bad};
use crate::history::Behavior;
use crate::kustomization::{Generator, GeneratorOptions};
use crate::loader::Loader;
use crate::node;
use crate::resource::Resource;
use crate::resources::quote;
use crate::session::Session;

/// Puts a kustomization's options under a generator's own.
pub(crate) fn merge_options(
    global: Option<&GeneratorOptions>,
    own: Option<&GeneratorOptions>,
) -> Option<GeneratorOptions> {
    match (global, own) {
        (None, None) => None,
        (Some(only), None) | (None, Some(only)) => Some(only.clone()),
        (Some(global), Some(own)) => {
            let mut merged = global.clone();
            merged.labels.extend(own.labels.clone());
            merged.annotations.extend(own.annotations.clone());
            merged.disable_name_suffix_hash |= own.disable_name_suffix_hash;
            merged.immutable |= own.immutable;
            Some(merged)
        }
    }
}

fn wrapped(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// Strips one pair of quotes around the whole text.
fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote) {
            return text.get(1..text.len() - 1).unwrap_or(text);
        }
    }
    text
}

type Pairs = Vec<(String, Vec<u8>)>;

fn env_pairs(content: &[u8], pairs: &mut Pairs) -> Result<()> {
    for (at, line) in content.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(text) = std::str::from_utf8(line) else {
            return Err(bad!("line {at} has invalid utf8 bytes : {}", String::from_utf8_lossy(line)));
        };
        let text = if at == 0 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            continue;
        }
        pairs.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    Ok(())
}

fn literal(source: &str) -> Result<(String, Vec<u8>)> {
    match source.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), unquote(value).as_bytes().to_vec())),
        _ => Err(bad!("invalid literal source {source}, expected key=value")),
    }
}

fn file_source(source: &str) -> Result<(&str, &str)> {
    match source.matches('=').count() {
        0 => Ok((source.trim_end_matches('/').rsplit('/').next().unwrap_or(source), source)),
        1 => match source.split_once('=') {
            Some(("", path)) => {
                Err(bad!("missing key name for file path {} in source {}", quote(path), quote(source)))
            }
            Some((key, "")) => {
                Err(bad!("missing file path for key name {} in source {}", quote(key), quote(source)))
            }
            Some((key, path)) => Ok((key, path)),
            None => Err(bad!("invalid file source {source}")),
        },
        _ => Err(bad!("source {} key name or file path contains '='", quote(source))),
    }
}

fn pairs(session: &Session<'_>, loader: &Loader, generator: &Generator) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    for path in &generator.envs {
        loader
            .load(session, path)
            .and_then(|(file, content)| {
                env_pairs(&content, &mut pairs).map_err(|error| error.located(file.as_str(), None))
            })
            .map_err(|error| error.wrap(format!("env source files: {}", wrapped(&generator.envs))))?;
    }
    for source in &generator.literals {
        let pair = literal(source)
            .map_err(|error| error.wrap(format!("literal sources {}", wrapped(&generator.literals))))?;
        pairs.push(pair);
    }
    for source in &generator.files {
        let load = || {
            let (key, path) = file_source(source)?;
            let (_, content) = loader.load(session, path)?;
            Ok((key.to_owned(), content.to_vec()))
        };
        let pair = load().map_err(|error: crate::error::Error| {
            error.wrap(format!("file sources: {}", wrapped(&generator.files)))
        })?;
        pairs.push(pair);
    }
    Ok(pairs)
}

/// Base64 in lines of 70 characters once there are as many.
fn encode(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    if text.len() < 70 {
        return text;
    }
    let mut lines = String::with_capacity(text.len() + text.len() / 70 + 1);
    for line in text.as_bytes().chunks(70) {
        lines.extend(line.iter().map(|b| char::from(*b)));
        lines.push('\n');
    }
    lines
}

fn single_quoted(text: &str) -> Node {
    let mut node = Node::string(text);
    node::set_style(&mut node, Style::Single);
    node
}

/// What every object is begun with: text, upstream, so that these nodes have a place in it.
fn base(kind: &str) -> Node {
    let at = |node: Node, line, column| Node { line, column, ..node };
    let pair = |line, key: &str, value: &str| {
        (at(Node::string(key), line, 1), at(Node::string(value), line, key.len() as u32 + 3))
    };
    at(Node::mapping(vec![pair(2, "apiVersion", "v1"), pair(3, "kind", kind)]), 2, 1)
}

/// Makes the object of one generator entry.
pub(crate) fn generate(
    session: &Session<'_>,
    loader: &Loader,
    kind: &str,
    generator: &Generator,
    options: Option<&GeneratorOptions>,
) -> Result<Resource> {
    if generator.name.is_empty() {
        return Err(bad!("a configmap must have a name"));
    }
    let is_secret = kind == "Secret";
    let (mut data, mut binary) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in pairs(session, loader, generator).map_err(|error| error.wrap("loading KV pairs"))? {
        let taken = data.contains_key(&key) || binary.contains_key(&key);
        if taken {
            return Err(bad!("configmap {} illegally repeats the key `{key}`", generator.name));
        }
        if is_secret {
            data.insert(key, encode(&value));
        } else {
            match String::from_utf8(value) {
                Ok(text) => data.insert(key, text),
                Err(error) => binary.insert(key, encode(error.as_bytes())),
            };
        }
    }
    let mut meta = Node::empty_map();
    let mut fields = vec![("name", Node::string(generator.name.as_str()))];
    if !generator.namespace.is_empty() {
        fields.push(("namespace", Node::string(generator.namespace.as_str())));
    }
    if let Some(options) = options {
        for (field, map) in [("labels", &options.labels), ("annotations", &options.annotations)] {
            if !map.is_empty() {
                fields.push((field, node::text_map(map, single_quoted)));
            }
        }
    }
    fields.into_iter().for_each(|(field, value)| node::set_field(&mut meta, field, value));
    let mut fields = vec![("metadata", meta)];
    if is_secret {
        let secret_type = if generator.kind.is_empty() { "Opaque" } else { &generator.kind };
        fields.push(("type", Node::string(secret_type)));
    }
    // A secret has data even when there is none of it.
    let has_data = is_secret || !data.is_empty();
    let mut contents = [("data", &data, has_data), ("binaryData", &binary, !binary.is_empty())];
    if binary.keys().next() < data.keys().next() {
        contents.reverse();
    }
    for (field, map, _) in contents.into_iter().filter(|(.., present)| *present) {
        fields.push((field, node::text_map(map, node::made_text)));
    }
    if options.is_some_and(|options| options.immutable) {
        fields.push(("immutable", Node::bool(true)));
    }
    let mut object = base(kind);
    fields.into_iter().for_each(|(field, value)| node::set_field(&mut object, field, value));
    let mut resource = Resource::new(object);
    let needs_hash = !options.is_some_and(|options| options.disable_name_suffix_hash);
    resource.mark_generated(Behavior::parse(&generator.behavior), needs_hash);
    resource.ground_annotations();
    Ok(resource)
}
