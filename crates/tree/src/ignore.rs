use sluice_types::RelPath;

use crate::error::{Bound, Error};
use crate::files::{Files, Kind};

mod glob;
mod pattern;

use pattern::Pattern;

/// The file that carries rules for its directory and everything below.
pub const IGNORE_FILE: &str = ".sourceignore";

/// Excluded whatever the user writes, unless a later rule brings it back.
const VCS: &[&str] = &[".git/", ".gitignore", ".gitmodules", ".gitattributes"];

/// Excluded as long as the user writes no rule at all.
const DEFAULTS: &[&str] = &[
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// A line this long ends the reading of its file.
const LINE_BYTES: usize = 64 << 10;

/// How much a tree's rules may cost.
#[derive(Clone, Copy, Debug)]
pub struct IgnoreLimits {
    /// Bytes of one file of rules.
    pub file_bytes: usize,
    /// Rules of all files together.
    pub patterns: usize,
    /// Directories below each other.
    pub depth: usize,
}

impl Default for IgnoreLimits {
    fn default() -> Self {
        Self { file_bytes: 1 << 20, patterns: 10_000, depth: 256 }
    }
}

/// Which paths of a tree stay out of its archive. The last rule that matches a path decides.
#[derive(Clone, Debug)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

impl Ignore {
    /// Rules from every `.sourceignore` of a tree, each scoped to its directory, and then from `extra`,
    /// which therefore wins. Without a single rule the default exclusions apply.
    ///
    /// # Errors
    /// What the tree reports, or [`Error::Exceeds`] beyond the limits.
    pub fn load(files: &dyn Files, extra: Option<&str>, limits: IgnoreLimits) -> Result<Self, Error> {
        let mut user = Vec::new();
        collect(files, &RelPath::root(), &mut user, limits, 0)?;
        parse(extra.unwrap_or_default(), &RelPath::root(), &mut user);
        if user.len() > limits.patterns {
            return Err(Error::Exceeds(Bound::Rules(limits.patterns)));
        }
        Ok(Self::from_user(user))
    }

    /// Rules from a text alone, as [`Ignore::load`] on a tree without files of rules.
    pub fn parse(text: &str) -> Self {
        let mut user = Vec::new();
        parse(text, &RelPath::root(), &mut user);
        Self::from_user(user)
    }

    /// Excludes nothing.
    pub const fn none() -> Self {
        Self { patterns: Vec::new() }
    }

    fn from_user(user: Vec<Pattern>) -> Self {
        let fixed = |lines: &[&str]| -> Vec<Pattern> {
            lines.iter().map(|line| Pattern::new(line, &RelPath::root())).collect()
        };
        let mut patterns = fixed(VCS);
        patterns.extend(if user.is_empty() { fixed(DEFAULTS) } else { user });
        Self { patterns }
    }

    /// How many rules there are.
    pub(crate) const fn rules(&self) -> u64 {
        self.patterns.len() as u64
    }

    /// True if the path stays out. A directory that stays out does not take along what lies below it:
    /// every path is asked for itself.
    pub fn excludes(&self, path: &RelPath, directory: bool) -> bool {
        let segments: Vec<&str> = path.components().collect();
        let decisive = self.patterns.iter().rev().find(|pattern| pattern.matches(&segments, directory));
        decisive.is_some_and(|pattern| !pattern.includes())
    }
}

fn collect(
    files: &dyn Files,
    dir: &RelPath,
    patterns: &mut Vec<Pattern>,
    limits: IgnoreLimits,
    depth: usize,
) -> Result<(), Error> {
    if depth > limits.depth {
        return Err(Error::Exceeds(Bound::Depth(limits.depth)));
    }
    let entries = files.list(dir)?;
    if entries.iter().any(|entry| entry.name == IGNORE_FILE && entry.kind.is_file()) {
        let path = dir.join(IGNORE_FILE)?;
        let bytes = files.read(&path)?;
        if bytes.len() > limits.file_bytes {
            return Err(Error::TooLarge { path, limit: limits.file_bytes as u64 });
        }
        parse(&String::from_utf8_lossy(&bytes), dir, patterns);
        if patterns.len() > limits.patterns {
            return Err(Error::Exceeds(Bound::Rules(limits.patterns)));
        }
    }
    for entry in entries {
        if entry.kind == Kind::Directory && entry.name != ".git" {
            collect(files, &dir.join(&entry.name)?, patterns, limits, depth + 1)?;
        }
    }
    Ok(())
}

fn parse(text: &str, scope: &RelPath, patterns: &mut Vec<Pattern>) {
    for line in text.split('\n') {
        if line.len() >= LINE_BYTES {
            return;
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.starts_with('#') && !line.trim().is_empty() {
            patterns.push(Pattern::new(line, scope));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn excludes(ignore: &Ignore, path: &str) -> bool {
        let directory = path.ends_with('/');
        ignore.excludes(&RelPath::new(path).unwrap(), directory)
    }

    #[test]
    fn rules_match_as_go_git_matches_them() {
        // pattern, what it excludes, what it does not; a trailing slash in a path marks a directory
        for (rules, out, kept) in [
            ("foo", &["foo", "foo/", "a/foo", "foo/bar", "a/foo/b"][..], &["foobar", "a/barfoo"][..]),
            ("foo/", &["foo/", "foo/bar", "a/foo/b"], &["foo", "a/foo"]),
            ("/foo", &["foo", "foo/", "foo/bar"], &["a/foo"]),
            ("a/b", &["a/b", "a/b/c"], &["x/a/b", "a", "a/"]),
            ("a/b/", &["a/b/", "a/b/c"], &["a/b"]),
            ("a/*", &["a/x", "a/x/y"], &["a/", "b/a/x"]),
            ("a/**", &["a/x", "a/x/y"], &["a", "a/"]),
            ("**/b", &["b", "x/b", "x/y/b", "x/b/y"], &["bb", "x/"]),
            ("**/a/b", &["a/b", "x/a/b"], &["a/x/b", "a/x/a/b"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/x", "b"]),
            ("a**b/c", &[], &["ab/c", "a/b/c"]),
            ("*.yaml", &["x.yaml", "a/x.yaml", "d.yaml/x"], &["x.yml"]),
            ("*", &["x", "a/x", "a/"], &[]),
            ("/*", &["x", "a/x"], &[]),
            ("/**", &[], &["x", "a/x"]),
            ("file[0-9].txt", &["file1.txt"], &["filea.txt", "file12.txt"]),
            ("file[^0-9]", &["filea"], &["file1"]),
            ("file[!0]", &["file!", "file0"], &["file1"]),
            ("file[", &[], &["file[", "file"]),
            ("file[]", &[], &["file]", "file[]"]),
            ("file[a-]", &[], &["filea", "file-"]),
            ("fo\\", &[], &["fo", "fo\\"]),
            ("\\#x", &["#x"], &["x"]),
            ("\\!x", &["!x"], &["x"]),
            ("f?o", &["foo", "fäo"], &["fo", "fooo"]),
            ("trail  ", &["trail"], &["trail "]),
            ("trail\\ ", &["trail "], &["trail"]),
            ("cr\r", &["cr"], &["cr\r"]),
            ("#comment\n  \nx", &["x"], &["#comment"]),
            ("*\n!deploy/\n!deploy/*.yaml", &["x", "README"], &["deploy/", "deploy/a.yaml"]),
            ("a\n!a/keep", &["a/", "a/x"], &["a/keep"]),
        ] {
            let ignore = Ignore::parse(rules);
            for path in out {
                assert!(excludes(&ignore, path), "{rules:?} should exclude {path}");
            }
            for path in kept {
                assert!(!excludes(&ignore, path), "{rules:?} should keep {path}");
            }
        }
    }

    #[test]
    fn defaults_apply_until_the_user_writes_a_rule() {
        for text in ["", "# only a comment", " \n\t\n"] {
            let ignore = Ignore::parse(text);
            for path in ["a.zip", ".github/", ".github/x", ".git/", "x/.sops.yaml", ".gitignore", "a/b.png"] {
                assert!(excludes(&ignore, path), "{path}");
            }
        }
        let ignore = Ignore::parse("docs/");
        assert!(!excludes(&ignore, "a.zip") && !excludes(&ignore, ".github/x"));
        assert!(excludes(&ignore, ".git/") && excludes(&ignore, "docs/x"));
    }

    #[test]
    fn files_of_rules_are_scoped_to_their_directory() {
        let tree = Memory::of([
            ("a/.sourceignore", "*.txt\n/top"),
            ("a/top", ""),
            ("b/.sourceignore", "!keep.txt"),
            (".sourceignore", "*.md"),
        ])
        .unwrap();
        let ignore = Ignore::load(&tree, None, IgnoreLimits::default()).unwrap();
        for path in ["a/x.txt", "a/c/x.txt", "a/top", "x.md", "b/x.md"] {
            assert!(excludes(&ignore, path), "{path}");
        }
        for path in ["b/x.txt", "top", "a/c/top", "b/top", "ab/x.txt", "a/.sourceignore"] {
            assert!(!excludes(&ignore, path), "{path}");
        }
    }

    #[test]
    fn the_object_has_the_last_word() {
        let tree = Memory::of([(".sourceignore", "a\n!b"), ("a", ""), ("b", "")]).unwrap();
        let ignore = Ignore::load(&tree, Some("!a\nb"), IgnoreLimits::default()).unwrap();
        assert!(!excludes(&ignore, "a") && excludes(&ignore, "b"));
    }

    #[test]
    fn an_overlong_line_ends_the_reading() {
        let ignore = Ignore::parse(&format!("a\n{}\nb", "x".repeat(LINE_BYTES)));
        assert!(excludes(&ignore, "a") && !excludes(&ignore, "b"));
    }

    #[test]
    fn too_many_rules_are_an_error() {
        let tree = Memory::of([(".sourceignore", "a\nb\nc")]).unwrap();
        let limits = IgnoreLimits { patterns: 2, ..IgnoreLimits::default() };
        assert!(Ignore::load(&tree, None, limits).is_err());
        let limits = IgnoreLimits { file_bytes: 2, ..IgnoreLimits::default() };
        assert!(Ignore::load(&tree, None, limits).is_err());
    }
}
