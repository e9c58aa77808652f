//! Waiting for the network from a blocking thread: never past the deadline, never after the
//! caller lost interest, never for more bytes than allowed.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::limits::Bound;

/// Shared by everything that serves one operation on one remote.
#[derive(Clone)]
pub(crate) struct Waiter(Arc<Inner>);

struct Inner {
    runtime: Handle,
    deadline: Instant,
    cancel: CancellationToken,
    url: String,
    budget: AtomicU64,
    limit: u64,
    interrupt: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl Waiter {
    pub(crate) fn new(
        runtime: Handle,
        deadline: Instant,
        cancel: CancellationToken,
        url: String,
        limit: u64,
    ) -> Self {
        Self(Arc::new(Inner {
            runtime,
            deadline,
            cancel,
            url,
            budget: AtomicU64::new(limit),
            limit,
            interrupt: AtomicBool::new(false),
            failure: Mutex::default(),
        }))
    }

    /// Runs a future to its end from a blocking thread.
    pub(crate) fn wait<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        let inner = &self.0;
        inner.runtime.block_on(async {
            tokio::select! {
                biased;
                () = inner.cancel.cancelled() => Err(Error::Cancelled),
                output = future => Ok(output),
                () = tokio::time::sleep_until(inner.deadline) => Err(Error::Timeout { url: self.url() }),
            }
        })
    }

    /// Turns the interrupt flag on when the operation should end; for work that does not wait.
    pub(crate) async fn watch(self) {
        let inner = &self.0;
        let failure = tokio::select! {
            () = inner.cancel.cancelled() => Error::Cancelled,
            () = tokio::time::sleep_until(inner.deadline) => Error::Timeout { url: self.url() },
        };
        self.fail(failure);
        inner.interrupt.store(true, Ordering::Relaxed);
    }

    pub(crate) fn interrupt(&self) -> &AtomicBool {
        &self.0.interrupt
    }

    /// Counts received bytes.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), Error> {
        let bytes = bytes as u64;
        let spent =
            self.0.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        match spent {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Limit { url: self.url(), bound: Bound::Transfer(self.0.limit) }),
        }
    }

    /// Keeps the first failure, since the layers above only pass on that there was one.
    pub(crate) fn fail(&self, error: Error) -> std::io::Error {
        let text = error.to_string();
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        std::io::Error::other(text)
    }

    /// The kept failure.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets a failure that is answered by another attempt.
    pub(crate) fn forgive(&self) {
        *self.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn url(&self) -> String {
        self.0.url.clone()
    }
}
