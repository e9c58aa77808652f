//! AWS CodeCommit: keys from wherever AWS puts them, signed into a password that lives fifteen minutes.

mod keys;
mod signature;

pub(crate) use keys::element;
pub use keys::{Endpoints, Identity, Keys, keys};
pub use signature::{AUDIENCE, ROLE_ANNOTATION, Repository, is_role_arn};
