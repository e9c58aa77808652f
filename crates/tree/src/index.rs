use std::collections::BTreeMap;
use std::fmt::Write as _;

use sluice_types::{Algorithm, Digest, RelPath};

use crate::error::{Bound, Error};
use crate::files::{Files, Kind};
use crate::hash::Hash;

mod builder;

pub use builder::IndexBuilder;

/// What an index knows about one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A regular file.
    File {
        /// Of its bytes.
        content: Hash,
        /// Its executable bit.
        executable: bool,
    },
    /// A directory.
    Directory {
        /// Of the names and kinds of its direct entries.
        listing: Hash,
        /// Of everything below it: equal hashes mean equal subtrees.
        content: Hash,
    },
}

impl Mark {
    /// What lies there.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::File { executable: false, .. } => Kind::File,
            Self::File { executable: true, .. } => Kind::Executable,
            Self::Directory { .. } => Kind::Directory,
        }
    }
}

/// How large an index may be that is read from outside.
#[derive(Clone, Copy, Debug)]
pub struct IndexLimits {
    /// Of the text.
    pub bytes: usize,
    /// Lines.
    pub entries: usize,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self { bytes: 64 << 20, entries: 1_000_000 }
    }
}

/// Why a text is no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Larger than allowed.
    #[error("index exceeds the limit of {0} {1}")]
    Limit(usize, &'static str),
    /// Another format, or damaged.
    #[error("index line {0} is malformed")]
    Malformed(usize),
}

/// The content hash of every path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    marks: BTreeMap<RelPath, Mark>,
}

const HEADER: &str = "sluice-index 1";

impl Index {
    /// Hashes a whole tree. Recursion is bounded by `depth`.
    ///
    /// # Errors
    /// What the tree reports; [`Error::Exceeds`] when it is deeper than 256 directories.
    pub fn of(files: &dyn Files) -> Result<Self, Error> {
        let mut builder = IndexBuilder::default();
        walk(files, &RelPath::root(), 0, &mut builder)?;
        Ok(builder.finish())
    }

    /// What lies at a path.
    pub fn get(&self, path: &RelPath) -> Option<&Mark> {
        self.marks.get(path)
    }

    /// Every path and its mark, in path order, the root included.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, &Mark)> {
        self.marks.iter()
    }

    /// The number of paths, directories included.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// True when not even the root is known.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The content hash of a file or of everything below a directory.
    pub fn content(&self, path: &RelPath) -> Option<Hash> {
        self.get(path).map(|mark| match mark {
            Mark::File { content, .. } | Mark::Directory { content, .. } => *content,
        })
    }

    /// The text form: equal trees give equal texts.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.marks.len() * 128);
        text.push_str(HEADER);
        text.push('\n');
        for (path, mark) in &self.marks {
            let _ = match mark {
                Mark::File { content, executable } => {
                    write!(text, "{} {content} ", if *executable { 'x' } else { 'f' })
                }
                Mark::Directory { listing, content } => write!(text, "d {listing} {content} "),
            };
            escape(path.as_str(), &mut text);
            text.push('\n');
        }
        text
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is larger than allowed or not what [`Index::to_text`] writes.
    pub fn parse(text: &str, limits: IndexLimits) -> Result<Self, IndexError> {
        if text.len() > limits.bytes {
            return Err(IndexError::Limit(limits.bytes, "bytes"));
        }
        let mut lines = text.split_terminator('\n').enumerate();
        if lines.next().is_none_or(|(_, line)| line != HEADER) || !text.ends_with('\n') {
            return Err(IndexError::Malformed(1));
        }
        let mut marks = BTreeMap::new();
        for (number, line) in lines {
            if marks.len() >= limits.entries {
                return Err(IndexError::Limit(limits.entries, "entries"));
            }
            let (path, mark) = parse_line(line).ok_or(IndexError::Malformed(number + 1))?;
            if marks.insert(path, mark).is_some() {
                return Err(IndexError::Malformed(number + 1));
            }
        }
        Ok(Self { marks })
    }

    /// The SHA-256 of the text form.
    pub fn digest(&self) -> Digest {
        Digest::of(Algorithm::Sha256, self.to_text().as_bytes())
    }
}

fn walk(files: &dyn Files, dir: &RelPath, depth: usize, builder: &mut IndexBuilder) -> Result<(), Error> {
    if depth > 256 {
        return Err(Error::Exceeds(Bound::Depth(256)));
    }
    builder.directory(dir);
    for entry in files.list(dir)? {
        let path = dir.join(&entry.name)?;
        match entry.kind {
            Kind::Directory => walk(files, &path, depth + 1, builder)?,
            kind => builder.file(&path, Hash::of(&files.read(&path)?), kind == Kind::Executable),
        }
    }
    Ok(())
}

fn parse_line(line: &str) -> Option<(RelPath, Mark)> {
    let (letter, rest) = line.split_once(' ')?;
    let (first, rest) = rest.split_once(' ')?;
    let first = Hash::parse(first)?;
    let (mark, path) = match letter {
        "f" | "x" => (Mark::File { content: first, executable: letter == "x" }, rest),
        "d" => {
            let (second, rest) = rest.split_once(' ')?;
            (Mark::Directory { listing: first, content: Hash::parse(second)? }, rest)
        }
        _ => return None,
    };
    let text = unescape(path)?;
    let path = RelPath::new(&text).ok()?;
    (path.as_str() == text).then_some((path, mark))
}

fn escape(path: &str, out: &mut String) {
    for c in path.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn an_index_survives_its_text_form() {
        let mut tree = Memory::of([("a/x", "1"), ("a/\\odd\nname", "2"), ("b", "3")]).unwrap();
        tree.insert_executable(&path("run.sh"), *b"#!").unwrap();
        tree.make_directory(&path("empty")).unwrap();
        let index = Index::of(&tree).unwrap();
        assert_eq!(Index::parse(&index.to_text(), IndexLimits::default()), Ok(index.clone()));
        assert_eq!(index.get(&path("run.sh")).unwrap().kind(), Kind::Executable);
        assert_eq!(index.digest(), Index::parse(&index.to_text(), IndexLimits::default()).unwrap().digest());
    }

    #[test]
    fn a_changed_file_moves_its_directories_content_but_no_listing() {
        let before = Index::of(&Memory::of([("a/b/x", "1"), ("c/y", "2")]).unwrap()).unwrap();
        let after = Index::of(&Memory::of([("a/b/x", "9"), ("c/y", "2")]).unwrap()).unwrap();
        for dir in ["", "a", "a/b"] {
            let (
                Some(Mark::Directory { listing: l1, content: c1 }),
                Some(Mark::Directory { listing: l2, content: c2 }),
            ) = (before.get(&path(dir)), after.get(&path(dir)))
            else {
                panic!("{dir} is no directory");
            };
            assert_eq!(l1, l2);
            assert_ne!(c1, c2);
        }
        assert_eq!(before.content(&path("c")), after.content(&path("c")));
    }

    #[test]
    fn a_listing_hashes_the_same_from_entries_and_from_the_index() {
        let tree = Memory::of([("a/x", "1"), ("b", "3")]).unwrap();
        let index = Index::of(&tree).unwrap();
        let Some(Mark::Directory { listing, .. }) = index.get(&RelPath::root()) else { panic!("no root") };
        assert_eq!(*listing, Hash::of_listing(&tree.list(&RelPath::root()).unwrap()));
    }

    #[test]
    fn damaged_or_oversized_texts_are_refused() {
        let good = Index::of(&Memory::of([("a", "1")]).unwrap()).unwrap().to_text();
        let limits = IndexLimits::default();
        for text in [
            String::new(),
            good.replace("sluice-index 1", "sluice-index 2"),
            good.replace(" a\n", " ../a\n"),
            good.replace(" a\n", " /a\n"),
            good.trim_end().to_owned(),
            format!("{good}z\n"),
            format!("{good}{}", good.lines().last().unwrap()),
        ] {
            assert!(Index::parse(&text, limits).is_err(), "{text}");
        }
        assert!(Index::parse(&good, IndexLimits { bytes: 10, ..limits }).is_err());
        assert!(Index::parse(&good, IndexLimits { entries: 1, ..limits }).is_err());
    }
}
