//! Signatures that gpg and ssh-keygen made, with the keys that made them; see `fixtures/record.sh`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use sluice_keys::{KeyRing, Kind, SignatureError, SshKeys, verify};

/// Soon after the fixtures were made: their keys stand, and none has expired.
fn now() -> i64 {
    let text = String::from_utf8(fixture("ssh.commit")).unwrap();
    let line = text.lines().find(|line| line.starts_with("committer ")).unwrap();
    line.rsplit(' ').nth(1).unwrap().parse::<i64>().unwrap() + 10
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).unwrap()
}

fn keys(names: &[&str]) -> BTreeMap<String, Vec<u8>> {
    names.iter().map(|name| ((*name).to_owned(), fixture(name))).collect()
}

fn check(names: &[&str], signature: &str, now: i64) -> Result<String, String> {
    verify(&keys(names), &fixture("payload"), &fixture(signature), now).map_err(|error| error.to_string())
}

#[test]
fn a_key_vouches_for_its_own_signature_only() {
    for (name, expected) in [
        ("ed", Ok(())),
        ("rsa", Ok(())),
        ("withsub", Ok(())),
        ("brief", Ok(())),
        ("revoked", Err("signature made by revoked key")),
        ("badsub", Err("signature made by revoked key")),
        ("dsa", Err("insecure algorithm")),
    ] {
        let outcome = check(&[&format!("{name}.asc")], &format!("{name}.sig"), now());
        match expected {
            Ok(()) => assert_eq!(outcome.unwrap().len(), 16, "{name}"),
            Err(why) => {
                assert!(outcome.as_ref().is_err_and(|text| text.ends_with(why)), "{name}: {outcome:?}")
            }
        }
    }
    let stranger = check(&["rsa.asc"], "ed.sig", now()).unwrap_err();
    assert!(stranger.ends_with("signature made by unknown entity"), "{stranger}");
    let altered = verify(&keys(&["ed.asc"]), b"another payload", &fixture("ed.sig"), now()).unwrap_err();
    assert!(altered.to_string().ends_with("invalid signature"), "{altered}");
}

#[test]
fn time_ends_keys_and_signatures() {
    for (key, signature, later, why) in [
        ("brief.asc", "brief.sig", 2 * 86_400, "key expired"),
        ("ed.asc", "expiring.sig", 120, "signature expired"),
        ("ed.asc", "ed.sig", -86_400, "signature expired"),
    ] {
        let outcome = check(&[key], signature, now() + later).unwrap_err();
        assert!(outcome.ends_with(why), "{signature}: {outcome}");
    }
    assert!(check(&["ed.asc"], "expiring.sig", now()).is_ok());
}

#[test]
fn several_keys_may_stand_in_one_text_or_in_several() {
    for names in
        [&["several.asc"][..], &["together.asc"], &["rsa.asc", "ed.asc"], &["ed.asc", "ecdsa.sshpub"]]
    {
        check(names, "ed.sig", now()).unwrap();
    }
    check(&["ed.asc"], "text.sig", now()).unwrap();
}

#[test]
fn a_broken_entry_keeps_no_other_from_vouching() {
    let mut set = keys(&["ed.asc", "ed25519.sshpub"]);
    set.insert("a.asc".to_owned(), b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense".to_vec());
    set.insert("a.sshpub".to_owned(), b"nonsense".to_vec());
    set.insert("z".to_owned(), b"\xff\xfe".to_vec());
    for signature in ["ed.sig", "ssh_ed25519.sig"] {
        verify(&set, &fixture("payload"), &fixture(signature), now()).unwrap();
    }
    set.remove("ed.asc");
    set.remove("ed25519.sshpub");
    for signature in ["ed.sig", "ssh_ed25519.sig"] {
        let error = verify(&set, &fixture("payload"), &fixture(signature), now()).unwrap_err();
        assert!(matches!(error, SignatureError::Refused { .. }), "{error}");
    }
}

#[test]
fn an_entry_without_a_known_suffix_is_a_key_ring() {
    let set = BTreeMap::from([("author".to_owned(), fixture("ed.asc"))]);
    verify(&set, &fixture("payload"), &fixture("ed.sig"), now()).unwrap();
}

#[test]
fn what_is_not_a_detached_signature_is_told() {
    let of = |text: &[u8]| verify(&keys(&["ed.asc"]), b"", text, now()).unwrap_err().to_string();
    assert_eq!(of(&fixture("message.sig")), "unsupported signature type: unknown");
    assert_eq!(of(b"-----BEGIN SIGNED MESSAGE-----\n"), "unsupported signature type: x509");
    assert_eq!(of(b"  "), "unable to verify payload as the provided signature is empty");
    assert!(of(b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n").ends_with("signature cannot be read"));
    assert_eq!(Kind::of(&fixture("ssh_rsa.sig")), Kind::Ssh);
    assert!(check(&["rsa.asc"], "sha1.sig", now()).unwrap_err().ends_with("insecure algorithm"));
}

#[test]
fn a_missing_kind_of_key_is_named_by_its_suffix() {
    let error = check(&["ed.asc"], "ssh_ed25519.sig", now()).unwrap_err();
    assert!(error.contains(".sshpub"), "{error}");
    let error = check(&["ed25519.sshpub"], "ed.sig", now()).unwrap_err();
    assert!(error.contains(".asc"), "{error}");
}

#[test]
fn ssh_keys_of_every_kind_vouch_in_gits_namespace_only() {
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let id = check(&[&format!("{kind}.sshpub")], &format!("ssh_{kind}.sig"), now()).unwrap();
        assert!(id.starts_with("SHA256:"), "{id}");
    }
    check(&["ed25519.sshpub"], "ssh_sha256.sig", now()).unwrap();
    let error = check(&["ed25519.sshpub"], "ssh_namespace.sig", now()).unwrap_err();
    assert!(error.ends_with("signature is for another purpose than git"), "{error}");
    let error = check(&["rsa.sshpub"], "ssh_ed25519.sig", now()).unwrap_err();
    assert!(error.ends_with("signature made by unknown key"), "{error}");
    let error = verify(&keys(&["ed25519.sshpub"]), b"x", &fixture("ssh_ed25519.sig"), now()).unwrap_err();
    assert!(error.to_string().ends_with("invalid signature"), "{error}");
}

#[test]
fn authorized_keys_are_read_strictly() {
    let key = String::from_utf8(fixture("ed25519.sshpub")).unwrap();
    let text = format!("# comment\n\n  {key}no-pty,command=\"x y\" {key}");
    assert!(SshKeys::parse(text.as_bytes()).is_ok());
    assert_eq!(SshKeys::parse(format!("{key}\nnonsense\n").as_bytes()).unwrap_err().line, 3);
    assert_eq!(SshKeys::parse(b"# nothing\n").unwrap_err().line, 0);
}

#[test]
fn a_text_without_keys_is_no_key_ring() {
    for text in [&b""[..], b"nonsense", b"\xff", &fixture("ed.sig")] {
        assert!(KeyRing::parse(text).is_err());
    }
    assert!(KeyRing::parse(&fixture("certifies.asc")).is_ok());
}
