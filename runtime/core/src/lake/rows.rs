//! What a row of a part is. Owns the columns of each lane, what stands in them of an item, and the way back to the item;
//! docs/lake.md has them for people.

use std::sync::{Arc, LazyLock};

use selvedge_decision::record::{ChoiceRecord, Inputs, Lot, ModelInputs, NOT_DRAWN, RungFault, ShadowRecord};
use selvedge_decision::{Fault, Reason, Record};
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

/// As [`columns`], without those that say where an item stands.
pub(super) fn own(lane: Lane) -> &'static [Spec] {
    columns(lane).get(PLACE.len()..).unwrap_or_default()
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
    ("model", Kind::Whole, Shape::Maybe),
    ("model_features", Kind::Whole, Shape::MaybeList),
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
            let ids = |ids: &[Arc<str>]| ids.iter().map(|id| 32 + id.len()).sum::<usize>();
            let inputs = record.inputs.as_ref().map_or(0, |inputs| 8 * (inputs.shared.len() + inputs.candidates.len()));
            256 + ids(&record.candidates) + 24 * record.choices.len() + 8 * record.values.len() + inputs
        }
    }
}

/// What a scorer that ran beside made of it: JSON has no number that is none, so that stands as null.
#[derive(serde::Serialize, serde::Deserialize)]
struct Beside {
    fault: Option<Fault>,
    candidate: u32,
    score: Option<f64>,
    chosen: Option<f64>,
}

impl From<&ShadowRecord> for Beside {
    fn from(shadow: &ShadowRecord) -> Self {
        let number = |number: f64| Some(number).filter(|number| !number.is_nan());
        let ShadowRecord { fault, candidate, score, chosen } = *shadow;
        Self { fault, candidate, score: number(score), chosen: number(chosen) }
    }
}

impl From<Beside> for ShadowRecord {
    fn from(beside: Beside) -> Self {
        let number = |number: Option<f64>| number.unwrap_or(f64::NAN);
        let Beside { fault, candidate, score, chosen } = beside;
        Self { fault, candidate, score: number(score), chosen: number(chosen) }
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

fn decision_row(record: &Record) -> [Cell; 32] {
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
        Cell::list(choices.iter().map(|choice| match choice.draw {
            NOT_DRAWN => Cell::Null,
            draw => Cell::Whole(draw.into()),
        })),
        Cell::list(choices.iter().map(|choice| Cell::number(choice.score))),
        Cell::list(choices.iter().map(|choice| Cell::number(choice.propensity))),
        Cell::list(record.values.iter().map(|value| Cell::number(*value))),
        Cell::list(record.faults.iter().map(|fault| Cell::text(format!("{} {}", fault.rung, fault.fault.as_str())))),
        Cell::Whole(record.max_lag_ms.into()),
        whole(record.session_seq),
        Cell::Whole(record.seed.cast_signed()),
        Cell::list(record.lots.iter().map(|lot| Cell::Whole(lot.number()))),
        Cell::maybe((!record.shadows.is_empty()).then(|| {
            let shadows: Vec<Beside> = record.shadows.iter().map(Beside::from).collect();
            serde_json::to_string(&shadows).unwrap_or_default()
        })),
        inputs.map_or(Cell::Null, |inputs| Cell::Number(inputs.rate)),
        inputs.map_or(Cell::Null, |inputs| row(&inputs.shared)),
        inputs.map_or(Cell::Null, |inputs| row(&inputs.candidates)),
        inputs.map_or(Cell::Null, |inputs| Cell::list(inputs.refused.iter().map(|view| Cell::Whole((*view).into())))),
        inputs.map_or(Cell::Null, |inputs| Cell::Whole(inputs.explores.into())),
        inputs.map_or(Cell::Null, |inputs| row(&inputs.learned)),
        record.model.as_ref().map_or(Cell::Null, |model| Cell::Whole(model.model.into())),
        record
            .model
            .as_ref()
            .map_or(Cell::Null, |model| Cell::list(model.x.iter().map(|step| Cell::Whole((*step).into())))),
    ]
}

/// The item that a row of all columns but the first three is; `None` when it is none.
pub(super) fn item(lane: Lane, row: &[Cell]) -> Option<Item> {
    match lane {
        Lane::Events | Lane::Rewards => event(row).map(Item::Event),
        Lane::Decisions => record(row).map(|record| Item::Record(Box::new(record))),
    }
}

fn event(row: &[Cell]) -> Option<Event> {
    let [received, time, name, message_id, subject, session, item, decision_id, _, _, properties, joined] = row else {
        return None;
    };
    Some(Event {
        time_us: time.as_whole()?,
        received_us: received.as_whole()?,
        name: name.as_text()?.to_owned(),
        subject: maybe(subject),
        session: maybe(session),
        item: maybe(item),
        decision_id: decision_id.as_text().map(str::parse).transpose().ok()?,
        message_id: maybe(message_id),
        properties: properties.as_text()?.to_owned(),
        joined: maybe(joined),
    })
}

fn record(row: &[Cell]) -> Option<Record> {
    let [id, time, release, core, placement, experiment, arm, subject, session, reason, rest @ ..] = row else {
        return None;
    };
    let [slots, candidates, chosen, positions, draws, scores, propensities, values, faults, rest @ ..] = rest else {
        return None;
    };
    let [lag, session_seq, seed, lots, shadows, rate, shared, rows, refused, explores, learned, model, x] = rest else {
        return None;
    };
    let model = match model.as_whole() {
        None => None,
        Some(model) => {
            let x = x.elements().iter().map(|step| i8::try_from(step.as_whole()?).ok()).collect::<Option<_>>()?;
            Some(ModelInputs { model: u32::try_from(model).ok()?, x })
        }
    };
    let candidates: Vec<Arc<str>> = texts(candidates)?;
    let places = chosen.elements().iter().zip(positions.elements().iter().zip(draws.elements()));
    let places = places.zip(scores.elements().iter().zip(propensities.elements()));
    let small = |cell: &Cell| u32::try_from(cell.as_whole()?).ok();
    let choices = places.map(|((id, (slot, draw)), (score, propensity))| {
        let candidate = candidates.iter().position(|known| id.as_text() == Some(known))?;
        let draw = if matches!(draw, Cell::Null) { NOT_DRAWN } else { small(draw)? };
        let (candidate, slot) = (u32::try_from(candidate).ok()?, small(slot)?);
        Some(ChoiceRecord { candidate, slot, draw, score: number(score), propensity: number(propensity) })
    });
    let choices = choices.collect::<Option<_>>()?;
    let shadows: Option<Vec<Beside>> = shadows.as_text().map(serde_json::from_str).transpose().ok()?;
    let inputs = match rate.as_number() {
        None => None,
        Some(rate) => Some(Inputs {
            rate,
            shared: shared.elements().iter().map(number).collect(),
            candidates: rows.elements().iter().map(number).collect(),
            refused: refused
                .elements()
                .iter()
                .map(|view| u16::try_from(view.as_whole()?).ok())
                .collect::<Option<_>>()?,
            explores: explores.as_whole()? == 1,
            learned: learned.elements().iter().map(number).collect(),
        }),
    };
    Some(Record {
        id: id.as_text()?.parse().ok()?,
        time_us: time.as_whole()?,
        seed: seed.as_whole()?.cast_unsigned(),
        release: release.as_text()?.parse().ok()?,
        core: core.as_whole()?.try_into().ok()?,
        placement: placement.as_text()?.into(),
        subject: maybe(subject),
        session: maybe(session),
        lots: lots.elements().iter().map(|cell| Lot::from_number(cell.as_whole()?)).collect::<Option<_>>()?,
        slots: slots.as_whole()?.try_into().ok()?,
        candidates,
        choices,
        values: values.elements().iter().map(number).collect(),
        reason: Reason::ALL.into_iter().find(|known| reason.as_text() == Some(known.as_str()))?,
        experiment: experiment.as_text().map(Into::into),
        arm: arm.as_text().map(Into::into),
        faults: faults.elements().iter().map(|cell| fault(cell.as_text()?)).collect::<Option<_>>()?,
        max_lag_ms: lag.as_whole()?.try_into().ok()?,
        session_seq: session_seq.as_whole()?.try_into().ok()?,
        shadows: shadows.into_iter().flatten().map(ShadowRecord::from).collect(),
        model,
        inputs,
    })
}

/// A fault such as `ladder:0 deadline`.
fn fault(text: &str) -> Option<RungFault> {
    let (call, fault) = text.split_once(' ')?;
    let rung = call.parse().ok()?;
    Some(RungFault { rung, fault: Fault::ALL.into_iter().find(|known| known.as_str() == fault)? })
}

fn maybe(cell: &Cell) -> Option<String> {
    cell.as_text().map(str::to_owned)
}

fn texts(cell: &Cell) -> Option<Vec<Arc<str>>> {
    cell.elements().iter().map(|cell| cell.as_text().map(Into::into)).collect()
}

/// A number; what is null was none.
fn number(cell: &Cell) -> f64 {
    cell.as_number().unwrap_or(f64::NAN)
}

fn whole(number: u64) -> Cell {
    Cell::Whole(number.try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use selvedge_decision::record::Rung;
    use selvedge_decision::{DecisionId, Digest, Epoch};

    use super::*;

    #[test]
    fn a_row_is_the_item_again() {
        let check = |lane: Lane, item: Item| {
            let node = "edge-1".parse().unwrap();
            let entry = Entry { node, epoch: Epoch::new(1, 2), lane, seq: 7, sealed_us: 0, item };
            let back = super::item(lane, &row(&entry)[PLACE.len()..]).unwrap();
            match (&entry.item, &back) {
                // NaN is not NaN, but its bytes are.
                (Item::Record(before), Item::Record(after)) => assert_eq!(before.to_bytes(), after.to_bytes()),
                (before, after) => assert_eq!(before, after),
            }
        };
        let event = Event {
            time_us: 1,
            received_us: 2,
            name: "purchase".into(),
            subject: Some("u-1".into()),
            session: None,
            item: Some("sku-1".into()),
            decision_id: Some(DecisionId::new(1, 2, 3)),
            message_id: Some("m".into()),
            properties: "{\"value\":2.5}".into(),
            joined: None,
        };
        check(Lane::Rewards, Item::Event(event.clone()));
        check(Lane::Events, Item::Event(Event { decision_id: None, joined: Some("{}".into()), ..event }));
        let record = Record {
            id: DecisionId::new(1, 2, 3),
            time_us: 1,
            seed: u64::MAX - 7,
            release: Digest::of(b"release"),
            core: 1,
            placement: "p".into(),
            subject: None,
            session: Some("s".into()),
            lots: vec![Lot::Slot(9_999), Lot::Out, Lot::Holdout, Lot::Arm(3)],
            slots: 2,
            candidates: vec!["a".into(), "b".into()],
            choices: vec![
                ChoiceRecord { candidate: 1, slot: 0, draw: 2, score: f64::NAN, propensity: 0.25 },
                ChoiceRecord { candidate: 0, slot: 1, draw: NOT_DRAWN, score: -0.0, propensity: 1.0 },
            ],
            values: vec![f64::NAN, 3.0],
            reason: Reason::Fallback,
            experiment: Some("e".into()),
            arm: Some("x".into()),
            faults: vec![
                RungFault { rung: Rung::Ladder(1), fault: Fault::BadOutput },
                RungFault { rung: Rung::Target(0), fault: Fault::Trap },
            ],
            max_lag_ms: 3,
            session_seq: 4,
            shadows: vec![
                ShadowRecord { fault: None, candidate: 1, score: 0.1, chosen: f64::NAN },
                ShadowRecord { fault: Some(Fault::Memory), candidate: 0, score: f64::NAN, chosen: f64::NAN },
            ],
            model: Some(ModelInputs { model: u32::MAX, x: vec![-128, 0, 127] }),
            inputs: Some(Inputs {
                rate: 0.5,
                shared: vec![f64::NAN, 1.0],
                candidates: vec![0.5, f64::INFINITY],
                refused: vec![2],
                explores: true,
                learned: vec![3.0, 0.5],
            }),
        };
        check(Lane::Decisions, Item::Record(Box::new(record.clone())));
        let bare = Record { inputs: None, choices: vec![], shadows: vec![], model: None, arm: None, ..record };
        check(Lane::Decisions, Item::Record(Box::new(bare)));
    }

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
