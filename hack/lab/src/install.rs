//! What people install is installable: every kustomization of `config/` built by our own engine, every chart linted and
//! rendered by the real helm, and all of it dry-run applied to a server that enforces the restricted pod security standard.

mod charts;
mod conventions;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::discovery::{Discovery, Scope};
use serde_json::{Value, json};
use sluice_manifest::{Object, read_objects, yaml::Limits};
use sluice_testkit::process::program;
use sluice_testkit::waiting::{kind, objects};
use tokio::process::Command;

use crate::resources::{self, install_crds};

const NAMESPACE: &str = "flux-system";

/// Kustomizations that stand alone.
const BASES: [&str; 3] = ["config/default", "config/source-controller", "config/kustomize-controller"];

/// Components, each tried on top of `config/default`. Pod monitors need kinds that a bare server lacks, so they are built only.
const COMPONENTS: [(&str, bool); 4] = [
    ("multi-tenant", true),
    ("high-availability", true),
    ("persistent-artifacts", true),
    ("pod-monitors", false),
];

/// Builds, lints, renders and dry-run applies everything installable.
pub(crate) async fn check(client: &Client, helm: &Path) -> Result<()> {
    restricted_namespace(client).await?;
    install_crds(client).await?;
    let discovery = Discovery::new(client.clone()).run().await?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    for base in BASES {
        let text = build(&root.join(base)).await?;
        dry_run(client, &discovery, base, &text, true).await?;
    }
    let scratch = tempfile::tempdir_in(root.join("target"))?;
    for (component, apply) in COMPONENTS {
        let text = with_component(&root, scratch.path(), component).await?;
        if apply {
            dry_run(client, &discovery, component, &text, true).await?;
        }
    }
    for release in charts::check(helm, &root).await? {
        dry_run(client, &discovery, &release.what, &release.text, release.isolated).await?;
    }
    println!("config/ and charts/: built, linted, rendered and dry-run applied");
    Ok(())
}

async fn build(folder: &Path) -> Result<String> {
    let path = folder.display().to_string();
    run(&program("kustomize-build")?, &[&path], folder).await
}

async fn with_component(root: &Path, scratch: &Path, component: &str) -> Result<String> {
    let folder = scratch.join(component);
    std::fs::create_dir_all(&folder)?;
    let (default, component) = (root.join("config/default"), root.join("config/components").join(component));
    let way = |to: &Path| relative(&folder, to);
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [\"{}\"]\ncomponents: [\"{}\"]\n",
        way(&default)?,
        way(&component)?
    );
    std::fs::write(folder.join("kustomization.yaml"), text)?;
    build(&folder).await
}

/// The way from one folder to another; both absolute.
fn relative(from: &Path, to: &Path) -> Result<String> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let climb = from.components().skip(shared).map(|_| PathBuf::from(".."));
    let way: PathBuf =
        climb.chain(to.components().skip(shared).map(|part| PathBuf::from(part.as_os_str()))).collect();
    Ok(way.display().to_string())
}

async fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .await
        .with_context(|| program.display().to_string())?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} {}:\n{stdout}{stderr}", program.display(), arguments.join(" "));
    Ok(stdout.into_owned())
}

async fn dry_run(
    client: &Client,
    discovery: &Discovery,
    what: &str,
    text: &str,
    isolated: bool,
) -> Result<()> {
    let objects = read_objects(text, what, Limits::default())?;
    ensure!(!objects.is_empty(), "{what} renders nothing");
    conventions::check(&objects, isolated).with_context(|| what.to_owned())?;
    for object in &objects {
        apply(client, discovery, object)
            .await
            .with_context(|| format!("{what}: {}/{}", object.kind(), object.name()))?;
        if object.kind() == "Deployment" {
            admit(client, object).await.with_context(|| format!("{what}: a pod of {}", object.name()))?;
        }
    }
    println!("{what}: {} objects", objects.len());
    Ok(())
}

/// The namespace that everything goes to, with the ServiceAccount that its pods get when they name none.
async fn restricted_namespace(client: &Client) -> Result<()> {
    let namespaces = objects(client, &kind("v1", "Namespace", "namespaces"), "");
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }});
    resources::apply(&namespaces, NAMESPACE, &object).await?;
    let accounts = objects(client, &kind("v1", "ServiceAccount", "serviceaccounts"), NAMESPACE);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    resources::apply(&accounts, "default", &account).await?;
    Ok(())
}

/// The server would let in the pods that a Deployment makes.
async fn admit(client: &Client, deployment: &Object) -> Result<()> {
    let mut pod = deployment.value().pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(pod) = pod.as_object_mut() {
        pod.extend([("apiVersion".to_owned(), json!("v1")), ("kind".to_owned(), json!("Pod"))]);
    }
    pod["metadata"]["name"] = json!(deployment.name());
    // Its own account is not there yet: nothing of this is more than tried.
    pod["spec"]["serviceAccountName"] = json!("default");
    let pods = objects(client, &kind("v1", "Pod", "pods"), NAMESPACE);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&parameters, &serde_json::from_value(pod)?).await?;
    Ok(())
}

async fn apply(client: &Client, discovery: &Discovery, object: &Object) -> Result<()> {
    let gvk = kube::core::GroupVersionKind::gvk(object.group(), object.version(), object.kind());
    let (resource, capabilities) =
        discovery.resolve_gvk(&gvk).with_context(|| format!("the server has no {gvk:?}"))?;
    let api: Api<DynamicObject> = match (capabilities.scope, object.namespace()) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, namespace) => {
            Api::namespaced_with(client.clone(), namespace.unwrap_or(NAMESPACE), &resource)
        }
    };
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply("lab").force().dry_run()
    };
    let patch: Patch<&Value> = Patch::Apply(object.value());
    api.patch(object.name(), &parameters, &patch).await?;
    Ok(())
}
