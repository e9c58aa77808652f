//! AWS: keys from wherever AWS puts them, signed into what lives fifteen minutes: a password for CodeCommit, a
//! bearer token for EKS.

pub mod eks;
mod keys;
mod signature;

pub(crate) use keys::element;
pub use keys::{Endpoints, Identity, Keys, keys};
pub use signature::{AUDIENCE, ROLE_ANNOTATION, Repository, is_role_arn};
