//! Variable substitution in the results of a build, and their final text.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use sluice_manifest::yaml;
use sluice_types::Digest;

use super::{Error, digest_of};
use crate::envsubst;
use crate::error::ErrorKind;
use crate::id::Gvk;

/// A label or annotation with this key and the value `disabled` keeps substitution away.
const CONTROL: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// Variables by name. Values may be secret: only names are ever shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Adds variables; those already there are replaced. Line breaks are removed from values.
    pub fn extend<K: Into<String>, V: AsRef<str>>(&mut self, more: impl IntoIterator<Item = (K, V)>) {
        let clean = |(name, value): (K, V)| (name.into(), value.as_ref().replace('\n', ""));
        self.0.extend(more.into_iter().map(clean));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn bad_name(&self) -> Option<&str> {
        let good = |name: &str| {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
                && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
        };
        self.0.keys().map(String::as_str).find(|name| !good(name))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// How to substitute.
#[derive(Clone, Copy, Debug)]
pub struct PostBuild<'v> {
    /// The variables, later sources already laid over earlier ones.
    pub variables: &'v Variables,
    /// Whether to substitute even without variables, so that defaults apply.
    pub always: bool,
    /// Whether an unset variable is an error.
    pub strict: bool,
    /// Bounds.
    pub limits: envsubst::Limits,
}

/// What there is to apply.
#[derive(Clone, PartialEq)]
pub struct Rendered {
    /// The objects, in order.
    pub resources: Vec<Value>,
    /// The same as one text of YAML documents.
    pub yaml: String,
    /// The text's SHA-256.
    pub digest: Digest,
}

/// The content may hold secrets: only its digest is shown.
impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rendered({} objects, {})", self.resources.len(), self.digest)
    }
}

/// Checks the results of a build, substitutes variables where asked to, and writes the final text.
///
/// # Errors
/// The first result without apiVersion, kind or name, or whose substitution failed.
pub fn render_resources(
    resources: Vec<Value>,
    post_build: Option<&PostBuild<'_>>,
) -> Result<Rendered, Error> {
    render_each(resources, post_build, None)
}

/// The same, stopping between resources once `cancelled` says so.
pub(super) fn render_each(
    mut resources: Vec<Value>,
    post_build: Option<&PostBuild<'_>>,
    cancelled: Option<&(dyn Fn() -> bool + Sync)>,
) -> Result<Rendered, Error> {
    let mut whole = String::new();
    let mut text = String::new();
    for (at, resource) in resources.iter_mut().enumerate() {
        if cancelled.is_some_and(|cancelled| cancelled()) {
            return Err(Error::Build(crate::Error::new(ErrorKind::Cancelled, "the build was cancelled")));
        }
        let subject = subject(resource)?;
        text.clear();
        yaml::emit_v2_into(resource, &mut text);
        if let Some(post_build) = post_build
            && let Some(changed) = substitute(resource, &text, post_build)
                .map_err(|message| Error::PostBuild { subject, message })?
        {
            *resource = changed;
            text.clear();
            yaml::emit_v2_into(resource, &mut text);
        }
        if at > 0 {
            whole.push_str("---\n");
        }
        whole.push_str(&text);
    }
    let digest = digest_of(&whole);
    Ok(Rendered { resources, yaml: whole, digest })
}

fn subject(resource: &Value) -> Result<String, Error> {
    let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let gvk = Gvk::new(api_version, kind);
    if api_version.is_empty() || kind.is_empty() || name.is_empty() {
        return Err(Error::Nameless(format!("{gvk}/{name}")));
    }
    Ok(format!("{gvk}/{name}"))
}

fn is_disabled(resource: &Value) -> bool {
    ["labels", "annotations"].iter().any(|field| {
        resource.get("metadata").and_then(|m| m.get(field)?.get(CONTROL)).and_then(Value::as_str)
            == Some("disabled")
    })
}

/// The resource after substitution, or `None` when it stays as it is.
fn substitute(resource: &Value, text: &str, post_build: &PostBuild<'_>) -> Result<Option<Value>, String> {
    let variables = post_build.variables;
    if is_disabled(resource) || (variables.is_empty() && !post_build.always) {
        return Ok(None);
    }
    if let Some(name) = variables.bad_name() {
        return Err(format!(
            "envsubst error: '{name}' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'"
        ));
    }
    // Without an expression the text would come back as it is.
    if !text.contains('$') {
        return Ok(None);
    }
    let lookup = |name: &str| variables.get(name);
    let output = envsubst::substitute(text, &lookup, post_build.strict, post_build.limits)
        .map_err(|error| format!("envsubst error: variable substitution failed: {error}"))?;
    let limits = yaml::Limits { bytes: post_build.limits.output, ..yaml::Limits::default() };
    let value = yaml::parse_v2_json(&output, limits)
        .map_err(|error| format!("envsubst error: YAMLToJSON: {error}"))?;
    let kind = match &value {
        Value::Object(_) => return Ok(Some(value)),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    };
    Err(format!(
        "UnmarshalJSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    ))
}
