//! What the flags mean.

use std::time::Duration;

use sluice_artifact::FetchLimits;
use sluice_identity::Environment;
use sluice_runtime::gates::{CACHE_SECRETS_AND_CONFIG_MAPS, Gate, OBJECT_LEVEL_WORKLOAD_IDENTITY};

/// Behaviour of the controller that does not change while it runs.
#[derive(Clone)]
pub struct Options {
    /// Passes that may run at once.
    pub concurrent: usize,
    /// Objects of one rank that are applied at once.
    pub concurrent_ssa: usize,
    /// Objects that are applied at once beyond that, for all Kustomizations together.
    pub concurrent_ssa_spare: usize,
    /// Refuse sources of other namespaces.
    pub no_cross_namespace_refs: bool,
    /// ServiceAccount to act as where the spec names none.
    pub default_service_account: Option<String>,
    /// ServiceAccount that signs in to remote clusters where their ConfigMap names none.
    pub default_kubeconfig_service_account: Option<String>,
    /// Tokens for remote clusters that are kept.
    pub tokens: usize,
    /// The longest time that they are kept.
    pub token_lifetime: Duration,
    /// What the process was told about its identity in clouds.
    pub environment: Environment,
    /// Safety net for what is waited for by watch.
    pub requeue_dependency: Duration,
    /// Attempts to download an artifact after the first one failed.
    pub http_retry: u32,
    /// Field managers whose fields are taken over.
    pub override_managers: Vec<String>,
    /// Group and kind of what is applied before everything else of the last stage.
    pub stage_kinds: Vec<sluice_manifest::GroupKind>,
    /// Which ConfigMaps and Secrets wake the Kustomizations that refer to them.
    pub config_selector: String,
    /// Only some Kustomizations are driven here: others may be dependencies nevertheless.
    pub sharded: bool,
    /// Replaces host and port of artifact URLs.
    pub source_host: Option<String>,
    /// Replaces host and port of the URLs of a source-watcher.
    pub watcher_host: Option<String>,
    /// Kubeconfigs may ask not to verify the server.
    pub insecure_kubeconfig_tls: bool,
    /// Even the controller's own token may be shown to a server that a tenant describes.
    pub interceptable_tokens: bool,
    /// Switches.
    pub gates: Gates,
    /// Ways in which this controller differs from Flux unless told otherwise.
    pub ways: Ways,
    /// Memory for unpacked artifacts, in bytes.
    pub artifact_cache: usize,
    /// How much one artifact may weigh.
    pub artifact_limits: FetchLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrent: 4,
            concurrent_ssa: 4,
            concurrent_ssa_spare: 28,
            no_cross_namespace_refs: false,
            default_service_account: None,
            default_kubeconfig_service_account: None,
            tokens: 100,
            token_lifetime: Duration::from_secs(3600),
            environment: Environment::default(),
            requeue_dependency: Duration::from_secs(30),
            http_retry: 9,
            override_managers: Vec::new(),
            stage_kinds: Vec::new(),
            config_selector: sluice_api::keys::WATCH_SELECTOR.to_owned(),
            sharded: false,
            source_host: None,
            watcher_host: None,
            insecure_kubeconfig_tls: false,
            interceptable_tokens: false,
            gates: Gates::default(),
            ways: Ways::default(),
            artifact_cache: 64 << 20,
            artifact_limits: FetchLimits::default(),
        }
    }
}

/// What may be done in Flux's way instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// Repair drift when a watch sees it, not only once per interval.
    pub drift_repair: bool,
    /// Apply what can be applied when some objects cannot.
    pub partial_apply: bool,
    /// Record what will be applied before it is applied.
    pub claim_first: bool,
    /// Write nothing when an interval passed and nothing changed.
    pub quiet: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self { drift_repair: true, partial_apply: true, claim_first: true, quiet: true }
    }
}

/// Feature gates, under Flux's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// `CacheSecretsAndConfigMaps`
    pub cache_secrets_and_config_maps: bool,
    /// `DisableStatusPollerCache`
    pub disable_status_poller_cache: bool,
    /// `DisableFailFastBehavior`
    pub disable_fail_fast_behavior: bool,
    /// `StrictPostBuildSubstitutions`
    pub strict_post_build_substitutions: bool,
    /// `GroupChangeLog`
    pub group_change_log: bool,
    /// `AdditiveCELDependencyCheck`
    pub additive_cel_dependency_check: bool,
    /// `ExternalArtifact`
    pub external_artifact: bool,
    /// `CancelHealthCheckOnNewRevision`
    pub cancel_health_check_on_new_revision: bool,
    /// `DisableConfigWatchers`
    pub disable_config_watchers: bool,
    /// `DirectSourceFetch`
    pub direct_source_fetch: bool,
    /// `MigrateAPIVersion`
    pub migrate_api_version: bool,
    /// `ObjectLevelWorkloadIdentity`
    pub object_level_workload_identity: bool,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            cache_secrets_and_config_maps: false,
            disable_status_poller_cache: true,
            disable_fail_fast_behavior: false,
            strict_post_build_substitutions: true,
            group_change_log: false,
            additive_cel_dependency_check: false,
            external_artifact: false,
            cancel_health_check_on_new_revision: false,
            disable_config_watchers: false,
            direct_source_fetch: false,
            migrate_api_version: false,
            object_level_workload_identity: false,
        }
    }
}

const fn gate(name: &'static str, default: bool, about: &'static str) -> Gate {
    Gate::new(name, default, about)
}

const DISABLE_STATUS_POLLER_CACHE: Gate = gate(
    "DisableStatusPollerCache",
    true,
    "Accepted, without effect: health is watched instead of polled; what may not be watched is read from the server, \
     never from a cache",
);
const DISABLE_FAIL_FAST_BEHAVIOR: Gate =
    gate("DisableFailFastBehavior", false, "Wait for the other objects when one has failed already");
const STRICT_POST_BUILD_SUBSTITUTIONS: Gate = gate(
    "StrictPostBuildSubstitutions",
    true,
    "A variable that is not set and has no default is an error instead of an empty text",
);
const GROUP_CHANGE_LOG: Gate =
    gate("GroupChangeLog", false, "Log changes by what was done instead of by object");
const ADDITIVE_CEL_DEPENDENCY_CHECK: Gate = gate(
    "AdditiveCELDependencyCheck",
    false,
    "A dependency with a readyExpr must also be ready in the usual sense",
);
const EXTERNAL_ARTIFACT: Gate = gate("ExternalArtifact", false, "Allow sources of kind ExternalArtifact");
const CANCEL_HEALTH_CHECK: Gate = gate(
    "CancelHealthCheckOnNewRevision",
    false,
    "Tell by an event when something newer ends a wait for health; it ends it whether this is on or not",
);
const DISABLE_CONFIG_WATCHERS: Gate =
    gate("DisableConfigWatchers", false, "Do not watch ConfigMaps and Secrets that are referred to");
const DIRECT_SOURCE_FETCH: Gate =
    gate("DirectSourceFetch", false, "Read sources from the server instead of from the watch");
const MIGRATE_API_VERSION: Gate = gate(
    "MigrateAPIVersion",
    false,
    "Move the ownership of fields to the desired API version before applying",
);

/// Every gate that `--feature-gates` may name.
pub const GATES: &[Gate] = &[
    CACHE_SECRETS_AND_CONFIG_MAPS,
    DISABLE_STATUS_POLLER_CACHE,
    DISABLE_FAIL_FAST_BEHAVIOR,
    STRICT_POST_BUILD_SUBSTITUTIONS,
    GROUP_CHANGE_LOG,
    ADDITIVE_CEL_DEPENDENCY_CHECK,
    EXTERNAL_ARTIFACT,
    CANCEL_HEALTH_CHECK,
    DISABLE_CONFIG_WATCHERS,
    DIRECT_SOURCE_FETCH,
    MIGRATE_API_VERSION,
    OBJECT_LEVEL_WORKLOAD_IDENTITY,
];

impl Gates {
    /// The gates as the flag sets them.
    pub fn of(set: &sluice_runtime::gates::Gates) -> Self {
        Self {
            cache_secrets_and_config_maps: set.is_on(CACHE_SECRETS_AND_CONFIG_MAPS),
            disable_status_poller_cache: set.is_on(DISABLE_STATUS_POLLER_CACHE),
            disable_fail_fast_behavior: set.is_on(DISABLE_FAIL_FAST_BEHAVIOR),
            strict_post_build_substitutions: set.is_on(STRICT_POST_BUILD_SUBSTITUTIONS),
            group_change_log: set.is_on(GROUP_CHANGE_LOG),
            additive_cel_dependency_check: set.is_on(ADDITIVE_CEL_DEPENDENCY_CHECK),
            external_artifact: set.is_on(EXTERNAL_ARTIFACT),
            cancel_health_check_on_new_revision: set.is_on(CANCEL_HEALTH_CHECK),
            disable_config_watchers: set.is_on(DISABLE_CONFIG_WATCHERS),
            direct_source_fetch: set.is_on(DIRECT_SOURCE_FETCH),
            migrate_api_version: set.is_on(MIGRATE_API_VERSION),
            object_level_workload_identity: set.is_on(OBJECT_LEVEL_WORKLOAD_IDENTITY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_runtime::gates::Gates as Set;

    #[test]
    fn defaults_are_the_same_wherever_they_stand() {
        assert_eq!(Gates::of(&Set::parse(GATES, &[]).unwrap()), Gates::default());
    }

    #[test]
    fn every_gate_switches_something() {
        for gate in GATES {
            let entry = format!("{}={}", gate.name, !gate.default);
            assert_ne!(Gates::of(&Set::parse(GATES, &[entry]).unwrap()), Gates::default(), "{}", gate.name);
        }
    }
}
