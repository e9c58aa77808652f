//! Artifacts: the files that sources serve to their consumers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_types::Revision;

use crate::time::Time;

/// A stored file and the state of the source that it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Path of the file in the store, without a leading slash.
    pub path: String,
    /// HTTP address of the file inside the cluster.
    pub url: String,
    /// State of the source, readable for people, such as `main@sha1:<commit>`.
    pub revision: String,
    /// Digest of the file in the form `<algorithm>:<hex>`.
    #[schemars(regex(pattern = r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"))]
    pub digest: String,
    /// When the file was written.
    #[schemars(with = "crate::schema::DateTime")]
    pub last_update_time: Time,
    /// Size of the file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// What else is known about the file, such as annotations of an OCI manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Artifact {
    /// True when both revisions mean the same state, whatever form they are written in.
    pub fn has_revision(&self, revision: &str) -> bool {
        Revision::new(&self.revision) == Revision::new(revision)
    }
}
