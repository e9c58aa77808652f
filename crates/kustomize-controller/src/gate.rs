//! Whether a pass may go on: access, the source's artifact, dependencies. Decides, and asks nobody.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sluice_api::condition::READY;
use sluice_api::keys;
use sluice_api::kustomize::v1::{Kustomization, SubstituteKind};
use sluice_api::source::{SourceKind, SourceObject};
use sluice_api::{Artifact, Managed};
use sluice_runtime::{Key, WakeKey};
use sluice_types::GoDuration;

use crate::cycle;
use crate::options::Options;
use crate::request::{Dependency, Request, SourceKey};

/// What a pass sees before it decides anything.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// The source, or the words of its absence.
    pub(crate) source: Result<Arc<SourceObject>, String>,
    /// The dependencies in the order of the request, or the words of their absence.
    pub(crate) dependencies: Vec<Result<Arc<Kustomization>, String>>,
    /// A circle of dependencies through this Kustomization.
    pub(crate) circle: Option<Vec<Key>>,
}

/// Why a pass may not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The source may not be used.
    Denied(String),
    /// There is no such source.
    SourceMissing(String),
    /// The source has no artifact.
    NoArtifact(String),
    /// A dependency is not ready.
    Dependency(String),
    /// An expression can never be evaluated.
    Configuration(String),
}

/// Refuses sources that policy forbids; goes before any look at them.
pub(crate) fn admit(request: &Request, options: &Options) -> Result<(), Stop> {
    let source = &request.source;
    if options.no_cross_namespace_refs && *source.namespace != *request.key.namespace {
        return Err(Stop::Denied(format!(
            "can't access '{source}', cross-namespace references have been blocked"
        )));
    }
    if source.kind == SourceKind::ExternalArtifact && !options.gates.external_artifact {
        return Err(Stop::Denied(format!(
            "can't access '{source}', ExternalArtifact feature gate is disabled"
        )));
    }
    Ok(())
}

/// The artifact to apply, or why nothing is applied now.
pub(crate) fn judge(
    request: &Request,
    object: &Kustomization,
    observed: &Observed,
    options: &Options,
) -> Result<Artifact, Stop> {
    admit(request, options)?;
    let source = observed.source.as_ref().map_err(|text| Stop::SourceMissing(text.clone()))?;
    let artifact = source.status.artifact.clone().ok_or_else(|| {
        let again = GoDuration(options.requeue_dependency);
        Stop::NoArtifact(format!("Source artifact not found, retrying in {again}"))
    })?;
    for (dependency, seen) in request.dependencies.iter().zip(&observed.dependencies) {
        check(request, object, dependency, seen, &artifact, options)
            .map_err(|stop| explain(stop, observed))?;
    }
    Ok(artifact)
}

fn explain(stop: Stop, observed: &Observed) -> Stop {
    match (stop, &observed.circle) {
        (Stop::Dependency(text), Some(path)) => {
            Stop::Dependency(format!("{text}; the dependencies form a cycle: {}", cycle::describe(path)))
        }
        (stop, _) => stop,
    }
}

fn check(
    request: &Request,
    object: &Kustomization,
    dependency: &Dependency,
    seen: &Result<Arc<Kustomization>, String>,
    artifact: &Artifact,
    options: &Options,
) -> Result<(), Stop> {
    let key = &dependency.key;
    let found =
        seen.as_ref().map_err(|text| Stop::Dependency(format!("dependency '{key}' not found: {text}")))?;
    if let Some(expression) = &dependency.ready {
        let failed = |error: &sluice_expr::Error| {
            let text = format!("failed to evaluate dependency {}: {error}", key.name);
            if error.is_configuration() {
                Stop::Configuration(format!(
                    "Reconciliation failed terminally due to configuration error: {text}"
                ))
            } else {
                Stop::Dependency(text)
            }
        };
        let expression = expression.as_ref().map_err(failed)?;
        let (own, other) = (json(object), json(found));
        if !expression.holds([("self", &own), ("dep", &other)]).map_err(|error| failed(&error))? {
            return Err(Stop::Dependency(format!(
                "dependency '{key}' is not ready according to readyExpr eval"
            )));
        }
        if !options.gates.additive_cel_dependency_check {
            return Ok(());
        }
    }
    if !is_ready(found) {
        return Err(Stop::Dependency(format!("dependency '{key}' is not ready")));
    }
    let applied = found.status().and_then(|status| status.facts.last_applied_revision.as_deref());
    if SourceKey::of(found) == request.source && applied != Some(artifact.revision.as_str()) {
        return Err(Stop::Dependency(format!("dependency '{key}' revision is not up to date")));
    }
    Ok(())
}

fn json(object: &Kustomization) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn is_ready(object: &Kustomization) -> bool {
    object.status().is_some_and(|status| {
        status.observed_generation == Some(object.generation())
            && status.condition(READY).is_some_and(sluice_api::Condition::is_true)
    })
}

/// What ends the wait of a Kustomization that was stopped.
pub(crate) fn wakers(stop: &Stop, request: &Request) -> Vec<WakeKey> {
    match stop {
        Stop::Denied(_) | Stop::Configuration(_) => Vec::new(),
        Stop::SourceMissing(_) | Stop::NoArtifact(_) => vec![source_key(&request.source)],
        Stop::Dependency(_) => {
            request.dependencies.iter().map(|dependency| own_key(&dependency.key)).collect()
        }
    }
}

/// How long a stopped Kustomization waits at most for what it waits for.
pub(crate) fn patience(stop: &Stop, request: &Request, options: &Options) -> Duration {
    match stop {
        Stop::SourceMissing(_) => request.retry,
        _ => options.requeue_dependency,
    }
}

/// The key that a source's changes wake.
pub(crate) fn source_key(source: &SourceKey) -> WakeKey {
    WakeKey::object(keys::source::GROUP, source.kind.as_str(), &source.namespace, &source.name)
}

/// The key that changes of a ConfigMap or Secret wake.
pub(crate) fn reference_key(kind: SubstituteKind, namespace: &str, name: &str) -> WakeKey {
    WakeKey::object("", kind.as_str(), namespace, name)
}

/// The key that a Kustomization's changes wake.
pub(crate) fn own_key(key: &Key) -> WakeKey {
    WakeKey::object(keys::kustomize::GROUP, "Kustomization", &key.namespace, &key.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use serde_json::json;

    fn spec(more: Value) -> Value {
        let mut all =
            json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "repo"}});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    }

    fn dependency(ready: &str, observed: i64, revision: &str) -> Arc<Kustomization> {
        let status = json!({
            "observedGeneration": observed,
            "lastAppliedRevision": revision,
            "conditions": [{
                "type": "Ready", "status": ready, "reason": "X", "message": "",
                "lastTransitionTime": "2024-05-01T10:00:00Z",
            }],
        });
        Arc::new(sample::named("base", spec(json!({})), status))
    }

    fn run(
        own: Value,
        seen: Vec<Result<Arc<Kustomization>, String>>,
        options: &Options,
    ) -> Result<String, Stop> {
        let object = sample::named("app", spec(own), Value::Null);
        let request = Request::read(&object, options).unwrap();
        let source = Ok(Arc::new(sample::source("main@sha1:1")));
        let observed = Observed { source, dependencies: seen, circle: None };
        judge(&request, &object, &observed, options).map(|artifact| artifact.revision)
    }

    fn stop(text: &str) -> Result<String, Stop> {
        Err(Stop::Dependency(text.to_owned()))
    }

    #[test]
    fn a_dependency_counts_as_ready_as_the_contract_says() {
        let options = Options::default();
        let own = json!({"dependsOn": [{"name": "base"}]});
        let table = [
            (Ok(dependency("True", 1, "main@sha1:1")), Ok("main@sha1:1".to_owned())),
            (Ok(dependency("False", 1, "main@sha1:1")), stop("dependency 'apps/base' is not ready")),
            (Ok(dependency("True", 0, "main@sha1:1")), stop("dependency 'apps/base' is not ready")),
            (
                Ok(dependency("True", 1, "main@sha1:0")),
                stop("dependency 'apps/base' revision is not up to date"),
            ),
            (Err("gone".to_owned()), stop("dependency 'apps/base' not found: gone")),
        ];
        for (seen, expected) in table {
            assert_eq!(run(own.clone(), vec![seen], &options), expected);
        }
    }

    #[test]
    fn a_ready_expression_takes_the_place_of_the_built_in_test_unless_it_is_added() {
        let mut options = Options::default();
        let own = |text: &str| json!({"dependsOn": [{"name": "base", "readyExpr": text}]});
        let unready = || vec![Ok(dependency("False", 1, "main@sha1:0"))];
        assert!(run(own("dep.metadata.name == 'base'"), unready(), &options).is_ok());
        assert_eq!(
            run(own("self.metadata.name == 'other'"), unready(), &options),
            stop("dependency 'apps/base' is not ready according to readyExpr eval")
        );
        options.gates.additive_cel_dependency_check = true;
        assert_eq!(
            run(own("dep.metadata.name == 'base'"), unready(), &options),
            stop("dependency 'apps/base' is not ready")
        );
    }

    #[test]
    fn only_an_expression_that_can_never_hold_is_terminal() {
        let options = Options::default();
        let own = |text: &str| json!({"dependsOn": [{"name": "base", "readyExpr": text}]});
        let seen = || vec![Ok(dependency("True", 1, "main@sha1:1"))];
        let Err(Stop::Configuration(text)) = run(own("dep.("), seen(), &options) else {
            unreachable!("it is broken")
        };
        assert!(text.starts_with(
            "Reconciliation failed terminally due to configuration error: failed to evaluate dependency base: "
        ));
        assert!(matches!(run(own("dep.spec.nothing.here"), seen(), &options), Err(Stop::Dependency(_))));
    }

    #[test]
    fn a_circle_is_named() {
        let options = Options::default();
        let object = sample::named("app", spec(json!({"dependsOn": [{"name": "base"}]})), Value::Null);
        let request = Request::read(&object, &options).unwrap();
        let observed = Observed {
            source: Ok(Arc::new(sample::source("r"))),
            dependencies: vec![Ok(dependency("False", 1, "r"))],
            circle: Some(vec![Key::new("apps", "app"), Key::new("apps", "base"), Key::new("apps", "app")]),
        };
        let expected = "dependency 'apps/base' is not ready; the dependencies form a cycle: \
                        apps/app -> apps/base -> apps/app";
        assert_eq!(judge(&request, &object, &observed, &options), Err(Stop::Dependency(expected.to_owned())));
        assert_eq!(
            wakers(&Stop::Dependency(String::new()), &request),
            [WakeKey::object("kustomize.toolkit.fluxcd.io", "Kustomization", "apps", "base")]
        );
    }

    #[test]
    fn policy_goes_before_everything() {
        let options = Options { no_cross_namespace_refs: true, ..Options::default() };
        let own = json!({"sourceRef": {"kind": "GitRepository", "name": "repo", "namespace": "other"}});
        let denied = "can't access 'GitRepository/other/repo', cross-namespace references have been blocked";
        assert_eq!(run(own, Vec::new(), &options), Err(Stop::Denied(denied.to_owned())));
        let own = json!({"sourceRef": {"kind": "ExternalArtifact", "name": "repo"}});
        let denied = "can't access 'ExternalArtifact/apps/repo', ExternalArtifact feature gate is disabled";
        assert_eq!(run(own.clone(), Vec::new(), &options), Err(Stop::Denied(denied.to_owned())));
        let mut options = Options::default();
        options.gates.external_artifact = true;
        assert!(run(own, Vec::new(), &options).is_ok());
    }

    #[test]
    fn a_source_without_artifact_says_when_it_is_looked_at_again() {
        let options = Options::default();
        let object = sample::kustomization(json!({}));
        let request = Request::read(&object, &options).unwrap();
        let mut source = sample::source("r");
        source.status.artifact = None;
        let observed = Observed { source: Ok(Arc::new(source)), dependencies: Vec::new(), circle: None };
        let expected = Stop::NoArtifact("Source artifact not found, retrying in 30s".to_owned());
        assert_eq!(judge(&request, &object, &observed, &options), Err(expected));
    }
}
