//! The time that a pass may take for everything outside of itself.

use std::time::Duration;

use sluice_types::GoDuration;
use tokio::time::Instant;

use crate::error::Failure;
use crate::request::Request;

/// The end of a phase, before the build or after it: `spec.timeout` after its beginning nothing is waited for any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) until: Instant,
    pub(crate) timeout: Duration,
}

impl Limit {
    /// Of a phase that begins now.
    pub(crate) fn of(request: &Request) -> Self {
        Self { until: Instant::now() + request.timeout, timeout: request.timeout }
    }

    /// Does something, if it can be done in time.
    pub(crate) async fn keep<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout_at(self.until, work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(Failure::Late(format!("timed out after {} while {doing}", GoDuration(self.timeout))))
            }
        }
    }
}
