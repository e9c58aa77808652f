//! Keys of annotations and labels, finalizers and field managers: each defined once.

/// Annotation: any new value asks for one reconciliation now.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Annotation: asks one Helm release to be forced.
pub const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";
/// Label (`Enabled`): changes of this ConfigMap or Secret wake the objects that refer to it.
pub const WATCH: &str = "reconcile.fluxcd.io/watch";
/// Default of `--watch-configs-label-selector`.
pub const WATCH_SELECTOR: &str = "reconcile.fluxcd.io/watch=Enabled";
/// Label: the shard an object belongs to.
pub const SHARD: &str = "sharding.fluxcd.io/key";
/// Finalizer of every kind that is reconciled.
pub const FINALIZER: &str = "finalizers.fluxcd.io";
/// Prefix of annotations that are copied to every event of their object.
pub const EVENT_PREFIX: &str = "event.toolkit.fluxcd.io/";
/// Key of artifact metadata: the revision of the source that an OCI artifact was made from.
pub const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";
/// Key of artifact metadata: where an OCI artifact was made from.
pub const ORIGIN_SOURCE: &str = "org.opencontainers.image.source";
/// Key of artifact metadata: digest of the artifact's path index.
pub const ARTIFACT_INDEX: &str = "sluice.dev/index";
/// Key of history metadata: what the last success was made of.
pub const APPLIED: &str = "sluice.dev/applied";

/// Keys that only sources use.
pub mod source {
    /// Group of the source kinds.
    pub const GROUP: &str = "source.toolkit.fluxcd.io";
    /// Event annotation: revision of the artifact.
    pub const REVISION: &str = "source.toolkit.fluxcd.io/revision";
    /// Event annotation: digest of the artifact.
    pub const DIGEST: &str = "source.toolkit.fluxcd.io/digest";
    /// Name of the controller, its lease prefix and its field manager.
    pub const CONTROLLER: &str = "source-controller";
    /// Field manager of status writes.
    pub const FIELD_MANAGER: &str = "source-controller";
}

/// Keys that only Kustomizations use.
pub mod kustomize {
    /// Group of the Kustomization kind.
    pub const GROUP: &str = "kustomize.toolkit.fluxcd.io";
    /// Event annotation: revision of the applied artifact.
    pub const REVISION: &str = "kustomize.toolkit.fluxcd.io/revision";
    /// Event annotation: revision of the source that the artifact was made from.
    pub const ORIGIN_REVISION: &str = "kustomize.toolkit.fluxcd.io/originRevision";
    /// Event annotation (`update`): the final event of a run, good for a commit status.
    pub const COMMIT_STATUS: &str = "kustomize.toolkit.fluxcd.io/commit_status";
    /// Owner label: name of the Kustomization.
    pub const OWNER_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
    /// Owner label: namespace of the Kustomization.
    pub const OWNER_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
    /// Annotation or label (`disabled`): no variables are substituted in this object.
    pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
    /// Annotation or label (`disabled`): this object is not reconciled.
    pub const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
    /// Annotation or label (`disabled`): this object is never garbage-collected.
    pub const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
    /// Annotation or label (`enabled`): this object may be recreated.
    pub const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
    /// Annotation or label (`Merge`, `IfNotPresent`, `Ignore`, `Override`): how this object is applied.
    pub const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
    /// Annotation or label (`disabled`): this object is applied as it is, encrypted or not.
    pub const DECRYPT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
    /// Name of the controller, its lease prefix and the field manager of what it applies.
    pub const CONTROLLER: &str = "kustomize-controller";
    /// Field manager of applied objects.
    pub const FIELD_MANAGER: &str = "kustomize-controller";
    /// Field manager of status writes.
    pub const STATUS_FIELD_MANAGER: &str = "gotk-kustomize-controller";
}
