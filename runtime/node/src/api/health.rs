//! Whether the node can do its work: the reasons it cannot, or can only in part, and since when.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvedge_decision::{Epoch, NodeId, TimeUs};
use serde::Serialize;

use crate::clock::Clock;
use crate::decide::{Active, Load};
use crate::events::{Unknown, UnknownEvent};
use crate::features::{Features, ViewStatus};
use crate::link::{Link, LinkState};
use crate::outbox::{Outbox, OutboxStatus};
use crate::releases::{Releases, Status};
use crate::sessions::Sessions;
use crate::twin::Twin;

/// The share of a lane's bytes above which it counts as filling up.
const FILLING: f64 = 0.8;

/// Where health is read from.
pub struct Health {
    /// This node.
    pub node: NodeId,
    /// This run of it.
    pub epoch: Epoch,
    /// Its clock.
    pub clock: Clock,
    /// When it started.
    pub started_us: TimeUs,
    /// How it reaches the core.
    pub link: Link,
    /// Whether another run has its name.
    pub twin: Twin,
    /// What it decides by.
    pub releases: Releases<Active>,
    /// What it knows.
    pub features: Features,
    /// What events came to.
    pub sessions: Sessions,
    /// What it has to tell.
    pub outbox: Outbox,
    /// What it took and does not know.
    pub unknown_events: Unknown,
    /// How much it has to do.
    pub load: Load,
}

/// `GET /readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether it decides at all, and whether all is well.
    pub status: Ready,
    /// Why not; empty when all is well.
    pub reasons: Vec<Reason>,
}

/// Whether it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// All is well.
    Ready,
    /// It decides, but something is amiss.
    Degraded,
    /// It cannot decide.
    NotReady,
}

/// One reason.
#[derive(Debug, Clone, Serialize)]
pub struct Reason {
    /// A stable code.
    pub code: &'static str,
    /// Since when, RFC 3339.
    pub since: String,
    /// For people.
    pub detail: String,
}

/// `GET /v1/status` on the admin listener.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    node: NodeId,
    epoch: String,
    version: &'static str,
    started: String,
    ready: Readiness,
    link: LinkStatus,
    releases: Arc<Status>,
    features: Vec<ViewStatus>,
    outbox: OutboxStatus,
    unknown_events: Vec<UnknownEvent>,
    /// Modules of the running release, and of a canary, that are not asked for a while, because they failed too often.
    open_modules: Vec<String>,
    load: LoadStatus,
}

#[derive(Debug, Clone, Serialize)]
struct LoadStatus {
    /// How long a request waits before it is looked at.
    wait_us: u64,
    /// The share of decisions that may ask scorers, which is less than 1 when that is too long.
    scored_share: f64,
}

#[derive(Debug, Clone, Serialize)]
struct LinkStatus {
    kind: &'static str,
    connected: bool,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

// === impl Health ===

impl Health {
    /// Whether the node can do its work now.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let mut ready = true;
        let releases = self.releases.status();
        if releases.active.is_none() {
            ready = false;
            let why = match (&releases.refusal, &releases.channel_problem) {
                (Some(refusal), _) => format!("the release was refused: {}", refusal.why),
                (None, Some(problem)) => problem.why.clone(),
                (None, None) => {
                    "no release yet: none was deployed to the channel, or the core was not reached".to_owned()
                }
            };
            reasons.push(reason("no_release", self.started_us, why));
        } else if let Some(refusal) = &releases.refusal {
            let what = refusal.release.as_deref().unwrap_or("what came after the running release");
            reasons.push(reason("release_refused", refusal.since_us, format!("{what}: {}", refusal.why)));
        } else if let Some(problem) = &releases.channel_problem {
            reasons.push(reason("channel", problem.since_us, problem.why.clone()));
        }
        if let Some(taken) = self.twin.taken() {
            ready = false;
            let detail = format!(
                "the name {} is that of another run, {}, which started {} and answers: stop it, or give this node a name of \
                 its own and an empty data directory",
                self.node,
                taken.epoch,
                time_text(taken.started_us)
            );
            reasons.push(reason("name_taken", taken.since_us, detail));
        }
        if let LinkState::Down { since_us, why } = &*self.link.state().borrow() {
            reasons.push(reason("core_unreachable", *since_us, why.clone()));
        }
        let active = Option::as_ref(&self.releases.active()).map(Arc::clone);
        let reads = |view: &ViewStatus| active.as_ref().is_some_and(|active| active.reads(&view.view));
        for view in self.features.status().into_iter().filter(|view| !view.synced && reads(view)) {
            // Decisions would be made on nothing at all: worse than none.
            ready = false;
            let detail = format!("view {:?} was never complete: {}", view.view, view.detail);
            reasons.push(reason("view_not_synced", view.since_us, detail));
        }
        if let Some(since_us) = self.load.sheds_since() {
            let detail = format!(
                "more to do than can be done in time: requests wait {:?} before anybody looks at them, and {:.0} % of the decisions \
                 ask no scorer",
                self.load.wait(),
                (1.0 - self.load.share()) * 100.0
            );
            reasons.push(reason("overloaded", since_us, detail));
        }
        let outbox = self.outbox.status();
        let now_us = self.clock.now_us();
        for trouble in outbox.failing.iter() {
            reasons.push(reason("outbox_failing", trouble.since_us, trouble.why.clone()));
        }
        for trouble in outbox.stuck.iter() {
            reasons.push(reason("outbox_stuck", trouble.since_us, trouble.why.clone()));
        }
        for lane in outbox.lanes {
            let share = lane.backlog_bytes as f64 / lane.limit_bytes.max(1) as f64;
            if share > FILLING {
                let since_us = now_us - lane.oldest_age_ms.unwrap_or(0) as i64 * 1_000;
                let detail = format!("lane {} holds {:.0} % of what it may", lane.lane.as_str(), share * 100.0);
                reasons.push(reason("outbox_filling", since_us, detail));
            }
        }
        let status = match (ready, reasons.is_empty()) {
            (false, _) => Ready::NotReady,
            (true, false) => Ready::Degraded,
            (true, true) => Ready::Ready,
        };
        Readiness { status, reasons }
    }

    /// Everything an operator asks first.
    pub fn status(&self) -> NodeStatus {
        let link = match &*self.link.state().borrow() {
            LinkState::Connected { since_us } => (true, *since_us, None),
            LinkState::Down { since_us, why } => (false, *since_us, Some(why.clone())),
        };
        let active = Option::as_ref(&self.releases.active()).map(Arc::clone);
        NodeStatus {
            node: self.node.clone(),
            epoch: self.epoch.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            started: time_text(self.started_us),
            ready: self.readiness(),
            link: LinkStatus { kind: self.link.kind(), connected: link.0, since: time_text(link.1), why: link.2 },
            releases: self.releases.status(),
            features: self.features.status().into_iter().chain(self.sessions.status()).collect(),
            outbox: self.outbox.status(),
            unknown_events: self.unknown_events.status(),
            open_modules: {
                let canary = self.releases.canary();
                let open = active.iter().chain(&canary).flat_map(|active| active.open()).map(str::to_owned);
                open.collect::<BTreeSet<_>>().into_iter().collect()
            },
            load: LoadStatus { wait_us: self.load.wait().as_micros() as u64, scored_share: self.load.share() },
        }
    }
}

fn reason(code: &'static str, since_us: TimeUs, detail: String) -> Reason {
    Reason { code, since: time_text(since_us), detail }
}

fn time_text(time_us: TimeUs) -> String {
    selvedge_build::channel::time_text(time_us)
}
