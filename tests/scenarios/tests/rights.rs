//! Controllers that lack rights: what is refused is tried again ever less often, and goes on once it is granted.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::site::{Controller, Identity, Site};
use sluice_scenarios::{LIMIT, config_map};
use sluice_testkit::proxy::Seen;
use sluice_testkit::waiting::{condition_text, text};

/// Refusals of one request that are waited for, and what the pauses between them come to at least.
const TRIES: usize = 3;
const PAUSES: Duration = Duration::from_secs(1);
/// More of one request than that, in the time that [`TRIES`] of another one take, is no back-off.
const MOST: usize = 12;

/// Has the installed role give a controller only those rights whose resource satisfies `keep`.
async fn grant(site: &Site, controller: &str, keep: impl Fn(&str) -> bool) {
    for mut object in site.read(&format!("../../config/rbac/{controller}/role.yaml"), &[]).unwrap() {
        if let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) {
            for rule in rules.iter_mut() {
                rule["resources"].as_array_mut().unwrap().retain(|resource| keep(resource.as_str().unwrap()));
            }
            rules.retain(|rule| rule["resources"].as_array().is_some_and(|resources| !resources.is_empty()));
        }
        site.apply(&object).await.unwrap();
    }
}

/// What was refused, and how often.
fn refusals(log: &[Seen]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for seen in log.iter().filter(|seen| seen.code == 403) {
        *counts.entry(format!("{} {}", seen.method, seen.resource)).or_default() += 1;
    }
    counts
}

/// Waits until a request was refused several times, and sees that neither this nor any other was in a hurry.
async fn refused_patiently(site: &Site, controller: &Controller, request: &str) {
    let (from, begun) = (controller.proxy.log().len(), Instant::now());
    let tried = |log: &[Seen]| refusals(&log[from..]).get(request).is_some_and(|count| *count >= TRIES);
    let waited = tokio::time::timeout(LIMIT, controller.proxy.wait(tried)).await;
    let counts = refusals(&controller.proxy.log()[from..]);
    assert!(waited.is_ok(), "{request} was not refused: {counts:?}\n{}", site.logs());
    assert!(begun.elapsed() >= PAUSES, "{request} was tried again without a pause");
    assert!(counts.values().all(|count| *count <= MOST), "{request}: {counts:?}");
}

/// A site whose controller of this name has no rights at all.
async fn bare_site(story: &str, controller: &str) -> Site {
    let site = Site::start(story).await.unwrap();
    site.add_namespace("flux-system").await.unwrap();
    let binding = |name: String| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}});
    for beginning in ["", "cluster-reconciler-"] {
        site.delete(&binding(format!("{beginning}{controller}-flux-system"))).await.unwrap();
    }
    site
}

async fn add(site: &Site, file: &str) {
    let url = site.repository_url();
    let mut object = site.read(file, &[("$URL", url.as_str())]).unwrap().remove(0);
    object.as_object_mut().unwrap().remove("status");
    site.apply(&object).await.unwrap();
}

/// Waits until the Kustomization's Ready condition has these words.
async fn says(site: &Site, words: &str) {
    let said = |object: &DynamicObject| condition_text(object, "Ready", "message").contains(words);
    site.until(&site.kustomizations(), "apps", said).await.unwrap();
}

async fn remove(site: &Site, api: &Api<DynamicObject>, name: &str) {
    api.delete(name, &DeleteParams::default()).await.unwrap();
    site.until_gone(api, name).await.unwrap();
}

#[tokio::test]
async fn a_source_controller_without_rights_is_patient_and_goes_on_when_they_come() {
    let name = "source-controller";
    let site = bare_site("rights-source", name).await;
    let commit =
        site.repository.commit("first", &[("apps/one.yaml", Some(&config_map("one", "1")))]).unwrap();
    let source = site.start_source(Identity::Own, &["--enable-leader-election=true"]).await.unwrap();
    refused_patiently(&site, &source, "GET leases").await;
    grant(&site, name, |resource| resource == "leases").await;
    refused_patiently(&site, &source, "GET gitrepositories").await;
    grant(&site, name, |resource| resource != "gitrepositories/status" && resource != "events").await;
    add(&site, "fixtures/swap/source.yaml").await;
    refused_patiently(&site, &source, "PATCH gitrepositories/status").await;
    grant(&site, name, |_| true).await;
    let stored = |object: &DynamicObject| {
        text(object, "/status/artifact/revision").ends_with(&commit)
            && condition_text(object, "Ready", "status") == "True"
    };
    site.until(&site.repositories(), "apps", stored).await.unwrap();
    remove(&site, &site.repositories(), "apps").await;
    source.end().await.unwrap();
    site.delete_namespace().await.unwrap();
}

#[tokio::test]
async fn a_kustomize_controller_without_rights_is_patient_and_goes_on_when_they_come() {
    let name = "kustomize-controller";
    let site = bare_site("rights-kustomize", name).await;
    let commit =
        site.repository.commit("first", &[("apps/one.yaml", Some(&config_map("one", "1")))]).unwrap();
    let source = site.start_source(Identity::Admin, &[]).await.unwrap();
    add(&site, "fixtures/swap/source.yaml").await;
    let kustomize = site.start_kustomize(Identity::Own, &[]).await.unwrap();
    refused_patiently(&site, &kustomize, "GET kustomizations").await;
    kustomize.end().await.unwrap();

    let sources = ["gitrepositories", "ocirepositories", "buckets", "externalartifacts"];
    grant(&site, name, |resource| !sources.contains(&resource)).await;
    add(&site, "fixtures/swap/kustomization.yaml").await;
    let kustomize = site.start_kustomize(Identity::Own, &[]).await.unwrap();
    refused_patiently(&site, &kustomize, "GET gitrepositories").await;
    says(&site, "GitRepository objects cannot be listed").await;
    grant(&site, name, |_| true).await;
    // The controller's own account may apply nothing yet.
    says(&site, "is forbidden").await;
    let cluster =
        site.read("../../config/kustomize-controller/cluster-reconciler.yaml", &[]).unwrap().remove(0);
    site.apply(&cluster).await.unwrap();
    says(&site, &format!("Applied revision: main@sha1:{commit}")).await;

    site.delete(&cluster).await.unwrap();
    grant(&site, name, |resource| resource != "kustomizations/status").await;
    let ask =
        Patch::Merge(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "asked"}}}));
    site.kustomizations().patch("apps", &PatchParams::default(), &ask).await.unwrap();
    refused_patiently(&site, &kustomize, "PATCH kustomizations/status").await;
    grant(&site, name, |_| true).await;
    site.apply(&cluster).await.unwrap();
    let answered = |object: &DynamicObject| {
        text(object, "/status/lastHandledReconcileAt") == "asked"
            && condition_text(object, "Ready", "status") == "True"
    };
    site.until(&site.kustomizations(), "apps", answered).await.unwrap();
    remove(&site, &site.kustomizations(), "apps").await;
    remove(&site, &site.repositories(), "apps").await;
    site.delete(&cluster).await.unwrap();
    kustomize.end().await.unwrap();
    source.end().await.unwrap();
    site.delete_namespace().await.unwrap();
}
