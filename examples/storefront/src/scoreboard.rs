//! What the simulated shoppers were shown at the top of the home page and what they clicked, by time. Owns the numbers that the
//! page behind the counter draws; judges nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::HEROES;

/// The span of one point of the drawing, and how many are kept.
const SPAN: Duration = Duration::from_secs(5);
const POINTS: usize = 120;

/// Shown and clicked, by hero.
type Counts = BTreeMap<String, (u64, u64)>;

/// Counts from the start on and in each span.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: Counts,
    /// The latest spans, each with its number since the start.
    points: VecDeque<(u64, Counts)>,
    visits: u64,
    failed: u64,
}

// === impl Scoreboard ===

impl Scoreboard {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), state: Mutex::default() }
    }

    /// A hero was shown by the policy, and clicked or not.
    pub(crate) fn shown(&self, hero: &str, is_clicked: bool) {
        let span = self.start.elapsed().as_secs() / SPAN.as_secs();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.points.back().is_none_or(|(last, _)| *last != span) {
            state.points.push_back((span, Counts::new()));
            if state.points.len() > POINTS {
                state.points.pop_front();
            }
        }
        let State { all, points, .. } = &mut *state;
        for counts in points.back_mut().map(|(_, counts)| counts).into_iter().chain([all]) {
            let (shown, clicked) = counts.entry(hero.to_owned()).or_default();
            *shown += 1;
            *clicked += u64::from(is_clicked);
        }
    }

    /// A visit ended, well or not.
    pub(crate) fn visit(&self, is_well: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.visits += 1;
        state.failed += u64::from(!is_well);
    }

    /// All of it as JSON: the truth beside what was counted.
    pub(crate) fn json(&self) -> Value {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |counts: &Counts, id: &str| counts.get(id).copied().unwrap_or_default();
        let heroes = HEROES.map(|(id, truth)| {
            let (shown, clicked) = of(&state.all, id);
            json!({"id": id, "truth": truth, "shown": shown, "clicked": clicked})
        });
        let points = state.points.iter().map(|(span, counts)| {
            let shown = HEROES.map(|(id, _)| of(counts, id).0);
            json!({"at_s": span * SPAN.as_secs(), "shown": shown})
        });
        let points: Vec<Value> = points.collect();
        json!({"visits": state.visits, "failed": state.failed, "heroes": heroes, "points": points})
    }
}
