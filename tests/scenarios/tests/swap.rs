//! Our controllers take a running installation over from Flux 2.9, and leave what Flux could take back.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice_scenarios::site::{Controller, Identity, Site};
use sluice_scenarios::{LIMIT, config_map};
use sluice_testkit::proxy::Seen;
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

/// In the order in which it stands, which is that of `flux tree`.
fn inventory(object: &DynamicObject) -> Vec<String> {
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
    assert_eq!(applies(&kustomize), Vec::<String>::new(), "a look tells that nothing is to be applied");
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

/// The source and the Kustomization as people write them: without what a controller has told of them.
async fn create_apps(site: &Site) {
    let url = site.repository_url();
    for mut object in [
        site.read("fixtures/swap/source.yaml", &[("$URL", url.as_str())]).unwrap().remove(0),
        site.read("fixtures/swap/kustomization.yaml", &[]).unwrap().remove(0),
    ] {
        object.as_object_mut().unwrap().remove("status");
        site.apply(&object).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_there_yet_is_not_left_to_flux_to_delete() {
    let site = Site::start("swap-absent").await.unwrap();
    let group = format!("{}.example.com", site.namespace);
    let gadget = format!("apiVersion: {group}/v1\nkind: Gadget\nmetadata: {{name: g}}\n");
    let plain = config_map("plain", "1");
    let files = [("apps/gadget.yaml", Some(gadget.as_str())), ("apps/plain.yaml", Some(plain.as_str()))];
    site.repository.commit("first", &files).unwrap();
    let _source = site.start_source(Identity::Admin, &[]).await.unwrap();
    let _kustomize = site.start_kustomize(Identity::Admin, &[]).await.unwrap();
    create_apps(&site).await;
    let failed = |object: &DynamicObject| condition_text(object, "Ready", "message").contains("Gadget");
    let waiting = site.until(&site.kustomizations(), "apps", failed).await.unwrap();
    let plain = format!("{}_plain__ConfigMap@v1", site.namespace);
    assert_eq!(inventory(&waiting), std::slice::from_ref(&plain));

    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Gadget", "plural": "gadgets",
            "singular": "gadget", "listKind": "GadgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let served = kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let definitions: Api<DynamicObject> = Api::all_with(site.client.clone(), &served);
    let definition: DynamicObject = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let ready = |object: &DynamicObject| condition_text(object, "Ready", "status") == "True";
    let applied = site.until(&site.kustomizations(), "apps", ready).await.unwrap();
    assert_eq!(inventory(&applied), [plain, format!("{}_g_{group}_Gadget@v1", site.namespace)]);
    end(&site).await;
    let name = format!("gadgets.{group}");
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    site.until_gone(&definitions, &name).await.unwrap();
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

#[tokio::test]
async fn while_somebody_else_holds_the_lease_nothing_is_written() {
    let (site, commit, before) = left_by_flux("swap-held").await;
    let leases = objects(&site.client, &kind("coordination.k8s.io/v1", "Lease", "leases"), "default");
    let lease = format!("kustomize-controller-leader-election-{HELD_SHARD}");
    let mut held = site.read("fixtures/swap/lease.yaml", &[("$LEASE", lease.as_str())]).unwrap().remove(0);
    site.delete(&held).await.unwrap();
    held["spec"]["holderIdentity"] = json!(HOLDER);
    held["spec"]["leaseDurationSeconds"] = json!(3600);
    let held: DynamicObject = serde_json::from_value(held).unwrap();
    leases.create(&PostParams::default(), &held).await.unwrap();

    let ours = site
        .start_kustomize(Identity::Admin, &[LEADING, "--leader-election-retry-period=50ms"])
        .await
        .unwrap();
    let request = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "held"}}});
    site.kustomizations().patch("apps", &PatchParams::default(), &Patch::Merge(request)).await.unwrap();
    let looked = |times: usize| {
        move |log: &[Seen]| log.iter().filter(|seen| seen.resource == "leases").count() >= times
    };
    for turn in 1..=3 {
        tokio::time::timeout(LIMIT, ours.proxy.wait(looked(3 * turn))).await.unwrap();
        let renewed = json!({"spec": {"renewTime": format!("2026-03-0{turn}T09:00:00.000000Z")}});
        leases.patch(&lease, &PatchParams::default(), &Patch::Merge(renewed)).await.unwrap();
    }
    assert!(ours.proxy.log().iter().all(|seen| !seen.writes), "{:?}", ours.proxy.writes());
    assert_eq!(text(&leases.get(&lease).await.unwrap(), "/spec/holderIdentity"), HOLDER);

    // It ends without giving the lease back: a lease that is not renewed runs out.
    let short = json!({"spec": {"leaseDurationSeconds": 1}});
    leases.patch(&lease, &PatchParams::default(), &Patch::Merge(short)).await.unwrap();
    site.until(&leases, &lease, |object| text(object, "/spec/holderIdentity") != HOLDER).await.unwrap();
    let app = site
        .until(&site.kustomizations(), "apps", |object| {
            text(object, "/status/lastHandledReconcileAt") == "held"
        })
        .await
        .unwrap();
    // There is no artifact to be had, so nothing was applied; but nothing was lost either.
    assert_eq!(text(&app, "/status/lastAppliedRevision"), format!("main@sha1:{commit}"));
    assert_eq!(inventory(&app).len(), before.len());
    // No source-controller is there to let go of the source.
    let released = json!({"metadata": {"finalizers": null}});
    site.repositories().patch("apps", &PatchParams::default(), &Patch::Merge(released)).await.unwrap();
    end(&site).await;
}

const HOLDER: &str = "kustomize-controller-5f7d8c9b6d-x2x7q_0f3c1a52-6a2b-4b62-9a9c-0d6f3f6f2f10";

/// First eight digits of the selectors' SHA-256.
const HELD_SHARD: &str = "e96a8029";

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
    create_apps(&site).await;
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
