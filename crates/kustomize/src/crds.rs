//! Fields derived from the definitions listed under `crds`.

use serde::de::IgnoredAny;
use serde_json::Value;
use sluice_manifest::yaml;

use crate::config::{Config, Referrers};
use crate::error::{Result, bad};
use crate::fieldspec::{FieldSpec, merge_one};
use crate::id::Gvk;
use crate::session::Session;

/// Properties are followed this deep; definitions may refer to each other in a ring.
const DEEPEST: usize = 32;

/// Reads a file of definitions: what begins like JSON has to be JSON to its end.
///
/// # Errors
/// What is neither JSON nor YAML, and what passes a bound of `limits`.
pub(crate) fn read(text: &str, limits: yaml::Limits) -> std::result::Result<Value, yaml::Error> {
    if text.starts_with('{')
        && let Err(error) = serde_json::from_str::<IgnoredAny>(text)
    {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let found = line.get(error.column().saturating_sub(1)..).and_then(|rest| rest.chars().next());
        return Err(yaml::Error::Json(match found {
            Some(found) if error.to_string().starts_with("trailing characters") => {
                format!("invalid character '{found}' after top-level value")
            }
            _ => error.to_string(),
        }));
    }
    yaml::parse_v2_json(text, limits)
}

/// Derives fields from one document of definitions.
pub(crate) fn derive(session: &Session<'_>, document: &Value, config: &mut Config) -> Result<()> {
    let Some(definitions) = document.as_object() else {
        return Err(bad!("json: cannot unmarshal into Go value of type accumulator.nameToApiMap"));
    };
    for (name, definition) in definitions {
        let Some(properties) = properties_of(definition) else { continue };
        if ["kind", "apiVersion", "metadata"].iter().all(|key| properties.contains_key(*key)) {
            let kind = name.rsplit('.').next().unwrap_or(name);
            let gvk = Gvk { kind: kind.to_owned(), ..Gvk::default() };
            walk(session, definitions, name, &gvk, &mut Vec::new(), config)?;
        }
    }
    Ok(())
}

fn insensitive<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
}

fn properties_of(definition: &Value) -> Option<&serde_json::Map<String, Value>> {
    insensitive(definition, "schema")?.get("properties")?.as_object()
}

fn walk(
    session: &Session<'_>,
    definitions: &serde_json::Map<String, Value>,
    name: &str,
    gvk: &Gvk,
    path: &mut Vec<String>,
    config: &mut Config,
) -> Result<()> {
    let Some(properties) = definitions.get(name).and_then(properties_of) else { return Ok(()) };
    if path.len() >= DEEPEST {
        return Err(bad!("the definition of {name} is nested too deeply"));
    }
    for (property, schema) in properties {
        // Definitions that refer to others twice are walked twice as often with each step down.
        session.step(1)?;
        path.push(property.clone());
        let text = |key: &str| insensitive(schema, key).and_then(Value::as_str);
        let spec = |more: &[&str]| {
            let parts: Vec<&str> = path.iter().map(String::as_str).chain(more.iter().copied()).collect();
            FieldSpec { gvk: gvk.clone(), path: parts.join("/"), create: false }
        };
        if text("x-kubernetes-annotation").is_some() {
            merge_one(session, &mut config.common_annotations, &spec(&[]))?;
        }
        if text("x-kubernetes-label-selector").is_some() {
            merge_one(session, &mut config.common_labels, &spec(&[]))?;
        }
        if text("x-kubernetes-identity").is_some() {
            merge_one(session, &mut config.name_prefix, &spec(&[]))?;
        }
        if let (Some(version), Some(kind)) =
            (text("x-kubernetes-object-ref-api-version"), text("x-kubernetes-object-ref-kind"))
        {
            let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let target = Gvk { group: String::new(), version: version.to_owned(), kind: kind.to_owned() };
            config.add_referrers(session, &Referrers { target, fields: vec![spec(&[key])] })?;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let reference = reference.to_owned();
            walk(session, definitions, &reference, gvk, path, config)?;
        }
        path.pop();
    }
    Ok(())
}
