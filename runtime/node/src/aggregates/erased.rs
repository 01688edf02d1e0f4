//! Whose events do not count any more: those of an erased person that were received before. Owns which views that is for: counts
//! of items are nobody's, and stay.

use std::collections::HashMap;

use selvedge_decision::TimeUs;
use selvedge_decision::definition::By;

use crate::events::Event;
use crate::features::entity::PAIR_SEPARATOR;
use crate::ids::Kind;
use crate::link::nats::erased::Erased;

/// Erased people, and from when on events of them count again.
#[derive(Debug, Default)]
pub(super) struct Gone {
    by_subject: HashMap<String, TimeUs>,
}

// === impl Gone ===

impl Gone {
    /// Notes a person; the later of two times counts. Whether that is news.
    pub(super) fn note(&mut self, erased: &Erased) -> bool {
        let at = self.by_subject.entry(erased.subject.clone()).or_insert(TimeUs::MIN);
        let is_later = erased.at_us > *at;
        *at = erased.at_us.max(*at);
        is_later
    }

    /// Whether an event is to be passed by.
    pub(super) fn has(&self, event: &Event) -> bool {
        let at = event.subject.as_ref().and_then(|subject| self.by_subject.get(subject));
        at.is_some_and(|at| event.received_us < *at)
    }
}

/// Whether a view's entities are people, or their sessions, or pairs with them.
pub(super) fn is_of_people(by: &By) -> bool {
    names(by).iter().any(|name| Kind::of(name).is_some())
}

/// Whether an entity of a view is this person, one of their sessions, or a pair with them.
pub(super) fn is_of(by: &By, entity: &str, erased: &Erased) -> bool {
    names(by).iter().zip(entity.split(PAIR_SEPARATOR)).any(|(name, part)| match Kind::of(name) {
        Some(Kind::Subject) => part == erased.subject,
        Some(Kind::Session) => erased.sessions.iter().any(|session| part == session),
        None => false,
    })
}

fn names(by: &By) -> &[String] {
    match by {
        By::One(one) => std::slice::from_ref(one),
        By::Pair(pair) => pair,
    }
}
