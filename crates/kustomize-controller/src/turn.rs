//! Builds take turns, and none outlasts the pass that wants it.

use std::sync::Arc;

use sluice_types::GoDuration;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::error::Failure;
use crate::limit::Limit;

/// Runs a build when it is its turn, and gives up at the limit. The build is told to stop as soon as nobody waits for
/// it any more, for whatever reason; its turn ends when it has.
pub(crate) async fn take<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    limit: Limit,
    cancel: &CancellationToken,
    build: impl FnOnce(&CancellationToken) -> T + Send + 'static,
) -> Result<T, Failure> {
    let late = |what: &str| {
        let timeout = GoDuration(limit.timeout);
        Failure::Build(format!("kustomize build failed: {what} within {timeout}: context deadline exceeded"))
    };
    let free = cancel.run_until_cancelled(Arc::clone(turns).acquire_owned());
    let Some(Ok(turn)) = timeout_at(limit.until, free).await.map_err(|_| late("its turn did not come"))?
    else {
        return Err(Failure::Overtaken);
    };
    let stop = cancel.child_token();
    let _given_up = stop.clone().drop_guard();
    let building = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        build(&stop)
    });
    match timeout_at(limit.until, building).await {
        Ok(Ok(_)) if cancel.is_cancelled() => Err(Failure::Overtaken),
        Ok(Ok(built)) => Ok(built),
        Ok(Err(error)) if error.is_panic() => {
            Err(Failure::Build("kustomize build failed: recovered from kustomize build panic".to_owned()))
        }
        Ok(Err(_)) => Err(Failure::Overtaken),
        Err(_) => Err(late("it did not finish")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::Instant;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn limit() -> Limit {
        Limit { until: Instant::now() + TIMEOUT, timeout: TIMEOUT }
    }

    fn text(failure: Failure) -> String {
        let Failure::Build(text) = failure else { unreachable!("it is the build that failed: {failure:?}") };
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_is_waited_for_until_the_timeout() {
        let turns = Arc::new(Semaphore::new(1));
        let _other = turns.clone().acquire_owned().await.unwrap();
        let began = Instant::now();
        let failure = take(&turns, limit(), &CancellationToken::new(), |_| ()).await.unwrap_err();
        assert_eq!(began.elapsed().as_secs(), TIMEOUT.as_secs());
        let expected = "kustomize build failed: its turn did not come within 30s: context deadline exceeded";
        assert_eq!(text(failure), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_that_does_not_end_is_cut_off_at_the_timeout_and_gives_its_turn_back() {
        let turns = Arc::new(Semaphore::new(1));
        let (limit, cancel) = (limit(), CancellationToken::new());
        let endless = take(&turns, limit, &cancel, |stop| {
            while !stop.is_cancelled() {
                std::thread::yield_now();
            }
        });
        let (outcome, ()) = tokio::join!(endless, tokio::time::advance(TIMEOUT));
        let expected = "kustomize build failed: it did not finish within 30s: context deadline exceeded";
        assert_eq!(text(outcome.unwrap_err()), expected);
        drop(turns.acquire().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_newer_ends_the_wait_and_the_build() {
        let turns = Arc::new(Semaphore::new(1));
        let cancel = CancellationToken::new();
        cancel.cancel();
        let other = turns.clone().acquire_owned().await.unwrap();
        assert!(matches!(take(&turns, limit(), &cancel, |_| ()).await, Err(Failure::Overtaken)));
        drop(other);
        let cancel = CancellationToken::new();
        let newer = cancel.clone();
        let outcome = take(&turns, limit(), &cancel, move |stop| {
            newer.cancel();
            stop.is_cancelled()
        });
        assert!(matches!(outcome.await, Err(Failure::Overtaken)));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_gives_its_turn_back() {
        let turns = Arc::new(Semaphore::new(1));
        let cancel = CancellationToken::new();
        let outcome = take(&turns, limit(), &cancel, |_| unreachable!("as it is tested"));
        let expected = "kustomize build failed: recovered from kustomize build panic";
        assert_eq!(text(outcome.await.unwrap_err()), expected);
        assert_eq!(turns.available_permits(), 1);
    }
}
