//! Entities by name: in memory the text itself, on NATS a key. Owns the mapping between the two; must not know views.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What stands between the two texts of a pair, in memory and on disk.
pub const PAIR_SEPARATOR: char = '\0';

/// The longest entity, in bytes; pairs together.
pub const MAX_ENTITY_BYTES: usize = 512;

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
