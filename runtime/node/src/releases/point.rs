//! How a channel is pointed to a release: what it says now, and a signed pointer that replaces that and nothing else. Owns the next
//! counter and where a promotion and a rollback go, for commands and for the console; must not know who asks, nor who waits for nodes.

use selvedge_build::channel::{Canary, Pointer};
use selvedge_build::keys::SigningKey;
use selvedge_decision::definition::Span;
use selvedge_decision::{Digest, NodeId, TimeUs};

use super::NodeReport;
use crate::link::NatsLink;
use crate::link::nats::releases::{ChannelValue, CoreError};

/// How long nodes may follow a pointer, where nothing else is said.
pub const VALID_FOR: Span = Span::from_us(30 * 24 * 3_600 * 1_000_000);

/// How far counters may be ahead of the time, in seconds: one year.
const FAR_AHEAD_S: u64 = 365 * 24 * 3_600;

/// What a pointer is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointed {
    /// The release.
    pub release: Digest,
    /// A release for a share of the subjects, beside the other.
    pub canary: Option<Canary>,
}

/// What a channel says when somebody begins to move it: what is written replaces that and nothing else.
#[derive(Debug)]
pub struct Now {
    /// Nothing when there is none, or one that cannot be read: that is replaced, which is how a broken channel is mended.
    pub pointer: Option<Pointer>,
    channel: String,
    revision: u64,
}

/// A channel has nowhere to go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nowhere {
    /// There is nothing to promote.
    #[error(
        "channel {channel} has no canary to promote: `selvedge deploy --share` begins one, `selvedge status` shows it"
    )]
    NoCanary {
        /// The channel.
        channel: String,
    },
    /// A node dropped the canary by itself.
    #[error(
        "node {node}{more} dropped canary {release} by itself: {why}; drop it everywhere by `selvedge rollback`, or deploy it again: with \
         --share for another try, without it for all"
    )]
    Dropped {
        /// The canary.
        release: Digest,
        /// The first node that did.
        node: NodeId,
        /// How many others, in words.
        more: String,
        /// Its reason.
        why: String,
    },
    /// There is nothing to go back to.
    #[error("channel {channel} has no earlier release to go back to; see `selvedge status`")]
    NothingEarlier {
        /// The channel.
        channel: String,
    },
}

// === impl Now ===

impl Now {
    /// What `channel` says now.
    pub async fn read(nats: &NatsLink, channel: &str) -> Result<Self, CoreError> {
        let value = nats.read_channel(channel).await?;
        let pointer = value.as_ref().and_then(|value| Pointer::read(channel, &value.bytes).ok());
        Ok(Self { pointer, channel: channel.to_owned(), revision: value.map_or(0, |value| value.revision) })
    }

    /// The pointer's counter; 0 where there is none.
    pub fn counter(&self) -> u64 {
        self.pointer.as_ref().map_or(0, |pointer| pointer.counter)
    }

    /// The canary becomes the release, unless it was worse than its guard allows on one of the nodes that these reports are of.
    pub fn promoted(&self, reports: &[NodeReport]) -> Result<Pointed, Nowhere> {
        let tries = self.pointer.as_ref().and_then(|pointer| Some((pointer.canary.as_ref()?, pointer.counter)));
        let (canary, counter) = tries.ok_or_else(|| Nowhere::NoCanary { channel: self.channel.clone() })?;
        let release = canary.release;
        // What was dropped under another counter was another try.
        let tried = reports.iter().filter(|report| report.channel == self.channel && report.counter == counter);
        let mut dropped = tried.filter_map(|report| {
            let dropped = report.canary_dropped.as_ref().filter(|dropped| dropped.release == release.to_string())?;
            Some((&report.node, &dropped.why))
        });
        if let Some((node, why)) = dropped.next() {
            let more = match dropped.count() {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            return Err(Nowhere::Dropped { release, node: node.clone(), more, why: why.clone() });
        }
        Ok(Pointed { release, canary: None })
    }

    /// The canary ends; where there is none, the release before comes back, by the channel's `history`, the newest value first.
    pub fn rolled_back(&self, history: &[ChannelValue]) -> Result<Pointed, Nowhere> {
        let tries = self.pointer.as_ref().filter(|pointer| pointer.canary.is_some());
        let release = match tries {
            Some(pointer) => Some(pointer.release),
            None => earlier(&self.channel, history).first().copied(),
        };
        let release = release.ok_or_else(|| Nowhere::NothingEarlier { channel: self.channel.clone() })?;
        Ok(Pointed { release, canary: None })
    }

    /// The pointer that comes after, from `now_us` on. `nodes` is the highest counter that nodes have seen.
    pub fn followed_by(&self, pointed: Pointed, nodes: u64, valid_for: Span, now_us: TimeUs) -> Pointer {
        let Pointed { release, canary } = pointed;
        let counter = next_counter(self.counter(), nodes, now_us);
        Pointer { release, canary, counter, expires_us: now_us.saturating_add(valid_for.us()) }
    }

    /// Makes the channel say `pointer`.
    ///
    /// # Errors
    ///
    /// [`CoreError::Changed`] when it says something else by now than it did.
    pub async fn replace(self, nats: &NatsLink, pointer: &Pointer, key: &SigningKey) -> Result<(), CoreError> {
        nats.write_channel(&self.channel, pointer.sign(&self.channel, key), self.revision).await.map(drop)
    }
}

/// The highest counter of `channel` that any node has seen.
pub fn highest_counter<'r>(channel: &str, reports: impl IntoIterator<Item = &'r NodeReport>) -> u64 {
    let of_channel = reports.into_iter().filter(|report| report.channel == channel);
    of_channel.map(|report| report.counter).max().unwrap_or(0)
}

/// The releases in a channel's values, which are given with the newest first: each once, without the one it points to now.
pub fn earlier(channel: &str, history: &[ChannelValue]) -> Vec<Digest> {
    let pointers = history.iter().filter_map(|value| Pointer::read(channel, &value.bytes).ok());
    let mut releases = pointers.map(|pointer| pointer.release);
    let now = releases.next();
    let mut earlier = Vec::new();
    for release in releases {
        if Some(release) != now && !earlier.contains(&release) {
            earlier.push(release);
        }
    }
    earlier
}

/// Above every counter known, and never below the time in seconds: when the bucket is lost and made anew, nodes that
/// remember higher counters still follow. A counter far above the time is nobody's but a forger's, who would have us sign
/// the last one there is.
fn next_counter(channel: u64, nodes: u64, now_us: TimeUs) -> u64 {
    let seconds = u64::try_from(now_us / 1_000_000).unwrap_or(0);
    let believed = [channel, nodes].into_iter().filter(|counter| *counter <= seconds.saturating_add(FAR_AHEAD_S));
    believed.max().unwrap_or(0).saturating_add(1).max(seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::{ReportedDrop, Versions};
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn now(release: &str, canary: Option<&str>) -> Now {
        let canary = canary.map(|name| Canary {
            release: digest(name),
            share_bp: 500,
            salt: "s".into(),
            on: Default::default(),
        });
        let pointer = Pointer { release: digest(release), canary, counter: 7, expires_us: 1 };
        Now { pointer: Some(pointer), channel: "prod".into(), revision: 3 }
    }

    /// A channel's values that point to these releases, the newest first; one that is no pointer among them.
    fn history(names: &[&str]) -> Vec<ChannelValue> {
        let key = SigningKey::generate().unwrap();
        let value = |(i, name): (usize, &&str)| {
            let counter = (names.len() - i) as u64;
            let pointer = Pointer { release: digest(name), canary: None, counter, expires_us: 1 };
            ChannelValue { bytes: pointer.sign("prod", &key).into(), revision: counter }
        };
        let mut values: Vec<_> = names.iter().enumerate().map(value).collect();
        let broken = ChannelValue { bytes: b"not a pointer".as_slice().into(), revision: 0 };
        values.insert(names.len().min(1), broken);
        values
    }

    #[test]
    fn a_counter_is_above_all_that_nodes_may_remember() {
        let check = |channel, nodes, now_us, expected| assert_eq!(next_counter(channel, nodes, now_us), expected);
        check(0, 0, 1_700_000_000_500_000, 1_700_000_000);
        check(1_700_000_000, 0, 1_700_000_000_500_000, 1_700_000_001);
        check(5, 1_720_000_000, 1_700_000_000_500_000, 1_720_000_001);
        check(u64::MAX, 1_700_000_009, 1_700_000_000_500_000, 1_700_000_010);
        check(7, 2_000_000_000, 1_700_000_000_500_000, 1_700_000_000);
        check(0, 0, -1, 1);
    }

    #[test]
    fn a_channel_goes_back_to_the_newest_release_that_differs() {
        let check = |names: &[&str], expected: &[&str]| {
            let history = history(names);
            let wanted: Vec<_> = expected.iter().map(|name| digest(name)).collect();
            assert_eq!(earlier("prod", &history), wanted, "{names:?}");
            let back = now(names.first().copied().unwrap_or("x"), None).rolled_back(&history);
            assert_eq!(back.ok().map(|pointed| pointed.release), wanted.first().copied(), "{names:?}");
        };
        check(&["c", "b", "a"], &["b", "a"]);
        check(&["c", "c", "a"], &["a"]);
        check(&["b", "a", "b"], &["a"]);
        check(&["d", "a", "b", "a"], &["a", "b"]);
        check(&["a"], &[]);
        check(&["a", "a"], &[]);
        check(&[], &[]);
    }

    #[test]
    fn a_canary_is_promoted_or_dropped_first() {
        let tries = now("b", Some("c"));
        assert_eq!(tries.promoted(&[]), Ok(Pointed { release: digest("c"), canary: None }));
        assert_eq!(tries.rolled_back(&history(&["b", "a"])), Ok(Pointed { release: digest("b"), canary: None }));
        assert_eq!(now("b", None).promoted(&[]), Err(Nowhere::NoCanary { channel: "prod".into() }));
    }

    /// It went through without a word, and every node had to find out for itself.
    #[test]
    fn a_canary_that_a_node_dropped_is_not_promoted() {
        let report = |node: &str, channel: &str, counter, dropped: Option<&str>| NodeReport {
            node: node.parse().unwrap(),
            epoch: String::new(),
            labels: Default::default(),
            channel: channel.into(),
            counter,
            release: Some(digest("b").to_string()),
            name: None,
            previous: None,
            refused: None,
            quarantined: None,
            canary: None,
            canary_dropped: dropped.map(|name| ReportedDrop {
                release: digest(name).to_string(),
                why: format!("{node} says why"),
                since_us: 1,
            }),
            link: "nats".into(),
            versions: Versions { runtime: "0.1.0".into(), core: 1 },
            time_us: 1,
        };
        let check = |reports: &[NodeReport], expected: Option<&str>| {
            let why = now("b", Some("c")).promoted(reports).err().map(|why| why.to_string());
            let begin = why.as_ref().map(|why| why.split(" dropped").next().unwrap());
            assert_eq!(begin, expected, "{reports:?}");
        };
        let well = || report("edge-1", "prod", 7, None);
        check(&[well()], None);
        check(&[well(), report("edge-2", "prod", 7, Some("c"))], Some("node edge-2"));
        let two = [report("edge-2", "prod", 7, Some("c")), report("edge-3", "prod", 7, Some("c"))];
        check(&two, Some("node edge-2 and 1 more"));
        assert!(now("b", Some("c")).promoted(&two).unwrap_err().to_string().contains("edge-2 says why"));
        // Another canary, another channel, a try before this one.
        check(&[report("edge-2", "prod", 7, Some("d"))], None);
        check(&[report("edge-2", "next", 7, Some("c"))], None);
        check(&[report("edge-2", "prod", 6, Some("c"))], None);
    }

    #[test]
    fn what_comes_after_is_valid_from_now_on() {
        let now_us = 1_700_000_000_500_000;
        let pointed = Pointed { release: digest("a"), canary: None };
        let pointer = now("b", None).followed_by(pointed, 9, VALID_FOR, now_us);
        let expected =
            Pointer { release: digest("a"), canary: None, counter: 1_700_000_000, expires_us: 1_702_592_000_500_000 };
        assert_eq!(pointer, expected);
        assert_eq!(VALID_FOR.to_string(), "30d");
    }
}
