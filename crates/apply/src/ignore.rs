//! What may differ between Git and the cluster (`spec.ignore`).

mod owned;
mod selector;

use serde_json::Value;

use crate::live::{Settings, managed};

pub use selector::{Selector, SelectorError};

/// One entry of `spec.ignore`: paths, and the objects they count for.
#[derive(Clone, Debug)]
pub struct IgnoreRule {
    /// JSON pointers. Those that lead nowhere do nothing.
    pub paths: Vec<String>,
    /// Which objects; `None` means all.
    pub target: Option<Selector>,
}

/// All of `spec.ignore`. Rules add up, those without a target too.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<IgnoreRule>,
}

impl IgnoreRules {
    /// Rules in the order they are written.
    #[must_use]
    pub fn new(rules: Vec<IgnoreRule>) -> Self {
        Self { rules }
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The paths that may differ for this object.
    pub(crate) fn paths(&self, object: &Value) -> Vec<&str> {
        let mut paths: Vec<&str> = self
            .rules
            .iter()
            .filter(|rule| rule.target.as_ref().is_none_or(|target| target.matches(object)))
            .flat_map(|rule| rule.paths.iter().map(String::as_str))
            .filter(|path| path.starts_with('/') && path.len() > 1)
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

/// Whether two states of an object differ in labels, annotations or anything outside of `metadata`
/// and `status`, apart from the ignored paths.
pub(crate) fn differs(live: &Value, dry_run: &Value, ignored: &[&str]) -> bool {
    let [mut live, mut dry_run] = [live.clone(), dry_run.clone()];
    for path in ignored {
        remove(&mut live, path);
        remove(&mut dry_run, path);
    }
    significant(&live) != significant(&dry_run)
}

fn significant(object: &Value) -> Vec<(&str, &Value)> {
    let Some(fields) = object.as_object() else {
        return Vec::new();
    };
    let mut kept: Vec<(&str, &Value)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(name, _)| !matches!(*name, "metadata" | "status" | "kind" | "apiVersion"))
        .collect();
    for place in ["labels", "annotations"] {
        let map = object.pointer(&format!("/metadata/{place}"));
        let filled = |map: &&Value| map.as_object().is_some_and(|map| !map.is_empty());
        kept.extend(map.filter(filled).map(|map| (place, map)));
    }
    kept.sort_unstable_by_key(|(name, _)| *name);
    kept
}

/// Changes what is to be applied where the live object differs on an ignored path: a path that
/// another manager applied is left out, so that our claim on it ends; any other takes the live value,
/// so that the apply neither changes nor drops it.
pub(crate) fn adjust(desired: &mut Value, live: &Value, ignored: &[&str], settings: &Settings) {
    for path in ignored {
        let Some(wanted) = desired.pointer(path) else {
            continue;
        };
        let actual = live.pointer(path);
        if actual == Some(wanted) {
            continue;
        }
        let metadata = live.get("metadata").unwrap_or(&Value::Null);
        let foreign = managed(metadata).any(|entry| {
            let operation = entry.get("operation").and_then(Value::as_str);
            let fields = entry.get("fieldsV1").unwrap_or(&Value::Null);
            operation == Some("Apply") && !settings.is_own(entry) && owned::holds(fields, live, path)
        });
        match actual {
            Some(actual) if !foreign => {
                let actual = actual.clone();
                if let Some(place) = desired.pointer_mut(path) {
                    *place = actual;
                }
            }
            _ => remove(desired, path),
        }
    }
}

/// Removes what a JSON pointer leads to, if it leads anywhere.
fn remove(object: &mut Value, path: &str) {
    let Some((parent, last)) = path.rsplit_once('/') else {
        return;
    };
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.remove(&last.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            if let Some(at) = last.parse::<usize>().ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::settings;
    use serde_json::json;

    fn rule(path: &str, kind: Option<&str>) -> IgnoreRule {
        IgnoreRule {
            paths: vec![path.to_owned()],
            target: kind
                .map(|kind| Selector::new(None, None, Some(kind), None, None, None, None).expect("valid")),
        }
    }

    fn deployment(replicas: u32) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"replicas": replicas, "paused": false}})
    }

    #[test]
    fn several_rules_without_a_target_all_count() {
        let rules = IgnoreRules::new(vec![
            rule("/spec/replicas", None),
            rule("/spec/paused", None),
            rule("/spec/x", Some("StatefulSet")),
            rule("", None),
            rule("nonsense", None),
        ]);
        assert_eq!(rules.paths(&deployment(1)), ["/spec/paused", "/spec/replicas"]);
    }

    #[test]
    fn only_what_is_not_ignored_is_drift() {
        let (one, two) = (deployment(1), deployment(2));
        assert!(differs(&one, &two, &[]));
        assert!(!differs(&one, &two, &["/spec/replicas", "/spec/nowhere/3"]));
        let mut touched = deployment(1);
        touched["metadata"]["resourceVersion"] = json!("9");
        touched["metadata"]["labels"] = json!({});
        touched["status"] = json!({"replicas": 1});
        assert!(!differs(&one, &touched, &[]));
        touched["metadata"]["labels"] = json!({"a": "b"});
        assert!(differs(&one, &touched, &[]));
    }

    #[test]
    fn an_ignored_path_is_stripped_adopted_or_kept() {
        let live_with = |manager: &str, operation: &str| {
            let mut live = deployment(5);
            live["metadata"]["managedFields"] = json!([{"manager": manager, "operation": operation,
                "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
            live
        };
        let adjusted = |live: &Value| {
            let mut desired = deployment(1);
            adjust(&mut desired, live, &["/spec/replicas", "/spec/paused"], &settings());
            assert_eq!(desired["spec"]["paused"], json!(false), "equal paths stay");
            desired["spec"].get("replicas").cloned()
        };
        assert_eq!(adjusted(&live_with("autoscaler", "Apply")), None);
        assert_eq!(adjusted(&live_with("kubectl", "Update")), Some(json!(5)));
        assert_eq!(adjusted(&live_with("kustomize-controller", "Apply")), Some(json!(5)));
    }

    #[test]
    fn an_ignored_path_that_the_live_object_lacks_is_not_applied() {
        let mut desired = deployment(1);
        let live = json!({"spec": {"paused": false}});
        adjust(&mut desired, &live, &["/spec/replicas"], &settings());
        assert_eq!(desired["spec"].get("replicas"), None);
    }
}
