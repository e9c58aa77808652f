use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::Status;
use crate::time::Time;

/// What a Kustomization reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizationFacts {
    /// The last revision that was applied to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// The revision of the source that the applied artifact was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_origin_revision: Option<String>,
    /// The last revision whose application was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// The objects that are, or may be, in the cluster on behalf of this Kustomization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// The last outcomes, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Snapshot>,
}

/// Status of a Kustomization.
pub type KustomizationStatus = Status<KustomizationFacts>;

/// A list of objects in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// The objects.
    pub entries: Vec<InventoryEntry>,
}

/// One object of an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct InventoryEntry {
    /// Namespace, name, group and kind, joined by underscores.
    pub id: String,
    /// API version of the object.
    pub v: String,
}

/// One outcome of applying one set of objects, with how often it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Digest of the objects, `sha256:<hex>`.
    pub digest: String,
    /// When this outcome was first seen.
    #[schemars(with = "crate::schema::DateTime")]
    pub first_reconciled: Time,
    /// When it was last seen.
    #[schemars(with = "crate::schema::DateTime")]
    pub last_reconciled: Time,
    /// How long the last run took, as a Go duration.
    pub last_reconciled_duration: String,
    /// The outcome: the reason of the Ready condition.
    pub last_reconciled_status: String,
    /// How often it was seen in a row.
    pub total_reconciliations: i64,
    /// What else is known, such as the revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}
