use std::time::Duration;

/// When another attempt could change the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The world may differ soon: exponential, per object.
    Backoff,
    /// The callee named a time (HTTP 429, the expiry of a token).
    After(Duration),
    /// Only a new trigger (spec, source revision, request) can help: the object is stalled.
    OnChange,
}

/// An error that knows when trying again could help; answered by the adapter that saw it.
pub trait Classify: std::error::Error {
    /// The retry class of this error.
    fn retry(&self) -> Retry;
}
