use sluice_types::RelPath;

use crate::error::Error;
use crate::files::{Files, Kind};
use crate::ignore::Ignore;

/// One path of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where.
    pub path: RelPath,
    /// What.
    pub kind: Kind,
}

/// How large a tree may be that is packed.
#[derive(Clone, Copy, Debug)]
pub struct PackLimits {
    /// Files and directories.
    pub entries: usize,
    /// Directories below each other.
    pub depth: usize,
    /// Bytes of all files together, uncompressed.
    pub bytes: u64,
}

impl Default for PackLimits {
    fn default() -> Self {
        Self { entries: 1_000_000, depth: 256, bytes: 8 << 30 }
    }
}

/// Everything that the rules leave, depth first, directories sorted by name, the root first. Below a
/// directory that stays out the walk goes on, so that a rule may bring back what lies there.
///
/// # Errors
/// What the tree reports, or [`Error::Other`] beyond the limits.
pub fn select(files: &dyn Files, ignore: &Ignore, limits: PackLimits) -> Result<Vec<Item>, Error> {
    let mut items = vec![Item { path: RelPath::root(), kind: Kind::Directory }];
    descend(files, ignore, limits, &RelPath::root(), 0, &mut items)?;
    Ok(items)
}

fn descend(
    files: &dyn Files,
    ignore: &Ignore,
    limits: PackLimits,
    dir: &RelPath,
    depth: usize,
    items: &mut Vec<Item>,
) -> Result<(), Error> {
    if depth > limits.depth {
        return Err(Error::Other(format!("tree is deeper than {} directories", limits.depth)));
    }
    for entry in files.list(dir)? {
        let path = dir.join(&entry.name)?;
        let directory = entry.kind == Kind::Directory;
        if !ignore.excludes(&path, directory) {
            if items.len() >= limits.entries {
                return Err(Error::Other(format!("tree has more than {} entries", limits.entries)));
            }
            items.push(Item { path: path.clone(), kind: entry.kind });
        }
        if directory {
            descend(files, ignore, limits, &path, depth + 1, items)?;
        }
    }
    Ok(())
}
