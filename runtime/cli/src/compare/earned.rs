//! What decisions brought. Owns which events are rewards of which decision, each once and within its window, and the bound of what is
//! held.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use selvedge_decision::definition::Span;
use selvedge_decision::{DecisionId, Digest, Record, TimeUs};
use selvedge_node::events::Event;

use crate::output::Usage;
use crate::recorded::BROUGHT_WITHIN_US;

/// Rewards in memory, at most.
const MAX_REWARDS: usize = 5_000_000;
/// Kinds of them, at most.
const MAX_KINDS: usize = 100;

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;

/// How long after a decision a reward of these kinds counts when nobody says. Of others a day.
const WINDOWS: [(&str, i64); 8] = [
    ("click", 30 * MINUTE_US),
    ("select_item", 30 * MINUTE_US),
    ("select_promotion", 30 * MINUTE_US),
    ("view_item", 30 * MINUTE_US),
    ("add_to_cart", DAY_US),
    ("begin_checkout", DAY_US),
    ("purchase", 7 * DAY_US),
    ("refund", 7 * DAY_US),
];

/// A reward that is asked for: its kind, and how long after a decision it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) kind: String,
    pub(crate) window_us: i64,
}

/// All rewards, by the decision they name.
#[derive(Debug, Default)]
pub(super) struct Earned {
    kinds: Vec<String>,
    by_decision: BTreeMap<DecisionId, Vec<Reward>>,
    messages: BTreeSet<Digest>,
    count: usize,
}

#[derive(Debug)]
struct Reward {
    kind: u16,
    received_us: TimeUs,
    item: Option<String>,
    value: f64,
}

// === impl Wish ===

impl Wish {
    /// With the window that a kind has when nobody says one.
    pub(crate) fn new(kind: &str) -> Self {
        let window = WINDOWS.iter().find(|(known, _)| *known == kind).map_or(DAY_US, |(_, window_us)| *window_us);
        Self { kind: kind.to_owned(), window_us: window }
    }

    /// With this window, of a week at most: later events are not read.
    pub(crate) fn within(self, window_us: i64) -> Result<Self, String> {
        if (1..=BROUGHT_WITHIN_US).contains(&window_us) {
            return Ok(Self { window_us, ..self });
        }
        Err(format!("{}: a window is above 0 and at most {}", self.kind, Span::from_us(BROUGHT_WITHIN_US)))
    }
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, window) = text.split_once('=').map_or((text, None), |(kind, window)| (kind, Some(window)));
        if kind.is_empty() {
            return Err("expected KIND or KIND=WINDOW, such as purchase=7d".to_owned());
        }
        match window {
            None => Ok(Self::new(kind)),
            Some(window) => Self::new(kind).within(Span::try_from(window.to_owned())?.us()),
        }
    }
}

// === impl Earned ===

impl Earned {
    /// An event; one that is no reward, or a second copy, is none.
    pub(super) fn add(&mut self, event: Event) -> anyhow::Result<()> {
        let Some((Some(decision), (kind, value))) = event.reward().map(|reward| (event.decision_id, reward)) else {
            return Ok(());
        };
        // What a page decided is left out of the value: what it brought takes no room.
        if decision.is_of_a_page() {
            return Ok(());
        }
        // A sender's second copy may have come by another node.
        if event.message_id.is_some_and(|message| !self.messages.insert(Digest::of(message.as_bytes()))) {
            return Ok(());
        }
        let kind = match self.kinds.iter().position(|known| *known == kind) {
            Some(at) => at,
            None => {
                self.kinds.push(kind);
                self.kinds.len() - 1
            }
        };
        self.count += 1;
        if self.count > MAX_REWARDS || self.kinds.len() > MAX_KINDS {
            let why = format!(
                "more than {MAX_REWARDS} rewards, or {MAX_KINDS} kinds of them: ask for fewer days, by --since and --until"
            );
            return Err(Usage(why).into());
        }
        let reward = Reward { kind: kind as u16, received_us: event.received_us, item: event.item, value };
        self.by_decision.entry(decision).or_default().push(reward);
        Ok(())
    }

    /// The kinds that were found, by name.
    pub(super) fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        kinds.sort_unstable();
        kinds
    }

    /// The kinds of what names a decision, in time or not.
    pub(super) fn kinds_of(&self, id: DecisionId) -> impl Iterator<Item = &str> {
        let rewards = self.by_decision.get(&id).into_iter().flatten();
        rewards.filter_map(|reward| self.kinds.get(usize::from(reward.kind)).map(String::as_str))
    }

    /// What a decision brought: for each of the chosen ids what its own item did and, in equal parts, what names no item. A reward that
    /// names another item is not of what was chosen.
    pub(super) fn of(&self, wish: &Wish, id: DecisionId, time_us: TimeUs, chosen: &[&str]) -> Vec<f64> {
        let mut earned = vec![0.0; chosen.len()];
        let Some(kind) = self.kinds.iter().position(|kind| *kind == wish.kind) else { return earned };
        let of_kind = self.by_decision.get(&id).into_iter().flatten().filter(|reward| usize::from(reward.kind) == kind);
        for reward in of_kind.filter(|reward| reward.received_us.saturating_sub(time_us) <= wish.window_us) {
            match &reward.item {
                Some(item) => {
                    let place = chosen.iter().position(|id| id == item);
                    place.into_iter().for_each(|at| earned[at] += reward.value);
                }
                None => {
                    let part = reward.value / chosen.len() as f64;
                    earned.iter_mut().for_each(|earned| *earned += part);
                }
            }
        }
        earned
    }
}

/// Whose decision a record is, as a number: draws of one person are not independent.
pub(super) fn person(record: &Record) -> u64 {
    let id = record.subject.as_ref().or(record.session.as_ref());
    let digest = Digest::of(id.map_or(&record.id.0[..], |id| id.as_bytes()));
    digest.0.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn event(name: &str, item: Option<&str>, message: Option<&str>, received_us: i64) -> Event {
        Event {
            time_us: received_us,
            received_us,
            name: name.into(),
            subject: None,
            session: None,
            item: item.map(str::to_owned),
            decision_id: Some(DecisionId::new(0, 1, 2)),
            message_id: message.map(str::to_owned),
            properties: "{\"value\":3}".into(),
            joined: None,
        }
    }

    #[test]
    fn a_reward_belongs_to_what_was_chosen_once_and_in_time() {
        let mut earned = Earned::default();
        for event in [
            event("purchase", Some("a"), Some("m-1"), 5),
            event("purchase", Some("a"), Some("m-1"), 5),
            event("purchase", None, None, DAY_US),
            event("purchase", Some("z"), None, 5),
            event("purchase", Some("b"), None, 7 * DAY_US + 1),
            event("select_item", Some("b"), None, 31 * MINUTE_US),
        ] {
            earned.add(event).unwrap();
        }
        let of_a_page = Some(DecisionId::of_a_page(0, 1, 2));
        earned.add(Event { decision_id: of_a_page, ..event("refund", Some("a"), None, 5) }).unwrap();
        let check = |wish: &str, expected: &[f64]| {
            let wish: Wish = wish.parse().unwrap();
            assert_eq!(earned.of(&wish, DecisionId::new(0, 1, 2), 0, &["a", "b"]), expected, "{wish:?}");
        };
        check("purchase", &[4.5, 1.5]);
        check("purchase=1h", &[3.0, 0.0]);
        check("select_item", &[0.0, 0.0]);
        check("select_item=1h", &[0.0, 3.0]);
        check("other", &[0.0, 0.0]);
        assert_eq!(earned.kinds(), ["purchase", "select_item"]);
        let of_one: BTreeSet<&str> = earned.kinds_of(DecisionId::new(0, 1, 2)).collect();
        assert_eq!((of_one.len(), earned.kinds_of(DecisionId::new(0, 1, 3)).count()), (2, 0));
        assert_eq!(earned.of(&Wish::new("purchase"), DecisionId::new(0, 1, 3), 0, &["a"]), [0.0]);
        assert!("=7d".parse::<Wish>().is_err() && "a=8d".parse::<Wish>().is_err() && "a=0s".parse::<Wish>().is_err());
    }
}
