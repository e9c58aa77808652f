//! References among many objects that once had the same name.

#![allow(clippy::unwrap_used)]

use sluice_kustomize::{Options, build};
use sluice_tree::Memory;
use sluice_types::RelPath;

const BASE: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: a}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: m}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  template:
    spec:
      serviceAccountName: a
      volumes: [{name: v, configMap: {name: m}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: a}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a}
subjects: [{kind: ServiceAccount, name: a, namespace: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: a}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: a}
subjects: [{kind: ServiceAccount, name: a, namespace: own}]
";

/// Overlays over one base, by number.
fn tree(overlays: std::ops::Range<usize>) -> Memory {
    let mut files = vec![
        ("base/kustomization.yaml".to_owned(), "resources: [all.yaml]\nnamespace: own\n".to_owned()),
        ("base/all.yaml".to_owned(), BASE.to_owned()),
    ];
    let mut root = "resources:\n".to_owned();
    for at in overlays {
        root.push_str(&format!("- o{at}\n"));
        let overlay = format!("resources: [../base]\nnamespace: n{at}\nnamePrefix: o{at}-\n");
        files.push((format!("o{at}/kustomization.yaml"), overlay));
    }
    files.push(("kustomization.yaml".to_owned(), root));
    Memory::of(files).unwrap()
}

fn documents(overlays: std::ops::Range<usize>) -> Vec<serde_json::Value> {
    build(&tree(overlays), &RelPath::root(), &Options::default()).unwrap().resources
}

#[test]
fn each_overlay_refers_to_its_own_however_many_there_are() {
    for count in [3, 30] {
        let together = documents(0..count);
        let alone: Vec<_> = (0..count).flat_map(|at| documents(at..at + 1)).collect();
        // Whoever is cluster-scoped sees all of them; the one of its own prefix is meant.
        assert_eq!(together, alone);
    }
}
