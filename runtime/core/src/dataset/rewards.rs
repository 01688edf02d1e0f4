//! What decisions brought. Owns what counts as a reward, of which kind it is, and which rows earn it.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::{DecisionId, TimeUs};
use selvedge_node::events::names::DECISION;
use selvedge_node::events::reward;
use selvedge_node::outbox::Lane;

use super::{DatasetError, Query};
use crate::lake::{Day, Erased, Items, Store, days};
use crate::table::{Cell, Kind, Shape, Spec};

/// Rewards in memory, at most.
const MAX_REWARDS: usize = 20_000_000;
/// Kinds of them, each of which is a column, at most.
const MAX_KINDS: usize = 200;

/// All rewards of the days of a query, by the decision they name.
pub(super) struct Rewards {
    kinds: Vec<String>,
    by_decision: BTreeMap<DecisionId, Vec<Reward>>,
    window_us: i64,
    copies: u64,
}

struct Reward {
    kind: usize,
    received_us: TimeUs,
    item: Option<String>,
    value: f64,
}

/// What one row earned.
pub(super) struct Earned {
    /// A sum for each kind.
    pub(super) row: Vec<Cell>,
    /// Of how many rewards.
    pub(super) count: u64,
}

const READ: [&str; 9] =
    ["decision_id", "event", "message_id", "subject", "session", "received", "item", "value", "properties"];

// === impl Rewards ===

impl Rewards {
    /// Reads rewards and other events that name a decision, as far as they may belong to one of the query's days.
    pub(super) async fn read(store: &Store, query: &Query, erased: &Erased) -> Result<Self, DatasetError> {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let mut rewards =
            Self { kinds: Vec::new(), by_decision: BTreeMap::new(), window_us: query.window_us, copies: 0 };
        let mut messages = BTreeSet::new();
        let mut count = 0;
        let last = Day::of(query.to.next().start_us().saturating_add(query.window_us));
        for lane in [Lane::Rewards, Lane::Events] {
            for day in days(store, lane, query.from, last).await? {
                let mut items = Items::of(store, lane, day, &READ).await?;
                while let Some(row) = items.next().await? {
                    let [id, event, message, subject, session, received, item, value, properties] = &row[..] else {
                        continue;
                    };
                    let Some(id) = id.as_text().and_then(|id| id.parse::<DecisionId>().ok()) else { continue };
                    let received_us = received.as_whole().unwrap_or_default();
                    let event = event.as_text().unwrap_or_default();
                    if event == DECISION || erased.covers(subject.as_text(), session.as_text(), received_us) {
                        continue;
                    }
                    // A sender's second copy may have come by another node.
                    if let Some(message) = message.as_text()
                        && !messages.insert(message.to_owned())
                    {
                        rewards.copies += 1;
                        continue;
                    }
                    let name = reward::kind(event, properties.as_text());
                    let next = kinds.len();
                    let kind = *kinds.entry(name).or_insert(next);
                    count += 1;
                    if count > MAX_REWARDS || kinds.len() > MAX_KINDS {
                        let found = format!("more than {MAX_REWARDS} rewards, or {MAX_KINDS} kinds of them");
                        return Err(DatasetError::TooMany(found));
                    }
                    let item = item.as_text().map(str::to_owned);
                    let reward = Reward { kind, received_us, item, value: value.as_number().unwrap_or(1.0) };
                    rewards.by_decision.entry(id).or_default().push(reward);
                }
            }
        }
        // Columns in the order of their names, whatever came first.
        let order: BTreeMap<usize, usize> = kinds.values().enumerate().map(|(place, found)| (*found, place)).collect();
        rewards.kinds = kinds.into_keys().collect();
        for reward in rewards.by_decision.values_mut().flatten() {
            reward.kind = order.get(&reward.kind).copied().unwrap_or_default();
        }
        Ok(rewards)
    }

    /// A column a kind.
    pub(super) fn columns(&self) -> impl Iterator<Item = Spec> {
        self.kinds.iter().map(|kind| Spec::new(format!("reward_{kind}"), Kind::Number, Shape::One))
    }

    /// What a row earned: a reward that names an item belongs to that candidate, one that names none to every choice.
    pub(super) fn of(
        &self,
        id: Option<DecisionId>,
        time_us: TimeUs,
        candidate: Option<&str>,
        is_choice: bool,
    ) -> Earned {
        let mut sums = vec![0.0; self.kinds.len()];
        let mut count = 0;
        for reward in id.and_then(|id| self.by_decision.get(&id)).into_iter().flatten() {
            let is_in_time = reward.received_us.saturating_sub(time_us) <= self.window_us;
            let is_own = reward.item.as_deref().map_or(is_choice, |item| Some(item) == candidate);
            if is_in_time && is_own {
                sums[reward.kind] += reward.value;
                count += 1;
            }
        }
        Earned { row: sums.into_iter().map(Cell::Number).collect(), count }
    }

    /// Second copies that were left out.
    pub(super) fn copies(&self) -> u64 {
        self.copies
    }
}
