//! Flags, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use sluice_artifact::{FetchLimits, Retention, ServeLimits, advertised};
use sluice_git::{Limits, SshAlgorithms};
use sluice_identity::Environment;
use sluice_runtime::Host;
use sluice_runtime::args::{HostArgs, boolean};
use sluice_runtime::gates::OBJECT_LEVEL_WORKLOAD_IDENTITY;
use sluice_tree::{IgnoreLimits, PackLimits, UnpackLimits};
use sluice_types::{Algorithm, GoDuration};

/// Flags of the source-controller.
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Fetches Git repositories and serves their state as artifacts")]
pub struct SourceArgs {
    /// Flags that every controller has
    #[command(flatten)]
    pub host: HostArgs,
    /// Directory that artifacts are stored in
    #[arg(long, env = "STORAGE_PATH", default_value = "/data")]
    pub storage_path: PathBuf,
    /// Address that artifacts are served on
    #[arg(long, env = "STORAGE_ADDRESS", default_value = ":9090")]
    pub storage_addr: String,
    /// Address of the artifact server as consumers see it; by default that of --storage-addr
    #[arg(long, env = "STORAGE_ADV_ADDR", default_value = "")]
    pub storage_adv_addr: String,
    /// Algorithm of artifact digests (sha256, sha384, sha512, blake3, sha1)
    #[arg(long, default_value = "sha256")]
    pub artifact_digest_algo: String,
    /// Time that superseded artifacts are kept
    #[arg(long, default_value = "1m")]
    pub artifact_retention_ttl: GoDuration,
    /// Number of artifacts of one object that are kept, the current one counted
    #[arg(long, default_value_t = 2)]
    pub artifact_retention_records: usize,
    /// Largest tree that is packed, in bytes before compression
    #[arg(long, default_value_t = PackLimits::default().bytes)]
    pub artifact_max_size: u64,
    /// Most files and directories of a tree that is packed
    #[arg(long, default_value_t = PackLimits::default().entries)]
    pub artifact_max_entries: usize,
    /// Directories below each other in a tree that is packed
    #[arg(long, default_value_t = PackLimits::default().depth)]
    pub artifact_max_depth: usize,
    /// Largest artifact of an included repository, in bytes after decompression: that much memory it takes
    #[arg(long, default_value_t = UnpackLimits::default().bytes)]
    pub include_max_size: u64,
    /// Most ignore rules of a tree, those of all its .sourceignore files and of spec.ignore together
    #[arg(long, default_value_t = IgnoreLimits::default().patterns)]
    pub ignore_max_rules: usize,
    /// Bytes that one .sourceignore file may have
    #[arg(long, default_value_t = IgnoreLimits::default().file_bytes)]
    pub ignore_file_max_size: usize,
    /// Connections to the artifact server at one time; further ones wait
    #[arg(long, default_value_t = ServeLimits::default().connections)]
    pub storage_max_connections: usize,
    /// Directory of the Git mirrors; by default below --storage-path
    #[arg(long)]
    pub git_cache_path: Option<PathBuf>,
    /// Bytes that all Git mirrors together may take
    #[arg(long, default_value_t = Limits::default().disk_bytes)]
    pub git_cache_max_size: u64,
    /// Bytes that one fetch may transfer
    #[arg(long, default_value_t = Limits::default().pack_bytes)]
    pub git_fetch_max_size: u64,
    /// Bytes that one file of a Git repository may have
    #[arg(long, default_value_t = Limits::default().file_bytes)]
    pub git_file_max_size: u64,
    /// Most entries of the trees that one checkout reads, submodules included
    #[arg(long, default_value_t = Limits::default().entries)]
    pub git_max_entries: usize,
    /// Let a proxy together with an authority that an object names see the controller's own cloud token, as Flux does
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub insecure_interceptable_tokens: bool,
    /// SSH key exchange algorithms, instead of the default ones
    #[arg(long, value_delimiter = ',')]
    pub ssh_kex_algos: Vec<String>,
    /// SSH host key algorithms, instead of the default ones
    #[arg(long, value_delimiter = ',')]
    pub ssh_hostkey_algos: Vec<String>,
    /// Accepted: Helm repositories are not served yet
    #[arg(long, default_value_t = 50 << 20)]
    pub helm_index_max_size: i64,
    /// Accepted: Helm charts are not served yet
    #[arg(long, default_value_t = 10 << 20)]
    pub helm_chart_max_size: i64,
    /// Accepted: Helm charts are not served yet
    #[arg(long, default_value_t = 5 << 20)]
    pub helm_chart_file_max_size: i64,
    /// Accepted: Helm repositories are not served yet
    #[arg(long, default_value_t = 0)]
    pub helm_cache_max_size: i64,
    /// Accepted: Helm repositories are not served yet
    #[arg(long, default_value = "15m")]
    pub helm_cache_ttl: GoDuration,
    /// Accepted: Helm repositories are not served yet
    #[arg(long, default_value = "1m")]
    pub helm_cache_purge_interval: GoDuration,
}

impl AsRef<HostArgs> for SourceArgs {
    fn as_ref(&self) -> &HostArgs {
        &self.host
    }
}

/// Behaviour of the controller that does not change while it runs.
pub struct Options {
    /// How artifacts are stored.
    pub store: sluice_artifact::Options,
    /// Address that they are served on.
    pub storage_addr: String,
    /// What clients of that address may take up.
    pub serve: ServeLimits,
    /// How much the artifact of an included repository may weigh.
    pub include: FetchLimits,
    /// How much ignore rules may cost.
    pub ignore: IgnoreLimits,
    /// Directory of the Git mirrors.
    pub mirrors: PathBuf,
    /// What the mirrors may use.
    pub limits: Limits,
    /// Algorithms for ssh.
    pub ssh: SshAlgorithms,
    /// What an object that waits for an include is visited after, woken or not.
    pub dependency_interval: Duration,
    /// Objects may name ServiceAccounts of their own.
    pub service_accounts: bool,
    /// For objects that name none.
    pub default_service_account: Option<String>,
    /// Cloud tokens that are kept.
    pub tokens: usize,
    /// The longest time that a token is kept.
    pub token_lifetime: Duration,
    /// The controller's own tokens may be shown to whom an object's proxy and authority lead.
    pub interceptable_tokens: bool,
    /// For the clouds' own variables.
    pub environment: Environment,
}

impl Options {
    /// Reads the flags.
    ///
    /// # Errors
    /// When the digest algorithm is unknown.
    pub fn new(args: SourceArgs, host: &Host, environment: Environment) -> anyhow::Result<Self> {
        let algorithm: Algorithm = args.artifact_digest_algo.parse()?;
        let address =
            if args.storage_adv_addr.is_empty() { &args.storage_addr } else { &args.storage_adv_addr };
        let pack = PackLimits {
            bytes: args.artifact_max_size,
            entries: args.artifact_max_entries,
            depth: args.artifact_max_depth,
            ..PackLimits::default()
        };
        let unpack = UnpackLimits {
            bytes: args.include_max_size,
            entries: args.artifact_max_entries,
            file_bytes: args.git_file_max_size,
            depth: args.artifact_max_depth,
            ..UnpackLimits::default()
        };
        let retention =
            Retention { ttl: args.artifact_retention_ttl.0, records: args.artifact_retention_records };
        Ok(Self {
            mirrors: args.git_cache_path.unwrap_or_else(|| args.storage_path.join(".git-mirrors")),
            store: sluice_artifact::Options {
                algorithm,
                retention,
                pack,
                unpack,
                ..sluice_artifact::Options::new(args.storage_path, advertised(address, &host.instance))
            },
            storage_addr: args.storage_addr,
            serve: ServeLimits { connections: args.storage_max_connections, ..ServeLimits::default() },
            include: FetchLimits { archive_bytes: args.include_max_size, unpack, ..FetchLimits::default() },
            ignore: IgnoreLimits {
                file_bytes: args.ignore_file_max_size,
                patterns: args.ignore_max_rules,
                depth: args.artifact_max_depth,
            },
            limits: Limits {
                pack_bytes: args.git_fetch_max_size,
                disk_bytes: args.git_cache_max_size,
                file_bytes: args.git_file_max_size,
                entries: args.git_max_entries,
                depth: args.artifact_max_depth,
                ..Limits::default()
            },
            ssh: SshAlgorithms { kex: args.ssh_kex_algos, host_key: args.ssh_hostkey_algos },
            dependency_interval: args.host.requeue_dependency.0,
            service_accounts: host.gates.is_on(OBJECT_LEVEL_WORKLOAD_IDENTITY),
            default_service_account: Some(args.host.default_service_account).filter(|name| !name.is_empty()),
            tokens: args.host.token_cache_max_size,
            token_lifetime: args.host.token_cache_max_duration.0.min(Duration::from_secs(3600)),
            interceptable_tokens: args.insecure_interceptable_tokens,
            environment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args as _;
    use clap::FromArgMatches as _;

    #[test]
    fn the_flags_of_the_stock_deployment_are_understood() {
        crate::command().debug_assert();
        let command = SourceArgs::augment_args(clap::Command::new("test"));
        let matches = command.get_matches_from([
            "test",
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
            "--storage-path=/data",
            "--storage-adv-addr=source-controller.flux-system.svc.cluster.local.",
            "--helm-cache-ttl=60m",
            "--ssh-kex-algos=a,b",
        ]);
        let args = SourceArgs::from_arg_matches(&matches).unwrap();
        assert!(args.host.enable_leader_election);
        assert_eq!(args.ssh_kex_algos, ["a", "b"]);
        assert_eq!(args.artifact_retention_ttl.0, Duration::from_secs(60));
    }
}
