//! What people see: progress on stderr while it runs, a table at the end, and one line of JSON for machines.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::count::{Counted, Replayed};
use crate::data::Impression;
use crate::traffic::Tally;

/// Progress on stderr; a bar only when that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    terminal: bool,
}

/// The result, in the order in which it is printed.
#[derive(Debug, Serialize)]
struct Line {
    decisions: u64,
    failed: u64,
    fallbacks: u64,
    p50_us: u64,
    p99_us: u64,
    events_accepted: u64,
    events_in_stream: u64,
    records_in_stream: u64,
    features_synced: usize,
    freshness_p99_ms: Option<f64>,
    swaps: u32,
    replayed: u64,
    replay_different: u64,
    snipw: Option<f64>,
}

/// The result and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Report {
    line: Line,
    clicks_logged: f64,
    matched: u32,
    problems: Vec<String>,
}

// === impl Progress ===

impl Progress {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }

    /// A new act begins.
    pub(crate) fn act(&self, what: &str) {
        self.clear();
        eprintln!("[{:>5.1} s] {what}", self.start.elapsed().as_secs_f64());
    }

    /// Something worth saying within an act.
    pub(crate) fn note(&self, what: &str) {
        self.clear();
        eprintln!("          {what}");
    }

    /// How far the traffic is, from 0 to 1.
    pub(crate) fn bar(&self, share: f64) {
        if self.terminal {
            let full = (share * 40.0) as usize;
            eprint!("\r          [{}{}] {:>3.0} %", "=".repeat(full), " ".repeat(40 - full.min(40)), share * 100.0);
            // A bar that does not show is no reason to stop.
            drop(std::io::stderr().flush());
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn new(
        tally: &Tally,
        swaps: u32,
        counted: &Counted,
        replayed: &Replayed,
        (published, synced): (usize, usize),
        freshness_p99_ms: Option<f64>,
        future: &[Impression],
    ) -> Self {
        let line = Line {
            decisions: tally.decisions,
            failed: tally.failed,
            fallbacks: tally.fallbacks,
            p50_us: tally.latency_us(0.5),
            p99_us: tally.latency_us(0.99),
            events_accepted: tally.events_accepted,
            events_in_stream: counted.events,
            records_in_stream: counted.records,
            features_synced: synced,
            freshness_p99_ms,
            swaps,
            replayed: replayed.replayed,
            replay_different: replayed.different,
            snipw: tally.snipw.value(),
        };
        let mut problems = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                problems.push(what);
            }
        };
        must(line.failed == 0, format!("{} requests failed: {:?}", line.failed, tally.errors));
        must(
            line.decisions == future.len() as u64,
            format!("{} decisions for {} impressions", line.decisions, future.len()),
        );
        must(
            line.events_in_stream == line.events_accepted,
            format!("{} events accepted, {} in the stream", line.events_accepted, line.events_in_stream),
        );
        must(
            line.records_in_stream == line.decisions,
            format!("{} decisions, {} records in the stream", line.decisions, line.records_in_stream),
        );
        must(synced == published, format!("{published} entities published, {synced} on the node"));
        must(tally.releases.len() == 2, format!("decisions by release: {:?}, expected two releases", tally.releases));
        must(
            line.replayed == line.records_in_stream,
            format!("{} of {} records replayed", line.replayed, line.records_in_stream),
        );
        must(line.replay_different == 0, format!("{} replays differ", line.replay_different));
        let clicks = future.iter().filter(|seen| seen.clicked).count();
        Self { line, clicks_logged: clicks as f64 / future.len().max(1) as f64, matched: tally.snipw.matched, problems }
    }

    /// What is wrong; empty when all is well.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The table and, when asked for, the line of JSON: on stdout.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let line = &self.line;
        let share =
            |value: Option<f64>| value.map_or_else(|| "nothing matched".to_owned(), |value| format!("{value:.6}"));
        let rows = [
            ("decisions", format!("{} ({} failed, {} fallbacks)", line.decisions, line.failed, line.fallbacks)),
            ("latency over HTTP", format!("p50 {} us, p99 {} us", line.p50_us, line.p99_us)),
            ("events", format!("{} accepted, {} in the stream", line.events_accepted, line.events_in_stream)),
            ("decision records", format!("{} in the stream", line.records_in_stream)),
            ("features", format!("{} entities synced", line.features_synced)),
            ("freshness p99", line.freshness_p99_ms.map_or_else(|| "not measured".to_owned(), |ms| format!("{ms} ms"))),
            ("release swaps", format!("{} under load", line.swaps)),
            ("replayed", format!("{}, {} different", line.replayed, line.replay_different)),
            ("click rate, logged policy", format!("{:.6}", self.clicks_logged)),
            ("click rate, this one (SNIPW)", format!("{} from {} matches", share(line.snipw), self.matched)),
        ];
        let mut out = std::io::stdout().lock();
        for (what, value) in rows {
            writeln!(out, "{what:<30}{value}")?;
        }
        for problem in &self.problems {
            writeln!(out, "WRONG: {problem}")?;
        }
        if json {
            writeln!(out, "{}", serde_json::to_string(line)?)?;
        }
        Ok(())
    }
}
