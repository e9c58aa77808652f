//! Picking resources by patterns, labels and annotations.

use std::collections::BTreeMap;

use regex::Regex;

use crate::error::{Result, bad};
use crate::id::{IdRef, effective_namespace, split_api_version};
use crate::kustomization::Selector;
use crate::pattern::compile;
use crate::resource::Resource;
use crate::scope::is_cluster_scoped;

/// A pattern that must match the whole text; the empty one matches everything.
#[derive(Debug)]
enum Whole {
    Anything,
    Literal(String),
    Pattern(Regex),
}

impl Whole {
    fn new(pattern: &str) -> Result<Self> {
        if pattern.is_empty() {
            return Ok(Self::Anything);
        }
        if pattern.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'/' || b == b'_') {
            return Ok(Self::Literal(pattern.to_owned()));
        }
        compile(&format!("^(?:{pattern})$")).map(Self::Pattern)
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Literal(literal) => literal == text,
            Self::Pattern(regex) => regex.is_match(text),
        }
    }
}

/// A compiled selector.
#[derive(Debug)]
pub(crate) struct Pattern {
    group: Whole,
    version: Whole,
    kind: Whole,
    name: Whole,
    namespace: Whole,
    labels: Requirements,
    annotations: Requirements,
}

impl Pattern {
    pub(crate) fn new(selector: &Selector) -> Result<Self> {
        Ok(Self {
            group: Whole::new(&selector.group)?,
            version: Whole::new(&selector.version)?,
            kind: Whole::new(&selector.kind)?,
            name: Whole::new(&selector.name)?,
            namespace: Whole::new(&selector.namespace)?,
            labels: Requirements::parse(&selector.label_selector)?,
            annotations: Requirements::parse(&selector.annotation_selector)?,
        })
    }

    /// Whether a patch or validator with this target is for the resource.
    pub(crate) fn selects(&self, resource: &Resource) -> bool {
        if !self.kind.matches(resource.kind()) {
            return false;
        }
        let (group, version) = split_api_version(resource.api_version());
        let first = resource.history.former.first();
        let scoped = |kind: &str| is_cluster_scoped(group, version, kind);
        let (name, kind) = (resource.name(), resource.kind());
        let namespace = effective_namespace(scoped(kind), resource.namespace());
        let first_namespace =
            first.map_or(namespace, |first| effective_namespace(scoped(&first.kind), &first.namespace));
        (self.namespace.matches(first_namespace) || self.namespace.matches(namespace))
            && (first.is_some_and(|first| self.name.matches(&first.name)) || self.name.matches(name))
            && self.group.matches(group)
            && self.version.matches(version)
            && self.marks(resource)
    }

    /// The one name that is selected, where there is only one.
    pub(crate) fn only_name(&self) -> Option<&str> {
        match &self.name {
            Whole::Literal(name) => Some(name),
            Whole::Anything | Whole::Pattern(_) => None,
        }
    }

    /// Whether the identity alone passes.
    pub(crate) fn selects_id(&self, id: &IdRef<'_>) -> bool {
        self.group.matches(id.group)
            && self.version.matches(id.version)
            && self.kind.matches(id.kind)
            && self.name.matches(id.name)
            && self.namespace.matches(id.namespace)
    }

    /// Whether labels and annotations pass.
    pub(crate) fn marks(&self, resource: &Resource) -> bool {
        (self.labels.0.is_empty() || self.labels.matches(&resource.labels()))
            && (self.annotations.0.is_empty() || self.annotations.matches(&resource.annotations()))
    }
}

#[derive(Debug, PartialEq)]
enum Requirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Above(String, i64),
    Below(String, i64),
}

/// A label selector.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Requirements(Vec<Requirement>);

impl Requirements {
    /// Reads a selector in the syntax of `kubectl -l`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parts: Vec<String> = vec![String::new()];
        let mut depth = 0_u32;
        for c in text.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    parts.push(String::new());
                    continue;
                }
                _ => {}
            }
            if let Some(last) = parts.last_mut() {
                last.push(c);
            }
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        parts.iter().map(|part| parse_one(part.trim())).collect::<Result<_>>().map(Self)
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let number = |key: &String| labels.get(key).and_then(|value| value.parse::<i64>().ok());
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Above(key, bound) => number(key).is_some_and(|value| value > *bound),
            Requirement::Below(key, bound) => number(key).is_some_and(|value| value < *bound),
        })
    }
}

fn key_of(text: &str) -> Result<String> {
    let key = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if key.is_empty() || !key.chars().all(fits) {
        return Err(bad!("unable to parse requirement: invalid label key {key:?}"));
    }
    Ok(key.to_owned())
}

fn parse_one(text: &str) -> Result<Requirement> {
    if let Some(key) = text.strip_prefix('!') {
        return key_of(key).map(Requirement::Absent);
    }
    if let Some((head, list)) = text.split_once('(') {
        let values = list.trim_end().strip_suffix(')');
        let values =
            values.ok_or_else(|| bad!("unable to parse requirement: found '{text}', expected: ')'"))?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let head = head.trim_end();
        if let Some(key) = head.strip_suffix("notin").filter(|key| key.ends_with(char::is_whitespace)) {
            return Ok(Requirement::NotIn(key_of(key)?, values));
        }
        if let Some(key) = head.strip_suffix("in").filter(|key| key.ends_with(char::is_whitespace)) {
            return Ok(Requirement::In(key_of(key)?, values));
        }
        return Err(bad!("unable to parse requirement: found '{head}', expected: in, notin"));
    }
    for word in [" in ", " notin "] {
        if let Some((_, list)) = text.split_once(word) {
            let found = list.split_whitespace().next().unwrap_or("");
            return Err(bad!("unable to parse requirement: found '{found}' expected: '('"));
        }
    }
    let value = |text: &str| -> Result<String> {
        let value = text.trim();
        if let Some(at) = value.find(['=', '!', '<', '>']).filter(|at| *at > 0) {
            let sign = value.get(at..=at).unwrap_or("");
            return Err(bad!("found '{sign}', expected: ',' or 'end of string'"));
        }
        if value.chars().any(|c| matches!(c, '=' | '!' | '<' | '>' | '(' | ')') || c.is_whitespace()) {
            return Err(bad!("unable to parse requirement: found '{value}', expected: identifier"));
        }
        Ok(value.to_owned())
    };
    let bound = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map_err(|_| bad!("values for 'Gt', 'Lt' operators must be integers: {text:?}"))
    };
    if let Some((key, rest)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key_of(key)?, vec![value(rest)?]));
    }
    if let Some((key, rest)) = text.split_once('=') {
        return Ok(Requirement::In(key_of(key)?, vec![value(rest.strip_prefix('=').unwrap_or(rest))?]));
    }
    if let Some((key, rest)) = text.split_once('>') {
        return Ok(Requirement::Above(key_of(key)?, bound(rest)?));
    }
    if let Some((key, rest)) = text.split_once('<') {
        return Ok(Requirement::Below(key_of(key)?, bound(rest)?));
    }
    key_of(text).map(Requirement::Exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_read_as_kubectl_reads_them() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b.c/d".to_owned(), "x".to_owned())]);
        let table = [
            ("", true),
            ("a", true),
            ("!a", false),
            ("a=1", true),
            ("a==1,b.c/d=x", true),
            ("a!=1", false),
            ("z!=1", true),
            ("a in (0, 1)", true),
            ("a notin (0, 1)", false),
            ("z notin (0)", true),
            ("a > 0", true),
            ("a<1", false),
        ];
        for (text, wanted) in table {
            assert_eq!(Requirements::parse(text).unwrap().matches(&labels), wanted, "{text}");
        }
        for text in ["a in (1", "a within (1)", "=x", "a=b=c", "a>x"] {
            assert!(Requirements::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_text_only() {
        for (pattern, text, wanted) in
            [("a", "ab", false), ("a|b", "b", true), ("a.*", "ab", true), ("", "x", true)]
        {
            assert_eq!(Whole::new(pattern).unwrap().matches(text), wanted, "{pattern} {text}");
        }
    }
}
