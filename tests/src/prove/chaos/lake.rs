//! The lake: landed all the while by the real command, which is killed too. In the end everything that arrived is in it, once.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Ground, LIMIT};
use crate::harness::{Process, Rig, binary, lake};

impl Ground {
    /// Without a word, and another one goes on.
    pub(super) fn kill_lake(&mut self) -> Result<()> {
        self.lake.kill()?;
        self.lake = follow(&self.rig)?;
        Ok(())
    }

    /// Lands all that is in the stream, and goes on following.
    pub(super) async fn land(&mut self) -> Result<()> {
        self.lake.terminate(LIMIT).await?;
        let place = self.rig.path("lake").display().to_string();
        let said = self.rig.cli.json(["core", "lake", "--to", &place, "--once"]).await?;
        let turn = self.turn;
        self.findings.check(said["broken"] == 0 && said["gone"] == 0, || format!("fault {turn}: the lake says {said}"));
        self.lake = follow(&self.rig)?;
        Ok(())
    }

    /// Every event that arrived is in the lake once.
    pub(super) async fn all_is_in_the_lake(&mut self) -> Result<()> {
        let running = self.lake.running();
        self.findings.check(running, || format!("the lake's command ended: {}", self.lake.log_tail()));
        self.land().await?;
        let mut times = std::collections::BTreeMap::<String, u32>::new();
        for kind in ["events", "rewards"] {
            for (id, found) in lake::rows(&self.rig.path("lake").join(kind)).context(kind)?.times("message_id") {
                *times.entry(id).or_default() += found;
            }
        }
        for id in self.times.keys() {
            let found = times.get(id).copied().unwrap_or(0);
            self.findings.check(found == 1, || format!("event {id} is {found} times in the lake"));
        }
        let (lake, stream) = (times.len(), self.times.len());
        self.findings.check(lake == stream, || format!("{lake} events are in the lake, {stream} arrived"));
        self.findings.note(format!("in the lake, each once: {lake} events of {stream} that arrived"));
        Ok(())
    }
}

/// Lands what comes, several times a second.
pub(super) fn follow(rig: &Rig) -> Result<Process> {
    let mut command = Command::new(binary::built("selvedge")?);
    command.args(["core", "lake", "--every", "300ms", "--nats", &rig.nats.url(), "--to"]).arg(rig.path("lake"));
    Process::spawn("selvedge core lake", &mut command, &rig.path("lake.log"))
}
