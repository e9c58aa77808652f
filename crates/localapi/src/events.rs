//! Events are stored as core/v1 has them; events.k8s.io/v1 shows the same ones under other names.

use serde_json::{Value, json};

use crate::object::as_map;

/// The newer group.
pub(crate) const GROUP: &str = "events.k8s.io";

/// Names in core/v1 and in events.k8s.io/v1.
const NAMES: [(&str, &str); 7] = [
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// An event of core/v1 as events.k8s.io/v1 shows it.
pub(crate) fn to_newer(event: &Value) -> Value {
    let mut event = renamed(event, "events.k8s.io/v1", NAMES);
    let map = as_map(&mut event);
    for name in ["reportingController", "reportingInstance"] {
        if map.get(name) == Some(&json!("")) {
            map.remove(name);
        }
    }
    event
}

/// An event, or a patch of one, of events.k8s.io/v1 as core/v1 has it.
pub(crate) fn to_core(event: &Value) -> Value {
    renamed(event, "v1", NAMES.map(|(core, newer)| (newer, core)))
}

fn renamed(event: &Value, api_version: &str, names: [(&str, &str); 7]) -> Value {
    let mut event = event.clone();
    let map = as_map(&mut event);
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to.into(), value);
        }
    }
    if let Some(stated) = map.get_mut("apiVersion") {
        *stated = json!(api_version);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_event() {
        let event = json!({"apiVersion": "v1", "kind": "Event", "message": "m", "involvedObject": {"name": "a"},
            "count": 2, "reason": "r", "reportingComponent": "c"});
        let newer = to_newer(&event);
        assert_eq!((&newer["note"], &newer["deprecatedCount"]), (&json!("m"), &json!(2)));
        assert_eq!(to_core(&newer), event);
    }
}
