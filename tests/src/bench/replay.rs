//! Replay: the CPU that `selvedge replay` takes for a recorded decision, reading it from the stream included, against the CPU that the
//! decision took in the node, in this process and without HTTP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::inprocess::Stage;
use super::measure::median;
use super::{Effort, Line, world};
use crate::harness::{process, until};

const LIMIT: Duration = Duration::from_secs(120);
/// The bar: so often the CPU of deciding.
const TIMES: f64 = 1.2;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let stage = Stage::with("record = { inputs = 1.0 }\n").await?;
    let decisions = effort.scale(20_000);
    let (mut deciding, mut replaying) = (Vec::new(), Vec::new());
    let mut decided = 0;
    for _ in 0..effort.rounds.min(3) {
        let round = stage.round(decisions);
        deciding.push(round.cpu_us);
        decided += decisions;
        until("every record to be at the core", LIMIT, async || {
            let status = stage.node.outbox.status();
            status.lanes.iter().all(|lane| lane.backlog_bytes == 0).then_some(())
        })
        .await?;
        let before = process::cpu_of_ended()?;
        let said = stage.rig.cli.json(["replay", "nats"]).await?;
        let cpu = process::cpu_of_ended()?.saturating_sub(before);
        let replayed = said["replayed"].as_u64().context("no count")?;
        ensure!(replayed >= decided as u64 && said["different"] == 0, "replay says {said}");
        replaying.push(cpu.as_secs_f64() * 1e6 / replayed as f64);
    }
    stage.node.stop().await;
    let (decide_us, replay_us) = (median(deciding), median(replaying));
    let what = format!(
        "CPU a decision; deciding it took {decide_us:.1} us; {} features, rules and trees, inputs recorded",
        world::VIEWS * world::FEATURES
    );
    Ok(vec![Line::other("replay: CPU a decision, us", replay_us, Some(TIMES * decide_us), what)])
}
