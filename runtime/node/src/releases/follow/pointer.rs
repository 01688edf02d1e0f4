//! Whether a channel's value is followed: signed, not expired, and not older or other than what was seen. Owns the highest counter.

use selvedge_build::channel::{BadPointer, Pointer};

use super::{Follow, Refused};
use crate::releases::Stage;
use crate::releases::journal::{Journal, Seen};
use crate::releases::status::RefusalCode;

impl<S: Stage> Follow<S> {
    /// The pointer, when it may be followed. Its counter is durable from then on.
    pub(super) async fn believe(&mut self, value: &[u8]) -> Result<Pointer, Refused> {
        let channel = &self.config.channel;
        let now_us = self.shared.clock.now_us();
        let seen = self.journal.as_ref().and_then(|journal| journal.state().seen.get(channel).cloned());
        let highest = seen.as_ref().map_or(0, |seen| seen.counter);
        let pointer = Pointer::verify(channel, value, &self.trust, now_us, highest)?;
        let canary = pointer.canary.as_ref().map(ToString::to_string);
        let now = Seen { counter: pointer.counter, release: pointer.release, canary };
        if let Some(seen) = seen.filter(|seen| seen.counter == now.counter && *seen != now) {
            let of = |seen: &Seen| match &seen.canary {
                Some(canary) => format!("{} with canary {canary}", seen.release),
                None => seen.release.to_string(),
            };
            let why = format!(
                "channel {channel}: counter {highest} pointed to {} before and now points to {}; deploy again",
                of(&seen),
                of(&now)
            );
            return Err(Refused { code: RefusalCode::PlayedBack, release: Some(pointer.release), why });
        }
        let channel = channel.clone();
        self.record(|state| {
            state.seen.insert(channel, now);
        })
        .await?;
        let is_new = highest != pointer.counter;
        self.tell(|status| {
            status.counter = pointer.counter;
            // What stood in the way of the pointer before says nothing about this one.
            status.refusal.take_if(|_| is_new);
        });
        self.shared.metrics.counter.set(pointer.counter);
        Ok(pointer)
    }

    /// The highest counter that was seen of the channel.
    pub(super) fn seen_counter(&self) -> u64 {
        let state = self.journal.as_ref().map(Journal::state);
        state.and_then(|state| state.seen.get(&self.config.channel)).map_or(0, |seen| seen.counter)
    }
}

impl From<BadPointer> for Refused {
    fn from(bad: BadPointer) -> Self {
        let code = match &bad {
            BadPointer::Text { .. } | BadPointer::Signature { .. } => RefusalCode::Pointer,
            BadPointer::Expired { .. } => RefusalCode::Expired,
            BadPointer::PlayedBack { .. } => RefusalCode::PlayedBack,
        };
        Self { code, release: None, why: bad.to_string() }
    }
}
