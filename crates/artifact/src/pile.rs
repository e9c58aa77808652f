//! Bytes that were received: read once, and let go of on the way.

use std::collections::VecDeque;
use std::io::{self, Read};

/// Bytes of a block.
const BLOCK: usize = 256 << 10;

/// A body in blocks, so that an archive does not stay in memory beside what it unfolds to.
#[derive(Debug, Default)]
pub(crate) struct Pile {
    blocks: VecDeque<Vec<u8>>,
    len: u64,
    /// Bytes of the first block that were read already.
    read: usize,
}

impl Pile {
    /// Bytes that are not read yet.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            // A small body shall not take a whole block.
            let room = if self.blocks.is_empty() { 0 } else { BLOCK };
            match self.blocks.back_mut().filter(|block| block.len() < BLOCK) {
                Some(block) => {
                    let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK - block.len()));
                    block.extend_from_slice(taken);
                    bytes = rest;
                }
                None => self.blocks.push_back(Vec::with_capacity(room)),
            }
        }
    }

    /// All in one piece.
    pub(crate) fn into_bytes(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.len).unwrap_or_default());
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Read for Pile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(first) = self.blocks.front() else { return Ok(0) };
        let left = first.get(self.read..).unwrap_or_default();
        let count = left.len().min(out.len());
        let (Some(from), Some(to)) = (left.get(..count), out.get_mut(..count)) else { return Ok(0) };
        to.copy_from_slice(from);
        self.read += count;
        self.len -= count as u64;
        if self.read >= first.len() {
            self.blocks.pop_front();
            self.read = 0;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_let_go_of() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 5).map(|at| (at % 251) as u8).collect();
        let mut pile = Pile::default();
        for chunk in bytes.chunks(1000) {
            pile.push(chunk);
        }
        assert_eq!((pile.len(), pile.blocks.len()), (bytes.len() as u64, 4));
        let mut first = vec![0; 2 * BLOCK];
        pile.read_exact(&mut first).unwrap();
        assert_eq!((pile.len(), pile.blocks.len()), ((BLOCK + 5) as u64, 2));
        let rest = pile.into_bytes().unwrap();
        assert_eq!([first, rest].concat(), bytes);
    }
}
