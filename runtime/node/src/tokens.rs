//! Tokens: what a browser shows to prove that a choice was made for it. Without one, anybody could tell a node that any choice of any
//! decision was clicked, and the bandits would believe it. Owns what a token says, how it is sealed, and how long it counts.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selvedge_decision::record::ChoiceRecord;
use selvedge_decision::{DecisionId, Digest, Record, TimeUs};

use crate::events::{RejectCode, rfc3339};
use crate::secret::Secret;

/// The form of what is sealed.
const VERSION: u8 = 1;
/// Bytes of the release's digest that a token says.
const RELEASE_BYTES: usize = 8;
/// Version, expiry in seconds, propensity, release.
const HEAD_BYTES: usize = 1 + 4 + 8 + RELEASE_BYTES;
/// Bytes of the seal that are kept.
const SEAL_BYTES: usize = 16;
const TOKEN_BYTES: usize = HEAD_BYTES + SEAL_BYTES;
/// What the seal is for, so that it cannot be taken for another's under the same key.
const PURPOSE: &[u8] = b"selvedge-token-v1\n";

/// Makes and checks tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens {
    secret: Arc<Secret>,
    valid_us: i64,
}

/// A choice's token, written as text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token([u8; TOKEN_BYTES]);

/// Why an event is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// There is none.
    #[error(
        "an event that names a decision says by the choice's token that it was made here: send the answer's `token` with it"
    )]
    None,
    /// The choice is not named.
    #[error("an event that names a decision says which choice it is about: send the choice's id as `item`")]
    NoChoice,
    /// It does not belong to this decision and choice, or was sealed by another key.
    #[error(
        "this token is not that of this decision and this choice; nodes that take each other's tokens have one `tokens.key`"
    )]
    Forged,
    /// Its time is over: until when it counted, in seconds since 1970.
    #[error("this token counted until {} (tokens.valid_for)", until(.0))]
    Expired(u32),
}

/// The end of a token's time, which it says in seconds.
fn until(expires_s: &u32) -> String {
    rfc3339::format(i64::from(*expires_s) * 1_000_000)
}

// === impl Tokens ===

impl Tokens {
    /// Sealed by `secret`, each for `valid_us` from its decision on.
    pub fn new(secret: Secret, valid_us: i64) -> Self {
        Self { secret: Arc::new(secret), valid_us }
    }

    /// The token of one choice of a decision.
    pub fn mint(&self, record: &Record, choice: &ChoiceRecord) -> Token {
        let id = record.candidates.get(choice.candidate as usize).map_or("", |id| &**id);
        let expires_s = record.time_us.saturating_add(self.valid_us).div_euclid(1_000_000);
        let expires_s = u32::try_from(expires_s.max(0)).unwrap_or(u32::MAX);
        self.seal(record.id, id, head(expires_s, choice.propensity, &record.release))
    }

    /// Whether `token` says that decision `id` chose `item`, at `now_us`.
    pub fn check(
        &self,
        token: Option<&str>,
        id: DecisionId,
        item: Option<&str>,
        now_us: TimeUs,
    ) -> Result<(), BadToken> {
        let token = token.ok_or(BadToken::None)?;
        let item = item.ok_or(BadToken::NoChoice)?;
        // Three bytes more than a token has, which is what the decoder wants of room.
        let mut bytes = [0; TOKEN_BYTES + 3];
        let count = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).map_err(|_| BadToken::Forged)?;
        let said = bytes.first_chunk::<TOKEN_BYTES>().filter(|_| count == TOKEN_BYTES).ok_or(BadToken::Forged)?;
        let head = said.first_chunk::<HEAD_BYTES>().filter(|head| head[0] == VERSION).ok_or(BadToken::Forged)?;
        // All bytes are looked at: how long it takes tells nothing of where the first wrong one is.
        let sealed = self.seal(id, item, *head);
        let differs = sealed.0.iter().zip(said).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs != 0 {
            return Err(BadToken::Forged);
        }
        let expires_s = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if now_us.div_euclid(1_000_000) > i64::from(expires_s) {
            return Err(BadToken::Expired(expires_s));
        }
        Ok(())
    }

    fn seal(&self, id: DecisionId, choice: &str, head: [u8; HEAD_BYTES]) -> Token {
        let mac = self.secret.mac(&[PURPOSE, &head, &id.0, choice.as_bytes()]);
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..HEAD_BYTES].copy_from_slice(&head);
        bytes[HEAD_BYTES..].copy_from_slice(&mac[..SEAL_BYTES]);
        Token(bytes)
    }
}

fn head(expires_s: u32, propensity: f64, release: &Digest) -> [u8; HEAD_BYTES] {
    let mut head = [VERSION; HEAD_BYTES];
    head[1..5].copy_from_slice(&expires_s.to_be_bytes());
    head[5..13].copy_from_slice(&propensity.to_be_bytes());
    head[13..].copy_from_slice(&release.0[..RELEASE_BYTES]);
    head
}

// === impl Token ===

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl serde::Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl BadToken ===

impl BadToken {
    /// What is wrong, of which field of an event.
    pub fn code(self) -> (RejectCode, &'static str) {
        match self {
            Self::None => (RejectCode::NoToken, "token"),
            Self::NoChoice => (RejectCode::MissingField, "item"),
            Self::Forged => (RejectCode::ForgedToken, "token"),
            Self::Expired(_) => (RejectCode::ExpiredToken, "token"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::outbox::samples;

    const HOUR_US: i64 = 3_600_000_000;

    fn tokens(key: u8) -> Tokens {
        Tokens::new(Secret::new(&[key; 32]), HOUR_US)
    }

    /// A decision with a choice, and the choice's token and id.
    fn decided() -> (Record, String, String) {
        let record = samples::record(1);
        let choice = record.choices.first().unwrap();
        let id = record.candidates[choice.candidate as usize].to_string();
        let token = tokens(1).mint(&record, choice).to_string();
        (record, token, id)
    }

    #[test]
    fn a_token_is_believed_for_its_decision_its_choice_and_its_time_alone() {
        let (record, token, item) = decided();
        let check = |token: Option<&str>, id, item, now_us, expected| {
            assert_eq!(tokens(1).check(token, id, item, now_us), expected, "{token:?} {item:?}");
        };
        let (now, id, whole) = (record.time_us, record.id, Some(&*token));
        check(whole, id, Some(&item), now, Ok(()));
        check(whole, id, Some(&item), now + HOUR_US, Ok(()));
        let expires_s = ((now + HOUR_US) / 1_000_000) as u32;
        check(whole, id, Some(&item), now + HOUR_US + 1_000_000, Err(BadToken::Expired(expires_s)));
        // It was said in seconds since 1970.
        let until = "this token counted until 2026-11-27T06:00:00.000000Z (tokens.valid_for)";
        assert_eq!(BadToken::Expired(1_795_759_200).to_string(), until);
        check(None, id, Some(&item), now, Err(BadToken::None));
        check(whole, id, None, now, Err(BadToken::NoChoice));
        check(whole, id, Some("another"), now, Err(BadToken::Forged));
        check(whole, DecisionId::new(1, 2, 3), Some(&item), now, Err(BadToken::Forged));
        for text in ["", "x", &token[1..], &format!("{token}AAAA"), &"A".repeat(4_000), "ü"] {
            check(Some(text), id, Some(&item), now, Err(BadToken::Forged));
        }
        let of_another = tokens(2).check(whole, id, Some(&item), now);
        assert_eq!(of_another, Err(BadToken::Forged), "another key's");
    }

    #[test]
    fn no_bit_of_a_token_can_be_changed() {
        let (record, token, item) = decided();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert_eq!(bytes.len(), TOKEN_BYTES);
        for bit in 0..TOKEN_BYTES * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = URL_SAFE_NO_PAD.encode(changed);
            let checked = tokens(1).check(Some(&changed), record.id, Some(&item), record.time_us);
            assert_eq!(checked, Err(BadToken::Forged), "bit {bit}");
        }
    }
}
