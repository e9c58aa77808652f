//! Which kinds a cluster serves, where, and in which versions.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tokio::time::Instant;

use crate::transport::{Call, JSON, Transport, escape};
use crate::{Failure, Identity};

const AGGREGATED: &str = kube::core::discovery::v2::ACCEPT_AGGREGATED_DISCOVERY_V2;
/// A table older than this is read again before a kind is said to be unknown.
const FRESH: Duration = Duration::from_secs(2);
/// Kinds kept at most; far above what any server serves.
const MOST_KINDS: usize = 50_000;

/// Where objects of one kind live.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// A served version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Name in URLs.
    pub plural: String,
    /// Whether objects stand in a namespace.
    pub namespaced: bool,
    /// Whether the server can list and watch it.
    pub watchable: bool,
}

impl Resource {
    /// The path of the collection, or of the collection in one namespace.
    pub(crate) fn collection(&self, namespace: &str) -> Result<String, Failure> {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            let namespace = segment(namespace)?;
            Ok(format!("{root}/namespaces/{namespace}/{}", self.plural))
        } else {
            Ok(format!("{root}/{}", self.plural))
        }
    }

    /// The path of one object.
    pub(crate) fn object(&self, namespace: &str, name: &str) -> Result<String, Failure> {
        Ok(format!("{}/{}", self.collection(namespace)?, segment(name)?))
    }

    /// `group/version`, or the version alone in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

fn segment(name: &str) -> Result<String, Failure> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '%']) {
        return Err(Failure::Name(name.to_owned()));
    }
    Ok(escape(name))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    kinds: HashMap<(String, String), Vec<Arc<Resource>>>,
    /// Groups that could not be read in full: what is not found in them may exist all the same.
    incomplete: HashSet<String>,
}

#[derive(Clone)]
struct Snapshot {
    table: Arc<Table>,
    read: Instant,
    /// A definition was applied since, so a kind that is not in the table may be served by now.
    expired: bool,
}

/// The cached table; one reader at a time asks the server.
#[derive(Default)]
pub(crate) struct Kinds {
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    reading: tokio::sync::Mutex<()>,
}

impl Kinds {
    /// Finds a kind; without a version, in the version the server prefers. A kind that is not in
    /// the cached table is looked for once more in a fresh one.
    pub(crate) async fn find(
        &self,
        transport: &Transport,
        group: &str,
        version: Option<&str>,
        kind: &str,
    ) -> Result<Arc<Resource>, Failure> {
        let asked = Instant::now();
        if let Some(found) = self.cached(group, version, kind) {
            return Ok(found);
        }
        let fresh = |snapshot: &Snapshot| !snapshot.expired && snapshot.read + FRESH >= asked;
        self.refresh_unless(transport, fresh).await?;
        if let Some(found) = self.cached(group, version, kind) {
            return Ok(found);
        }
        if self.is_incomplete(group) {
            return Err(Failure::Discovery { group: group.to_owned() });
        }
        Err(Failure::NoMatch {
            group: group.to_owned(),
            version: version.map(str::to_owned),
            kind: kind.to_owned(),
        })
    }

    /// Reads the table anew, whatever its age, and answers whether the kind is served now.
    pub(crate) async fn serves(
        &self,
        transport: &Transport,
        group: &str,
        kind: &str,
    ) -> Result<bool, Failure> {
        let asked = Instant::now();
        self.refresh_unless(transport, |snapshot| snapshot.read > asked).await?;
        Ok(self.cached(group, None, kind).is_some())
    }

    /// Looks afresh for the next kind that is not in the table, however young it is.
    pub(crate) fn expire(&self) {
        if let Ok(mut snapshot) = self.snapshot.write() {
            *snapshot =
                snapshot.take().map(|old| Arc::new(Snapshot { expired: true, ..old.as_ref().clone() }));
        }
    }

    /// Forgets the table: a path that it named was not there.
    pub(crate) fn forget(&self) {
        if let Ok(mut snapshot) = self.snapshot.write() {
            *snapshot = None;
        }
    }

    pub(crate) fn cached(&self, group: &str, version: Option<&str>, kind: &str) -> Option<Arc<Resource>> {
        let snapshot = self.snapshot.read().ok()?.clone()?;
        let served = snapshot.table.kinds.get(&(group.to_owned(), kind.to_owned()))?;
        served.iter().find(|resource| version.is_none_or(|version| resource.version == version)).cloned()
    }

    fn is_incomplete(&self, group: &str) -> bool {
        let snapshot = self.snapshot.read().ok().and_then(|held| held.clone());
        snapshot.is_some_and(|snapshot| snapshot.table.incomplete.contains(group))
    }

    async fn refresh_unless(
        &self,
        transport: &Transport,
        good: impl Fn(&Snapshot) -> bool,
    ) -> Result<(), Failure> {
        let _reading = self.reading.lock().await;
        let current = self.snapshot.read().ok().and_then(|held| held.clone());
        if current.is_some_and(|snapshot| good(&snapshot)) {
            return Ok(());
        }
        let read = Instant::now();
        let table = read_all(transport).await?;
        if let Ok(mut snapshot) = self.snapshot.write() {
            *snapshot = Some(Arc::new(Snapshot { table: Arc::new(table), read, expired: false }));
        }
        Ok(())
    }
}

async fn read_all(transport: &Transport) -> Result<Table, Failure> {
    let get = |path: &str, accept| {
        let call = Call::get(path.to_owned(), accept);
        async move { transport.send(&Identity::Own, &call).await }
    };
    let (core, named) = tokio::try_join!(get("/api", AGGREGATED), get("/apis", AGGREGATED))?;
    let mut table = Table::default();
    let mut single = Vec::new();
    for body in [&core.body, &named.body] {
        if text(body, "kind") == "APIGroupDiscoveryList" {
            add_aggregated(&mut table, body);
        } else {
            single.extend(group_versions(body));
        }
    }
    let lists: Vec<(String, Value)> = stream::iter(single)
        .map(|(path, group_version)| async move {
            match transport.send(&Identity::Own, &Call::get(path, JSON)).await {
                Ok(answer) => Ok((group_version, answer.body)),
                // An aggregated API that is down must not hide all others.
                Err(failure) if failure.code().is_some() => Ok((group_version, Value::Null)),
                Err(failure) => Err(failure),
            }
        })
        .buffered(8)
        .try_collect()
        .await?;
    for (group_version, list) in lists {
        add_list(&mut table, &group_version, &list);
    }
    Ok(table)
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn items<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn add(table: &mut Table, resource: Resource) {
    let key = (resource.group.clone(), resource.kind.clone());
    if table.kinds.len() >= MOST_KINDS && !table.kinds.contains_key(&key) {
        // What is left out exists all the same: its objects must not be taken for gone.
        table.incomplete.insert(resource.group);
        return;
    }
    let versions = table.kinds.entry(key).or_default();
    if versions.iter().all(|known| known.version != resource.version) {
        versions.push(Arc::new(resource));
    }
}

fn can_watch(resource: &Value) -> bool {
    let can = |verb: &str| items(resource, "verbs").any(|have| have.as_str() == Some(verb));
    can("list") && can("watch")
}

/// The aggregated form: versions come in the server's order of preference.
fn add_aggregated(table: &mut Table, list: &Value) {
    for group in items(list, "items") {
        let name = group.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        for version in items(group, "versions") {
            if text(version, "freshness") == "Stale" {
                table.incomplete.insert(name.to_owned());
            }
            for resource in items(version, "resources") {
                let Some(kind) = resource.get("responseKind") else {
                    continue;
                };
                add(
                    table,
                    Resource {
                        group: name.to_owned(),
                        version: text(version, "version").to_owned(),
                        kind: text(kind, "kind").to_owned(),
                        plural: text(resource, "resource").to_owned(),
                        namespaced: text(resource, "scope") == "Namespaced",
                        watchable: can_watch(resource),
                    },
                );
            }
        }
    }
}

/// The older form: which lists to read, preferred versions first within each group.
fn group_versions(body: &Value) -> Vec<(String, String)> {
    if text(body, "kind") == "APIVersions" {
        return items(body, "versions")
            .filter_map(Value::as_str)
            .map(|version| (format!("/api/{version}"), version.to_owned()))
            .collect();
    }
    let mut found = Vec::new();
    for group in items(body, "groups") {
        let preferred = group.get("preferredVersion").into_iter();
        for version in preferred.chain(items(group, "versions")) {
            let name = text(version, "groupVersion").to_owned();
            let entry = (format!("/apis/{name}"), name);
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
    }
    found
}

fn add_list(table: &mut Table, group_version: &str, list: &Value) {
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    if list.is_null() {
        table.incomplete.insert(group.to_owned());
    }
    for resource in items(list, "resources") {
        let plural = text(resource, "name");
        if plural.contains('/') {
            continue;
        }
        add(
            table,
            Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(resource, "kind").to_owned(),
                plural: plural.to_owned(),
                namespaced: resource.get("namespaced").and_then(Value::as_bool) == Some(true),
                watchable: can_watch(resource),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_of_discovery_say_the_same() {
        let mut aggregated = Table::default();
        add_aggregated(
            &mut aggregated,
            &json!({"items": [{
            "metadata": {"name": "apps"},
            "versions": [{"version": "v1", "resources": [{
                "resource": "deployments", "scope": "Namespaced",
                "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "verbs": ["get", "list", "watch"]}]}]}]}),
        );
        let mut listed = Table::default();
        add_list(
            &mut listed,
            "apps/v1",
            &json!({"resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["list", "watch"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true}]}),
        );
        assert_eq!(aggregated, listed);
    }

    #[test]
    fn a_group_that_cannot_be_read_is_not_taken_for_empty() {
        let mut table = Table::default();
        add_list(&mut table, "metrics.k8s.io/v1", &Value::Null);
        add_aggregated(
            &mut table,
            &json!({"items": [{"metadata": {"name": "custom.org"},
                "versions": [{"version": "v1", "freshness": "Stale"}]}]}),
        );
        assert!(table.incomplete.contains("metrics.k8s.io") && table.incomplete.contains("custom.org"));
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let mut resource = Resource {
            group: String::new(),
            version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
            namespaced: true,
            watchable: true,
        };
        let path = |resource: &Resource, namespace, name| resource.object(namespace, name).ok();
        assert_eq!(path(&resource, "team", "a").as_deref(), Some("/api/v1/namespaces/team/configmaps/a"));
        assert_eq!(path(&resource, "team", "../x"), None);
        assert_eq!(path(&resource, "..", "x"), None);
        resource.group = "example.org".into();
        resource.namespaced = false;
        assert_eq!(path(&resource, "ignored", "a:b").as_deref(), Some("/apis/example.org/v1/configmaps/a:b"));
    }

    #[test]
    fn a_kind_that_is_one_too_many_is_not_taken_for_absent() {
        let resource = |group: &str, version: &str, number: usize| Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: format!("K{number}"),
            plural: String::new(),
            namespaced: true,
            watchable: true,
        };
        let mut table = Table::default();
        for number in 0..MOST_KINDS {
            add(&mut table, resource("many.example", "v1", number));
        }
        add(&mut table, resource("many.example", "v2", 0));
        assert!(table.incomplete.is_empty(), "another version is no other kind");
        add(&mut table, resource("more.example", "v1", 0));
        assert_eq!(table.incomplete, HashSet::from(["more.example".to_owned()]));
    }
}
