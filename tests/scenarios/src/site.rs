//! A site: an API server and a Git server, where controllers are started one by one, each under an identity and with
//! flags of the story's choosing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use sluice_localapi::Server;
use sluice_manifest::{read_objects, yaml::Limits};
use sluice_testkit::proxy::Seen;
use sluice_testkit::waiting::{kind, objects, wait, wait_gone};
use sluice_testkit::{GitServer, Process, Proxy, Repository, Workloads, free_port};
use tempfile::TempDir;

use crate::stage::{LABEL, LIMIT, api_of, install, server, start};

/// Whose rights a controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Those of an administrator.
    Admin,
    /// Those that roles give to its own ServiceAccount in `flux-system`.
    Own,
}

/// A controller that runs, seen through a proxy of its own.
pub struct Controller {
    /// Counts what it asks of the server.
    pub proxy: Proxy,
    process: Process,
}

impl Controller {
    /// What it logged.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Asks it to end and waits for that; gives back its lease.
    ///
    /// # Errors
    /// When it does not end by itself, or with a failure.
    pub async fn end(mut self) -> Result<()> {
        let status = self.process.terminate(LIMIT).await?;
        ensure!(status.success(), "{status}\n{}", self.output());
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ends(&mut self) -> Result<std::process::ExitStatus> {
        self.process.wait(LIMIT).await
    }

    /// Requests in its own name that the server forbade.
    pub fn forbidden(&self) -> Vec<Seen> {
        self.proxy.log().into_iter().filter(|seen| seen.code == 403 && !seen.impersonates).collect()
    }
}

/// Everything a story needs besides controllers; ends when dropped.
pub struct Site {
    /// Straight to the server, as an administrator.
    pub client: Client,
    /// The namespace of this site.
    pub namespace: String,
    /// Served at [`Site::repository_url`].
    pub repository: Repository,
    git: GitServer,
    id: String,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) folder: TempDir,
    _workloads: Option<Workloads>,
    server: Option<Server>,
}

impl Site {
    /// A server with our definitions and an empty namespace; no controller runs. `story` tells sites on one server
    /// apart.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the definitions.
    pub async fn start(story: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sluice-scenario-").tempdir()?;
        let (client, server, kubeconfig) = server(folder.path()).await?;
        install(&client).await?;
        let workloads = server.is_some().then(|| Workloads::start(client.clone()));
        let repositories = folder.path().join("repositories");
        std::fs::create_dir(&repositories)?;
        let repository = Repository::create(&repositories, "apps")?;
        let git = GitServer::start(&repositories).await?;
        let site = Self {
            client,
            namespace: format!("{story}-{}", std::process::id()),
            repository,
            git,
            id: story.to_owned(),
            kubeconfig,
            folder,
            _workloads: workloads,
            server,
        };
        site.add_namespace(&site.namespace).await?;
        Ok(site)
    }

    /// The selector under which this site's controllers look at objects.
    pub fn selector(&self) -> String {
        format!("{LABEL}={}", self.id)
    }

    /// Where the Git server serves the repository.
    pub fn repository_url(&self) -> String {
        self.git.url(&self.repository.served_name())
    }

    /// Starts source-controller with an empty storage.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_source(&self, identity: Identity, flags: &[&str]) -> Result<Controller> {
        let storage = free_port()?;
        let data = self.folder.path().join(format!("artifacts-{storage}"));
        std::fs::create_dir(&data)?;
        let own = [
            format!("--storage-path={}", data.display()),
            format!("--storage-addr=127.0.0.1:{storage}"),
            format!("--storage-adv-addr=127.0.0.1:{storage}"),
        ];
        self.start_controller("source-controller", identity, own.into(), flags).await
    }

    /// Starts kustomize-controller.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_kustomize(&self, identity: Identity, flags: &[&str]) -> Result<Controller> {
        self.start_controller("kustomize-controller", identity, Vec::new(), flags).await
    }

    async fn start_controller(
        &self,
        name: &str,
        identity: Identity,
        mut all: Vec<String>,
        flags: &[&str],
    ) -> Result<Controller> {
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let upstream = match identity {
            Identity::Admin => self.client.clone(),
            Identity::Own => self.client_of(name).await?,
        };
        let proxy = Proxy::start(upstream).await?;
        let kubeconfig = self.folder.path().join(format!("{name}.proxied"));
        std::fs::write(&kubeconfig, proxy.kubeconfig())?;
        let process = start(name, self.folder.path(), &kubeconfig, &self.id, all).await?;
        Ok(Controller { proxy, process })
    }

    /// A client under the identity of a controller's ServiceAccount.
    async fn client_of(&self, name: &str) -> Result<Client> {
        let kubeconfig = match &self.server {
            None => Kubeconfig::read_from(self.kubeconfig.with_file_name(format!("{name}.kubeconfig")))?,
            Some(server) => {
                let token = server.token(&format!("system:serviceaccount:flux-system:{name}"));
                let mut text: Value = serde_json::from_slice(&std::fs::read(&self.kubeconfig)?)?;
                if let Some(user) = text.pointer_mut("/users/0/user") {
                    *user = json!({"token": token});
                }
                Kubeconfig::from_yaml(&text.to_string())?
            }
        };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Objects of a kind in this site's namespace.
    pub fn api(&self, api_version: &str, name: &str, plural: &str) -> Api<DynamicObject> {
        objects(&self.client, &kind(api_version, name, plural), &self.namespace)
    }

    /// The ConfigMaps.
    pub fn config_maps(&self) -> Api<DynamicObject> {
        self.api("v1", "ConfigMap", "configmaps")
    }

    /// The Kustomizations.
    pub fn kustomizations(&self) -> Api<DynamicObject> {
        self.api("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "kustomizations")
    }

    /// The GitRepositories.
    pub fn repositories(&self) -> Api<DynamicObject> {
        self.api("source.toolkit.fluxcd.io/v1", "GitRepository", "gitrepositories")
    }

    /// Objects of the kind of this one, where this one belongs.
    pub fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        api_of(&self.client, object, &self.namespace)
    }

    /// Applies an object under a field manager.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn apply_as(&self, manager: &str, object: &Value) -> Result<DynamicObject> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let parameters = PatchParams::apply(manager).force();
        let applied = self.api_of(object).patch(name, &parameters, &Patch::Apply(object)).await;
        applied.with_context(|| format!("applying {object}"))
    }

    /// Applies an object as a person would.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn apply(&self, object: &Value) -> Result<DynamicObject> {
        self.apply_as("person", object).await
    }

    /// Makes sure that a namespace exists.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn add_namespace(&self, name: &str) -> Result<()> {
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
        Ok(())
    }

    /// Gives the namespace back to a server that outlives this site. Kustomizations and sources must be gone.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn delete_namespace(&self) -> Result<()> {
        let name = &self.namespace;
        self.delete(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await
    }

    /// The objects of a file below this package or, with `../..`, of the workspace; `$NAME` stands for what `words`
    /// say.
    ///
    /// # Errors
    /// When the file is no YAML.
    pub fn read(&self, path: &str, words: &[(&str, &str)]) -> Result<Vec<Value>> {
        let mut text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
            .with_context(|| path.to_owned())?;
        let own = [("$NAMESPACE", self.namespace.as_str()), ("$STAGE", self.id.as_str())];
        for (word, value) in own.iter().chain(words) {
            text = text.replace(word, value);
        }
        let objects = read_objects(&text, path, Limits::default())?;
        Ok(objects.into_iter().map(sluice_manifest::Object::into_value).collect())
    }

    /// Waits until an object satisfies `until`.
    ///
    /// # Errors
    /// When that takes too long; with the logs.
    pub async fn until(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        until: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject> {
        wait(api, name, LIMIT, until).await.with_context(|| self.logs())
    }

    /// Waits until any object satisfies `until`.
    ///
    /// # Errors
    /// When that takes too long; with the logs.
    pub async fn until_any(
        &self,
        api: &Api<DynamicObject>,
        until: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject> {
        let mut changes = watcher(api.clone(), watcher::Config::default()).applied_objects().boxed();
        let found = async {
            loop {
                // A broken watch is taken up again by the watcher itself.
                match changes.next().await {
                    Some(Ok(object)) if until(&object) => return Ok(object),
                    Some(_) => {}
                    None => bail!("the watch ended"),
                }
            }
        };
        match tokio::time::timeout(LIMIT, found).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("no such object within {LIMIT:?}\n{}", self.logs()),
        }
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When that takes too long; with the logs.
    pub async fn until_gone(&self, api: &Api<DynamicObject>, name: &str) -> Result<()> {
        wait_gone(api, name, LIMIT).await.with_context(|| self.logs())
    }

    /// What all controllers of this site logged, for a failure's message.
    pub fn logs(&self) -> String {
        ["source-controller", "kustomize-controller"]
            .iter()
            .map(|name| {
                let log = self.folder.path().join(format!("{name}.log"));
                format!("--- {name}\n{}\n", std::fs::read_to_string(log).unwrap_or_default())
            })
            .collect()
    }

    /// Deletes an object that outlives a story, if it is there.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&self, object: &Value) -> Result<()> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        match self.api_of(object).delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }
}
