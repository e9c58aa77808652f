//! Our controllers take a running installation over from Flux 2.9, and leave what Flux could take back.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice_scenarios::config_map;
use sluice_scenarios::site::{Controller, Identity, Site};
use sluice_testkit::waiting::{condition_text, kind, objects, text};

const LEADING: &str = "--enable-leader-election=true";

/// The member that a later commit drops, and its file without it.
const DROPPED: &str = "kind: ConfigMap";

/// Puts an object there with the metadata, content and status that somebody else's controllers left.
async fn leave(site: &Site, manager: &str, status_manager: &str, object: &Value) {
    let (mut body, name) = (object.clone(), object["metadata"]["name"].as_str().unwrap());
    let status = body.as_object_mut().unwrap().remove("status").unwrap();
    site.apply_as(manager, &body).await.unwrap();
    let by = PatchParams { field_manager: Some(status_manager.to_owned()), ..PatchParams::default() };
    let api = site.api_of(object);
    let finalizer = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}});
    api.patch(name, &by, &Patch::Merge(finalizer)).await.unwrap();
    api.patch_status(name, &by, &Patch::Merge(json!({"status": status}))).await.unwrap();
}

/// A site as Flux's controllers left it; gives the commit and the members as they are.
async fn left_by_flux(story: &str) -> (Site, String, Vec<DynamicObject>) {
    let site = Site::start(story).await.unwrap();
    let git =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/swap/git.yaml")).unwrap();
    let commit = site.repository.commit("first", &[("apps/all.yaml", Some(&git))]).unwrap();
    let url = site.repository_url();
    let words = [("$COMMIT", commit.as_str()), ("$URL", url.as_str())];
    let applied = site.read("fixtures/swap/applied.yaml", &[]).unwrap();
    for object in &applied {
        site.apply_as("kustomize-controller", object).await.unwrap();
    }
    let deployments = site.api("apps/v1", "Deployment", "deployments");
    site.until(&deployments, "web", |object| condition_text(object, "Available", "status") == "True")
        .await
        .unwrap();
    for object in site.read("fixtures/swap/source.yaml", &words).unwrap() {
        leave(&site, "flux", "source-controller", &object).await;
    }
    for object in site.read("fixtures/swap/kustomization.yaml", &words).unwrap() {
        leave(&site, "flux", "gotk-kustomize-controller", &object).await;
    }
    let mut members = Vec::new();
    for object in &applied {
        members.push(get(&site, object).await.unwrap());
    }
    (site, commit, members)
}

async fn get(site: &Site, object: &Value) -> Option<DynamicObject> {
    site.api_of(object).get_opt(object["metadata"]["name"].as_str().unwrap()).await.unwrap()
}

/// Asks like `flux reconcile` and waits for the answer.
async fn answered(site: &Site, token: &str) -> DynamicObject {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
    let by = PatchParams { field_manager: Some("flux".into()), ..PatchParams::default() };
    site.kustomizations().patch("apps", &by, &Patch::Merge(patch)).await.unwrap();
    site.until(&site.kustomizations(), "apps", |object| {
        text(object, "/status/lastHandledReconcileAt") == token
            && condition_text(object, "Ready", "status") == "True"
    })
    .await
    .unwrap()
}

fn inventory(object: &DynamicObject) -> BTreeSet<String> {
    let entries = object.data.pointer("/status/inventory/entries").and_then(Value::as_array).cloned();
    let ids = entries.unwrap_or_default().into_iter().map(|entry| {
        let keys: Vec<_> = entry.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["id", "v"], "{entry}");
        format!("{}@{}", entry["id"].as_str().unwrap(), entry["v"].as_str().unwrap())
    });
    ids.collect()
}

/// What the server tells of an object, without what other controllers of a real cluster write.
fn essence(object: &DynamicObject) -> Value {
    let managed: Vec<Value> = object
        .managed_fields_of(|manager| manager != "kube-controller-manager")
        .map(|entry| serde_json::to_value(entry).unwrap())
        .collect();
    let mut data = object.data.clone();
    data.as_object_mut().unwrap().remove("status");
    // A Deployment's version moves with its status.
    let version = object.types.as_ref().filter(|types| types.kind != "Deployment");
    let version = version.map(|_| object.metadata.resource_version.clone());
    json!({"uid": object.metadata.uid, "generation": object.metadata.generation, "version": version,
        "labels": object.metadata.labels,
        "managed": managed, "data": data})
}

trait Managed {
    fn managed_fields_of(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry>;
}

impl Managed for DynamicObject {
    fn managed_fields_of(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry> {
        let entries = self.metadata.managed_fields.iter().flatten();
        entries.filter(move |entry| wanted(entry.manager.as_deref().unwrap_or_default()))
    }
}

/// Writes to anything but the two kinds that the controllers keep their status in.
fn applies(controller: &Controller) -> Vec<String> {
    let writes = controller.proxy.writes().into_iter();
    let members = writes.filter(|seen| !seen.path.contains(".toolkit.fluxcd.io/"));
    members.map(|seen| format!("{} {}", seen.method, seen.path)).collect()
}

async fn end(site: &Site) {
    let delete = DeleteParams::default();
    site.kustomizations().delete("apps", &delete).await.unwrap();
    site.until_gone(&site.kustomizations(), "apps").await.unwrap();
    site.repositories().delete("apps", &delete).await.unwrap();
    site.until_gone(&site.repositories(), "apps").await.unwrap();
    site.delete_namespace().await.unwrap();
}

#[tokio::test]
async fn what_flux_applied_is_taken_over_without_touching_it() {
    let (site, commit, before) = left_by_flux("swap").await;
    let inventory_before = inventory(&site.kustomizations().get("apps").await.unwrap());
    let source = site.start_source(Identity::Admin, &[]).await.unwrap();
    let kustomize = site.start_kustomize(Identity::Admin, &[]).await.unwrap();
    let stored = format!("127.0.0.1:1/gitrepository/{}/apps/{commit}.tar.gz", site.namespace);
    site.until(&site.repositories(), "apps", |object| {
        let url = text(object, "/status/artifact/url");
        !url.ends_with(&stored) && condition_text(object, "Ready", "status") == "True"
    })
    .await
    .unwrap();
    let after = answered(&site, "after the swap").await;

    for before in &before {
        let object = serde_json::to_value(before).unwrap();
        let now = get(&site, &object).await.expect("still there");
        assert_eq!(essence(&now), essence(before));
    }
    assert_eq!(applies(&source), Vec::<String>::new());
    assert_eq!(inventory(&after), inventory_before);
    assert_eq!(text(&after, "/status/lastAppliedRevision"), format!("main@sha1:{commit}"));

    // A member that is dropped later goes, the others stay as they are.
    kustomize.proxy.clear();
    let git =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/swap/git.yaml")).unwrap();
    let kept: Vec<&str> = git.split("---\n").filter(|document| !document.contains(DROPPED)).collect();
    let second = site.repository.commit("second", &[("apps/all.yaml", Some(&kept.join("---\n")))]).unwrap();
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": second}}});
    site.repositories().patch("apps", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let pruned = site
        .until(&site.kustomizations(), "apps", |object| {
            text(object, "/status/lastAppliedRevision").ends_with(&second)
        })
        .await
        .unwrap();
    site.until_gone(&site.config_maps(), "settings").await.unwrap();
    assert_eq!(inventory(&pruned).len(), before.len() - 1);
    let second_pass = applies(&kustomize);
    assert_eq!(second_pass.len(), 1, "{second_pass:?}");
    for before in before.iter().filter(|object| object.types.as_ref().unwrap().kind != "ConfigMap") {
        let object = serde_json::to_value(before).unwrap();
        assert_eq!(essence(&get(&site, &object).await.unwrap()), essence(before));
    }
    // Deleting it deletes what Flux once applied.
    let delete = DeleteParams::default();
    site.kustomizations().delete("apps", &delete).await.unwrap();
    site.until_gone(&site.kustomizations(), "apps").await.unwrap();
    site.until_gone(&site.api("v1", "Secret", "secrets"), "password").await.unwrap();
    site.repositories().delete("apps", &delete).await.unwrap();
    site.until_gone(&site.repositories(), "apps").await.unwrap();
    site.delete_namespace().await.unwrap();
}

#[tokio::test]
async fn what_ours_leave_is_what_flux_expects() {
    let (site, commit, _) = left_by_flux("swap-back").await;
    let _source = site.start_source(Identity::Admin, &[]).await.unwrap();
    let _kustomize = site.start_kustomize(Identity::Admin, &[]).await.unwrap();
    let after = answered(&site, "2026-03-03T08:00:00.123456789Z").await;

    let status = after.data["status"].as_object().unwrap();
    let known = [
        "conditions",
        "history",
        "inventory",
        "lastAppliedRevision",
        "lastAttemptedRevision",
        "lastHandledReconcileAt",
        "observedGeneration",
    ];
    assert_eq!(status.keys().map(String::as_str).collect::<Vec<_>>(), known);
    assert_eq!(status["observedGeneration"], json!(after.metadata.generation));
    assert_eq!(after.metadata.finalizers.as_deref(), Some(&["finalizers.fluxcd.io".to_owned()][..]));
    let types: Vec<&str> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["Ready", "Healthy"]);
    assert_eq!(condition_text(&after, "Ready", "reason"), "ReconciliationSucceeded");
    assert_eq!(condition_text(&after, "Ready", "message"), format!("Applied revision: main@sha1:{commit}"));
    assert_eq!(condition_text(&after, "Healthy", "reason"), "Succeeded");
    let history = status["history"].as_array().unwrap();
    assert!((1..=5).contains(&history.len()));
    for snapshot in history {
        let snapshot = snapshot.as_object().unwrap();
        let keys: Vec<&str> = snapshot.keys().map(String::as_str).collect();
        let wanted = [
            "digest",
            "firstReconciled",
            "lastReconciled",
            "lastReconciledDuration",
            "lastReconciledStatus",
            "metadata",
            "totalReconciliations",
        ];
        assert_eq!(keys, wanted);
        assert_eq!(snapshot["metadata"]["revision"], format!("main@sha1:{commit}"));
    }
    let managers: BTreeSet<String> = after
        .managed_fields_of(|_| true)
        .map(|entry| {
            format!(
                "{} {} {}",
                entry.manager.as_deref().unwrap_or_default(),
                entry.operation.as_deref().unwrap_or_default(),
                entry.subresource.as_deref().unwrap_or_default()
            )
        })
        .collect();
    let wanted = [
        "flux Apply ",
        "flux Update ",
        "gotk-kustomize-controller Update ",
        "gotk-kustomize-controller Update status",
    ];
    assert_eq!(managers, wanted.map(str::to_owned).into());

    let source = site
        .until(&site.repositories(), "apps", |object| {
            !text(object, "/status/artifact/url").contains("127.0.0.1:1/")
        })
        .await
        .unwrap();
    let artifact = source.data["status"]["artifact"].as_object().unwrap();
    let path = format!("gitrepository/{}/apps/{commit}.tar.gz", site.namespace);
    assert_eq!(artifact["path"], json!(path));
    assert!(artifact["url"].as_str().unwrap().ends_with(&path));
    assert!(artifact["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(artifact["size"].is_u64() && artifact["lastUpdateTime"].is_string());
    assert_eq!(artifact["revision"], json!(format!("main@sha1:{commit}")));
    let by_source: Vec<_> = source
        .managed_fields_of(|manager| manager != "flux")
        .map(|entry| (entry.manager.clone().unwrap(), entry.operation.clone().unwrap()))
        .collect();
    assert!(
        by_source.iter().all(|entry| *entry == ("source-controller".into(), "Update".into())),
        "{by_source:?}"
    );
    end(&site).await;
}

#[tokio::test]
async fn the_lease_is_taken_over_under_flux_name() {
    let site = Site::start("swap-lease").await.unwrap();
    // Of the selector "scenarios.sluice.dev/stage=swap-lease", under which this site's controllers elect.
    assert_eq!(site.selector(), "scenarios.sluice.dev/stage=swap-lease");
    for name in ["source-controller", "kustomize-controller"] {
        let lease = format!("{name}-leader-election-{SHARD}");
        let mut left =
            site.read("fixtures/swap/lease.yaml", &[("$LEASE", lease.as_str())]).unwrap().remove(0);
        let leases = objects(&site.client, &kind("coordination.k8s.io/v1", "Lease", "leases"), "default");
        site.delete(&left).await.unwrap();
        left["metadata"]["resourceVersion"].take();
        let left: DynamicObject = serde_json::from_value(left).unwrap();
        leases.create(&PostParams::default(), &left).await.unwrap();
        let controller = match name {
            "source-controller" => site.start_source(Identity::Admin, &[LEADING]).await.unwrap(),
            _ => site.start_kustomize(Identity::Admin, &[LEADING]).await.unwrap(),
        };
        let held = site
            .until(&leases, &lease, |object| !text(object, "/spec/holderIdentity").is_empty())
            .await
            .unwrap();
        let (host, id) = text(&held, "/spec/holderIdentity").rsplit_once('_').unwrap();
        assert!(!host.is_empty() && id.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{host}_{id}");
        assert_eq!(held.data["spec"]["leaseDurationSeconds"], json!(35));
        assert_eq!(held.data["spec"]["leaseTransitions"], json!(4));
        controller.end().await.unwrap();
        let free = leases.get(&lease).await.unwrap();
        assert_eq!(text(&free, "/spec/holderIdentity"), "", "Flux may have it back at once");
        assert_eq!(free.data["spec"]["leaseDurationSeconds"], json!(1));
    }
    site.delete_namespace().await.unwrap();
}

/// First eight digits of the selector's SHA-256.
const SHARD: &str = "3f3a615b";

#[tokio::test]
async fn fields_of_kubectl_are_taken_over_and_those_of_others_left() {
    let site = Site::start("swap-kubectl").await.unwrap();
    let maps = site.config_maps();
    let last = "kubectl.kubernetes.io/last-applied-configuration";
    let object = |name: &str, annotations: Value| -> DynamicObject {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "annotations": annotations},
            "data": {"step": "0", "old": "from kubectl"}});
        serde_json::from_value(body).unwrap()
    };
    let by = |manager: &str| PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
    let client_side =
        PostParams { field_manager: Some("kubectl-client-side-apply".into()), ..Default::default() };
    maps.create(&client_side, &object("taken", json!({last: "{}"}))).await.unwrap();
    maps.create(&client_side, &object("merged", json!({last: "{}"}))).await.unwrap();
    for name in ["taken", "merged"] {
        let edited = json!({"data": {"edited": "by hand"}});
        maps.patch(name, &by("kubectl-edit"), &Patch::Merge(edited)).await.unwrap();
        let foreign = json!({"data": {"foreign": "of an operator"}});
        maps.patch(name, &by("operator"), &Patch::Merge(foreign)).await.unwrap();
    }
    let server_side = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "taken"},
        "data": {"applied": "by kubectl --server-side"}});
    maps.patch("taken", &PatchParams::apply("kubectl"), &Patch::Apply(server_side)).await.unwrap();

    let merged = config_map("merged", "1")
        .replace("{name: merged}", "{name: merged, annotations: {kustomize.toolkit.fluxcd.io/ssa: Merge}}");
    let taken = config_map("taken", "1");
    let files = [("apps/taken.yaml", Some(taken.as_str())), ("apps/merged.yaml", Some(merged.as_str()))];
    site.repository.commit("first", &files).unwrap();
    let _source = site.start_source(Identity::Admin, &[]).await.unwrap();
    let _kustomize = site.start_kustomize(Identity::Admin, &[]).await.unwrap();
    let url = site.repository_url();
    for mut object in [
        site.read("fixtures/swap/source.yaml", &[("$URL", url.as_str())]).unwrap().remove(0),
        site.read("fixtures/swap/kustomization.yaml", &[]).unwrap().remove(0),
    ] {
        object.as_object_mut().unwrap().remove("status");
        site.apply(&object).await.unwrap();
    }
    answered(&site, "first").await;

    let taken = maps.get("taken").await.unwrap();
    assert_eq!(taken.data["data"], json!({"step": "1", "foreign": "of an operator"}));
    assert!(!taken.metadata.annotations.clone().unwrap_or_default().contains_key(last));
    let managers: BTreeSet<_> =
        taken.managed_fields_of(|_| true).map(|entry| entry.manager.clone().unwrap()).collect();
    assert_eq!(managers, ["kustomize-controller".to_owned(), "operator".to_owned()].into());
    let merged = maps.get("merged").await.unwrap();
    let wanted =
        json!({"step": "1", "old": "from kubectl", "edited": "by hand", "foreign": "of an operator"});
    assert_eq!(merged.data["data"], wanted);
    assert!(merged.metadata.annotations.clone().unwrap_or_default().contains_key(last));

    // From now on an edit is drift.
    let edited = json!({"data": {"edited": "again"}});
    maps.patch("taken", &by("kubectl-edit"), &Patch::Merge(edited)).await.unwrap();
    site.until(&maps, "taken", |object| object.data.pointer("/data/edited").is_none()).await.unwrap();
    end(&site).await;
}
