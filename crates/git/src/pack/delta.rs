//! Deltas: a recipe of copies from a base and new bytes.

use super::PackError;

const BROKEN: PackError = PackError::Damaged("a delta makes no sense");

/// Makes the object that a delta describes, of at most `limit` bytes.
pub(super) fn apply(base: &[u8], delta: &[u8], limit: u64) -> Result<Vec<u8>, PackError> {
    let mut rest = delta;
    let expected = size(&mut rest)?;
    let length = size(&mut rest)?;
    if expected != base.len() as u64 {
        return Err(BROKEN);
    }
    if length > limit {
        return Err(PackError::TooLarge(limit));
    }
    let length = usize::try_from(length).map_err(|_| BROKEN)?;
    let mut out = Vec::with_capacity(length);
    while let Some((command, tail)) = rest.split_first() {
        rest = tail;
        let bytes = match command {
            0 => return Err(BROKEN),
            command if command & 0x80 != 0 => {
                let from = number(*command, 4, &mut rest)?;
                let count = match number(*command >> 4, 3, &mut rest)? {
                    0 => 0x10000,
                    count => count,
                };
                base.get(from..from + count).ok_or(BROKEN)?
            }
            count => {
                let (bytes, tail) = rest.split_at_checked(usize::from(*count)).ok_or(BROKEN)?;
                rest = tail;
                bytes
            }
        };
        if out.len() + bytes.len() > length {
            return Err(BROKEN);
        }
        out.extend_from_slice(bytes);
    }
    if out.len() == length { Ok(out) } else { Err(BROKEN) }
}

/// Seven bits a byte, the lowest first.
fn size(rest: &mut &[u8]) -> Result<u64, PackError> {
    let (mut size, mut shift) = (0_u64, 0);
    loop {
        let (byte, tail) = rest.split_first().ok_or(BROKEN)?;
        *rest = tail;
        if shift > 56 {
            return Err(BROKEN);
        }
        size |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
}

/// The bytes that the lowest `count` bits of `flags` say are there, the lowest first.
fn number(flags: u8, count: u32, rest: &mut &[u8]) -> Result<usize, PackError> {
    let mut value = 0;
    for place in (0..count).filter(|place| flags & (1 << place) != 0) {
        let (byte, tail) = rest.split_first().ok_or(BROKEN)?;
        *rest = tail;
        value |= usize::from(*byte) << (8 * place);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_insertions_make_an_object() {
        // 5 -> 8 bytes: copy 2 from 3, insert "new", copy 3 from 0.
        let delta = b"\x05\x08\x91\x03\x02\x03new\x90\x03";
        assert_eq!(apply(b"abcde", delta, 100).unwrap(), b"denewabc");
        let long = vec![7; 0x10000];
        assert_eq!(apply(&long, b"\x80\x80\x04\x80\x80\x04\x80", 1 << 20).unwrap(), long);
    }

    #[test]
    fn recipes_that_lead_astray_are_refused() {
        for delta in [
            &b""[..],
            b"\x05",
            b"\x04\x02\x90\x02",                                 // another base
            b"\x05\x02\x91\x04\x02",                             // copy beyond the base
            b"\x05\x02\x90\x03",                                 // more than promised
            b"\x05\x03\x90\x02",                                 // less than promised
            b"\x05\x02\x03ab",                                   // insertion cut off
            b"\x05\x02\x91\x04",                                 // copy cut off
            b"\x05\x02\x00",                                     // reserved
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x01", // size beyond reason
        ] {
            assert!(matches!(apply(b"abcde", delta, 100), Err(PackError::Damaged(_))), "{delta:?}");
        }
        assert!(matches!(apply(b"abcde", b"\x05\x65", 100), Err(PackError::TooLarge(100))));
    }
}
