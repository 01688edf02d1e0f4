//! Going back: to the previous release because the channel says so, or because the running one faults more than its guard
//! allows. Needs no core and stages nothing. Owns the quarantine of what was taken back.

use selvedge_decision::Digest;

use super::canary::was_dropped;
use super::{Follow, Held, Refused};
use crate::releases::Stage;
use crate::releases::guard::Tripped;
use crate::releases::journal::{Quarantine, Ran};
use crate::releases::status::RefusalCode;

impl<S: Stage> Follow<S> {
    /// Runs the previous release again when it is the one wanted: no fetch, no staging. The operator asked for it by name,
    /// so the guard, which watches new releases, has nothing to say about it.
    pub(super) async fn go_back_to(&mut self, release: Digest, counter: u64) -> Result<bool, Refused> {
        if self.previous.as_ref().is_none_or(|previous| previous.ran.release != release) {
            return Ok(false);
        }
        let ran = Ran { release, counter, since_us: self.shared.clock.now_us() };
        self.journal_swap(ran).await?;
        if let Some(previous) = self.previous.take() {
            self.install(Held { ran, ..previous }, None).await;
        }
        Ok(true)
    }

    /// Whether `release` may run by the pointer with `counter`; another counter ends a quarantine.
    pub(super) async fn check_quarantine(&mut self, release: Digest, counter: u64) -> Result<(), Refused> {
        let is_over = |held: &Option<Quarantine>| held.as_ref().is_some_and(|held| held.counter != counter);
        if is_over(&self.quarantine) {
            self.record(|state| state.quarantine = None).await?;
            self.quarantine = None;
            self.tell(|status| status.quarantined = None);
        }
        if is_over(&self.dropped) {
            self.record(|state| state.dropped = None).await?;
            self.dropped = None;
            self.tell(|status| status.canary_dropped = None);
        }
        if let Some(held) = self.quarantine.as_ref().filter(|held| held.release == release) {
            return Err(quarantined(held));
        }
        self.dropped.as_ref().filter(|held| held.release == release).map_or(Ok(()), |held| Err(was_dropped(held)))
    }

    /// Takes the running release back, or the canary: it is worse than its guard allows. It stays away while the channel's counter
    /// is the highest that was seen, which may have gone up since the release came.
    pub(super) async fn take_back(&mut self, release: Digest, tripped: &Tripped) {
        if self.beside() == Some(release) && self.active.as_ref().is_none_or(|active| active.ran.release != release) {
            return self.drop_canary(tripped).await;
        }
        let Some(bad) = self.active.take_if(|active| active.ran.release == release) else { return };
        let since_us = self.shared.clock.now_us();
        let Some(mut good) = self.previous.take() else {
            let why = format!("{tripped}; there is no earlier release to go back to, so it runs on: deploy another");
            self.active = Some(bad);
            self.refuse(Refused { code: RefusalCode::Guard, release: Some(release), why });
            return;
        };
        tracing::error!(%release, back_to = %good.ran.release, why = %tripped, "release taken back");
        let counter = bad.ran.counter.max(self.seen_counter());
        let quarantine = Quarantine { release, counter, why: tripped.to_string(), since_us };
        good.ran.since_us = since_us;
        let ran = good.ran;
        self.announce(&good, None);
        self.active = Some(good);
        self.watch_canary(since_us);
        self.quarantine = Some(quarantine.clone());
        self.shared.metrics.taken_back.inc();
        self.tell(|status| status.quarantined = Some(quarantine.clone()));
        self.tell_held();
        let written = self.record(|state| {
            state.active = Some(ran);
            state.previous = None;
            state.quarantine = Some(quarantine.clone());
        });
        let written = written.await;
        // A release this bad goes at once, journal or not; a restart would try it again, and take it back again.
        if let Err(refused) = written {
            tracing::error!(why = refused.why, "the journal does not say that the release was taken back");
        }
        self.refuse(quarantined(&quarantine));
    }
}

fn quarantined(held: &Quarantine) -> Refused {
    let why = format!("taken back: {}; it stays away until the channel is deployed again", held.why);
    Refused { code: RefusalCode::Quarantined, release: Some(held.release), why }
}
