//! Discovery: which groups, versions and resources there are, and OpenAPI stubs good enough for `kubectl`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::kinds::{Kind, Version};
use crate::server::{Shared, respond};
use crate::status::Refusal;

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const SUB_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Answers discovery paths; `None` for all others.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    path: &str,
    headers: &HeaderMap,
) -> Option<Result<Response, Refusal>> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let aggregated = accept.contains("APIGroupDiscoveryList") && accept.contains("v=v2");
    let kinds: Vec<Arc<Kind>> = shared.lock().registry.all().cloned().collect();
    let body = match words.as_slice() {
        [] => json!({"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]}),
        ["version"] => version(),
        ["healthz" | "livez" | "readyz", ..] => return Some(Ok(text("ok"))),
        ["api"] if aggregated => return Some(Ok(aggregate(&kinds, true))),
        ["apis"] if aggregated => return Some(Ok(aggregate(&kinds, false))),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups(&kinds)}),
        ["api", "v1"] => resources(&kinds, "", "v1")?,
        ["apis", group] => match groups(&kinds).into_iter().find(|entry| entry["name"] == *group) {
            Some(mut found) => {
                crate::object::as_map(&mut found)
                    .extend([("kind".to_owned(), json!("APIGroup")), ("apiVersion".to_owned(), json!("v1"))]);
                found
            }
            None => return Some(Err(Refusal::no_such_path())),
        },
        ["apis", group, version] => match resources(&kinds, group, version) {
            Some(found) => found,
            None => return Some(Err(Refusal::no_such_path())),
        },
        ["openapi", "v3"] => openapi_index(&kinds),
        ["openapi", "v3", "api", version] => openapi(&kinds, "", version),
        ["openapi", "v3", "apis", group, version] => openapi(&kinds, group, version),
        ["openapi", ..] => return Some(Err(Refusal::no_such_path())),
        _ => return None,
    };
    Some(Ok(respond(StatusCode::OK, body.to_string().into_bytes(), &[])))
}

fn text(body: &'static str) -> Response {
    let mut response = respond(StatusCode::OK, body.as_bytes().to_vec(), &[]);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn version() -> Value {
    json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0+localapi", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64"})
}

/// Groups with the versions they serve, the preferred one first.
fn served(kinds: &[Arc<Kind>]) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let versions = out.entry(kind.group.clone()).or_default();
        for version in kind.versions.iter().filter(|version| version.served) {
            if !versions.contains(&version.name) {
                versions.push(version.name.clone());
            }
        }
    }
    for versions in out.values_mut() {
        versions.sort_by_key(|name| std::cmp::Reverse(rank(name)));
    }
    for review in ["authorization.k8s.io", "authentication.k8s.io"] {
        out.entry(review.into()).or_insert_with(|| vec!["v1".into()]);
    }
    out
}

/// `v2` before `v1` before `v2beta1` before `v1alpha1`.
fn rank(version: &str) -> (u8, u32, u32) {
    let digits =
        |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let major = digits(version.trim_start_matches('v'));
    match (version.split_once("beta"), version.split_once("alpha")) {
        (Some((_, minor)), _) => (1, major, digits(minor)),
        (_, Some((_, minor))) => (0, major, digits(minor)),
        _ => (2, major, 0),
    }
}

fn groups(kinds: &[Arc<Kind>]) -> Vec<Value> {
    let all = served(kinds).into_iter().filter(|(group, _)| !group.is_empty());
    all.map(|(group, versions)| {
        let list: Vec<Value> =
            versions.iter().map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v})).collect();
        json!({"name": group, "versions": list, "preferredVersion": list.first()})
    })
    .collect()
}

fn reviews(group: &str) -> Vec<Value> {
    let list: &[(&str, &str, bool)] = match group {
        "authorization.k8s.io" => &[
            ("localsubjectaccessreviews", "LocalSubjectAccessReview", true),
            ("selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
            ("selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
            ("subjectaccessreviews", "SubjectAccessReview", false),
        ],
        "authentication.k8s.io" => {
            &[("selfsubjectreviews", "SelfSubjectReview", false), ("tokenreviews", "TokenReview", false)]
        }
        _ => &[],
    };
    list.iter()
        .map(|(name, kind, namespaced)| {
            json!({"name": name, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind, "verbs": ["create"]})
        })
        .collect()
}

fn in_version<'a>(
    kinds: &'a [Arc<Kind>],
    group: &'a str,
    name: &'a str,
) -> impl Iterator<Item = (&'a Kind, &'a Version)> {
    let own = kinds.iter().filter(move |kind| kind.group == group);
    own.filter_map(move |kind| kind.version(name).map(|version| (&**kind, version)))
}

fn resources(kinds: &[Arc<Kind>], group: &str, name: &str) -> Option<Value> {
    let mut list = reviews(group);
    for (kind, version) in in_version(kinds, group, name) {
        let mut entry = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS, "storageVersionHash": ""});
        let map = crate::object::as_map(&mut entry);
        if !kind.short.is_empty() {
            map.insert("shortNames".into(), json!(kind.short));
        }
        if !kind.categories.is_empty() {
            map.insert("categories".into(), json!(kind.categories));
        }
        list.push(entry);
        let sub = |name: &str, kind_name: &str| {
            json!({"name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind_name, "verbs": SUB_VERBS})
        };
        if version.status {
            list.push(sub("status", &kind.kind));
        }
        if version.scale.is_some() {
            let mut entry = sub("scale", "Scale");
            let map = crate::object::as_map(&mut entry);
            map.insert("group".into(), json!("autoscaling"));
            map.insert("version".into(), json!("v1"));
            list.push(entry);
        }
        if kind.is("", "ServiceAccount") {
            list.push(json!({"name": "serviceaccounts/token", "singularName": "", "namespaced": true,
                "group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest", "verbs": ["create"]}));
        }
    }
    if list.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}),
    )
}

fn aggregate(kinds: &[Arc<Kind>], core: bool) -> Response {
    let mut items = Vec::new();
    for (group, versions) in served(kinds).into_iter().filter(|(group, _)| group.is_empty() == core) {
        let versions: Vec<Value> = versions
            .iter()
            .map(|name| {
                let list: Vec<Value> =
                    in_version(kinds, &group, name).map(|(k, v)| aggregated(k, v)).collect();
                json!({"version": name, "resources": list, "freshness": "Current"})
            })
            .collect();
        items.push(json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions}));
    }
    let body = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    let mut response = respond(StatusCode::OK, body.to_string().into_bytes(), &[]);
    let kind =
        HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn aggregated(kind: &Kind, version: &Version) -> Value {
    let gvk = json!({"group": kind.group, "version": version.name, "kind": kind.kind});
    let mut subs = Vec::new();
    if version.status {
        subs.push(json!({"subresource": "status", "responseKind": gvk, "verbs": SUB_VERBS}));
    }
    if version.scale.is_some() {
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        subs.push(json!({"subresource": "scale", "responseKind": scale, "verbs": SUB_VERBS}));
    }
    let scope = if kind.namespaced { "Namespaced" } else { "Cluster" };
    let mut map = Map::new();
    map.insert("resource".into(), json!(kind.plural));
    map.insert("responseKind".into(), gvk);
    map.insert("scope".into(), json!(scope));
    map.insert("singularResource".into(), json!(kind.singular));
    map.insert("verbs".into(), json!(VERBS));
    for (name, list) in [("shortNames", &kind.short), ("categories", &kind.categories)] {
        if !list.is_empty() {
            map.insert(name.into(), json!(list));
        }
    }
    if !subs.is_empty() {
        map.insert("subresources".into(), Value::Array(subs));
    }
    Value::Object(map)
}

fn openapi_index(kinds: &[Arc<Kind>]) -> Value {
    let mut paths = Map::new();
    for (group, versions) in served(kinds) {
        for version in versions {
            let path =
                if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}")}));
        }
    }
    json!({"paths": paths})
}

/// Paths only: that is where `kubectl` looks whether dry-run and field validation are supported.
fn openapi(kinds: &[Arc<Kind>], group: &str, name: &str) -> Value {
    let mut paths = Map::new();
    for (kind, version) in in_version(kinds, group, name) {
        let root = if group.is_empty() { format!("/api/{name}") } else { format!("/apis/{group}/{name}") };
        let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        let patch = json!({"operationId": format!("patch{}", kind.kind), "parameters": parameters,
            "responses": {"200": {"description": "OK"}}, "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": group, "version": version.name, "kind": kind.kind}});
        paths.insert(format!("{root}{scope}/{}/{{name}}", kind.plural), json!({"patch": patch}));
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}, "paths": paths,
        "components": {"schemas": {}}})
}
