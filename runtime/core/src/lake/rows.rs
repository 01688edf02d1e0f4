//! What a row of a part is. Owns the columns of each lane and what stands in them of an item; docs/lake.md has them for people.

use std::sync::LazyLock;

use selvedge_decision::Record;
use selvedge_decision::record::{Lot, Rung};
use selvedge_node::events::Event;
use selvedge_node::outbox::Lane;
use selvedge_node::outbox::reader::{Entry, Item};
use serde_json::Value;

use super::part::Day;
use crate::table::{Cell, Kind, Shape, Spec};

/// The columns of a lane's parts, in order.
pub(super) fn columns(lane: Lane) -> &'static [Spec] {
    static EVENTS: LazyLock<Vec<Spec>> = LazyLock::new(|| specs(&[PLACE, EVENT]));
    static DECISIONS: LazyLock<Vec<Spec>> = LazyLock::new(|| specs(&[PLACE, DECISION]));
    match lane {
        Lane::Events | Lane::Rewards => &EVENTS,
        Lane::Decisions => &DECISIONS,
    }
}

type Columns = &'static [(&'static str, Kind, Shape)];

/// Where an item stands in the order.
const PLACE: Columns =
    &[("node", Kind::Text, Shape::One), ("epoch", Kind::Text, Shape::One), ("seq", Kind::Whole, Shape::One)];

const EVENT: Columns = &[
    ("received", Kind::Time, Shape::One),
    ("time", Kind::Time, Shape::One),
    ("event", Kind::Text, Shape::One),
    ("message_id", Kind::Text, Shape::Maybe),
    ("subject", Kind::Text, Shape::Maybe),
    ("session", Kind::Text, Shape::Maybe),
    ("item", Kind::Text, Shape::Maybe),
    ("decision_id", Kind::Text, Shape::Maybe),
    ("value", Kind::Number, Shape::Maybe),
    ("currency", Kind::Text, Shape::Maybe),
    ("properties", Kind::Json, Shape::One),
    ("joined", Kind::Json, Shape::Maybe),
];

const DECISION: Columns = &[
    ("decision_id", Kind::Text, Shape::One),
    ("time", Kind::Time, Shape::One),
    ("release", Kind::Text, Shape::One),
    ("core", Kind::Whole, Shape::One),
    ("placement", Kind::Text, Shape::One),
    ("experiment", Kind::Text, Shape::Maybe),
    ("arm", Kind::Text, Shape::Maybe),
    ("subject", Kind::Text, Shape::Maybe),
    ("session", Kind::Text, Shape::Maybe),
    ("reason", Kind::Text, Shape::One),
    ("slots", Kind::Whole, Shape::One),
    ("candidates", Kind::Text, Shape::List),
    ("choices", Kind::Text, Shape::List),
    ("positions", Kind::Whole, Shape::List),
    ("draws", Kind::Whole, Shape::List),
    ("scores", Kind::Number, Shape::List),
    ("propensities", Kind::Number, Shape::List),
    ("values", Kind::Number, Shape::List),
    ("faults", Kind::Text, Shape::List),
    ("max_lag_ms", Kind::Whole, Shape::One),
    ("session_seq", Kind::Whole, Shape::One),
    ("seed", Kind::Unsigned, Shape::One),
    ("lots", Kind::Whole, Shape::List),
    ("shadows", Kind::Json, Shape::Maybe),
    ("inputs_rate", Kind::Number, Shape::Maybe),
    ("inputs_shared", Kind::Number, Shape::MaybeList),
    ("inputs_candidates", Kind::Number, Shape::MaybeList),
    ("inputs_refused", Kind::Whole, Shape::MaybeList),
    ("inputs_explores", Kind::Whole, Shape::Maybe),
    ("inputs_learned", Kind::Number, Shape::MaybeList),
];

fn specs(parts: &[Columns]) -> Vec<Spec> {
    parts.iter().flat_map(|part| part.iter()).map(|(name, kind, shape)| Spec::new(*name, *kind, *shape)).collect()
}

/// The day of an item: that of an event's receipt or of a decision, by the node's clock.
pub(super) fn day(item: &Item) -> Day {
    Day::of(match item {
        Item::Event(event) => event.received_us,
        Item::Record(record) => record.time_us,
    })
}

/// What an item weighs in memory, in bytes, about.
pub(super) fn weight(item: &Item) -> usize {
    match item {
        Item::Event(event) => event.weight(),
        Item::Record(record) => {
            let ids = |ids: &[std::sync::Arc<str>]| ids.iter().map(|id| 32 + id.len()).sum::<usize>();
            let inputs = record.inputs.as_ref().map_or(0, |inputs| 8 * (inputs.shared.len() + inputs.candidates.len()));
            256 + ids(&record.candidates) + 24 * record.choices.len() + 8 * record.values.len() + inputs
        }
    }
}

/// An item's row.
pub(super) fn row(entry: &Entry) -> Vec<Cell> {
    let mut row = vec![Cell::text(entry.node.as_str()), Cell::text(entry.epoch.to_string()), whole(entry.seq)];
    match &entry.item {
        Item::Event(event) => row.extend(event_row(event)),
        Item::Record(record) => row.extend(decision_row(record)),
    }
    row
}

fn event_row(event: &Event) -> [Cell; 12] {
    let properties: Option<Value> = serde_json::from_str(&event.properties).ok();
    let property = |name: &str| properties.as_ref().and_then(|properties| properties.get(name));
    [
        Cell::Whole(event.received_us),
        Cell::Whole(event.time_us),
        Cell::text(&event.name),
        Cell::maybe(event.message_id.as_deref()),
        Cell::maybe(event.subject.as_deref()),
        Cell::maybe(event.session.as_deref()),
        Cell::maybe(event.item.as_deref()),
        Cell::maybe(event.decision_id.map(|id| id.to_string())),
        property("value").and_then(Value::as_f64).map_or(Cell::Null, Cell::Number),
        Cell::maybe(property("currency").and_then(Value::as_str)),
        Cell::text(&event.properties),
        Cell::maybe(event.joined.as_deref()),
    ]
}

fn decision_row(record: &Record) -> [Cell; 30] {
    let choices = &record.choices;
    let chosen = choices.iter().map(|choice| Cell::maybe(record.candidates.get(choice.candidate as usize)));
    let inputs = record.inputs.as_ref();
    let row = |row: &[f64]| Cell::list(row.iter().map(|number| Cell::Number(*number)));
    [
        Cell::text(record.id.to_string()),
        Cell::Whole(record.time_us),
        Cell::text(record.release.to_string()),
        Cell::Whole(record.core.into()),
        Cell::text(&record.placement),
        Cell::maybe(record.experiment.as_deref()),
        Cell::maybe(record.arm.as_deref()),
        Cell::maybe(record.subject.as_deref()),
        Cell::maybe(record.session.as_deref()),
        Cell::text(record.reason.as_str()),
        Cell::Whole(record.slots.into()),
        Cell::list(record.candidates.iter().map(Cell::text)),
        Cell::list(chosen),
        Cell::list(choices.iter().map(|choice| Cell::Whole(choice.slot.into()))),
        Cell::list(choices.iter().map(|choice| Cell::Whole(choice.draw.into()))),
        Cell::list(choices.iter().map(|choice| Cell::number(choice.score))),
        Cell::list(choices.iter().map(|choice| Cell::number(choice.propensity))),
        Cell::list(record.values.iter().map(|value| Cell::number(*value))),
        Cell::list(record.faults.iter().map(|fault| {
            let (rung, index) = match fault.rung {
                Rung::Rules(index) => ("rules", index),
                Rung::Ladder(index) => ("ladder", index),
                Rung::Target(index) => ("experiment", index),
                Rung::Shadow(index) => ("shadow", index),
            };
            Cell::text(format!("{rung}:{index} {}", fault.fault.as_str()))
        })),
        Cell::Whole(record.max_lag_ms.into()),
        whole(record.session_seq),
        Cell::Whole(record.seed.cast_signed()),
        Cell::list(record.lots.iter().map(|lot| {
            Cell::Whole(match lot {
                Lot::Out => -1,
                Lot::Holdout => -2,
                Lot::Slot(slot) => i64::from(*slot),
                Lot::Arm(arm) => 100_000 + i64::from(*arm),
            })
        })),
        Cell::maybe((!record.shadows.is_empty()).then(|| serde_json::to_string(&record.shadows).unwrap_or_default())),
        inputs.map_or(Cell::Null, |inputs| Cell::Number(inputs.rate)),
        inputs.map_or(Cell::Null, |inputs| row(&inputs.shared)),
        inputs.map_or(Cell::Null, |inputs| row(&inputs.candidates)),
        inputs.map_or(Cell::Null, |inputs| Cell::list(inputs.refused.iter().map(|view| Cell::Whole((*view).into())))),
        inputs.map_or(Cell::Null, |inputs| Cell::Whole(inputs.explores.into())),
        inputs.map_or(Cell::Null, |inputs| row(&inputs.learned)),
    ]
}

fn whole(number: u64) -> Cell {
    Cell::Whole(number.try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_on_the_page() {
        let page = include_str!("../../../../docs/lake.md");
        for (lane, heading) in [(Lane::Events, "## Columns of events"), (Lane::Decisions, "## Columns of decisions")] {
            let section = page.split(heading).nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
            for column in columns(lane) {
                assert!(section.contains(&format!("\n| `{}` |", column.name)), "{heading}: no row {}", column.name);
            }
        }
    }
}
