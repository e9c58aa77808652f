//! The command line, and what it means.

use clap::ArgAction;
use sluice_artifact::FetchLimits;
use sluice_manifest::GroupKind;
use sluice_runtime::Host;
use sluice_runtime::args::{HostArgs, boolean};
use sluice_tree::{IndexLimits, UnpackLimits};

use crate::options::{Gates, Options, Ways};

/// Flags of kustomize-controller.
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Builds Kustomizations from their sources and keeps the cluster as they say")]
pub struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// Number of objects of one Kustomization that are applied at once
    #[arg(long, default_value_t = 4)]
    concurrent_ssa: usize,
    /// Number of objects that are applied at once beyond that, for all Kustomizations together
    #[arg(long, default_value_t = 28)]
    concurrent_ssa_spare: usize,
    /// Refuse references to objects of other namespaces
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    no_cross_namespace_refs: bool,
    /// Accepted; remote bases are always refused
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    no_remote_bases: bool,
    /// Attempts to fetch an artifact after the first one failed
    #[arg(long, default_value_t = 9)]
    http_retry: u32,
    /// ServiceAccount that decrypts where the spec names none
    #[arg(long, default_value = "")]
    default_decryption_service_account: String,
    /// ServiceAccount that logs in to remote clusters where the spec names none
    #[arg(long, default_value = "")]
    default_kubeconfig_service_account: String,
    /// Secret with age keys for all; decryption is not available yet
    #[arg(long, default_value = "")]
    sops_age_secret: String,
    /// ConfigMap with Vault instances; decryption is not available yet
    #[arg(long, default_value = "")]
    sops_vault_configmap: String,
    /// Field managers whose fields are taken over
    #[arg(long)]
    override_manager: Vec<String>,
    /// Kinds that get a stage of their own, as group/Kind separated by commas
    #[arg(long, default_value = "")]
    custom_apply_stage_kinds: String,
    /// Accepted; commands in kubeconfigs are never run
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    insecure_kubeconfig_exec: bool,
    /// Let kubeconfigs skip the verification of servers
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    insecure_kubeconfig_tls: bool,
    /// Let a server that a kubeConfig ConfigMap describes see the controller's own token, as Flux does, even where
    /// --default-service-account is set
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    insecure_interceptable_tokens: bool,
    /// Repair drift when it is seen; false to repair it once per interval, as Flux does
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    drift_repair: bool,
    /// Apply what can be applied when some objects cannot; false to apply all of a stage or nothing, as Flux does
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    partial_apply: bool,
    /// Record what will be applied before it is; false to record it afterwards, as Flux does
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    claim_first: bool,
    /// Write nothing when nothing changed; false to write a status and an event every interval, as Flux does
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    quiet: bool,
    /// Memory for unpacked artifacts, in mebibytes
    #[arg(long, default_value_t = 64)]
    artifact_cache_mib: usize,
    /// Largest artifact that is unpacked, in bytes after decompression: that much memory it takes
    #[arg(long, default_value_t = UnpackLimits::default().bytes)]
    artifact_max_size: u64,
    /// Largest artifact that is downloaded, in bytes before decompression
    #[arg(long, default_value_t = FetchLimits::default().archive_bytes)]
    artifact_max_download_size: u64,
    /// Most files and directories of an artifact
    #[arg(long, default_value_t = UnpackLimits::default().entries)]
    artifact_max_entries: usize,
    /// Bytes that one file of an artifact may have
    #[arg(long, default_value_t = UnpackLimits::default().file_bytes)]
    artifact_max_file_size: u64,
    /// Directories below each other in an artifact
    #[arg(long, default_value_t = UnpackLimits::default().depth)]
    artifact_max_depth: usize,
    /// Largest path index that is downloaded, in bytes; without it an artifact is fetched to see what it changes
    #[arg(long, default_value_t = IndexLimits::default().bytes)]
    artifact_max_index_size: usize,
}

impl AsRef<HostArgs> for Args {
    fn as_ref(&self) -> &HostArgs {
        &self.host
    }
}

/// Flags that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A default account for what is not switched on.
    #[error("--{0} needs the feature gate ObjectLevelWorkloadIdentity")]
    Account(&'static str),
    /// A stage kind that is none.
    #[error("invalid --custom-apply-stage-kinds entry '{0}': use group/Kind")]
    StageKind(String),
}

impl Args {
    /// What the flags, and the environment around them, mean.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn options(self, host: &Host) -> Result<Options, Error> {
        let gates = Gates::of(&host.gates);
        for (flag, value) in [
            ("default-decryption-service-account", &self.default_decryption_service_account),
            ("default-kubeconfig-service-account", &self.default_kubeconfig_service_account),
        ] {
            if !value.is_empty() && !gates.object_level_workload_identity {
                return Err(Error::Account(flag));
            }
        }
        self.warn();
        let artifact_limits = self.artifact_limits();
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let variable = |name: &str| std::env::var(name).ok().and_then(text);
        Ok(Options {
            concurrent: host.concurrent,
            concurrent_ssa: self.concurrent_ssa.max(1),
            concurrent_ssa_spare: self.concurrent_ssa_spare,
            no_cross_namespace_refs: self.no_cross_namespace_refs,
            default_service_account: text(self.host.default_service_account.clone()),
            default_kubeconfig_service_account: text(self.default_kubeconfig_service_account),
            tokens: self.host.token_cache_max_size,
            token_lifetime: self.host.token_cache_max_duration.0,
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            requeue_dependency: self.host.requeue_dependency.0,
            http_retry: self.http_retry,
            override_managers: self.override_manager,
            stage_kinds: stage_kinds(&self.custom_apply_stage_kinds)?,
            config_selector: self.host.watch_configs_label_selector.clone(),
            sharded: host.scope.selector.is_some() || host.scope.namespace.is_some(),
            source_host: variable("SOURCE_CONTROLLER_LOCALHOST"),
            watcher_host: variable("SOURCE_WATCHER_LOCALHOST"),
            insecure_kubeconfig_tls: self.insecure_kubeconfig_tls,
            interceptable_tokens: self.insecure_interceptable_tokens,
            gates,
            ways: Ways {
                drift_repair: self.drift_repair,
                partial_apply: self.partial_apply,
                claim_first: self.claim_first,
                quiet: self.quiet,
            },
            artifact_cache: self.artifact_cache_mib.saturating_mul(1 << 20),
            artifact_limits,
        })
    }

    fn artifact_limits(&self) -> FetchLimits {
        FetchLimits {
            archive_bytes: self.artifact_max_download_size,
            unpack: UnpackLimits {
                bytes: self.artifact_max_size,
                file_bytes: self.artifact_max_file_size,
                entries: self.artifact_max_entries,
                depth: self.artifact_max_depth,
                skip_symlinks: true,
            },
            index: IndexLimits { bytes: self.artifact_max_index_size, entries: self.artifact_max_entries },
        }
    }

    /// What is accepted and has no effect is said once.
    fn warn(&self) {
        let idle = [
            (
                self.insecure_kubeconfig_exec,
                "--insecure-kubeconfig-exec: commands in kubeconfigs are never run",
            ),
            (!self.sops_age_secret.is_empty(), "--sops-age-secret: decryption is not available yet"),
            (
                !self.sops_vault_configmap.is_empty(),
                "--sops-vault-configmap: decryption is not available yet",
            ),
        ];
        for (given, text) in idle {
            if given {
                tracing::warn!("{text}");
            }
        }
        if !self.no_remote_bases {
            tracing::info!("remote bases are refused, whether --no-remote-bases is given or not");
        }
    }
}

fn stage_kinds(text: &str) -> Result<Vec<GroupKind>, Error> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (group, kind) = entry.rsplit_once('/').ok_or_else(|| Error::StageKind(entry.to_owned()))?;
            if kind.is_empty() {
                return Err(Error::StageKind(entry.to_owned()));
            }
            Ok(GroupKind { group: group.to_owned(), kind: kind.to_owned() })
        })
        .collect()
}
