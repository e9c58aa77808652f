//! A Kustomization, read once: defaults resolved, exclusions applied, expressions compiled.

use std::sync::Arc;
use std::time::Duration;

use sluice_api::Managed;
use sluice_api::kustomize::v1::{
    DecryptionProvider, IgnoreRule, Kustomization, SubstituteKind, SubstituteReference,
};
use sluice_api::reference::KubeConfigReference;
use sluice_api::source::SourceKind;
use sluice_expr::{Expression, Rule, Rules};
use sluice_runtime::Key;
use sluice_types::RelPath;

use crate::options::Options;

/// Names a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SourceKey {
    pub(crate) kind: SourceKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl SourceKey {
    /// The source a Kustomization is made from.
    pub(crate) fn of(object: &Kustomization) -> Self {
        let reference = &object.spec.source_ref;
        let namespace = reference.namespace.clone().filter(|namespace| !namespace.is_empty());
        Self {
            kind: reference.kind,
            namespace: namespace.unwrap_or_else(|| object.metadata.namespace.clone().unwrap_or_default()),
            name: reference.name.clone(),
        }
    }
}

impl std::fmt::Display for SourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// A Kustomization that must be ready first.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) key: Key,
    /// When it counts as ready; a broken expression is kept until it is this dependency's turn.
    pub(crate) ready: Option<Result<Expression, sluice_expr::Error>>,
}

/// What must be healthy before the Kustomization is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// Nothing is asked.
    Nothing,
    /// Everything that was applied.
    Everything,
    /// What is listed.
    Listed(Vec<Check>),
}

/// An object whose health is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Check {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A Kustomization as its pass sees it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) source: SourceKey,
    /// The directory to build; leads nowhere outside of the artifact.
    pub(crate) path: RelPath,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) retry: Duration,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) checks: Checks,
    pub(crate) rules: Arc<Rules>,
    pub(crate) prune: bool,
    pub(crate) force: bool,
    /// ServiceAccount to act as.
    pub(crate) account: Option<String>,
    /// The cluster to act on, when it is not this one.
    pub(crate) cluster: Option<KubeConfigReference>,
    pub(crate) substitutes: Vec<SubstituteReference>,
    pub(crate) ignore: Vec<IgnoreRule>,
}

/// A spec that nothing but another spec (or another start of the controller) can help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A health expression cannot be compiled.
    #[error("Reconciliation failed terminally due to configuration error: {0}")]
    Expression(#[from] sluice_expr::Error),
    /// Decryption as a ServiceAccount was not switched on.
    #[error(
        "to use spec.decryption.serviceAccountName for decryption authentication please enable the \
         ObjectLevelWorkloadIdentity feature gate in the controller"
    )]
    DecryptionAccount,
    /// Decryption is not there yet.
    #[error(
        "spec.decryption.provider '{}' is not available in this version of the controller: \
         nothing was decrypted and nothing was applied", provider(*.0)
    )]
    Decryption(DecryptionProvider),
}

const fn provider(provider: DecryptionProvider) -> &'static str {
    match provider {
        DecryptionProvider::Sops => "sops",
    }
}

impl Request {
    /// Reads a Kustomization.
    pub(crate) fn read(object: &Kustomization, options: &Options) -> Result<Self, Refusal> {
        let spec = &object.spec;
        let key = Key::of(object);
        let rules = Rules::compile(spec.health_check_exprs.iter().map(|rule| Rule {
            api_version: &rule.api_version,
            kind: rule.kind.as_deref(),
            in_progress: rule.in_progress.as_deref(),
            failed: rule.failed.as_deref(),
            current: &rule.current,
        }))?;
        if let Some(decryption) = &spec.decryption {
            if decryption.service_account_name.is_some() && !options.gates.object_level_workload_identity {
                return Err(Refusal::DecryptionAccount);
            }
            return Err(Refusal::Decryption(decryption.provider));
        }
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Self {
            source: SourceKey::of(object),
            path: RelPath::clamped(spec.path.as_deref().unwrap_or_default()),
            timeout: object.timeout(),
            interval: object.interval(),
            retry: object.retry_interval().unwrap_or_else(|| object.interval()),
            dependencies: dependencies(object),
            checks: checks(object),
            rules: Arc::new(rules),
            prune: spec.prune,
            force: spec.force.unwrap_or_default(),
            account: text(&spec.service_account_name).or_else(|| text(&options.default_service_account)),
            cluster: spec.kube_config.clone(),
            substitutes: spec
                .post_build
                .as_ref()
                .map(|post| post.substitute_from.clone())
                .unwrap_or_default(),
            ignore: spec.ignore.clone(),
            key,
        })
    }
}

/// The Kustomizations that this one waits for, by name.
pub(crate) fn prerequisites(object: &Kustomization) -> impl Iterator<Item = Key> {
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    object.spec.depends_on.iter().map(move |reference| {
        let namespace = reference.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        Key::new(namespace.unwrap_or(own), &reference.name)
    })
}

fn dependencies(object: &Kustomization) -> Vec<Dependency> {
    let compile = |text: &String| Expression::compile(text, &["self", "dep"]);
    prerequisites(object)
        .zip(&object.spec.depends_on)
        .map(|(key, reference)| Dependency {
            key,
            ready: reference.ready_expr.as_ref().filter(|text| !text.is_empty()).map(compile),
        })
        .collect()
}

fn checks(object: &Kustomization) -> Checks {
    if object.spec.wait.unwrap_or_default() {
        return Checks::Everything;
    }
    let own = Key::of(object);
    let listed: Vec<Check> = object
        .spec
        .health_checks
        .iter()
        .map(|reference| {
            let version = reference.api_version.as_deref().filter(|version| !version.is_empty());
            let (group, version) = split(version.unwrap_or("apps/v1"));
            Check {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: reference.kind.clone(),
                namespace: reference.namespace.clone().unwrap_or_default(),
                name: reference.name.clone(),
            }
        })
        .filter(|check| !is_self(&own, &check.group, &check.kind, &check.namespace, &check.name))
        .collect();
    if listed.is_empty() { Checks::Nothing } else { Checks::Listed(listed) }
}

/// True for the Kustomization itself, whose health can never come before its own.
pub(crate) fn is_self(own: &Key, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
    group == sluice_api::keys::kustomize::GROUP
        && kind == "Kustomization"
        && *own.namespace == *namespace
        && *own.name == *name
}

/// Group and version of an `apiVersion`.
pub(crate) fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// The objects of the Kustomization's namespace that it refers to and whose change is worth a pass.
pub(crate) fn referenced(object: &Kustomization) -> Vec<(SubstituteKind, String)> {
    let spec = &object.spec;
    let mut found: Vec<(SubstituteKind, String)> = Vec::new();
    for reference in spec.post_build.iter().flat_map(|post| &post.substitute_from) {
        found.push((reference.kind, reference.name.clone()));
    }
    if let Some(secret) = spec.decryption_secret() {
        found.push((SubstituteKind::Secret, secret.name.clone()));
    }
    if let Some(cluster) = &spec.kube_config {
        if let Some(secret) = &cluster.secret_ref {
            found.push((SubstituteKind::Secret, secret.name.clone()));
        }
        if let Some(map) = &cluster.config_map_ref {
            found.push((SubstituteKind::ConfigMap, map.name.clone()));
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use serde_json::json;

    fn read(spec: serde_json::Value) -> Result<Request, Refusal> {
        Request::read(&sample::kustomization(spec), &Options::default())
    }

    #[test]
    fn defaults_are_resolved_once() {
        let request = read(json!({"interval": "5m"})).unwrap();
        assert_eq!(request.source.to_string(), "GitRepository/apps/repo");
        assert_eq!(request.path.as_str(), "");
        assert_eq!(request.timeout, Duration::from_secs(270));
        assert_eq!(request.retry, Duration::from_secs(300));
        assert_eq!(request.checks, Checks::Nothing);
        assert!(!request.prune && !request.force && request.account.is_none());
    }

    #[test]
    fn a_timeout_is_never_shorter_than_thirty_seconds() {
        for (given, expected) in [
            (json!({"timeout": "1s"}), 30),
            (json!({"interval": "10s"}), 30),
            (json!({"timeout": "2m"}), 120),
        ] {
            assert_eq!(read(given).unwrap().timeout, Duration::from_secs(expected));
        }
    }

    #[test]
    fn a_path_never_leaves_the_artifact() {
        for (given, expected) in
            [("../../etc", "etc"), ("./apps//x/", "apps/x"), ("/abs", "abs"), ("a/../../b", "b")]
        {
            assert_eq!(read(json!({"path": given})).unwrap().path.as_str(), expected);
        }
    }

    #[test]
    fn health_checks_leave_out_the_kustomization_itself_and_assume_apps() {
        let checks = json!([
            {"kind": "Deployment", "name": "web", "namespace": "shop"},
            {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "name": "app", "namespace": "apps"},
        ]);
        let Checks::Listed(listed) = read(json!({"healthChecks": checks})).unwrap().checks else {
            unreachable!("a list was given")
        };
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].group.as_str(), listed[0].version.as_str()), ("apps", "v1"));
        assert_eq!(read(json!({"healthChecks": checks, "wait": true})).unwrap().checks, Checks::Everything);
    }

    #[test]
    fn what_only_another_spec_can_help_is_refused_in_the_contract_s_words() {
        let decryption = read(json!({"decryption": {"provider": "sops"}})).unwrap_err();
        assert!(decryption.to_string().starts_with("spec.decryption.provider 'sops' is not available"));
        let account =
            read(json!({"decryption": {"provider": "sops", "serviceAccountName": "x"}})).unwrap_err();
        assert_eq!(
            account.to_string(),
            "to use spec.decryption.serviceAccountName for decryption authentication please enable the \
             ObjectLevelWorkloadIdentity feature gate in the controller"
        );
        let fine = json!({"apiVersion": "x/v1", "kind": "Y", "current": "true"});
        let rules = |second| {
            let refused = read(json!({"healthCheckExprs": [fine, second]})).unwrap_err().to_string();
            let beginning = "Reconciliation failed terminally due to configuration error: ";
            refused.strip_prefix(beginning).unwrap().to_owned()
        };
        assert_eq!(rules(fine.clone()), "duplicate custom health check for GroupKind Y.x at healthchecks[1]");
        let place = "failed to create custom status evaluator for healthchecks[1]";
        let nothing = rules(json!({"apiVersion": "v1", "current": ""}));
        assert_eq!(nothing, format!("{place}: expression Current not specified"));
        for (field, word) in [("current", "Current"), ("failed", "Failed"), ("inProgress", "InProgress")] {
            let mut rule = json!({"apiVersion": "v1", "current": "true"});
            rule[field] = json!("status.(");
            let parse = "failed to parse the CEL expression 'status.(': ";
            let refused = rules(rule);
            let beginning = format!("{place}: failed to parse the expression {word}: {parse}");
            assert!(refused.starts_with(&beginning), "{refused}");
        }
    }

    #[test]
    fn the_default_account_yields_to_the_spec() {
        let options = Options { default_service_account: Some("tenant".to_owned()), ..Options::default() };
        let account = |spec| Request::read(&sample::kustomization(spec), &options).unwrap().account;
        assert_eq!(account(json!({})).as_deref(), Some("tenant"));
        assert_eq!(account(json!({"serviceAccountName": "own"})).as_deref(), Some("own"));
    }

    #[test]
    fn every_reference_is_listed_once() {
        let object = sample::kustomization(json!({
            "postBuild": {"substituteFrom": [
                {"kind": "Secret", "name": "s"}, {"kind": "ConfigMap", "name": "c", "optional": true},
                {"kind": "Secret", "name": "s"},
            ]},
            "kubeConfig": {"secretRef": {"name": "k"}},
        }));
        let names: Vec<_> =
            referenced(&object).into_iter().map(|(kind, name)| format!("{}/{name}", kind.as_str())).collect();
        assert_eq!(names, ["Secret/k", "Secret/s", "ConfigMap/c"]);
    }
}
