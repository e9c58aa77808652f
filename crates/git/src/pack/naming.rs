//! Names whole objects while they are inflated; where there are many, beside the thread that inflates.

use std::sync::mpsc::SyncSender;

use gix::objs::{Kind, encode};
use gix::{ObjectId, hash};

use super::{PackError, collision};

/// Pieces that wait to be hashed.
pub(super) const WAITING: usize = 16;
/// Packs of fewer objects are not worth a thread.
pub(super) const FEW: u32 = 64;

/// What passes between the threads.
pub(super) enum Piece {
    /// Number of the entry, kind and size of the object; its bytes follow.
    Begin(usize, Kind, u64),
    Bytes(Vec<u8>),
}

/// Numbers of entries, and what they hold.
pub(super) type Found = Vec<(usize, Kind, ObjectId)>;

/// Hashes one object after the other.
#[derive(Default)]
pub(super) struct Names {
    current: Option<(usize, Kind, hash::Hasher, u64)>,
    found: Found,
    collided: bool,
}

impl Names {
    fn begin(&mut self, number: usize, kind: Kind, size: u64) {
        let mut hasher = hash::hasher(hash::Kind::Sha1);
        hasher.update(&encode::loose_header(kind, size));
        self.current = Some((number, kind, hasher, size));
        self.bytes(&[]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let Some((number, kind, mut hasher, left)) = self.current.take() else { return };
        hasher.update(bytes);
        match left.saturating_sub(bytes.len() as u64) {
            0 => match hasher.try_finalize() {
                Ok(id) => self.found.push((number, kind, id)),
                Err(_) => self.collided = true,
            },
            left => self.current = Some((number, kind, hasher, left)),
        }
    }

    pub(super) fn take(&mut self, piece: &Piece) {
        match piece {
            Piece::Begin(number, kind, size) => self.begin(*number, *kind, *size),
            Piece::Bytes(bytes) => self.bytes(bytes),
        }
    }

    pub(super) fn found(self) -> Result<Found, PackError> {
        if self.collided { Err(collision()) } else { Ok(self.found) }
    }
}

/// Where objects are named.
pub(super) enum Namer {
    Here(Names),
    Aside(SyncSender<Piece>),
}

impl Namer {
    pub(super) fn begin(&mut self, number: usize, kind: Kind, size: u64) {
        match self {
            Self::Here(names) => names.begin(number, kind, size),
            Self::Aside(pieces) => drop(pieces.send(Piece::Begin(number, kind, size))),
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Here(names) => names.bytes(bytes),
            Self::Aside(pieces) => drop(pieces.send(Piece::Bytes(bytes.to_vec()))),
        }
    }
}
