//! The envelope that every reconciled kind's status has in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{self, Condition};

/// A status: what the driver writes for every kind, and the facts of the kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", bound(deserialize = "F: Default + serde::de::DeserializeOwned"))]
pub struct Status<F> {
    /// The last generation of the spec that was dealt with to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Typed statements about the state of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// What only this kind reports.
    #[serde(flatten)]
    pub facts: F,
}

impl<F> Status<F> {
    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        condition::find(&self.conditions, kind)
    }

    /// True when the object is Ready.
    pub fn is_ready(&self) -> bool {
        condition::holds(&self.conditions, condition::READY)
    }
}
