//! What a watch reads of an object: the JSON that was sent, parsed once.

use std::borrow::Cow;

use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::core::{DynamicResourceScope, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object, or with `METADATA` what the server sends when only metadata is asked for. kube's own types read
/// `managedFields`, the greater part of most objects, into fields that would have to become JSON again.
#[derive(Clone, Debug)]
pub(super) struct Sighting<const METADATA: bool> {
    /// What a watch needs to go on from here; the rest is in `object`.
    meta: ObjectMeta,
    pub(super) object: Value,
}

impl<'de, const METADATA: bool> Deserialize<'de> for Sighting<METADATA> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let text = |field: &str| object.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, object })
    }
}

impl<const METADATA: bool> Resource for Sighting<METADATA> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(place: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(place)
    }

    fn group(place: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(place)
    }

    fn version(place: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(place)
    }

    fn api_version(place: &ApiResource) -> Cow<'_, str> {
        DynamicObject::api_version(place)
    }

    fn plural(place: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(place)
    }

    fn metadata_api() -> bool {
        METADATA
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
