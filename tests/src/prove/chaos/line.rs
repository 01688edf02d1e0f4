//! The line between node and core: cut, slow, half-open, flapping, untidy.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Ground, LIMIT};
use crate::harness::{Line, until, wait};

impl Ground {
    pub(super) async fn cut_line(&mut self) -> Result<()> {
        self.proxy.set(Line::Cut);
        self.push_some().await?;
        wait::pass(Duration::from_millis(self.random.below(1_000))).await;
        self.decisions_go_on(20).await?;
        self.mend_line();
        Ok(())
    }

    pub(super) async fn slow_line(&mut self) -> Result<()> {
        self.proxy.set(Line::Slow(Duration::from_millis(10 + self.random.below(60))));
        self.push_some().await?;
        self.decisions_go_on(200).await?;
        self.mend_line();
        Ok(())
    }

    /// Until the node has noticed; the connection that it held stays dead.
    pub(super) async fn half_open_line(&mut self) -> Result<()> {
        self.proxy.set(Line::HalfOpen);
        self.push_some().await?;
        self.node()?.wait_for("degraded", LIMIT).await?;
        self.decisions_go_on(20).await?;
        self.mend_line();
        Ok(())
    }

    pub(super) async fn flap_line(&mut self) -> Result<()> {
        for _ in 0..5 + self.random.below(10) {
            self.proxy.set(Line::Cut);
            wait::pass(Duration::from_millis(self.random.below(100))).await;
            self.mend_line();
            wait::pass(Duration::from_millis(self.random.below(200))).await;
        }
        self.push_some().await
    }

    /// Until some messages came twice or late, rows and blocks.
    pub(super) async fn untidy_line(&mut self) -> Result<()> {
        let before = self.proxy.untidy();
        self.proxy.set(Line::Untidy);
        for _ in 0..5 {
            self.push_some().await?;
            self.decisions_go_on(50).await?;
        }
        let untidy = until("untidy messages", LIMIT, async || (self.proxy.untidy() > before + 5).then_some(())).await;
        self.mend_line();
        ensure!(untidy.is_ok(), "only {} messages were untidy", self.proxy.untidy() - before);
        Ok(())
    }
}
