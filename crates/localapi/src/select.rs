//! Label and field selectors.

use serde_json::Value;

use crate::kinds::{Kind, Version};
use crate::object::meta;
use crate::status::Refusal;

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// A parsed pair of selectors; the empty one matches everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, String, bool)>,
}

/// Fields that selectors may name beside `metadata.name` and `metadata.namespace`.
fn known_fields(kind: &Kind) -> &'static [&'static str] {
    match kind.kind.as_str() {
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        "Secret" => &["type"],
        "Namespace" => &["status.phase"],
        "Service" => &["spec.clusterIP", "spec.type"],
        "Job" => &["status.successful"],
        _ => &[],
    }
}

impl Selector {
    /// Parses both selectors; an unknown field label is refused as the server does.
    pub(crate) fn parse(labels: &str, fields: &str, kind: &Kind, version: &Version) -> Result<Self, Refusal> {
        let mut selector = Self { labels: parse_labels(labels)?, fields: Vec::new() };
        for term in fields.split(',').filter(|term| !term.is_empty()) {
            let (path, wanted, equal) = if let Some((path, wanted)) = term.split_once("!=") {
                (path, wanted, false)
            } else if let Some((path, wanted)) = term.split_once("==") {
                (path, wanted, true)
            } else if let Some((path, wanted)) = term.split_once('=') {
                (path, wanted, true)
            } else {
                let text = format!("invalid selector: '{term}'; can't understand '{term}'");
                return Err(Refusal::bad_request(text));
            };
            let known = ["metadata.name", "metadata.namespace"].contains(&path)
                || known_fields(kind).contains(&path)
                || version.selectable.iter().any(|own| own.trim_start_matches('.') == path);
            if !known {
                let text = if kind.builtin && known_fields(kind).is_empty() {
                    format!(
                        "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                } else {
                    format!("field label not supported: {path}")
                };
                return Err(Refusal::bad_request(text));
            }
            selector.fields.push((path.to_owned(), wanted.to_owned(), equal));
        }
        Ok(selector)
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|(key, test)| {
            let label =
                object.get("metadata").and_then(|m| m.get("labels")).and_then(|labels| labels.get(key));
            let label = label.and_then(Value::as_str);
            match test {
                Test::Exists => label.is_some(),
                Test::Absent => label.is_none(),
                Test::In(values) => label.is_some_and(|label| values.iter().any(|value| value == label)),
                Test::NotIn(values) => label.is_none_or(|label| values.iter().all(|value| value != label)),
            }
        }) && self.fields.iter().all(|(path, wanted, equal)| (field(object, path) == *wanted) == *equal)
    }
}

fn field(object: &Value, path: &str) -> String {
    match path {
        "metadata.name" => meta(object, "name").to_owned(),
        "metadata.namespace" => meta(object, "namespace").to_owned(),
        "source" => {
            object.pointer("/source/component").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        path => match object.pointer(&format!("/{}", path.replace('.', "/"))) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        },
    }
}

fn parse_labels(text: &str) -> Result<Vec<(String, Test)>, Refusal> {
    let mut tests = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut depth = 0usize;
        let end = rest.find(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        });
        let (term, next) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, ""),
        };
        tests.push(parse_term(term.trim())?);
        rest = next.trim();
    }
    Ok(tests)
}

fn parse_term(term: &str) -> Result<(String, Test), Refusal> {
    let values = |list: &str| {
        let inner = list.trim().trim_start_matches('(').trim_end_matches(')');
        inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>()
    };
    if let Some((key, list)) = term.split_once(" notin ") {
        return Ok((key.trim().to_owned(), Test::NotIn(values(list))));
    }
    if let Some((key, list)) = term.split_once(" in ") {
        return Ok((key.trim().to_owned(), Test::In(values(list))));
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Ok((key.trim().to_owned(), Test::NotIn(vec![value.trim().to_owned()])));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok((key.trim().to_owned(), Test::In(vec![value.trim().to_owned()])));
    }
    if let Some(key) = term.strip_prefix('!') {
        return Ok((key.trim().to_owned(), Test::Absent));
    }
    if let Some((_, next)) = term.split_once(char::is_whitespace) {
        let text =
            format!("unable to parse requirement: found '{next}', expected: in, notin, =, ==, !=, gt, lt");
        return Err(Refusal::bad_request(text));
    }
    Ok((term.to_owned(), Test::Exists))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_terms_match_as_documented() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        let cases = [
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (web, api),!gone", true),
            ("app notin (web)", false),
            ("missing notin (x)", true),
            ("missing", false),
        ];
        for (text, expected) in cases {
            let selector = Selector { labels: parse_labels(text).unwrap(), fields: vec![] };
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
    }
}
