//! In this process: a module call in a fresh instance, gather, and a whole decision with its record, on one thread and two.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_build::module;
use selvedge_decision::gather::{Asked, Features, Request, Rows, gather};
use selvedge_decision::{Reason, TimeUs};
use selvedge_host::{Host, HostConfig, Module};
use selvedge_node::decide::{Active, Wire};
use selvedge_node::features::View;
use selvedge_node::node::Node;

use super::measure::Round;
use super::{Effort, Line, world};
use crate::harness::{Random, Rig, inprocess, until};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(60);
const BUDGET: Duration = Duration::from_secs(1);
/// CPU of a call on two threads may be this much of one thread's.
const TWO_THREADS: f64 = 1.5;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let mut lines = modules(effort)?;
    let stage = Stage::start().await?;
    lines.push(stage.gather(effort)?);
    lines.extend(stage.decide(effort)?);
    stage.node.stop().await;
    Ok(lines)
}

// === modules ===

fn modules(effort: Effort) -> Result<Vec<Line>> {
    let host = Host::new(HostConfig::default())?;
    let mut lines = Vec::new();
    let trees = load(&host, &modules::bench_trees()?)?;
    lines.extend(module_rows(effort, "100 trees x depth 6 over 1,000 f64", &trees, 1_000, Some(6.0))?);
    let rules = load(&host, &modules::bench_rules()?)?;
    lines.extend(module_rows(effort, "20 rules x 4 conditions over 40 f64", &rules, 40, None)?);
    Ok(lines)
}

fn load(host: &Host, bytes: &[u8]) -> Result<Module> {
    Ok(host.load(bytes, &module::open(bytes)?.manifest)?)
}

fn module_rows(effort: Effort, what: &str, module: &Module, columns: usize, bar: Option<f64>) -> Result<Vec<Line>> {
    let shared = numbers(columns);
    ensure!(module.evaluate(&shared, &[], 1, BUDGET).is_ok(), "{what}: the module does not answer");
    let calls = effort.scale(50_000);
    let call = || drop(module.evaluate(&shared, &[], 1, BUDGET));
    let (one, two) = Round::one_and_two(effort.rounds, |threads| Round::run(threads, calls, |_| call));
    let name = format!("module call, fresh instance: {what}");
    Ok(match bar {
        Some(bar) => {
            vec![Line::time(name.clone(), one.quantiles(), one.p50_us, bar, "p50"), two_threads(name, one, two)]
        }
        None => vec![
            Line::reported(name.clone(), one.quantiles(), format!("CPU a call: {:.2} us", one.cpu_us)),
            Line::reported(format!("{name}, 2 threads"), two.quantiles(), format!("CPU a call: {:.2} us", two.cpu_us)),
        ],
    })
}

/// CPU of a call on two threads against that of one.
fn two_threads(name: String, one: Round, two: Round) -> Line {
    let what = format!("CPU a call: {:.2} us on two threads, {:.2} us on one", two.cpu_us, one.cpu_us);
    Line::time(format!("{name}, 2 threads"), two.quantiles(), two.cpu_us, TWO_THREADS * one.cpu_us, what)
}

fn numbers(count: usize) -> Vec<f64> {
    let mut random = Random::new(count as u64);
    (0..count).map(|_| random.unit() * 2.0 - 1.0).collect()
}

// === gather and decide ===

/// A node in this process that runs the bench's release.
pub(super) struct Stage {
    pub(super) node: Node,
    active: Arc<Active>,
    views: Vec<View>,
    pub(super) rig: Rig,
}

/// The views of the active release, read as a decision reads them.
struct Tables<'a>(&'a [View]);

impl Stage {
    pub(super) async fn start() -> Result<Self> {
        Self::with("").await
    }

    /// The same with `more` in its placement.
    pub(super) async fn with(more: &str) -> Result<Self> {
        let rig = Rig::start().await?;
        for view in 0..world::VIEWS {
            rig.push(&format!("v{view}"), world::rows(view)).await?;
        }
        let release = rig.deploy(world::shop_with(&rig.path("bench"), more)?.folder()).await?;
        let node = inprocess::start(&rig.spec("bench")).await?;
        let active = until("the node to run the release", LIMIT, async || {
            let active = node.releases.active();
            active.as_ref().filter(|active| active.digest_text == release).cloned()
        });
        let active = active.await?;
        let mut views = Vec::new();
        for view in &active.plan.views {
            views.push(node.features.bind(&view.name, &view.def).await?);
        }
        let full = || views.iter().all(|view| view.len() >= world::SUBJECTS);
        until("the node to hold every row", LIMIT, async || full().then_some(())).await?;
        Ok(Self { node, active, views, rig })
    }

    fn gather(&self, effort: Effort) -> Result<Line> {
        let placement = self.active.plan.placements.get("hero").context("the bench's placement")?;
        let ids: Vec<Arc<str>> = placement.actions.iter().map(|action| action.id.clone()).collect();
        let subjects: Vec<String> = (0..world::SUBJECTS).map(world::subject_id).collect();
        let tables = Tables(&self.views);
        let round = Round::median(effort.rounds, || {
            Round::run(1, effort.scale(50_000), |_| {
                let (mut rows, mut at) = (Rows::default(), 0);
                let (ids, subjects, tables) = (&ids, &subjects, &tables);
                move || {
                    at = (at + 7) % subjects.len();
                    let request = Request { subject: Some(&subjects[at]), ..Request::default() };
                    let asked = Asked { request: &request, ids, time_us: 0, explain: false };
                    gather(placement, asked, tables, &mut rows);
                }
            })
        });
        Ok(Line::time("gather 1,000 features from 4 views", round.quantiles(), round.p50_us, 3.0, "p50"))
    }

    /// So many decisions on one thread.
    pub(super) fn round(&self, decisions: usize) -> Round {
        let subjects: Vec<String> = (0..world::SUBJECTS).map(world::subject_id).collect();
        Round::run(1, decisions, |_| {
            let (mut at, subjects) = (0, &subjects);
            move || {
                at = (at + 7) % subjects.len();
                drop(self.node.decider.decide(&request(&subjects[at])));
            }
        })
    }

    /// Whole decisions on one thread, and on two.
    fn decide(&self, effort: Effort) -> Result<Vec<Line>> {
        let (one, two) = self.decisions(effort)?;
        let name = "decide in process: 20 rules, 1,000 features, 100 trees, record";
        Ok(vec![
            Line::time(name, one.quantiles(), one.p50_us, 16.0, "p50, inputs recorded for one in ten"),
            two_threads(name.to_owned(), one, two),
        ])
    }

    /// Decisions of different subjects, each with its record, on one thread and on two.
    pub(super) fn decisions(&self, effort: Effort) -> Result<(Round, Round)> {
        let subjects: Vec<String> = (0..world::SUBJECTS).map(world::subject_id).collect();
        let decider = &self.node.decider;
        let check = decider.decide(&request(&subjects[0]))?;
        ensure!(check.reason == Reason::Scored, "not scored: {}", String::from_utf8_lossy(&check.json));
        Ok(Round::one_and_two(effort.rounds, |threads| {
            Round::run(threads, effort.scale(30_000), |thread| {
                let (mut at, subjects) = (thread * 31, &subjects);
                move || {
                    at = (at + 7) % subjects.len();
                    drop(decider.decide(&request(&subjects[at])));
                }
            })
        }))
    }
}

fn request(subject: &str) -> Wire<'_> {
    Wire { placement: "hero".into(), subject: Some(subject.into()), ..Wire::default() }
}

impl Features for Tables<'_> {
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        self.0[view].read(entity, cells, 0)
    }

    fn lag_us(&self, view: usize) -> i64 {
        self.0[view].lag_us(0)
    }

    // The bench has numbers only.
    fn symbol(&self, _cell: u64) -> f64 {
        f64::NAN
    }

    fn number(&self, _text: &str) -> f64 {
        -1.0
    }

    fn text(&self, _cell: u64) -> Option<Arc<str>> {
        None
    }

    fn entities(&self, view: usize, limit: usize) -> Result<Vec<Arc<str>>, usize> {
        self.0[view].entities(limit)
    }
}
