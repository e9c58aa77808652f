//! The controllers under nothing but the roles that are installed with them.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::config_map;
use sluice_scenarios::site::{Controller, Identity, Site};
use sluice_testkit::waiting::{condition_text, text};
use tokio::sync::Mutex;

const CLUSTER_RECONCILER: &str = "../../config/kustomize-controller/cluster-reconciler.yaml";
const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'registry.example/web:1'}]}
";

/// Roles of a cluster are one for all stories on a server.
static ROLES: Mutex<()> = Mutex::const_new(());

/// The roles as they are installed, with the multi-tenant component or without.
async fn install(site: &Site, multi_tenant: bool) {
    site.add_namespace("flux-system").await.unwrap();
    let cluster = site.read(CLUSTER_RECONCILER, &[]).unwrap().remove(0);
    let mut files = vec![
        "../../config/rbac/source-controller/role.yaml",
        "../../config/rbac/kustomize-controller/role.yaml",
    ];
    if multi_tenant {
        site.delete(&cluster).await.unwrap();
    } else {
        files.push(CLUSTER_RECONCILER);
    }
    for file in files {
        for object in site.read(file, &[]).unwrap() {
            site.apply(&object).await.unwrap();
        }
    }
}

/// A role in the site's namespace, bound to a ServiceAccount there.
async fn grant(site: &Site, account: &str, verbs: &[&str]) {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": account}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": verbs},
    ]});
    site.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}))
        .await
        .unwrap();
    site.apply(&role).await.unwrap();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": site.namespace}]});
    site.apply(&binding).await.unwrap();
}

/// What a person creates: everything by the fixture's shape, without a status.
async fn add(site: &Site, file: &str, name: &str, spec: Value) {
    let url = site.repository_url();
    let mut object = site.read(file, &[("$URL", url.as_str())]).unwrap().remove(0);
    object.as_object_mut().unwrap().remove("status");
    object["metadata"]["name"] = json!(name);
    let whole = object["spec"].as_object_mut().unwrap();
    whole.extend(spec.as_object().unwrap().clone());
    whole.retain(|_, value| !value.is_null());
    site.apply(&object).await.unwrap();
}

async fn add_source(site: &Site, spec: Value) {
    add(site, "fixtures/swap/source.yaml", "apps", spec).await;
}

async fn add_kustomization(site: &Site, name: &str, spec: Value) {
    add(site, "fixtures/swap/kustomization.yaml", name, spec).await;
}

async fn ready(site: &Site, name: &str, commit: &str) {
    site.until(&site.kustomizations(), name, |object| {
        text(object, "/status/lastAppliedRevision").ends_with(commit)
            && condition_text(object, "Ready", "status") == "True"
    })
    .await
    .unwrap();
}

async fn refused(site: &Site, name: &str, reason: &str) -> String {
    let failed = site
        .until(&site.kustomizations(), name, |object| condition_text(object, "Ready", "reason") == reason)
        .await
        .unwrap();
    condition_text(&failed, "Ready", "message").to_owned()
}

async fn push(site: &Site, changes: &[(&str, Option<&str>)]) -> String {
    let commit = site.repository.commit("change", changes).unwrap();
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": commit}}});
    site.repositories().patch("apps", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    commit
}

async fn remove(site: &Site, names: &[&str]) {
    for name in names {
        site.kustomizations().delete(name, &DeleteParams::default()).await.unwrap();
        site.until_gone(&site.kustomizations(), name).await.unwrap();
    }
    site.repositories().delete("apps", &DeleteParams::default()).await.unwrap();
    site.until_gone(&site.repositories(), "apps").await.unwrap();
}

/// Waits for an Event of a controller, which shows that it may write them.
async fn told(site: &Site, controller: &str, reason: &str) {
    let events = site.api("v1", "Event", "events");
    site.until_any(&events, |event| {
        text(event, "/source/component") == controller && text(event, "/reason") == reason
    })
    .await
    .unwrap();
}

/// Ends the controllers, so that the next ones need not wait for a lease, and what they left.
async fn end(site: &Site, source: Controller, kustomize: Controller) {
    source.end().await.unwrap();
    kustomize.end().await.unwrap();
    site.delete_namespace().await.unwrap();
}

/// Nothing that the controllers wanted for themselves was refused: what they may not do they do not try.
fn nothing_was_forbidden(site: &Site, controllers: &[&Controller]) {
    for controller in controllers {
        let forbidden = controller.forbidden();
        assert!(forbidden.is_empty(), "{forbidden:#?}\n{}", site.logs());
        let own = "system:serviceaccount:flux-system:";
        let output = controller.output();
        let complaints: Vec<&str> =
            output.lines().filter(|line| line.contains(own) && line.contains("cannot")).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

#[tokio::test]
async fn locked_down_tenants_get_what_their_roles_allow_and_the_controllers_need_no_more() {
    let _alone = ROLES.lock().await;
    let site = Site::start("roles-tenants").await.unwrap();
    install(&site, true).await;
    // What Flux needs to apply, look at and prune; nothing that lists or watches.
    grant(&site, "team", &["get", "create", "patch", "delete"]).await;
    let (one, two) = (config_map("one", "${word}"), config_map("two", "1"));
    let files = [
        ("apps/one.yaml", Some(one.as_str())),
        ("apps/two.yaml", Some(two.as_str())),
        ("apps/web.yaml", Some(DEPLOYMENT)),
        ("other/three.yaml", Some("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\n")),
    ];
    let first = site.repository.commit("first", &files).unwrap();
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    site.apply(&secret("login", json!({"username": "ada", "password": "x"}))).await.unwrap();
    site.apply(&secret("words", json!({"word": "open"}))).await.unwrap();

    let source = site.start_source(Identity::Own, &["--enable-leader-election=true"]).await.unwrap();
    let flags = [
        "--enable-leader-election=true",
        "--default-service-account=default",
        "--no-cross-namespace-refs=true",
    ];
    let kustomize = site.start_kustomize(Identity::Own, &flags).await.unwrap();
    add_source(&site, json!({"secretRef": {"name": "login"}})).await;
    let substitute = json!({"substituteFrom": [{"kind": "Secret", "name": "words"}]});
    add_kustomization(&site, "team", json!({"serviceAccountName": "team", "postBuild": substitute})).await;
    ready(&site, "team", &first).await;

    // Who is named nowhere is the namespace's default account, which may nothing yet.
    add_kustomization(&site, "nobody", json!({"path": "./other", "dependsOn": [{"name": "team"}]})).await;
    let message = refused(&site, "nobody", "ReconciliationFailed").await;
    let account = format!("system:serviceaccount:{}:default", site.namespace);
    assert!(message.contains(&account) && message.contains("cannot"), "{message}");
    assert!(site.config_maps().get_opt("three").await.unwrap().is_none());
    grant(&site, "default", &["get", "list", "watch", "create", "patch", "delete"]).await;
    ready(&site, "nobody", &first).await;

    let elsewhere = json!({"sourceRef": {"kind": "GitRepository", "name": "apps", "namespace": "default"}});
    add_kustomization(&site, "abroad", elsewhere).await;
    let message = refused(&site, "abroad", "AccessDenied").await;
    assert!(message.contains("cross-namespace references have been blocked"), "{message}");

    // Drift, an update, a prune and a deletion go the same way.
    let edit = Patch::Merge(json!({"data": {"step": "9"}}));
    site.config_maps().patch("two", &PatchParams::default(), &edit).await.unwrap();
    let one = config_map("one", "2");
    let second = push(&site, &[("apps/one.yaml", Some(&one)), ("apps/two.yaml", None)]).await;
    ready(&site, "team", &second).await;
    assert_eq!(text(&site.config_maps().get("one").await.unwrap(), "/data/step"), "2");
    site.until_gone(&site.config_maps(), "two").await.unwrap();
    told(&site, "source-controller", "NewArtifact").await;
    told(&site, "kustomize-controller", "ReconciliationSucceeded").await;
    remove(&site, &["abroad", "nobody", "team"]).await;
    site.until_gone(&site.config_maps(), "one").await.unwrap();
    site.until_gone(&site.config_maps(), "three").await.unwrap();
    nothing_was_forbidden(&site, &[&source, &kustomize]);
    // That drift of some objects is not seen when it happens is said, with what would help.
    let output = kustomize.output();
    let told = output.lines().filter(|line| line.contains("may not list and watch these objects"));
    assert_eq!(told.filter(|line| line.contains("deployments")).count(), 1, "{output}");
    end(&site, source, kustomize).await;
}

#[tokio::test]
async fn drift_is_seen_where_the_controller_may_watch_the_tenants_namespace_only() {
    let _alone = ROLES.lock().await;
    let site = Site::start("roles-narrow").await.unwrap();
    install(&site, true).await;
    grant(&site, "team", &["get", "create", "patch", "delete"]).await;
    site.apply(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "watch"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]}),
    )
    .await
    .unwrap();
    site.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "watch"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watch"},
        "subjects": [{"kind": "ServiceAccount", "name": "kustomize-controller", "namespace": "flux-system"}]}))
        .await
        .unwrap();
    let one = config_map("one", "1");
    let first = site.repository.commit("first", &[("apps/one.yaml", Some(&one))]).unwrap();
    let source = site.start_source(Identity::Own, &[]).await.unwrap();
    let kustomize =
        site.start_kustomize(Identity::Own, &["--default-service-account=default"]).await.unwrap();
    add_source(&site, json!({})).await;
    add_kustomization(&site, "team", json!({"serviceAccountName": "team", "interval": "1h"})).await;
    ready(&site, "team", &first).await;
    let edit = Patch::Merge(json!({"data": {"step": "9"}}));
    site.config_maps().patch("one", &PatchParams::default(), &edit).await.unwrap();
    site.until(&site.config_maps(), "one", |object| text(object, "/data/step") == "1").await.unwrap();
    remove(&site, &["team"]).await;
    nothing_was_forbidden(&site, &[&source, &kustomize]);
    end(&site, source, kustomize).await;
}

#[tokio::test]
async fn with_the_cluster_reconciler_binding_anything_can_be_applied() {
    let _alone = ROLES.lock().await;
    let site = Site::start("roles-cluster").await.unwrap();
    install(&site, false).await;
    let space = format!("{}-made", site.namespace);
    let objects = format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: {space}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {space}}}
rules: [{{apiGroups: [''], resources: [nodes], verbs: [get]}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: one, namespace: {space}}}
data: {{step: \"1\"}}
"
    );
    let first = site.repository.commit("first", &[("apps/all.yaml", Some(&objects))]).unwrap();
    let source = site.start_source(Identity::Own, &[]).await.unwrap();
    let kustomize = site.start_kustomize(Identity::Own, &[]).await.unwrap();
    add_source(&site, json!({})).await;
    add_kustomization(&site, "all", json!({"targetNamespace": null})).await;
    ready(&site, "all", &first).await;
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": space}});
    let maps = site.api_of(&map);
    assert_eq!(
        maps.list(&ListParams::default().labels("kustomize.toolkit.fluxcd.io/name=all"))
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    // Its own rights suffice to see drift at once, not only at the next interval.
    let edit = Patch::Merge(json!({"data": {"step": "9"}}));
    maps.patch("one", &PatchParams::default(), &edit).await.unwrap();
    site.until(&maps, "one", |object| text(object, "/data/step") == "1").await.unwrap();
    remove(&site, &["all"]).await;
    site.until_gone(&maps, "one").await.unwrap();
    nothing_was_forbidden(&site, &[&source, &kustomize]);
    let cluster = site.read(CLUSTER_RECONCILER, &[]).unwrap().remove(0);
    site.delete(&cluster).await.unwrap();
    end(&site, source, kustomize).await;
}

/// A controller whose image is exchanged in a running Flux keeps Flux's roles and arguments.
#[tokio::test]
async fn under_the_roles_of_a_running_flux_nothing_is_lacking() {
    let _alone = ROLES.lock().await;
    let site = Site::start("roles-flux").await.unwrap();
    install(&site, false).await;
    let own = ["source-controller", "kustomize-controller"]
        .map(|name| format!("../../config/rbac/{name}/role.yaml"))
        .into_iter()
        .chain([CLUSTER_RECONCILER.to_owned()]);
    for file in own {
        for object in site.read(&file, &[]).unwrap() {
            site.delete(&object).await.unwrap();
        }
    }
    let roles = site.read("fixtures/swap/roles.yaml", &[]).unwrap();
    for object in &roles {
        site.apply(object).await.unwrap();
    }
    let (one, two) = (config_map("one", "1"), config_map("two", "1"));
    let files = [("apps/one.yaml", Some(one.as_str())), ("apps/two.yaml", Some(two.as_str()))];
    let first = site.repository.commit("first", &files).unwrap();
    let flags = ["--watch-all-namespaces=true", "--log-encoding=json", "--enable-leader-election"];
    let source = site.start_source(Identity::Own, &flags).await.unwrap();
    let kustomize = site.start_kustomize(Identity::Own, &flags).await.unwrap();
    add_source(&site, json!({})).await;
    add_kustomization(&site, "all", json!({"interval": "1h"})).await;
    ready(&site, "all", &first).await;
    let edit = Patch::Merge(json!({"data": {"step": "9"}}));
    site.config_maps().patch("one", &PatchParams::default(), &edit).await.unwrap();
    site.until(&site.config_maps(), "one", |object| text(object, "/data/step") == "1").await.unwrap();
    let second = push(&site, &[("apps/two.yaml", None)]).await;
    ready(&site, "all", &second).await;
    site.until_gone(&site.config_maps(), "two").await.unwrap();
    told(&site, "source-controller", "NewArtifact").await;
    told(&site, "kustomize-controller", "ReconciliationSucceeded").await;
    remove(&site, &["all"]).await;
    nothing_was_forbidden(&site, &[&source, &kustomize]);
    for object in &roles {
        site.delete(object).await.unwrap();
    }
    end(&site, source, kustomize).await;
}
