//! The charts, through the real helm: linted, rendered, refusing values that make no sense, and equal to `config/` where
//! nothing else is asked for.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_manifest::{Object, read_objects, yaml::Limits};

use super::{NAMESPACE, build, run};

/// A chart and values to render it with.
const RELEASES: [(&str, &[&str]); 6] = [
    ("source-controller", &[]),
    ("source-controller", &["persistence.enabled=true", "networkPolicy.enabled=false"]),
    ("source-controller", &["networkPolicy.serverPorts={22,443,7999}"]),
    ("kustomize-controller", &[]),
    ("kustomize-controller", &["multiTenancy.enabled=true", "replicas=2", "extraArgs={--concurrent=20}"]),
    ("sluice", &["source-controller.logLevel=debug"]),
];

/// Values that a chart refuses, by a word of the refusal.
const REFUSED: [(&str, &str, &str); 13] = [
    ("source-controller", "imag.tag=x", "imag"),
    ("source-controller", "logLevel=loud", "logLevel"),
    ("source-controller", "extraArgs={concurrent}", "extraArgs"),
    ("source-controller", "networkPolicy.serverPorts={0}", "serverPorts"),
    ("source-controller", "networkPolicy.serverPorts=null", "serverPorts"),
    ("source-controller", "persistence.size=much", "size"),
    ("source-controller", "resources.limit.memory=1Gi", "resources"),
    ("source-controller", "eventsAddress=notification-controller", "eventsAddress"),
    ("kustomize-controller", "replicas=0", "replicas"),
    ("kustomize-controller", "replicas=2,leaderElection=false", "leaderElection"),
    ("kustomize-controller", "resources.limits.memory=lots", "memory"),
    ("kustomize-controller", "multiTenancy.defaultServiceAccount=", "defaultServiceAccount"),
    ("sluice", "kustomize-controller.replicas=0", "replicas"),
];

/// What a chart renders.
pub(super) struct Release {
    /// Chart and values, for messages.
    pub(super) what: String,
    /// The objects.
    pub(super) text: String,
    /// False where network policies were switched off.
    pub(super) isolated: bool,
}

/// Checks the charts on their own; gives what they render, to be tried on a server.
pub(super) async fn check(helm: &Path, root: &Path) -> Result<Vec<Release>> {
    run(helm, &["dependency", "build", "charts/sluice"], root).await?;
    let mut releases = Vec::new();
    for (chart, values) in RELEASES {
        let path = format!("charts/{chart}");
        run(helm, &["lint", "--strict", &path], root).await?;
        let text = render(helm, root, chart, values).await?;
        if values.is_empty() {
            same_as_base(root, chart, &text).await.with_context(|| path.clone())?;
        }
        let isolated = !values.contains(&"networkPolicy.enabled=false");
        releases.push(Release { what: format!("{path} {values:?}"), text, isolated });
    }
    for (chart, values, word) in REFUSED {
        let Err(error) = render(helm, root, chart, &[values]).await else {
            anyhow::bail!("charts/{chart} renders {values}");
        };
        let told = format!("{error:#}");
        let told = told.split_once("values don't meet the specifications").map(|(_, told)| told);
        let told = told.with_context(|| format!("charts/{chart} {values}: {error:#}"))?;
        ensure!(told.contains(word), "charts/{chart} {values}: {told}");
    }
    println!("charts/: {} sets of values refused", REFUSED.len());
    Ok(releases)
}

async fn render(helm: &Path, root: &Path, chart: &str, values: &[&str]) -> Result<String> {
    let path = format!("charts/{chart}");
    let mut arguments = vec!["template", chart, &path, "--namespace", NAMESPACE, "--include-crds"];
    for value in values {
        arguments.extend(["--set", value]);
    }
    run(helm, &arguments, root).await
}

/// Without values a chart installs what `config/` has of the same name: it differs in labels, in where the image is
/// from and in the priority, and in nothing else.
async fn same_as_base(root: &Path, chart: &str, text: &str) -> Result<()> {
    let base = build(&root.join("config").join(chart)).await?;
    let (base, rendered) = (contents(&base, chart)?, contents(text, chart)?);
    for (name, object) in &base {
        let (_, found) =
            rendered.iter().find(|(other, _)| other == name).with_context(|| format!("lacks {name}"))?;
        let mut told = Vec::new();
        differences("", object, found, &mut told);
        ensure!(told.is_empty(), "{name} differs from config/:\n{}", told.join("\n"));
    }
    ensure!(base.len() == rendered.len(), "{} objects, and {} in config/", rendered.len(), base.len());
    Ok(())
}

/// Each object without what may differ.
fn contents(text: &str, what: &str) -> Result<Vec<(String, Value)>> {
    let objects = read_objects(text, what, Limits::default())?;
    Ok(objects
        .iter()
        .map(|object| (format!("{}/{}", object.kind(), object.name()), content(object)))
        .collect())
}

fn content(object: &Object) -> Value {
    let mut value = object.value().clone();
    for at in ["/metadata", "/spec/template/metadata"] {
        if let Some(Value::Object(metadata)) = value.pointer_mut(at) {
            metadata.remove("labels");
        }
    }
    if let Some(Value::Object(pod)) = value.pointer_mut("/spec/template/spec") {
        pod.remove("priorityClassName");
    }
    if let Some(Value::Object(container)) = value.pointer_mut("/spec/template/spec/containers/0") {
        container.remove("image");
    }
    value
}

/// The differences, each as a pointer and both values.
fn differences(at: &str, ours: &Value, other: &Value, told: &mut Vec<String>) {
    match (ours, other) {
        (Value::Object(left), Value::Object(right)) => {
            for key in left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))) {
                let part = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                differences(&format!("{at}/{key}"), &part(left), &part(right), told);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (ours, other)) in left.iter().zip(right).enumerate() {
                differences(&format!("{at}/{index}"), ours, other, told);
            }
        }
        _ if ours == other => {}
        _ => told.push(format!("{at}: {ours} / {other}")),
    }
}
