//! Starts, records and stops the servers of one folder.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::UpArgs;
use super::binaries::Binaries;
use super::credentials::Credentials;

const READY_WITHIN: Duration = Duration::from_secs(60);
const SERVICE_NETWORK: &str = "10.96.0.0/16";

#[derive(Serialize, Deserialize)]
struct Process {
    name: String,
    pid: u32,
    program: PathBuf,
}

/// The servers of one folder, in the order they were started.
pub(super) struct Processes {
    dir: PathBuf,
    processes: Vec<Process>,
    children: Vec<Child>,
}

impl Processes {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), processes: Vec::new(), children: Vec::new() }
    }

    /// Those that an earlier command started in `dir`.
    pub(super) fn recorded(dir: &Path) -> Result<Self> {
        let mut found = Self::new(dir);
        let record = dir.join("processes.json");
        if record.exists() {
            found.processes =
                serde_json::from_slice(&fs::read(&record)?).with_context(|| record.display().to_string())?;
        }
        Ok(found)
    }

    fn record(&self) -> Result<()> {
        fs::write(self.dir.join("processes.json"), serde_json::to_vec_pretty(&self.processes)?)?;
        Ok(())
    }

    pub(super) fn any_alive(&self) -> bool {
        self.processes.iter().any(Process::alive)
    }

    pub(super) fn list(&self) -> impl Iterator<Item = (&str, u32, bool)> {
        self.processes.iter().map(|process| (process.name.as_str(), process.pid, process.alive()))
    }

    /// Stops them, last started first. Only a process that still runs our binary is signalled.
    pub(super) fn stop(&self) -> Result<()> {
        for process in self.processes.iter().rev().filter(|process| process.alive()) {
            Command::new("kill")
                .arg("-KILL")
                .arg(process.pid.to_string())
                .status()
                .context("running kill")?;
        }
        self.forget()
    }

    /// Removes what etcd has stored.
    fn forget(&self) -> Result<()> {
        let memory = memory_folder(&self.dir);
        if memory.exists() {
            fs::remove_dir_all(&memory).with_context(|| memory.display().to_string())?;
        }
        Ok(())
    }

    /// Starts everything and returns once the API server is ready and its controllers run.
    pub(super) async fn start(
        &mut self,
        binaries: &Binaries,
        credentials: &Credentials,
        options: &UpArgs,
    ) -> Result<()> {
        // Servers that were not stopped in order leave data that new keys do not fit.
        self.forget()?;
        let (clients, peers) = (sluice_testkit::free_port()?, sluice_testkit::free_port()?);
        let etcd = format!("http://127.0.0.1:{clients}");
        self.spawn(
            "etcd",
            &binaries.etcd,
            &[
                format!("--data-dir={}", memory_folder(&self.dir).display()),
                format!("--listen-client-urls={etcd}"),
                format!("--advertise-client-urls={etcd}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
                "--unsafe-no-fsync".to_owned(),
                "--quota-backend-bytes=4294967296".to_owned(),
            ],
        )?;
        let path = |path: &Path| path.display().to_string();
        let mut flags = vec![
            format!("--etcd-servers={etcd}"),
            format!("--secure-port={}", credentials.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--tls-cert-file={}", path(&credentials.certificate)),
            format!("--tls-private-key-file={}", path(&credentials.key)),
            format!("--token-auth-file={}", path(&credentials.tokens)),
            format!("--service-account-key-file={}", path(&credentials.service_account_public_key)),
            format!("--service-account-signing-key-file={}", path(&credentials.service_account_key)),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        if let Some(policy) = &credentials.audit_policy {
            flags.push(format!("--audit-policy-file={}", path(policy)));
            flags.push(format!("--audit-log-path={}", path(&self.dir.join("audit.log"))));
        }
        self.spawn("kube-apiserver", &binaries.apiserver, &flags)?;
        self.wait_until_ready(credentials).await?;
        if options.bare {
            return Ok(());
        }
        if let Some(program) = &binaries.controller_manager {
            let kubeconfig = path(&credentials.kubeconfig_of("controller-manager"));
            self.spawn(
                "kube-controller-manager",
                program,
                &[
                    format!("--kubeconfig={kubeconfig}"),
                    "--leader-elect=false".to_owned(),
                    "--secure-port=0".to_owned(),
                    "--kube-api-qps=500".to_owned(),
                    // The simulated node says once that it is ready, and is believed.
                    "--node-monitor-grace-period=24h".to_owned(),
                    "--kube-api-burst=1000".to_owned(),
                    format!("--service-account-private-key-file={}", path(&credentials.service_account_key)),
                    format!("--root-ca-file={}", path(&credentials.ca)),
                ],
            )?;
        }
        if let Some(program) = &binaries.scheduler {
            let kubeconfig = path(&credentials.kubeconfig_of("scheduler"));
            self.spawn(
                "kube-scheduler",
                program,
                &[
                    format!("--kubeconfig={kubeconfig}"),
                    "--leader-elect=false".to_owned(),
                    "--secure-port=0".to_owned(),
                ],
            )?;
        }
        if let Some(program) = &binaries.kwok {
            self.add_node(credentials).await?;
            self.spawn(
                "kwok",
                program,
                &[
                    format!("--kubeconfig={}", path(&credentials.admin_kubeconfig)),
                    format!("--config={}/../cluster/stages.yaml", env!("CARGO_MANIFEST_DIR")),
                    "--manage-all-nodes=true".to_owned(),
                ],
            )?;
        }
        Ok(())
    }

    fn spawn(&mut self, name: &str, program: &Path, flags: &[String]) -> Result<()> {
        let log = File::create(self.dir.join(format!("{name}.log")))?;
        let child = Command::new(program)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| program.display().to_string())?;
        self.processes.push(Process {
            name: name.to_owned(),
            pid: child.id(),
            program: program.canonicalize()?,
        });
        self.children.push(child);
        // At once: whoever stops the servers later must find them even if this command does not get to its end.
        self.record()
    }

    async fn wait_until_ready(&mut self, credentials: &Credentials) -> Result<()> {
        let client = client(credentials)?;
        let url = format!("https://127.0.0.1:{}/readyz", credentials.port);
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let ready = async {
            loop {
                ticks.tick().await;
                for (child, process) in self.children.iter_mut().zip(&self.processes) {
                    if let Some(status) = child.try_wait()? {
                        bail!("{} ended ({status})", process.name);
                    }
                }
                let answer = client.get(&url).bearer_auth(&credentials.admin_token).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("kube-apiserver was not ready within {} s", READY_WITHIN.as_secs()),
        }
    }

    /// One simulated node with room for everything.
    async fn add_node(&self, credentials: &Credentials) -> Result<()> {
        let node = serde_json::json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "simulated", "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": "simulated"},
            },
            "status": {"allocatable": {"cpu": "10000", "memory": "100Ti", "pods": "100000"},
                       "capacity": {"cpu": "10000", "memory": "100Ti", "pods": "100000"}},
        });
        let url = format!("https://127.0.0.1:{}/api/v1/nodes", credentials.port);
        client(credentials)?
            .post(url)
            .bearer_auth(&credentials.admin_token)
            .json(&node)
            .send()
            .await?
            .error_for_status()
            .context("adding the simulated node")?;
        Ok(())
    }
}

fn client(credentials: &Credentials) -> Result<reqwest::Client> {
    let ca = reqwest::Certificate::from_pem(&fs::read(&credentials.ca)?)?;
    Ok(reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(Duration::from_secs(5)).build()?)
}

/// etcd's data goes to memory where there is such a folder: nothing here outlives the servers.
fn memory_folder(dir: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let name = dir.display().to_string().replace('/', "-");
    if memory.is_dir() { memory.join(format!("sluice-etcd{name}")) } else { dir.join("etcd") }
}

impl Process {
    fn alive(&self) -> bool {
        let Ok(running) = fs::read_link(format!("/proc/{}/exe", self.pid)) else { return false };
        let replaced = format!("{} (deleted)", self.program.display());
        running == self.program || running == Path::new(&replaced)
    }
}
