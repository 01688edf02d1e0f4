//! Assignment of units to arms: the same arm for the same unit on every node and in every browser. Owns the hash and the
//! table of slots.

/// Slots of an experiment's table: one is 0.01 % of the units.
pub const SLOTS: u32 = 10_000;

/// MurmurHash3, x86 32-bit variant, seed 0 (Austin Appleby, public domain; SMHasher's `MurmurHash3_x86_32`).
pub fn murmur3_x86_32(bytes: &[u8]) -> u32 {
    let mut hash = 0u32;
    let chunks = bytes.chunks_exact(4);
    let tail = chunks.remainder();
    for chunk in chunks {
        hash ^= scramble(u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let block = tail.iter().rev().fold(0, |block, byte| block << 8 | u32::from(*byte));
        hash ^= scramble(block);
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

/// The slot, 0 to 9,999, of `unit` under `salt`: murmur3 of salt ‖ 0x00 ‖ unit, scaled.
pub fn bucket(salt: &str, unit: &str) -> u16 {
    let mut bytes = Vec::with_capacity(salt.len() + 1 + unit.len());
    bytes.extend_from_slice(salt.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(unit.as_bytes());
    ((u64::from(murmur3_x86_32(&bytes)) * u64::from(SLOTS)) >> 32) as u16
}

/// Which arm has a slot: for each arm the first slot after its last, in order. `weights` must not all be 0.
pub fn bounds(weights: &[u32]) -> Vec<u16> {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut seen = 0u64;
    weights
        .iter()
        .map(|weight| {
            seen += u64::from(*weight);
            (seen * u64::from(SLOTS)).checked_div(sum).unwrap_or(0) as u16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur3_gives_the_published_values() {
        // The reference implementation's results with seed 0.
        for (text, hash) in [
            ("", 0),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
            ("aaaa", 0x7eee_d987),
            ("abc", 0xb3dd_93fa),
        ] {
            assert_eq!(murmur3_x86_32(text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn bounds_cover_all_slots() {
        assert_eq!(bounds(&[50, 50]), [5_000, 10_000]);
        assert_eq!(bounds(&[1, 1, 1]), [3_333, 6_666, 10_000]);
        assert_eq!(bounds(&[0, 7]), [0, 10_000]);
    }
}
