//! Stories about the controllers as processes, told once and played against any API server.
//!
//! Never reaches into a controller's crate: the controllers are the binaries that cargo built, spoken to over Git and the
//! API, and never runs outside loopback. Only the tests of this package may use it.
//! `SLUICE_KUBECONFIG` names a real server; without it every stage has a development API of its own.

mod ending;
pub mod kubectl;
pub mod loopback;
mod manifest;
pub mod site;
mod stage;

pub use ending::ending;
pub use manifest::config_map;
pub use stage::{LIMIT, Stage, observed};
