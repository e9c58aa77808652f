//! The tar headers that are written: USTAR, with a PAX header before it where a name does not fit.

use std::io;

use sluice_types::RelPath;
use tar::{Builder, EntryType, Header};

use crate::files::Kind;

/// Tar's unit.
pub(crate) const BLOCK: usize = 512;

/// Appends a file or directory. Owner, group and times are zero, modes fixed.
pub(crate) fn append<W: io::Write>(
    tar: &mut Builder<W>,
    path: &RelPath,
    kind: Kind,
    bytes: &[u8],
) -> io::Result<()> {
    let name = if path.is_root() { "." } else { path.as_str() };
    let (mode, entry) = match kind {
        Kind::File => (0o600, EntryType::Regular),
        Kind::Executable => (0o700, EntryType::Regular),
        Kind::Directory => (0o750, EntryType::Directory),
    };
    let mut header = Header::new_ustar();
    header.set_entry_type(entry);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    if !name.is_ascii() || header.set_path(name).is_err() {
        tar.append_pax_extensions([("path", name.as_bytes())])?;
        // What readers without PAX see.
        let plain: String =
            name.chars().rev().map(|c| if c.is_ascii() { c } else { '_' }).take(100).collect();
        let plain: String = plain.chars().rev().collect();
        header.set_path(plain.trim_start_matches('/'))?;
    }
    header.set_cksum();
    tar.append(&header, bytes)
}
