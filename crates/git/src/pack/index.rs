//! The index of a pack, version 2.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use sha1::{Digest as _, Sha1};

use super::{Pack, PackError};

impl Pack {
    pub(super) fn write_index(&mut self, path: &Path) -> Result<(), PackError> {
        let mut sorted = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let (_, id) = entry.name.ok_or(PackError::Damaged("an object has no name"))?;
            sorted.push((id, entry.crc, entry.offset));
        }
        sorted.sort_unstable();
        // An object may be there twice; one of them is enough.
        sorted.dedup_by_key(|(id, ..)| *id);

        let file = File::options().write(true).create_new(true).open(path)?;
        let mut out = Checked { out: BufWriter::new(file), hash: Sha1::new() };
        out.put(&[0xff, b't', b'O', b'c'])?;
        out.put(&2_u32.to_be_bytes())?;
        let (mut fan, mut count) = ([0_u32; 256], 0);
        for (id, ..) in &sorted {
            if let Some(slot) = fan.get_mut(usize::from(id.first_byte())) {
                *slot += 1;
            }
        }
        for slot in fan {
            count += slot;
            out.put(&count.to_be_bytes())?;
        }
        for (id, ..) in &sorted {
            out.put(id.as_bytes())?;
        }
        for (_, crc, _) in &sorted {
            out.put(&crc.to_be_bytes())?;
        }
        const FAR: u32 = 1 << 31;
        let mut far = Vec::new();
        for (.., offset) in &sorted {
            let near = u32::try_from(*offset).ok().filter(|offset| *offset < FAR);
            let told = match near {
                Some(near) => near,
                None => {
                    far.push(*offset);
                    FAR | u32::try_from(far.len() - 1).map_err(|_| PackError::Damaged("it is too large"))?
                }
            };
            out.put(&told.to_be_bytes())?;
        }
        for offset in far {
            out.put(&offset.to_be_bytes())?;
        }
        out.put(&self.checksum)?;
        let checksum = out.hash.clone().finalize();
        out.put(&checksum)?;
        Ok(out.out.flush()?)
    }
}

struct Checked<W> {
    out: W,
    hash: Sha1,
}

impl<W: Write> Checked<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}
