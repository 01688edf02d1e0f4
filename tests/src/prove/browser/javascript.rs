//! Node.js and browsers with the engine and the modules as a page has them: worlds go in as files, answers come out.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Op, Outcome, World};
use crate::harness::page::Pages;
use crate::harness::{binary, process};

const LIMIT: Duration = Duration::from_secs(600);

/// Worlds as files, a folder of each.
pub(super) struct Written {
    folders: Vec<PathBuf>,
    // They are there as long as this is.
    _all: tempfile::TempDir,
}

// === impl Written ===

impl Written {
    pub(super) fn new(worlds: &[World]) -> Result<Self> {
        let all = tempfile::tempdir()?;
        let folders: Vec<_> = (0..worlds.len()).map(|at| all.path().join(at.to_string())).collect();
        for (world, folder) in worlds.iter().zip(&folders) {
            write(world, folder).with_context(|| world.name.clone())?;
        }
        Ok(Self { folders, _all: all })
    }

    /// What Node.js answers to each world's decisions and replays.
    pub(super) async fn in_node(&self) -> Result<Vec<Vec<Outcome>>> {
        let (program, engine) = engine()?;
        let mut command = Command::new(program);
        command.arg(engine.join("in_node.mjs")).arg(engine.join("engine_bg.wasm")).arg("parity").args(&self.folders);
        let (status, _, stderr) = process::run("in_node.mjs", command, LIMIT).await?;
        ensure!(status.success(), "{stderr}");
        self.answers()
    }

    /// The same in a page of a browser; none where it is not installed, which is said.
    pub(super) async fn in_page(&self, browser: &str) -> Result<Option<Vec<Vec<Outcome>>>> {
        let Some(pages) = Pages::find()? else { return Ok(None) };
        let (_, engine) = engine()?;
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
        let mut more = vec![text(&engine)?, "parity".to_owned()];
        for folder in &self.folders {
            more.push(text(folder)?);
        }
        // No page asks a node here.
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let Some(_) = pages.run("engine.mjs", browser, nobody, &more, LIMIT).await? else { return Ok(None) };
        self.answers().map(Some)
    }

    /// What was answered, which is taken away.
    fn answers(&self) -> Result<Vec<Vec<Outcome>>> {
        let each = self.folders.iter().map(|folder| {
            let file = folder.join("out.bin");
            let answers = read(&file)?;
            fs::remove_file(file)?;
            Ok(answers)
        });
        each.collect()
    }
}

fn engine() -> Result<(PathBuf, PathBuf)> {
    binary::engine()?.context("no engine of pages: run `./x prove browser`, which builds it")
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
