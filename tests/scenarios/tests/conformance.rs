//! The development API answers as a real API server does.
//!
//! Every file under `conformance/` is a conversation: requests with the answers a real server gave. They are
//! recorded with `UPDATE=1 SLUICE_KUBECONFIG=…`, checked against the development API by default and against the
//! real server when `SLUICE_KUBECONFIG` names one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::Request;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::client::Body;
use serde_json::{Map, Value, json};
use sluice_localapi::{Options, Server, Token};

/// The client, and whether it speaks to a real server.
async fn client(rbac: bool) -> (Client, bool) {
    if let Some(path) = std::env::var_os("SLUICE_KUBECONFIG") {
        let config = kube::config::Kubeconfig::read_from(PathBuf::from(path)).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
        return (Client::try_from(config).unwrap(), true);
    }
    let token = Token { token: "unused".into(), user: "nobody".into(), groups: vec![] };
    let server = Server::start(Options { rbac, tokens: vec![token], ..Options::default() });
    (Client::new(server.router().into_service(), "default"), false)
}

async fn send(client: &Client, step: &Value) -> Value {
    let (method, path) = step["do"].as_str().unwrap().split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    let kind = step["type"].as_str().unwrap_or(match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    });
    request = request.header("content-type", kind).header("user-agent", "conformance/1.0");
    for (name, value) in step["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    let body = step.get("body").map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let response = client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let warnings: Vec<String> = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|value| value.to_str().unwrap().to_owned())
        .collect();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    let mut answer = json!({"code": code, "body": body});
    if !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
    answer
}

/// Replaces what no two servers have in common, the same value by the same word.
#[derive(Default)]
struct Scrubber {
    known: BTreeMap<String, String>,
    /// The last version seen of each object.
    versions: BTreeMap<String, String>,
}

/// Controllers of a real cluster write to these at any time.
const LIVELY: [&str; 7] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Scale",
    "CustomResourceDefinition",
    "PodDisruptionBudget",
];

impl Scrubber {
    fn word(&mut self, family: &str, value: &str) -> String {
        let count = self.known.values().filter(|word| word.starts_with(&format!("<{family}"))).count();
        self.known.entry(value.to_owned()).or_insert_with(|| format!("<{family}{}>", count + 1)).clone()
    }

    fn text(&mut self, text: &str) -> String {
        let mut out = text.to_owned();
        for (value, word) in &self.known {
            if value.len() > 8 {
                out = out.replace(value, word);
            }
        }
        scrub_times(&out)
    }

    /// A version only counts as changed or unchanged.
    fn version(&mut self, uid: &str, version: &str, lively: bool) -> &'static str {
        let before = self.versions.insert(uid.to_owned(), version.to_owned());
        match before {
            _ if lively => "<version>",
            Some(before) if before == version => "<same version>",
            _ => "<new version>",
        }
    }

    fn walk(&mut self, key: &str, value: &mut Value) {
        let lively = LIVELY.iter().any(|kind| value["kind"] == *kind);
        match value {
            Value::Object(map) => {
                if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
                    let text = |name: &str| {
                        metadata.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
                    };
                    let (uid, version) = (text("uid"), text("resourceVersion"));
                    if !uid.is_empty() && !version.is_empty() {
                        let word = self.version(&uid, &version, lively);
                        metadata.insert("resourceVersion".into(), json!(word));
                    }
                }
                let keys: Vec<String> = map.keys().cloned().collect();
                // First, so that it is known when it turns up in other text.
                if let Some(Value::String(text)) = map.get("uid").cloned()
                    && !text.is_empty()
                {
                    map.insert("uid".into(), json!(self.word("uid", &text)));
                }
                for name in keys {
                    if let Some(child) = map.get_mut(&name) {
                        self.walk(&name, child);
                    }
                }
            }
            Value::Array(list) => {
                if key == "causes" {
                    list.sort_by_key(Value::to_string);
                }
                if key == "managedFields" {
                    list.retain(|entry| entry["manager"] != "kube-controller-manager");
                    list.sort_by_key(|entry| {
                        let part = |key: &str| entry[key].to_string();
                        (part("manager"), part("operation"), part("apiVersion"), part("subresource"))
                    });
                }
                list.iter_mut().for_each(|item| self.walk(key, item));
            }
            // How long ago a column says that was depends on the machine.
            Value::String(text) if key == "cells" && is_age(text) => *value = json!("<age>"),
            Value::String(text) => {
                let scrubbed = self.text(text);
                *value = json!(scrubbed);
            }
            _ => {}
        }
    }
}

/// Seconds, as a column of ages shows them.
fn is_age(text: &str) -> bool {
    let seconds = text.strip_suffix('s').unwrap_or_default();
    !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit())
}

fn scrub_times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("20") {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let stamp = tail.as_bytes();
        let is_time = stamp.len() >= 20 && stamp[4] == b'-' && stamp[10] == b'T' && stamp[19] == b'Z';
        if is_time {
            out.push_str("<time>");
            rest = &tail[20..];
        } else {
            out.push_str("20");
            rest = &tail[2..];
        }
    }
    out + rest
}

fn drop_pointer(value: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    if let Some(Value::Object(map)) = value.pointer_mut(parent) {
        map.remove(last);
    }
}

/// Puts the file's own namespace into every text.
fn fill(value: &Value, namespace: &str) -> Value {
    serde_json::from_str(&value.to_string().replace("$NS", namespace)).unwrap()
}

async fn wait(client: &Client, wanted: &Value) {
    let text = |key: &str| wanted[key].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let gvk = GroupVersionKind::gvk(group, version, text("kind"));
    let resource = ApiResource::from_gvk_with_plural(&gvk, text("plural"));
    let api: Api<DynamicObject> = match text("namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let name = text("name").to_owned();
    let (pointer, equals) = (text("pointer").to_owned(), wanted["equals"].clone());
    let gone = wanted["gone"] == json!(true);
    let condition = move |object: Option<&DynamicObject>| match object {
        None => gone,
        Some(object) if !gone => {
            let value = serde_json::to_value(object).unwrap();
            let found = value.pointer(&pointer);
            if equals.is_null() { found.is_none() } else { found == Some(&equals) }
        }
        Some(_) => false,
    };
    let waiting = kube::runtime::wait::await_condition(api, &name, condition);
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.expect("in time").unwrap();
}

/// Plays one file; gives the steps with the answers of this server.
async fn play(client: &Client, file: &Value, namespace: &str) -> Vec<Value> {
    let create = json!({"do": "POST /api/v1/namespaces",
        "body": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}});
    let made = send(client, &create).await;
    assert_eq!(made["code"], 201, "{made}");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "plural": "serviceaccounts", "namespace": namespace,
        "name": "default", "pointer": "/metadata/name", "equals": "default"});
    wait(client, &account).await;
    let mut scrubber = Scrubber::default();
    let mut answered = Vec::new();
    for step in file["steps"].as_array().unwrap() {
        let filled = fill(step, namespace);
        if let Some(wanted) = filled.get("wait") {
            wait(client, wanted).await;
            answered.push(step.clone());
            continue;
        }
        let mut answer = send(client, &filled).await;
        if step["patiently"] == json!(true) {
            // What a real server knows of roles arrives a moment after them.
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
            for _ in 0..100 {
                if answer["code"] == step["answer"]["code"] {
                    break;
                }
                ticks.tick().await;
                answer = send(client, &filled).await;
            }
        }
        scrubber.walk("", &mut answer["body"]);
        for pointer in step["ignore"].as_array().into_iter().flatten() {
            drop_pointer(&mut answer, &format!("/body{}", pointer.as_str().unwrap()));
        }
        let mut step = step.clone();
        let plain: Value = serde_json::from_str(&answer.to_string().replace(namespace, "$NS")).unwrap();
        step["answer"] = plain;
        answered.push(step);
    }
    for path in file["clean"].as_array().into_iter().flatten() {
        let path = fill(path, namespace);
        send(client, &json!({"do": format!("DELETE {}", path.as_str().unwrap())})).await;
    }
    send(client, &json!({"do": format!("DELETE /api/v1/namespaces/{namespace}")})).await;
    answered
}

/// The differences between two values, as `pointer: expected / found` lines.
fn differences(at: &str, expected: &Value, found: &Value, out: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let none = Value::String("<absent>".into());
                let (a, b) = (left.get(key).unwrap_or(&none), right.get(key).unwrap_or(&none));
                differences(&format!("{at}/{key}"), a, b, out);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (a, b)) in left.iter().zip(right).enumerate() {
                differences(&format!("{at}/{index}"), a, b, out);
            }
        }
        _ if expected == found => {}
        _ => out.push(format!("{at}\n    expected {expected}\n    found    {found}")),
    }
}

/// Where 1.34 answers in other words than 1.36, of which the recordings are; as JSON has it.
const OLDER: [(&str, &str); 4] = [
    // A line of its own source.
    ("scheme.go:111", "scheme.go:110"),
    // It says what kind of value breaks a rule.
    ("Invalid value: x must be small", r#"Invalid value: \"object\": x must be small"#),
    ("a valid label key must", "a qualified name must"),
    (
        r#"provisioner: Invalid value: \"x.example.com/b\": field is immutable"#,
        "provisioner: Forbidden: updates to provisioner are forbidden.",
    ),
];

/// What this server is expected to answer where 1.36 answered so.
async fn expected_of(client: &Client, real: bool, steps: &Value) -> Value {
    if !real || client.apiserver_version().await.unwrap().minor != "34" {
        return steps.clone();
    }
    let older = |text: String, (newer, older): &(&str, &str)| text.replace(newer, older);
    serde_json::from_str(&OLDER.iter().fold(steps.to_string(), older)).unwrap()
}

async fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(format!("{name}.json"));
    let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let (client, real) = client(file["rbac"] == json!(true)).await;
    let namespace = format!("conformance-{name}-{}", std::process::id());
    let answered = play(&client, &file, &namespace).await;
    if std::env::var_os("UPDATE").is_some() {
        assert!(real, "only a real server's answers are recorded");
        let mut file: Map<String, Value> = file.as_object().unwrap().clone();
        file.insert("steps".into(), Value::Array(answered));
        std::fs::write(&path, format!("{:#}\n", Value::Object(file))).unwrap();
        return;
    }
    let mut out = Vec::new();
    let steps = expected_of(&client, real, &file["steps"]).await;
    for (index, (expected, found)) in steps.as_array().unwrap().iter().zip(&answered).enumerate() {
        let mut lines = Vec::new();
        differences("", &expected["answer"], &found["answer"], &mut lines);
        if !lines.is_empty() {
            out.push(format!(
                "step {index}: {}\n  {}",
                expected["do"].as_str().unwrap_or(""),
                lines.join("\n  ")
            ));
        }
    }
    assert!(out.is_empty(), "{name} differs:\n{}", out.join("\n"));
}

macro_rules! conversations {
    ($($test:ident: $file:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            check($file).await;
        })*
    };
}

conversations! {
    server_side_apply_tracks_owners_and_refuses_conflicts: "apply",
    custom_resources_are_defaulted_pruned_and_validated: "custom",
    built_in_kinds_get_their_defaults: "defaults",
    refusals_have_the_servers_shape: "refusals",
    patches_merge_as_documented: "patches",
    deletion_honours_finalizers_and_preconditions: "deletion",
    lists_select_and_page: "lists",
    roles_bind_impersonated_users: "roles",
    ownership_changes_hands: "takeover",
    a_kind_is_served_in_several_versions: "versions",
    events_are_the_same_in_both_groups: "events",
    what_clients_get_wrong_is_told: "clients",
    what_may_not_change_or_be_is_refused: "immutable",
}
