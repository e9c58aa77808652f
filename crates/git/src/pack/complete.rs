//! Packs that build on objects outside get copies of these: on disk, a pack stands for itself.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use flate2::{Compression, Crc};
use gix::ObjectId;
use gix::objs::Kind;
use sha1::{Digest as _, Sha1};

use super::resolve::Outside;
use super::{At, Entry, Form, Pack, PackError};

impl Pack {
    /// Appends copies of `bases`.
    pub(crate) fn complete(&mut self, bases: &[ObjectId], outside: Outside<'_>) -> Result<(), PackError> {
        if bases.is_empty() {
            return Ok(());
        }
        for base in bases {
            let (kind, bytes) = outside(base).ok_or(PackError::Base(*base))?;
            self.append(kind, *base, &bytes)?;
        }
        let count = u32::try_from(self.entries.len()).map_err(|_| PackError::Damaged("it is too large"))?;
        self.file.write_all_at(&count.to_be_bytes(), 8)?;
        let mut whole = Sha1::new();
        let mut reader = At { file: &self.file, at: 0 }.take(self.end);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                count => whole.update(buffer.get(..count).unwrap_or_default()),
            }
        }
        self.checksum = whole.finalize().into();
        Ok(self.file.write_all_at(&self.checksum, self.end)?)
    }

    fn append(&mut self, kind: Kind, id: ObjectId, bytes: &[u8]) -> Result<(), PackError> {
        let mut written = header(kind, bytes.len());
        let data = self.end + written.len() as u64;
        let mut encoder = flate2::write::ZlibEncoder::new(written, Compression::fast());
        encoder.write_all(bytes)?;
        written = encoder.finish()?;
        let mut crc = Crc::new();
        crc.update(&written);
        self.file.write_all_at(&written, self.end)?;
        self.entries.push(Entry {
            offset: self.end,
            data,
            size: bytes.len() as u64,
            crc: crc.sum(),
            form: Form::Whole,
            name: Some((kind, id)),
        });
        self.end += written.len() as u64;
        Ok(())
    }
}

/// Kind and size: four bits of it in the first byte, seven in each further one.
fn header(kind: Kind, size: usize) -> Vec<u8> {
    let kind: u8 = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let low = |size: usize, bits: usize| u8::try_from(size & bits).unwrap_or_default();
    let mut out = vec![kind << 4 | low(size, 0x0f)];
    let mut rest = size >> 4;
    while rest > 0 {
        if let Some(last) = out.last_mut() {
            *last |= 0x80;
        }
        out.push(low(rest, 0x7f));
        rest >>= 7;
    }
    out
}
