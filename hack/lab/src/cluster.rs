//! A real kube-apiserver on loopback: built once, started in seconds, no containers, no root daemons.

mod binaries;
mod credentials;
mod processes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Subcommand, ValueEnum};

use crate::resources;
use binaries::Binaries;
use credentials::Credentials;
use processes::Processes;

/// How long the server may take to delete what the scenarios gave back.
const CLEAN_WITHIN: Duration = Duration::from_secs(120);

/// How the namespaces of all stories begin.
const STORIES: [&str; 7] = ["scenario-", "rights-", "roles-", "swap", "kubectl-", "conformance-", "watches-"];

/// `cargo xtask cluster …`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Kubernetes minor version
    #[arg(long, global = true, value_enum, default_value_t = Version::Newest)]
    version: Version,
    /// Where state, logs and kubeconfigs lie [default: a folder per version in the cache]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the servers and print the kubeconfig's path
    Up(UpArgs),
    /// Stop the servers and remove their state
    Down,
    /// Say what runs
    Status,
    /// Only build all that `up` and `test` need
    Build,
    /// Start the servers, run the scenarios on them, and stop them
    Test {
        /// Passed on to `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
}

#[derive(clap::Args, Clone, Default)]
struct UpArgs {
    /// Write an audit log at level Metadata to audit.log
    #[arg(long)]
    audit: bool,
    /// Only etcd and kube-apiserver: no controller-manager, scheduler or nodes
    #[arg(long)]
    bare: bool,
}

/// The pinned Kubernetes versions: the newest that builds, and one two minors older.
#[derive(Clone, Copy, ValueEnum)]
enum Version {
    /// 1.36
    #[value(name = "1.36")]
    Newest,
    /// 1.34
    #[value(name = "1.34")]
    Older,
}

impl Version {
    const fn minor(self) -> &'static str {
        match self {
            Self::Newest => "1.36",
            Self::Older => "1.34",
        }
    }
}

/// Carries out `cargo xtask cluster …`.
pub(crate) async fn run(args: Args) -> Result<()> {
    let cache = cache()?;
    let dir = args.dir.clone().unwrap_or_else(|| cache.join(format!("cluster-{}", args.version.minor())));
    match args.command {
        Command::Up(options) => {
            let kubeconfig = up(&cache, &dir, args.version, &options).await?;
            println!("export KUBECONFIG={}", kubeconfig.display());
            Ok(())
        }
        Command::Down => down(&dir),
        Command::Status => status(&dir),
        Command::Build => tools(&cache, args.version).await.map(drop),
        Command::Test { flags } => {
            let dir = args.dir.unwrap_or_else(|| cache.join(format!("test-{}", std::process::id())));
            // First of all: what cannot be built is known before anything is tried.
            let tools = tools(&cache, args.version).await?;
            let kubeconfig = up(&cache, &dir, args.version, &UpArgs::default()).await?;
            println!("servers in {}", dir.display());
            let outcome = check_on(&kubeconfig, &tools, &flags).await;
            down(&dir)?;
            outcome
        }
    }
}

fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("sluice"))
}

/// What the tests run beside the servers.
struct Tools {
    kubectl: PathBuf,
    helm: PathBuf,
}

/// Finds or builds everything that [`Command::Test`] needs, servers included.
async fn tools(cache: &Path, version: Version) -> Result<Tools> {
    binaries::find_or_build(cache, version.minor()).await?;
    let kubectl = binaries::kubectl(cache, version.minor()).await?;
    Ok(Tools { kubectl, helm: binaries::helm(cache).await? })
}

/// Starts the servers; answers with a kubeconfig.
async fn up(cache: &Path, dir: &Path, version: Version, options: &UpArgs) -> Result<PathBuf> {
    if Processes::recorded(dir)?.any_alive() {
        bail!("servers already run in {}; stop them with `cargo xtask cluster down`", dir.display());
    }
    let binaries: Binaries = binaries::find_or_build(cache, version.minor()).await?;
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let credentials = Credentials::write(dir, options.audit)?;
    let mut processes = Processes::new(dir);
    let started = processes.start(&binaries, &credentials, options).await;
    if let Err(error) = started {
        processes.stop()?;
        return Err(error.context(format!("logs are in {}", dir.display())));
    }
    Ok(credentials.admin_kubeconfig)
}

fn down(dir: &Path) -> Result<()> {
    let processes = Processes::recorded(dir)?;
    processes.stop()?;
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    println!("stopped");
    Ok(())
}

fn status(dir: &Path) -> Result<()> {
    let processes = Processes::recorded(dir)?;
    ensure!(processes.any_alive(), "nothing runs in {}", dir.display());
    for (name, pid, alive) in processes.list() {
        println!("{name:<26} {pid:>8}  {}", if alive { "running" } else { "gone" });
    }
    println!("export KUBECONFIG={}", dir.join("kubeconfig").display());
    Ok(())
}

/// What can be installed, and the scenarios.
async fn check_on(kubeconfig: &Path, tools: &Tools, flags: &[String]) -> Result<()> {
    let client = crate::world::client(kubeconfig).await?;
    crate::install::check(&client, &tools.helm).await?;
    scenarios(Some(kubeconfig), &tools.kubectl, flags).await?;
    if flags.is_empty() {
        // The embedded API's own tests have no kubectl where none is installed.
        scenarios(None, &tools.kubectl, &["--test".to_owned(), "kubectl".to_owned()]).await?;
    }
    resources::wait_for_no_namespaces(&client, &STORIES, CLEAN_WITHIN).await
}

/// The scenarios of `tests/`, with every server they start replaced by the one behind `kubeconfig`.
async fn scenarios(kubeconfig: Option<&Path>, kubectl: &Path, flags: &[String]) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = tokio::process::Command::new(cargo);
    command.args(["test", "-p", "sluice-scenarios"]).args(flags);
    command.envs(kubeconfig.map(|path| ("SLUICE_KUBECONFIG", path)));
    command.env("KUBECTL", kubectl);
    let status = command.status().await.context("running the scenarios")?;
    let server = if kubeconfig.is_some() { "real" } else { "embedded" };
    ensure!(status.success(), "scenarios failed on the {server} API server ({status})");
    Ok(())
}
