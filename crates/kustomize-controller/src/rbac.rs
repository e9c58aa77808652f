//! What this controller must be allowed to do under its own identity. Applying is done as the tenants'
//! ServiceAccounts, or, where none is named, with whatever else the installation grants.

use sluice_runtime::rbac::{READ, Rule};

/// The rules of the ClusterRole.
pub const RULES: &[Rule] = &[
    Rule {
        groups: &["kustomize.toolkit.fluxcd.io"],
        resources: &["kustomizations"],
        verbs: &["get", "list", "watch", "patch", "update"],
    },
    Rule {
        groups: &["kustomize.toolkit.fluxcd.io"],
        resources: &["kustomizations/status", "kustomizations/finalizers"],
        verbs: &["get", "patch", "update"],
    },
    Rule {
        groups: &["source.toolkit.fluxcd.io"],
        resources: &["buckets", "externalartifacts", "gitrepositories", "ocirepositories"],
        verbs: READ,
    },
    // Substitution values, kubeconfigs, and the watches that tell of their changes.
    Rule { groups: &[""], resources: &["configmaps", "secrets", "serviceaccounts"], verbs: READ },
    Rule { groups: &[""], resources: &["namespaces"], verbs: READ },
    // Kinds that appear and disappear.
    Rule { groups: &["apiextensions.k8s.io"], resources: &["customresourcedefinitions"], verbs: READ },
    Rule { groups: &["apiregistration.k8s.io"], resources: &["apiservices"], verbs: READ },
    Rule { groups: &["", "events.k8s.io"], resources: &["events"], verbs: &["create", "patch"] },
    Rule {
        groups: &["coordination.k8s.io"],
        resources: &["leases"],
        verbs: &["get", "list", "watch", "create", "update", "patch", "delete"],
    },
    // Applying as tenants.
    Rule { groups: &[""], resources: &["serviceaccounts"], verbs: &["impersonate"] },
    Rule { groups: &[""], resources: &["serviceaccounts/token"], verbs: &["create"] },
];
