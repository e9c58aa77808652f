//! What this controller must be allowed to do.

use sluice_runtime::rbac::Rule;

/// The rules of the ClusterRole.
pub const RULES: &[Rule] = &[
    Rule {
        groups: &["source.toolkit.fluxcd.io"],
        resources: &["gitrepositories"],
        verbs: &["get", "list", "watch", "patch"],
    },
    Rule { groups: &["source.toolkit.fluxcd.io"], resources: &["gitrepositories/status"], verbs: &["patch"] },
    // Credentials and public keys, each read when it is needed.
    Rule { groups: &[""], resources: &["secrets"], verbs: &["get"] },
    // Logging in to a cloud as the ServiceAccount of an object.
    Rule { groups: &[""], resources: &["serviceaccounts"], verbs: &["get"] },
    Rule { groups: &[""], resources: &["serviceaccounts/token"], verbs: &["create"] },
    Rule { groups: &[""], resources: &["events"], verbs: &["create", "patch"] },
    Rule { groups: &["coordination.k8s.io"], resources: &["leases"], verbs: &["get", "create", "update"] },
];
