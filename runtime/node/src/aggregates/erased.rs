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
    by_session: HashMap<String, TimeUs>,
}

// === impl Gone ===

impl Gone {
    /// Notes a person; the later of two times counts. Whether that is news.
    pub(super) fn note(&mut self, erased: &Erased) -> bool {
        for session in &erased.sessions {
            later(&mut self.by_session, session, erased.at_us);
        }
        later(&mut self.by_subject, &erased.subject, erased.at_us)
    }

    /// Whether an event is to be passed by: one of such a person, or of a session of theirs that does not say whose it is.
    pub(super) fn has(&self, event: &Event) -> bool {
        let at = match &event.subject {
            Some(subject) => self.by_subject.get(subject),
            None => event.session.as_ref().and_then(|session| self.by_session.get(session)),
        };
        at.is_some_and(|at| event.received_us < *at)
    }
}

fn later(known: &mut HashMap<String, TimeUs>, id: &str, at_us: TimeUs) -> bool {
    let at = known.entry(id.to_owned()).or_insert(TimeUs::MIN);
    let is_later = at_us > *at;
    *at = at_us.max(*at);
    is_later
}

/// Whether a view's entities are people, or their sessions, or pairs with them.
pub(super) fn is_of_people(by: &By) -> bool {
    by.names().iter().any(|name| Kind::of(name).is_some())
}

/// Whether an entity of a view is this person, one of their sessions, or a pair with them.
pub(super) fn is_of(by: &By, entity: &str, erased: &Erased) -> bool {
    by.names().iter().zip(entity.split(PAIR_SEPARATOR)).any(|(name, part)| match Kind::of(name) {
        Some(Kind::Subject) => part == erased.subject,
        Some(Kind::Session) => erased.sessions.iter().any(|session| part == session),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::samples::event;

    fn person() -> Erased {
        Erased { subject: "u-1".into(), at_us: 100, sessions: vec!["s-1".into()] }
    }

    #[test]
    fn what_a_person_did_before_is_passed_by_and_nothing_else() {
        let mut gone = Gone::default();
        assert!(gone.note(&person()) && !gone.note(&Erased { at_us: 50, ..person() }));
        let check = |subject: Option<&str>, session: &str, received_us: TimeUs, expected: bool| {
            let (subject, session) = (subject.map(str::to_owned), Some(session.to_owned()));
            let event = Event { subject, session, received_us, ..event(1) };
            assert_eq!(gone.has(&event), expected, "{event:?}");
        };
        check(Some("u-1"), "s-9", 99, true);
        check(Some("u-1"), "s-1", 100, false);
        check(Some("u-2"), "s-1", 99, false);
        check(None, "s-1", 99, true);
        check(None, "s-1", 100, false);
        check(None, "s-2", 99, false);
    }

    #[test]
    fn an_entity_is_a_person_s_by_its_part() {
        let check = |by: &[&str], entity: &str, expected: bool| {
            let by = match by {
                [one] => By::One((*one).into()),
                _ => By::Pair([by[0].into(), by[1].into()]),
            };
            assert_eq!(is_of(&by, entity, &person()), expected, "{by:?} {entity:?}");
        };
        check(&["subject"], "u-1", true);
        check(&["subject"], "s-1", false);
        check(&["session"], "s-1", true);
        check(&["item"], "u-1", false);
        check(&["item", "subject"], "u-1\0u-2", false);
        check(&["item", "subject"], "sku-1\0u-1", true);
        assert!(!is_of_people(&By::One("item".into())) && is_of_people(&By::Pair(["item".into(), "session".into()])));
    }
}
