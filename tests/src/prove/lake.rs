//! The lake, landed by the real command from a real core while nodes tell and the command is killed at random: every item of the
//! stream is in the lake once, before and after its parts are put together. The full form asks DuckDB as well, tries every
//! query of docs/lake.md, and lands the same stream into a bucket.

mod bucket;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::traffic::{Sent, Traffic};
use super::{Findings, Scale, state};
use crate::harness::lake::{self, LakeRows};
use crate::harness::stream::Stream;
use crate::harness::{Process, Random, Rig, binary, process, until, wait};

const LIMIT: Duration = Duration::from_secs(60);
/// The interpreter that has DuckDB; `./x prove` makes it and says where.
const PYTHON: &str = "SELVEDGE_PYTHON_LAKE";

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let kills = scale.pick(60, 6);
    let mut random = Random::new(scale.seed);
    let rig = Rig::start().await?;
    rig.push("item", [json!({"_key": "sku-1", "price": 7.0, "stock": 1.0})]).await?;
    rig.push("user", [json!({"_key": "u-1", "segment": "vip"})]).await?;
    let release = rig.deploy(state::priced_shop(&rig, 1)?.folder()).await?;
    let nodes = [rig.node("edge-1").await?, rig.node("edge-2").await?];
    let mut traffic = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        node.runs(&release, LIMIT).await?;
        node.wait_for("ready", LIMIT).await?;
        traffic.push(Traffic::start(node.http, scale.seed + at as u64));
    }
    let lake = rig.path("lake");
    for _ in 0..kills {
        let before = lake::files(&lake)?.len();
        let mut landing = follow(&rig, &lake)?;
        // Killed while it writes: after its first parts, or before.
        if random.below(3) > 0 {
            until("new parts", LIMIT, async || (lake::files(&lake).ok()?.len() > before).then_some(())).await?;
        }
        wait::pass(Duration::from_millis(random.below(80))).await;
        landing.kill()?;
    }
    let mut sent = Sent::default();
    for traffic in traffic {
        let each = traffic.stop().await?;
        sent.accepted.extend(each.accepted);
        sent.decisions.extend(each.decisions);
    }
    let mut stream = Stream::open(&rig.nats.url()).await?;
    let arrived = until("all that was told to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        let all = (sent.accepted.len(), sent.decisions.len());
        (stream.events.len() >= all.0 && stream.records.len() >= all.1).then_some(())
    });
    arrived.await?;

    let mut findings = Findings::default();
    let place = lake.to_string_lossy().into_owned();
    let said = rig.cli.json(["core", "lake", "--to", &place, "--once"]).await?;
    findings.check(said["broken"] == 0 && said["gone"] == 0, || said.to_string());
    all_is_there_once(&lake, &stream, &sent, "landed", &mut findings)?;
    // Landed again from the start, as if the position were lost: nothing is written twice.
    std::fs::remove_file(lake.join("position.json"))?;
    let again = rig.cli.json(["core", "lake", "--to", &place, "--once"]).await?;
    findings.check(again["parts"] == 0 && again["again"].as_u64() > Some(0), || again.to_string());
    if !scale.short {
        duckdb(&lake, &stream, &mut findings).await?;
    }
    let parts = lake::files(&lake)?.len();
    compact(&rig, &lake, &place).await?;
    let left = lake::files(&lake)?.len();
    findings.check(left < parts, || format!("{parts} parts became {left}"));
    all_is_there_once(&lake, &stream, &sent, "put together", &mut findings)?;
    if !scale.short {
        duckdb(&lake, &stream, &mut findings).await?;
        bucket::run(&rig, &nodes[0], &stream, &mut findings).await?;
    }
    Ok(findings)
}

/// Lands as it comes, in parts as small as can be.
fn follow(rig: &Rig, lake: &Path) -> Result<Process> {
    let mut command = Command::new(binary::built("selvedge")?);
    command.args(["core", "lake", "--every", "20ms", "--rows", "40", "--nats", &rig.nats.url(), "--to"]).arg(lake);
    Process::spawn("selvedge core lake", &mut command, &rig.path("lake.log"))
}

async fn compact(rig: &Rig, lake: &Path, place: &str) -> Result<()> {
    let mut args = vec!["core".to_owned(), "lake".into(), "compact".into(), "--to".into(), place.to_owned()];
    for folder in std::fs::read_dir(lake.join("events"))? {
        let name = folder?.file_name().to_string_lossy().into_owned();
        args.extend(["--day".to_owned(), name.trim_start_matches("day=").to_owned()]);
    }
    rig.cli.run(args).await?.ok().map(|_| ())
}

fn all_is_there_once(lake: &Path, stream: &Stream, sent: &Sent, when: &str, findings: &mut Findings) -> Result<()> {
    let [events, rewards, decisions] =
        ["events", "rewards", "decisions"].map(|kind| lake::rows(&lake.join(kind)).context(kind));
    let (events, rewards, decisions) = (events?, rewards?, decisions?);
    findings.check(events.len() + rewards.len() == stream.events.len(), || {
        format!("{when}: {} events and {} rewards of {}", events.len(), rewards.len(), stream.events.len())
    });
    findings.check(!events.is_empty() && !rewards.is_empty(), || format!("{when}: no events, or no rewards"));
    findings.check(decisions.len() == stream.records.len(), || {
        format!("{when}: {} decisions of {}", decisions.len(), stream.records.len())
    });
    for rows in [&events, &rewards, &decisions] {
        findings.check(rows.items() == rows.len(), || format!("{when}: {} items in {} rows", rows.items(), rows.len()));
    }
    once(&sent.accepted, &[&events, &rewards], "message_id", when, findings);
    once(&sent.decisions, &[&decisions], "decision_id", when, findings);
    Ok(())
}

fn once(ids: &[String], rows: &[&LakeRows], column: &str, when: &str, findings: &mut Findings) {
    let times: Vec<_> = rows.iter().map(|rows| rows.times(column)).collect();
    for id in ids {
        let found: u32 = times.iter().filter_map(|times| times.get(id)).sum();
        findings.check(found == 1, || format!("{when}: {column} {id} is {found} times in the lake"));
    }
}

/// What DuckDB counts, and that the documentation's queries answer.
async fn duckdb(lake: &Path, stream: &Stream, findings: &mut Findings) -> Result<()> {
    let python = std::env::var_os(PYTHON)
        .with_context(|| format!("{PYTHON} is not set: run this as `./x prove lake`, which installs DuckDB"))?;
    let mut command = Command::new(python);
    command.arg(binary::repository().join("tests/python/lake.py")).arg(lake);
    command.arg(binary::repository().join("docs/lake.md"));
    let (status, stdout, stderr) = process::run("DuckDB", command, LIMIT).await?;
    ensure!(status.success(), "DuckDB: {status}: {stderr}");
    let said: Value = serde_json::from_str(&stdout).with_context(|| stdout.clone())?;
    let events = stream.events.len();
    findings
        .check(said["events"] == events && said["distinct_events"] == events, || format!("{events} events: {said}"));
    let records = stream.records.len();
    findings.check(said["decisions"] == records && said["distinct_decisions"] == records, || {
        format!("{records} decisions: {said}")
    });
    let queries = said["queries"].as_array().context("queries")?;
    findings.check(queries.len() == 3, || format!("docs/lake.md has {} queries", queries.len()));
    for rows in queries {
        findings.check(rows.as_u64() > Some(0), || format!("a query of docs/lake.md found nothing: {said}"));
    }
    Ok(())
}
