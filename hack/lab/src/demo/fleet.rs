//! The demo's repository: one application, a base with dev, staging and prod on top of it.

/// The overlays, each a Kustomization of its own.
pub(super) const OVERLAYS: [&str; 3] = ["dev", "staging", "prod"];

const BASE: &str = "resources:\n  - deployment.yaml\n  - service.yaml\n  - settings.yaml\n";
const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  replicas: 1
  selector:
    matchLabels: {app: shop}
  template:
    metadata:
      labels: {app: shop}
    spec:
      containers:
        - name: shop
          image: registry.example/shop:1.0.0
          envFrom: [{configMapRef: {name: settings}}]
";
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata:
  name: shop
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]
";
const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  color: white
";
const BANNER: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: banner
data:
  text: grand opening
";
const DEV: &str = "namespace: dev\nresources: [../../base, banner.yaml]\npatches: [{path: settings.yaml}]\n";
const DEV_WITHOUT_BANNER: &str =
    "namespace: dev\nresources: [../../base]\npatches: [{path: settings.yaml}]\n";
const STAGING: &str = "namespace: staging\nresources: [../../base]\npatches: [{path: settings.yaml}]\n";
const PROD: &str = "namespace: prod\nresources: [../../base]\npatches: [{path: settings.yaml}]\nreplicas: [{name: shop, count: 3}]\n";

/// A change to the repository: a path, and its content unless it is deleted.
pub(super) type Change = (&'static str, Option<&'static str>);

/// Everything that the first commit holds.
pub(super) fn first() -> Vec<Change> {
    let mut files = vec![
        ("base/kustomization.yaml", Some(BASE)),
        ("base/deployment.yaml", Some(DEPLOYMENT)),
        ("base/service.yaml", Some(SERVICE)),
        ("base/settings.yaml", Some(SETTINGS)),
        ("overlays/dev/kustomization.yaml", Some(DEV)),
        ("overlays/dev/banner.yaml", Some(BANNER)),
        ("overlays/staging/kustomization.yaml", Some(STAGING)),
        ("overlays/prod/kustomization.yaml", Some(PROD)),
    ];
    files.extend(OVERLAYS.map(|overlay| color(overlay, "white")));
    files
}

/// The change that paints one overlay.
pub(super) fn color(overlay: &str, color: &str) -> Change {
    const PATCHES: [(&str, &str); 3] = [
        ("white", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: white}\n"),
        ("green", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: green}\n"),
        ("blue", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: blue}\n"),
    ];
    let path = match overlay {
        "dev" => "overlays/dev/settings.yaml",
        "staging" => "overlays/staging/settings.yaml",
        _ => "overlays/prod/settings.yaml",
    };
    (path, PATCHES.iter().find(|(name, _)| *name == color).map(|(_, patch)| *patch))
}

/// The change that takes the banner out of dev.
pub(super) fn without_banner() -> [Change; 2] {
    [("overlays/dev/banner.yaml", None), ("overlays/dev/kustomization.yaml", Some(DEV_WITHOUT_BANNER))]
}
