//! What stories about sources need: more repositories, nudges, restarts of source-controller, events.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use sluice_testkit::waiting::text;
use sluice_testkit::{Repository, free_port};

use super::{LABEL, LIMIT, Stage, start};

impl Stage {
    /// A GitRepository of this stage; `spec` adds to or overrides the usual fields, null takes one away.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn add_repository(&self, name: &str, spec: Value) -> Result<()> {
        let mut whole = json!({"interval": "1h", "url": self.repository_url(), "ref": {"branch": "main"}});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
            whole.retain(|_, value| !value.is_null());
        }
        self.apply(&json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": name, "labels": {LABEL: self.id}}, "spec": whole}))
            .await
    }

    /// Another empty repository on the stage's Git server.
    ///
    /// # Errors
    /// When git refuses.
    pub fn another(&self, name: &str) -> Result<Repository> {
        Repository::create(&self.folder.path().join("repositories"), name)
    }

    /// Where the Git server serves any of the stage's repositories.
    pub fn url_of(&self, repository: &Repository) -> String {
        self.git.url(&repository.served_name())
    }

    /// Asks for a pass over a GitRepository and waits until it has been made.
    ///
    /// # Errors
    /// When the request is not answered in time.
    pub async fn nudge(&self, name: &str, token: &str) -> Result<DynamicObject> {
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
        self.repositories().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.until(&self.repositories(), name, |object| {
            text(object, "/status/lastHandledReconcileAt") == token
        })
        .await
    }

    /// Waits until a GitRepository is Ready, for the generation it has, at a revision that ends so.
    ///
    /// # Errors
    /// When that takes too long; with the logs.
    pub async fn fetched(&self, name: &str, revision: &str) -> Result<DynamicObject> {
        self.until(&self.repositories(), name, |object| {
            observed(object)
                && sluice_testkit::waiting::condition_text(object, "Ready", "status") == "True"
                && text(object, "/status/artifact/revision").ends_with(revision)
        })
        .await
    }

    /// Where source-controller keeps its artifacts.
    pub fn artifacts(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    /// Kills source-controller and starts it again behind the proxy, with more flags; `meanwhile` gets its data.
    ///
    /// # Errors
    /// When it does not come up, or what happens meanwhile fails.
    pub async fn restart_source(
        &mut self,
        flags: &[&str],
        meanwhile: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        self.source.kill().await?;
        let data = self.artifacts();
        meanwhile(&data)?;
        let storage = free_port()?;
        let mut all = vec![
            format!("--storage-path={}", data.display()),
            format!("--storage-addr=127.0.0.1:{storage}"),
            format!("--storage-adv-addr=127.0.0.1:{storage}"),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let kubeconfig = self.folder.path().join("proxied.kubeconfig");
        self.source = start("source-controller", self.folder.path(), &kubeconfig, &self.id, all).await?;
        Ok(())
    }

    fn events(&self) -> Api<DynamicObject> {
        self.api("v1", "Event", "events")
    }

    /// Waits for an event of this reason about an object, with all these words in its message; gives it.
    ///
    /// # Errors
    /// When none comes in time; names those that came.
    pub async fn event(&self, kind: &str, name: &str, reason: &str, words: &[&str]) -> Result<DynamicObject> {
        let api = self.events();
        let mut events = watcher::watcher(api.clone(), watcher::Config::default()).boxed();
        let seen = async {
            while let Some(event) = events.next().await {
                if let Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = event
                    && about(&event, kind, name, reason)
                    && words.iter().all(|word| text(&event, "/message").contains(word))
                {
                    return Ok(event);
                }
            }
            bail!("the watch of events ended")
        };
        match tokio::time::timeout(LIMIT, seen).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let told = self.told(kind, name).await?;
                Err(anyhow::anyhow!(
                    "no event {reason} of {kind} {name} with {words:?}; there were {told:#?}"
                ))
                .with_context(|| self.logs())
            }
        }
    }

    /// Every event about an object so far, as `Reason xCOUNT: message`.
    ///
    /// # Errors
    /// When the server cannot be read.
    pub async fn told(&self, kind: &str, name: &str) -> Result<Vec<String>> {
        let list = self.events().list(&ListParams::default()).await?;
        let mine = list.items.iter().filter(|event| about(event, kind, name, ""));
        Ok(mine
            .map(|event| {
                let count = event.data.get("count").and_then(Value::as_i64).unwrap_or(1);
                format!("{} x{count}: {}", text(event, "/reason"), text(event, "/message"))
            })
            .collect())
    }
}

/// True when the status is about the spec that the object has now.
pub fn observed(object: &DynamicObject) -> bool {
    object.data.pointer("/status/observedGeneration").and_then(Value::as_i64) == object.metadata.generation
}

/// True for events of an object, of one reason unless that is empty.
fn about(event: &DynamicObject, kind: &str, name: &str, reason: &str) -> bool {
    text(event, "/involvedObject/kind") == kind
        && text(event, "/involvedObject/name") == name
        && (reason.is_empty() || text(event, "/reason") == reason)
}
