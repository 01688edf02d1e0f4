//! The benchmarks: every bar of the speed table, measured beside its floor in the same run, since absolute times of a shared
//! machine say little. Medians over rounds. A row that misses its bar is printed as it is.

mod browser;
mod browser_client;
mod browser_saved;
mod build;
mod capacity;
mod events;
mod flags;
mod freshness;
mod hello;
mod http;
mod inprocess;
mod keepup;
mod load;
mod measure;
mod memory;
mod models;
mod policies;
mod pour;
mod rank;
mod replay;
mod reused;
mod rules;
mod sessions;
mod start;
mod swap;
mod sync;
mod trainers;
mod wide;
mod world;

use std::pin::Pin;

use anyhow::Result;
use serde::Serialize;

pub use hello::serve as serve_hello;

/// A group of rows that are measured together.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What `./x bench NAME` calls it.
    pub name: &'static str,
    /// What it measures and against what.
    pub about: &'static str,
    run: fn(Effort) -> Running,
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds of which the median counts.
    pub rounds: usize,
    /// Whether to make do with a tenth of the work: to see that a row runs, not for its numbers.
    pub quick: bool,
}

/// One measured line.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// The median, in microseconds; `null` when the row is no time.
    pub p50_us: Option<f64>,
    /// The 99th percentile, in microseconds.
    pub p99_us: Option<f64>,
    /// What it may be at most, in the unit of what is compared; `null` when it is only reported.
    pub bar: Option<f64>,
    /// What is compared over the bar: at most 1 is good.
    pub ratio: Option<f64>,
    /// Whether it keeps the bar.
    pub ok: bool,
    /// What was measured, when it is no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What is compared with the bar, and how the bar came about.
    pub what: String,
}

type Running = Pin<Box<dyn Future<Output = Result<Vec<Line>>>>>;

/// Every row, in the order in which they run.
pub const ALL: [Row; 23] = [
    Row {
        name: "inprocess",
        about: "module call, gather and decide in this process, on one thread and on two",
        run: |effort| Box::pin(inprocess::run(effort)),
    },
    Row {
        name: "models",
        about: "trees, networks and embeddings through the builder: inside the module, fresh, against native",
        run: |effort| Box::pin(models::run(effort)),
    },
    Row {
        name: "trainers",
        about: "the same trees here and in the libraries that made them",
        run: |effort| Box::pin(trainers::run(effort)),
    },
    Row {
        name: "http",
        about: "decide over HTTP against a bare axum hello: closed loop of 64 connections, open loop at 2,000/s",
        run: |effort| Box::pin(http::run(effort)),
    },
    Row {
        name: "flags",
        about: "OpenFeature: all of 100 flags without a module against one of them, over HTTP",
        run: |effort| Box::pin(flags::run(effort)),
    },
    Row {
        name: "rank",
        about: "rank 200 candidates x 100 features with 100 trees",
        run: |effort| Box::pin(rank::run(effort)),
    },
    Row {
        name: "rules",
        about: "a decision table of 20 rows, over one row of inputs and over 200 candidates",
        run: |effort| Box::pin(rules::run(effort)),
    },
    Row {
        name: "policies",
        about: "an experiment that learns over 20 actions, limits over 200 candidates, against the plain best",
        run: |effort| Box::pin(policies::run(effort)),
    },
    Row { name: "replay", about: "a recorded decision, decided again", run: |effort| Box::pin(replay::run(effort)) },
    Row {
        name: "browser",
        about: "20 rules and 100 trees over 100 features, decided in a page",
        run: |effort| Box::pin(browser::run(effort)),
    },
    Row {
        name: "freshness",
        about: "from a feature's publication to its use by a decision",
        run: |effort| Box::pin(freshness::run(effort)),
    },
    Row {
        name: "sessions",
        about: "from an event's 202 to a decision that counts it: in process, over HTTP, on another node",
        run: |effort| Box::pin(sessions::run(effort)),
    },
    Row {
        name: "sync",
        about: "first sync of many entities against a bare pull consumer; its memory; a restart",
        run: |effort| Box::pin(sync::run(effort)),
    },
    Row {
        name: "keep-up",
        about: "feature updates as fast as the core takes them, against a bare consumer",
        run: |effort| Box::pin(keepup::run(effort)),
    },
    Row {
        name: "under-load",
        about: "decisions while 10,000 feature updates/s and 10,000 events/s come in, against none",
        run: |effort| Box::pin(pour::run(effort)),
    },
    Row {
        name: "capacity",
        about: "bytes an entity, a session and an event take, and what a node of 24 GiB holds",
        run: |effort| Box::pin(capacity::run(effort)),
    },
    Row { name: "events", about: "durable events in batches of 100", run: |effort| Box::pin(events::run(effort)) },
    Row {
        name: "swap",
        about: "a swap every second under load against none",
        run: |effort| Box::pin(swap::run(effort)),
    },
    Row {
        name: "start",
        about: "start with many entities on disk to the first decision",
        run: |effort| Box::pin(start::run(effort)),
    },
    Row {
        name: "browser_client",
        about: "the browser SDK in Chromium: 10,000 track() on the main thread, a decision beside its bare request",
        run: |effort| Box::pin(browser_client::run(effort)),
    },
    Row {
        name: "browser_saved",
        about: "a row of the storefront's table saved: until its open pages show it",
        run: |effort| Box::pin(browser_saved::run(effort)),
    },
    Row {
        name: "build",
        about: "selvedge build of a model of 500 trees, its memory, and the module's first compile",
        run: |effort| Box::pin(build::run(effort)),
    },
    Row { name: "memory", about: "resident memory of a node", run: |effort| Box::pin(memory::run(effort)) },
];

// === impl Row ===

impl Row {
    /// The row called `name`.
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|row| row.name == name)
    }

    /// Measures it.
    pub async fn run(&self, effort: Effort) -> Result<Vec<Line>> {
        (self.run)(effort).await
    }
}

// === impl Effort ===

impl Effort {
    /// `full`, or a tenth of it.
    fn scale(self, full: usize) -> usize {
        if self.quick { (full / 10).max(1) } else { full }
    }
}

// === impl Line ===

impl Line {
    /// A time: its quantiles, and `compared` (in microseconds) against `bar`.
    fn time(
        name: impl Into<String>,
        (p50_us, p99_us): (f64, f64),
        compared: f64,
        bar: f64,
        what: impl Into<String>,
    ) -> Self {
        let ratio = compared / bar;
        Self {
            name: name.into(),
            p50_us: Some(p50_us),
            p99_us: Some(p99_us),
            bar: Some(bar),
            ratio: Some(ratio),
            ok: ratio <= 1.0,
            value: None,
            what: what.into(),
        }
    }

    /// A time that is only reported.
    fn reported(name: impl Into<String>, (p50_us, p99_us): (f64, f64), what: impl Into<String>) -> Self {
        let (p50_us, p99_us) = (Some(p50_us), Some(p99_us));
        Self { name: name.into(), p50_us, p99_us, bar: None, ratio: None, ok: true, value: None, what: what.into() }
    }

    /// Something that is no time.
    fn other(name: impl Into<String>, compared: f64, bar: Option<f64>, what: impl Into<String>) -> Self {
        let ratio = bar.map(|bar| compared / bar);
        Self {
            name: name.into(),
            p50_us: None,
            p99_us: None,
            bar,
            ratio,
            ok: ratio.is_none_or(|ratio| ratio <= 1.0),
            value: Some(compared),
            what: what.into(),
        }
    }
}
