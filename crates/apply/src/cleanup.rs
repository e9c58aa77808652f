//! Taking over what other tools left behind, as a JSON patch.

use serde_json::{Map, Value, json};

use crate::live::{Settings, leftovers, managed};

/// The patch that hands the fields of `kubectl` and its like to our own manager, so that the apply
/// that follows removes those that are not desired; also removes the marks of earlier tools, and
/// moves the ownership to `migrate_to` if given. `None` when there is nothing to do.
///
/// The patch fails with a conflict if the object has changed since `metadata` was read.
pub(crate) fn patch(
    metadata: &Value,
    settings: &Settings,
    takeover: bool,
    migrate_to: Option<&str>,
) -> Option<Value> {
    let before: Vec<&Value> = managed(metadata).collect();
    let mut entries = if takeover {
        merged(&before, settings)
    } else {
        before.iter().map(|&entry| entry.clone()).collect()
    };
    if let Some(version) = migrate_to {
        for entry in &mut entries {
            entry["apiVersion"] = Value::from(version);
        }
    }
    let mut operations = Vec::new();
    if !entries.iter().eq(before.iter().copied()) {
        operations.push(json!({"op": "replace", "path": "/metadata/managedFields", "value": entries}));
    }
    for (place, key) in leftovers(&settings.dialect) {
        let present = metadata.get(place).and_then(|map| map.get(&key)).is_some();
        if takeover && present {
            let key = key.replace('~', "~0").replace('/', "~1");
            operations.push(json!({"op": "remove", "path": format!("/metadata/{place}/{key}")}));
        }
    }
    if operations.is_empty() {
        return None;
    }
    let version = metadata.get("resourceVersion").cloned().unwrap_or(Value::Null);
    operations.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
    Some(Value::Array(operations))
}

fn merged(before: &[&Value], settings: &Settings) -> Vec<Value> {
    if !before.iter().any(|entry| settings.claims(entry)) {
        return before.iter().map(|&entry| entry.clone()).collect();
    }
    let mut own: Option<Value> =
        before.iter().find(|entry| settings.is_own(entry)).map(|&entry| entry.clone());
    let mut others = Vec::new();
    for &entry in before {
        if settings.claims(entry) {
            match &mut own {
                Some(own) => unite(&mut own["fieldsV1"], entry.get("fieldsV1").unwrap_or(&Value::Null)),
                None => {
                    let mut first = entry.clone();
                    first["manager"] = Value::from(settings.dialect.manager);
                    first["operation"] = Value::from("Apply");
                    own = Some(first);
                }
            }
        } else if !settings.is_own(entry) {
            others.push(entry.clone());
        }
    }
    own.into_iter().chain(others).collect()
}

/// The union of two field sets.
fn unite(into: &mut Value, from: &Value) {
    let Value::Object(from) = from else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(into) = into else { return };
    for (field, inner) in from {
        match into.get_mut(field) {
            Some(known) => unite(known, inner),
            None => {
                into.insert(field.clone(), inner.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::settings;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
    }

    fn managed_after(entries: Vec<Value>) -> Option<Value> {
        let metadata = json!({"resourceVersion": "7", "managedFields": entries});
        let patch = patch(&metadata, &settings(), true, None)?;
        assert_eq!(patch[1], json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}));
        Some(patch[0]["value"].clone())
    }

    #[test]
    fn fields_of_other_tools_join_our_own_entry() {
        let ours = entry("kustomize-controller", "Apply", json!({"f:data": {".": {}, "f:a": {}}}));
        let edited = entry("kubectl-edit", "Update", json!({"f:data": {"f:b": {}}, "f:x": {}}));
        let foreign = entry("hpa", "Update", json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(
            managed_after(vec![foreign.clone(), edited, ours]),
            Some(json!([
                entry(
                    "kustomize-controller",
                    "Apply",
                    json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:x": {}})
                ),
                foreign
            ]))
        );
    }

    #[test]
    fn without_an_entry_of_our_own_the_first_claimed_one_becomes_it() {
        let first = entry("kubectl-client-side-apply", "Update", json!({"f:a": {}}));
        let second = entry("before-first-apply", "Update", json!({"f:b": {}}));
        assert_eq!(
            managed_after(vec![first, second]),
            Some(json!([entry("kustomize-controller", "Apply", json!({"f:a": {}, "f:b": {}}))]))
        );
    }

    #[test]
    fn nothing_to_take_over_means_no_patch() {
        let ours = entry("kustomize-controller", "Apply", json!({"f:a": {}}));
        let status = json!({"manager": "kubectl", "operation": "Update", "subresource": "status"});
        assert_eq!(managed_after(vec![ours, status]), None);
    }

    #[test]
    fn marks_of_earlier_tools_are_removed() {
        let metadata = json!({
            "resourceVersion": "7",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "me"},
            "labels": {"fluxcd.io/sync-gc-mark": "x"}
        });
        let patched = patch(&metadata, &settings(), true, None).expect("there is something to do");
        let paths: Vec<_> = patched
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|operation| operation["path"].as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
                "/metadata/labels/fluxcd.io~1sync-gc-mark",
                "/metadata/resourceVersion",
            ]
        );
        assert_eq!(patch(&metadata, &settings(), false, None), None);
    }

    #[test]
    fn ownership_moves_to_another_api_version_whoever_holds_it() {
        let metadata = json!({"resourceVersion": "7", "managedFields": [
            entry("kustomize-controller", "Apply", json!({})), entry("other", "Update", json!({}))]});
        let patched = patch(&metadata, &settings(), false, Some("v2")).expect("versions differ");
        for at in 0..2 {
            assert_eq!(patched[0]["value"][at]["apiVersion"], "v2");
        }
        assert_eq!(patch(&metadata, &settings(), false, Some("v1")), None);
    }
}
