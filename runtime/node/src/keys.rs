//! API keys: who may call a node, and for what. Owns the check of a key and what it is refused for; the file's lines are `keys/line.rs`,
//! rates `keys/rate.rs`. Knows no HTTP. A server key is a secret and kept as its hash; a publishable key stands in the source of a
//! page, so it is none: what it may do is bounded by origins, placements and a rate.

mod line;
mod metrics;
mod rate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_decision::definition::Time;
use selvedge_decision::{Digest, TimeUs};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use self::line::{BadLine, Line, PublishableLine, Scope, ServerLine, is_origin};
pub use self::metrics::Metrics;
use self::metrics::{Counts, Outcome};
use self::rate::Bucket;
use crate::clock::Clock;
use crate::watched::Watched;

/// What a publishable key begins with.
pub const PUBLISHABLE: &str = "pk_";
/// What a server key begins with.
pub const SERVER: &str = "sk_";
/// The most keys of one file.
pub const MAX_KEYS: usize = 1_000;

/// The keys of a file.
#[derive(Debug, Default)]
pub struct Keys {
    servers: Vec<ServerKey>,
    pages: BTreeMap<String, Arc<PublishableKey>>,
    /// Those that stood in the file before: one that comes back has of its rate what it had left.
    gone: BTreeMap<String, Arc<PublishableKey>>,
}

/// A key of a server, by its hash.
#[derive(Debug)]
struct ServerKey {
    line: ServerLine,
    counts: Counts,
}

/// A key of pages.
#[derive(Debug)]
pub struct PublishableKey {
    line: PublishableLine,
    bucket: Arc<Bucket>,
    counts: Counts,
}

/// Who may call a node. Cheap to clone; the default lets everybody.
#[derive(Debug, Clone, Default)]
pub struct Access {
    keys: Option<Arc<Watched<Keys>>>,
    clock: Clock,
    metrics: Metrics,
}

/// Why a caller may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A server's route was asked without a key.
    #[error(
        "no key: send a server key as `Authorization: Bearer sk_…` or `X-API-Key: sk_…`; `selvedge keys create` makes one"
    )]
    NoServerKey,
    /// A page's route was asked without a key.
    #[error("no key: send a publishable key as `?key=pk_…`; `selvedge keys create --publishable` makes one")]
    NoPublishableKey,
    /// No such key.
    #[error("there is no such key here, or it was revoked")]
    Unknown,
    /// A publishable key where a server's belongs.
    #[error("that is a publishable key, which is for /v1/browser/ alone; this needs a server key (sk_…)")]
    ForBrowsersOnly,
    /// A server key where a page's belongs.
    #[error("that is no publishable key (pk_…); if it is a server key, pages must not have it: revoke it")]
    ForServersOnly,
    /// The key is no longer one.
    #[error("key {name:?} expired at {at}: make another by `selvedge keys create`")]
    Expired {
        /// Its name.
        name: String,
        /// When, RFC 3339.
        at: String,
    },
    /// The key is for something else.
    #[error("key {name:?} has no scope {:?}, only {has}", scope.as_str())]
    Scope {
        /// Its name.
        name: String,
        /// What was asked of it.
        scope: Scope,
        /// What it has.
        has: String,
    },
    /// A page of an origin that the key does not name.
    #[error("key {name:?} does not allow pages of {origin:?}: {}", how_to_allow(origin, "the key's `origins`"))]
    Origin {
        /// Its name.
        name: String,
        /// The page's origin.
        origin: String,
    },
    /// More than the key's rate allows.
    #[error("key {name:?} asked for more than its rate allows on this node: come again")]
    Rate {
        /// Its name.
        name: String,
        /// When to come again.
        wait: Duration,
    },
}

/// Why a file holds no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// A line is not a key.
    #[error("line {number}: {why}")]
    Line {
        /// Its number, from 1.
        number: usize,
        /// What is wrong with it.
        why: BadLine,
    },
    /// A key stands twice.
    #[error("line {number}: the same key as in line {first}")]
    Twice {
        /// Its number, from 1.
        number: usize,
        /// Where it stands first.
        first: usize,
    },
    /// Not text.
    #[error("is not UTF-8")]
    NotText,
    /// Too many.
    #[error("has {found} keys, at most {MAX_KEYS}")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// None, where there were some.
    #[error("has no key any more: that would lock everybody out, and may be a file that is being written")]
    NoneLeft,
}

// === impl Keys ===

impl Keys {
    /// The keys of a file's text. Those that `before` has already keep what is left of their rate.
    pub fn read(text: &[u8], before: Option<&Self>, metrics: &Metrics) -> Result<Self, BadKeys> {
        let lines = lines(text)?;
        if lines.len() > MAX_KEYS {
            return Err(BadKeys::TooMany { found: lines.len() });
        }
        let mut seen = BTreeMap::new();
        for (number, line) in &lines {
            if let Some(first) = seen.insert(line.digest(), *number) {
                return Err(BadKeys::Twice { number: *number, first });
            }
        }
        if lines.is_empty() && before.is_some_and(|before| before.names().next().is_some()) {
            return Err(BadKeys::NoneLeft);
        }
        // The file is good: only now is something kept of it.
        let mut keys = Self::default();
        for (_, line) in lines {
            let counts = metrics.of(line.name());
            match line {
                Line::Server(line) => keys.servers.push(ServerKey { line, counts }),
                Line::Publishable(line) => {
                    let bucket = before.and_then(|before| before.bucket(&line));
                    let bucket = bucket.unwrap_or_else(|| Bucket::new(line.rate, line.burst).into());
                    keys.pages.insert(line.key.clone(), Arc::new(PublishableKey { line, bucket, counts }));
                }
            }
        }
        if let Some(before) = before {
            let gone = before.pages.iter().chain(&before.gone).filter(|(key, _)| !keys.pages.contains_key(*key));
            keys.gone = gone.take(MAX_KEYS).map(|(key, gone)| (key.clone(), gone.clone())).collect();
            metrics.forget(before.names().filter(|name| !keys.names().any(|known| known == *name)));
        }
        Ok(keys)
    }

    /// What is left of the rate of a key, if it is the same rate.
    fn bucket(&self, line: &PublishableLine) -> Option<Arc<Bucket>> {
        let known = self.pages.get(&line.key).or_else(|| self.gone.get(&line.key))?;
        ((known.line.rate, known.line.burst) == (line.rate, line.burst)).then(|| known.bucket.clone())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let servers = self.servers.iter().map(|key| key.line.name.as_str());
        servers.chain(self.pages.values().map(|key| key.line.name.as_str()))
    }

    /// The key that `secret` is. All are compared, in constant time: how long it takes says nothing of any of them.
    fn server(&self, secret: &str) -> Option<&ServerKey> {
        let digest = Sha256::digest(secret.as_bytes());
        let mut found = None;
        for key in &self.servers {
            if bool::from(key.line.sha256.0.ct_eq(digest.as_slice())) {
                found = Some(key);
            }
        }
        found
    }
}

/// The keys of a file's text with their line numbers; empty lines and those that begin with `#` are skipped.
pub fn lines(text: &[u8]) -> Result<Vec<(usize, Line)>, BadKeys> {
    let text = std::str::from_utf8(text).map_err(|_| BadKeys::NotText)?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| Ok((number, line.parse().map_err(|why| BadKeys::Line { number, why })?))).collect()
}

// === impl Access ===

impl Access {
    /// By the keys of a file, which is read again when it changes; without one everybody may.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds something else.
    pub fn open(file: Option<&Path>, clock: Clock) -> Result<Self, String> {
        let metrics = Metrics::default();
        let keys = file.map(|file| {
            let of = metrics.clone();
            let read = move |files: &[Vec<u8>], before: Option<&Keys>| {
                let text = files.first().map_or(&[][..], Vec::as_slice);
                Keys::read(text, before, &of).map_err(|bad| bad.to_string())
            };
            Watched::open("http.keys", vec![file.to_owned()], read).map(Arc::new)
        });
        Ok(Self { keys: keys.transpose()?, clock, metrics })
    }

    /// Whether everybody may.
    pub fn is_open(&self) -> bool {
        self.keys.is_none()
    }

    /// The keys' file, to be looked at.
    pub fn watched(&self) -> Option<&Arc<Watched<Keys>>> {
        self.keys.as_ref()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether a server with this key may do what `scope` names.
    pub fn server(&self, secret: Option<&str>, scope: Scope) -> Result<(), Denied> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let keys = keys.get();
        let Some(key) = secret.and_then(|secret| keys.server(secret)) else {
            self.metrics.bad_key();
            return Err(match secret {
                None => Denied::NoServerKey,
                Some(secret) if secret.starts_with(PUBLISHABLE) => Denied::ForBrowsersOnly,
                Some(_) => Denied::Unknown,
            });
        };
        let name = || key.line.name.clone();
        let checked = if let Some(at) = expired(key.line.expires, self.clock.now_us()) {
            Err((Outcome::expired, Denied::Expired { name: name(), at }))
        } else if !key.line.scopes.contains(&scope) {
            let has: Vec<_> = key.line.scopes.iter().map(|scope| scope.as_str()).collect();
            Err((Outcome::wrong_scope, Denied::Scope { name: name(), scope, has: has.join(", ") }))
        } else {
            Ok(())
        };
        key.counts.told(checked)
    }

    /// What a server's key is called, for what is written down of its requests; nothing where everybody may.
    pub fn name(&self, secret: Option<&str>) -> Option<String> {
        let keys = self.keys.as_ref()?.get();
        keys.server(secret?).map(|key| key.line.name.clone())
    }

    /// Whether a page of `origin` may call with this key now, which takes one token of the key's rate. `None` where everybody may.
    pub fn page(&self, key: Option<&str>, origin: Option<&str>) -> Result<Option<Arc<PublishableKey>>, Denied> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let Some(found) = key.and_then(|key| keys.get().pages.get(key).cloned()) else {
            self.metrics.bad_key();
            return Err(match key {
                None => Denied::NoPublishableKey,
                Some(key) if key.starts_with(PUBLISHABLE) => Denied::Unknown,
                Some(_) => Denied::ForServersOnly,
            });
        };
        found.counts.told(found.check(origin, self.clock.now_us()))?;
        Ok(Some(found))
    }

    /// How many publishable keys there are, those of one name being one.
    pub fn page_names(&self) -> usize {
        let Some(keys) = &self.keys else { return 0 };
        let (keys, now_us) = (keys.get(), self.clock.now_us());
        let live = keys.pages.values().filter(|key| expired(key.line.expires, now_us).is_none());
        live.map(|key| key.name()).collect::<BTreeSet<_>>().len()
    }

    /// Whether a key that was let in is one still.
    pub fn has_page(&self, key: &PublishableKey) -> bool {
        let Some(keys) = &self.keys else { return true };
        let keys = keys.get();
        let found = keys.pages.get(&key.line.key);
        found.is_some_and(|found| expired(found.line.expires, self.clock.now_us()).is_none())
    }

    /// Whether the key of a server that was let in is one still, by its hash.
    pub fn has_server(&self, sha256: &Digest) -> bool {
        let Some(keys) = &self.keys else { return true };
        let keys = keys.get();
        let found = keys.servers.iter().find(|key| key.line.sha256 == *sha256);
        found.is_some_and(|found| expired(found.line.expires, self.clock.now_us()).is_none())
    }
}

/// What to do so that pages of `origin` may ask.
pub fn how_to_allow(origin: &str, origins: &str) -> String {
    match origin {
        // What browsers say of sandboxed pages and of files: anybody's.
        "null" => format!("pages of no origin, such as sandboxed ones, are allowed by \"*\" in {origins} alone"),
        _ => format!("add the origin to {origins}"),
    }
}

fn expired(expires: Option<Time>, now_us: TimeUs) -> Option<String> {
    expires.filter(|expires| expires.us() <= now_us).map(String::from)
}

// === impl PublishableKey ===

impl PublishableKey {
    fn check(&self, origin: Option<&str>, now_us: TimeUs) -> Result<(), (Outcome, Denied)> {
        let name = || self.line.name.clone();
        if let Some(at) = expired(self.line.expires, now_us) {
            return Err((Outcome::expired, Denied::Expired { name: name(), at }));
        }
        if let Some(origin) = origin.filter(|origin| !self.is_of(origin)) {
            return Err((Outcome::foreign_origin, Denied::Origin { name: name(), origin: origin.to_owned() }));
        }
        let taken = self.bucket.take(Instant::now());
        taken.map_err(|wait| (Outcome::too_many, Denied::Rate { name: name(), wait }))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.line.name
    }

    /// How many tokens it gets a second, and how many it has at most.
    pub fn rate(&self) -> (f64, u32) {
        (self.line.rate, self.line.burst)
    }

    /// Takes what a request costs beyond the token that it was let in for.
    pub fn charge(&self, more: u32) -> Result<(), Denied> {
        if more == 0 {
            return Ok(());
        }
        self.bucket.take_more(more, Instant::now()).or_else(|wait| {
            self.counts.told(Err((Outcome::too_many, Denied::Rate { name: self.line.name.clone(), wait })))
        })
    }

    /// Whether pages of every origin may use it.
    pub fn is_of_all(&self) -> bool {
        self.line.origins.iter().any(|known| known == "*")
    }

    fn is_of(&self, origin: &str) -> bool {
        self.is_of_all() || self.line.origins.iter().any(|known| known == origin)
    }

    /// The placements it may ask for; nothing when these are all that pages may.
    pub fn placements(&self) -> Option<&[String]> {
        let is_all = self.line.placements.iter().any(|known| known == "*");
        (!is_all).then_some(&self.line.placements)
    }

    /// Whether it may ask for a placement.
    pub fn allows(&self, placement: &str) -> bool {
        self.line.placements.iter().any(|known| known == "*" || known == placement)
    }
}

#[cfg(test)]
mod tests;
