//! First sight of an entity: what an on-demand view that says `on_miss = "wait"` does not hold is waited for before the
//! decision begins, for a share of its deadline. Owns that share.

use std::borrow::Borrow;
use std::time::{Duration, Instant};

use selvedge_decision::TimeUs;
use selvedge_decision::gather::{Request, entity_text};
use selvedge_decision::plan::{Placement, ViewUse};

use super::active::{Active, Bound};
use super::request::{self, Wire};
use crate::features::Fetching;

/// Timers know whole milliseconds and round up: a wait that ends in time is shorter by one.
const TIMER: Duration = Duration::from_millis(1);

/// Fetches and waits for what the placements of one request read and the node does not hold. How long it waited.
pub(super) async fn wait<'a>(
    active: &Active,
    wires: impl Iterator<Item = impl Borrow<Wire<'a>>>,
    now_us: TimeUs,
) -> Duration {
    let started = Instant::now();
    let (mut fetching, mut share) = (Vec::new(), Duration::MAX);
    for wire in wires {
        let wire = wire.borrow();
        // What is wrong with a request is told when it is decided.
        let Some(placement) = waiting(active, wire.placement.as_str()) else { continue };
        let Ok(request) = request::typed(placement, wire, &[]) else { continue };
        let before = fetching.len();
        for used in placement.views.iter().filter(|used| used.waits) {
            fetch(active, placement, used, &request, now_us, &mut fetching);
        }
        if fetching.len() > before {
            share = share.min(share_of(placement.deadline_us));
        }
    }
    if fetching.is_empty() {
        return Duration::ZERO;
    }
    let all = async {
        for one in &mut fetching {
            one.over().await;
        }
    };
    // In time or not, the decision is made: by what is there then.
    drop(tokio::time::timeout(share, all).await);
    fetching.iter().for_each(Fetching::count);
    started.elapsed()
}

/// The placement of that key, if it reads a view whose rows are waited for.
pub(super) fn waiting<'a>(active: &'a Active, key: &str) -> Option<&'a Placement> {
    active.plan.placements.get(key).filter(|placement| waits(placement))
}

/// Whether a placement reads a view whose rows are waited for.
pub(super) fn waits(placement: &Placement) -> bool {
    placement.views.iter().any(|used| used.waits)
}

/// Half of the deadline, as any rung may use; what remains is for the decision.
fn share_of(deadline_us: i64) -> Duration {
    (Duration::from_micros(deadline_us.max(0) as u64) / 2).saturating_sub(TIMER)
}

/// Has fetched what one view lacks for a request.
fn fetch(
    active: &Active,
    placement: &Placement,
    used: &ViewUse,
    request: &Request<'_>,
    now_us: TimeUs,
    fetching: &mut Vec<Fetching>,
) {
    let Some(Bound::Table(view)) = active.view(used.view) else { return };
    let mut key = String::new();
    let mut one = |item: Option<&str>| {
        // By a feature of the item are aggregates alone, which are never fetched.
        let entity = entity_text(used.entity, request, item, &mut |_, _, _| None, &mut key);
        fetching.extend(entity.and_then(|entity| view.fetch(entity, now_us)));
    };
    if !used.entity.is_candidate() {
        return one(None);
    }
    match &request.candidates {
        Some(named) => named.iter().take(placement.max_candidates).for_each(|id| one(Some(id))),
        None => placement.actions.iter().for_each(|action| one(Some(&action.id))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_leaves_half_of_the_deadline() {
        let check = |deadline_us, expected_ms| assert_eq!(share_of(deadline_us), Duration::from_millis(expected_ms));
        check(4_000, 1);
        check(1_000, 0);
        check(1_000_000, 499);
    }
}
