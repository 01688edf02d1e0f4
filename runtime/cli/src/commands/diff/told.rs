//! A comparison, for people.

use std::fmt;

use selvedge_build::off_policy::Interval;
use selvedge_decision::definition::Span;

use crate::compare::changes::{Comparison, Placed};
use crate::compare::worth::Value;
use crate::table::short;

/// Lines of one kind that are told of a placement; `--json` has more.
const SHOWN: usize = 8;

/// A comparison, told.
pub(crate) struct Told<'a>(pub(crate) &'a Comparison);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.0;
        write!(f, "A {}, B {}: ", short(&of.a), short(&of.b))?;
        write!(f, "{} decisions compared, {} changed{}", of.compared, of.changed, share(of.changed, of.compared))?;
        if of.skipped.no_placement > 0 {
            write!(f, ", {} of placements that neither has", of.skipped.no_placement)?;
        }
        if of.skipped.broken > 0 {
            write!(f, ", {} blocks cannot be read", of.skipped.broken)?;
        }
        of.placements.iter().try_for_each(|(key, placed)| placement(f, key, placed))?;
        if of.values_left_out > 0 {
            write!(
                f,
                "\n\nleft out: {} values by kinds of reward that none of the placement's decisions had; --reward KIND tells one",
                of.values_left_out
            )?;
        }
        Ok(())
    }
}

fn placement(f: &mut fmt::Formatter<'_>, key: &str, placed: &Placed) -> fmt::Result {
    write!(f, "\n\n{key}: {} of {} decisions compared", placed.compared, placed.recorded)?;
    if placed.without_inputs > 0 {
        write!(f, ", {} recorded without inputs", placed.without_inputs)?;
    }
    if placed.gone > 0 {
        write!(f, "\n  B does not have this placement: {} decisions", placed.gone)?;
    }
    for (why, count) in &placed.not_compared {
        write!(f, "\n  not compared: {count}: {why}")?;
    }
    if placed.of_pages_different > 0 {
        write!(f, "\n  left out: {} that pages say they made and that do not replay", placed.of_pages_different)?;
    }
    if placed.compared == 0 {
        return Ok(());
    }
    let changed = share(placed.changed, placed.compared);
    write!(f, "\n  changed: {}{changed}, the first choice in {}", placed.changed, placed.first_changed)?;
    for rule in placed.rules.iter().take(SHOWN) {
        write!(
            f,
            "\n    rule {} row {}: fired only in A {}, only in B {}",
            rule.module, rule.row, rule.in_a, rule.in_b
        )?;
    }
    for scorer in placed.scorers.iter().take(SHOWN) {
        let name = |scorer: &Option<String>| scorer.clone().unwrap_or_else(|| "no scorer".to_owned());
        let (a, b) = (name(&scorer.a), name(&scorer.b));
        let told = if a == b { format!("{a} in both") } else { format!("{a} -> {b}") };
        write!(f, "\n    scored by {told}: {}", scorer.decisions)?;
    }
    for input in placed.inputs.iter().take(SHOWN) {
        let (agree, looked_at) = (input.agree, placed.looked_at);
        write!(f, "\n    without {} both choose the same in {agree} of {looked_at} looked at", input.input)?;
    }
    let (before, after) = (&placed.before, &placed.after);
    let percent = |rate: f64| format!("{:.2} %", rate * 100.0);
    write!(f, "\n  fallback: {} -> {}", percent(before.fallback_rate), percent(after.fallback_rate))?;
    write!(f, ", empty: {} -> {}", percent(before.empty_rate), percent(after.empty_rate))?;
    for (name, side) in [("A", before), ("B", after)] {
        for (fault, count) in side.faults.iter().take(SHOWN) {
            write!(f, "\n    fault in {name}: {fault}: {count}")?;
        }
    }
    let cpu = |side: &crate::compare::changes::Side| {
        format!("{:.1} us (p50 {:.1}, p99 {:.1})", side.cpu_us.mean, side.cpu_us.p50, side.cpu_us.p99)
    };
    write!(f, "\n  cpu of a decision: {} -> {}, {:.2} x", cpu(before), cpu(after), placed.cpu_ratio)?;
    if placed.of_pages > 0 {
        write!(f, "\n  {} were decided in pages: left out of the value", placed.of_pages)?;
    }
    placed.value.iter().try_for_each(|(kind, of)| value(f, kind, of))
}

fn value(f: &mut fmt::Formatter<'_>, kind: &str, value: &Value) -> fmt::Result {
    let window = Span::from_us(value.window_us);
    write!(f, "\n  value by {kind} within {window}: {:.6} a decision as logged", value.logged)?;
    if !value.insufficient.is_empty() {
        write!(f, "\n    insufficient evidence:")?;
        return value.insufficient.iter().try_for_each(|why| write!(f, "\n      {why}"));
    }
    let interval = |of: Interval| format!("{:.6} [{:.6}, {:.6}]", of.value, of.low, of.high);
    for (name, a, b, change) in [
        ("SNIPS", value.a.snips, value.b.snips, value.change.snips),
        ("doubly robust", value.a.doubly_robust, value.b.doubly_robust, value.change.doubly_robust),
    ] {
        write!(f, "\n    {name}: A {}, B {}, change {}", interval(a), interval(b), interval(change))?;
    }
    write!(f, "\n    effective sample size of B: {:.0} of {}", value.b.ess, value.b.decisions)
}

fn share(part: u64, all: u64) -> String {
    if all == 0 { String::new() } else { format!(" ({:.1} %)", part as f64 / all as f64 * 100.0) }
}
