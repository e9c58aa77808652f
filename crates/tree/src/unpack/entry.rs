use std::io::Read;

use tar::{Entry, EntryType, PaxExtensions};

use super::UnpackError;

/// PAX headers and long names longer than this are hostile.
pub(super) const EXTENSION_BYTES: u64 = 1 << 20;

/// What extension headers say about the entry that follows them.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    path: Option<String>,
    size: Option<u64>,
}

impl Extensions {
    /// True if the entry was an extension header and is dealt with.
    pub(super) fn absorb<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<bool, UnpackError> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::XHeader | EntryType::GNULongName => {}
            // These say nothing of interest.
            EntryType::XGlobalHeader | EntryType::GNULongLink => return Ok(true),
            _ => return Ok(false),
        }
        if entry.size() > EXTENSION_BYTES {
            return Err(damaged("extension header is too large"));
        }
        let mut body = Vec::new();
        entry.read_to_end(&mut body).map_err(|error| damaged(error.to_string()))?;
        if body.len() as u64 != entry.size() {
            return Err(damaged("unexpected end of archive"));
        }
        match kind {
            EntryType::XHeader => self.records(&body)?,
            _ => self.path = Some(text(&body)?),
        }
        Ok(true)
    }

    fn records(&mut self, body: &[u8]) -> Result<(), UnpackError> {
        for record in PaxExtensions::new(body) {
            let record = record.map_err(|_| damaged("PAX header is malformed"))?;
            match record.key_bytes() {
                b"path" => self.path = Some(text(record.value_bytes())?),
                b"size" => {
                    let size = record.value().ok().and_then(|digits| digits.parse().ok());
                    self.size = Some(size.ok_or_else(|| damaged("PAX header is malformed"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(damaged("sparse files are not supported"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The name of the entry that the extensions were about.
    pub(super) fn name<R: Read>(self, entry: &Entry<'_, R>) -> Result<String, UnpackError> {
        // Readers that disagree about sizes see different archives; small files need no second opinion.
        if self.size.is_some_and(|size| size != entry.size()) {
            return Err(damaged("PAX header contradicts the size of its entry"));
        }
        match self.path {
            Some(path) => Ok(path),
            None => text(&entry.header().path_bytes()),
        }
    }
}

pub(super) fn damaged(why: impl Into<String>) -> UnpackError {
    UnpackError::Damaged(why.into())
}

fn text(bytes: &[u8]) -> Result<String, UnpackError> {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(UnpackError::InvalidName(String::from_utf8_lossy(bytes).chars().take(256).collect())),
    }
}
