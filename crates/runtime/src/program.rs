//! From `main` to exit: flags, log, client, servers, leadership, the controller's work, and a quick end.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sluice_types::Proxies;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{HostArgs, command};
use crate::events::Sink;
use crate::gates::{Gate, Gates, OBJECT_LEVEL_WORKLOAD_IDENTITY};
use crate::host::{Host, user_agent};
use crate::lease::{self, Candidate, Terms};
use crate::metrics::Registry;
use crate::{client, log, process, serve};

/// What the work may take to end, after it was told to.
const ENDING: Duration = Duration::from_secs(8);
/// What the last events may take.
const FLUSHING: Duration = Duration::from_millis(300);
/// What giving back the lease may take.
const RELEASING: Duration = Duration::from_millis(300);

/// A controller, before it knows its flags.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name, as Flux's.
    pub name: &'static str,
    /// Version, as `--version` shows it.
    pub version: &'static str,
    /// Default of `--concurrent`.
    pub concurrent: usize,
    /// The switches it knows.
    pub gates: &'static [Gate],
}

/// Runs a controller: the whole of its `main`.
///
/// `work` gets the flags and the host once leadership is won (or not asked for), and returns soon after
/// `host.stop` is tripped by SIGTERM or SIGINT. Exit codes: 0 after a signal, 1 when something failed or the
/// lease was lost, 2 for unusable flags.
pub fn run<A, W, F>(program: Program, work: W) -> ExitCode
where
    A: Args + AsRef<HostArgs>,
    W: FnOnce(A, Host) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let parsed = command::<A>(program).try_get_matches().and_then(|matches| A::from_arg_matches(&matches));
    let args = match parsed {
        Ok(args) => args,
        Err(error) => {
            // Nobody is left to tell when this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log::init(args.as_ref().log_level, args.as_ref().log_encoding);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(live(program, args, work));
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(logger = "setup", error = %format!("{error:#}"), "the controller failed");
            ExitCode::FAILURE
        }
    }
}

async fn live<A, W, F>(program: Program, args: A, work: W) -> anyhow::Result<()>
where
    A: Args + AsRef<HostArgs>,
    W: FnOnce(A, Host) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let stop = stop_on_signal()?;
    let flags = args.as_ref().clone();
    if !flags.stray.is_empty() {
        tracing::error!(logger = "setup", stray = ?flags.stray, "arguments that are no flags have no effect");
    }
    let host = bootstrap(program, &flags, stop.clone()).await?;
    let (health, metrics) = (stop.child_token(), stop.child_token());
    tokio::spawn(serve::serve(serve::listen(&flags.health_addr).await?, serve::probes(), health));
    // An empty address, as an empty environment variable makes it, is that of the default.
    let measured_at = if flags.metrics_addr.is_empty() { ":8080" } else { flags.metrics_addr.as_str() };
    if measured_at != "0" {
        let router = serve::metrics(host.metrics.clone());
        tokio::spawn(serve::serve(serve::listen(measured_at).await?, router, metrics));
    }
    let Some(mut leadership) = Leadership::win(&flags, &host).await else { return Ok(()) };
    tracing::info!(logger = "setup", version = program.version, "starting {}", program.name);
    let ended = tokio::select! {
        ended = until_stopped(work(args, host.clone()), &stop) => ended,
        () = leadership.lost() => anyhow::bail!("leader election lost"),
    };
    stop.cancel();
    host.events.flush(FLUSHING).await;
    leadership.release(flags.leader_election_release_on_cancel).await;
    ended
}

/// Everything that a controller has before it works.
async fn bootstrap(program: Program, flags: &HostArgs, stop: CancellationToken) -> anyhow::Result<Host> {
    let runtime_namespace = std::env::var("RUNTIME_NAMESPACE").ok().filter(|namespace| !namespace.is_empty());
    flags.validate(runtime_namespace.as_deref())?;
    let gates = Gates::parse(program.gates, &flags.feature_gates)?;
    // Elsewhere the flag means impersonation inside the cluster, which needs no gate.
    if program.name == sluice_api::keys::source::CONTROLLER {
        let account = &flags.default_service_account;
        gates.require(OBJECT_LEVEL_WORKLOAD_IDENTITY, "default-service-account", account)?;
    }
    let registry = Arc::new(Registry::default());
    process::measure(&registry);
    let proxies = Proxies::read(|name| std::env::var(name).ok());
    let agent = user_agent(program.name, program.version);
    let (client, namespace) =
        client::connect(flags.kubeconfig.as_deref(), &agent, &proxies, &registry).await?;
    let instance = instance();
    let address = Some(flags.events_addr.as_str());
    let events = Sink::start(client.clone(), program.name, &instance, address, &proxies, &registry)?;
    Ok(Host {
        client,
        controller: program.name.into(),
        version: program.version,
        namespace: runtime_namespace.as_deref().unwrap_or(&namespace).into(),
        instance: instance.into(),
        events,
        metrics: registry,
        gates: Arc::new(gates),
        scope: flags.scope(runtime_namespace.as_deref()),
        pacing: flags.pacing(),
        concurrent: flags.concurrent.unwrap_or(program.concurrent).max(1),
        stop,
    })
}

/// A token that the first SIGTERM or SIGINT trips; the second one ends the process on the spot.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(1);
            }
            told.cancel();
        }
    });
    Ok(stop)
}

/// Runs the work; after the signal it gets a moment to end by itself.
async fn until_stopped<F>(work: F, stop: &CancellationToken) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    tokio::select! {
        ended = work => ended,
        () = async {
            stop.cancelled().await;
            tokio::time::sleep(ENDING).await;
        } => Ok(()),
    }
}

fn instance() -> String {
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    name.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map_or_else(|| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// The lease of this process, if it needs one.
struct Leadership(Option<Candidate>);

impl Leadership {
    /// Waits for leadership; `None` when the process was told to stop first.
    async fn win(flags: &HostArgs, host: &Host) -> Option<Self> {
        if !flags.enable_leader_election {
            return Some(Self(None));
        }
        let name = lease::name(&host.controller, host.scope.selector.as_deref());
        let master = host.metrics.gauge(
            "leader_election_master_status",
            "Whether the process leads: 0 for no, 1 for yes.",
            &["name"],
        );
        master.set(&[&name], 0.0);
        let identity = format!("{}_{}", host.instance, crate::ids::uuid());
        let terms = Terms {
            lease: flags.leader_election_lease_duration.0,
            renew: flags.leader_election_renew_deadline.0,
            retry: flags.leader_election_retry_period.0,
        };
        tracing::info!(lease = name, "attempting to acquire leader lease");
        let mut candidate = Candidate::new(host.client.clone(), &host.namespace, &name, &identity, terms);
        tokio::select! {
            () = candidate.acquire() => {}
            () = host.stop.cancelled() => return None,
        }
        tracing::info!(lease = name, "successfully acquired lease");
        master.set(&[&name], 1.0);
        Some(Self(Some(candidate)))
    }

    async fn lost(&mut self) {
        match &mut self.0 {
            Some(candidate) => candidate.keep().await,
            None => std::future::pending().await,
        }
    }

    async fn release(self, wanted: bool) {
        if let (Some(mut candidate), true) = (self.0, wanted) {
            match tokio::time::timeout(RELEASING, candidate.release()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(error = %error, "failed to release the lease"),
                Err(_) => tracing::error!("failed to release the lease in time"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_after_the_signal_ends_the_process_and_work_that_does_not_only_delays_it() {
        let stop = CancellationToken::new();
        stop.cancel();
        let start = tokio::time::Instant::now();
        let polite = async {
            stop.cancelled().await;
            anyhow::bail!("trouble")
        };
        assert!(until_stopped(polite, &stop).await.is_err(), "what the work says counts");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(until_stopped(std::future::pending(), &stop).await.is_ok());
        assert_eq!(start.elapsed(), ENDING);
    }
}
