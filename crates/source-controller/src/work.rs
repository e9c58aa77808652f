//! The controller's work: store, mirrors, artifact server, driver.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluice_api::keys;
use sluice_api::managed::Managed as _;
use sluice_api::source::v1::GitRepository;
use sluice_artifact::Store;
use sluice_git::Mirrors;
use sluice_identity::{Cache, CacheEvent};
use sluice_runtime::{Handle, Host, Wiring, drive};
use sluice_tree::IgnoreLimits;

use crate::args::Options;
use crate::lost::Lost;
use crate::request::Allowed;
use crate::settle::OWNED;
use crate::tokens::Tokens;
use crate::{Context, reconcile, wire};

/// Beside the network operations, which have their own time, a pass packs.
const PACKING: Duration = Duration::from_secs(600);

/// Drives every GitRepository and serves artifacts until the host stops. Must only be called by the leader.
///
/// # Errors
/// When the store or the mirrors cannot be opened, the address is taken, or the driver fails.
pub async fn work(options: Options, host: Host) -> anyhow::Result<()> {
    let store = Store::open(options.store)?;
    let mirrors = Mirrors::new(options.mirrors, options.limits)?;
    let listener = sluice_runtime::serve::listen(&options.storage_addr).await?;
    let handle = Handle::new();
    let context = Context {
        client: host.client.clone(),
        handle: handle.clone(),
        store: store.clone(),
        mirrors,
        lost: Lost::default(),
        allowed: Allowed { service_accounts: options.service_accounts },
        tokens: Tokens {
            events: host.metrics.counter(
                "gotk_token_cache_events_total",
                "Total number of cache events, by object.",
                &["event_type", "kind", "name", "namespace", "operation"],
            ),
            cache: cache(options.tokens, options.token_lifetime, &host),
            environment: options.environment,
            default_service_account: options.default_service_account,
        },
        ssh: options.ssh,
        ignore: IgnoreLimits::default(),
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
    let serving =
        async { Ok::<_, anyhow::Error>(sluice_artifact::serve(store, listener, host.stop.clone()).await?) };
    let waking = async {
        wire::wake_includers(handle.clone(), host.stop.clone()).await;
        Ok(())
    };
    let driving =
        async { Ok(drive(wiring, handle.clone(), Arc::new(context), host.clone(), reconcile).await?) };
    tokio::try_join!(driving, waking, serving)?;
    Ok(())
}

/// A cache of tokens that is measured.
fn cache(size: usize, lifetime: Duration, host: &Host) -> Cache {
    let requests = host.metrics.counter(
        "gotk_token_cache_requests_total",
        "Total number of requests for a token, by outcome.",
        &["status"],
    );
    let evictions =
        host.metrics.counter("gotk_token_cache_evictions_total", "Total number of evicted tokens.", &[]);
    let held = host.metrics.gauge("gotk_token_cached_items", "Number of tokens that are kept.", &[]);
    // Counted here, since the cache cannot be asked from within.
    let count = Mutex::new(0_f64);
    Cache::new(size, lifetime, move |event| {
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CacheEvent::Hit => requests.inc(&["success"]),
            CacheEvent::Miss => {
                requests.inc(&["failure"]);
                *count = (*count + 1.0).min(size as f64);
            }
            CacheEvent::Failed => {}
            CacheEvent::Evicted => evictions.inc(&[]),
        }
        held.set(&[], *count);
    })
}
