//! Any source, seen by its consumers: metadata, artifact, conditions. Whatever else it holds is dropped.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::condition::Condition;
use crate::keys::source::GROUP;

/// Kinds of sources that a Kustomization may be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum SourceKind {
    /// An OCI repository.
    #[serde(rename = "OCIRepository")]
    OciRepository,
    /// A Git repository.
    GitRepository,
    /// A bucket of an object store.
    Bucket,
    /// An artifact that somebody else makes.
    ExternalArtifact,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::OciRepository, Self::GitRepository, Self::Bucket, Self::ExternalArtifact];

    /// The kind on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OciRepository => "OCIRepository",
            Self::GitRepository => "GitRepository",
            Self::Bucket => "Bucket",
            Self::ExternalArtifact => "ExternalArtifact",
        }
    }

    /// The name of the collection in URLs.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::OciRepository => "ocirepositories",
            Self::GitRepository => "gitrepositories",
            Self::Bucket => "buckets",
            Self::ExternalArtifact => "externalartifacts",
        }
    }

    /// What a client needs to address this kind, for instance `Api::<SourceObject>::all_with`.
    pub fn resource(self) -> ApiResource {
        ApiResource {
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            api_version: format!("{GROUP}/v1"),
            kind: self.as_str().to_owned(),
            plural: self.plural().to_owned(),
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A source of any kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceObject {
    /// Name, namespace and the rest.
    pub metadata: ObjectMeta,
    /// What consumers may rely on.
    #[serde(default)]
    pub status: SourceStatus,
}

/// The part of a source's status that all kinds share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceStatus {
    /// The file to fetch, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Typed statements about the source.
    pub conditions: Vec<Condition>,
    /// The last generation that was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl kube::Resource for SourceObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_a_kind_nobody_here_reconciles_is_read_by_its_artifact() {
        let bucket: SourceObject = serde_json::from_value(serde_json::json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "Bucket",
            "metadata": {"name": "assets", "namespace": "apps"},
            "spec": {"bucketName": "x", "someday": {"new": true}},
            "status": {
                "artifact": {
                    "path": "bucket/apps/assets/x.tar.gz", "url": "http://s/x", "revision": "sha256:aa",
                    "digest": "sha256:bb", "lastUpdateTime": "2024-05-01T10:00:00Z", "size": 3, "extra": 1,
                },
                "url": "http://s/latest.tar.gz",
            },
        }))
        .unwrap();
        assert_eq!(bucket.status.artifact.unwrap().digest, "sha256:bb");
        let waiting: SourceObject =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "x"}})).unwrap();
        assert!(waiting.status.artifact.is_none());
    }
}
