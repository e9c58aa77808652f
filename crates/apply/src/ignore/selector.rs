//! Which objects a rule is meant for.

use regex::Regex;
use serde_json::Value;
use thiserror::Error as ThisError;

/// A selector over group, version, kind, name, namespace, labels and annotations. Texts are regular
/// expressions over the whole field; an absent one matches everything.
#[derive(Clone, Debug)]
pub struct Selector {
    fields: Vec<(Field, Regex)>,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Group,
    Version,
    Kind,
    Name,
    Namespace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// Why a selector is not one. Only a change of the spec can help.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum SelectorError {
    /// A field is not a regular expression, or too large a one.
    #[error("invalid regular expression {0:?}")]
    Pattern(String),
    /// A label or annotation selector is malformed.
    #[error("unable to parse requirement: {0:?}")]
    Requirement(String),
}

/// Longest pattern accepted.
const LONGEST: usize = 4096;

impl Selector {
    /// Parses a selector; empty texts count as absent.
    ///
    /// # Errors
    /// A pattern or a requirement is malformed.
    pub fn new(
        group: Option<&str>,
        version: Option<&str>,
        kind: Option<&str>,
        name: Option<&str>,
        namespace: Option<&str>,
        labels: Option<&str>,
        annotations: Option<&str>,
    ) -> Result<Self, SelectorError> {
        let given = [
            (Field::Group, group),
            (Field::Version, version),
            (Field::Kind, kind),
            (Field::Name, name),
            (Field::Namespace, namespace),
        ];
        let mut fields = Vec::new();
        for (field, text) in given {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                fields.push((field, pattern(text)?));
            }
        }
        Ok(Self {
            fields,
            labels: requirements(labels.unwrap_or_default())?,
            annotations: requirements(annotations.unwrap_or_default())?,
        })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let fields = self.fields.iter().all(|(field, regex)| {
            regex.is_match(match field {
                Field::Group => group,
                Field::Version => version,
                Field::Kind => text("/kind"),
                Field::Name => text("/metadata/name"),
                Field::Namespace => text("/metadata/namespace"),
            })
        });
        let holds = |all: &[Requirement], place: &str| {
            let map = object.pointer(place);
            all.iter().all(|requirement| requirement.holds(map))
        };
        fields && holds(&self.labels, "/metadata/labels") && holds(&self.annotations, "/metadata/annotations")
    }
}

fn pattern(text: &str) -> Result<Regex, SelectorError> {
    let error = || SelectorError::Pattern(text.chars().take(200).collect());
    if text.len() > LONGEST {
        return Err(error());
    }
    regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(1 << 20).build().map_err(|_| error())
}

impl Requirement {
    fn holds(&self, map: Option<&Value>) -> bool {
        let value = map.and_then(|map| map.get(&self.key)).and_then(Value::as_str);
        let among = |values: &[String]| value.is_some_and(|value| values.iter().any(|v| v == value));
        match &self.test {
            Test::In(values) => among(values),
            Test::NotIn(values) => !among(values),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

/// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, byte) in text.bytes().chain([b',']).enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                let part = text.get(start..at).unwrap_or_default().trim();
                if !part.is_empty() {
                    found.push(requirement(part)?);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(SelectorError::Requirement(text.chars().take(200).collect()));
    }
    Ok(found)
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let error = || SelectorError::Requirement(part.chars().take(200).collect());
    let make = |key: &str, test: Test| {
        let key = key.trim();
        let valid = !key.is_empty() && !key.contains([' ', '(', ')', '=', '!', ',']);
        valid.then(|| Requirement { key: key.to_owned(), test }).ok_or_else(error)
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Test::NotIn(one(value)));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Test::In(one(value)));
    }
    if let Some(key) = part.strip_prefix('!') {
        return make(key, Test::Absent);
    }
    if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => make(key, Test::In(values)),
            (Some(key), Some("notin"), None) => make(key, Test::NotIn(values)),
            _ => Err(error()),
        };
    }
    make(part, Test::Exists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_are_those_of_kubernetes() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "gold"}}});
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("other!=x", true),
            ("app in (db, web),tier", true),
            ("app notin (web)", false),
            ("other notin (web)", true),
            ("!other, app", true),
            ("!app", false),
        ] {
            let selector = Selector::new(None, None, None, None, None, Some(text), None);
            assert_eq!(selector.expect(text).matches(&object), expected, "{text}");
        }
        for text in ["app in (a", "a b c", "in (x)", "=x", "a in b (c)"] {
            let selector = Selector::new(None, None, None, None, None, None, Some(text));
            assert!(selector.is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_cover_the_whole_field() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web-1"}});
        let of = |group, kind, name| {
            Selector::new(group, None, kind, name, None, None, None).map(|s| s.matches(&object))
        };
        assert_eq!(of(Some("apps"), Some("Deploy.*"), Some("web-\\d")), Ok(true));
        assert_eq!(of(None, Some("Deploy"), None), Ok(false));
        assert_eq!(of(None, Some("Pod|Deployment"), None), Ok(true));
        assert_eq!(of(Some(""), None, None), Ok(true));
        assert_eq!(of(None, Some("("), None), Err(SelectorError::Pattern("(".into())));
    }
}
