//! Reading a request: where it goes, what it wants and who sends it.

use std::collections::HashMap;

use http::request::Parts;
use http::{HeaderMap, Method};

use crate::status::Refusal;
use crate::write::Validation;

/// Which of the three representations a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Full,
    Metadata,
    Table,
}

/// A resource path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
}

impl Target {
    /// Parses `/api/v1/…` and `/apis/group/version/…`; `None` for every other path.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let words: Vec<String> = path.split('/').filter(|word| !word.is_empty()).map(unescape).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (group, version, rest) = match words.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // Of the namespace itself only these are subresources; everything else is content.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, "", String::new()),
            [resource, name] => (*resource, *name, String::new()),
            [resource, name, sub @ ..] => (*resource, *name, sub.join("/")),
            [] => return None,
        };
        Some(Self {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            subresource,
        })
    }
}

/// Percent-decoding; `+` is left alone.
fn unescape(text: &str) -> String {
    decode_percent(text, false)
}

fn decode_percent(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
            }
            (b'+', _) if plus => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Query parameters; of repeated ones the last counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode_percent(key, true), decode_percent(value, true))
                })
                .collect(),
        )
    }

    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1" | "True")
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).parse().ok()
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.get("dryRun") == "All"
    }

    /// What to do about unknown fields; other words were refused with the options.
    pub(crate) fn validation(&self) -> Validation {
        match self.get("fieldValidation") {
            "Strict" => Validation::Strict,
            "Ignore" => Validation::Ignore,
            _ => Validation::Warn,
        }
    }
}

/// The representation asked for, from the first usable part of `Accept`.
pub(crate) fn form(headers: &HeaderMap) -> Form {
    let accept = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    for part in accept.split(',') {
        if !part.trim_start().starts_with("application/json") && !part.trim_start().starts_with("*/*") {
            continue;
        }
        if part.contains("as=Table") {
            return Form::Table;
        }
        if part.contains("as=PartialObjectMetadata") {
            return Form::Metadata;
        }
        return Form::Full;
    }
    Form::Full
}

/// The field manager: the parameter, else the first word of the user agent.
pub(crate) fn manager(query: &Query, headers: &HeaderMap) -> String {
    let given = query.get("fieldManager");
    if !given.is_empty() {
        return given.to_owned();
    }
    let agent =
        headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown");
    agent.split('/').next().unwrap_or("unknown").to_owned()
}

/// The verb that authorization sees.
pub(crate) fn verb(parts: &Parts, target: &Target, query: &Query) -> Result<&'static str, Refusal> {
    let named = !target.name.is_empty();
    Ok(match parts.method {
        Method::GET if query.flag("watch") => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => return Err(Refusal::method_not_allowed()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_server_reads_them() {
        let cases = [
            ("/api/v1/namespaces", ["", "v1", "namespaces", "", "", ""]),
            ("/api/v1/namespaces/a", ["", "v1", "namespaces", "", "a", ""]),
            ("/api/v1/namespaces/a/finalize", ["", "v1", "namespaces", "", "a", "finalize"]),
            ("/api/v1/namespaces/a/pods", ["", "v1", "pods", "a", "", ""]),
            (
                "/apis/apps/v1/namespaces/a/deployments/d/status",
                ["apps", "v1", "deployments", "a", "d", "status"],
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Ax",
                ["rbac.authorization.k8s.io", "v1", "clusterroles", "", "system:x", ""],
            ),
        ];
        for (path, [group, version, resource, namespace, name, subresource]) in cases {
            let expected = Target {
                group: group.into(),
                version: version.into(),
                resource: resource.into(),
                namespace: namespace.into(),
                name: name.into(),
                subresource: subresource.into(),
            };
            assert_eq!(Target::parse(path), Some(expected), "{path}");
        }
        assert_eq!(Target::parse("/version"), None);
    }
}
