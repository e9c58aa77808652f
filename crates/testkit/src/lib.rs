//! Servers, processes and repositories that scenarios, the demo and the benchmarks are made of.
//!
//! Development only: never linked into a controller, never talks to anything but loopback. Only F5 packages may use it.

pub mod git_server;
pub mod process;
pub mod repository;

pub use git_server::GitServer;
pub use process::{Process, Usage};
pub use repository::Repository;
