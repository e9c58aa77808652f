//! Public keys that signatures are checked against: OpenPGP key rings and SSH keys.
//!
//! Never does IO, never reads the clock (callers say what time it is), and never sees a private
//! key. Called by what verifies Git objects; keys and signatures come from tenants.

mod openpgp;
mod signature;
mod ssh;

pub use openpgp::{KeyRing, KeyRingError};
pub use signature::{Kind, SignatureError, verify};
pub use ssh::{SshKeys, SshKeysError};
