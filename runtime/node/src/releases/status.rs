//! What is known about this node's releases: which runs, which does not, and why. Owns the words for it, as they stand in
//! `/readyz`, in the admin interface and in the node's report.

use std::collections::VecDeque;

use selvedge_build::channel::{Canary, Labels};
use selvedge_decision::TimeUs;
use serde::Serialize;

use crate::releases::journal::{Quarantine, Ran};

/// How many refusals are remembered.
const MAX_REFUSALS: usize = 16;

/// Which release runs, and what stands in the way of another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Status {
    /// The channel followed; empty with the local link.
    pub channel: String,
    /// The highest counter seen of it.
    pub counter: u64,
    /// The release that runs.
    pub active: Option<Running>,
    /// The one before it, kept warm for a rollback.
    pub previous: Option<Running>,
    /// The release that decides for a share of the subjects instead.
    pub canary: Option<RunningCanary>,
    /// Why what the channel points to does not run; none when it does.
    pub refusal: Option<Refusal>,
    /// Why the channel cannot be read, or that it has no pointer yet.
    pub channel_problem: Option<ChannelProblem>,
    /// The latest refusals, the oldest first.
    pub refused: VecDeque<Refusal>,
    /// The release this node took back by itself.
    pub quarantined: Option<Quarantine>,
    /// The canary this node dropped by itself.
    pub canary_dropped: Option<Quarantine>,
}

/// A canary that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningCanary {
    /// The release.
    #[serde(flatten)]
    pub running: Running,
    /// The share of subjects in hundredths of a percent.
    pub share_bp: u16,
    /// What subjects are hashed with.
    pub salt: String,
    /// The labels it asks for.
    #[serde(rename = "where")]
    pub on: Labels,
}

/// A release that runs, or is kept ready to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Running {
    /// `sha256:…`
    pub release: String,
    /// Its name, for people.
    pub name: String,
    /// Since when, or when it last began to run.
    pub since_us: TimeUs,
}

/// The channel cannot be read, or has nothing to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelProblem {
    /// What is wrong now.
    pub why: String,
    /// Since when the channel has not been read, whatever was wrong first.
    pub since_us: TimeUs,
}

/// A release or pointer that was not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What kind of reason.
    pub code: RefusalCode,
    /// The release, `sha256:…`, where it is known.
    pub release: Option<String>,
    /// What was wrong and what to do.
    pub why: String,
    /// Since when.
    pub since_us: TimeUs,
    /// How often it was tried.
    pub tries: u64,
}

/// The kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The pointer is not one, or not signed for this channel by a trusted key.
    Pointer,
    /// The pointer expired.
    Expired,
    /// An older pointer is played back, or another one with the same counter.
    PlayedBack,
    /// The release could not be fetched; tried again.
    Fetch,
    /// The release file is not what its digest says.
    Release,
    /// The release is not signed by a trusted key.
    Signature,
    /// The folder cannot be packed (local link), or its definitions are wrong.
    Contents,
    /// A module cannot be loaded.
    Module,
    /// A golden vector does not come out bit for bit.
    Vectors,
    /// The node is not ready for it; tried again.
    NotYet,
    /// The node's disk does not take the release or the journal; tried again.
    Disk,
    /// The node took it back by itself and the counter did not change since.
    Quarantined,
    /// It faults more than its guard allows, and there is no other release to go back to.
    Guard,
    /// What ran before the restart cannot be staged any more.
    Resume,
}

// === impl RefusalCode ===

impl RefusalCode {
    /// Its name in metrics, reports and `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pointer => "pointer",
            Self::Expired => "expired",
            Self::PlayedBack => "played_back",
            Self::Fetch => "fetch",
            Self::Release => "release",
            Self::Signature => "signature",
            Self::Contents => "contents",
            Self::Module => "module",
            Self::Vectors => "vectors",
            Self::NotYet => "not_yet",
            Self::Disk => "disk",
            Self::Quarantined => "quarantined",
            Self::Guard => "guard",
            Self::Resume => "resume",
        }
    }
}

// === impl Status ===

impl Status {
    /// Remembers `refusal` as the one that stands, and counts one that stood before.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        let (code, release) = (refusal.code, refusal.release.clone());
        let same = |known: &Refusal| known.code == code && known.release == release;
        let refusal = match self.refusal.take().filter(&same) {
            Some(stood) => Refusal { since_us: stood.since_us, tries: stood.tries + 1, ..refusal },
            None => refusal,
        };
        match self.refused.back_mut().filter(|last| same(last) && last.since_us == refusal.since_us) {
            Some(last) => *last = refusal.clone(),
            None => {
                if self.refused.len() == MAX_REFUSALS {
                    self.refused.pop_front();
                }
                self.refused.push_back(refusal.clone());
            }
        }
        self.refusal = Some(refusal);
    }

    /// Remembers what is wrong with the channel; the time it began stays as long as it lasts.
    pub(super) fn channel_fails(&mut self, why: String, now_us: TimeUs) {
        let since_us = self.channel_problem.as_ref().map_or(now_us, |problem| problem.since_us);
        self.channel_problem = Some(ChannelProblem { why, since_us });
    }
}

// === impl Running ===

impl Running {
    pub(super) fn new(ran: &Ran, name: &str) -> Self {
        Self { release: ran.release.to_string(), name: name.to_owned(), since_us: ran.since_us }
    }
}

// === impl RunningCanary ===

impl RunningCanary {
    pub(super) fn new(ran: &Ran, name: &str, canary: &Canary) -> Self {
        let (running, Canary { share_bp, salt, on, .. }) = (Running::new(ran, name), canary.clone());
        Self { running, share_bp, salt, on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: RefusalCode, since_us: TimeUs) -> Refusal {
        Refusal { code, release: None, why: String::new(), since_us, tries: 1 }
    }

    #[test]
    fn a_refusal_that_stands_is_counted_and_a_new_one_remembered() {
        let mut status = Status::default();
        for at_us in [10, 20, 30] {
            status.refuse(refusal(RefusalCode::Fetch, at_us));
        }
        assert_eq!(status.refusal.as_ref().map(|r| (r.since_us, r.tries)), Some((10, 3)));
        assert_eq!(status.refused.len(), 1);
        status.refusal = None;
        status.refuse(refusal(RefusalCode::Fetch, 40));
        assert_eq!(status.refused.len(), 2, "what stood again is another time");
        for at_us in 0..50 {
            let code = if at_us % 2 == 0 { RefusalCode::Module } else { RefusalCode::Vectors };
            status.refuse(refusal(code, at_us));
        }
        assert_eq!(status.refused.len(), MAX_REFUSALS);
        assert_eq!(status.refused.back().map(|r| r.since_us), Some(49));
    }

    // `/readyz` told the node's start as the time since when a channel could not be read.
    #[test]
    fn a_channel_fails_since_it_last_worked() {
        let mut status = Status::default();
        let since = |status: &Status| status.channel_problem.as_ref().map(|problem| problem.since_us);
        status.channel_fails("no pointer".into(), 10);
        status.channel_fails("no permission".into(), 20);
        assert_eq!(
            (since(&status), status.channel_problem.as_ref().map(|p| &*p.why)),
            (Some(10), Some("no permission"))
        );
        status.channel_problem = None;
        status.channel_fails("no pointer".into(), 30);
        assert_eq!(since(&status), Some(30));
    }
}
