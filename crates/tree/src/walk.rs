use sluice_types::RelPath;

use crate::error::{Bound, Error};
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
    /// Entries times ignore rules: what deciding about them may cost.
    pub decisions: u64,
}

impl Default for PackLimits {
    fn default() -> Self {
        Self { entries: 1_000_000, depth: 256, bytes: 8 << 30, decisions: 1_000_000_000 }
    }
}

/// Everything that the rules leave, depth first, directories sorted by name, the root first. Below a
/// directory that stays out the walk goes on, so that a rule may bring back what lies there.
///
/// # Errors
/// What the tree reports, or [`Error::Exceeds`] beyond the limits.
pub fn select(files: &dyn Files, ignore: &Ignore, limits: PackLimits) -> Result<Vec<Item>, Error> {
    let root = Item { path: RelPath::root(), kind: Kind::Directory };
    let mut walk = Walk { files, ignore, limits, decisions: 0, items: vec![root] };
    walk.descend(&RelPath::root(), 0)?;
    Ok(walk.items)
}

struct Walk<'a> {
    files: &'a dyn Files,
    ignore: &'a Ignore,
    limits: PackLimits,
    decisions: u64,
    items: Vec<Item>,
}

impl Walk<'_> {
    fn descend(&mut self, dir: &RelPath, depth: usize) -> Result<(), Error> {
        let limits = self.limits;
        if depth > limits.depth {
            return Err(Error::Exceeds(Bound::Depth(limits.depth)));
        }
        for entry in self.files.list(dir)? {
            let path = dir.join(&entry.name)?;
            let directory = entry.kind == Kind::Directory;
            self.decisions += self.ignore.rules();
            if self.decisions > limits.decisions {
                return Err(Error::Exceeds(Bound::Decisions));
            }
            if !self.ignore.excludes(&path, directory) {
                if self.items.len() >= limits.entries {
                    return Err(Error::Exceeds(Bound::Entries(limits.entries)));
                }
                self.items.push(Item { path: path.clone(), kind: entry.kind });
            }
            if directory {
                self.descend(&path, depth + 1)?;
            }
        }
        Ok(())
    }
}
