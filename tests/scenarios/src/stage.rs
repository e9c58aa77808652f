//! A stage: an API server, a Git server and both controllers, with a fault proxy before kustomize-controller.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use sluice_localapi::{Options, Server};
use sluice_testkit::process::program;
use sluice_testkit::waiting::{kind, objects, wait, wait_gone};
use sluice_testkit::{GitServer, Process, Proxy, Repository, Workloads, free_port};
use tempfile::TempDir;

mod fetching;

pub use fetching::observed;

/// How long anything may take before a scenario fails.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Tells stages on one server apart.
pub(crate) const LABEL: &str = "scenarios.sluice.dev/stage";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Everything a scenario plays on; ends when dropped.
pub struct Stage {
    /// Straight to the server, as an administrator.
    pub client: Client,
    /// What kustomize-controller speaks through.
    pub proxy: Proxy,
    /// The namespace of this stage.
    pub namespace: String,
    /// Served at [`Stage::repository_url`].
    pub repository: Repository,
    git: GitServer,
    kustomize: Option<Process>,
    source: Process,
    id: String,
    /// Those of earlier rounds.
    before: Vec<String>,
    folder: TempDir,
    _workloads: Option<Workloads>,
    _server: Option<Server>,
}

/// The path of a controller; builds it when it is not there.
fn controller(name: &str) -> Result<PathBuf> {
    if let Ok(path) = program(name) {
        return Ok(path);
    }
    let package = format!("sluice-{name}");
    let mut cargo = std::process::Command::new(env!("CARGO"));
    let status = cargo.args(["build", "--quiet", "--package", &package]).status().context("running cargo")?;
    if !status.success() {
        bail!("{package} does not build");
    }
    program(name)
}

impl Stage {
    /// Starts everything and waits until both controllers answer their probes.
    ///
    /// # Errors
    /// When a process does not start, or the server refuses the definitions.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sluice-scenario-").tempdir()?;
        let (client, server, kubeconfig) = server(folder.path()).await?;
        let id = format!("s{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        install(&client).await?;
        let workloads = server.is_some().then(|| Workloads::start(client.clone()));
        let proxy = Proxy::start(client.clone()).await?;
        std::fs::write(folder.path().join("proxied.kubeconfig"), proxy.kubeconfig())?;
        let repositories = folder.path().join("repositories");
        std::fs::create_dir(&repositories)?;
        let repository = Repository::create(&repositories, "apps")?;
        let git = GitServer::start(&repositories).await?;
        let source = start_source(folder.path(), &kubeconfig, &id).await?;
        let namespace = format!("scenario-{id}");
        let mut stage = Self {
            client,
            proxy,
            namespace: namespace.clone(),
            repository,
            git,
            kustomize: None,
            source,
            id,
            before: Vec::new(),
            folder,
            _workloads: workloads,
            _server: server,
        };
        stage
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
            .await?;
        stage.start_kustomize().await?;
        Ok(stage)
    }

    /// The same stage with a fresh namespace, for the next round.
    ///
    /// # Errors
    /// When the namespace cannot be made.
    pub async fn turn(&mut self) -> Result<()> {
        let namespace = format!("scenario-{}-{}", self.id, NEXT.fetch_add(1, Ordering::Relaxed));
        self.before.push(std::mem::replace(&mut self.namespace, namespace.clone()));
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await
    }

    /// Starts kustomize-controller, which must not be running.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_kustomize(&mut self) -> Result<()> {
        self.start_kustomize_with(&[]).await
    }

    /// Starts kustomize-controller with more flags; it must not be running.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_kustomize_with(&mut self, flags: &[&str]) -> Result<()> {
        let kubeconfig = self.folder.path().join("proxied.kubeconfig");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let process = start("kustomize-controller", self.folder.path(), &kubeconfig, &self.id, flags).await?;
        self.kustomize = Some(process);
        Ok(())
    }

    /// Kills kustomize-controller where it stands.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn kill_kustomize(&mut self) -> Result<()> {
        match self.kustomize.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Where the Git server serves the repository.
    pub fn repository_url(&self) -> String {
        self.git.url(&self.repository.served_name())
    }

    /// What the controllers logged, for a failure's message.
    pub fn logs(&self) -> String {
        let kustomize = self.kustomize.as_ref().map(Process::output).unwrap_or_default();
        format!("--- source-controller\n{}\n--- kustomize-controller\n{kustomize}", self.source.output())
    }

    /// Objects of a kind in this stage's namespace.
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

    /// Applies any object as a person would; namespaced ones without a namespace go into the stage's.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (name, api) = (text("/kind"), api_of(&self.client, object, &self.namespace));
        api.patch(text("/metadata/name"), &PatchParams::apply("person").force(), &Patch::Apply(object))
            .await
            .with_context(|| format!("applying {name} {}", text("/metadata/name")))?;
        Ok(())
    }

    /// A GitRepository of the stage's repository, seen by this stage's controllers only. Returns once there is an
    /// artifact, so something must have been committed.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn add_source(&self) -> Result<()> {
        self.apply(&json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "apps", "labels": {LABEL: self.id}},
            "spec": {"interval": "1h", "url": self.repository_url(), "ref": {"branch": "main"}},
        }))
        .await?;
        let stored = |object: &DynamicObject| object.data.pointer("/status/artifact/digest").is_some();
        self.until(&self.repositories(), "apps", stored).await?;
        Ok(())
    }

    /// A Kustomization of a path; `spec` adds to or overrides the usual fields, null takes one away.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn add_kustomization(&self, name: &str, path: &str, spec: Value) -> Result<()> {
        let mut whole = json!({"interval": "1h", "retryInterval": "2s", "timeout": "30s", "prune": true, "path": path,
            "targetNamespace": self.namespace, "sourceRef": {"kind": "GitRepository", "name": "apps"}});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
            whole.retain(|_, value| !value.is_null());
        }
        self.apply(&json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": name, "labels": {LABEL: self.id}}, "spec": whole}))
            .await
    }

    /// Commits and asks the source to fetch, as a webhook would; gives the commit.
    ///
    /// # Errors
    /// When git or the server refuses.
    pub async fn push(&self, changes: &[(&str, Option<&str>)]) -> Result<String> {
        let commit = self.repository.commit("change", changes)?;
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": commit}}});
        self.repositories().patch("apps", &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(commit)
    }

    /// Waits until a Kustomization is Ready at a commit.
    ///
    /// # Errors
    /// When that takes too long; with the logs.
    pub async fn ready(&self, name: &str, commit: &str) -> Result<DynamicObject> {
        self.until(&self.kustomizations(), name, |object| {
            let ready = sluice_testkit::waiting::condition_text(object, "Ready", "status") == "True";
            let generation = object.metadata.generation;
            let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
            let revision = sluice_testkit::waiting::text(object, "/status/lastAppliedRevision");
            ready && observed == generation && revision.ends_with(commit)
        })
        .await
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

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When that takes too long; with the logs.
    pub async fn until_gone(&self, api: &Api<DynamicObject>, name: &str) -> Result<()> {
        wait_gone(api, name, LIMIT).await.with_context(|| self.logs())
    }

    /// Ends the stage: what it put on a server that outlives it goes away.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn end(mut self) -> Result<()> {
        if self._server.is_some() {
            return Ok(());
        }
        let namespaces = objects(&self.client, &kind("v1", "Namespace", "namespaces"), "");
        let mut spaces = std::mem::take(&mut self.before);
        spaces.push(self.namespace.clone());
        for space in spaces {
            self.namespace = space;
            // Both controllers must still be there to let go of what they hold.
            for api in [self.kustomizations(), self.repositories()] {
                for name in names(&api).await? {
                    api.delete(&name, &DeleteParams::default()).await?;
                    self.until_gone(&api, &name).await?;
                }
            }
            namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        }
        self.kill_kustomize().await?;
        Ok(())
    }
}

async fn names(api: &Api<DynamicObject>) -> Result<Vec<String>> {
    let list = api.list(&ListParams::default()).await?;
    Ok(list.items.into_iter().filter_map(|object| object.metadata.name).collect())
}

pub(crate) async fn server(folder: &Path) -> Result<(Client, Option<Server>, PathBuf)> {
    if let Some(path) = std::env::var_os("SLUICE_KUBECONFIG") {
        let path = PathBuf::from(path);
        let config =
            Config::from_custom_kubeconfig(Kubeconfig::read_from(&path)?, &KubeConfigOptions::default())
                .await?;
        return Ok((Client::try_from(config)?, None, path));
    }
    // Roles are enforced as on a real server; who has no account of its own is an administrator.
    let server = Server::start(Options { rbac: true, ..Options::default() });
    let (address, _) = server.listen(([127, 0, 0, 1], 0).into()).await?;
    let path = folder.join("kubeconfig");
    std::fs::write(&path, sluice_localapi::kubeconfig(address, None))?;
    Ok((Client::new(server.router().into_service(), "default"), Some(server), path))
}

pub(crate) async fn install(client: &Client) -> Result<()> {
    let resource = kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let api = objects(client, &resource, "");
    for (_, definition) in sluice_api::crd::crds() {
        let name = definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        api.patch(name, &PatchParams::apply("person").force(), &Patch::Apply(&definition)).await?;
        wait(&api, name, LIMIT, |object| {
            sluice_testkit::waiting::condition_text(object, "Established", "status") == "True"
        })
        .await?;
    }
    Ok(())
}

/// Objects of the kind of this one, where this one belongs; `namespace` is where objects without one go.
pub(crate) fn api_of(client: &Client, object: &Value, namespace: &str) -> Api<DynamicObject> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = text("/kind");
    let plural = match name.to_lowercase() {
        word if word.ends_with('y') => format!("{}ies", word.trim_end_matches('y')),
        word if word.ends_with('s') => format!("{word}es"),
        word => format!("{word}s"),
    };
    let cluster =
        matches!(name, "Namespace" | "CustomResourceDefinition" | "ClusterRole" | "ClusterRoleBinding");
    let namespace = match text("/metadata/namespace") {
        _ if cluster => "",
        "" => namespace,
        own => own,
    };
    objects(client, &kind(text("/apiVersion"), name, &plural), namespace)
}

async fn start_source(folder: &Path, kubeconfig: &Path, id: &str) -> Result<Process> {
    let storage = free_port()?;
    let data = folder.join("artifacts");
    std::fs::create_dir_all(&data)?;
    let flags = vec![
        format!("--storage-path={}", data.display()),
        format!("--storage-addr=127.0.0.1:{storage}"),
        format!("--storage-adv-addr=127.0.0.1:{storage}"),
    ];
    start("source-controller", folder, kubeconfig, id, flags).await
}

pub(crate) async fn start(
    name: &str,
    folder: &Path,
    kubeconfig: &Path,
    id: &str,
    mut flags: Vec<String>,
) -> Result<Process> {
    let health = free_port()?;
    flags.extend([
        format!("--health-addr=127.0.0.1:{health}"),
        format!("--metrics-addr=127.0.0.1:{}", free_port()?),
        format!("--watch-label-selector={LABEL}={id}"),
        "--log-level=debug".to_owned(),
    ]);
    let environment =
        [("KUBECONFIG", kubeconfig.display().to_string()), ("RUNTIME_NAMESPACE", "default".to_owned())];
    let mut process = Process::start(name, &controller(name)?, flags, environment, folder)?;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let ready = async {
        loop {
            ticks.tick().await;
            if let Some(status) = process.ended() {
                bail!("{name} ended ({status}):\n{}", process.output());
            }
            if answers(health).await {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(LIMIT, ready).await {
        Ok(outcome) => outcome?,
        Err(_) => bail!("{name} did not become ready:\n{}", process.output()),
    }
    Ok(process)
}

/// Whether the readiness probe on this port says 200.
async fn answers(port: u16) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}
