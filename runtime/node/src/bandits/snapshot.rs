//! What the core has learned for a bandit, as it stands in the bucket: the tally, and which items of which runs are in it.

use std::collections::BTreeMap;

use selvedge_decision::plan::Bandit;
use selvedge_decision::{Epoch, NodeId, TimeUs};
use serde::{Deserialize, Serialize};

use super::history::History;
use super::ledger::{Gain, bucket_us};
use super::seen::Seen;
use super::tally::Tally;
use crate::clock::Clock;
use crate::outbox::Lane;

/// A bandit's value in the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of the form.
    selvedge_bandit: u8,
    /// The bandit's key.
    pub bandit: String,
    /// What it learns; another reward, window or half-life learns anew.
    reward: String,
    window_us: i64,
    bucket_us: i64,
    /// The model it learns by: of other features it learns anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<u32>,
    /// Trials and rewards.
    pub tally: Tally,
    /// The same by what the model saw.
    #[serde(default, skip_serializing_if = "History::is_empty")]
    pub history: History,
    /// By `node/epoch/lane`: what is in the tally.
    pub seen: BTreeMap<String, Run>,
    /// When the stream was made.
    pub stream_us: TimeUs,
    /// All up to this sequence of the stream was read.
    pub at: u64,
    /// Where the stream was when: from there on it is read again, to know the decisions of rewards to come.
    pub marks: Vec<(TimeUs, u64)>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Merger>,
}

/// A process that merges. Of two the one that began later is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Merger {
    /// When it began, by its machine's clock.
    pub began_us: TimeUs,
    /// Its process: two that begin in the same microsecond are still two.
    pub process: u32,
}

/// One lane of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its items.
    #[serde(flatten)]
    pub seen: Seen,
    /// The sequence of its newest block, and when the stream took it.
    pub at: u64,
    pub stored_us: TimeUs,
}

/// How long a run is remembered at least after its last block, which a node that had no answer may send once more.
const REMEMBERED_US: i64 = 7 * 86_400_000_000;
/// Lanes of runs that are remembered: as many as fit into one message with the tallies.
const MOST_RUNS: usize = 4_096;
/// Marks of a window.
const MARKS: i64 = 16;

// === impl Merger ===

impl Merger {
    /// This process, which begins now.
    pub fn beginning() -> Self {
        Self { began_us: Clock::new().now_us(), process: std::process::id() }
    }
}

// === impl Snapshot ===

impl Snapshot {
    const VERSION: u8 = 1;

    /// Of a bandit that has learned nothing.
    pub fn new(spec: &Bandit) -> Self {
        Self {
            selvedge_bandit: Self::VERSION,
            bandit: spec.key.clone(),
            reward: spec.reward.clone(),
            window_us: spec.window_us,
            bucket_us: bucket_us(spec),
            model: spec.model.as_ref().map(|shape| shape.id),
            tally: Tally::default(),
            history: History::default(),
            seen: BTreeMap::new(),
            stream_us: 0,
            at: 0,
            marks: Vec::new(),
            by: None,
        }
    }

    /// Reads a value; `None` for what is none.
    pub fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().filter(|read: &Self| read.selvedge_bandit == Self::VERSION)
    }

    /// The value.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether this is what `spec` learns.
    pub fn is_of(&self, spec: &Bandit) -> bool {
        self.bandit == spec.key
            && self.reward == spec.reward
            && self.window_us == spec.window_us
            && self.bucket_us == bucket_us(spec)
            && self.model == spec.model.as_ref().map(|shape| shape.id)
    }

    /// Adds what was gained.
    pub fn add(&mut self, spec: &Bandit, gains: &[Gain]) {
        for gain in gains {
            self.tally.add(gain, 1);
            self.history.add(gain, 1);
        }
        if let Some(shape) = &spec.model {
            self.history.fold(spec.prior, shape);
        }
    }

    /// What is in it of a lane of a run.
    pub fn run(&self, node: &NodeId, epoch: Epoch, lane: Lane) -> Option<&Run> {
        self.seen.get(&name(node, epoch, lane))
    }

    /// The same, to take more.
    pub fn run_mut(&mut self, node: &NodeId, epoch: Epoch, lane: Lane) -> &mut Run {
        self.seen.entry(name(node, epoch, lane)).or_default()
    }

    /// Notes that the stream is read up to `at`, which it took at `now_us`, and forgets what is never read again.
    pub fn pass(&mut self, at: u64, now_us: TimeUs) {
        self.at = self.at.max(at);
        if self.marks.last().is_none_or(|(last_us, _)| now_us.saturating_sub(*last_us) >= self.window_us / MARKS) {
            self.marks.push((now_us, at));
            // The newest that lies before the window stays.
            let start_us = now_us.saturating_sub(self.window_us).saturating_sub(2 * self.window_us / MARKS);
            let keep = self.marks.iter().rposition(|(mark_us, _)| *mark_us < start_us).unwrap_or(0);
            self.marks.drain(..keep);
            let begin = self.marks.first().map_or(0, |(_, at)| *at);
            self.seen.retain(|_, run| run.at >= begin || now_us.saturating_sub(run.stored_us) < REMEMBERED_US);
            while self.seen.len() > MOST_RUNS {
                let oldest = self.seen.iter().min_by_key(|(_, run)| run.stored_us).map(|(name, _)| name.clone());
                oldest.and_then(|name| self.seen.remove(&name));
            }
        }
    }

    /// Goes on with the stream that was made at `stream_us`: another begins anew, and what is in the tally stays.
    pub fn go_on(&mut self, stream_us: TimeUs) {
        if self.stream_us != stream_us {
            (self.stream_us, self.at) = (stream_us, 0);
            self.marks.clear();
            self.seen.values_mut().for_each(|run| run.at = 0);
        }
    }

    /// Where to begin to read the stream that was made at `stream_us`, 0 for its start.
    pub fn begin(&self, stream_us: TimeUs) -> u64 {
        if self.stream_us == stream_us { self.marks.first().map_or(0, |(_, at)| *at) } else { 0 }
    }
}

/// What a lane of a run is called.
pub(super) fn name(node: &NodeId, epoch: Epoch, lane: Lane) -> String {
    format!("{node}/{epoch}/{lane}")
}
