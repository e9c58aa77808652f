//! An API server, a Git server and the controllers, each its own process, as the demo and the benchmarks need them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sluice_testkit::process::program;
use sluice_testkit::{GitServer, Process, Repository, free_port};
use tempfile::TempDir;

use crate::resources;

const START_LIMIT: Duration = Duration::from_secs(30);

/// What differs between the demo and the benchmarks.
pub(crate) struct Options {
    /// A real server's kubeconfig; the embedded API is started without one.
    pub(crate) server: Option<PathBuf>,
    /// `--concurrent` of both controllers.
    pub(crate) concurrent: u16,
    /// `--log-level` of both controllers.
    pub(crate) log_level: &'static str,
}

/// Everything that runs; all of it ends when dropped.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) git: GitServer,
    pub(crate) source: Controller,
    pub(crate) kustomize: Controller,
    _server: Option<Process>,
    folder: TempDir,
    options: Options,
}

/// A controller's process and where it tells its metrics.
pub(crate) struct Controller {
    pub(crate) process: Process,
    metrics: u16,
}

impl Controller {
    /// API requests it has made so far, as its own metrics count them.
    pub(crate) async fn requests(&self) -> Result<u64> {
        self.counted("rest_client_requests_total{", "").await
    }

    /// Those of them that wrote a new Event: nothing else is posted once the process knows its rights.
    pub(crate) async fn events(&self) -> Result<u64> {
        self.counted("rest_client_requests_total{", "method=\"POST\"").await
    }

    /// Those of them that read: what looks at objects, lists them, or begins or renews a watch.
    pub(crate) async fn reads(&self) -> Result<u64> {
        self.counted("rest_client_requests_total{", "method=\"GET\"").await
    }

    /// Visits that found nothing to write or tell.
    pub(crate) async fn quiet_visits(&self) -> Result<u64> {
        self.counted("sluice_quiet_visits_total{", "").await
    }

    /// The sum of a metric over the label sets that contain `label`.
    async fn counted(&self, metric: &str, label: &str) -> Result<u64> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let page =
            client.get(format!("http://127.0.0.1:{}/metrics", self.metrics)).send().await?.text().await?;
        let counts = page.lines().filter(|line| line.starts_with(metric) && line.contains(label));
        Ok(counts
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .map(|count| count as u64)
            .sum())
    }
}

impl World {
    /// Starts all processes and installs the CRDs. Returns when both controllers answer their probes.
    pub(crate) async fn start(options: Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sluice-").tempdir()?;
        let (server, kubeconfig) = match &options.server {
            Some(kubeconfig) => (None, kubeconfig.clone()),
            None => {
                let kubeconfig = folder.path().join("kubeconfig");
                (Some(embedded(folder.path(), &kubeconfig).await?), kubeconfig)
            }
        };
        let client = client(&kubeconfig).await?;
        resources::install_crds(&client).await?;
        std::fs::create_dir(folder.path().join("repositories"))?;
        let git = GitServer::start(&folder.path().join("repositories")).await?;
        let source = start_source(folder.path(), &kubeconfig, &options).await?;
        let kustomize = start_kustomize(folder.path(), &kubeconfig, &options).await?;
        Ok(Self { client, kubeconfig, git, source, kustomize, _server: server, folder, options })
    }

    /// A new repository that the Git server serves, and its URL.
    pub(crate) fn repository(&self, name: &str) -> Result<(Repository, String)> {
        let repository = Repository::create(&self.folder.path().join("repositories"), name)?;
        let url = self.git.url(&repository.served_name());
        Ok((repository, url))
    }

    /// The page of metrics of a real API server; none of the embedded one.
    pub(crate) async fn server_metrics(&self) -> Result<Option<String>> {
        if self.options.server.is_none() {
            return Ok(None);
        }
        let request = http::Request::get("/metrics").body(Vec::new())?;
        Ok(Some(self.client.request_text(request).await?))
    }

    /// Where logs are, while this lives.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills kustomize-controller and starts it anew.
    pub(crate) async fn restart_kustomize(&mut self) -> Result<()> {
        self.kustomize.process.kill().await?;
        self.kustomize = start_kustomize(self.folder.path(), &self.kubeconfig, &self.options).await?;
        Ok(())
    }
}

async fn embedded(folder: &Path, kubeconfig: &Path) -> Result<Process> {
    let listen = format!("127.0.0.1:{}", free_port()?);
    let out = kubeconfig.display().to_string();
    let flags = ["--listen", listen.as_str(), "--kubeconfig-out", out.as_str()];
    let mut process = Process::start("localapi", &program("localapi")?, flags, [], folder)?;
    wait_for(&mut process, &format!("http://{listen}/readyz")).await?;
    Ok(process)
}

async fn start_source(folder: &Path, kubeconfig: &Path, options: &Options) -> Result<Controller> {
    let (storage, health) = (free_port()?, free_port()?);
    let data = folder.join("artifacts");
    std::fs::create_dir_all(&data)?;
    let flags = [
        format!("--storage-path={}", data.display()),
        format!("--storage-addr=127.0.0.1:{storage}"),
        format!("--storage-adv-addr=127.0.0.1:{storage}"),
    ];
    start("source-controller", folder, kubeconfig, options, health, flags).await
}

async fn start_kustomize(folder: &Path, kubeconfig: &Path, options: &Options) -> Result<Controller> {
    start("kustomize-controller", folder, kubeconfig, options, free_port()?, []).await
}

async fn start<const N: usize>(
    name: &str,
    folder: &Path,
    kubeconfig: &Path,
    options: &Options,
    health: u16,
    flags: [String; N],
) -> Result<Controller> {
    let metrics = free_port()?;
    let common = [
        format!("--health-addr=127.0.0.1:{health}"),
        format!("--metrics-addr=127.0.0.1:{metrics}"),
        format!("--concurrent={}", options.concurrent),
        format!("--log-level={}", options.log_level),
    ];
    let environment =
        [("KUBECONFIG", kubeconfig.display().to_string()), ("RUNTIME_NAMESPACE", "flux-system".to_owned())];
    let flags = flags.into_iter().chain(common);
    let mut process = Process::start(name, &program(name)?, flags, environment, folder)?;
    wait_for(&mut process, &format!("http://127.0.0.1:{health}/readyz")).await?;
    Ok(Controller { process, metrics })
}

/// Waits until the address answers 200, or says why the process ended.
async fn wait_for(process: &mut Process, url: &str) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build()?;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let ready = async {
        loop {
            ticks.tick().await;
            if let Some(status) = process.ended() {
                bail!("the process ended ({status}):\n{}", process.output());
            }
            if client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(START_LIMIT, ready).await.with_context(|| format!("{url} did not answer in time"))?
}

/// A client under the kubeconfig's identity.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
