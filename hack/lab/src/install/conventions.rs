//! What must hold in everything installable beyond what an API server checks: clients find the installation and its version
//! by Flux's labels, and its network is closed but for what is listed.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use sluice_manifest::Object;

const PART_OF: &str = "app.kubernetes.io/part-of";
const VERSION: &str = "app.kubernetes.io/version";

/// Checks all objects of one rendering; `isolated` when policies were not switched off.
pub(super) fn check(objects: &[Object], isolated: bool) -> Result<()> {
    let of = |kind: &'static str| objects.iter().filter(move |object| object.kind() == kind);
    for object in of("Deployment").chain(of("CustomResourceDefinition")) {
        let name = object.name();
        ensure!(label(object, PART_OF) == "flux", "{name} is not found by `{PART_OF}=flux`");
        let version = concat!("v", env!("CARGO_PKG_VERSION"));
        ensure!(label(object, VERSION) == version, "{name} has {VERSION} {:?}", label(object, VERSION));
    }
    for deployment in of("Deployment") {
        let policies: Vec<&Object> =
            of("NetworkPolicy").filter(|policy| selects(policy, deployment)).collect();
        ensure!(!isolated || !policies.is_empty(), "no NetworkPolicy selects {}", deployment.name());
        for policy in policies {
            closed(policy, deployment).with_context(|| format!("NetworkPolicy {}", policy.name()))?;
        }
        for container in list(deployment.value(), "/spec/template/spec/containers") {
            let image = text(container, "/image");
            let tagged = image.rsplit('/').next().is_some_and(|name| name.contains(':'));
            ensure!(tagged, "image {image} has no tag, which `flux version` needs");
        }
    }
    for service in of("Service") {
        let behind =
            |deployment: &&Object| within(service.value().pointer("/spec/selector"), labels(deployment));
        let deployment = of("Deployment").find(behind).context("a Service with nothing behind it")?;
        for port in list(service.value(), "/spec/ports") {
            ensure!(names_port(deployment, port.get("targetPort")), "a Service of no port: {port}");
        }
    }
    Ok(())
}

/// Both directions are denied but for rules that name peers or ports.
fn closed(policy: &Object, deployment: &Object) -> Result<()> {
    let types = list(policy.value(), "/spec/policyTypes");
    ensure!(types.len() == 2, "only {types:?} are restricted");
    for (direction, peers) in [("/spec/ingress", "from"), ("/spec/egress", "to")] {
        for rule in list(policy.value(), direction) {
            let named = [peers, "ports"].iter().any(|part| !list(rule, &format!("/{part}")).is_empty());
            ensure!(named, "{direction} has a rule for everything");
        }
    }
    for port in list(policy.value(), "/spec/ingress").iter().flat_map(|rule| list(rule, "/ports")) {
        ensure!(names_port(deployment, port.get("port")), "lets in at no port of the pod: {port}");
    }
    Ok(())
}

fn selects(policy: &Object, deployment: &Object) -> bool {
    within(policy.value().pointer("/spec/podSelector/matchLabels"), labels(deployment))
}

/// All pairs of `selector` are among `labels`.
fn within(selector: Option<&Value>, labels: Option<&Map<String, Value>>) -> bool {
    let selector = selector.and_then(Value::as_object);
    selector
        .zip(labels)
        .is_some_and(|(selector, labels)| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// The labels of a Deployment's pods.
fn labels(deployment: &Object) -> Option<&Map<String, Value>> {
    deployment.value().pointer("/spec/template/metadata/labels")?.as_object()
}

fn names_port(deployment: &Object, name: Option<&Value>) -> bool {
    let containers = list(deployment.value(), "/spec/template/spec/containers");
    containers.iter().flat_map(|container| list(container, "/ports")).any(|port| port.get("name") == name)
}

fn label<'a>(object: &'a Object, key: &str) -> &'a str {
    let labels = object.value().pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(key)?.as_str()).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sluice_manifest::{read_objects, yaml::Limits};

    use super::*;

    const WHOLE: &str = concat!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: it
  labels: {app.kubernetes.io/part-of: flux, app.kubernetes.io/version: v",
        env!("CARGO_PKG_VERSION"),
        "}
spec:
  template:
    metadata: {labels: {app: it, more: x}}
    spec: {containers: [{name: manager, image: 'registry.example:5000/it:1', ports: [{name: http, containerPort: 90}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: it}
spec: {selector: {app: it}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: it}
spec:
  podSelector: {matchLabels: {app: it}}
  policyTypes: [Ingress, Egress]
  ingress: [{ports: [{port: http}]}]
  egress: [{to: [{podSelector: {}}]}]
"
    );

    fn complaint(from: &str, to: &str) -> String {
        assert!(WHOLE.contains(from), "{from}");
        let objects = read_objects(&WHOLE.replacen(from, to, 1), "it", Limits::default()).unwrap();
        format!("{:#}", check(&objects, true).unwrap_err())
    }

    #[test]
    fn what_follows_the_conventions_passes() {
        let objects = read_objects(WHOLE, "it", Limits::default()).unwrap();
        check(&objects, true).unwrap();
    }

    #[test]
    fn what_does_not_is_told() {
        for (from, to, told) in [
            ("part-of: flux", "part-of: x", "is not found by"),
            ("version: v", "version: ", "app.kubernetes.io/version"),
            ("it:1", "it", "has no tag"),
            ("targetPort: http", "targetPort: other", "a Service of no port"),
            ("selector: {app: it}", "selector: {app: x}", "nothing behind it"),
            ("matchLabels: {app: it}", "matchLabels: {app: x}", "no NetworkPolicy selects it"),
            ("[Ingress, Egress]", "[Ingress]", "only"),
            ("{to: [{podSelector: {}}]}", "{}", "/spec/egress has a rule for everything"),
            ("{ports: [{port: http}]}", "{from: []}", "/spec/ingress has a rule for everything"),
            ("{port: http}", "{port: other}", "at no port of the pod"),
        ] {
            assert!(complaint(from, to).contains(told), "{from}: {}", complaint(from, to));
        }
    }
}
