//! Ids of people on their way in: where the operator gave a key, the subject and the session of every request become a keyed hash
//! before anything else sees them. Owns the hash, its key's file, and which part of a row's key is a person. Nothing behind the
//! door knows what an id was, so nothing behind it can tell.

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};
use selvedge_decision::definition::By;
use selvedge_decision::ids::unhex;
use sha2::{Digest as _, Sha256};

use crate::features::entity::PAIR_SEPARATOR;

/// What a hashed id begins with.
const PREFIX: &str = "h.";
/// Bytes of a hash that are kept.
const HASH_BYTES: usize = 16;
/// Bytes of a hashed id: the prefix, and 16 bytes in base64url.
const ID_BYTES: usize = 24;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// The block of SHA-256, in bytes, which HMAC fills with the key.
const BLOCK_BYTES: usize = 64;
/// The largest key file, in bytes.
const MAX_FILE_BYTES: u64 = 1_024;

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

/// The operator's key. HMAC-SHA-256 (RFC 2104) with the key's block gone through already, so that an id costs two blocks.
#[derive(Clone)]
pub struct IdsKey {
    inner: Sha256,
    outer: Sha256,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum BadIdsKey {
    /// The file cannot be read.
    #[error("ids.key: cannot read {path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// Others may read the file, or write it.
    #[error(
        "ids.key: {path} has the mode {mode:04o}: others than its owner and its group can use it; chmod 600 {path}"
    )]
    Mode {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds no key.
    #[error(
        "ids.key: {path} holds no key of ids: expected one line of 64 hex digits, as `selvedge ids keygen` or `openssl rand -hex 32` makes it"
    )]
    Text {
        /// The file.
        path: String,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(std::io::Error),
}

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
    /// A new key's file: 64 hex digits from the operating system's random bytes.
    pub fn generate() -> Result<String, BadIdsKey> {
        let mut key = [0; KEY_BYTES];
        let mut filled = 0;
        while let Some(rest) = key.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += getrandom(rest, GetRandomFlags::empty()).map_err(|error| BadIdsKey::Random(error.into()))?;
        }
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{digits}\n"))
    }

    /// Reads a key's file, which nobody but its owner and its group may read.
    pub fn read(path: &Path) -> Result<Self, BadIdsKey> {
        let name = || path.display().to_string();
        let read = || {
            let file = std::fs::File::open(path)?;
            let mode = file.metadata()?.permissions().mode() & 0o7777;
            let mut text = String::new();
            file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
            std::io::Result::Ok((mode, text))
        };
        let (mode, text) = read().map_err(|why| BadIdsKey::Read { path: name(), why })?;
        if mode & 0o027 != 0 {
            return Err(BadIdsKey::Mode { path: name(), mode });
        }
        let key = unhex(text.trim()).ok_or_else(|| BadIdsKey::Text { path: name() })?;
        Ok(Self::new(&key))
    }

    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let pad = |with: u8| {
            let mut block = [with; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        Self { inner: pad(0x36), outer: pad(0x5c) }
    }

    /// The hashed id: the first 16 bytes of HMAC-SHA-256 of the kind, a zero byte and the id.
    pub fn hash(&self, kind: Kind, id: &str) -> String {
        let mac = self.mac(&[kind.as_str().as_bytes(), &[0], id.as_bytes()]);
        let mut text = String::with_capacity(ID_BYTES);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&mac[..HASH_BYTES], &mut text);
        text
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        self.outer.clone().chain_update(inner.finalize()).finalize().into()
    }
}

impl fmt::Debug for IdsKey {
    /// Says nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdsKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn key() -> IdsKey {
        let bytes: Vec<u8> = (0..32).collect();
        IdsKey::new(&bytes.try_into().unwrap())
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

    #[test]
    fn a_key_file_is_one_that_others_cannot_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.key");
        let write = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            IdsKey::read(&path).map_err(|bad| bad.to_string())
        };
        let text = IdsKey::generate().unwrap();
        assert!(write(&text, 0o600).is_ok() && write(&text, 0o440).is_ok());
        for mode in [0o604, 0o602, 0o620, 0o644] {
            assert!(write(&text, mode).unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        for wrong in [
            "",
            "00",
            &text.trim()[1..],
            &text.replace(|c: char| c.is_ascii_hexdigit(), "x"),
            &format!("{}00", text.trim()),
        ] {
            assert!(write(wrong, 0o600).unwrap_err().contains("64 hex digits"), "{wrong:?}");
        }
        assert!(IdsKey::read(&folder.path().join("none")).unwrap_err().to_string().contains("cannot read"));
        assert_ne!(IdsKey::generate().unwrap(), text, "two keys are two");
        assert!(!format!("{:?}", key()).contains(|c: char| c.is_ascii_digit()), "it shows itself");
    }
}
