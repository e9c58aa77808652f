//! The body of an event as it is POSTed to a notification controller.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How much attention an event deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the curious: a Kubernetes Event only, never POSTed.
    Trace,
    /// Something worth knowing.
    Info,
    /// Something failed.
    Error,
}

impl Severity {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Info => "info",
            Self::Error => "error",
        }
    }

    /// The type of the Kubernetes Event.
    pub const fn kubernetes_type(self) -> &'static str {
        match self {
            Self::Trace | Self::Info => "Normal",
            Self::Error => "Warning",
        }
    }
}

/// The object an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvolvedObject {
    /// Kind, such as `Kustomization`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Group and version.
    pub api_version: String,
    /// Resource version the event was made at.
    pub resource_version: String,
}

/// The POST body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The object the event is about.
    pub involved_object: InvolvedObject,
    /// How much attention it deserves.
    pub severity: Severity,
    /// When it happened, RFC 3339.
    pub timestamp: String,
    /// What happened.
    pub message: String,
    /// One CamelCase word for programs.
    pub reason: String,
    /// The event's annotations and those of the object that carry [`crate::keys::EVENT_PREFIX`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Name of the controller.
    pub reporting_controller: String,
    /// Host the controller runs on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reporting_instance: String,
}
