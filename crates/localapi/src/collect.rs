//! What controllers of a real cluster do behind the API: garbage collection, namespace termination,
//! establishing definitions and giving namespaces their default account.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::delete::{Options, delete};
use crate::kinds::Kind;
use crate::object::{self, fresh_uid, is_deleting, meta, metadata, owners, section};
use crate::store::{Place, Store};

const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");

/// Works until nothing is left to do.
pub(crate) fn settle(store: &mut Store) {
    loop {
        let before = store.clock;
        let dirty = std::mem::take(&mut store.dirty);
        for uid in dirty {
            collect(store, &uid);
        }
        definitions(store);
        namespaces(store);
        if store.clock == before && store.dirty.is_empty() {
            return;
        }
    }
}

fn kind_of(store: &Store, place: &Place) -> Option<Arc<Kind>> {
    let (group, plural) = &place.0;
    store.registry.get(group, plural).cloned()
}

fn delete_place(store: &mut Store, place: &Place) {
    if let Some(kind) = kind_of(store, place)
        && let Some(object) = store.get(&place.0, &place.1)
        && !is_deleting(object)
    {
        // It may be gone already; then there is nothing to do.
        let _ = delete(store, &kind, &place.1, &Options::background());
    }
}

/// Looks at the dependents of one owner.
fn collect(store: &mut Store, uid: &str) {
    let dependents = store.dependents_of(uid);
    let Some(home) = store.place_of(uid).cloned() else {
        for place in dependents {
            abandon(store, &place, uid);
        }
        return;
    };
    let Some(owner) = store.get(&home.0, &home.1).cloned() else { return };
    if !is_deleting(&owner) {
        return;
    }
    let finalizers = object::finalizers(&owner);
    if finalizers.iter().any(|entry| entry == "orphan") {
        for place in dependents {
            disown(store, &place, uid);
        }
        release(store, &home, "orphan");
    } else if finalizers.iter().any(|entry| entry == "foregroundDeletion") {
        for place in &dependents {
            delete_place(store, place);
        }
        let blocked = store.dependents_of(uid).iter().any(|place| {
            let object = store.get(&place.0, &place.1);
            object.is_some_and(|object| owners(object).iter().any(|(owner, blocks)| owner == uid && *blocks))
        });
        if !blocked {
            release(store, &home, "foregroundDeletion");
        }
    }
}

/// The owner is gone: the dependent goes too, unless another owner lives.
fn abandon(store: &mut Store, place: &Place, uid: &str) {
    let Some(object) = store.get(&place.0, &place.1).cloned() else { return };
    if owners(&object).iter().any(|(owner, _)| store.place_of(owner).is_some()) {
        disown(store, place, uid);
    } else {
        delete_place(store, place);
    }
}

fn disown(store: &mut Store, place: &Place, uid: &str) {
    let Some(object) = store.get(&place.0, &place.1).cloned() else { return };
    let mut value = (*object).clone();
    let metadata = metadata(&mut value);
    if let Some(list) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        list.retain(|owner| owner.get("uid").and_then(Value::as_str) != Some(uid));
        if list.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
    store.put(&place.0, value);
}

/// Takes a finalizer away, and the object with its last one.
fn release(store: &mut Store, place: &Place, finalizer: &str) {
    let Some(object) = store.get(&place.0, &place.1).cloned() else { return };
    let mut value = (*object).clone();
    let mut finalizers = object::finalizers(&value);
    finalizers.retain(|entry| entry != finalizer);
    let last = finalizers.is_empty();
    object::set_finalizers(&mut value, finalizers);
    store.put(&place.0, value);
    let held = place.0.1 == "namespaces" && object::holds_content(&object);
    if last && !held {
        store.take(&place.0, &place.1);
    }
}

fn namespaces(store: &mut Store) {
    let resource = (String::new(), "namespaces".to_owned());
    for namespace in store.list(&resource, "") {
        let name = meta(&namespace, "name").to_owned();
        let place = (resource.clone(), (String::new(), name.clone()));
        if !is_deleting(&namespace) {
            if store.find("", "serviceaccounts", &name, "default").is_none() {
                let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default",
                    "namespace": name, "uid": fresh_uid(), "creationTimestamp": object::now()}});
                store.put(&(String::new(), "serviceaccounts".into()), account);
            }
            continue;
        }
        for content in store.contents(&name) {
            delete_place(store, &content);
        }
        if store.contents(&name).is_empty() && object::holds_content(&namespace) {
            let mut value = (*namespace).clone();
            section(&mut value, "spec").remove("finalizers");
            let free = object::finalizers(&value).is_empty();
            store.put(&resource, value);
            if free {
                store.take(&resource, &place.1);
            }
        }
    }
}

fn definitions(store: &mut Store) {
    let resource = (DEFINITIONS.0.to_owned(), DEFINITIONS.1.to_owned());
    for definition in store.list(&resource, "") {
        let place = (resource.clone(), (String::new(), meta(&definition, "name").to_owned()));
        if is_deleting(&definition) {
            retire(store, &definition, &place);
        } else {
            establish(store, &definition, &place);
        }
    }
}

fn retire(store: &mut Store, definition: &Value, place: &Place) {
    let (group, plural) =
        (object::text(definition, "/spec/group"), object::text(definition, "/spec/names/plural"));
    let instances = (group.to_owned(), plural.to_owned());
    for object in store.list(&instances, "") {
        let key = (meta(&object, "namespace").to_owned(), meta(&object, "name").to_owned());
        delete_place(store, &(instances.clone(), key));
    }
    if store.list(&instances, "").is_empty() {
        store.retire(group, plural);
        release(store, place, "customresourcecleanup.apiextensions.k8s.io");
    }
}

/// Starts serving the kind and says so in the status.
fn establish(store: &mut Store, definition: &Value, place: &Place) {
    let (group, plural) =
        (object::text(definition, "/spec/group"), object::text(definition, "/spec/names/plural"));
    let generation = definition.pointer("/metadata/generation").cloned().unwrap_or(json!(1));
    let served = store.served(group, plural);
    if served == generation.as_u64() {
        return;
    }
    let Some(kind) = Kind::from_definition(definition) else { return };
    store.serve(kind, generation.as_u64().unwrap_or(1));
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let stored =
        versions.into_iter().flatten().find(|v| v.get("storage").and_then(Value::as_bool) == Some(true));
    let stored = stored.and_then(|v| v.get("name")).cloned().unwrap_or_default();
    let names = definition.pointer("/spec/names").cloned().unwrap_or_default();
    let mut value = definition.clone();
    let status = section(&mut value, "status");
    status.insert("acceptedNames".into(), names);
    let mut versions = status.get("storedVersions").and_then(Value::as_array).cloned().unwrap_or_default();
    if !versions.contains(&stored) {
        versions.push(stored);
    }
    status.insert("storedVersions".into(), Value::Array(versions));
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": object::now()})
    };
    if !status.contains_key("conditions") {
        let conditions = [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ];
        status.insert("conditions".into(), json!(conditions));
    }
    if value != *definition {
        store.put(&place.0, value);
    }
}
