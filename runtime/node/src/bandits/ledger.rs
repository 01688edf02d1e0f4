//! Rewards and the decisions they belong to. Owns what counts: each choice that a policy drew is one trial, and one reward at
//! most. What comes out depends on nothing but which decisions and rewards came: in any order, and however often.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use selvedge_decision::plan::Bandit;
use selvedge_decision::record::NOT_DRAWN;
use selvedge_decision::{DecisionId, Reason, Record, TimeUs};

use super::history::Features;
use crate::events::names::{DECISION, EXPOSURE};
use crate::events::{Event, reward};
use crate::outbox::Lane;

/// Joins rewards to the decisions of one bandit.
#[derive(Debug)]
pub struct Ledger {
    spec: Bandit,
    most: usize,
    decisions: HashMap<DecisionId, Decided, FixedState>,
    /// Decisions in the order they came, and when that was.
    by_age: VecDeque<(TimeUs, DecisionId)>,
    /// Rewards whose decision did not come yet.
    early: HashMap<DecisionId, Vec<Early>, FixedState>,
    early_by_age: VecDeque<(TimeUs, DecisionId)>,
    now_us: TimeUs,
    counts: Counts,
}

/// Where an item came from, and whether what it brought is counted already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its lane.
    pub lane: Lane,
    /// Its number.
    pub seq: u64,
    /// It is in the counts that the ledger began with.
    pub is_old: bool,
}

/// What a decision or a reward adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gain {
    /// To which action.
    pub action: Arc<str>,
    /// In which time bucket, that of the decision.
    pub bucket: i64,
    /// 1 for a decision that chose it.
    pub trials: i64,
    /// 1 for its first reward; -1 when one turns out to have been counted before.
    pub rewards: i64,
    /// The decision's number.
    pub decision: u64,
    /// The reward's place.
    pub reward: Option<(Lane, u64)>,
    /// What the bandit's model saw of the choice, if it has one.
    pub features: Option<Features>,
}

/// What became of rewards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rewards that counted.
    pub counted: u64,
    /// Further rewards of what had one.
    pub again: u64,
    /// Rewards after their time.
    pub late: u64,
    /// Rewards that do not say for which of several choices, or for one that was not chosen.
    pub unclear: u64,
    /// Decisions that were let go of for want of room before their time was over.
    pub forgotten: u64,
    /// Rewards of decisions that did not come.
    pub unknown: u64,
}

#[derive(Debug)]
struct Decided {
    time_us: TimeUs,
    bucket: i64,
    origin: Origin,
    choices: Vec<Chosen>,
}

#[derive(Debug)]
struct Chosen {
    action: Arc<str>,
    features: Option<Features>,
    state: State,
}

/// Whether a choice had a reward, and whether the counts that the ledger began with have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    Old,
    New,
}

#[derive(Debug, Clone)]
struct Early {
    item: Option<String>,
    received_us: TimeUs,
    origin: Origin,
}

/// How long a reward waits for its decision: they come by different lanes, and after a cut one may be far ahead of the other.
const EARLY_US: i64 = 3_600 * 1_000_000;

/// How long a time bucket of a bandit is, in microseconds: an eighth of its half-life; 0 when nothing fades.
pub(super) fn bucket_us(spec: &Bandit) -> i64 {
    spec.half_life_us.map_or(0, |half_life| half_life / 8)
}

// === impl Ledger ===

impl Ledger {
    /// Of a bandit, remembering at most so many decisions.
    pub fn new(spec: Bandit, most: usize) -> Self {
        Self {
            spec,
            most: most.max(1),
            decisions: HashMap::default(),
            by_age: VecDeque::new(),
            early: HashMap::default(),
            early_by_age: VecDeque::new(),
            now_us: TimeUs::MIN,
            counts: Counts::default(),
        }
    }

    /// The bandit.
    pub fn spec(&self) -> &Bandit {
        &self.spec
    }

    /// What became of rewards.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a decision that came at `now_us`, by the clock of whoever keeps the ledger: nodes' clocks may be anything.
    pub fn decision(&mut self, record: &Record, origin: Origin, now_us: TimeUs) -> Vec<Gain> {
        // What a page says that it decided is its word alone.
        let is_drawn = matches!(record.reason, Reason::Explored | Reason::Assigned | Reason::Scored);
        if !is_drawn
            || record.id.is_of_a_page()
            || !self.spec.learns_from(&record.placement, record.experiment.as_deref(), record.arm.as_deref())
            || self.decisions.contains_key(&record.id)
        {
            return Vec::new();
        }
        // A model learns from what it saw itself: to a release with other features the numbers mean something else.
        let saw = match &self.spec.model {
            None => None,
            Some(shape) => {
                let model = record.model.as_ref().filter(|model| model.model == shape.id);
                let Some(saw) = model.and_then(|model| shape.split(&model.x, record.choices.len())) else {
                    return Vec::new();
                };
                Some(saw)
            }
        };
        self.let_go(now_us);
        let drawn = record.choices.iter().enumerate().filter(|(_, choice)| choice.draw != NOT_DRAWN);
        let bucket = match bucket_us(&self.spec) {
            0 => 0,
            length => record.time_us.div_euclid(length),
        };
        let choices = drawn.filter_map(|(at, choice)| {
            let action = record.candidates.get(choice.candidate as usize)?.clone();
            Some(Chosen { action, features: saw.as_ref().map(|saw| Features::from(saw(at))), state: State::None })
        });
        let choices: Vec<_> = choices.collect();
        let mut gains = Vec::new();
        if !origin.is_old {
            let trial = |choice: &Chosen| Gain {
                action: choice.action.clone(),
                bucket,
                trials: 1,
                rewards: 0,
                decision: origin.seq,
                reward: None,
                features: choice.features.clone(),
            };
            gains.extend(choices.iter().map(trial));
        }
        self.decisions.insert(record.id, Decided { time_us: record.time_us, bucket, origin, choices });
        self.by_age.push_back((self.now_us, record.id));
        for early in self.early.remove(&record.id).into_iter().flatten() {
            gains.extend(self.reward(record.id, early.item.as_deref(), early.received_us, early.origin));
        }
        gains
    }

    /// Takes an event that came at `now_us`, by the same clock.
    pub fn event(&mut self, event: &Event, origin: Origin, now_us: TimeUs) -> Option<Gain> {
        let id = event.decision_id?;
        // What a page decided is never learned from, so what it brought need not wait: the room is for those that are.
        if id.is_of_a_page()
            || event.name == DECISION
            || event.name == EXPOSURE
            || reward::kind(&event.name, Some(&event.properties)) != self.spec.reward
        {
            return None;
        }
        self.let_go(now_us);
        if self.decisions.contains_key(&id) {
            return self.reward(id, event.item.as_deref(), event.received_us, origin);
        }
        if self.early_by_age.len() < self.most {
            let early = Early { item: event.item.clone(), received_us: event.received_us, origin };
            self.early.entry(id).or_default().push(early);
            self.early_by_age.push_back((self.now_us, id));
        } else {
            self.counts.unknown += 1;
        }
        None
    }

    fn reward(&mut self, id: DecisionId, item: Option<&str>, received_us: TimeUs, origin: Origin) -> Option<Gain> {
        let decided = self.decisions.get_mut(&id)?;
        if received_us.saturating_sub(decided.time_us) > self.spec.window_us {
            self.counts.late += 1;
            return None;
        }
        let choice = match (item, &mut decided.choices[..]) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(item), choices) => choices.iter_mut().find(|choice| *choice.action == *item),
        };
        let Some(Chosen { action, features, state }) = choice else {
            self.counts.unclear += 1;
            return None;
        };
        let is_old = origin.is_old && decided.origin.is_old;
        let rewards = match (*state, is_old) {
            (State::None, false) => 1,
            // It is in what the ledger began with, so the one that was counted since is a second.
            (State::New, true) => -1,
            _ => 0,
        };
        self.counts.counted += u64::from(*state == State::None);
        self.counts.again += u64::from(*state != State::None);
        *state = if is_old || *state == State::Old { State::Old } else { State::New };
        let gain = Gain {
            action: action.clone(),
            bucket: decided.bucket,
            trials: 0,
            rewards,
            decision: decided.origin.seq,
            reward: Some((origin.lane, origin.seq)),
            features: features.clone(),
        };
        (rewards != 0).then_some(gain)
    }

    /// Lets go of decisions whose time is over, and of the oldest when there are too many.
    fn let_go(&mut self, now_us: TimeUs) {
        self.now_us = self.now_us.max(now_us);
        let over = |time_us: TimeUs, after_us: i64| self.now_us.saturating_sub(time_us) > after_us;
        // A reward of the last moment is told late.
        let window_us = self.spec.window_us.saturating_add(EARLY_US);
        while let Some((came_us, id)) = self.by_age.front().copied() {
            let is_over = over(came_us, window_us);
            if !is_over && self.by_age.len() < self.most {
                break;
            }
            self.by_age.pop_front();
            self.decisions.remove(&id);
            self.counts.forgotten += u64::from(!is_over);
        }
        while let Some((_, id)) = self.early_by_age.front().copied().filter(|(came_us, _)| over(*came_us, EARLY_US)) {
            self.early_by_age.pop_front();
            self.counts.unknown += self.early.remove(&id).map_or(0, |early| early.len() as u64);
        }
    }
}
