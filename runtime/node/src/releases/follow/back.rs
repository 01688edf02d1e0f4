//! Going back: to the previous release because the channel says so, or because the running one faults more than its guard
//! allows. Needs no core and stages nothing. Owns the quarantine of what was taken back.

use selvedge_decision::Digest;

use super::{Follow, Held, Refused};
use crate::releases::Stage;
use crate::releases::guard::Tripped;
use crate::releases::journal::{Journal, Quarantine, Ran};
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
        match &self.quarantine {
            Some(held) if held.counter == counter && held.release == release => Err(quarantined(held)),
            Some(held) if held.counter != counter => {
                self.quarantine = None;
                self.record(|state| state.quarantine = None).await?;
                self.tell(|status| status.quarantined = None);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the running release back: it faulted more than its guard allows. It stays away while the channel's counter is
    /// the highest that was seen, which may have gone up since the release came.
    pub(super) async fn take_back(&mut self, release: Digest, tripped: &Tripped) {
        let Some(bad) = self.active.take_if(|active| active.ran.release == release) else { return };
        let since_us = self.shared.clock.now_us();
        let Some(mut good) = self.previous.take() else {
            let why = format!(
                "{release}: {tripped}; there is no earlier release to go back to, so it runs on: deploy another"
            );
            self.active = Some(bad);
            self.refuse(Refused { code: RefusalCode::Guard, release: Some(release), why });
            return;
        };
        tracing::error!(%release, back_to = %good.ran.release, why = %tripped, "release taken back");
        let state = self.journal.as_ref().map(Journal::state);
        let seen = state.and_then(|state| state.seen.get(&self.config.channel)).map_or(0, |seen| seen.counter);
        let counter = bad.ran.counter.max(seen);
        let quarantine = Quarantine { release, counter, why: tripped.to_string(), since_us };
        good.ran.since_us = since_us;
        let ran = good.ran;
        self.announce(&good, None);
        self.active = Some(good);
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
    let (release, why) = (held.release, &held.why);
    let why = format!("{release} was taken back: {why}; it stays away until the channel is deployed again");
    Refused { code: RefusalCode::Quarantined, release: Some(release), why }
}
