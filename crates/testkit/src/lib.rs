//! Servers, processes and repositories that scenarios, the demo and the benchmarks are made of.
//!
//! Development only: never linked into a controller, never talks to anything but loopback. Only F5 packages may use it.

pub mod git_server;
pub mod port;
pub mod process;
pub mod proxy;
pub mod repository;
pub mod waiting;
pub mod workloads;

pub use git_server::GitServer;
pub use port::free_port;
pub use process::{Process, Usage};
pub use proxy::{Fault, Proxy, Rule};
pub use repository::Repository;
pub use workloads::Workloads;
