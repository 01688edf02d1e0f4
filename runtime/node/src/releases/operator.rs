//! The operator's key, on a node that has it: with it the node's channel is moved for whoever asks the console. Owns what the key must be
//! before anything is signed by it, and that a move starts from what was seen; how a pointer is written is `point.rs`'s.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_build::channel::Pointer;
use selvedge_build::keys::{BadKey, SigningKey, TrustStore, Untrusted};
use selvedge_decision::Digest;

use super::NodeReport;
use super::point::{Now, Nowhere, Pointed, VALID_FOR, highest_counter};
use crate::clock::Clock;
use crate::link::NatsLink;
use crate::link::nats::releases::CoreError;
use crate::secret::{self, BadSecret};

const SETTING: &str = "console.operator_key";
/// What is signed to see whether nodes trust the key: no release and no pointer begins so.
const TRIAL: &[u8] = b"selvedge-operator-v1\n";
/// How long the core may take to say what a move needs to know.
const LOOK_WITHIN: Duration = Duration::from_secs(6);

/// The key, and the keys that nodes trust, of which it is one.
#[derive(Debug)]
pub struct Operator {
    key: SigningKey,
    trust: TrustStore,
    clock: Clock,
}

/// Why a node does not start with the operator's key that its settings name.
#[derive(Debug, thiserror::Error)]
pub enum BadOperatorKey {
    /// The file cannot be read, or holds no key.
    #[error("{SETTING}: {0}; `selvedge release keygen` makes one")]
    Key(BadKey),
    /// Others can use the file.
    #[error(transparent)]
    File(#[from] BadSecret),
    /// What it signs would be refused.
    #[error("{SETTING}: nodes would refuse what {} signs: {why}; name its public half in node.trust, or leave the key out", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Which key it is, and which are trusted.
        why: Untrusted,
    },
}

/// Where a channel is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Its canary becomes its release.
    Promote,
    /// Its canary ends, or where there is none, the release before comes back.
    Rollback,
    /// To this release; a canary ends.
    To(Digest),
}

/// A move that was made.
#[derive(Debug)]
pub struct Moved {
    /// What the channel said before.
    pub from: Option<Pointer>,
    /// What it says now.
    pub to: Pointer,
}

/// Why a channel was not moved.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// The key was withdrawn from those that are trusted.
    #[error("nodes would refuse what the operator's key of this node signs: {0}")]
    Untrusted(#[from] Untrusted),
    /// The channel is not where it was when somebody looked.
    #[error(
        "channel {channel} was moved meanwhile: its counter is {counter}, {seen} was seen; look at it and decide again"
    )]
    Stale {
        /// The channel.
        channel: String,
        /// Its counter.
        counter: u64,
        /// The counter that was seen.
        seen: u64,
    },
    /// There is nowhere to go.
    #[error(transparent)]
    Nowhere(#[from] Nowhere),
    /// The core does not have the release.
    #[error("release {0} is not in the core's object store: `selvedge deploy` puts one there")]
    NoRelease(Digest),
    /// The core did not do what was asked.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The core did not answer in time. Nothing was written.
    #[error("the core did not say within {} s what the channel is and who follows it", LOOK_WITHIN.as_secs())]
    Late,
}

// === impl Operator ===

impl Operator {
    /// Reads the key that the settings name, and holds it against `trust`, the files with the keys that nodes trust.
    pub fn open(path: &Path, trust: impl IntoIterator<Item = PathBuf>, clock: Clock) -> Result<Self, BadOperatorKey> {
        let unread = |error| BadOperatorKey::Key(BadKey::Read { path: path.to_owned(), error });
        let mode = std::fs::metadata(path).map_err(unread)?.permissions().mode();
        secret::check_mode(SETTING, path, mode)?;
        let key = SigningKey::read(path).map_err(BadOperatorKey::Key)?;
        let operator = Self { key, trust: TrustStore::from_files(trust), clock };
        match operator.name() {
            Ok(name) => {
                tracing::info!(name, "the operator's key is here: who may use the admin listener moves the channel");
                Ok(operator)
            }
            Err(why) => Err(BadOperatorKey::Untrusted { path: path.to_owned(), why }),
        }
    }

    /// The name under which the key is trusted now.
    pub fn name(&self) -> Result<String, Untrusted> {
        self.trust.verify(TRIAL, &self.key.sign(TRIAL))
    }

    /// Moves `channel`, which is to say what it said under the counter `seen`; 0 where it had no pointer that could be read.
    pub async fn point(&self, nats: &NatsLink, channel: &str, to: Move, seen: u64) -> Result<Moved, NotMoved> {
        self.name()?;
        let looked = tokio::time::timeout(LOOK_WITHIN, self.look(nats, channel, to, seen)).await;
        let (now, to) = looked.map_err(|_| NotMoved::Late)??;
        let from = now.pointer.clone();
        now.replace(nats, &to, &self.key).await?;
        Ok(Moved { from, to })
    }

    /// What the channel says, and the pointer to come.
    async fn look(&self, nats: &NatsLink, channel: &str, to: Move, seen: u64) -> Result<(Now, Pointer), NotMoved> {
        let now = Now::read(nats, channel).await?;
        if now.counter() != seen {
            return Err(NotMoved::Stale { channel: channel.to_owned(), counter: now.counter(), seen });
        }
        let reports = NodeReport::read_all(nats).await?;
        let pointed = match to {
            Move::Promote => now.promoted(&reports)?,
            Move::Rollback => now.rolled_back(&nats.channel_history(channel).await?)?,
            Move::To(release) => {
                if !nats.has_release(&release).await? {
                    return Err(NotMoved::NoRelease(release));
                }
                Pointed { release, canary: None }
            }
        };
        let pointer = now.followed_by(pointed, highest_counter(channel, &reports), VALID_FOR, self.clock.now_us());
        Ok((now, pointer))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_one_of_its_owner_s_that_nodes_trust() {
        let dir = tempfile::tempdir().unwrap();
        let (file, trusted) = (dir.path().join("ops.key"), dir.path().join("ops.pub"));
        let key = SigningKey::generate().unwrap();
        let open = |text: &str, mode: u32| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            Operator::open(&file, [trusted.clone()], Clock::new())
        };
        let refused = |text: &str, mode: u32, expected: &str| {
            let why = open(text, mode).unwrap_err().to_string();
            assert!(why.starts_with("console.operator_key: ") && why.contains(expected), "{why:?}: {expected:?}");
        };
        refused(&key.to_text(), 0o600, "name its public half in node.trust");
        fs::write(&trusted, SigningKey::generate().unwrap().public("other").to_text()).unwrap();
        refused(&key.to_text(), 0o600, "(other)");
        fs::write(&trusted, key.public("ops").to_text()).unwrap();
        assert_eq!(open(&key.to_text(), 0o600).unwrap().name().unwrap(), "ops");
        refused(&key.to_text(), 0o644, "chmod 600");
        refused(&key.public("ops").to_text(), 0o600, "not a secret key");

        // A key that is withdrawn while the node runs moves nothing from then on.
        let operator = open(&key.to_text(), 0o600).unwrap();
        fs::remove_file(&trusted).unwrap();
        assert!(operator.name().is_err());
        fs::remove_file(&file).unwrap();
        let why = Operator::open(&file, [trusted.clone()], Clock::new()).unwrap_err().to_string();
        assert!(why.contains("ops.key") && why.contains("keygen"), "{why}");
    }
}
