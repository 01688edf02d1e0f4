//! Node.js with the engine and the modules as a page has them: worlds go in as files, answers come out.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Op, Outcome, World};
use crate::harness::{binary, process};

const LIMIT: Duration = Duration::from_secs(600);

/// What JavaScript answers to each world's decisions and replays.
pub(super) async fn answers(worlds: &[World]) -> Result<Vec<Vec<Outcome>>> {
    let folder = tempfile::tempdir()?;
    let (program, engine) =
        binary::engine()?.context("no engine of pages: run `./x prove browser`, which builds it")?;
    let mut command = Command::new(program);
    command.arg(engine.join("parity.mjs")).arg(engine.join("engine_bg.wasm"));
    for (at, world) in worlds.iter().enumerate() {
        let place = folder.path().join(at.to_string());
        write(world, &place).with_context(|| world.name.clone())?;
        command.arg(place);
    }
    let (status, _, stderr) = process::run("parity.mjs", command, LIMIT).await?;
    ensure!(status.success(), "{stderr}");
    (0..worlds.len()).map(|at| read(&folder.path().join(at.to_string()).join("out.bin"))).collect()
}

fn write(world: &World, place: &Path) -> Result<()> {
    fs::create_dir(place)?;
    fs::write(place.join("release.bin"), &world.release)?;
    fs::write(place.join("modules.json"), json!(world.modules).to_string())?;
    for (name, bytes) in &world.files {
        fs::write(place.join(name), bytes)?;
    }
    let mut ops = Vec::new();
    for op in &world.ops {
        let (kind, bytes) = match op {
            Op::Rows(bytes) => (0, bytes),
            Op::Decide(bytes, _) => (1, bytes),
            Op::Replay(bytes) => (2, bytes),
        };
        ops.push(kind);
        ops.extend((bytes.len() as u32).to_le_bytes());
        ops.extend(bytes);
    }
    Ok(fs::write(place.join("ops.bin"), ops)?)
}

fn read(path: &Path) -> Result<Vec<Outcome>> {
    let bytes = fs::read(path)?;
    let (mut rest, mut outcomes) = (&bytes[..], Vec::new());
    while let Some((ok, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk::<4>().context("a length")?;
        let (answer, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize).context("an answer")?;
        outcomes.push(if *ok == 1 { Ok(answer.to_vec()) } else { Err(String::from_utf8_lossy(answer).into_owned()) });
        rest = after;
    }
    Ok(outcomes)
}
