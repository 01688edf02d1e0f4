//! What a model's weights follow from: for each action how often it was chosen and rewarded where the model saw the same, by time
//! buckets. Owns its bound and what becomes of what is beyond it.
//!
//! **Whole numbers, as long as there is room.** Groups are counts, so that they come to the same in whatever order they are added, and
//! weights follow from them alone. Of more than [`most_groups`] the oldest buckets become a site each (`logistic::Site`): a function of
//! the weights that stands in for them, at the weights of then. Only the core does that, block after block in the order of the
//! stream, and what it publishes has the sites in it. So however it is stopped, it comes to the same; another order of the stream comes
//! near it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use selvedge_decision::logistic::{Group, Posterior, Prior, Shape, Site, fit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ledger::Gain;
use super::tally::weight;

/// What a model saw of one choice, in sixteenths; two hexadecimal digits each where it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Features(Arc<[i8]>);

/// Counts of all actions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    actions: BTreeMap<Arc<str>, Past>,
    /// Groups of all actions.
    groups: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Past {
    /// By time bucket: trials and rewards of what a model saw.
    groups: BTreeMap<i64, BTreeMap<Features, (i64, i64)>>,
    /// What there was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    site: Option<Folded>,
}

/// A site, as it weighs in a time bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Folded {
    bucket: i64,
    linear: Vec<f64>,
    precision: Vec<f64>,
}

/// What a model saw, and how much trials and rewards of it weigh.
type Parts = Vec<(Features, f64, f64)>;

/// What is known of an action, as it weighs at one time: all that its weights follow from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weighed {
    groups: Parts,
    site: Site,
}

/// Groups of a bandit, at most, so that what is published of it fits into one message.
const MOST_GROUPS: usize = 4_096;
/// Features of all groups together, at most, for the same.
const MOST_CELLS: usize = 131_072;
/// Buckets of an action, at most: as of a tally.
const MOST_BUCKETS: usize = super::tally::MOST_BUCKETS;

/// Groups of a bandit with so many features, at most.
pub(super) fn most_groups(features: usize) -> usize {
    MOST_GROUPS.min(MOST_CELLS / features.max(1))
}

// === impl History ===

impl History {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// How many groups are in it.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Adds a gain; `sign` is -1 to take it away again.
    pub fn add(&mut self, gain: &Gain, sign: i64) {
        let Some(features) = &gain.features else { return };
        let past = self.actions.entry(gain.action.clone()).or_default();
        let bucket = past.groups.entry(gain.bucket).or_default();
        let before = bucket.len();
        let counts = bucket.entry(features.clone()).or_default();
        *counts = (counts.0 + sign * gain.trials, counts.1 + sign * gain.rewards);
        if *counts == (0, 0) {
            bucket.remove(features);
        }
        self.groups = self.groups + bucket.len() - before;
        if bucket.is_empty() {
            past.groups.remove(&gain.bucket);
        }
        if past.groups.len() > MOST_BUCKETS
            && let Some((_, gone)) = past.groups.pop_first()
        {
            self.groups -= gone.len();
        }
    }

    /// What is known of an action, here and in `other` together, as it weighs in bucket `now`. Sites are here alone.
    pub(super) fn weighed(&self, other: &Self, action: &str, now: i64) -> Weighed {
        let both = [self, other].map(|history| history.actions.get(action));
        let mut sums: BTreeMap<(&Features, i64), (i64, i64)> = BTreeMap::new();
        for (bucket, groups) in both.iter().flatten().flat_map(|past| &past.groups) {
            for (seen, (trials, rewards)) in groups {
                let sum = sums.entry((seen, *bucket)).or_default();
                *sum = (sum.0 + trials, sum.1 + rewards);
            }
        }
        let mut groups: Parts = Vec::with_capacity(sums.len());
        for ((seen, bucket), (trials, rewards)) in sums {
            let weight = weight((now - bucket).max(0));
            // Fewer than none there cannot be: what is sought would have no mode.
            let (trials, rewards) = (weight * trials.max(0) as f64, weight * rewards as f64);
            match groups.last_mut() {
                Some(last) if last.0 == *seen => (last.1, last.2) = (last.1 + trials, last.2 + rewards),
                _ => groups.push((seen.clone(), trials, rewards)),
            }
        }
        let folded = both[0].and_then(|past| past.site.as_ref());
        let site = folded.map(|folded| {
            let mut site = Site { linear: folded.linear.clone(), precision: folded.precision.clone() };
            site.weigh(weight((now - folded.bucket).max(0)));
            site
        });
        Weighed { groups, site: site.unwrap_or_default() }
    }

    /// Makes sites of the oldest buckets when there is more than there is room for, until half of the room is free.
    pub(super) fn fold(&mut self, prior: [f64; 2], shape: &Shape) {
        let most = most_groups(shape.features());
        if self.groups <= most {
            return;
        }
        // By what is there, and not by a clock: whoever reads the stream again comes to the same.
        let newest = self.actions.values().filter_map(|past| past.groups.last_key_value());
        let Some(now) = newest.map(|(bucket, _)| *bucket).max() else { return };
        let mut old: BTreeMap<Arc<str>, (Vec<f64>, Parts)> = BTreeMap::new();
        while self.groups > most / 2 {
            let first = self.actions.values().filter_map(|past| past.groups.first_key_value());
            let Some(oldest) = first.map(|(bucket, _)| *bucket).min() else { break };
            let weight = weight((now - oldest).max(0));
            for action in self.actions.keys().cloned().collect::<Vec<_>>() {
                // At the weights that follow from all there is.
                let all = (!old.contains_key(&action)).then(|| self.weighed(&Self::default(), &action, now));
                let Some(past) = self.actions.get_mut(&action) else { continue };
                let Some(groups) = past.groups.remove(&oldest) else { continue };
                self.groups -= groups.len();
                let mean = all.map(|all| all.fit(prior, shape).mean).unwrap_or_default();
                let (_, folded) = old.entry(action).or_insert_with(|| (mean, Vec::new()));
                let weighed = groups
                    .into_iter()
                    .map(|(seen, (trials, rewards))| (seen, weight * trials.max(0) as f64, weight * rewards as f64));
                folded.extend(weighed);
            }
        }
        for (action, (mean, groups)) in old {
            let past = self.actions.entry(action).or_default();
            let before = past.site.take();
            let kept = before.as_ref().map_or(1.0, |before| weight((now - before.bucket).max(0)));
            let mut site =
                before.map_or_else(Site::default, |before| Site { linear: before.linear, precision: before.precision });
            site.take(kept, &views(&groups), &mean);
            past.site = Some(Folded { bucket: now, linear: site.linear, precision: site.precision });
        }
    }
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.actions.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for History {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let actions = BTreeMap::<Arc<str>, Past>::deserialize(deserializer)?;
        let groups = actions.values().flat_map(|past| past.groups.values()).map(BTreeMap::len).sum();
        Ok(Self { actions, groups })
    }
}

// === impl Weighed ===

impl Weighed {
    /// The weights.
    pub(super) fn fit(&self, prior: [f64; 2], shape: &Shape) -> Posterior {
        let prior = Prior { counts: prior, precision: shape.precision };
        fit(prior, &self.site, &views(&self.groups), shape.features())
    }
}

fn views(groups: &[(Features, f64, f64)]) -> Vec<Group<'_>> {
    groups.iter().map(|(seen, trials, rewards)| Group { x: &seen.0, trials: *trials, rewards: *rewards }).collect()
}

// === impl Features ===

impl Features {
    /// In sixteenths.
    pub fn steps(&self) -> &[i8] {
        &self.0
    }
}

impl From<Vec<i8>> for Features {
    fn from(x: Vec<i8>) -> Self {
        Self(x.into())
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "{:02x}", step.cast_unsigned()))
    }
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || serde::de::Error::custom("expected two hexadecimal digits a feature");
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(bad()) };
        let step = |pair: &[u8; 2]| {
            let digits = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(digits, 16).ok().map(u8::cast_signed)
        };
        let steps: Option<Vec<i8>> = pairs.iter().map(step).collect();
        steps.map(Self::from).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SHAPE: Shape = Shape { id: 1, shared: 2, own: 0, precision: 1.0 };
    const PRIOR: [f64; 2] = [1.0, 1.0];

    fn gain(action: &str, bucket: i64, x: [i8; 2], trials: i64, rewards: i64) -> Gain {
        let features = Some(Features::from(x.to_vec()));
        Gain { action: action.into(), bucket, trials, rewards, decision: 1, reward: None, features }
    }

    fn posterior(history: &History, action: &str, now: i64) -> Posterior {
        history.weighed(&History::default(), action, now).fit(PRIOR, &SHAPE)
    }

    #[test]
    fn what_is_taken_away_was_never_there() {
        let mut history = History::default();
        let gains = [gain("a", 0, [16, -3], 1, 0), gain("a", 0, [16, -3], 0, 1), gain("a", 2, [0, 0], 1, 0)];
        gains.iter().for_each(|gain| history.add(gain, 1));
        assert_eq!(history.groups(), 2);
        let json = serde_json::to_string(&history).unwrap();
        assert_eq!(json, r#"{"a":{"groups":{"0":{"10fd":[1,1]},"2":{"0000":[1,0]}}}}"#);
        let read: History = serde_json::from_str(&json).unwrap();
        assert_eq!((&read, read.groups()), (&history, 2));
        gains.iter().for_each(|gain| history.add(gain, -1));
        assert_eq!(history.groups(), 0);
        assert_eq!(posterior(&history, "a", 0), posterior(&History::default(), "a", 0));
        for bad in [r#"{"a":{"groups":{"0":{"1":[1,1]}}}}"#, r#"{"a":{"groups":{"0":{"zz":[1,1]}}}}"#] {
            assert!(serde_json::from_str::<History>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn halves_weigh_half() {
        let (mut old, mut half) = (History::default(), History::default());
        old.add(&gain("a", 0, [16, 0], 80, 20), 1);
        half.add(&gain("a", 8, [16, 0], 40, 10), 1);
        assert_eq!(posterior(&old, "a", 8), posterior(&half, "a", 8));
        let both = old.weighed(&half, "a", 8);
        assert_eq!(both.groups, [(Features::from(vec![16, 0]), 80.0, 20.0)]);
        assert_eq!(both, half.weighed(&old, "a", 8), "either way round");
    }

    /// More than there is room for: what is left says nearly the same as all of it.
    #[test]
    fn what_is_beyond_the_room_is_not_forgotten() {
        let (mut all, mut folded) = (History::default(), History::default());
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31)
        };
        let most = most_groups(2);
        for n in 0..4 * most as i64 {
            let x = [(random() * 254.0 - 127.0) as i8, (random() * 254.0 - 127.0) as i8];
            let rate = 0.25 + 0.025 * f64::from(x[0]) / 16.0 - 0.005 * f64::from(x[1]) / 16.0;
            let rewarded = random() < rate;
            let gain = gain("a", n / 1_000, x, 1, i64::from(rewarded));
            all.add(&gain, 1);
            folded.add(&gain, 1);
            folded.fold(PRIOR, &SHAPE);
            assert!(folded.groups() <= most);
        }
        let json = serde_json::to_string(&folded).unwrap();
        assert_eq!(serde_json::from_str::<History>(&json).unwrap(), folded, "to the bit");
        let now = 4 * most as i64 / 1_000;
        let (exactly, nearly) = (posterior(&all, "a", now), posterior(&folded, "a", now));
        for ((exactly, nearly), precision) in exactly.mean.iter().zip(&nearly.mean).zip(&exactly.precision) {
            let deviations = (exactly - nearly).abs() * precision.sqrt();
            assert!(deviations < 0.5, "{deviations} deviations: {exactly}, {nearly}");
        }
        for (exactly, nearly) in exactly.precision.iter().zip(&nearly.precision) {
            assert!((exactly / nearly - 1.0).abs() < 0.1, "{exactly} {nearly}");
        }
        // A reward whose trial is in a site counts.
        let before = posterior(&folded, "a", now).mean[0];
        folded.add(&gain("a", 0, [0, 0], 0, 1), 1);
        assert!(posterior(&folded, "a", now).mean[0] >= before);
    }
}
