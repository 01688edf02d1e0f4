//! Waiting for the nodes of a channel: until every one that reports runs the release, or one refuses it. Owns what counts
//! as running, refusing and reporting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use selvedge_build::channel::{Canary, labels_text};
use selvedge_decision::definition::Span;
use selvedge_decision::{Digest, TimeUs};
use selvedge_node::clock::Clock;
use selvedge_node::link::NatsLink;
use selvedge_node::releases::{NodeReport, ReportedRefusal, point};
use serde::Serialize;

use crate::output::Output;
use crate::table::short;

/// How often the reports are read.
const READ_EVERY: Duration = Duration::from_millis(200);

/// A node whose last report is older, and that does not report while we wait, is not waited for.
const ALIVE_US: TimeUs = 30_000_000;

/// So many nodes are named when none fits.
const SHOWN: usize = 8;

/// Reasons of a refusal that the node goes on trying to overcome.
const PASSING: [&str; 3] = ["fetch", "not_yet", "disk"];

/// What the channel's nodes said before its pointer was written.
#[derive(Debug)]
pub(super) struct Before {
    channel: String,
    reports: BTreeMap<String, NodeReport>,
}

/// What is waited for.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// What the pointer says runs.
    pub(super) release: Digest,
    /// And its canary; then the nodes it fits are waited for, and no others.
    pub(super) canary: Option<Canary>,
    /// The pointer's counter.
    pub(super) counter: u64,
}

/// What came of waiting.
#[derive(Debug)]
pub(super) struct Waited {
    pub(super) all_run: bool,
    pub(super) nodes: Vec<NodeState>,
}

/// One node at the end of the wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NodeState {
    node: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Runs,
    Refuses,
    Pending,
    Silent,
}

// === impl Before ===

impl Before {
    /// Looks at the nodes that follow `channel`.
    pub(super) async fn look(nats: &NatsLink, channel: &str) -> anyhow::Result<Self> {
        let reports = NodeReport::read_all(nats).await?.into_iter().filter(|report| report.channel == channel);
        let reports = reports.map(|report| (report.node.to_string(), report)).collect();
        Ok(Self { channel: channel.to_owned(), reports })
    }

    /// The highest counter that any of them has seen.
    pub(super) fn highest_counter(&self) -> u64 {
        point::highest_counter(&self.channel, self.reports.values())
    }

    /// Whether one of the nodes has the labels that a canary asks for.
    pub(super) fn somebody_fits(&self, canary: &Canary) -> anyhow::Result<()> {
        if canary.on.is_empty() || self.reports.values().any(|report| canary.fits(&report.labels)) {
            return Ok(());
        }
        let labelled = |report: &NodeReport| {
            let labels = labels_text(&report.labels);
            format!("{} has {}", report.node, if labels.is_empty() { "none" } else { &labels })
        };
        let mut known: Vec<String> = self.reports.values().map(labelled).take(SHOWN).collect();
        if self.reports.len() > SHOWN {
            known.push(format!("{} more", self.reports.len() - SHOWN));
        }
        let known = if known.is_empty() { "none has reported".to_owned() } else { known.join(", ") };
        anyhow::bail!(
            "no node of channel {} has the labels {}: {known}; labels are set by `[node] labels` in selvedge.toml",
            self.channel,
            canary.labels_text()
        )
    }

    /// Where a node stands with the target, by its report `now`.
    fn judge(&self, now: &NodeReport, target: &Target, now_us: TimeUs) -> NodeState {
        let counter = target.counter;
        let release = target.wanted().to_string();
        let runs = match &target.canary {
            Some(_) => now.canary.as_ref() == Some(&release),
            None => now.release.as_ref() == Some(&release) && now.canary.is_none(),
        };
        let before = self.reports.get(now.node.as_str());
        let reported = before.is_none_or(|before| before.time_us != now.time_us);
        let alive = reported || now_us.saturating_sub(now.time_us) < ALIVE_US;
        let refusal = now.refused.as_ref().filter(|refused| {
            let about_it = now.counter >= counter && refused.release.as_ref() == Some(&release);
            let is_new = before.and_then(|before| before.refused.as_ref()).is_none_or(|old| !same(old, refused));
            reported && (about_it || is_new) && !PASSING.contains(&refused.code.as_str())
        });
        let (state, why) = match refusal {
            _ if now.counter >= counter && runs => (State::Runs, None),
            Some(refused) => (State::Refuses, Some(format!("{}: {}", refused.code, refused.why))),
            None if alive => (State::Pending, now.refused.as_ref().map(|refused| before_that(refused, &release))),
            None => (State::Silent, None),
        };
        NodeState { node: now.node.to_string(), state, why }
    }
}

/// Why a node refuses something: what, where it is not `release`.
fn before_that(refused: &ReportedRefusal, release: &str) -> String {
    let other = refused.release.as_deref().filter(|other| *other != release);
    other.map_or(refused.why.clone(), |other| format!("{}: {}", short(other), refused.why))
}

fn same(a: &ReportedRefusal, b: &ReportedRefusal) -> bool {
    (&a.code, &a.release, a.since_us) == (&b.code, &b.release, b.since_us)
}

/// Waits until every live node that the target concerns runs it, one refuses it, or `timeout` is over. A channel without
/// nodes is waited for too: its first node may be starting.
pub(super) async fn wait(
    nats: &NatsLink,
    before: &Before,
    target: &Target,
    timeout: Span,
    output: &Output,
) -> anyhow::Result<Waited> {
    let clock = Clock::new();
    let started = Instant::now();
    let timeout = Duration::from_micros(timeout.us().unsigned_abs());
    let mut told: Vec<NodeState> = Vec::new();
    loop {
        let reports = NodeReport::read_all(nats).await?.into_iter().filter(|report| report.channel == before.channel);
        let reports = reports.filter(|report| target.concerns(report));
        let now_us = clock.now_us();
        let nodes: Vec<_> = reports.map(|report| before.judge(&report, target, now_us)).collect();
        for node in nodes.iter().filter(|node| node.state != State::Pending && !told.contains(node)) {
            output.talk(node.text());
        }
        let of = |state: State| nodes.iter().filter(|node| node.state == state).count();
        let all_run = of(State::Runs) > 0 && of(State::Pending) == 0 && of(State::Refuses) == 0;
        if all_run || of(State::Refuses) > 0 {
            return Ok(Waited { all_run, nodes });
        }
        if started.elapsed() > timeout {
            let pending: Vec<_> =
                nodes.iter().filter(|node| node.state == State::Pending).map(NodeState::text).collect();
            let who =
                if pending.is_empty() { format!("no node of {} reports", before.channel) } else { pending.join("; ") };
            output.talk(format_args!("not done within {} s: {who}", timeout.as_secs()));
            return Ok(Waited { all_run: false, nodes });
        }
        told = nodes;
        tokio::time::sleep(READ_EVERY).await;
    }
}

// === impl Target ===

impl Target {
    /// The release that is waited for.
    fn wanted(&self) -> Digest {
        self.canary.as_ref().map_or(self.release, |canary| canary.release)
    }

    fn concerns(&self, report: &NodeReport) -> bool {
        self.canary.as_ref().is_none_or(|canary| canary.fits(&report.labels))
    }
}

// === impl NodeState ===

impl NodeState {
    fn text(&self) -> String {
        let state = match self.state {
            State::Runs => "runs it",
            State::Refuses => "refuses it",
            State::Pending => "does not run it yet",
            State::Silent => "has not reported lately and is not waited for",
        };
        let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} {state}{why}", self.node)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use selvedge_node::releases::Versions;

    use super::*;

    fn digest(name: &str) -> String {
        Digest::of(name.as_bytes()).to_string()
    }

    fn report(counter: u64, release: &str, refused: Option<(&str, &str, i64)>, time_us: TimeUs) -> NodeReport {
        NodeReport {
            node: "edge-1".parse().unwrap(),
            epoch: String::new(),
            labels: [("region".into(), "eu".into())].into(),
            channel: "prod".into(),
            counter,
            release: Some(digest(release)),
            name: None,
            previous: None,
            refused: refused.map(|(code, release, since_us)| ReportedRefusal {
                code: code.into(),
                release: Some(digest(release)),
                why: "so".into(),
                since_us,
            }),
            quarantined: None,
            canary: None,
            canary_dropped: None,
            link: "nats".into(),
            versions: Versions { runtime: "0.1.0".into(), core: 1 },
            time_us,
        }
    }

    #[test]
    fn a_node_runs_refuses_is_pending_or_silent() {
        let target = Target { release: Digest::of(b"new"), canary: None, counter: 8 };
        let old = Some(("pointer", "x", 3));
        let check = |before: Option<NodeReport>, now: NodeReport, expected: State| {
            let reports = before.into_iter().map(|report| (report.node.to_string(), report)).collect();
            let before = Before { channel: "prod".into(), reports };
            assert_eq!(before.judge(&now, &target, 100_000_000).state, expected, "{now:?}");
        };
        let before = || Some(report(7, "old", old, 99_000_000));
        check(before(), report(8, "new", None, 99_500_000), State::Runs);
        check(None, report(9, "new", None, 99_500_000), State::Runs);
        check(before(), report(7, "old", old, 99_500_000), State::Pending);
        check(before(), report(7, "new", None, 99_500_000), State::Pending);
        check(before(), report(8, "old", Some(("fetch", "new", 9)), 99_500_000), State::Pending);
        check(before(), report(8, "old", Some(("module", "new", 9)), 99_500_000), State::Refuses);
        check(before(), report(7, "old", Some(("pointer", "x", 9)), 99_500_000), State::Refuses);
        check(None, report(7, "old", None, 1_000_000), State::Pending);
        let long_ago = || report(7, "old", None, 1_000_000);
        check(Some(long_ago()), long_ago(), State::Silent);
    }
    #[test]
    fn a_canary_concerns_the_nodes_it_fits() {
        let check =
            |region: &str, canary: Option<&str>, refused: Option<(&str, &str, i64)>, expected: Option<State>| {
                let on = [("region".to_owned(), region.to_owned())].into();
                let wanted = Canary { release: Digest::of(b"new"), share_bp: 500, salt: "s".into(), on };
                let target = Target { release: Digest::of(b"old"), canary: Some(wanted), counter: 8 };
                let before = Before { channel: "prod".into(), reports: BTreeMap::new() };
                let now = NodeReport { canary: canary.map(digest), ..report(8, "old", refused, 99_500_000) };
                let state = target.concerns(&now).then(|| before.judge(&now, &target, 100_000_000).state);
                assert_eq!(state, expected, "{now:?}");
            };
        check("us", None, None, None);
        check("eu", None, None, Some(State::Pending));
        check("eu", Some("other"), None, Some(State::Pending));
        check("eu", Some("new"), None, Some(State::Runs));
        check("eu", None, Some(("quarantined", "new", 9)), Some(State::Refuses));
    }

    #[test]
    fn a_rollback_of_a_canary_is_done_when_it_is_gone() {
        let target = Target { release: Digest::of(b"old"), canary: None, counter: 8 };
        let before = Before { channel: "prod".into(), reports: BTreeMap::new() };
        let mut now = NodeReport { canary: Some(digest("new")), ..report(8, "old", None, 99_500_000) };
        assert_eq!(before.judge(&now, &target, 100_000_000).state, State::Pending);
        now.canary = None;
        assert_eq!(before.judge(&now, &target, 100_000_000).state, State::Runs);
    }

    #[test]
    fn labels_that_no_node_has_are_told_with_those_there_are() {
        let reports = [("edge-1".to_owned(), report(8, "old", None, 1))].into();
        let before = Before { channel: "prod".into(), reports };
        let canary = |on: &[(&str, &str)]| {
            let on = on.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Canary { release: Digest::of(b"new"), share_bp: 1, salt: "s".into(), on }
        };
        assert!(
            before.somebody_fits(&canary(&[])).is_ok() && before.somebody_fits(&canary(&[("region", "eu")])).is_ok()
        );
        let why = before.somebody_fits(&canary(&[("region", "us")])).unwrap_err().to_string();
        assert!(why.contains("labels region=us: edge-1 has region=eu"), "{why}");
    }
}
