//! Entities by name: in memory the text itself, on NATS a key. Owns the mapping between the two; must not know views.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selvedge_decision::assign::murmur3_x86_32;

/// What stands between the two texts of a pair, in memory and on disk.
pub const PAIR_SEPARATOR: char = '\0';

/// The longest entity, in bytes; pairs together.
pub const MAX_ENTITY_BYTES: usize = 512;

/// The longest key: base64 takes four bytes for three, and begins anew in the second of a pair.
const MAX_KEY_BYTES: usize = MAX_ENTITY_BYTES.div_ceil(3) * 4 + 4;

/// Why a text or key names no entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEntity {
    /// A text is empty.
    #[error("an entity's name is empty")]
    Empty,
    /// A text is too long.
    #[error("an entity's name has {bytes} bytes, at most {MAX_ENTITY_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A text holds the separator.
    #[error("an entity's name holds a NUL character, which stands between the two of a pair")]
    Nul,
    /// More than two texts.
    #[error("an entity is one name or a pair, not {parts}")]
    Parts {
        /// How many.
        parts: usize,
    },
    /// A key that was not written by these rules.
    #[error("the key {key:?} is not base64url(entity), pairs joined by '.'")]
    Key {
        /// The key, cut to 80 characters.
        key: String,
    },
}

/// The entity of one name or two.
pub fn entity<'p>(parts: impl IntoIterator<Item = &'p str>) -> Result<String, BadEntity> {
    let mut entity = String::new();
    let mut count = 0;
    for part in parts {
        if part.is_empty() {
            return Err(BadEntity::Empty);
        }
        if part.contains(PAIR_SEPARATOR) {
            return Err(BadEntity::Nul);
        }
        if count > 0 {
            entity.push(PAIR_SEPARATOR);
        }
        entity.push_str(part);
        count += 1;
    }
    match count {
        1 | 2 if entity.len() <= MAX_ENTITY_BYTES => Ok(entity),
        1 | 2 => Err(BadEntity::TooLong { bytes: entity.len() }),
        parts => Err(BadEntity::Parts { parts }),
    }
}

/// Whether a text, joined from one name or two as it is in memory, can be an entity's at all.
pub fn is_entity(text: &str) -> bool {
    let mut parts = text.split(PAIR_SEPARATOR);
    let named = |part: Option<&str>| part.is_none_or(|part| !part.is_empty());
    text.len() <= MAX_ENTITY_BYTES && named(parts.next()) && named(parts.next()) && parts.next().is_none()
}

/// The shard, of so many, that has an entity: murmur3_x86_32 (seed 0) of its KV key, times their number, without the lower
/// 32 bits.
pub fn shard_of(entity: &str, shards: u32) -> u32 {
    // On the stack: a decision asks for every row it reads.
    let mut key = [0; MAX_KEY_BYTES];
    let mut end = 0;
    for (at, part) in entity.split(PAIR_SEPARATOR).enumerate() {
        if at > 0 && end < MAX_KEY_BYTES {
            key[end] = b'.';
            end += 1;
        }
        // What does not fit is longer than any entity, and has no row in whichever shard.
        let Ok(bytes) = URL_SAFE_NO_PAD.encode_slice(part, &mut key[end..]) else { return 0 };
        end += bytes;
    }
    ((u64::from(murmur3_x86_32(&key[..end])) * u64::from(shards)) >> 32) as u32
}

/// What the bucket of a shard is called behind the prefix `features_`.
pub fn shard_name(view: &str, shard: u32) -> String {
    format!("{view}_{shard}")
}

/// What the buckets of a view's rows are called behind that prefix: that of the view, or one a shard.
pub fn bucket_names(view: &str, shards: Option<u32>) -> Vec<String> {
    shards.map_or_else(|| vec![view.to_owned()], |shards| (0..shards).map(|shard| shard_name(view, shard)).collect())
}

/// The KV key of an entity.
pub fn key_of(entity: &str) -> String {
    let parts = entity.split(PAIR_SEPARATOR).map(|part| URL_SAFE_NO_PAD.encode(part));
    parts.collect::<Vec<_>>().join(".")
}

/// The entity of a KV key.
pub fn entity_of(key: &str) -> Result<String, BadEntity> {
    let bad = || BadEntity::Key { key: key.chars().take(80).collect() };
    let mut entity = String::with_capacity(key.len());
    for (index, part) in key.split('.').enumerate() {
        if index > 0 {
            entity.push(PAIR_SEPARATOR);
        }
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| bad())?;
        let text = std::str::from_utf8(&bytes).map_err(|_| bad())?;
        if text.is_empty() || text.contains(PAIR_SEPARATOR) || index > 1 {
            return Err(bad());
        }
        entity.push_str(text);
    }
    if entity.len() > MAX_ENTITY_BYTES { Err(BadEntity::TooLong { bytes: entity.len() }) } else { Ok(entity) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_reads_back_as_its_entity() {
        let check = |parts: &[&str], key: &str| {
            let entity = entity(parts.iter().copied()).unwrap();
            assert_eq!(key_of(&entity), key);
            assert_eq!(entity_of(key), Ok(entity));
        };
        check(&["sku-1"], "c2t1LTE");
        check(&["sku-1", "DE"], "c2t1LTE.REU");
        check(&["ü.* >"], "w7wuKiA-");
    }

    #[test]
    fn an_entity_has_the_shard_that_any_client_computes() {
        // As Python has it: mmh3.hash(key, signed=False) * shards >> 32.
        for (entity, shards, expected) in [("u-42", 64, 53), ("u-43", 64, 45), ("sku-1\0DE", 64, 46), ("u-42", 2, 1)] {
            assert_eq!(shard_of(entity, shards), expected, "{entity:?} of {shards}");
        }
        for entity in ["x".repeat(MAX_ENTITY_BYTES), format!("{}\0{}", "x".repeat(256), "y".repeat(255))] {
            let hash = murmur3_x86_32(key_of(&entity).as_bytes());
            assert_eq!(u64::from(shard_of(&entity, 1 << 16)), u64::from(hash) >> 16, "{} bytes", entity.len());
        }
        assert_eq!(shard_of(&"x".repeat(5_000), 64), 0, "no entity is that long");
        let mut counts = [0; 8];
        (0..8_000).for_each(|at| counts[shard_of(&format!("u-{at}"), 8) as usize] += 1);
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_names_no_entity_is_refused() {
        assert_eq!(entity([""]), Err(BadEntity::Empty));
        assert_eq!(entity([]), Err(BadEntity::Parts { parts: 0 }));
        assert_eq!(entity(["a", "b", "c"]), Err(BadEntity::Parts { parts: 3 }));
        assert_eq!(entity(["a\0b"]), Err(BadEntity::Nul));
        for (text, expected) in
            [("a", true), ("a\0b", true), ("", false), ("a\0", false), ("\0b", false), ("a\0b\0c", false)]
        {
            assert_eq!(is_entity(text), expected, "{text:?}");
        }
        let long = "x".repeat(513);
        assert_eq!(entity([long.as_str()]), Err(BadEntity::TooLong { bytes: 513 }));
        for key in ["", "c2t1LTE.", ".c2t1LTE", "c2t1LTE=", "sku 1", "_w", "YQ.YQ.YQ", "AA"] {
            assert_eq!(entity_of(key), Err(BadEntity::Key { key: key.into() }), "{key}");
        }
    }
}
