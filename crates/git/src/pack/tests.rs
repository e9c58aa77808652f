use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use super::*;

fn git(dir: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@y"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}");
    output.stdout
}

/// Many similar files, so that they are written down as deltas, in lines.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "-b", "main"], b"");
    for number in 0..40 {
        let lines = (0..200).map(|line| match line % 40 == number {
            true => format!("line {line} of file {number} only\n"),
            false => format!("line {line} of all files, number {}\n", line * 7919 % 1009),
        });
        std::fs::write(dir.path().join(format!("file-{number}")), lines.collect::<String>()).unwrap();
    }
    git(dir.path(), &["add", "-A"], b"");
    git(dir.path(), &["commit", "-qm", "one"], b"");
    dir
}

fn packed(dir: &Path, revisions: &str, more: &[&str]) -> Vec<u8> {
    let args = [&["pack-objects", "-q", "--stdout", "--revs", "--depth=30", "--window=40"], more].concat();
    git(dir, &args, revisions.as_bytes())
}

fn receive(dir: &Path, mut bytes: &[u8], limit: u64) -> Result<Pack, PackError> {
    Pack::receive(&mut bytes, &dir.join("incoming.pack"), limit, &AtomicBool::new(false))
}

fn resolved(dir: &Path, bytes: &[u8]) -> Result<Pack, PackError> {
    let mut pack = receive(dir, bytes, 1 << 20)?;
    pack.resolve(&|_| None, &AtomicBool::new(false))?;
    Ok(pack)
}

/// Names of all objects, as git sees them.
fn names(dir: &Path) -> Vec<String> {
    let listed = git(dir, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"], b"");
    String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_object_of_a_pack_is_found_and_indexed() {
    let (repository, dir) = (repository(), tempfile::tempdir().unwrap());
    for more in [&["--delta-base-offset"][..], &[]] {
        let pack = resolved(dir.path(), &packed(repository.path(), "HEAD\n", more)).unwrap();
        assert!(pack.entries.iter().filter(|entry| !matches!(entry.form, Form::Whole)).count() > 20);
        let mut found = Vec::new();
        let each = |kind, id: ObjectId, bytes: &[u8]| {
            assert_eq!(name(kind, bytes)?, id);
            found.push(id.to_string());
            Ok(())
        };
        pack.objects(&|_| None, each).unwrap();
        found.sort_unstable();
        assert_eq!(found, names(repository.path()));
        pack.put(dir.path()).unwrap();
        let mut index = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let index = index.find(|path| path.extension().is_some_and(|ext| ext == "idx")).unwrap();
        git(dir.path(), &["verify-pack", index.to_str().unwrap()], b"");
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn a_pack_that_builds_on_objects_outside_is_completed_with_them() {
    let (repository, dir) = (repository(), tempfile::tempdir().unwrap());
    for number in 0..30 {
        let path = repository.path().join(format!("file-{number}"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}and one more line\n")).unwrap();
    }
    git(repository.path(), &["commit", "-qam", "two"], b"");
    let bytes = packed(repository.path(), "HEAD\n^HEAD~1\n", &["--thin", "--delta-base-offset"]);
    let alone = resolved(dir.path(), &bytes);
    assert!(matches!(alone, Err(PackError::Base(_))), "{alone:?}");
    let object = |id: &ObjectId| {
        let kind = git(repository.path(), &["cat-file", "-t", &id.to_string()], b"");
        let kind = Kind::from_bytes(kind.trim_ascii_end()).unwrap();
        let typed = String::from_utf8(kind.as_bytes().to_vec()).unwrap();
        Some((kind, git(repository.path(), &["cat-file", &typed, &id.to_string()], b"")))
    };
    let mut pack = receive(dir.path(), &bytes, 1 << 20).unwrap();
    let bases = pack.resolve(&object, &AtomicBool::new(false)).unwrap();
    assert!(!bases.is_empty());
    pack.complete(&bases, &object).unwrap();
    pack.put(dir.path()).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "idx") {
            git(dir.path(), &["verify-pack", path.to_str().unwrap()], b"");
        }
    }
}

#[test]
fn damage_and_an_early_end_are_noticed() {
    let (repository, dir) = (repository(), tempfile::tempdir().unwrap());
    let whole = packed(repository.path(), "HEAD\n", &["--delta-base-offset"]);
    for end in (0..whole.len()).step_by(97) {
        let error = resolved(dir.path(), &whole[..end]).unwrap_err();
        assert!(
            matches!(&error, PackError::Source(why) if why.kind() == io::ErrorKind::UnexpectedEof),
            "{error}"
        );
    }
    for at in (0..whole.len()).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        assert!(resolved(dir.path(), &bytes).is_err(), "{at}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn an_object_beyond_the_limit_is_refused_before_it_is_inflated() {
    let (repository, dir) = (repository(), tempfile::tempdir().unwrap());
    let whole = packed(repository.path(), "HEAD\n", &[]);
    let error = receive(dir.path(), &whole, 1000).unwrap_err();
    assert!(matches!(error, PackError::TooLarge(1000)), "{error}");
}
