//! Packing and unpacking, seen from outside.

#![allow(clippy::unwrap_used)]

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use sluice_tree::{
    Files, Ignore, Index, Kind, Memory, PackLimits, UnpackError, UnpackLimits, pack, unpack_to_memory,
};
use sluice_types::RelPath;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn packed(tree: &Memory) -> Vec<u8> {
    pack(tree, &Ignore::none(), PackLimits::default()).unwrap().0
}

fn unpacked(archive: &[u8]) -> Result<Memory, UnpackError> {
    unpack_to_memory(archive, UnpackLimits::default())
}

/// Name, type, mode and content of each entry, read by another implementation.
fn foreign(archive: &[u8]) -> Vec<(String, u8, u32, String)> {
    let mut reader = tar::Archive::new(MultiGzDecoder::new(archive));
    let mut found = Vec::new();
    for entry in reader.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        found.push((name, header.entry_type().as_byte(), header.mode().unwrap(), content));
    }
    found
}

#[test]
fn an_archive_has_the_headers_that_consumers_expect() {
    let mut tree = Memory::of([("b/file", "text"), ("a", "1")]).unwrap();
    tree.insert_executable(&path("b/run"), *b"#!").unwrap();
    let expected = [
        (".", b'5', 0o750, ""),
        ("a", b'0', 0o600, "1"),
        ("b", b'5', 0o750, ""),
        ("b/file", b'0', 0o600, "text"),
        ("b/run", b'0', 0o700, "#!"),
    ];
    let expected: Vec<_> = expected.map(|(n, t, m, c)| (n.to_owned(), t, m, c.to_owned())).into();
    assert_eq!(foreign(&packed(&tree)), expected);
}

#[test]
fn long_and_foreign_names_are_readable_by_others() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
    let longer = format!("{}/{}", "d".repeat(120), "f".repeat(130));
    for name in [long.as_str(), &longer, "ünïcode/ファイル", &"x".repeat(100), &"y".repeat(101)] {
        let tree = Memory::of([(name, "content")]).unwrap();
        let archive = packed(&tree);
        assert!(foreign(&archive).iter().any(|entry| entry.0 == name && entry.3 == "content"), "{name}");
        assert_eq!(unpacked(&archive).unwrap(), tree);
    }
}

#[test]
fn files_below_an_excluded_directory_may_come_back() {
    let tree = Memory::of([("deploy/a.yaml", "1"), ("deploy/x", "2"), ("src/y", "3")]).unwrap();
    let rules = Ignore::parse("*\n!deploy/*.yaml");
    let (archive, index) = pack(&tree, &rules, PackLimits::default()).unwrap();
    let names: Vec<_> = foreign(&archive).into_iter().map(|entry| entry.0).collect();
    assert_eq!(names, [".", "deploy/a.yaml"]);
    assert_eq!(Index::of(&unpacked(&archive).unwrap()).unwrap(), index);
}

#[test]
fn a_tree_beyond_the_limits_is_not_packed() {
    let tree = Memory::of([("a/b/c", "12345")]).unwrap();
    let base = PackLimits::default();
    for limits in
        [PackLimits { entries: 3, ..base }, PackLimits { depth: 1, ..base }, PackLimits { bytes: 4, ..base }]
    {
        assert!(pack(&tree, &Ignore::parse("x\ny"), limits).is_err(), "{limits:?}");
    }
}

fn trees() -> impl Strategy<Value = Memory> {
    let name = "[a-d]{1,2}(/[a-d]{1,2}){0,3}";
    prop::collection::btree_map(name, (prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..40)
        .prop_map(|files| {
            let mut tree = Memory::default();
            for (name, (bytes, executable)) in files {
                let path = path(&name);
                // A path that is already a directory stays one.
                let _ = match executable {
                    true => tree.insert_executable(&path, bytes),
                    false => tree.insert(&path, bytes),
                };
            }
            tree
        })
}

proptest! {
    #[test]
    fn unpacking_gives_back_what_was_packed(tree in trees()) {
        let archive = packed(&tree);
        prop_assert_eq!(&unpacked(&archive).unwrap(), &tree);
        prop_assert_eq!(packed(&tree.clone()), archive);
    }

    #[test]
    fn noise_is_refused_without_a_panic(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(unpacked(&noise).is_err());
        prop_assert!(unpacked(&gzip(&noise)).is_err() || noise.iter().take(512).all(|byte| *byte == 0));
    }

    #[test]
    fn a_damaged_archive_never_panics(tree in trees(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(packed(&tree).as_slice()).read_to_end(&mut plain).unwrap();
        let at = at.index(plain.len());
        plain[at] ^= 1 << bit;
        let _ = unpacked(&gzip(&plain));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive of one raw entry, with a name that no well-behaved writer would accept.
fn hostile(name: &str, kind: u8, content: &[u8], claimed: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_size(claimed);
    header.set_cksum();
    let mut plain = header.as_bytes().to_vec();
    plain.extend_from_slice(content);
    plain.resize(plain.len().next_multiple_of(512) + 1024, 0);
    gzip(&plain)
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    for name in ["", "../evil", "/etc/x", "a/../../b", "a\\b", "a..../b/../c", "..", "a/x../y"] {
        let refused = unpacked(&hostile(name, b'0', b"x", 1));
        assert!(matches!(refused, Err(UnpackError::InvalidName(_))), "{name}: {refused:?}");
    }
}

#[test]
fn anything_but_files_and_directories_is_refused() {
    let strict = UnpackLimits { skip_symlinks: false, ..UnpackLimits::default() };
    for kind in *b"123467S" {
        let archive = hostile("x", kind, b"", 0);
        let refused = unpack_to_memory(archive.as_slice(), strict);
        if kind == b'7' {
            assert!(refused.is_ok());
            continue;
        }
        assert!(matches!(refused, Err(UnpackError::UnsupportedType { .. })), "{}", char::from(kind));
        assert_eq!(unpacked(&archive).is_ok(), kind == b'2');
    }
}

#[test]
fn a_body_that_is_not_compressed_is_named_so() {
    let refused = unpacked(b"plain text").unwrap_err();
    assert!(refused.to_string().starts_with("requires gzip-compressed body: "), "{refused}");
}

#[test]
fn archives_beyond_the_limits_are_refused_early() {
    let tree = Memory::of([("a/b/c", "12345"), ("d", "678")]).unwrap();
    let archive = packed(&tree);
    let base = UnpackLimits::default();
    let refuse = |limits| unpack_to_memory(archive.as_slice(), limits).unwrap_err();
    assert!(matches!(refuse(UnpackLimits { bytes: 7, ..base }), UnpackError::Bytes(7)));
    assert!(matches!(
        refuse(UnpackLimits { file_bytes: 4, ..base }),
        UnpackError::FileBytes { limit: 4, .. }
    ));
    assert!(matches!(refuse(UnpackLimits { entries: 4, ..base }), UnpackError::Entries(4)));
    assert!(matches!(refuse(UnpackLimits { depth: 2, ..base }), UnpackError::Depth { limit: 2, .. }));
    // The claim alone is enough, whatever follows.
    let bomb = hostile("x", b'0', b"", 1 << 32);
    assert!(matches!(unpacked(&bomb), Err(UnpackError::FileBytes { .. })));
    let long_name = hostile("x", b'L', b"", 1 << 30);
    assert!(matches!(unpacked(&long_name), Err(UnpackError::Damaged(_))));
}

#[test]
fn an_entry_shorter_than_claimed_is_damage() {
    let refused = unpacked(&hostile("x", b'0', b"abc", 4000)).unwrap_err();
    assert!(matches!(refused, UnpackError::Damaged(_)), "{refused}");
}

#[test]
fn a_later_entry_of_the_same_name_wins() {
    let first = hostile("x", b'0', b"old", 3);
    let mut plain = Vec::new();
    MultiGzDecoder::new(first.as_slice()).read_to_end(&mut plain).unwrap();
    plain.truncate(1024);
    MultiGzDecoder::new(hostile("x", b'0', b"new", 3).as_slice()).read_to_end(&mut plain).unwrap();
    let tree = unpacked(&gzip(&plain)).unwrap();
    assert_eq!(&*tree.read(&path("x")).unwrap(), b"new");
}

#[test]
fn archives_of_other_writers_are_understood() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = "l".repeat(150);
    for (name, mode) in [("./plain", 0o644), ("run", 0o755), (long.as_str(), 0o600)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(mode);
        builder.append_data(&mut header, name, &b"ok"[..]).unwrap();
    }
    let tree = unpacked(&gzip(&builder.into_inner().unwrap())).unwrap();
    assert_eq!(tree.kind(&path("run")), Ok(Kind::Executable));
    assert_eq!(&*tree.read(&path(&long)).unwrap(), b"ok");
    assert_eq!(tree.kind(&path("plain")), Ok(Kind::File));
}
