//! Where releases come from: a channel at the core, or a folder beside the node. Owns the two loops that wait for the next
//! one, for the guard's word, and for the core to come back.

use std::time::Duration;

use selvedge_build::release::{PackError, PackedRelease, open};
use tokio::time::MissedTickBehavior;

use super::{Follow, Ran, RefusalCode, Refused};
use crate::link::nats::releases::{ChannelValue, ChannelWatch};
use crate::link::{LocalLink, NatsLink};
use crate::releases::Stage;

/// How often the local link's folder is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl<S: Stage> Follow<S> {
    /// Follows the channel for ever: told of changes by a watch, and reading it afresh every `read_every`, since a watch
    /// whose bucket was recreated, or whose consumer is gone, is silent.
    pub(super) async fn follow_channel(&mut self, nats: &NatsLink) {
        let channel = self.config.channel.clone();
        let mut state = nats.state();
        let mut ticks = tokio::time::interval(self.config.read_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch: Option<ChannelWatch> = None;
        let mut latest = 0;
        loop {
            tokio::select! {
                value = next(&mut watch) => match value {
                    Some(value) => {
                        latest = value.revision;
                        self.tell(|status| status.channel_problem = None);
                        self.follow_value(&value.bytes).await;
                        continue;
                    }
                    None => watch = None,
                },
                (release, tripped) = self.tripped() => {
                    self.take_back(release, &tripped).await;
                    continue;
                }
                _ = ticks.tick() => {}
                Ok(()) = state.changed() => {}
            }
            if self.resume_again {
                self.resume().await;
            }
            if !state.borrow_and_update().is_connected() {
                continue;
            }
            if watch.is_none() {
                // Watched before it is read, so that no change falls between the two.
                watch = nats.watch_channel(&channel).await.ok();
            }
            let read = match &mut watch {
                Some(watch) => watch.read().await,
                None => nats.read_channel(&channel).await,
            };
            match read {
                Ok(Some(value)) => {
                    // The watch should have told this one; if it did not, it is not trusted to tell the next.
                    let told = std::mem::replace(&mut latest, value.revision);
                    if told != 0 && told != value.revision {
                        watch = nats.watch_channel(&channel).await.ok();
                    }
                    self.tell(|status| status.channel_problem = None);
                    self.follow_value(&value.bytes).await;
                }
                Ok(None) => self.channel_problem(format!("channel {channel} has no pointer yet; deploy to it")),
                Err(error) => {
                    watch = None;
                    self.channel_problem(error);
                }
            }
        }
    }

    fn channel_problem(&self, why: impl ToString) {
        let (why, now_us) = (why.to_string(), self.shared.clock.now_us());
        self.tell(|status| status.channel_fails(why, now_us));
    }

    /// Follows a folder for ever.
    pub(super) async fn follow_directory(&mut self, local: &LocalLink) {
        let mut watch = match local.watch_release() {
            Ok(watch) => watch,
            Err(error) => {
                self.refuse(Refused { code: RefusalCode::Contents, release: None, why: error.to_string() });
                return;
            }
        };
        self.trust = watch.trust();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counter = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                (release, tripped) = self.tripped() => {
                    self.take_back(release, &tripped).await;
                    continue;
                }
            }
            let looked = tokio::task::spawn_blocking(move || {
                let packed = watch.look();
                (watch, packed)
            });
            let packed;
            (watch, packed) = match looked.await {
                Ok(looked) => looked,
                Err(error) => {
                    self.refuse(Refused { code: RefusalCode::Contents, release: None, why: error.to_string() });
                    return;
                }
            };
            if let Some(packed) = packed {
                counter += 1;
                let outcome = self.follow_packed(packed, counter).await;
                if outcome.as_ref().is_err_and(|refused| refused.code.is_tried_again()) {
                    watch.pack_again();
                }
                self.conclude(outcome);
            }
        }
    }

    /// Follows a folder as it was packed. The counter goes up with every change of it.
    pub(super) async fn follow_packed(
        &mut self,
        packed: Result<PackedRelease, PackError>,
        counter: u64,
    ) -> Result<(), Refused> {
        let contents = |why: String| Refused { code: RefusalCode::Contents, release: None, why };
        let packed = packed.map_err(|error| contents(error.to_string()))?;
        let release = packed.digest;
        loop {
            if self.is_back_to(release, counter).await? {
                return Ok(());
            }
            let files = open(&packed.bytes, &self.config.limits);
            let files = files.map_err(|bad| Refused { code: RefusalCode::Release, ..contents(bad.to_string()) })?;
            let ran = Ran { release, counter, since_us: self.shared.clock.now_us() };
            match self.unless_tripped(Box::pin(self.make(files, ran))).await {
                Ok(made) => return self.swap(made?).await,
                Err((bad, tripped)) => self.take_back(bad, &tripped).await,
            }
        }
    }
}

/// The next value of a watch; for ever nothing when there is no watch.
async fn next(watch: &mut Option<ChannelWatch>) -> Option<ChannelValue> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
