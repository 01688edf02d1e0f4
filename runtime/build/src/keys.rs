//! Keys that sign releases and channel pointers (ed25519). Owns their text forms and what a signature says; must not know
//! what is signed. The keys a node trusts, and their rotation, are `keys/trust.rs`.
//!
//! Every text is one line: `selvedge-ed25519-secret:BASE64`, `selvedge-ed25519-public:BASE64 NAME`, and for a signature
//! `selvedge-ed25519-signature:BASE64 KEYID`.

mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use selvedge_decision::Digest;

pub use self::trust::{TrustStore, Untrusted};

const SECRET: &str = "selvedge-ed25519-secret:";
const PUBLIC: &str = "selvedge-ed25519-public:";
const SIGNATURE: &str = "selvedge-ed25519-signature:";

/// The largest key file that is read, in bytes.
pub const MAX_KEY_FILE_BYTES: u64 = 64 << 10;

/// A secret key. It shows its id only, never itself, and is wiped from memory when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// A public key and the name its owner gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

/// The first 8 bytes of SHA-256 of a public key: a hint for people which key signed, never a proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

/// An ed25519 signature and the id of the key that made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    bytes: [u8; 64],
    key: KeyId,
}

/// Why a key or a signature cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The text is not what it should be.
    #[error("{at}: not a {what}: expected one line `{expected}`")]
    Text {
        /// The file, or where the text stands.
        at: String,
        /// What it should have been.
        what: &'static str,
        /// How that is written.
        expected: &'static str,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(String),
}

// === impl SigningKey ===

impl SigningKey {
    /// A new key from the operating system's random bytes.
    pub fn generate() -> Result<Self, BadKey> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| BadKey::Random(error.to_string()))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// Reads a key file as [`SigningKey::to_text`] writes it.
    pub fn read(path: &Path) -> Result<Self, BadKey> {
        let text = read_text(path)?;
        Self::from_text(&text).ok_or_else(|| BadKey::Text {
            at: path.display().to_string(),
            what: "secret key",
            expected: "selvedge-ed25519-secret:BASE64",
        })
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let secret = decode::<32>(words.next()?.strip_prefix(SECRET)?)?;
        words.next().is_none().then(|| Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// The line of a secret key file, with its newline.
    pub fn to_text(&self) -> String {
        format!("{SECRET}{}\n", STANDARD.encode(self.0.to_bytes()))
    }

    /// The public half, under `name`.
    pub fn public(&self, name: &str) -> PublicKey {
        PublicKey { name: name.to_owned(), key: self.0.verifying_key() }
    }

    /// Signs `text`.
    pub fn sign(&self, text: &[u8]) -> Signature {
        Signature { bytes: self.0.sign(text).to_bytes(), key: KeyId::of(&self.0.verifying_key()) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", KeyId::of(&self.0.verifying_key()))
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// The name its owner gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.key)
    }

    /// The line of a public key file, with its newline.
    pub fn to_text(&self) -> String {
        format!("{PUBLIC}{} {}\n", STANDARD.encode(self.key.as_bytes()), self.name)
    }

    /// Reads a file of public keys, one a line; empty lines and lines that begin with `#` are skipped.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, BadKey> {
        let text = read_text(path)?;
        let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
        lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| {
                line.parse().map_err(|()| BadKey::Text {
                    at: format!("{}:{number}", path.display()),
                    what: "public key",
                    expected: "selvedge-ed25519-public:BASE64 NAME",
                })
            })
            .collect()
    }

    /// Whether this key made `signature` over `text`; weak keys and malleable signatures never do.
    pub fn verifies(&self, text: &[u8], signature: &Signature) -> bool {
        self.key.verify_strict(text, &ed25519_dalek::Signature::from_bytes(&signature.bytes)).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let (key, name) = line.trim().split_once(' ').ok_or(())?;
        let bytes = key.strip_prefix(PUBLIC).and_then(decode::<32>).ok_or(())?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(drop)?;
        let name = name.trim();
        let printable = !name.is_empty() && name.len() <= 100 && !name.chars().any(char::is_control);
        printable.then(|| Self { name: name.to_owned(), key }).ok_or(())
    }
}

// === impl KeyId ===

impl KeyId {
    fn of(key: &ed25519_dalek::VerifyingKey) -> Self {
        let digest = Digest::of(key.as_bytes());
        Self(std::array::from_fn(|i| digest.0[i]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Signature ===

impl Signature {
    /// The id of the key that made it, as it says.
    pub fn key(&self) -> KeyId {
        self.key
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SIGNATURE}{} {}", STANDARD.encode(self.bytes), self.key)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let parse = || {
            let (bytes, key) = text.strip_prefix(SIGNATURE)?.split_once(' ')?;
            Some(Self { bytes: decode(bytes)?, key: KeyId(unhex(key)?) })
        };
        parse().ok_or_else(|| BadKey::Text {
            at: "signature".into(),
            what: "signature",
            expected: "selvedge-ed25519-signature:BASE64 KEYID",
        })
    }
}

fn read_text(path: &Path) -> Result<String, BadKey> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| BadKey::Read { path: path.to_owned(), error })?;
    Ok(text)
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn unhex(text: &str) -> Option<[u8; 8]> {
    let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    plain.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_and_signatures_read_back_as_written() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_text(&key.to_text()).unwrap();
        let signature = again.sign(b"text");
        let public: PublicKey = key.public("ops").to_text().parse().unwrap();
        assert_eq!(public, key.public("ops"));
        let signature: Signature = signature.to_string().parse().unwrap();
        assert_eq!(signature.key(), public.id());
        assert!(public.verifies(b"text", &signature));
        assert!(!public.verifies(b"texT", &signature));
        assert!(!SigningKey::generate().unwrap().public("x").verifies(b"text", &signature));
    }

    #[test]
    fn a_secret_key_never_shows_itself() {
        let key = SigningKey::generate().unwrap();
        let secret = key.to_text();
        let shown = format!("{key:?}");
        assert!(!secret.contains(shown.trim_start_matches("SigningKey(").trim_end_matches(')')));
        assert!(shown.len() < 40);
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let key = SigningKey::generate().unwrap();
        let public = key.public("ops").to_text();
        for text in ["", "x", "selvedge-ed25519-secret:", "selvedge-ed25519-secret:AAAA", public.as_str()] {
            assert!(SigningKey::from_text(text).is_none(), "{text:?}");
        }
        let nameless = public.split(' ').next().unwrap();
        for text in ["", nameless, &format!("{nameless} "), &format!("{nameless} a\u{7}"), &key.to_text()] {
            assert!(text.parse::<PublicKey>().is_err(), "{text:?}");
        }
        let signature = key.sign(b"x").to_string();
        for text in [&signature[1..], &signature[..signature.len() - 1], signature.split(' ').next().unwrap()] {
            assert!(text.parse::<Signature>().is_err(), "{text:?}");
        }
    }
}
