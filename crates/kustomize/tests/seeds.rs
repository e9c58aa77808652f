//! The fuzzer's checks over its seeds, our fixtures, and what becomes of both when they are spoilt a little.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../fuzz/src/kustomization.rs"]
mod kustomization;
#[path = "../../../fuzz/src/yaml.rs"]
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};

/// How often each seed is spoilt.
const TIMES: u64 = 8;

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Contents of all files below the directories.
fn seeds(dirs: &[&str]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for dir in dirs {
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut found);
    }
    found.sort();
    found.iter().map(|path| fs::read(path).unwrap()).filter(|bytes| bytes.len() < 10_000).collect()
}

/// Numbers that are the same every time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) as usize % end.max(1)
    }
}

/// Puts, takes and copies a few pieces.
fn spoil(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const PIECES: &[&str] = &[
        "\n", "  ", "- ", ": ", "---\n", "&a ", "*a", "<<: ", "!!str ", "|\n", ">-\n", "\"", "'", "{", "}",
        "[", "]", "#", "~", "é", "\t", "\0", "? ", "%", ",",
    ];
    let mut spoilt = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(spoilt.len() + 1);
        let end = (at + numbers.below(12)).min(spoilt.len());
        match numbers.below(3) {
            0 => drop(spoilt.drain(at..end)),
            1 => {
                let piece = PIECES[numbers.below(PIECES.len())];
                drop(spoilt.splice(at..at, piece.bytes()));
            }
            _ => {
                let copy = spoilt[at..end].to_vec();
                let to = numbers.below(spoilt.len() + 1);
                drop(spoilt.splice(to..to, copy));
            }
        }
    }
    spoilt
}

fn check(seeds: &[Vec<u8>], check: fn(&[u8])) {
    assert!(seeds.len() > 10);
    let mut numbers = Numbers(7);
    for seed in seeds {
        check(seed);
        for _ in 0..TIMES {
            check(&spoil(seed, &mut numbers));
        }
    }
}

#[test]
fn what_is_read_as_yaml_is_the_same_after_it_was_written() {
    check(&seeds(&["../../fuzz/seeds", "tests/fixtures"]), yaml::yaml);
}

/// The files of one fixture in the form the fuzzer reads: a line with a name before each but the first.
fn joined(case: &Path) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    files(&case.join("in"), &mut found);
    found.sort();
    let first = found
        .iter()
        .position(|path| path.parent() == Some(&case.join("in")) && path.ends_with("kustomization.yaml"))?;
    let mut joined = fs::read(found.remove(first)).unwrap();
    for path in found {
        joined.extend(format!("\n=== {}\n", path.strip_prefix(case.join("in")).unwrap().display()).bytes());
        joined.extend(fs::read(path).unwrap());
    }
    Some(joined)
}

#[test]
fn kustomizations_are_built_or_refused() {
    let mut all = seeds(&["../../fuzz/seeds/kustomization"]);
    let cases = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap();
    let mut cases: Vec<PathBuf> =
        cases.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    all.extend(cases.iter().filter_map(|case| joined(case)));
    check(&all, kustomization::kustomization);
}
