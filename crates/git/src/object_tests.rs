use super::*;

const COMMIT: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
parent 4b825dc642cb6eb9a060e54bf8d69288fbee4905\n\
author A <a@x> 1700000000 +0100\n\
committer B <b@x> 1700000001 +0000\n\
gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n\
gpgsig-sha256 -----BEGIN PGP SIGNATURE-----\n zzz\n\
x-other 1\n\
\nsubject\n\nbody\ngpgsig no header\n";

#[test]
fn a_commit_is_split_into_signature_and_what_was_signed() {
    let info = commit_info(ObjectId::null(Kind::Sha1), COMMIT).unwrap();
    assert_eq!(
        info.signed.signature.as_deref(),
        Some(&b"-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"[..])
    );
    let payload = String::from_utf8(info.signed.payload).unwrap();
    assert!(!payload.contains("gpgsig-") && !payload.contains("zzz"), "{payload}");
    assert!(payload.ends_with("x-other 1\n\nsubject\n\nbody\ngpgsig no header\n"), "{payload}");
    assert_eq!((info.author.as_str(), info.seconds), ("A <a@x>", 1_700_000_001));
    assert_eq!(links(COMMIT).unwrap().parents.len(), 1);
}

#[test]
fn the_last_armor_of_a_tag_is_its_signature() {
    let raw = b"object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\n\nmsg\n-----BEGIN SSH SIGNATURE-----\nx\n";
    let info = tag_info("v1", ObjectId::null(Kind::Sha1), raw);
    assert!(info.signed.payload.ends_with(b"msg\n"));
    assert!(info.signed.signature.unwrap().starts_with(b"-----BEGIN SSH"));
    assert!(tag_target(raw).is_some());
}
