//! Signed commits and tags, from the object to the condition's text.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use sluice_git::{CommitInfo, Mode, Signed, TagInfo, VerifyError, verify};
use sluice_types::{Classify, Retry};

/// The fixtures' keys never expire, and this is after they were made.
const NOW: i64 = 4_000_000_000;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../keys/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn keys() -> BTreeMap<String, Vec<u8>> {
    ["ed.asc", "ed25519.sshpub"].map(|name| (name.to_owned(), fixture(name))).into()
}

fn commit(name: &str) -> CommitInfo {
    CommitInfo::parse("0123456789012345678901234567890123456789", &fixture(name)).unwrap()
}

fn tag(name: &str) -> TagInfo {
    TagInfo::parse("v1", "9876543210987654321098765432109876543210", &fixture(name)).unwrap()
}

#[test]
fn what_holds_is_listed_with_its_keys() {
    for (commit_name, tag_name) in [("pgp.commit", "pgp.tag"), ("ssh.commit", "ssh.tag")] {
        let (commit, tag) = (commit(commit_name), tag(tag_name));
        let message = verify(Mode::TagAndHead, &commit, Some(&tag), &keys(), NOW).unwrap().message;
        let lines: Vec<&str> = message.split("\n\t- ").collect();
        assert_eq!(lines[0], "verified signature of");
        assert!(
            lines[1].starts_with("tag 'v1@9876543210987654321098765432109876543210' with key '"),
            "{message}"
        );
        assert!(
            lines[2].starts_with("commit '0123456789012345678901234567890123456789' with key '"),
            "{message}"
        );
        assert_eq!(verify(Mode::Head, &commit, None, &keys(), NOW).unwrap().message.lines().count(), 2);
        assert_eq!(verify(Mode::Tag, &commit, Some(&tag), &keys(), NOW).unwrap().message.lines().count(), 2);
    }
}

#[test]
fn what_does_not_hold_has_a_reason() {
    let (good, signed) = (commit("pgp.commit"), tag("pgp.tag"));
    let plain = CommitInfo { signed: Signed { signature: None, ..good.signed.clone() }, ..good.clone() };
    let light = TagInfo { name: "v1".to_owned(), ..TagInfo::default() };
    let unsigned = TagInfo { signed: Signed { signature: None, ..signed.signed.clone() }, ..signed.clone() };
    let mut forged = signed.clone();
    forged.signed.payload.push(b'x');
    let mut altered = good.clone();
    altered.signed.payload.push(b'x');
    for (mode, commit, tag, reason, text) in [
        (
            Mode::Tag,
            &good,
            None,
            "InvalidVerificationMode",
            "cannot verify tag object's signature if a tag reference is not specified",
        ),
        (
            Mode::TagAndHead,
            &good,
            None,
            "InvalidVerificationMode",
            "cannot verify tag object's signature if a tag reference is not specified",
        ),
        (
            Mode::Tag,
            &good,
            Some(&light),
            "InvalidGitObject",
            "cannot verify signature of tag 'v1' since it is not signed",
        ),
        (
            Mode::Tag,
            &good,
            Some(&unsigned),
            "InvalidGitObject",
            "cannot verify signature of tag 'v1@9876543210987654321098765432109876543210' since it is not signed",
        ),
        (
            Mode::Tag,
            &good,
            Some(&forged),
            "InvalidTagSignature",
            "signature verification of tag 'v1@9876543210987654321098765432109876543210' failed: ",
        ),
        (
            Mode::Head,
            &plain,
            None,
            "InvalidCommitSignature",
            "signature verification of commit '0123456789012345678901234567890123456789' failed: ",
        ),
        (
            Mode::Head,
            &altered,
            None,
            "InvalidCommitSignature",
            "signature verification of commit '0123456789012345678901234567890123456789' failed: ",
        ),
        (
            Mode::TagAndHead,
            &altered,
            Some(&signed),
            "InvalidCommitSignature",
            "signature verification of commit ",
        ),
    ] {
        let error = verify(mode, commit, tag, &keys(), NOW).unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(error.retry() == Retry::OnChange, error == VerifyError::Mode);
    }
}

#[test]
fn modes_cover_what_they_verify() {
    let modes = [Mode::Head, Mode::Tag, Mode::TagAndHead];
    let covered: Vec<(usize, usize)> = (0..3)
        .flat_map(|a| (0..3).map(move |b| (a, b)))
        .filter(|(a, b)| modes[*a].covers(modes[*b]))
        .collect();
    assert_eq!(covered, [(0, 0), (1, 1), (2, 0), (2, 1), (2, 2)]);
    for (text, mode) in
        [("head", Mode::Head), ("HEAD", Mode::Head), ("Tag", Mode::Tag), ("TagAndHEAD", Mode::TagAndHead)]
    {
        assert_eq!(text.parse::<Mode>().unwrap(), mode);
    }
    assert!("tag".parse::<Mode>().is_err());
}
