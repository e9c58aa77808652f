//! The spine every controller runs on: flags, logs, metrics, probes, leadership, the queue, and
//! [`drive()`], the only caller of passes and the only writer of status.
//!
//! Never knows what a controller is for, and leaves no way for a controller to set a condition.
//! Only controllers (and tests) use it.

pub mod args;
pub mod client;
pub mod drive;
pub mod events;
pub mod gates;
mod guarded;
pub mod handle;
pub mod host;
mod ids;
mod index;
pub mod lease;
mod lock;
pub mod log;
pub mod metrics;
mod parking;
pub mod pass;
mod patch;
mod poster;
mod process;
pub mod program;
mod queue;
pub mod rbac;
mod record;
mod recorder;
pub mod schedule;
pub mod scope;
pub mod serve;
mod settle;
mod telemetry;
pub mod tls;
pub mod tokens;
mod visit;
pub mod wake;
pub mod watch;

pub use drive::{Wiring, drive};
pub use gates::{Gate, Gates};
pub use guarded::{Guarded, Unreadable};
pub use handle::{Change, Handle, Key, Urgency};
pub use host::Host;
pub use pass::{Aspect, Note, Pass, Readiness, Verdict};
pub use program::{Program, run};
pub use schedule::Pacing;
pub use scope::{Lost, Scope, Trigger};
pub use tokens::Tokens;
pub use wake::WakeKey;
pub use watch::WatchScope;
