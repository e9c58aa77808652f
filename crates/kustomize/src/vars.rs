//! Variables: `$(NAME)` replaced by fields of other objects.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use sluice_manifest::yaml::{Node, NodeValue, Style, Tag, float_shown};

use crate::error::{Result, bad};
use crate::fieldspec::{Create, FieldSpec, applies, split_path, visit_parts};
use crate::id::{Gvk, IdRef, ResId, effective_namespace};
use crate::kustomization::Var;
use crate::node::{self, Shape};
use crate::path;
use crate::resources::Resources;
use crate::session::Session;

/// The known variables by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vars(BTreeMap<String, Var>);

/// Variables as Go prints the list of their structs, before defaults.
pub(crate) fn show(vars: &[Var]) -> String {
    let list: Vec<String> = vars
        .iter()
        .map(|var| {
            let reference = &var.objref;
            let gvk = Gvk {
                group: reference.group.clone(),
                version: reference.version.clone(),
                kind: reference.kind.clone(),
            };
            format!("{{{} {gvk} {{{}}}}}", var.name, var.fieldref.fieldpath)
        })
        .collect();
    format!("[{}]", list.join(" "))
}

fn show_one(var: &Var, field: &str) -> String {
    format!("{{{} {} {{{field}}}}}", var.name, gvk_of(var))
}

fn field_of(var: &Var) -> &str {
    if var.fieldref.fieldpath.is_empty() { "metadata.name" } else { &var.fieldref.fieldpath }
}

fn gvk_of(var: &Var) -> Gvk {
    let reference = &var.objref;
    if reference.api_version.is_empty() {
        return Gvk {
            group: reference.group.clone(),
            version: reference.version.clone(),
            kind: reference.kind.clone(),
        };
    }
    let gvk = Gvk::new(&reference.api_version, &reference.kind);
    // A version alone leaves the group that was given beside it.
    if reference.api_version.contains('/') { gvk } else { Gvk { group: reference.group.clone(), ..gvk } }
}

impl Vars {
    fn insert(&mut self, var: &Var) -> Result<()> {
        if self.0.contains_key(&var.name) {
            return Err(bad!("var '{}' already encountered", var.name));
        }
        self.0.insert(var.name.clone(), var.clone());
        Ok(())
    }

    /// Adds the variables of another level.
    pub(crate) fn merge(&mut self, other: &Vars) -> Result<()> {
        other.0.values().try_for_each(|var| self.insert(var))
    }

    /// Adds the variables of one kustomization and marks the objects they read.
    pub(crate) fn declare(&mut self, list: &[Var], resources: &mut Resources) -> Result<()> {
        for var in list {
            let reference = &var.objref;
            let wanted = ResId {
                gvk: gvk_of(var),
                name: reference.name.clone(),
                namespace: reference.namespace.clone(),
            };
            // A reference never counts as one to something cluster-scoped: with a namespace it finds nothing there.
            let namespace = effective_namespace(false, &wanted.namespace);
            let fits = |id: &IdRef<'_>| {
                id.same_gvk_and_name(&wanted)
                    && (wanted.namespace.is_empty() || id.effective_namespace() == namespace)
            };
            let mut found = resources.places(&wanted.name);
            found.retain(|at| resources.list().get(*at).is_some_and(|resource| resource.any_id(fits)));
            match found[..] {
                [] => {}
                [at] => resources.change(at, |resource| {
                    resource.variables.push(var.name.clone());
                    Ok(())
                })?,
                _ => {
                    return Err(bad!(
                        "found {} resId matches for var {} (unable to disambiguate)",
                        found.len(),
                        show_one(var, &var.fieldref.fieldpath)
                    ));
                }
            }
        }
        list.iter().try_for_each(|var| self.insert(var))
    }

    /// Replaces all variables; returns the names of those nobody used.
    pub(crate) fn resolve(
        &self,
        session: &Session<'_>,
        resources: &mut Resources,
        fields: &[FieldSpec],
    ) -> Result<Vec<String>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let mut sources: BTreeMap<&str, &Node> = BTreeMap::new();
        for resource in resources.list() {
            for name in &resource.variables {
                sources.entry(name).or_insert(&resource.node);
            }
        }
        let mut values: BTreeMap<&str, Option<Value>> = BTreeMap::new();
        for (name, var) in &self.0 {
            values.insert(name, value(var, sources.get(name.as_str()).copied())?);
        }
        let mut used: BTreeSet<String> = BTreeSet::new();
        let fields: Vec<(&FieldSpec, Vec<String>)> =
            fields.iter().map(|spec| (spec, split_path(&spec.path, '/'))).collect();
        for resource in resources.list_mut() {
            session.step(fields.len())?;
            for (spec, parts) in &fields {
                if applies(&resource.node, spec) {
                    visit_parts(&mut resource.node, spec, parts, Create::Nothing, &mut |at| {
                        replace_in(session, at, &values, &mut used)
                    })?;
                    resource.settle_twins();
                }
            }
        }
        Ok(self.0.keys().filter(|name| !used.contains(*name)).cloned().collect())
    }
}

/// What a variable stands for.
struct Value {
    /// Where it is all there is.
    alone: Node,
    /// Within other text.
    within: String,
}

impl Value {
    /// A scalar as upstream reads it, which is by Go's functions for numbers, whatever YAML makes of it: `010` is
    /// ten, and `0x10` cannot be read.
    fn of(scalar: &Node) -> Option<Self> {
        let text = scalar.text().unwrap_or("");
        let (tag, alone, within) = match scalar.tag {
            Tag::Int => {
                let number = text.parse::<i64>().ok()?.to_string();
                (Tag::Int, number.clone(), number)
            }
            Tag::Float => {
                let number: f64 = without_underscores(text)?.parse().ok()?;
                (Tag::Float, number.to_string(), float_shown(number))
            }
            Tag::Bool => {
                let truth = match text {
                    "true" | "True" | "TRUE" => "true",
                    "false" | "False" | "FALSE" => "false",
                    _ => return None,
                };
                (Tag::Bool, truth.to_owned(), truth.to_owned())
            }
            _ => (Tag::Str, text.to_owned(), text.to_owned()),
        };
        let value = NodeValue::Scalar { text: alone.as_str().into(), style: Style::Plain };
        Some(Self { alone: Node { value, tag, ..Node::string("") }, within })
    }
}

/// Go lets underscores stand between digits.
fn without_underscores(text: &str) -> Option<String> {
    let digit = |part: Option<char>| part.is_some_and(|c| c.is_ascii_digit());
    let parts: Vec<&str> = text.split('_').collect();
    let fits = parts.windows(2).all(|pair| match pair {
        [left, right] => digit(left.chars().next_back()) && digit(right.chars().next()),
        _ => true,
    });
    fits.then(|| parts.concat())
}

/// The value of a variable; `None` when it is no scalar.
fn value(var: &Var, source: Option<&Node>) -> Result<Option<Value>> {
    let Some(source) = source else {
        return Err(bad!(
            "var '{}' cannot be mapped to a field in the set of known resources",
            show_one(var, field_of(var))
        ));
    };
    let field = field_of(var).replace('[', ".").replace(']', "");
    let parts = path::split(&field, '.');
    let lost = || {
        bad!("field specified in var '{}' not found in corresponding resource", show_one(var, field_of(var)))
    };
    match path::lookup(source, &parts) {
        Ok(Some(node)) if node.is_scalar() => Value::of(node).map(Some).ok_or_else(lost),
        Ok(Some(_)) => Ok(None),
        _ => Err(lost()),
    }
}

fn replace_in(
    session: &Session<'_>,
    at: &mut Node,
    values: &BTreeMap<&str, Option<Value>>,
    used: &mut BTreeSet<String>,
) -> Result<()> {
    if at.is_null() {
        return Ok(());
    }
    match node::shape(at) {
        Shape::Scalar => {
            if node::is_text(at) {
                expand(session, at, values, used)?;
            }
            Ok(())
        }
        Shape::Mapping => {
            for (key, value) in at.pairs_mut().into_iter().flatten() {
                if !node::is_text(key) {
                    return Err(bad!("invalid map key: value='{}'", key.text().unwrap_or("")));
                }
                if node::is_text(value) {
                    expand(session, value, values, used)?;
                }
            }
            Ok(())
        }
        Shape::Sequence => {
            for item in at.items_mut().into_iter().flatten() {
                if !node::is_text(item) {
                    return Err(bad!("invalid value type expect a string"));
                }
                expand(session, item, values, used)?;
            }
            Ok(())
        }
    }
}

fn expand(
    session: &Session<'_>,
    at: &mut Node,
    values: &BTreeMap<&str, Option<Value>>,
    used: &mut BTreeSet<String>,
) -> Result<()> {
    let input = at.text().unwrap_or("").to_owned();
    let mut text = String::with_capacity(input.len());
    let mut rest = input.as_str();
    while let Some(dollar) = rest.find('$') {
        let (before, after) = rest.split_at(dollar);
        let after = after.get(1..).unwrap_or("");
        text.push_str(before);
        match after.chars().next() {
            None => {
                text.push('$');
                rest = "";
            }
            Some('$') => {
                text.push('$');
                rest = after.get(1..).unwrap_or("");
            }
            Some('(') => match after.split_once(')') {
                Some((name, tail)) => {
                    let name = name.get(1..).unwrap_or("");
                    match values.get(name) {
                        Some(Some(value)) => {
                            used.insert(name.to_owned());
                            if input.len() == name.len() + 3 {
                                // The variable is all there is: its type comes along.
                                session.spend(value.within.len())?;
                                node::replace(at, value.alone.clone());
                                return Ok(());
                            }
                            session.spend(value.within.len())?;
                            text.push_str(&value.within);
                        }
                        _ => {
                            text.push_str("$(");
                            text.push_str(name);
                            text.push(')');
                        }
                    }
                    rest = tail;
                }
                None => {
                    text.push_str("$(");
                    rest = after.get(1..).unwrap_or("");
                }
            },
            Some(other) => {
                text.push('$');
                text.push(other);
                rest = after.get(other.len_utf8()..).unwrap_or("");
            }
        }
    }
    text.push_str(rest);
    node::replace(at, Node::string(text));
    Ok(())
}
