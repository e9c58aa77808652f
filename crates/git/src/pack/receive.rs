//! The first reading: bytes go to a file while entries are found and whole objects are named.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use flate2::{Crc, Decompress};
use gix::hash;
use gix::objs::Kind;
use gix::odb::pack::data::entry::Header;
use sha1::{Digest as _, Sha1};

use super::naming::{FEW, Namer, Names, Piece, WAITING};
use super::{Entry, Form, Pack, PackError};

/// Bytes that are inflated at once.
const CHUNK: usize = 64 << 10;
/// Entries that memory is set aside for on the server's word.
const PROMISED: usize = 10_000;

impl Pack {
    /// Receives a pack into a new file. Nothing is known yet of what deltas lead to. Blocks.
    pub(crate) fn receive(
        source: &mut dyn BufRead,
        path: &Path,
        limit: u64,
        interrupt: &AtomicBool,
    ) -> Result<Self, PackError> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let mut pack =
            Self { file, path: path.to_owned(), entries: Vec::new(), end: 0, checksum: [0; 20], limit };
        let mut copy = Copy {
            source,
            out: BufWriter::with_capacity(64 << 10, pack.file.try_clone()?),
            whole: Sha1::new(),
            crc: Crc::new(),
            at: 0,
            failed: None,
        };
        let count = header(&mut copy)?;
        pack.entries.reserve(PROMISED.min(count as usize));
        let found = std::thread::scope(|scope| {
            if count < FEW {
                let mut namer = Namer::Here(Names::default());
                entries(&mut copy, count, &mut pack.entries, limit, &mut namer, interrupt)?;
                return if let Namer::Here(names) = namer { names.found() } else { Ok(Vec::new()) };
            }
            let (pieces, waiting) = mpsc::sync_channel::<Piece>(WAITING);
            let naming = scope.spawn(move || {
                let mut names = Names::default();
                waiting.iter().for_each(|piece| names.take(&piece));
                names.found()
            });
            let mut namer = Namer::Aside(pieces);
            entries(&mut copy, count, &mut pack.entries, limit, &mut namer, interrupt)?;
            drop(namer);
            naming.join().unwrap_or(Err(PackError::Interrupted))
        })?;
        for (number, kind, id) in found {
            if let Some(entry) = pack.entries.get_mut(number) {
                entry.name = Some((kind, id));
            }
        }
        pack.end = copy.at;
        pack.checksum = copy.whole.clone().finalize().into();
        let mut told = [0; 20];
        copy.fill(&mut told)?;
        if told != pack.checksum {
            return Err(PackError::Damaged("its checksum is wrong"));
        }
        copy.out.flush()?;
        drop(copy);
        Ok(pack)
    }
}

fn header(copy: &mut Copy<'_>) -> Result<u32, PackError> {
    let (mut magic, mut version, mut count) = ([0; 4], [0; 4], [0; 4]);
    for part in [&mut magic, &mut version, &mut count] {
        copy.fill(part)?;
    }
    if magic != *b"PACK" || !matches!(u32::from_be_bytes(version), 2 | 3) {
        return Err(PackError::Damaged("it does not begin as one"));
    }
    Ok(u32::from_be_bytes(count))
}

fn entries(
    copy: &mut Copy<'_>,
    count: u32,
    entries: &mut Vec<Entry>,
    limit: u64,
    namer: &mut Namer,
    interrupt: &AtomicBool,
) -> Result<(), PackError> {
    let (mut inflate, mut buffer) = (Decompress::new(true), vec![0; CHUNK]);
    for _ in 0..count {
        let entry = next(copy, entries, limit, &mut inflate, &mut buffer, (namer, interrupt))?;
        entries.push(entry);
    }
    Ok(())
}

/// Reads one entry.
fn next(
    copy: &mut Copy<'_>,
    entries: &[Entry],
    limit: u64,
    inflate: &mut Decompress,
    buffer: &mut [u8],
    (namer, interrupt): (&mut Namer, &AtomicBool),
) -> Result<Entry, PackError> {
    let offset = copy.at;
    copy.crc = Crc::new();
    let head = gix::odb::pack::data::Entry::from_read(copy, offset, hash::Kind::Sha1.len_in_bytes());
    let head = head.map_err(|error| copy.explain(error))?;
    let size = head.decompressed_size;
    if size > limit {
        return Err(PackError::TooLarge(limit));
    }
    let (form, kind) = match head.header {
        Header::Commit => (Form::Whole, Some(Kind::Commit)),
        Header::Tree => (Form::Whole, Some(Kind::Tree)),
        Header::Blob => (Form::Whole, Some(Kind::Blob)),
        Header::Tag => (Form::Whole, Some(Kind::Tag)),
        Header::RefDelta { base_id } => (Form::Named(base_id), None),
        Header::OfsDelta { base_distance } => {
            let base = offset.checked_sub(base_distance);
            let base = base.and_then(|base| entries.binary_search_by_key(&base, |entry| entry.offset).ok());
            let base = base.and_then(|number| u32::try_from(number).ok());
            (Form::Delta(base.ok_or(PackError::Damaged("a delta builds on nothing"))?), None)
        }
    };
    let data = copy.at;
    if let Some(kind) = kind {
        namer.begin(entries.len(), kind, size);
    }
    inflate.reset(true);
    let mut inflated = 0;
    {
        let mut decoder = Inflating { copy: &mut *copy, inflate };
        loop {
            if interrupt.load(Ordering::Relaxed) {
                return Err(PackError::Interrupted);
            }
            let bytes = decoder.chunk(buffer)?;
            if bytes.is_empty() {
                break;
            }
            inflated += bytes.len() as u64;
            if inflated > size {
                return Err(PackError::Damaged("an entry is larger than it says"));
            }
            if kind.is_some() {
                namer.bytes(bytes);
            }
        }
    }
    if inflated != size {
        return Err(PackError::Damaged("an entry is smaller than it says"));
    }
    Ok(Entry { offset, data, size, crc: copy.crc.sum(), form, name: None })
}

/// What is read from the server goes to the file.
struct Copy<'a> {
    source: &'a mut dyn BufRead,
    out: BufWriter<File>,
    whole: Sha1,
    /// Of the current entry.
    crc: Crc,
    at: u64,
    /// Why the file could not be written.
    failed: Option<io::Error>,
}

impl Copy<'_> {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), PackError> {
        self.read_exact(out).map_err(|error| self.explain(error))
    }

    /// Tells the server's failures from the disk's.
    fn explain(&mut self, error: io::Error) -> PackError {
        match self.failed.take() {
            Some(failed) => PackError::Io(failed),
            None => PackError::Source(error),
        }
    }

    /// Takes over the next bytes, which must have been looked at.
    fn pass(&mut self, count: usize) -> Result<(), PackError> {
        let bytes = self.source.fill_buf().map_err(PackError::Source)?;
        let bytes = bytes.get(..count).unwrap_or_default();
        self.whole.update(bytes);
        self.crc.update(bytes);
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)?;
        self.source.consume(count);
        Ok(())
    }
}

impl Read for Copy<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.fill_buf()?;
        let count = bytes.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        match self.pass(count) {
            Ok(()) => Ok(count),
            Err(PackError::Io(error)) => {
                let told = io::Error::new(error.kind(), "the pack cannot be written");
                self.failed = Some(error);
                Err(told)
            }
            Err(PackError::Source(error)) => Err(error),
            Err(other) => Err(io::Error::other(other)),
        }
    }
}

/// One zlib stream; nothing behind its end is touched.
struct Inflating<'a, 'b> {
    copy: &'a mut Copy<'b>,
    inflate: &'a mut Decompress,
}

impl Inflating<'_, '_> {
    /// The next bytes; none at the end.
    fn chunk<'o>(&mut self, out: &'o mut [u8]) -> Result<&'o [u8], PackError> {
        use flate2::{FlushDecompress, Status};
        let mut filled = 0;
        while filled < out.len() {
            let input = self.copy.source.fill_buf().map_err(PackError::Source)?;
            if input.is_empty() {
                return Err(PackError::Source(io::ErrorKind::UnexpectedEof.into()));
            }
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let room = out.get_mut(filled..).unwrap_or_default();
            let status = self.inflate.decompress(input, room, FlushDecompress::None);
            let status = status.map_err(|_| PackError::Damaged("an entry cannot be inflated"))?;
            let consumed = usize::try_from(self.inflate.total_in() - read).unwrap_or_default();
            let produced = usize::try_from(self.inflate.total_out() - written).unwrap_or_default();
            self.copy.pass(consumed)?;
            filled += produced;
            match status {
                Status::StreamEnd => break,
                _ if consumed == 0 && produced == 0 => {
                    return Err(PackError::Damaged("an entry cannot be inflated"));
                }
                _ => {}
            }
        }
        Ok(out.get(..filled).unwrap_or_default())
    }
}
