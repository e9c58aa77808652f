//! Who owns which field: `metadata.managedFields`, server-side apply and the bookkeeping of other writes.

use serde_json::{Map, Value, json};

use crate::fieldset::Set;
use crate::merge::{compare, fields_of, merge, remove};
use crate::schema::Type;
use crate::status::Refusal;

/// Fields nobody owns, because the server keeps them.
const SYSTEM: [&[&str]; 13] = [
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:clusterName"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
];

/// How a write came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// The writer, as `managedFields` tells writers apart.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    /// RFC 3339, second precision.
    pub(crate) now: String,
}

#[derive(Clone, Debug)]
struct Entry {
    writer: Writer,
    set: Set,
}

impl Entry {
    fn is(&self, writer: &Writer) -> bool {
        let own = &self.writer;
        own.manager == writer.manager
            && own.operation == writer.operation
            && own.subresource == writer.subresource
            && (own.operation == Operation::Apply || own.api_version == writer.api_version)
    }

    /// How a conflict names this owner.
    fn shown(&self) -> String {
        let own = &self.writer;
        let mut text = format!("\"{}\"", own.manager);
        if !own.subresource.is_empty() {
            text.push_str(&format!(" with subresource \"{}\"", own.subresource));
        }
        if own.operation == Operation::Update {
            text.push_str(&format!(" using {}", own.api_version));
        }
        text
    }
}

fn read(object: &Value) -> Vec<Entry> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    list.into_iter()
        .flatten()
        .map(|entry| Entry {
            writer: Writer {
                manager: text(entry, "manager"),
                operation: if text(entry, "operation") == "Apply" {
                    Operation::Apply
                } else {
                    Operation::Update
                },
                api_version: text(entry, "apiVersion"),
                subresource: text(entry, "subresource"),
                now: text(entry, "time"),
            },
            set: Set::from_value(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        })
        .collect()
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    // Appliers first, then by time and name, as the server prints them.
    entries.sort_by(|a, b| {
        let rank = |entry: &Entry| (entry.writer.operation == Operation::Update, entry.writer.now.clone());
        rank(a).cmp(&rank(b)).then_with(|| a.writer.manager.cmp(&b.writer.manager))
    });
    let list: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let writer = &entry.writer;
            let operation = if writer.operation == Operation::Apply { "Apply" } else { "Update" };
            let mut map = Map::new();
            map.insert("manager".into(), json!(writer.manager));
            map.insert("operation".into(), json!(operation));
            map.insert("apiVersion".into(), json!(writer.api_version));
            if !writer.now.is_empty() {
                map.insert("time".into(), json!(writer.now));
            }
            map.insert("fieldsType".into(), json!("FieldsV1"));
            map.insert("fieldsV1".into(), entry.set.to_value());
            if !writer.subresource.is_empty() {
                map.insert("subresource".into(), json!(writer.subresource));
            }
            Value::Object(map)
        })
        .collect();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if list.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".into(), Value::Array(list));
        }
    }
}

fn without_system(mut set: Set) -> Set {
    for path in SYSTEM {
        set.remove(path);
    }
    set.remove_member("f:metadata");
    set
}

fn bare(object: &Value) -> Value {
    let mut out = object.clone();
    if let Some(metadata) = out.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    out
}

fn put(entries: &mut Vec<Entry>, writer: &Writer, set: Set) {
    match entries.iter_mut().find(|entry| entry.is(writer)) {
        Some(entry) => {
            if entry.set != set || entry.writer.api_version != writer.api_version {
                entry.writer = writer.clone();
                entry.set = set;
            }
        }
        None => entries.push(Entry { writer: writer.clone(), set }),
    }
}

/// Updates ownership after a create, replace or patch turned `old` into `new`.
///
/// A writer may edit `managedFields` itself: what `new` carries is the starting point, and an emptied
/// list means "forget all owners".
pub(crate) fn track_update(ty: Type<'_>, old: Option<&Value>, new: &mut Value, writer: &Writer) {
    let given = new.pointer("/metadata/managedFields").and_then(Value::as_array);
    let cleared = given.is_some_and(|list| {
        list.len() == 1 && list.iter().all(|entry| entry.as_object().is_none_or(Map::is_empty))
    });
    if cleared && old.is_some() {
        write(new, Vec::new());
        return;
    }
    let mut entries = match (given, old) {
        (Some(_), _) => read(new),
        (None, Some(old)) => read(old),
        (None, None) => Vec::new(),
    };
    let after = bare(new);
    let before = old.map(bare);
    let difference = compare(ty, before.as_ref(), Some(&after));
    let touched = without_system(difference.touched());
    for entry in entries.iter_mut().filter(|entry| !entry.is(writer)) {
        entry.set = entry.set.difference(&touched).difference(&difference.removed);
    }
    let own =
        entries.iter().find(|entry| entry.is(writer)).map(|entry| entry.set.clone()).unwrap_or_default();
    let set = own.difference(&difference.removed).union(&touched);
    put(&mut entries, writer, set);
    write(new, entries);
}

/// Server-side apply of `config` onto `live` (the empty object when it is to be created). Of an object that nobody
/// owned a part of, all is said to be somebody's that `blank`, a new one, does not hold.
pub(crate) fn apply(
    ty: Type<'_>,
    live: Option<&Value>,
    blank: &Value,
    config: &Value,
    writer: &Writer,
    force: bool,
) -> Result<Value, Refusal> {
    let before = live.map(bare).unwrap_or_else(|| json!({}));
    let mut entries = live.map(read).unwrap_or_default();
    if entries.is_empty() && live.is_some() {
        let unknown = Writer {
            manager: "before-first-apply".into(),
            operation: Operation::Update,
            subresource: String::new(),
            ..writer.clone()
        };
        let everything = compare(ty, Some(blank), Some(&before)).touched();
        entries.push(Entry { writer: unknown, set: without_system(everything) });
    }
    let mut merged = merge(ty, &before, config);
    let wanted = fields_of(ty, config);
    let own_time = entries.iter().find(|entry| entry.is(writer)).map(|entry| entry.writer.now.clone());
    let last =
        entries.iter().find(|entry| entry.is(writer)).map(|entry| entry.set.clone()).unwrap_or_default();
    put(&mut entries, writer, wanted);
    if !last.is_empty() {
        let owned = entries.iter().fold(Set::default(), |all, entry| all.union(&entry.set));
        let doomed = last.with_parents(ty).difference(&owned.with_parents(ty));
        merged = remove(ty, &merged, &doomed).unwrap_or_else(|| json!({}));
    }
    let difference = compare(ty, Some(&before), Some(&merged));
    let touched = difference.touched();
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|entry| !entry.is(writer)) {
        let contested = entry.set.intersection(&touched);
        if !contested.is_empty() {
            conflicts.push((entry.shown(), contested.paths()));
            entry.set = entry.set.difference(&contested);
        }
        entry.set = entry.set.difference(&difference.removed);
    }
    if !conflicts.is_empty() && !force {
        return Err(Refusal::apply_conflict(conflicts));
    }
    // Sharing what is there already is not worth a time stamp.
    let changed = before != merged || live.is_none();
    for entry in entries.iter_mut().filter(|entry| entry.is(writer)) {
        entry.set = without_system(std::mem::take(&mut entry.set));
        entry.writer.now = if changed { writer.now.clone() } else { own_time.clone().unwrap_or_default() };
    }
    write(&mut merged, entries);
    Ok(merged)
}
