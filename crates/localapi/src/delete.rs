//! Deleting: preconditions, finalizers and propagation.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::object::{self, is_deleting, meta, metadata, section};
use crate::status::{Cause, Refusal, Subject};
use crate::store::{Key, Store};

/// What happens to the dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// The options of a delete request.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) propagation: Propagation,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) dry_run: bool,
}

impl Options {
    pub(crate) fn background() -> Self {
        Self {
            propagation: Propagation::Background,
            uid: String::new(),
            version: String::new(),
            dry_run: false,
        }
    }

    /// Reads `DeleteOptions` from the body, the query having the last word.
    pub(crate) fn read(body: &Value, query: &crate::request::Query) -> Result<Self, Refusal> {
        let given = match query.get("propagationPolicy") {
            "" => object::text(body, "/propagationPolicy"),
            given => given,
        };
        let orphans = match query.get("orphanDependents") {
            "" => body.get("orphanDependents").and_then(Value::as_bool),
            given => Some(given == "true"),
        };
        let propagation = match given {
            "Foreground" => Propagation::Foreground,
            "Orphan" => Propagation::Orphan,
            "" if orphans == Some(true) => Propagation::Orphan,
            "" | "Background" => Propagation::Background,
            other => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                return Err(refused(Cause::unsupported("propagationPolicy", &json!(other), &known)));
            }
        };
        if !given.is_empty() && orphans.is_some() {
            let text = "orphanDependents and deletionPropagation cannot be both set";
            return Err(refused(Cause::invalid("propagationPolicy", &json!(given), text)));
        }
        let dry =
            body.get("dryRun").and_then(Value::as_array).is_some_and(|list| list.contains(&json!("All")));
        Ok(Self {
            propagation,
            uid: object::text(body, "/preconditions/uid").to_owned(),
            version: object::text(body, "/preconditions/resourceVersion").to_owned(),
            dry_run: dry || query.is_dry_run(),
        })
    }
}

fn refused(cause: Cause) -> Refusal {
    let subject = Subject { group: "meta.k8s.io".into(), kind: "DeleteOptions".into(), ..Default::default() };
    Refusal::invalid(&subject, vec![cause])
}

/// The outcome: gone at once, or still there with a deletion timestamp.
pub(crate) enum Deleted {
    Gone(Arc<Value>),
    Going(Arc<Value>),
}

/// Deletes one object.
pub(crate) fn delete(
    store: &mut Store,
    kind: &Kind,
    key: &Key,
    options: &Options,
) -> Result<Deleted, Refusal> {
    let resource = kind.resource();
    let subject = kind.subject(&key.1);
    let old = store.get(&resource, key).cloned().ok_or_else(|| Refusal::not_found(&subject))?;
    if !options.uid.is_empty() && options.uid != meta(&old, "uid") {
        let text = format!(
            "the UID in the precondition ({}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            options.uid,
            meta(&old, "uid")
        );
        return Err(Refusal::failed_precondition(&subject, &text));
    }
    if !options.version.is_empty() && options.version != meta(&old, "resourceVersion") {
        let text = format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({}). The object might have been modified",
            options.version,
            meta(&old, "resourceVersion")
        );
        return Err(Refusal::failed_precondition(&subject, &text));
    }
    let mut value = (*old).clone();
    let mut finalizers = object::finalizers(&value);
    finalizers.retain(|entry| entry != "foregroundDeletion" && entry != "orphan");
    match options.propagation {
        Propagation::Foreground => finalizers.push("foregroundDeletion".into()),
        Propagation::Orphan => finalizers.push("orphan".into()),
        Propagation::Background => {}
    }
    let guard = "customresourcecleanup.apiextensions.k8s.io".to_owned();
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition")
        && !is_deleting(&old)
        && !finalizers.contains(&guard)
    {
        finalizers.push(guard);
    }
    let held = kind.is("", "Namespace") && object::holds_content(&value);
    let lingers = held || !finalizers.is_empty();
    object::set_finalizers(&mut value, finalizers);
    if lingers {
        if !is_deleting(&value) {
            let metadata = metadata(&mut value);
            metadata.insert("deletionTimestamp".into(), json!(object::now()));
            metadata.insert("deletionGracePeriodSeconds".into(), json!(0));
            if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
                metadata.insert("generation".into(), json!(generation + 1));
            }
        }
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            metadata(&mut value).remove("deletionGracePeriodSeconds");
        }
        if kind.is("", "Namespace") {
            metadata(&mut value).remove("deletionGracePeriodSeconds");
            section(&mut value, "status").insert("phase".into(), json!("Terminating"));
        }
        if options.dry_run || value == *old {
            return Ok(Deleted::Going(Arc::new(value)));
        }
        return Ok(Deleted::Going(store.put(&resource, value)));
    }
    if options.dry_run {
        return Ok(Deleted::Gone(old));
    }
    Ok(Deleted::Gone(store.take(&resource, key).unwrap_or(old)))
}

/// The `Status` that answers a completed deletion.
pub(crate) fn success(kind: &Kind, gone: &Value) -> Value {
    let mut details = json!({"name": meta(gone, "name"), "kind": kind.plural, "uid": meta(gone, "uid")});
    if !kind.group.is_empty() {
        object::as_map(&mut details).insert("group".into(), json!(kind.group));
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
