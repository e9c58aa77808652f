//! End states and requests of applies and deletions, against a small API server.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod apply;
mod delete;
mod fake;
mod objects;
mod reach;
mod watch;
