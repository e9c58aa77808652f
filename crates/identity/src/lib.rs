//! Exchanges what identifies a controller or a ServiceAccount for short-lived tokens of Git providers.
//!
//! Never stores a token outside its bounded cache, never prints one, and reads no environment of its own:
//! [`Environment`] is handed in. Controllers may call it; nothing below them does.

pub mod aws;
pub mod azure;
mod cache;
mod environment;
mod error;
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
    /// How it is presented to the Git server.
    pub kind: Presented,
    /// When the provider stops accepting it.
    pub expires: SystemTime,
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
