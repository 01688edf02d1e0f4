//! Ids of people on their way in: where the operator gave a key, the subject and the session of every request become a keyed hash
//! before anything else sees them. Owns the hash, and which part of a row's key is a person. Nothing behind the
//! door knows what an id was, so nothing behind it can tell.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selvedge_decision::definition::By;

use crate::features::entity::PAIR_SEPARATOR;
use crate::secret::{BadSecret, Secret};

/// What a hashed id begins with.
const PREFIX: &str = "h.";
/// Bytes of a hash that are kept.
const HASH_BYTES: usize = 16;
/// Bytes of a hashed id: the prefix, and 16 bytes in base64url.
const ID_BYTES: usize = 24;

/// Whose id it is. The same text names another one as a subject than as a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person.
    Subject,
    /// A session of one.
    Session,
}

/// What becomes of ids: hashed by a key, or kept as they come. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ids(Option<Arc<IdsKey>>);

/// The operator's key of ids.
#[derive(Debug, Clone)]
pub struct IdsKey(Secret);

// === impl Kind ===

impl Kind {
    /// The kind that a name in a view's `by` is of; `None` for items and values of the context, which are nobody's.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "subject" => Some(Self::Subject),
            "session" => Some(Self::Session),
            _ => None,
        }
    }

    /// Its name, which goes into the hash.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Session => "session",
        }
    }
}

// === impl Ids ===

impl Ids {
    /// Hashed by this key.
    pub fn keyed(key: IdsKey) -> Self {
        Self(Some(Arc::new(key)))
    }

    /// Whether there is a key.
    pub fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// The id as everything behind the door knows it. One that is a hash already stays.
    pub fn known_as<'i>(&self, kind: Kind, id: &'i str) -> Cow<'i, str> {
        match &self.0 {
            Some(key) if !is_hashed(id) => Cow::Owned(key.hash(kind, id)),
            _ => Cow::Borrowed(id),
        }
    }

    /// As [`Ids::known_as`], in place.
    pub fn replace(&self, kind: Kind, id: &mut Option<String>) {
        if let (Some(key), Some(id)) = (&self.0, id)
            && !is_hashed(id)
        {
            *id = key.hash(kind, id);
        }
    }

    /// An entity of a view by `by` as its key is to say it: with the parts that are people hashed.
    pub fn entity(&self, by: &By, entity: &str) -> String {
        let part = |name: &str, text: &str| match Kind::of(name) {
            Some(kind) => self.known_as(kind, text).into_owned(),
            None => text.to_owned(),
        };
        match (by, entity.split_once(PAIR_SEPARATOR)) {
            (By::Pair([a, b]), Some((first, second))) => {
                format!("{}{PAIR_SEPARATOR}{}", part(a, first), part(b, second))
            }
            (By::One(one), None) => part(one, entity),
            // Of another shape than the view's: nobody will ask for it.
            _ => entity.to_owned(),
        }
    }
}

/// Whether an id is a hash by its form: `h.` and 16 bytes in base64url.
pub fn is_hashed(id: &str) -> bool {
    let Some(text) = id.strip_prefix(PREFIX).filter(|_| id.len() == ID_BYTES) else { return false };
    // Three bytes more than a hash has, which is what the decoder wants of room.
    let mut bytes = [0; HASH_BYTES + 3];
    URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).is_ok_and(|count| count == HASH_BYTES)
}

// === impl IdsKey ===

impl IdsKey {
    /// A new key's file.
    pub fn generate() -> Result<String, BadSecret> {
        Secret::generate()
    }

    /// Reads a key's file, which nobody but its owner and its group may read.
    pub fn read(path: &Path) -> Result<Self, BadSecret> {
        Secret::read("ids.key", path).map(Self)
    }

    /// The hashed id: the first 16 bytes of HMAC-SHA-256 of the kind, a zero byte and the id.
    pub fn hash(&self, kind: Kind, id: &str) -> String {
        let mac = self.0.mac(&[kind.as_str().as_bytes(), &[0], id.as_bytes()]);
        let mut text = String::with_capacity(ID_BYTES);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&mac[..HASH_BYTES], &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn key() -> IdsKey {
        let bytes: Vec<u8> = (0..32).collect();
        IdsKey(Secret::new(&bytes.try_into().unwrap()))
    }

    #[test]
    fn an_id_has_the_hash_that_any_client_computes() {
        // As Python has it: hmac.new(bytes(range(32)), b"subject\0u-42", "sha256").digest()[:16], in base64url.
        let check = |kind: Kind, id: &str, expected: &str| assert_eq!(key().hash(kind, id), expected, "{id:?}");
        check(Kind::Subject, "u-42", "h.zLt5QOlFoz55DViZ8HtJoQ");
        check(Kind::Session, "u-42", "h.D8P44CoD5YsdmkbwEModEA");
        check(Kind::Subject, &"ü".repeat(128), "h.6JY86gGbO0G8iNc1f1MFog");
    }

    #[test]
    fn what_is_a_hash_already_stays() {
        let ids = Ids::keyed(key());
        let hashed = ids.known_as(Kind::Subject, "u-42").into_owned();
        assert_eq!(ids.known_as(Kind::Subject, &hashed), hashed);
        assert_eq!(ids.known_as(Kind::Session, &hashed), hashed);
        for id in [
            "h.",
            "h.u-42",
            "H.AAAAAAAAAAAAAAAAAAAAAA",
            "h.AAAAAAAAAAAAAAAAAAAAAB",
            "h.AAAAAAAAAAAAAAAAAAAAA+",
            "h.AAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_ne!(ids.known_as(Kind::Subject, id), id, "{id:?} is no hash");
        }
        assert!(is_hashed("h.AAAAAAAAAAAAAAAAAAAAAA"));
        assert_eq!(Ids::default().known_as(Kind::Subject, "u-42"), "u-42");
        let mut id = Some("u-42".to_owned());
        ids.replace(Kind::Subject, &mut id);
        assert_eq!(id, Some(hashed));
    }

    #[test]
    fn of_a_key_those_parts_are_hashed_that_are_people() {
        let ids = Ids::keyed(key());
        let subject = ids.known_as(Kind::Subject, "u-42").into_owned();
        let session = ids.known_as(Kind::Session, "s-1").into_owned();
        let one = |name: &str| By::One(name.into());
        let pair = |a: &str, b: &str| By::Pair([a.into(), b.into()]);
        assert_eq!(ids.entity(&one("subject"), "u-42"), subject);
        assert_eq!(ids.entity(&one("session"), "s-1"), session);
        assert_eq!(ids.entity(&one("item"), "u-42"), "u-42");
        assert_eq!(ids.entity(&pair("subject", "item"), "u-42\0sku-1"), format!("{subject}\0sku-1"));
        assert_eq!(ids.entity(&pair("item", "session"), "u-42\0s-1"), format!("u-42\0{session}"));
        assert_eq!(ids.entity(&pair("item", "context.market"), "u-42\0DE"), "u-42\0DE");
        assert_eq!(Ids::default().entity(&one("subject"), "u-42"), "u-42");
    }
}
