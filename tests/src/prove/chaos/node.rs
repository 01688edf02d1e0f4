//! The node: killed, terminated, with a clock that jumps, and cloned.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::{Ground, SOON};
use crate::harness::{Node, NodeSpec, folder, wait};

impl Ground {
    pub(super) async fn kill_node(&mut self) -> Result<()> {
        wait::pass(Duration::from_millis(self.random.below(500))).await;
        let spec = self.take_down()?;
        self.bring_back(spec).await
    }

    pub(super) async fn terminate_node(&mut self) -> Result<()> {
        self.traffic.down();
        let Some(node) = self.node.take() else { return Ok(()) };
        let (spec, status) = node.terminate().await?;
        self.findings.check(status.success(), || format!("the node ended with {status}"));
        self.bring_back(spec).await
    }

    /// An hour forth, two back with a restart there, and right again.
    pub(super) async fn move_clock(&mut self) -> Result<()> {
        for seconds in [3_600, -3_600] {
            self.clock.set(seconds)?;
            self.push_some().await?;
            self.decisions_go_on(100).await?;
        }
        let spec = self.take_down()?;
        self.bring_back(spec).await?;
        self.decisions_go_on(100).await?;
        self.clock.set(0)
    }

    /// The clone runs beside the original under the same name.
    pub(super) async fn clone_node(&mut self) -> Result<()> {
        let epoch = self.node()?.epoch.clone();
        let spec = self.take_down()?;
        let clone = NodeSpec { folder: self.rig.path(&format!("clone-{}", self.turn)), ..spec.clone() };
        folder::copy(&spec.data(), &clone.data())?;
        self.bring_back(spec).await?;
        let clone = Node::start(clone).await?;
        let epochs = BTreeSet::from([epoch, self.node()?.epoch.clone(), clone.epoch.clone()]);
        self.findings.check(epochs.len() == 3, || format!("an epoch was used twice: {epochs:?}"));
        self.findings.works(clone.not_ready("name_taken", SOON).await);
        self.decisions_go_on(100).await?;
        drop(clone.kill()?);
        Ok(())
    }
}
