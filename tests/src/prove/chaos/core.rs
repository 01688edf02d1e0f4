//! The core: killed, a bucket deleted and made anew, the stream emptied.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Ground;
use crate::harness::wait;

impl Ground {
    pub(super) async fn kill_core(&mut self) -> Result<()> {
        self.rig.nats.kill()?;
        wait::pass(Duration::from_millis(self.random.below(500))).await;
        self.decisions_go_on(5).await?;
        self.rig.nats.restart().await
    }

    /// Half of the rows are not in the new one.
    pub(super) async fn make_bucket_anew(&mut self) -> Result<()> {
        let link = self.rig.link().await?;
        link.jetstream().delete_key_value("features_item").await?;
        wait::pass(Duration::from_millis(self.random.below(300))).await;
        self.price += 1;
        let rows = self.items.iter().step_by(2);
        self.rig.push("item", rows.map(|item| json!({"_key": item, "price": self.price, "stock": 1.0}))).await
    }

    /// Everything in it has been landed before.
    pub(super) async fn purge_stream(&mut self) -> Result<()> {
        let traffic = Arc::clone(&self.traffic);
        let quiet = traffic.quiet().await;
        self.drained().await?;
        self.events_arrive().await?;
        self.land().await?;
        let link = self.rig.link().await?;
        link.jetstream().get_stream(link.config().events_stream()).await?.purge().await?;
        drop(quiet);
        self.decisions_go_on(20).await
    }
}
