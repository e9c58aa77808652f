//! Who is asking, and whether roles allow it.

use std::collections::HashMap;

use http::HeaderMap;
use serde_json::Value;

use crate::object::{meta, text};
use crate::request::Target;
use crate::status::{Refusal, Subject};
use crate::store::Store;

/// The identity of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
}

impl Caller {
    pub(crate) fn admin() -> Self {
        let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
        Self { user: "kubernetes-admin".into(), groups }
    }

    /// A user; a service account's name brings its groups along.
    pub(crate) fn named(user: &str, mut groups: Vec<String>) -> Self {
        if let Some(rest) = user.strip_prefix("system:serviceaccount:")
            && let Some((namespace, _)) = rest.split_once(':')
            && groups.is_empty()
        {
            groups.push("system:serviceaccounts".into());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        let everyone = "system:authenticated".to_owned();
        if !groups.contains(&everyone) {
            groups.push(everyone);
        }
        Self { user: user.to_owned(), groups }
    }

    fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Wish<'a> {
    pub(crate) fn of(verb: &'a str, target: &'a Target) -> Self {
        Self {
            verb,
            group: &target.group,
            resource: &target.resource,
            subresource: &target.subresource,
            // Access to a namespace object is decided inside it.
            namespace: if target.resource == "namespaces" { &target.name } else { &target.namespace },
            name: &target.name,
        }
    }

    pub(crate) fn refuse(&self, caller: &Caller) -> Refusal {
        let path = match self.subresource {
            "" => self.resource.to_owned(),
            sub => format!("{}/{sub}", self.resource),
        };
        let scope = match self.namespace {
            _ if self.resource == "namespaces" && self.name.is_empty() => "at the cluster scope".to_owned(),
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let why = format!(
            "User \"{}\" cannot {} resource \"{path}\" in API group \"{}\" {scope}",
            caller.user, self.verb, self.group
        );
        let subject = Subject {
            group: self.group.to_owned(),
            resource: self.resource.to_owned(),
            kind: String::new(),
            name: self.name.to_owned(),
        };
        Refusal::forbidden(&subject, &why)
    }
}

/// Finds out who sends the request, impersonation included.
pub(crate) fn identify(
    store: &Store,
    tokens: &HashMap<String, Caller>,
    rbac: bool,
    headers: &HeaderMap,
) -> Result<Caller, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let own = match header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) => match tokens.get(token) {
            Some(caller) => caller.clone(),
            None if rbac => return Err(Refusal::unauthorized()),
            None => Caller::admin(),
        },
        None => Caller::admin(),
    };
    let Some(user) = header("impersonate-user") else { return Ok(own) };
    let groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect();
    if rbac {
        let mut wishes = Vec::new();
        match user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            Some((namespace, name)) => wishes.push(impersonation("serviceaccounts", namespace, name)),
            None => wishes.push(impersonation("users", "", user)),
        }
        wishes.extend(groups.iter().map(|group| impersonation("groups", "", group)));
        for wish in wishes {
            if !allows(store, &own, &wish) {
                return Err(wish.refuse(&own));
            }
        }
    }
    Ok(Caller::named(user, groups))
}

fn impersonation<'a>(resource: &'a str, namespace: &'a str, name: &'a str) -> Wish<'a> {
    Wish { verb: "impersonate", group: "", resource, subresource: "", namespace, name }
}

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether some binding grants the wish.
pub(crate) fn allows(store: &Store, caller: &Caller, wish: &Wish<'_>) -> bool {
    if caller.is_master() {
        return true;
    }
    let everywhere = store.list(&(GROUP.into(), "clusterrolebindings".into()), "");
    let here = match wish.namespace {
        "" => Vec::new(),
        namespace => store.list(&(GROUP.into(), "rolebindings".into()), namespace),
    };
    everywhere.iter().chain(&here).any(|binding| {
        let subjects = binding.get("subjects").and_then(Value::as_array);
        let named = subjects
            .into_iter()
            .flatten()
            .any(|subject| is_subject(subject, caller, meta(binding, "namespace")));
        named
            && role_of(store, binding)
                .is_some_and(|role| rules(store, &role).iter().any(|rule| grants(rule, wish)))
    })
}

fn is_subject(subject: &Value, caller: &Caller, home: &str) -> bool {
    let (kind, name) = (text(subject, "/kind"), text(subject, "/name"));
    match kind {
        "User" => name == caller.user,
        "Group" => caller.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let namespace = match text(subject, "/namespace") {
                "" => home,
                namespace => namespace,
            };
            caller.user == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn role_of(store: &Store, binding: &Value) -> Option<Value> {
    let name = text(binding, "/roleRef/name");
    if text(binding, "/roleRef/kind") == "ClusterRole" {
        if name == "cluster-admin" && store.find(GROUP, "clusterroles", "", name).is_none() {
            return Some(
                serde_json::json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}),
            );
        }
        return store.find(GROUP, "clusterroles", "", name).map(|role| (**role).clone());
    }
    store.find(GROUP, "roles", meta(binding, "namespace"), name).map(|role| (**role).clone())
}

/// A role's rules, with those that aggregation adds.
fn rules(store: &Store, role: &Value) -> Vec<Value> {
    let list = |role: &Value| role.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut out = list(role);
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array);
    for selector in selectors.into_iter().flatten() {
        let Some(wanted) = selector.get("matchLabels").and_then(Value::as_object) else { continue };
        for other in store.list(&(GROUP.into(), "clusterroles".into()), "") {
            let labels = other.pointer("/metadata/labels");
            if wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value)) {
                out.extend(list(&other));
            }
        }
    }
    out
}

fn grants(rule: &Value, wish: &Wish<'_>) -> bool {
    let has = |field: &str, wanted: &str| {
        let list = rule.get(field).and_then(Value::as_array);
        list.into_iter().flatten().any(|entry| entry.as_str() == Some("*") || entry.as_str() == Some(wanted))
    };
    let path = match wish.subresource {
        "" => wish.resource.to_owned(),
        sub => format!("{}/{sub}", wish.resource),
    };
    let any_sub = !wish.subresource.is_empty() && has("resources", &format!("*/{}", wish.subresource));
    let names = rule.get("resourceNames").and_then(Value::as_array).filter(|names| !names.is_empty());
    has("verbs", wish.verb)
        && has("apiGroups", wish.group)
        && (has("resources", &path) || any_sub)
        && names.is_none_or(|names| names.iter().any(|name| name.as_str() == Some(wish.name)))
}
