//! Stories about the controllers as processes, told once and played against any API server.
//!
//! Nothing here reaches into a crate: the controllers are the binaries that cargo built, spoken to over Git and the API.
//! `SLUICE_KUBECONFIG` names a real server; without it every stage has a development API of its own.

mod ending;
mod stage;

pub use ending::ending;
pub use stage::{LIMIT, Stage};
