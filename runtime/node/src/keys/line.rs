//! A line of a keys file: one key as JSON. Owns what a key may say, and how a new one is made; `selvedge keys` writes what nodes read.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};
use selvedge_decision::Digest;
use selvedge_decision::definition::Time;
use selvedge_decision::ids::unhex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PUBLISHABLE, SERVER};

/// Random bytes of a server key: what has 256 random bits cannot be guessed, so a fast hash keeps it as well as a slow one would. Slow
/// hashes are for passwords, which people choose; here one would only cost every request its time.
const SECRET_BYTES: usize = 32;
/// Random bytes of a publishable key, which is no secret: enough that no two are the same.
const PUBLISHABLE_BYTES: usize = 18;
/// Bytes of a key's id, which is the beginning of its hash.
const ID_BYTES: usize = 6;
/// The longest name, in bytes: it is a label of metrics.
const MAX_NAME: usize = 64;
/// The most origins of a key, and the most placements.
const MAX_LISTED: usize = 256;
/// The least and the most requests a second.
const RATES: [f64; 2] = [0.01, 1e6];
/// The most requests at once.
const MAX_BURST: u32 = 1_000_000;

/// One key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// For pages.
    Publishable(PublishableLine),
    /// For servers.
    Server(ServerLine),
}

/// `{"publishable":{"name":"shop-web","key":"pk_…","origins":["https://shop.example"],"placements":["*"],"rate":50,"burst":100}}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishableLine {
    /// What it is called in messages and metrics. Two keys may have one name, while one takes the place of the other.
    pub name: String,
    /// The key.
    pub key: String,
    /// The origins of the pages that may use it; `*` is every page.
    pub origins: Vec<String>,
    /// The placements it may ask for; `*` is each that is `browser = true`.
    pub placements: Vec<String>,
    /// Requests a second, on each node.
    pub rate: f64,
    /// Requests at once, on each node.
    pub burst: u32,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// From when on it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// `{"server":{"name":"checkout","sha256":"64 hex digits","scopes":["decide","events"]}}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerLine {
    /// What it is called in messages and metrics. Two keys may have one name, while one takes the place of the other.
    pub name: String,
    /// The hash of the key.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub sha256: Digest,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// From when on it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// What a server key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// `/v1/decide`, `/v1/decide/batch` and flags.
    Decide,
    /// `/v1/events`.
    Events,
    /// The admin listener.
    Admin,
}

/// What is wrong with a line, or with a key to be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLine(String);

// === impl Line ===

impl Line {
    /// A new key for pages.
    ///
    /// # Errors
    ///
    /// When it says what cannot be, or the operating system gives no random bytes.
    pub fn publishable(line: PublishableLine) -> Result<Self, BadLine> {
        let key = format!("{PUBLISHABLE}{}", random::<PUBLISHABLE_BYTES>()?);
        Self::Publishable(PublishableLine { key, ..line }).checked()
    }

    /// A new key for servers, and the secret, which is nowhere else.
    ///
    /// # Errors
    ///
    /// As [`Line::publishable`].
    pub fn server(line: ServerLine) -> Result<(Self, String), BadLine> {
        let secret = format!("{SERVER}{}", random::<SECRET_BYTES>()?);
        let line = Self::Server(ServerLine { sha256: Digest::of(secret.as_bytes()), ..line }).checked()?;
        Ok((line, secret))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Publishable(line) => &line.name,
            Self::Server(line) => &line.name,
        }
    }

    /// When it was made, and from when on it is none.
    pub fn times(&self) -> (Option<Time>, Option<Time>) {
        match self {
            Self::Publishable(line) => (line.created, line.expires),
            Self::Server(line) => (line.created, line.expires),
        }
    }

    /// The hash of the key.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Publishable(line) => Digest::of(line.key.as_bytes()),
            Self::Server(line) => line.sha256,
        }
    }

    /// What tells it from others of its name: 12 hex digits.
    pub fn id(&self) -> String {
        self.digest().hex().chars().take(2 * ID_BYTES).collect()
    }

    fn checked(self) -> Result<Self, BadLine> {
        let bad = |why: String| Err(BadLine(why));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name = self.name();
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return bad(format!("name {name:?}: expected 1 to {MAX_NAME} of a-z, A-Z, 0-9, `.`, `_` and `-`"));
        }
        match &self {
            Self::Server(line) if line.scopes.is_empty() => {
                bad("scopes: a key without any may do nothing; there are decide, events and admin".to_owned())
            }
            Self::Server(_) => Ok(self),
            Self::Publishable(line) => match line.problem() {
                Some(why) => bad(why),
                None => Ok(self),
            },
        }
    }
}

impl FromStr for Line {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        serde_json::from_str::<Self>(line).map_err(|error| BadLine(format!("is no key: {error}")))?.checked()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Texts and numbers alone: writing them cannot fail.
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

// === impl PublishableLine ===

impl PublishableLine {
    fn problem(&self) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let rest = self.key.strip_prefix(PUBLISHABLE);
        if !rest.is_some_and(|rest| (16..=128).contains(&rest.len()) && rest.bytes().all(plain)) {
            return Some(format!("key: expected {PUBLISHABLE} and 16 to 128 of a-z, A-Z, 0-9, `-` and `_`"));
        }
        if let Some(origin) = self.origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
            return Some(match without_port(origin).filter(|said| is_origin(said)) {
                Some(said) => {
                    format!("origins: {origin:?} names its scheme's own port, which no browser does: say {said:?}")
                }
                None => {
                    let like = "\"https://shop.example\" or \"http://localhost:3000\", without a path, or \"*\"";
                    format!("origins: {origin:?} is no origin such as {like}")
                }
            });
        }
        for (field, list) in [("origins", &self.origins), ("placements", &self.placements)] {
            if list.is_empty() || list.len() > MAX_LISTED {
                return Some(format!("{field}: {} of them, expected 1 to {MAX_LISTED}; \"*\" is all", list.len()));
            }
        }
        let [least, most] = RATES;
        if !(least..=most).contains(&self.rate) {
            return Some(format!("rate: {} requests a second, expected {least} to {most}", self.rate));
        }
        if self.burst == 0 || self.burst > MAX_BURST {
            return Some(format!("burst: {} requests, expected 1 to {MAX_BURST}", self.burst));
        }
        None
    }
}

/// Whether a text is an origin as browsers send it: a scheme and a place, nothing behind it, and no port that goes without saying.
pub fn is_origin(text: &str) -> bool {
    let place = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    let is_plain = place.is_some_and(|(_, place)| !place.is_empty() && place.bytes().all(plain));
    is_plain && without_port(text).is_none()
}

/// An origin without its scheme's own port, where it names that.
fn without_port(origin: &str) -> Option<&str> {
    origin.strip_suffix(if origin.starts_with("https://") { ":443" } else { ":80" })
}

// === impl Scope ===

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Decide, Self::Events, Self::Admin];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Events => "events",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or_else(|| format!("there is no scope {text:?}; there are decide, events and admin"))
    }
}

fn random<const N: usize>() -> Result<String, BadLine> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let more = getrandom(rest, GetRandomFlags::empty());
        filled += more.map_err(|error| BadLine(format!("no random bytes from the operating system: {error}")))?;
    }
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn to_hex<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&digest.hex())
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = unhex(&text).ok_or_else(|| serde::de::Error::custom("expected the 64 hex digits of a SHA-256"))?;
    Ok(Digest(bytes))
}
