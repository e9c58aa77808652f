//! Value rules of custom resource schemas: bounds, patterns, enumerations, junctors and CEL.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::status::Cause;

/// What a schema demands of a value beyond its structure.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    kind: Option<String>,
    choices: Vec<Value>,
    minimum: Option<(f64, bool)>,
    maximum: Option<(f64, bool)>,
    lengths: (Option<usize>, Option<usize>),
    pattern: Option<(String, Option<Regex>)>,
    items: (Option<usize>, Option<usize>),
    properties: (Option<usize>, Option<usize>),
    format: Option<String>,
    required: Vec<String>,
    fields: BTreeMap<String, Rules>,
    all_of: Vec<Rules>,
    any_of: Vec<Rules>,
    one_of: Vec<Rules>,
    not: Option<Box<Rules>>,
    expressions: Vec<Expression>,
}

#[derive(Debug)]
struct Expression {
    text: String,
    message: Option<String>,
    program: Option<cel::Program>,
    /// Compares with the previous value, so it is skipped when there is none.
    transition: bool,
}

fn count(schema: &Value, key: &str) -> Option<usize> {
    schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

fn each(schema: &Value, key: &str) -> Vec<Rules> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten().map(Rules::inner).collect()
}

impl Rules {
    /// The rules that stand directly on one structural node.
    pub(crate) fn of(schema: &Value) -> Option<Box<Rules>> {
        let rules = Self::read(schema, false);
        let idle = rules.choices.is_empty()
            && rules.minimum.is_none()
            && rules.maximum.is_none()
            && rules.lengths == (None, None)
            && rules.pattern.is_none()
            && rules.items == (None, None)
            && rules.properties == (None, None)
            && rules.format.is_none()
            && rules.all_of.is_empty()
            && rules.any_of.is_empty()
            && rules.one_of.is_empty()
            && rules.not.is_none()
            && rules.expressions.is_empty();
        (!idle).then(|| Box::new(rules))
    }

    /// The rules of a schema inside a junctor, with its fields.
    fn inner(schema: &Value) -> Rules {
        Self::read(schema, true)
    }

    fn read(schema: &Value, nested: bool) -> Rules {
        let bound = |key: &str, exclusive: &str| {
            let exclusive = schema.get(exclusive).and_then(Value::as_bool).unwrap_or(false);
            schema.get(key).and_then(Value::as_f64).map(|limit| (limit, exclusive))
        };
        let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut rules = Rules {
            choices: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            lengths: (count(schema, "minLength"), count(schema, "maxLength")),
            pattern: text("pattern").map(|p| (p.clone(), Regex::new(&p).ok())),
            items: (count(schema, "minItems"), count(schema, "maxItems")),
            properties: (count(schema, "minProperties"), count(schema, "maxProperties")),
            format: text("format"),
            all_of: each(schema, "allOf"),
            any_of: each(schema, "anyOf"),
            one_of: each(schema, "oneOf"),
            not: schema.get("not").map(|inner| Box::new(Self::inner(inner))),
            ..Rules::default()
        };
        if schema.get("x-kubernetes-int-or-string").and_then(Value::as_bool) == Some(true) {
            rules.any_of.clear();
        }
        let expressions = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        rules.expressions = expressions.into_iter().flatten().filter_map(Expression::read).collect();
        if nested {
            rules.kind = text("type");
            let names = schema.get("required").and_then(Value::as_array);
            rules.required =
                names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                rules.fields.insert(name.clone(), Self::inner(field));
            }
        }
        rules
    }

    /// Appends what `value` does wrong to `causes`.
    pub(crate) fn check(&self, path: &str, value: &Value, causes: &mut Vec<Cause>) {
        let mut say =
            |detail: String| causes.push(Cause::invalid(path, value, &format!("{path} in body {detail}")));
        match value {
            Value::String(text) => {
                let length = text.chars().count();
                if let Some(least) = self.lengths.0.filter(|least| length < *least) {
                    say(format!("should be at least {least} chars long"));
                }
                if let Some((source, Some(regex))) = &self.pattern
                    && !regex.is_match(text)
                {
                    say(format!("should match '{source}'"));
                }
                if self.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
                    say(format!("must be of type date-time: {text:?}"));
                }
                if let Some(most) = self.lengths.1.filter(|most| length > *most) {
                    causes.push(Cause::new(
                        "FieldValueTooLong",
                        path,
                        format!("Too long: may not be more than {most} bytes"),
                    ));
                }
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                if let Some((limit, exclusive)) = self.minimum
                    && (number < limit || (exclusive && number == limit))
                {
                    say(format!(
                        "should be greater than {}{limit}",
                        if exclusive { "" } else { "or equal to " }
                    ));
                }
                if let Some((limit, exclusive)) = self.maximum
                    && (number > limit || (exclusive && number == limit))
                {
                    say(format!(
                        "should be less than {}{limit}",
                        if exclusive { "" } else { "or equal to " }
                    ));
                }
            }
            Value::Array(list) => {
                if let Some(least) = self.items.0.filter(|least| list.len() < *least) {
                    say(format!("should have at least {least} items"));
                }
                if let Some(most) = self.items.1.filter(|most| list.len() > *most) {
                    let text = format!("Too many: {}: must have at most {most} items", list.len());
                    causes.push(Cause::new("FieldValueTooMany", path, text));
                }
            }
            Value::Object(map) => {
                if let Some(least) = self.properties.0.filter(|least| map.len() < *least) {
                    say(format!("should have at least {least} properties"));
                }
                if let Some(most) = self.properties.1.filter(|most| map.len() > *most) {
                    let text = format!("Too many: {}: must have at most {most} items", map.len());
                    causes.push(Cause::new("FieldValueTooMany", path, text));
                }
            }
            _ => {}
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let known: Vec<String> = self.choices.iter().map(Value::to_string).collect();
            let text = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
            causes.push(Cause::new("FieldValueNotSupported", path, text));
        }
        self.check_junctors(path, value, causes);
    }

    /// Whether there are expressions to evaluate once everything else is right.
    pub(crate) fn has_expressions(&self) -> bool {
        !self.expressions.is_empty()
    }

    /// Evaluates the expressions.
    pub(crate) fn evaluate(&self, path: &str, value: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
        for expression in &self.expressions {
            expression.check(path, value, old, causes);
        }
    }

    fn check_junctors(&self, path: &str, value: &Value, causes: &mut Vec<Cause>) {
        let mut say = |detail: &str| {
            causes.push(Cause::new(
                "FieldValueInvalid",
                "<nil>",
                format!("Invalid value: \"\": \"{path}\" {detail}"),
            ));
        };
        if !self.any_of.is_empty() && !self.any_of.iter().any(|rules| rules.holds(value)) {
            say("must validate at least one schema (anyOf)");
        }
        let found = self.one_of.iter().filter(|rules| rules.holds(value)).count();
        if !self.one_of.is_empty() && found != 1 {
            let count = if found == 0 { "none".to_owned() } else { found.to_string() };
            say(&format!("must validate one and only one schema (oneOf). Found {count} valid alternatives"));
        }
        if self.not.as_ref().is_some_and(|rules| rules.holds(value)) {
            say("must not validate the schema (not)");
        }
        for rules in &self.all_of {
            rules.check_nested(path, value, causes);
        }
    }

    fn check_nested(&self, path: &str, value: &Value, causes: &mut Vec<Cause>) {
        let fits = match self.kind.as_deref() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            _ => true,
        };
        if !fits {
            causes.push(Cause::new("FieldValueTypeInvalid", path, "Invalid value: wrong type"));
        }
        for name in &self.required {
            if value.get(name).is_none() {
                causes.push(Cause::required(format!("{path}.{name}"), ""));
            }
        }
        for (name, rules) in &self.fields {
            if let Some(child) = value.get(name) {
                rules.check_nested(&format!("{path}.{name}"), child, causes);
            }
        }
        self.check(path, value, causes);
    }

    fn holds(&self, value: &Value) -> bool {
        let mut causes = Vec::new();
        self.check_nested("", value, &mut causes);
        causes.is_empty()
    }
}

impl Expression {
    fn read(rule: &Value) -> Option<Self> {
        let text = rule.get("rule")?.as_str()?.to_owned();
        let message = rule.get("message").and_then(Value::as_str).map(str::to_owned);
        // An expression beyond this engine's dialect is not enforced.
        let program = cel::Program::compile(&text).ok();
        let transition = text.contains("oldSelf");
        Some(Self { text, message, program, transition })
    }

    fn check(&self, path: &str, value: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
        let Some(program) = &self.program else { return };
        if self.transition && old.is_none() {
            return;
        }
        let mut context = cel::Context::default();
        if context.add_variable("self", value.clone()).is_err() {
            return;
        }
        if let Some(old) = old
            && context.add_variable("oldSelf", old.clone()).is_err()
        {
            return;
        }
        if let Ok(cel::Value::Bool(false)) = program.execute(&context) {
            let detail = self.message.clone().unwrap_or_else(|| format!("failed rule: {}", self.text));
            causes.push(Cause::new("FieldValueInvalid", path, format!("Invalid value: {detail}")));
        }
    }
}
