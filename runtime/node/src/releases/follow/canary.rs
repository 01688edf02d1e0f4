//! The canary: a release that is made ready beside the running one and decides for a share of the subjects. Owns how it begins,
//! how it becomes the one that runs, and how it ends: because the channel says so, or because it is worse than its guard allows.

use std::sync::{Arc, PoisonError};

use selvedge_build::channel::Canary;
use selvedge_decision::{Digest, TimeUs};

use super::{Follow, Held, Refused};
use crate::releases::guard::{CanaryWatch, Tripped};
use crate::releases::journal::{Quarantine, Ran, RanBeside};
use crate::releases::status::{RefusalCode, RunningCanary};
use crate::releases::{Beside, Stage};

/// A canary that decides.
pub(super) struct HeldCanary<A> {
    held: Held<A>,
    canary: Canary,
}

impl<S: Stage> Follow<S> {
    /// The digest of the canary.
    pub(super) fn beside(&self) -> Option<Digest> {
        self.canary.as_ref().map(|canary| canary.held.ran.release)
    }

    /// Lets `wanted` decide for its share, beside what runs; without one, what runs decides for all.
    pub(super) async fn go_beside(&mut self, wanted: Option<Canary>, counter: u64) -> Result<(), Refused> {
        let Some(canary) = wanted else { return self.end_canary().await };
        let release = canary.release;
        loop {
            self.check_quarantine(release, counter).await?;
            if self.canary.as_ref().is_some_and(|held| held.canary == canary && held.held.ran.counter == counter) {
                return Ok(());
            }
            let since_us = self.shared.clock.now_us();
            let ran = Ran { release, counter, since_us };
            let held = match self.warm(ran) {
                Some(warm) => warm,
                None => {
                    let made = async { self.make(self.obtain(&release).await?, ran).await };
                    match self.unless_tripped(Box::pin(made)).await {
                        Ok(made) => made?,
                        Err((bad, tripped)) => {
                            self.take_back(bad, &tripped).await;
                            continue;
                        }
                    }
                }
            };
            let beside = RanBeside { canary: canary.clone(), counter, since_us };
            self.record(|state| state.canary = Some(beside)).await?;
            self.let_decide(held, canary);
            self.prune().await;
            return Ok(());
        }
    }

    /// The canary of before a restart, from the disk.
    pub(super) async fn resume_canary(&mut self, RanBeside { canary, counter, since_us }: RanBeside) {
        let is_wanted = canary.fits(&self.config.labels)
            && self.active.as_ref().is_some_and(|active| active.ran.release != canary.release);
        if !is_wanted {
            return;
        }
        let release = canary.release;
        let ran = Ran { release, counter, since_us };
        let made = match self.warm(ran) {
            Some(warm) => Ok(warm),
            None => match self.kept(&release).await {
                Ok(files) => self.make(files, ran).await,
                Err(refused) => Err(refused),
            },
        };
        match made {
            Ok(held) => self.let_decide(held, canary),
            Err(refused) => self.refuse(Refused { code: RefusalCode::Resume, ..refused }),
        }
    }

    /// Makes the canary the release that runs, when that is `release`: it is ready, and its guard watches on.
    pub(super) async fn promote(&mut self, release: Digest, counter: u64) -> Result<bool, Refused> {
        let since_us = self.shared.clock.now_us();
        let ran = Ran { release, counter, since_us };
        let canary = self.canary.as_ref().filter(|canary| canary.held.ran.release == release);
        let Some(next) = canary.map(|canary| canary.held.again(ran)) else { return Ok(false) };
        self.journal_swap(ran).await?;
        // It runs before it stops to be a canary: nobody of its share sees the other release in between.
        self.install(next, Some(since_us)).await;
        self.forget_canary();
        Ok(true)
    }

    /// From here on what runs decides for all.
    pub(super) async fn end_canary(&mut self) -> Result<(), Refused> {
        self.record(|state| state.canary = None).await?;
        self.forget_canary();
        Ok(())
    }

    /// Drops the canary: it is worse than its guard allows. It stays away as a release does that was taken back.
    pub(super) async fn drop_canary(&mut self, tripped: &Tripped) {
        let Some(HeldCanary { held, .. }) = self.forget_canary() else { return };
        let release = held.ran.release;
        tracing::error!(%release, why = %tripped, "canary dropped");
        let counter = held.ran.counter.max(self.seen_counter());
        let since_us = self.shared.clock.now_us();
        let dropped = Quarantine { release, counter, why: tripped.to_string(), since_us };
        self.dropped = Some(dropped.clone());
        self.shared.metrics.taken_back.inc();
        self.tell(|status| status.canary_dropped = Some(dropped.clone()));
        let written = self.record(|state| {
            state.canary = None;
            state.dropped = Some(dropped.clone());
        });
        // As with what is taken back: it goes at once, journal or not.
        if let Err(refused) = written.await {
            tracing::error!(why = refused.why, "the journal does not say that the canary was dropped");
        }
        self.refuse(was_dropped(&dropped));
    }

    /// Watches over the canary anew, against what runs now.
    pub(super) fn watch_canary(&self, since_us: TimeUs) {
        let watch = self.canary.as_ref().zip(self.active.as_ref()).map(|(canary, active)| {
            let (canary, running, guard) = (canary.held.ran.release, active.ran.release, canary.held.guard.clone());
            match &guard.reward {
                Some(kind) => self.shared.earned.compare(canary, running, kind),
                None => self.shared.earned.end(),
            }
            CanaryWatch::new(canary, running, guard, since_us)
        });
        *self.shared.canary_guard.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    /// A release that is held already: a canary of which the share alone is another, or one that ran before.
    fn warm(&self, ran: Ran) -> Option<Held<S::Active>> {
        let beside = self.canary.as_ref().map(|canary| &canary.held);
        let held = [beside, self.previous.as_ref(), self.active.as_ref()].into_iter().flatten();
        held.filter(|held| held.ran.release == ran.release).map(|held| held.again(ran)).next()
    }

    fn let_decide(&mut self, held: Held<S::Active>, canary: Canary) {
        let beside = Beside { canary: canary.clone(), active: Arc::clone(&held.active) };
        self.shared.canary.store(Some(Arc::new(beside)));
        self.shared.metrics.canary_share_bp.set(u64::from(canary.share_bp));
        tracing::info!(release = %canary.release, name = held.name, share = canary.share_text(), "canary decides");
        let told = RunningCanary::new(&held.ran, &held.name, &canary);
        self.canary = Some(HeldCanary { held, canary });
        self.watch_canary(self.shared.clock.now_us());
        self.tell(|status| status.canary = Some(told));
    }

    fn forget_canary(&mut self) -> Option<HeldCanary<S::Active>> {
        let canary = self.canary.take();
        self.shared.canary.store(None);
        self.shared.metrics.canary_share_bp.set(0);
        self.shared.earned.end();
        *self.shared.canary_guard.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tell(|status| status.canary = None);
        canary
    }
}

pub(super) fn was_dropped(held: &Quarantine) -> Refused {
    let why = format!(
        "canary dropped: {}; the running release decides for all, and it stays away until the channel is deployed again",
        held.why
    );
    Refused { code: RefusalCode::Quarantined, release: Some(held.release), why }
}
