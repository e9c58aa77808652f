//! The controller's work: store, mirrors, artifact server, driver.

use std::sync::Arc;
use std::time::Duration;

use sluice_api::keys;
use sluice_api::managed::Managed as _;
use sluice_api::source::v1::GitRepository;
use sluice_artifact::Store;
use sluice_git::Mirrors;
use sluice_runtime::{Handle, Host, Tokens, Wiring, drive};

use crate::args::Options;
use crate::lost::Lost;
use crate::request::Allowed;
use crate::settle::OWNED;
use crate::tokens::Identity;
use crate::{Context, included, reconcile, wire};

/// Beside the network operations, which have their own time, a pass packs.
const PACKING: Duration = Duration::from_secs(600);

/// Drives every GitRepository and serves artifacts until the host stops. Must only be called by the leader.
///
/// # Errors
/// When the store or the mirrors cannot be opened, the address is taken, or the driver fails.
pub async fn work(options: Options, host: Host) -> anyhow::Result<()> {
    let proxies = options.environment.proxies();
    let store = Store::open(options.store)?;
    let mirrors = Mirrors::new(options.mirrors, options.limits, proxies.clone())?;
    let listener = sluice_runtime::serve::listen(&options.storage_addr).await?;
    let handle = Handle::new();
    let context = Context {
        client: host.client.clone(),
        handle: handle.clone(),
        store: store.clone(),
        mirrors,
        lost: Lost::default(),
        allowed: Allowed { service_accounts: options.service_accounts },
        identity: Identity {
            tokens: Tokens::new(
                &host.metrics,
                options.tokens,
                options.token_lifetime,
                "GitRepository",
                "reconcile",
            ),
            environment: options.environment,
            default_service_account: options.default_service_account,
            interceptable: options.interceptable_tokens,
        },
        ssh: options.ssh,
        ignore: options.ignore,
        include: included::fetching(options.include, proxies),
        dependency_interval: options.dependency_interval,
    };
    let wiring = Wiring {
        field_manager: keys::source::FIELD_MANAGER,
        finalizer: Some(keys::FINALIZER),
        concurrency: host.concurrent,
        owned: OWNED,
        progress: None,
        suspension_settles: true,
        deadline: |object: &GitRepository| object.timeout().saturating_mul(3).saturating_add(PACKING),
    };
    let serving = async {
        Ok::<_, anyhow::Error>(
            sluice_artifact::serve(store, listener, options.serve, host.stop.clone()).await?,
        )
    };
    let waking = async {
        wire::wake_includers(handle.clone(), host.stop.clone()).await;
        Ok(())
    };
    let driving =
        async { Ok(drive(wiring, handle.clone(), Arc::new(context), host.clone(), reconcile).await?) };
    tokio::try_join!(driving, waking, serving)?;
    Ok(())
}
