//! What verification and conditions need of commits and tags.

use gix::ObjectId;
use gix::hash::Kind;
use gix::objs::{CommitRef, CommitRefIter, TagRefIter};

use crate::checkout::{CommitInfo, Signed, TagInfo};
use crate::depot::Depot;
use crate::error::Error;

/// What a commit points at.
pub(crate) struct Links {
    pub(crate) tree: ObjectId,
    pub(crate) parents: Vec<ObjectId>,
}

pub(crate) fn links(raw: &[u8]) -> Option<Links> {
    let commit = CommitRef::from_bytes(raw, Kind::Sha1).ok()?;
    Some(Links { tree: commit.tree(), parents: commit.parents().collect() })
}

/// Commit time in seconds since the epoch.
pub(crate) fn seconds(raw: &[u8]) -> i64 {
    let committer = CommitRefIter::from_bytes(raw, Kind::Sha1).committer().ok();
    committer.and_then(|who| who.time().ok()).map(|time| time.seconds).unwrap_or_default()
}

pub(crate) fn commit_info(hash: ObjectId, raw: &[u8]) -> Option<CommitInfo> {
    let commit = CommitRef::from_bytes(raw, Kind::Sha1).ok()?;
    let person = |line: &[u8]| {
        let text = String::from_utf8_lossy(line).into_owned();
        text.rfind('>').map(|end| text.split_at(end + 1).0.to_owned()).unwrap_or(text)
    };
    Some(CommitInfo {
        hash: hash.to_string(),
        message: commit.message.to_string(),
        author: person(commit.author),
        committer: person(commit.committer),
        seconds: seconds(raw),
        signed: split_commit(raw),
    })
}

/// Takes the signature headers out: what remains is what was signed. A signature for the other
/// hash function (`gpgsig-sha256`) belongs to neither part.
fn split_commit(raw: &[u8]) -> Signed {
    let Ok(Some((signature, _))) = CommitRefIter::signature(raw, Kind::Sha1) else {
        return Signed { payload: raw.to_vec(), signature: None };
    };
    let mut payload = Vec::with_capacity(raw.len());
    let (mut inside, mut message) = (false, false);
    for line in raw.split_inclusive(|b| *b == b'\n') {
        message |= line == b"\n";
        inside = !message
            && (line.starts_with(b"gpgsig ")
                || line.starts_with(b"gpgsig-sha256 ")
                || inside && line.starts_with(b" "));
        if !inside {
            payload.extend_from_slice(line);
        }
    }
    let mut signature = signature.to_vec();
    if !signature.ends_with(b"\n") {
        signature.push(b'\n');
    }
    Signed { payload, signature: Some(signature) }
}

/// The object a tag points at.
fn tag_target(raw: &[u8]) -> Option<ObjectId> {
    TagRefIter::from_bytes(raw, Kind::Sha1).target_id().ok()
}

/// Follows tags of tags to what they finally name.
pub(crate) fn peel(depot: &Depot, mut id: ObjectId) -> Result<Option<ObjectId>, Error> {
    for _ in 0..10 {
        match depot.read(&id)? {
            (gix::objs::Kind::Tag, raw) => match tag_target(&raw) {
                Some(target) => id = target,
                None => return Ok(None),
            },
            _ => return Ok(Some(id)),
        }
    }
    Ok(None)
}

pub(crate) fn tag_info(name: &str, hash: ObjectId, raw: &[u8]) -> TagInfo {
    TagInfo { name: name.to_owned(), hash: Some(hash.to_string()), signed: split_tag(raw) }
}

const ARMORS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

/// A tag's signature stands at the end of its message, from the last armor line on. gix knows
/// OpenPGP's armor only.
fn split_tag(raw: &[u8]) -> Signed {
    let mut start = None;
    let mut at = 0;
    for line in raw.split_inclusive(|b| *b == b'\n') {
        if ARMORS.iter().any(|armor| line.starts_with(armor)) {
            start = Some(at);
        }
        at += line.len();
    }
    match start {
        Some(start) => {
            let (payload, signature) = raw.split_at(start);
            Signed { payload: payload.to_vec(), signature: Some(signature.to_vec()) }
        }
        None => Signed { payload: raw.to_vec(), signature: None },
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
