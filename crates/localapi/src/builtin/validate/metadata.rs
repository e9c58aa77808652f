//! What holds for the metadata of every kind.

use serde_json::{Value, json};

use super::{LABEL, LABEL_RE, QUALIFIED, QUALIFIED_RE, SUBDOMAIN, SUBDOMAIN_RE, fits};
use crate::kinds::Kind;
use crate::object::{self, meta, text};
use crate::status::Cause;

/// All keys and values of annotations together, in bytes.
const ANNOTATIONS: usize = 256 * 1024;

/// Finalizers that need no domain.
const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Name, labels, annotations, finalizers and owners.
pub(crate) fn validate_metadata(kind: &Kind, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    name(kind, value, &mut causes);
    owners(value, &mut causes);
    labels(value, &mut causes);
    annotations(value, &mut causes);
    finalizers(kind, value, &mut causes);
    causes
}

fn name(kind: &Kind, value: &Value, causes: &mut Vec<Cause>) {
    let name = meta(value, "name");
    let shown = Value::String(name.to_owned());
    let label_only = matches!((kind.group.as_str(), kind.kind.as_str()), ("", "Namespace" | "Service"));
    if kind.group == "rbac.authorization.k8s.io" {
        if name.contains('/') || name.contains('%') || name == "." || name == ".." {
            causes.push(Cause::invalid("metadata.name", &shown, "may not contain '/'"));
        }
    } else if label_only && (!fits(&LABEL_RE, name) || name.len() > 63) {
        causes.push(Cause::invalid("metadata.name", &shown, &not_a_label()));
    } else if !fits(&SUBDOMAIN_RE, name) || name.len() > 253 {
        let text = format!(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
        );
        causes.push(Cause::invalid("metadata.name", &shown, &text));
    }
}

/// How the server says that a name is no DNS label.
pub(super) fn not_a_label() -> String {
    format!(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
    )
}

fn labels(value: &Value, causes: &mut Vec<Cause>) {
    let labels = value.pointer("/metadata/labels").and_then(Value::as_object);
    for (key, label) in labels.into_iter().flatten() {
        let text = label.as_str().unwrap_or_default();
        if !text.is_empty() && (!fits(&QUALIFIED_RE, text) || text.len() > 63) {
            let detail = format!(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '({QUALIFIED})?')"
            );
            causes.push(Cause::invalid("metadata.labels", label, &detail));
        }
        if let Some(detail) = unqualified(key) {
            causes.push(Cause::invalid("metadata.labels", &json!(key), &detail));
        }
    }
}

/// What is wrong with a key or finalizer, if anything is.
fn unqualified(key: &str) -> Option<String> {
    let form = format!(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{QUALIFIED}')"
    );
    let (prefix, name) = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            let form = format!("a valid label key {form}");
            return Some(format!(
                "{form} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
        }
    };
    if prefix.is_some_and(|prefix| prefix.len() > 253 || !fits(&SUBDOMAIN_RE, prefix)) {
        return Some(format!(
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
        ));
    }
    match name.len() {
        0 => Some("name part must be non-empty".to_owned()),
        64.. => Some("name part must be no more than 63 bytes".to_owned()),
        _ => (!fits(&QUALIFIED_RE, name)).then(|| format!("name part {form}")),
    }
}

fn annotations(value: &Value, causes: &mut Vec<Cause>) {
    let list = value.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut size = 0;
    for (key, text) in list.into_iter().flatten() {
        size += key.len() + text.as_str().unwrap_or_default().len();
        if let Some(detail) = unqualified(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), &detail));
        }
    }
    if size > ANNOTATIONS {
        let text = format!("Too long: may not be more than {ANNOTATIONS} bytes");
        causes.push(Cause::new("FieldValueTooLong", "metadata.annotations", text));
    }
}

fn finalizers(kind: &Kind, value: &Value, causes: &mut Vec<Cause>) {
    let list = object::finalizers(value);
    for entry in &list {
        if let Some(detail) = unqualified(entry) {
            causes.push(Cause::invalid("metadata.finalizers", &json!(entry), &detail));
        }
    }
    let own_domain = kind.builtin && kind.group != "apiextensions.k8s.io";
    for (index, entry) in list.iter().enumerate().filter(|(_, entry)| own_domain && !entry.contains('/')) {
        if !STANDARD.contains(&entry.as_str()) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(format!("metadata.finalizers[{index}]"), &json!(entry), detail));
        }
    }
}

fn owners(value: &Value, causes: &mut Vec<Cause>) {
    let list = value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let mut controllers: Vec<String> = Vec::new();
    for owner in list.into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let (field, detail) = match field {
                    "apiVersion" => ("apiVersion", "version must not be empty"),
                    field => (field, "must not be empty"),
                };
                causes.push(Cause::invalid(format!("metadata.ownerReferences.{field}"), &json!(""), detail));
            }
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            controllers.push(format!("{}/{}", text(owner, "/kind"), text(owner, "/name")));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        let shown = json!(list);
        causes.push(Cause::invalid("metadata.ownerReferences", &shown, &detail));
    }
}
