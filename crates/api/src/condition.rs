//! Conditions: the typed statements a status makes about its object.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// The object is in the state its spec asks for.
pub const READY: &str = "Ready";
/// Work is in progress or will be retried; absent at rest.
pub const RECONCILING: &str = "Reconciling";
/// Only a change of the spec or of its inputs can help; never together with `Reconciling`.
pub const STALLED: &str = "Stalled";
/// What was applied passed its health checks.
pub const HEALTHY: &str = "Healthy";
/// The stored artifact agrees with the observed state of the source.
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// A newer state of the source was seen and is not stored yet.
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// The source could not be reached, authenticated to or read.
pub const FETCH_FAILED: &str = "FetchFailed";
/// The artifact store failed.
pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
/// An included repository is missing or has no artifact.
pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
/// The signature of the source was verified (or refused).
pub const SOURCE_VERIFIED: &str = "SourceVerified";

/// Longest message a condition may carry, in bytes.
pub const MESSAGE_LIMIT: usize = 32768;

/// The answer a condition gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// The statement holds.
    True,
    /// The statement does not hold.
    False,
    /// Nobody can tell yet.
    Unknown,
}

impl ConditionStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One statement about the current state of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the statement is about, in CamelCase, optionally prefixed with a domain.
    #[serde(rename = "type")]
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub kind: String,
    /// Whether the statement holds.
    pub status: ConditionStatus,
    /// Generation of the spec that the statement was made about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When status, reason or message last changed.
    #[schemars(with = "crate::schema::DateTime")]
    pub last_transition_time: Time,
    /// One CamelCase word for programs: why the statement is as it is.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// The details, for people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

impl Condition {
    /// True when the statement holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// Finds a condition by type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// True when a condition of this type exists and holds.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(Condition::is_true)
}
