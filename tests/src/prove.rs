//! The proofs: what the product promises, each shown by making it hard. A proof counts the things it looked at and those that
//! were not as they must be; the bar is always that none is. `./x prove` runs them at full size, the tests in a short form.

mod assignment;
mod availability;
mod bandits;
mod browser;
mod browser_lost;
mod chaos;
mod chi;
mod clone;
mod corpus;
mod events;
mod faults;
mod gate;
mod kill;
mod lake;
mod models;
mod off_policy;
mod outage;
mod propensities;
mod refusal;
mod replay;
mod requests;
mod rules;
mod start;
mod state;
mod swap;
mod tamper;
mod traffic;

pub(crate) use models::{Native, same};
pub(crate) use state::priced_shop;

use std::pin::Pin;

use anyhow::Result;
use serde::Serialize;

/// A proof by its name.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    /// What `./x prove NAME` and its test are called.
    pub name: &'static str,
    /// The promise, in one line.
    pub about: &'static str,
    run: fn(Scale) -> Running,
}

/// How hard a proof tries.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Whether it is the tests' short form.
    pub short: bool,
    /// What its random choices follow from.
    pub seed: u64,
}

/// What a proof found.
#[derive(Debug, Default)]
pub struct Findings {
    n: u64,
    failed: u64,
    first: Vec<String>,
    notes: Vec<String>,
}

/// A proof's result as it is printed.
#[derive(Debug, Serialize)]
pub struct Line {
    proof: &'static str,
    n: u64,
    failed: u64,
    /// How many may fail.
    bar: u64,
    /// Whether it holds.
    pub ok: bool,
    seed: u64,
}

type Running = Pin<Box<dyn Future<Output = Result<Findings>>>>;

/// Every proof, in the order in which they run.
pub const ALL: [Proof; 28] = [
    Proof {
        name: "swap",
        about: "decisions during swaps: none fails, none mixes two releases, the old release is freed",
        run: |scale| Box::pin(swap::run(scale)),
    },
    Proof {
        name: "kill",
        about: "killed at random: what was answered 202 is counted once, features equal the bucket, no checkpoint is ahead",
        run: |scale| Box::pin(kill::run(scale)),
    },
    Proof {
        name: "clone",
        about: "a cloned data directory never reuses an id, and the clone is not ready beside the original",
        run: |scale| Box::pin(clone::run(scale)),
    },
    Proof {
        name: "outage",
        about: "the core killed, stopped and silent: decisions go on, the node says since when, everything arrives",
        run: |scale| Box::pin(outage::run(scale)),
    },
    Proof {
        name: "start",
        about: "started without the core: a full store decides, an empty one is not ready and says why",
        run: |scale| Box::pin(start::run(scale)),
    },
    Proof {
        name: "faults",
        about: "a hostile module: the next rung answers in time, the fault is counted, nothing survives the call",
        run: |scale| Box::pin(faults::run(scale)),
    },
    Proof {
        name: "refusal",
        about: "a module that wants an import, threads or another world is refused at deploy, with the reason",
        run: |scale| Box::pin(refusal::run(scale)),
    },
    Proof {
        name: "tamper",
        about: "a tampered, unsigned or played-back release or pointer is refused, the running release stays",
        run: |scale| Box::pin(tamper::run(scale)),
    },
    Proof {
        name: "requests",
        about: "bad requests get a 4xx with code, field and limit; never a 5xx or a panic",
        run: |scale| Box::pin(requests::run(scale)),
    },
    Proof {
        name: "events",
        about: "events in every shape; copies are stored once over stops, kills and outages; unknown ones are counted",
        run: |scale| Box::pin(events::run(scale)),
    },
    Proof {
        name: "chaos",
        about: "all that goes wrong, in any order: what was answered 202 arrives once and in order, the books balance",
        run: |scale| Box::pin(chaos::run(scale)),
    },
    Proof {
        name: "corpus",
        about: "hostile bytes for every parser: an error, never a panic",
        run: |scale| Box::pin(corpus::run(scale)),
    },
    Proof {
        name: "rules",
        about: "rules as modules answer as zen-engine does, on every generated table and input inside of the profile",
        run: |scale| Box::pin(rules::run(scale)),
    },
    Proof {
        name: "replay",
        about: "every recorded decision replays to the same bytes, faults included",
        run: |scale| Box::pin(replay::run(scale)),
    },
    Proof {
        name: "off_policy",
        about: "what a policy would have earned: published figures to 1e-8, and a log that cannot say is refused",
        run: |scale| Box::pin(off_policy::run(scale)),
    },
    Proof {
        name: "gate",
        about: "a gate stops every bad release, moves nothing, and lets every harmless one out",
        run: |scale| Box::pin(gate::run(scale)),
    },
    Proof {
        name: "assignment",
        about: "all arms alike; unchanged weights move nobody, changed ones only whom they must, over releases",
        run: |scale| Box::pin(assignment::run(scale)),
    },
    Proof {
        name: "propensities",
        about: "what every policy draws comes as often as it records, in slates, with floors and budgets that hold",
        run: |scale| Box::pin(propensities::run(scale)),
    },
    Proof {
        name: "bandits",
        about: "8 nodes that meet every 10 s lose as little as one learner of everything, also when two are cut off",
        run: |scale| Box::pin(bandits::run(scale)),
    },
    Proof {
        name: "availability",
        about: "modules that fail and a link that is down half of the time: every decision is answered",
        run: |scale| Box::pin(availability::run(scale)),
    },
    Proof {
        name: "browser",
        about: "decisions in a page: the same bytes as natively, by the engine and the modules as pages run them, and replayed",
        run: |scale| Box::pin(browser::run(scale)),
    },
    Proof {
        name: "lake",
        about: "landed by a command that is killed at random: every item is in the lake once, also as DuckDB counts",
        run: |scale| Box::pin(lake::run(scale)),
    },
    Proof {
        name: "browser_lost",
        about: "pages whose requests fail, whose tabs are closed and crash: every tracked event is at the core once",
        run: |scale| Box::pin(browser_lost::run(scale)),
    },
    Proof {
        name: "models_xgboost",
        about: "XGBoost's models as modules: the same bits as the library's margins, predictions within 2 ulp",
        run: |scale| Box::pin(models::run(scale, models::XGBOOST)),
    },
    Proof {
        name: "models_lightgbm",
        about: "LightGBM's models as modules: the same bits as the library's margins, predictions within 2 ulp",
        run: |scale| Box::pin(models::run(scale, models::LIGHTGBM)),
    },
    Proof {
        name: "models_sklearn",
        about: "scikit-learn's pipelines as modules: within 1e-12 of what they predict, 2 ulp where XGBoost does",
        run: |scale| Box::pin(models::run_sklearn(scale)),
    },
    Proof {
        name: "models_onnx",
        about: "networks as modules: within 1e-6 of onnxruntime",
        run: |scale| Box::pin(models::run(scale, models::ONNX)),
    },
    Proof {
        name: "models_smartcore",
        about: "smartcore's models as modules: within 1e-12 of smartcore",
        run: |scale| Box::pin(models::run_smartcore(scale)),
    },
];

// === impl Proof ===

impl Proof {
    /// The proof called `name`.
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|proof| proof.name == name)
    }

    /// The proofs that `name` stands for: the one of this name, also with hyphens, or all whose names begin with it, as `models` does.
    pub fn chosen(name: &str) -> Vec<Self> {
        let name = &*name.replace('-', "_");
        let of =
            |proof: &Self| proof.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        ALL.into_iter().filter(of).collect()
    }

    /// Runs it.
    pub async fn run(&self, scale: Scale) -> Result<(Line, Vec<String>)> {
        let findings = (self.run)(scale).await?;
        for note in &findings.notes {
            eprintln!("  {note}");
        }
        let ok = findings.failed == 0 && findings.n > 0;
        let line = Line { proof: self.name, n: findings.n, failed: findings.failed, bar: 0, ok, seed: scale.seed };
        Ok((line, findings.first))
    }

    /// The tests' short form: an error tells what did not hold, and the seed.
    pub async fn short(&self, seed: u64) -> Result<()> {
        let (line, first) = self.run(Scale { short: true, seed }).await?;
        if line.ok { Ok(()) } else { anyhow::bail!("{}: {line:?}\n{}", self.about, first.join("\n")) }
    }
}

// === impl Scale ===

impl Scale {
    /// `full`, or `short` in the tests.
    fn pick<T>(self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }
}

// === impl Findings ===

impl Findings {
    /// Counts one thing that must hold; `what` says what was found when it does not.
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.count(1, u64::from(!holds), what);
    }

    /// Counts `n` things of which `failed` were not as they must be.
    fn count(&mut self, n: u64, failed: u64, what: impl FnOnce() -> String) {
        self.n += n;
        self.failed += failed;
        if failed > 0 && self.first.len() < 10 {
            self.first.push(what());
        }
    }

    /// Takes over what was found elsewhere.
    fn join(&mut self, other: Self) {
        self.n += other.n;
        self.failed += other.failed;
        self.first.extend(other.first);
        self.first.truncate(10);
        self.notes.extend(other.notes);
    }

    /// A line of what it looked at, such as of a balance sheet, for people.
    fn note(&mut self, line: String) {
        self.notes.push(line);
    }

    /// Counts a thing that had to work; its value if it did.
    fn works<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.check(true, String::new);
                Some(value)
            }
            Err(error) => {
                self.check(false, || format!("{error:#}"));
                None
            }
        }
    }
}
