//! Each controller's ClusterRole, from the rules that its own code states.

use serde_json::{Value, json};
use sluice_manifest::yaml::emit_v2;
use sluice_runtime::rbac::Rule;

use crate::{Files, HEADER, kustomization};

/// The namespace of the manifests in `config/`, as in Flux's.
const NAMESPACE: &str = "flux-system";

/// Adds a role and its binding for `config/`, and the bare rules for the charts.
pub(crate) fn add(files: &mut Files) {
    let controllers = [
        ("source-controller", sluice_source_controller::RULES),
        ("kustomize-controller", sluice_kustomize_controller::rbac::RULES),
    ];
    for (controller, rules) in controllers {
        let rules: Vec<Value> = rules.iter().map(rule).collect();
        let name = format!("{controller}-{NAMESPACE}");
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": controller, "namespace": NAMESPACE}],
        });
        files.insert(
            format!("config/rbac/{controller}/role.yaml"),
            format!("{HEADER}---\n{}---\n{}", emit_v2(&role), emit_v2(&binding)),
        );
        let folder = format!("config/rbac/{controller}/kustomization.yaml");
        files.insert(folder, kustomization(&["role.yaml".to_owned()]));
        files.insert(format!("charts/{controller}/rules.yaml"), emit_v2(&Value::Array(rules)));
    }
}

fn rule(rule: &Rule) -> Value {
    json!({"apiGroups": rule.groups, "resources": rule.resources, "verbs": rule.verbs})
}
