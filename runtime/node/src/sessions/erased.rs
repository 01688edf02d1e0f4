//! Sessions of people who were erased: what is known of them here goes, from memory and from disk, also when a node hears of it
//! late. Owns the asking, and which sessions are not taken any more when another node tells of them.
//!
//! What began before a person was erased goes, what began after stays: so it does not matter how often that is said.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::Slot;
use tokio::sync::watch;

use super::Sessions;
use crate::link::LinkState;
use crate::link::nats::NatsLink;
use crate::link::nats::erased::Erased;

/// How often the core is asked.
const EVERY: Duration = Duration::from_secs(1);

// === impl Sessions ===

impl Sessions {
    /// Asks who was erased until `stop`.
    pub(super) async fn follow_erased(&self, nats: &Arc<NatsLink>, mut stop: watch::Receiver<bool>) {
        let (mut state, mut after, mut failed) = (nats.state(), 0, false);
        // The views that the people known so far were looked for in.
        let mut known = self.names();
        loop {
            let asked = async {
                state.wait_for(LinkState::is_connected).await.ok();
                // A view that is new here may have read what lay on disk.
                let names = self.names();
                if names != known {
                    (known, after) = (names, 0);
                }
                nats.erased(after).await
            };
            let asked = tokio::select! {
                asked = asked => asked,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match asked {
                Ok((people, last)) => {
                    people.iter().for_each(|person| self.erase(person));
                    (after, failed) = (last, false);
                }
                Err(error) if !std::mem::replace(&mut failed, true) => {
                    tracing::warn!(%error, "who was erased cannot be asked");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Lets go of a person's sessions.
    fn erase(&self, person: &Erased) {
        let since_us = self.inner.clock.now_us().saturating_sub(self.inner.config.keep_us);
        {
            let mut erased = self.inner.erased.lock().unwrap_or_else(PoisonError::into_inner);
            // What began before that is not kept any more, by whichever node.
            erased.retain(|_, at_us| *at_us >= since_us);
            for session in &person.sessions {
                let at = erased.entry(session.clone()).or_insert(TimeUs::MIN);
                *at = person.at_us.max(*at);
            }
        }
        let views: Vec<_> =
            self.views().iter().filter_map(std::sync::Weak::upgrade).filter(|view| view.core.is_none()).collect();
        for view in views {
            for session in &person.sessions {
                for origin in view.erase(session, person.at_us) {
                    if let Some(slots) = &self.inner.slots {
                        slots.remove(&view.name, session, &origin);
                    }
                }
            }
        }
    }

    /// Whether what a slot tells of a session is of somebody who was erased since it began.
    pub(super) fn is_erased(&self, session: &str, slot: &Slot) -> bool {
        let erased = self.inner.erased.lock().unwrap_or_else(PoisonError::into_inner);
        erased.get(session).is_some_and(|at_us| slot.first().is_some_and(|first| first < *at_us))
    }
}
