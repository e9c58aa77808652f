use std::time::Duration;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_types::GoDuration;

use super::build::{BuildMetadata, CommonMetadata, Decryption, IgnoreRule, Image, Patch, PostBuild};
use super::facts::{KustomizationFacts, KustomizationStatus};
use crate::managed::Managed;
use crate::reference::{KubeConfigReference, LocalReference, ObjectReference};
use crate::source::SourceKind;
use crate::status::Status;

/// What is built from a source, and how it is applied.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kustomize.toolkit.fluxcd.io",
    version = "v1",
    kind = "Kustomization",
    plural = "kustomizations",
    namespaced,
    status = "KustomizationStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct KustomizationSpec {
    /// Time between two visits while nothing changes.
    #[schemars(with = "String", regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub interval: GoDuration,
    /// Time from a failure to the next attempt; the interval when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("pattern" = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub retry_interval: Option<GoDuration>,
    /// How long building, applying and waiting for health may take; derived from the interval when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("pattern" = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub timeout: Option<GoDuration>,
    /// Directory of the source to build; its root when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The source.
    pub source_ref: SourceReference,
    /// Whether objects that leave the source are deleted.
    pub prune: bool,
    /// What happens to the objects when the Kustomization is deleted; MirrorPrune when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// True to leave this Kustomization alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// True to delete and recreate objects when a field that cannot be changed must change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub force: Option<bool>,
    /// True to wait until everything that was applied is healthy; goes before the list of health checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// Objects that must be healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<ObjectReference>,
    /// How the health of custom kinds is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<HealthCheckExpr>,
    /// Kustomizations that must be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// Namespace that the objects are put into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub target_namespace: Option<String>,
    /// Text before the name of every object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name_prefix: Option<String>,
    /// Text after the name of every object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name_suffix: Option<String>,
    /// Patches that are applied in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// New names, tags or digests of images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Kustomize components, by relative path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// True to pass over components that do not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_missing_components: Option<bool>,
    /// Notes about their origin that objects get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_metadata: Vec<BuildMetadata>,
    /// Labels and annotations that every object gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// What happens to the objects after the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_build: Option<PostBuild>,
    /// How encrypted files and objects are decrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<Decryption>,
    /// ServiceAccount of this namespace to apply as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Another cluster to apply to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// Fields whose drift is left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
}

/// The source of a Kustomization.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceReference {
    /// Group and version of the source; not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the source.
    pub kind: SourceKind,
    /// Name of the source.
    pub name: String,
    /// Namespace of the source; that of the Kustomization when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What happens to the objects when their Kustomization is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They go if `prune` says so.
    #[default]
    MirrorPrune,
    /// They go.
    Delete,
    /// They go, and the Kustomization stays until they are gone.
    WaitForTermination,
    /// They stay.
    Orphan,
}

/// How the health of a kind is told from an object, in CEL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckExpr {
    /// Group and version of the kind; the version is not compared.
    pub api_version: String,
    /// The kind; every kind of the group when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// True when the object is as it should be.
    pub current: String,
    /// True while the object is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<String>,
    /// True when the object has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A Kustomization that must be ready first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DependencyReference {
    /// Name of the Kustomization.
    pub name: String,
    /// Namespace of the Kustomization; that of the referring one when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// CEL expression over `self` and `dep` that tells when it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_expr: Option<String>,
}

impl KustomizationSpec {
    /// The least a Kustomization must say; for tests and tools.
    pub fn new(interval: Duration, source: SourceReference, prune: bool) -> Self {
        Self {
            interval: GoDuration(interval),
            retry_interval: None,
            timeout: None,
            path: None,
            source_ref: source,
            prune,
            deletion_policy: None,
            suspend: None,
            force: None,
            wait: None,
            health_checks: Vec::new(),
            health_check_exprs: Vec::new(),
            depends_on: Vec::new(),
            target_namespace: None,
            name_prefix: None,
            name_suffix: None,
            patches: Vec::new(),
            images: Vec::new(),
            components: Vec::new(),
            ignore_missing_components: None,
            build_metadata: Vec::new(),
            common_metadata: None,
            post_build: None,
            decryption: None,
            service_account_name: None,
            kube_config: None,
            ignore: Vec::new(),
        }
    }

    /// The Secret that holds the decryption keys, if any.
    pub fn decryption_secret(&self) -> Option<&LocalReference> {
        self.decryption.as_ref()?.secret_ref.as_ref()
    }
}

const LEAST_TIMEOUT: Duration = Duration::from_secs(30);

impl Managed for Kustomization {
    type Facts = KustomizationFacts;

    fn status(&self) -> Option<&Status<KustomizationFacts>> {
        self.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut Option<Status<KustomizationFacts>> {
        &mut self.status
    }

    fn interval(&self) -> Duration {
        self.spec.interval.0
    }

    fn retry_interval(&self) -> Option<Duration> {
        Some(self.spec.retry_interval.unwrap_or(self.spec.interval).0)
    }

    /// Thirty seconds less than the interval unless given, and never less than thirty seconds.
    fn timeout(&self) -> Duration {
        self.spec
            .timeout
            .map_or_else(|| self.spec.interval.0.saturating_sub(LEAST_TIMEOUT), |timeout| timeout.0)
            .max(LEAST_TIMEOUT)
    }

    fn suspended(&self) -> bool {
        self.spec.suspend.unwrap_or_default()
    }
}
