//! Objects that may be other than they should: one that cannot be read must not hide all others.

use std::borrow::Cow;
use std::fmt;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object without its `managedFields`, or why it cannot be read. kube's `DeserializeGuard` reads those too, and
/// copies each object once on the way.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>);

/// What is known of an object that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// What is wrong with it, as the parser says it.
    pub error: String,
    /// Its metadata, which must be as it should.
    pub metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = deserializer.deserialize_map(Sent)?;
        let error = match K::deserialize(&sent) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let metadata = sent.get("metadata").map(ObjectMeta::deserialize).transpose();
        Ok(Self(Err(Unreadable { error, metadata: metadata.map_err(D::Error::custom)?.unwrap_or_default() })))
    }
}

/// Reads an object without its `managedFields`, the greater part of most and of no use here.
struct Sent;

impl<'de> Visitor<'de> for Sent {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value =
                if name == "metadata" { fields.next_value_seed(Metadata)? } else { fields.next_value()? };
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

struct Metadata;

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut metadata = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name == "managedFields" {
                fields.next_value::<IgnoredAny>()?;
            } else {
                metadata.insert(name, fields.next_value()?);
            }
        }
        Ok(Value::Object(metadata))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{ObjectList, WatchEvent};

    use super::*;

    #[test]
    fn an_odd_object_keeps_its_name_and_hides_no_other() {
        let list = r#"{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [
            {"metadata": {"name": "odd", "resourceVersion": "1"}, "data": ["no", "map"]},
            {"metadata": {"name": "even"}, "data": {"a": "b"}}]}"#;
        let list: ObjectList<Guarded<ConfigMap>> = serde_json::from_str(list).unwrap();
        let names: Vec<_> = list.items.iter().map(|object| object.meta().name.clone().unwrap()).collect();
        assert_eq!(names, ["odd", "even"]);
        assert!(list.items[0].0.as_ref().unwrap_err().error.contains("invalid type: sequence"));
        assert_eq!(list.items[0].meta().resource_version.as_deref(), Some("1"));
        assert!(list.items[1].0.is_ok());
    }

    #[test]
    fn events_of_a_watch_are_read_alike_in_any_order_and_without_managed_fields() {
        let object =
            r#""object": {"metadata": {"name": "a", "managedFields": [{"manager": "m"}]}, "data": 1}"#;
        for event in
            [format!(r#"{{"type": "MODIFIED", {object}}}"#), format!(r#"{{{object}, "type": "MODIFIED"}}"#)]
        {
            let event: WatchEvent<Guarded<ConfigMap>> = serde_json::from_str(&event).unwrap();
            let WatchEvent::Modified(object) = event else { panic!("another event") };
            let metadata = object.0.unwrap_err().metadata;
            assert_eq!(metadata.name.as_deref(), Some("a"));
            assert_eq!(metadata.managed_fields, None);
        }
    }
}
