//! Packed bodies. Owns how far one is unpacked: a bomb costs no more than the largest body.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::events::{BadBatch, BatchCode};

/// What gzip begins with; no JSON does.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The body as it was before it was packed, of at most `limit` bytes. Whether it is packed it says itself: proxies unpack
/// bodies and leave the header, and browsers pack them and cannot set it.
pub(super) fn unpack<'a>(body: &'a [u8], encoding: &str, limit: usize) -> Result<Cow<'a, [u8]>, BadBatch> {
    let known = ["", "identity", "gzip", "x-gzip"];
    if !known.iter().any(|known| encoding.trim().eq_ignore_ascii_case(known)) {
        let message = format!("Content-Encoding {encoding:?} is not taken: send gzip, or nothing packed");
        return Err(BadBatch { code: BatchCode::UnsupportedEncoding, message, limit: None });
    }
    if !body.starts_with(&MAGIC) {
        return Ok(Cow::Borrowed(body));
    }
    match read(MultiGzDecoder::new(body), limit) {
        Ok(Some(unpacked)) => Ok(Cow::Owned(unpacked)),
        Ok(None) => {
            let message =
                format!("the batch unpacks to more than the {limit} bytes that are allowed: send smaller batches");
            Err(BadBatch { code: BatchCode::BodyTooLarge, message, limit: Some(limit) })
        }
        Err(error) => {
            let message = format!("the body begins as gzip and does not unpack: {error}");
            Err(BadBatch { code: BatchCode::InvalidEncoding, message, limit: None })
        }
    }
}

/// All that `from` has, unless it is more than `limit` bytes: then no more than those are read.
fn read(from: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() <= limit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_packed_is_unpacked_up_to_the_limit() {
        let packed = pack(&[b' '; 1000]);
        for encoding in ["gzip", "GZIP", "x-gzip", "identity", ""] {
            assert_eq!(unpack(&packed, encoding, 1000).unwrap().len(), 1000, "{encoding:?}");
        }
        let twice = [packed.clone(), packed.clone()].concat();
        assert_eq!(unpack(&twice, "gzip", 2000).unwrap().len(), 2000, "gzip may have several members");
        assert_eq!(*unpack(b"[]", "gzip", 1000).unwrap(), *b"[]", "a proxy unpacked it and left the header");
        let check = |body: &[u8], encoding: &str, code: BatchCode, limit: Option<usize>| {
            let bad = unpack(body, encoding, 999).unwrap_err();
            assert_eq!((bad.code, bad.limit), (code, limit), "{bad}");
        };
        check(&packed, "gzip", BatchCode::BodyTooLarge, Some(999));
        check(&packed[..20], "gzip", BatchCode::InvalidEncoding, None);
        check(&[&packed[..], b"tail"].concat(), "gzip", BatchCode::BodyTooLarge, Some(999));
        check(&pack(b"[]")[..12], "", BatchCode::InvalidEncoding, None);
        check(b"[]", "br", BatchCode::UnsupportedEncoding, None);
        check(b"[]", "gzip, gzip", BatchCode::UnsupportedEncoding, None);
    }

    // A body that is allowed may unpack to a thousand times as much: that is neither held nor read.
    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        assert_eq!(read(io::repeat(b' '), 1000).unwrap(), None, "this never ends if all of it is read");
        let bomb = pack(&vec![0; 16 << 20]);
        assert!(bomb.len() < 20 << 10);
        let bad = unpack(&bomb, "gzip", 500 << 10).unwrap_err();
        assert_eq!((bad.code, bad.limit), (BatchCode::BodyTooLarge, Some(500 << 10)));
    }
}
