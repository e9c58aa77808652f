use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use sluice_types::RelPath;

use super::{Index, Mark};
use crate::files::Kind;
use crate::hash::{Hash, letter};

/// Collects paths whose content hashes are already known.
#[derive(Clone, Debug, Default)]
pub struct IndexBuilder {
    root: Branch,
}

#[derive(Clone, Debug, Default)]
struct Branch {
    file: Option<(Hash, bool)>,
    entries: BTreeMap<Box<str>, Branch>,
}

impl IndexBuilder {
    /// Notes a directory and its parents.
    pub fn directory(&mut self, path: &RelPath) {
        self.branch(path).file = None;
    }

    /// Notes a file; the last word on a path counts.
    pub fn file(&mut self, path: &RelPath, content: Hash, executable: bool) {
        let branch = self.branch(path);
        branch.file = Some((content, executable));
        branch.entries.clear();
    }

    fn branch(&mut self, path: &RelPath) -> &mut Branch {
        let mut branch = &mut self.root;
        for segment in path.components() {
            branch.file = None;
            branch = branch.entries.entry(segment.into()).or_default();
        }
        branch
    }

    /// Computes the directories' hashes.
    pub fn finish(self) -> Index {
        let mut marks = BTreeMap::new();
        seal(&self.root, &RelPath::root(), &mut marks);
        Index { marks }
    }
}

fn seal(branch: &Branch, at: &RelPath, marks: &mut BTreeMap<RelPath, Mark>) -> Hash {
    let (mut listing, mut content) = (Sha256::new(), Sha256::new());
    for (name, below) in &branch.entries {
        let Ok(path) = at.join(name) else { continue };
        let (kind, hash) = match below.file {
            Some((hash, executable)) => {
                marks.insert(path, Mark::File { content: hash, executable });
                (if executable { Kind::Executable } else { Kind::File }, hash)
            }
            None => (Kind::Directory, seal(below, &path, marks)),
        };
        for state in [&mut listing, &mut content] {
            state.update([letter(kind)]);
            state.update(name.as_bytes());
            state.update([0]);
        }
        content.update(hash.as_bytes());
    }
    let content = Hash::from_bytes(content.finalize().into());
    marks.insert(
        at.clone(),
        Mark::Directory { listing: Hash::from_bytes(listing.finalize().into()), content },
    );
    content
}
