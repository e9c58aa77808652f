//! Flags that every controller has, read as Go's flag library reads them.

use std::time::Duration;

use clap::{ArgAction, ValueEnum};
use sluice_types::GoDuration;

use crate::program::Program;
use crate::schedule::Pacing;
use crate::watch::WatchScope;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Level {
    /// Everything.
    Trace,
    /// What helps to find faults.
    Debug,
    /// What happens.
    Info,
    /// What fails.
    Error,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Encoding {
    /// One JSON object per line.
    Json,
    /// For people.
    Console,
}

/// Flags of the process and its kinds, to be flattened into a controller's own.
#[derive(Clone, Debug, clap::Args)]
pub struct HostArgs {
    /// Address that metrics are served on; 0 for none
    #[arg(long, env = "METRICS_ADDR", default_value = ":8080")]
    pub metrics_addr: String,
    /// Address that health probes are served on
    #[arg(long, default_value = ":9440")]
    pub health_addr: String,
    /// Address that events are posted to
    #[arg(long, env = "EVENTS_ADDR", default_value = "")]
    pub events_addr: String,
    /// Number of reconciliations per kind that run at once
    #[arg(long)]
    pub concurrent: Option<usize>,
    /// Path of a kubeconfig file; by default $KUBECONFIG or the pod's own credentials
    #[arg(long)]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// Accepted, and idle where the API server's priority and fairness answers
    #[arg(long, default_value_t = 50.0, allow_negative_numbers = true)]
    pub kube_api_qps: f64,
    /// Accepted, and idle where the API server's priority and fairness answers
    #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
    pub kube_api_burst: i64,
    /// Amount of logging: trace, debug, info or error; anything else means info
    #[arg(long, default_value = "info", value_parser = |text: &str| or_default(text, Level::Info))]
    pub log_level: Level,
    /// Format of log lines: json or console; anything else means json
    #[arg(long, default_value = "json", value_parser = |text: &str| or_default(text, Encoding::Json))]
    pub log_encoding: Encoding,
    /// First delay after a failure
    #[arg(long, default_value = "750ms")]
    pub min_retry_delay: GoDuration,
    /// Longest delay after a failure
    #[arg(long, default_value = "15m")]
    pub max_retry_delay: GoDuration,
    /// Delay until an object looks again for a dependency that is not ready
    #[arg(long, default_value = "30s")]
    pub requeue_dependency: GoDuration,
    /// Visits come this many percent earlier or later than the interval (0 to 99)
    #[arg(long, default_value_t = 5)]
    pub interval_jitter_percentage: u8,
    /// Watch every namespace; if false only that of the controller ($RUNTIME_NAMESPACE)
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = boolean, action = ArgAction::Set)]
    pub watch_all_namespaces: bool,
    /// Watch only objects with these labels
    #[arg(long, default_value = "")]
    pub watch_label_selector: String,
    /// Labels of the ConfigMaps and Secrets whose changes wake the objects that refer to them
    #[arg(long, default_value = sluice_api::keys::WATCH_SELECTOR)]
    pub watch_configs_label_selector: String,
    /// Run only while holding a lease
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub enable_leader_election: bool,
    /// Give the lease back at the end of the process
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = boolean, action = ArgAction::Set)]
    pub leader_election_release_on_cancel: bool,
    /// Time after which others may take a lease that was not renewed
    #[arg(long, default_value = "35s")]
    pub leader_election_lease_duration: GoDuration,
    /// Time without a renewal after which this process gives up
    #[arg(long, default_value = "30s")]
    pub leader_election_renew_deadline: GoDuration,
    /// Time between two tries to take or renew the lease
    #[arg(long, default_value = "5s")]
    pub leader_election_retry_period: GoDuration,
    /// ServiceAccount that objects without one of their own act as
    #[arg(long, default_value = "")]
    pub default_service_account: String,
    /// Feature gates (Name=true,Other=false)
    #[arg(long, value_delimiter = ',')]
    pub feature_gates: Vec<String>,
    /// Number of cloud tokens to keep; 0 for none
    #[arg(long, default_value_t = 100)]
    pub token_cache_max_size: usize,
    /// Longest time to keep a cloud token
    #[arg(long, default_value = "1h")]
    pub token_cache_max_duration: GoDuration,
    /// What is no flag has no effect, as with Go's flags
    #[arg(hide = true)]
    pub stray: Vec<String>,
}

/// Flags that parse but contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The jitter is out of range.
    #[error("invalid interval jitter percentage {0}: it must be less than 100")]
    Jitter(u8),
    /// One namespace is to be watched, but which is not known.
    #[error("--watch-all-namespaces=false needs the environment variable RUNTIME_NAMESPACE")]
    Namespace,
    /// The times of the leader election do not fit together.
    #[error(
        "the lease duration must be longer than the renew deadline, and that longer than the retry period"
    )]
    Lease,
}

impl HostArgs {
    /// Checks what the parser cannot.
    ///
    /// # Errors
    /// When flags contradict themselves or each other.
    pub fn validate(&self, runtime_namespace: Option<&str>) -> Result<(), Error> {
        if self.interval_jitter_percentage > 99 {
            return Err(Error::Jitter(self.interval_jitter_percentage));
        }
        if !self.watch_all_namespaces && runtime_namespace.is_none() {
            return Err(Error::Namespace);
        }
        let (lease, renew) = (self.leader_election_lease_duration.0, self.leader_election_renew_deadline.0);
        if self.enable_leader_election && (lease <= renew || renew <= self.leader_election_retry_period.0) {
            return Err(Error::Lease);
        }
        Ok(())
    }

    /// The objects this process is responsible for.
    pub fn scope(&self, runtime_namespace: Option<&str>) -> WatchScope {
        let namespace = runtime_namespace.filter(|_| !self.watch_all_namespaces).map(str::to_owned);
        let selector = Some(self.watch_label_selector.clone()).filter(|selector| !selector.is_empty());
        WatchScope { namespace, selector }
    }

    /// The pace of retries and visits.
    pub fn pacing(&self) -> Pacing {
        Pacing {
            min_retry: self.min_retry_delay.0.max(Duration::from_millis(1)),
            max_retry: self.max_retry_delay.0.max(Duration::from_millis(1)),
            jitter_percent: self.interval_jitter_percentage,
        }
    }
}

impl AsRef<HostArgs> for HostArgs {
    fn as_ref(&self) -> &HostArgs {
        self
    }
}

/// Reads a boolean as Go does. For flags of one's own, together with
/// `num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set`.
///
/// # Errors
/// When the text is none of Go's words for true and false.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("'{text}' is no boolean")),
    }
}

/// A word of a choice, or what stands for all others: Go's controllers start with any word.
fn or_default<T: ValueEnum>(text: &str, default: T) -> Result<T, std::convert::Infallible> {
    Ok(T::from_str(text, false).unwrap_or(default))
}

/// The command line of a controller whose flags are `A`.
pub fn command<A: clap::Args>(program: Program) -> clap::Command {
    // A command line lives as long as the process.
    let concurrent: &'static str = program.concurrent.to_string().leak();
    // As with Go's flags, the last mention of a flag wins.
    let command = clap::Command::new(program.name).version(program.version).args_override_self(true);
    A::augment_args(command).mut_arg("concurrent", |arg| arg.default_value(concurrent))
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
