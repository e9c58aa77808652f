//! How long builds take, in process and over a tree in memory.

#![allow(clippy::unwrap_used)]

use divan::Bencher;
use sluice_kustomize::{Options, build};
use sluice_tree::Memory;
use sluice_types::RelPath;

fn main() {
    divan::main();
}

fn object(at: usize) -> String {
    let app = at - at % 5;
    match at % 5 {
        0 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{app}\n  labels: {{app: app-{app}}}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: app-{app}}}\n  template:\n    metadata:\n      labels: {{app: app-{app}}}\n    spec:\n      serviceAccountName: sa-{app}\n      containers:\n      - name: main\n        image: nginx:1.{app}\n        args: [\"--port=8080\", \"--name=app-{app}\"]\n        env:\n        - name: A\n          valueFrom: {{configMapKeyRef: {{name: cm-{app}, key: a}}}}\n        ports:\n        - containerPort: 8080\n          protocol: TCP\n        resources:\n          limits: {{cpu: 100m, memory: 128Mi}}\n      volumes:\n      - name: cfg\n        configMap: {{name: cm-{app}}}\n"
        ),
        1 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: app-{app}\nspec:\n  selector: {{app: app-{app}}}\n  ports:\n  - port: 80\n    targetPort: 8080\n"
        ),
        2 => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm-{app}\ndata:\n  a: \"1\"\n  config.yaml: |\n    server:\n      port: 8080\n"
        ),
        3 => format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: sa-{app}\n"),
        _ => format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: ing-{app}\nspec:\n  rules:\n  - host: app-{app}.example.com\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          service:\n            name: app-{app}\n            port: {{number: 80}}\n"
        ),
    }
}

/// A base of `resources` objects below `overlays` overlays, all listed by the root.
fn tree(overlays: usize, resources: usize) -> Memory {
    let mut files: Vec<(String, String)> = Vec::new();
    let mut list = String::from("labels:\n- pairs: {team: x}\n  includeSelectors: true\nresources:\n");
    for at in 0..resources {
        files.push((format!("base/r{at}.yaml"), object(at)));
        list.push_str(&format!("- r{at}.yaml\n"));
    }
    files.push(("base/kustomization.yaml".into(), list));
    let mut root = String::from("resources:\n");
    for at in 0..overlays {
        let text = format!(
            "resources: [../base]\nnamespace: ns-{at}\nnamePrefix: o{at}-\ncommonAnnotations: {{overlay: '{at}'}}\nimages:\n- {{name: nginx, newTag: v{at}}}\nconfigMapGenerator:\n- {{name: gen, literals: [a={at}]}}\npatches:\n- target: {{kind: Deployment}}\n  patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {{name: any}}\n    spec:\n      replicas: {at}\n"
        );
        files.push((format!("o{at}/kustomization.yaml"), text));
        root.push_str(&format!("- o{at}\n"));
    }
    files.push(("kustomization.yaml".into(), root));
    Memory::of(files).unwrap()
}

fn bench(bencher: Bencher<'_, '_>, files: &Memory, dir: &str) {
    let root = RelPath::new(dir).unwrap();
    bencher.bench(|| build(files, &root, &Options::default()).unwrap().to_yaml());
}

#[divan::bench]
fn twenty_overlays_over_fifty_resources(bencher: Bencher<'_, '_>) {
    bench(bencher, &tree(20, 50), "");
}

#[divan::bench]
fn one_overlay_over_fifty_resources(bencher: Bencher<'_, '_>) {
    bench(bencher, &tree(1, 50), "o0");
}

#[divan::bench(args = [10, 100, 1_000, 10_000], sample_count = 10)]
fn one_overlay_over(bencher: Bencher<'_, '_>, resources: usize) {
    bench(bencher, &tree(1, resources), "o0");
}
