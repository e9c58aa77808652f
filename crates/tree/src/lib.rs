//! Read-only file trees: the trait that every engine reads through, trees in memory, ignore rules,
//! packing to and unpacking from `tar.gz`, and the index that tells which paths differ.
//!
//! Never touches a file system, a clock or the network, and never panics on hostile input: archives,
//! indexes and patterns come from tenants. Anything above this floor may call it.

mod error;
mod files;
mod hash;
mod ignore;
mod index;
mod memory;
mod overlay;
mod pack;
mod readset;
mod unpack;
mod ustar;
mod walk;

pub use error::{Bound, Error};
pub use files::{Entry, Files, Kind};
pub use hash::Hash;
pub use ignore::{IGNORE_FILE, Ignore, IgnoreLimits};
pub use index::{Index, IndexBuilder, IndexError, IndexLimits, Mark};
pub use memory::Memory;
pub use overlay::Overlay;
pub use pack::{Cutter, PACK_FORMAT, Part, content, member, member_key, pack, runs, trailer};
pub use readset::{ReadSet, Recording};
pub use unpack::{Sink, UnpackError, UnpackLimits, unpack, unpack_to_memory};
pub use walk::{Item, PackLimits, select};
