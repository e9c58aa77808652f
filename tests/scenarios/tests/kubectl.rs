//! The stock `kubectl` works on the development API as it does on a real server. On a machine without one
//! nothing is tried here, but `cargo xtask cluster test` brings its own.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};
use sluice_scenarios::kubectl::is_installed;
use sluice_scenarios::site::Site;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// A site, or none where there is no `kubectl`.
async fn site(story: &str) -> Option<Site> {
    if is_installed() {
        return Some(Site::start(story).await.unwrap());
    }
    eprintln!("there is no kubectl on PATH");
    None
}

async fn says(site: &Site, words: &str, expected: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    let said = site.run_kubectl(&words).await.unwrap();
    assert!(said.contains(expected), "kubectl {words:?} said\n{said}\nand not\n{expected}");
}

async fn object(site: &Site, what: &str) -> Value {
    let said = site.run_kubectl(&["get", what, "-o", "json"]).await.unwrap();
    serde_json::from_str(&said).unwrap()
}

#[tokio::test]
async fn kubectl_creates_what_its_generators_make() {
    let Some(site) = site("kubectl-create").await else { return };
    let name = format!("{}-made", site.namespace);
    let cases = [
        ("configmap a --from-literal=x=1", "configmap/a created"),
        ("secret generic s --from-literal=p=q", "secret/s created"),
        (
            "deployment web --image=registry.example/web:1 --replicas=2 --port=80",
            "deployment.apps/web created",
        ),
        ("serviceaccount robot", "serviceaccount/robot created"),
        (
            "role reader --verb=get,list --resource=configmaps",
            "role.rbac.authorization.k8s.io/reader created",
        ),
        (
            "rolebinding reader --role=reader --serviceaccount=default:robot",
            "rolebinding.rbac.authorization.k8s.io/reader created",
        ),
        ("service clusterip web --tcp=80:8080", "service/web created"),
        ("job once --image=registry.example/once:1", "job.batch/once created"),
        ("ingress web --rule=web.example/path*=web:80", "ingress.networking.k8s.io/web created"),
        ("quota few --hard=pods=3", "resourcequota/few created"),
        (
            "poddisruptionbudget web --selector=app=web --min-available=1",
            "poddisruptionbudget.policy/web created",
        ),
    ];
    for (words, expected) in cases {
        says(&site, &format!("create {words}"), expected).await;
    }
    says(&site, &format!("create namespace {name}"), &format!("namespace/{name} created")).await;
    says(&site, &format!("delete namespace {name} --wait=false"), "deleted").await;
    assert!(site.run_kubectl(&["create", "token", "robot"]).await.unwrap().split('.').count() == 3);

    assert_eq!(object(&site, "configmap/a").await["data"], json!({"x": "1"}));
    assert_eq!(object(&site, "secret/s").await["data"], json!({"p": "cQ=="}));
    let web = object(&site, "deployment/web").await;
    assert_eq!(web["spec"]["replicas"], 2);
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"], 80);
    let service = object(&site, "service/web").await;
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 8080);
    let path = &object(&site, "ingress/web").await["spec"]["rules"][0]["http"]["paths"][0];
    assert_eq!(path["backend"]["service"]["port"]["number"], 80);
    assert_eq!(object(&site, "quota/few").await["spec"]["hard"], json!({"pods": "3"}));
    assert_eq!(object(&site, "pdb/web").await["spec"]["minAvailable"], 1);
    site.delete_namespace().await.unwrap();
}

#[tokio::test]
async fn kubectl_changes_a_deployment_and_sees_it_through() {
    let Some(site) = site("kubectl-change").await else { return };
    says(&site, "create deployment web --image=registry.example/web:1", "created").await;
    says(&site, "rollout status deployment/web --timeout=60s", "successfully rolled out").await;
    says(&site, "scale deployment web --replicas=3", "scaled").await;
    says(&site, "set image deployment/web web=registry.example/web:2", "image updated").await;
    says(&site, "label deployment/web tier=front", "labeled").await;
    says(&site, "annotate deployment/web note=first", "annotated").await;
    says(&site, "rollout restart deployment/web", "restarted").await;
    says(&site, "rollout pause deployment/web", "paused").await;
    says(&site, "rollout resume deployment/web", "resumed").await;
    says(&site, "rollout status deployment/web --timeout=60s", "successfully rolled out").await;
    says(&site, "wait deployment/web --for=condition=Available --timeout=60s", "condition met").await;
    says(&site, "get deployments", "3/3").await;
    says(&site, "describe deployment web", "3 desired").await;
    says(&site, "expose deployment web --name=exposed --port=80", "service/exposed exposed").await;

    let editor = tempfile::tempdir().unwrap();
    let script = editor.path().join("editor");
    std::fs::write(&script, "#!/bin/sh\nsed -i 's/note: first/note: second/' \"$1\"\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let edited =
        site.kubectl(&["edit", "deployment/web"]).env("KUBE_EDITOR", &script).output().await.unwrap();
    assert!(edited.status.success(), "{edited:?}");
    let web = object(&site, "deployment/web").await;
    assert_eq!(web["metadata"]["annotations"]["note"], "second");
    assert_eq!(web["metadata"]["labels"]["tier"], "front");
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/web:2");
    site.delete_namespace().await.unwrap();
}

#[tokio::test]
async fn kubectl_patches_watches_waits_and_deletes() {
    let Some(site) = site("kubectl-watch").await else { return };
    says(&site, "create configmap a --from-literal=x=1", "created").await;
    let mut watch = site.kubectl(&["get", "configmaps", "a", "--watch", "--no-headers"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("a "));
    for (kind, patch) in [
        ("strategic", r#"{"data":{"y":"2"}}"#),
        ("merge", r#"{"data":{"z":"3"}}"#),
        ("json", r#"[{"op":"remove","path":"/data/x"}]"#),
    ] {
        let words = ["patch", "configmap", "a", "--type", kind, "--patch", patch];
        assert!(site.run_kubectl(&words).await.unwrap().contains("patched"));
        let seen = tokio::time::timeout(std::time::Duration::from_secs(20), lines.next_line()).await;
        assert!(seen.unwrap().unwrap().unwrap().starts_with("a "));
    }
    assert_eq!(object(&site, "configmap/a").await["data"], json!({"y": "2", "z": "3"}));
    says(&site, "wait configmap/a --for=jsonpath={.data.y}=2 --timeout=20s", "condition met").await;
    let gone = site.kubectl(&["wait", "configmap/a", "--for=delete", "--timeout=60s"]).output();
    let (gone, ()) = tokio::join!(gone, says(&site, "delete configmap a", "configmap \"a\" deleted"));
    assert!(gone.unwrap().status.success());
    let left = site.run_kubectl(&["get", "configmap", "a", "--ignore-not-found", "-o", "name"]).await;
    assert_eq!(left.unwrap(), "");
    says(&site, "auth can-i create deployments", "yes").await;
    let whoami = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"];
    assert!(site.run_kubectl(&whoami).await.unwrap().contains("system:authenticated"));
    site.delete_namespace().await.unwrap();
}

#[tokio::test]
async fn kubectl_shows_events_of_either_group() {
    let Some(site) = site("kubectl-events").await else { return };
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1"}, "reason": "Scaled",
        "involvedObject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": site.namespace},
        "message": "up to three", "type": "Normal", "count": 1, "source": {"component": "story"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z"});
    site.apply(&event).await.unwrap();
    for words in ["events", "get events", "events --for deployment/web"] {
        let said = site.run_kubectl(&words.split(' ').collect::<Vec<_>>()).await.unwrap();
        assert!(
            said.to_lowercase().contains("deployment/web") && said.contains("up to three"),
            "{words}: {said}"
        );
    }
    let newer = object(&site, "events.v1.events.k8s.io/web.1").await;
    assert_eq!(newer["apiVersion"], "events.k8s.io/v1");
    assert_eq!((&newer["note"], &newer["regarding"]["name"]), (&json!("up to three"), &json!("web")));
    says(&site, "delete events.v1.events.k8s.io web.1", "deleted").await;
    site.delete_namespace().await.unwrap();
}
