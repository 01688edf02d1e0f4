//! What a release would decide, for people who try it: the same decision, of which nothing is recorded, counted or learned.

use std::sync::Arc;
use std::time::Duration;

use super::{Active, Answer, Decider, Page, Refused, Snapshot, Wire, first_sight};

/// What one release makes of a request.
pub struct WhatIf {
    /// The release.
    pub active: Arc<Active>,
    /// Its answer, with how it came about.
    pub answer: Result<Answer, Refused>,
}

impl Decider {
    /// What each of `releases` makes of a request, all at one time and by one id: where they differ, the release is why. A decision
    /// that is asked for in earnest has another id, so what is drawn may be another.
    pub async fn what_if(&self, wire: &Wire<'_>, releases: Vec<Arc<Active>>) -> Vec<WhatIf> {
        let time_us = self.clock.now_us();
        let id = self.mint(time_us);
        let mut answers = Vec::new();
        for active in releases {
            let page = Page {
                active: Arc::clone(&active),
                time_us,
                snapshot: Some(Snapshot::default()),
                waited: Duration::ZERO,
            };
            let waits = first_sight::waiting(&active, wire.placement.as_str()).is_some();
            let page = if waits { self.after_wait(page, std::iter::once(wire)).await } else { page };
            let answer = self.one_as(&page, wire, &[], id).map(|decided| Answer::new(&decided, None));
            answers.push(WhatIf { active, answer });
        }
        answers
    }
}
