//! The end of every change to an existing object: what must stay, validation, generation, storage.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Write, Written};
use crate::builtin;
use crate::object::{self, is_deleting, metadata, section};
use crate::status::{Cause, Refusal};
use crate::store::Store;

impl Write {
    /// Restores what this request may not change: the other half of the object and the system's metadata.
    pub(super) fn keep_foreign_parts(&self, old: &Value, value: &mut Value) {
        let has_status = self.served().is_ok_and(|version| version.status);
        let managed = value.pointer("/metadata/managedFields").cloned();
        match self.subresource.as_str() {
            "status" => {
                let status = value.get("status").cloned();
                let mut kept = old.clone();
                let map = object::as_map(&mut kept);
                match status {
                    Some(status) => map.insert("status".into(), status),
                    None => map.remove("status"),
                };
                *value = kept;
            }
            "finalize" => {
                let finalizers = value.pointer("/spec/finalizers").cloned();
                *value = old.clone();
                let spec = section(value, "spec");
                match finalizers {
                    Some(list) => spec.insert("finalizers".into(), list),
                    None => spec.remove("finalizers"),
                };
            }
            _ => {
                let map = object::as_map(value);
                match old.get("status").filter(|_| has_status) {
                    Some(status) => {
                        map.insert("status".into(), status.clone());
                    }
                    None if has_status => {
                        map.remove("status");
                    }
                    None => {}
                }
                if self.kind.is("", "Namespace") {
                    map.insert("spec".into(), old.get("spec").cloned().unwrap_or_else(|| json!({})));
                }
            }
        }
        let metadata = metadata(value);
        if let Some(managed) = managed {
            metadata.insert("managedFields".into(), managed);
        }
        for field in [
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
            "generateName",
            "selfLink",
        ] {
            match old.pointer(&format!("/metadata/{field}")) {
                Some(kept) => metadata.insert(field.into(), kept.clone()),
                None => metadata.remove(field),
            };
        }
    }

    /// Validation, generation, the no-op test and storage of a changed object.
    pub(super) fn finish(
        &self,
        store: &mut Store,
        old: &Value,
        mut value: Value,
        warnings: Vec<String>,
    ) -> Result<Written, Refusal> {
        if self.kind.builtin {
            builtin::prepare_update(&self.kind, old, &mut value);
        }
        if is_deleting(old) {
            let (was, is) = (object::finalizers(old), object::finalizers(&value));
            let fresh: Vec<String> = is.into_iter().filter(|entry| !was.contains(entry)).collect();
            if !fresh.is_empty() {
                let text = format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    fresh.iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>().join(", ")
                );
                let cause = Cause::forbidden("metadata.finalizers", &text);
                // The server runs this check twice and says so twice.
                return Err(Refusal::invalid(&self.kind.subject(&self.name), vec![cause.clone(), cause]));
            }
        }
        self.validate(&value, Some(old))?;
        if same_but_for_times(old, &value) {
            let object = store.get(&self.resource(), &self.key()).cloned().unwrap_or_else(|| Arc::new(value));
            return Ok(Written { object, created: false, warnings });
        }
        if self.kind.generation && self.is_new_generation(old, &value) {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            metadata(&mut value).insert("generation".into(), json!(generation + 1));
        }
        if self.dry_run {
            return Ok(Written { object: Arc::new(value), created: false, warnings });
        }
        if is_deleting(&value) && object::finalizers(&value).is_empty() && !self.holds_namespace(&value) {
            store.take(&self.resource(), &self.key());
            return Ok(Written { object: Arc::new(value), created: false, warnings });
        }
        let object = store.put(&self.resource(), value);
        Ok(Written { object, created: false, warnings })
    }

    fn is_new_generation(&self, old: &Value, value: &Value) -> bool {
        if self.kind.builtin {
            return builtin::is_new_generation(&self.kind, old, value);
        }
        let has_status = self.served().is_ok_and(|version| version.status);
        let rest = |object: &Value| {
            let mut map = object.as_object().cloned().unwrap_or_default();
            map.remove("metadata");
            if has_status {
                map.remove("status");
            }
            map
        };
        rest(old) != rest(value)
    }

    /// Namespaces stay until their own finalizer is gone.
    fn holds_namespace(&self, object: &Value) -> bool {
        self.kind.is("", "Namespace") && object::holds_content(object)
    }
}

/// Whether nothing differs but when owners wrote last. Compared after defaults and canonical forms, as the real
/// server does: `1000m` applied over `1` is no change.
fn same_but_for_times(old: &Value, value: &Value) -> bool {
    match (old, value) {
        (Value::Object(old), Value::Object(value)) => {
            old.len() == value.len()
                && old.iter().all(|(key, before)| {
                    value.get(key).is_some_and(|after| match key.as_str() {
                        "metadata" => same_metadata(before, after),
                        _ => before == after,
                    })
                })
        }
        _ => old == value,
    }
}

fn same_metadata(old: &Value, value: &Value) -> bool {
    let rest = |metadata: &Value| {
        let fields = metadata.as_object().into_iter().flatten();
        fields
            .filter(|(key, _)| *key != "managedFields")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let owners = |metadata: &Value| {
        let mut list = metadata.get("managedFields").cloned().unwrap_or_default();
        for entry in list.as_array_mut().into_iter().flatten() {
            object::as_map(entry).remove("time");
        }
        list
    };
    let (before, after): (Map<String, Value>, Map<String, Value>) = (rest(old), rest(value));
    before == after && owners(old) == owners(value)
}
