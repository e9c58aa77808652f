//! Exchanges what identifies a controller or a ServiceAccount for short-lived tokens of Git providers and of
//! clouds' Kubernetes clusters.
//!
//! Never stores a token outside its bounded cache, never prints one, and reads no environment of its own:
//! [`Environment`] is handed in. Controllers may call it; nothing below them does.

pub mod aks;
pub mod aws;
pub mod azure;
mod cache;
mod environment;
mod error;
pub mod gcp;
pub mod github;
mod http;

pub use cache::{Cache, CacheEvent, Key};
pub use environment::Environment;
pub use error::Error;

use std::time::SystemTime;

use sluice_types::Redacted;

/// What a provider gave: how to sign in, and until when.
#[derive(Clone, Debug)]
pub struct Credential {
    /// How it is presented to the server.
    pub kind: Presented,
    /// When the provider stops accepting it.
    pub expires: SystemTime,
}

/// A cluster's API server, as its cloud tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiServer {
    /// Host or URL.
    pub address: String,
    /// PEM certificates that it is verified with.
    pub ca: Vec<u8>,
}

/// How a credential is presented.
#[derive(Clone, Debug)]
pub enum Presented {
    /// HTTP basic authentication.
    Basic {
        /// The user name; some providers put a session token into it.
        username: Redacted<String>,
        /// The password.
        password: Redacted<String>,
    },
    /// `Authorization: Bearer …`.
    Bearer(Redacted<String>),
}
