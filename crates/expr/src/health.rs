use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{Error, Expression};

/// What a rule says about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not there yet.
    InProgress,
    /// Broken, and waiting will not help.
    Failed,
    /// As desired.
    Current,
}

/// One entry of `healthCheckExprs`, as written.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// `group/version` or `v1`; the version plays no part.
    pub api_version: &'a str,
    /// The kind; when absent or empty the rule is for every kind of the group.
    pub kind: Option<&'a str>,
    /// Whether the object is still on its way.
    pub in_progress: Option<&'a str>,
    /// Whether the object is broken.
    pub failed: Option<&'a str>,
    /// Whether the object is as desired.
    pub current: &'a str,
}

/// Health rules, ready to be asked. Cheap to share behind an `Arc`.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    by_kind: BTreeMap<(String, String), Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    in_progress: Option<Expression>,
    failed: Option<Expression>,
    current: Expression,
}

impl Rules {
    /// Parses all rules.
    ///
    /// # Errors
    /// Configuration errors: not CEL, two rules for one group and kind, no `current`.
    pub fn compile<'a>(rules: impl IntoIterator<Item = Rule<'a>>) -> Result<Self, Error> {
        let mut by_kind = BTreeMap::new();
        for (at, rule) in rules.into_iter().enumerate() {
            let (group, kind) = (group_of(rule.api_version), rule.kind.unwrap_or_default());
            if by_kind.contains_key(&(group.to_owned(), kind.to_owned())) {
                let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
                return Err(Error::Duplicate { kind, at });
            }
            if rule.current.is_empty() {
                return Err(Error::Incomplete(at));
            }
            let parse = |which, text: &str| {
                Expression::parse(text).map_err(|source| Error::Rule { at, which, source: Box::new(source) })
            };
            let given = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
            let compiled = Compiled {
                current: parse("Current", rule.current)?,
                failed: given(rule.failed).map(|text| parse("Failed", text)).transpose()?,
                in_progress: given(rule.in_progress).map(|text| parse("InProgress", text)).transpose()?,
            };
            by_kind.insert((group.to_owned(), kind.to_owned()), compiled);
        }
        Ok(Self { by_kind })
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    /// Whether some rule is meant for this kind.
    #[must_use]
    pub fn covers(&self, group: &str, kind: &str) -> bool {
        self.rule(group, kind).is_some()
    }

    /// Judges an object, or answers `None` where no rule is meant for it. A rule for the kind goes
    /// before a rule for the whole group.
    ///
    /// # Errors
    /// An expression could not be evaluated; the object's state is unknown.
    pub fn judge(&self, object: &Json) -> Option<Result<Health, Error>> {
        let text = |field: &str| object.get(field).and_then(Json::as_str).unwrap_or_default();
        let rule = self.rule(group_of(text("apiVersion")), text("kind"))?;
        Some(rule.judge(object))
    }

    fn rule(&self, group: &str, kind: &str) -> Option<&Compiled> {
        if self.by_kind.is_empty() {
            return None;
        }
        let key = |kind: &str| (group.to_owned(), kind.to_owned());
        self.by_kind.get(&key(kind)).or_else(|| self.by_kind.get(&key("")))
    }
}

impl Compiled {
    fn judge(&self, object: &Json) -> Result<Health, Error> {
        if lags(object) {
            return Ok(Health::InProgress);
        }
        let holds = |expression: &Expression| {
            let fields = object.as_object().into_iter().flatten();
            expression.holds(fields.map(|(name, value)| (name.as_str(), value)))
        };
        if self.in_progress.as_ref().map(holds).transpose()? == Some(true) {
            return Ok(Health::InProgress);
        }
        if self.failed.as_ref().map(holds).transpose()? == Some(true) {
            return Ok(Health::Failed);
        }
        Ok(if holds(&self.current)? { Health::Current } else { Health::InProgress })
    }
}

/// Whether the object's own controller has not seen its newest generation yet.
fn lags(object: &Json) -> bool {
    let observed = object.pointer("/status/observedGeneration").and_then(Json::as_i64);
    let generation = object.pointer("/metadata/generation").and_then(Json::as_i64).unwrap_or_default();
    observed.is_some_and(|observed| observed != generation)
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
