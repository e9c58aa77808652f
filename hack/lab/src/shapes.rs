//! The objects that the benchmarks are made of: what a small web application looks like.

use serde_json::{Value, json};

/// A Kustomization named `PREFIX-INDEX` whose substitutions make its objects its own.
pub(crate) fn kustomization(namespace: &str, source: &str, prefix: &str, path: &str, index: usize) -> Value {
    let name = format!("{prefix}-{index}");
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "interval": "1h", "retryInterval": "1m", "timeout": "5m", "prune": true, "wait": true, "path": path,
            "targetNamespace": namespace,
            "sourceRef": {"kind": "GitRepository", "name": source},
            "postBuild": {"substitute": {"INDEX": name, "MCPU": format!("{}m", 10 + index % 90)}},
        },
    })
}

/// `app/`: ServiceAccount, Service, Deployment, Ingress. `never/`: the same, never ready. `probe/`: one ConfigMap.
pub(crate) fn application() -> Vec<(&'static str, Option<&'static str>)> {
    vec![
        ("app/app.yaml", Some(APPLICATION)),
        ("never/app.yaml", Some(NEVER)),
        (
            "probe/probe.yaml",
            Some("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: probe}\ndata: {step: \"0\"}\n"),
        ),
    ]
}

/// What a small web application consists of; `${INDEX}` and `${MCPU}` are substituted.
pub(crate) const APPLICATION: &str = "apiVersion: v1
kind: ServiceAccount
metadata:
  name: web-${INDEX}
---
apiVersion: v1
kind: Service
metadata:
  name: web-${INDEX}
spec:
  selector: {app: 'web-${INDEX}'}
  ports: [{name: http, port: 9898, targetPort: http, protocol: TCP}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-${INDEX}
spec:
  replicas: 1
  selector:
    matchLabels: {app: 'web-${INDEX}'}
  template:
    metadata:
      labels: {app: 'web-${INDEX}'}
    spec:
      serviceAccountName: web-${INDEX}
      containers:
        - name: web
          image: registry.example/web:1.0.0
          ports: [{name: http, containerPort: 9898, protocol: TCP}]
          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 10}
          resources: {requests: {cpu: '${MCPU}', memory: 16Mi}, limits: {memory: 64Mi}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web-${INDEX}
spec:
  rules:
    - host: web-${INDEX}.example.com
      http:
        paths: [{path: /, pathType: Prefix, backend: {service: {name: 'web-${INDEX}', port: {name: http}}}}]
";

const NEVER: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-${INDEX}
  labels: {testkit.sluice.dev/never-ready: 'true'}
spec:
  replicas: 1
  selector:
    matchLabels: {app: 'web-${INDEX}'}
  template:
    metadata:
      labels: {app: 'web-${INDEX}'}
    spec:
      containers: [{name: web, image: registry.example/web:1.0.0, resources: {requests: {cpu: '${MCPU}'}}}]
";
