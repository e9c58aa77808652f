//! From a commit's tree to a list of files; whatever could harm a checkout is refused.

use std::collections::HashMap;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::TreeRefIter;
use gix::objs::tree::EntryKind;
use sluice_tree::Kind;
use sluice_types::RelPath;

use crate::checkout::Skipped;
use crate::depot::{self, Depot};
use crate::error::Error;
use crate::limits::{Bound, Limits};
use crate::object;
use crate::reader::Reader;
use crate::snapshot::Snapshot;

/// Paths of symbolic links that are kept for a warning.
const NAMED: usize = 10;

/// A submodule's place.
pub(crate) struct Gitlink {
    pub(crate) path: RelPath,
    pub(crate) commit: ObjectId,
}

/// What hangs on a repository.
#[derive(Default)]
pub(crate) struct Branches {
    pub(crate) gitlinks: Vec<Gitlink>,
    /// The file that tells where they come from.
    pub(crate) gitmodules: Option<ObjectId>,
}

/// Fills a snapshot, one repository after the other.
pub(crate) struct Walk {
    pub(crate) snapshot: Snapshot,
    pub(crate) skipped: Skipped,
    sparse: Vec<RelPath>,
    left: usize,
    entries: usize,
    depth: usize,
}

impl Walk {
    pub(crate) fn new(sparse: &[String], limits: &Limits) -> Self {
        // As a chroot would see them: nothing above the root can be asked for.
        let sparse = sparse.iter().map(|dir| RelPath::clamped(dir)).collect();
        let snapshot = Snapshot::new(limits.file_bytes);
        let (entries, depth) = (limits.entries, limits.depth);
        Self { snapshot, skipped: Skipped::default(), sparse, left: entries, entries, depth }
    }

    /// Whether something at or below `path` may be wanted.
    pub(crate) fn wants(&self, path: &RelPath) -> bool {
        self.inside(path) || self.sparse.iter().any(|dir| dir.starts_with(path))
    }

    fn inside(&self, path: &RelPath) -> bool {
        self.sparse.is_empty() || self.sparse.iter().any(|dir| path.starts_with(dir))
    }

    /// Adds a commit's tree below `prefix` and answers its submodules. Blocks.
    pub(crate) fn add(
        &mut self,
        depot: &Arc<Depot>,
        commit: ObjectId,
        prefix: &RelPath,
    ) -> Result<Branches, Error> {
        let reader = Reader::new(depot.clone());
        let read = |id: ObjectId| reader.read(&id, depot::STRUCTURE).map_err(Error::from);
        let (_, raw) = read(commit)?;
        let malformed = |path: &RelPath| hostile(commit, path.as_str(), "is malformed");
        let root = object::links(&raw).ok_or_else(|| malformed(prefix))?.tree;
        let number = self.snapshot.add_depot(depot.clone());
        self.snapshot.add_directory(prefix.clone(), root);
        let mut branches = Branches::default();
        let mut stack = vec![(prefix.clone(), root)];
        while let Some((dir, id)) = stack.pop() {
            if dir.components().count() > self.depth {
                return Err(Error::Limit { url: String::new(), bound: Bound::Depth(self.depth) });
            }
            let (_, raw) = read(id)?;
            let mut seen: HashMap<String, EntryKind> = HashMap::new();
            for entry in TreeRefIter::from_bytes(&raw, gix::hash::Kind::Sha1) {
                let entry = entry.map_err(|_| malformed(&dir))?;
                self.left = self.left.checked_sub(1).ok_or_else(|| Error::Limit {
                    url: String::new(),
                    bound: Bound::Entries(self.entries),
                })?;
                let name: &[u8] = entry.filename;
                if let Some(why) = danger(name) {
                    let name = String::from_utf8_lossy(name).escape_debug().to_string();
                    return Err(hostile(commit, &format!("{dir}/{name}"), why));
                }
                let Ok(name) = std::str::from_utf8(name) else {
                    self.skipped.unnamed += 1;
                    self.snapshot.taint(&dir);
                    continue;
                };
                let kind = entry.mode.kind();
                collide(&mut seen, name, kind)
                    .map_err(|why| hostile(commit, &format!("{dir}/{name}"), why))?;
                let path = dir.join(name).map_err(|_| malformed(&dir))?;
                let id = entry.oid.to_owned();
                if dir == *prefix && name == ".gitmodules" && kind == EntryKind::Blob {
                    branches.gitmodules = Some(id);
                }
                match kind {
                    EntryKind::Tree if self.wants(&path) => {
                        self.snapshot.add_directory(path.clone(), id);
                        stack.push((path, id));
                    }
                    EntryKind::Blob if self.inside(&path) => {
                        self.snapshot.add_file(path, Kind::File, id, number);
                    }
                    EntryKind::BlobExecutable if self.inside(&path) => {
                        self.snapshot.add_file(path, Kind::Executable, id, number);
                    }
                    EntryKind::Link if self.inside(&path) => {
                        self.snapshot.taint(&dir);
                        self.skipped.symlinks += 1;
                        if self.skipped.symlink_paths.len() < NAMED {
                            self.skipped.symlink_paths.push(path);
                        }
                    }
                    EntryKind::Commit if self.wants(&path) => {
                        self.snapshot.taint(&dir);
                        branches.gitlinks.push(Gitlink { path, commit: id });
                    }
                    _ => self.snapshot.taint(&dir),
                }
            }
        }
        Ok(branches)
    }

    /// The finished snapshot; every sparse directory must exist in it.
    pub(crate) fn finish(self) -> Result<(Snapshot, Skipped), Error> {
        match self.sparse.iter().find(|dir| !self.snapshot.exists(dir)) {
            Some(dir) => Err(Error::SparseMissing(dir.as_str().to_owned())),
            None => Ok((self.snapshot, self.skipped)),
        }
    }
}

fn hostile(commit: ObjectId, path: &str, why: &'static str) -> Error {
    let path = path.trim_start_matches("./").to_owned();
    Error::Hostile { hash: commit.to_string(), path, why }
}

/// Two names that a case-insensitive file system takes for one, where that lets a link or a
/// submodule stand in for a directory.
fn collide(seen: &mut HashMap<String, EntryKind>, name: &str, kind: EntryKind) -> Result<(), &'static str> {
    let Some(other) = seen.insert(name.to_lowercase(), kind) else { return Ok(()) };
    let redirects = |kind| matches!(kind, EntryKind::Link | EntryKind::Commit);
    if redirects(kind) != redirects(other) || kind == other && redirects(kind) {
        return Err("collides with another one that differs in case only");
    }
    Ok(())
}

/// What makes a name dangerous to write into a directory.
fn danger(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() || name == b"." || name == b".." {
        return Some("leads out of its directory");
    }
    if name.iter().any(|b| matches!(b, b'/' | b'\\' | 0)) {
        return Some("contains a path separator");
    }
    let text = String::from_utf8_lossy(name);
    // Some file systems drop these characters, turning `.g\u{200c}it` into `.git`.
    let ignored = |c: &char| matches!(*c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let folded: String = text.chars().filter(|c| !ignored(c)).flat_map(char::to_lowercase).collect();
    // Others cut streams (`:`) and trailing dots and spaces off, or know short names.
    let plain = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    matches!(plain, ".git" | "git~1").then_some("would be taken for a git directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_or_a_file_system_would_misread_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            ".git",
            ".GIT",
            ".Git",
            ".git.",
            ".git ",
            ".git . .",
            "git~1",
            "GIT~1",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it",
            ".gi\u{feff}t",
            "\u{200d}.git",
        ] {
            assert!(danger(name.as_bytes()).is_some(), "{name:?}");
        }
        for name in
            [".gitignore", ".gitmodules", ".github", "git", "git~2", "a.git", "...", ".gitx", "\u{e4}"]
        {
            assert!(danger(name.as_bytes()).is_none(), "{name:?}");
        }
    }

    #[test]
    fn case_collisions_are_refused_where_one_redirects() {
        let check = |a: EntryKind, b: EntryKind| {
            let mut seen = HashMap::new();
            collide(&mut seen, "Dir", a).unwrap();
            collide(&mut seen, "dir", b).is_ok()
        };
        assert!(check(EntryKind::Blob, EntryKind::Blob));
        assert!(check(EntryKind::Tree, EntryKind::Blob));
        assert!(!check(EntryKind::Link, EntryKind::Tree));
        assert!(!check(EntryKind::Tree, EntryKind::Commit));
        assert!(!check(EntryKind::Link, EntryKind::Link));
    }
}
