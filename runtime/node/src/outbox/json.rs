//! Items as JSON lines, for people and for the local link. One way only: "the same bytes" speaks of the binary record, and
//! JSON has no NaN (`null` here).

use std::io;
use std::sync::Arc;

use selvedge_decision::record::{ChoiceRecord, Inputs, ModelInputs, NOT_DRAWN, RungFault, ShadowRecord};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Lane;
use super::reader::{Entry, Item};
use crate::events::rfc3339;

#[derive(Serialize)]
struct Line<'a> {
    node: &'a str,
    #[serde(serialize_with = "display")]
    epoch: selvedge_decision::Epoch,
    lane: Lane,
    seq: u64,
    #[serde(flatten)]
    item: ItemLine<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ItemLine<'a> {
    Event(EventLine<'a>),
    Record(Box<RecordLine<'a>>),
}

#[derive(Serialize)]
struct EventLine<'a> {
    event: &'a str,
    timestamp: String,
    received: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    properties: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct RecordLine<'a> {
    decision_id: String,
    /// Whether a page decided it, and no node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    in_a_page: bool,
    time: String,
    /// As text: most readers of JSON keep only 53 bits of a number.
    seed: String,
    release: String,
    core: u32,
    placement: &'a str,
    subject: Option<&'a str>,
    session: Option<&'a str>,
    lots: Vec<i64>,
    slots: u32,
    candidates: &'a [Arc<str>],
    choices: Vec<ChoiceLine<'a>>,
    values: &'a [f64],
    reason: &'static str,
    experiment: Option<&'a str>,
    arm: Option<&'a str>,
    faults: Vec<FaultLine>,
    max_lag_ms: u32,
    session_seq: u64,
    shadows: &'a [ShadowRecord],
    model: Option<&'a ModelInputs>,
    inputs: Option<&'a Inputs>,
}

#[derive(Serialize)]
struct ChoiceLine<'a> {
    id: Option<&'a str>,
    slot: u32,
    /// Null for what was pinned.
    draw: Option<u32>,
    score: f64,
    propensity: f64,
}

#[derive(Serialize)]
struct FaultLine {
    rung: String,
    fault: &'static str,
}

/// Appends `entry` as one line of JSON with its line break.
pub fn write_line(entry: &Entry, to: &mut Vec<u8>) -> io::Result<()> {
    let item = match &entry.item {
        Item::Event(event) => ItemLine::Event(EventLine {
            event: &event.name,
            timestamp: rfc3339::format(event.time_us),
            received: rfc3339::format(event.received_us),
            subject: event.subject.as_deref(),
            session: event.session.as_deref(),
            item: event.item.as_deref(),
            decision_id: event.decision_id.map(|id| id.to_string()),
            message_id: event.message_id.as_deref(),
            properties: serde_json::from_str(&event.properties)?,
            joined: event.joined.as_deref().map(serde_json::from_str).transpose()?,
        }),
        Item::Record(record) => ItemLine::Record(Box::new(RecordLine {
            decision_id: record.id.to_string(),
            in_a_page: record.id.is_of_a_page(),
            time: rfc3339::format(record.time_us),
            seed: record.seed.to_string(),
            release: record.release.to_string(),
            core: record.core,
            placement: &record.placement,
            subject: record.subject.as_deref(),
            session: record.session.as_deref(),
            lots: record.lots.iter().map(|lot| lot.number()).collect(),
            slots: record.slots,
            candidates: &record.candidates,
            choices: record.choices.iter().map(|choice| choice_line(choice, &record.candidates)).collect(),
            values: &record.values,
            reason: record.reason.as_str(),
            experiment: record.experiment.as_deref(),
            arm: record.arm.as_deref(),
            faults: record.faults.iter().map(fault_line).collect(),
            max_lag_ms: record.max_lag_ms,
            session_seq: record.session_seq,
            shadows: &record.shadows,
            model: record.model.as_ref(),
            inputs: record.inputs.as_ref(),
        })),
    };
    let line = Line { node: entry.node.as_str(), epoch: entry.epoch, lane: entry.lane, seq: entry.seq, item };
    let start = to.len();
    if let Err(error) = serde_json::to_writer(&mut *to, &line) {
        to.truncate(start);
        return Err(error.into());
    }
    to.push(b'\n');
    Ok(())
}

fn choice_line<'a>(choice: &ChoiceRecord, candidates: &'a [Arc<str>]) -> ChoiceLine<'a> {
    ChoiceLine {
        id: candidates.get(choice.candidate as usize).map(|id| &**id),
        slot: choice.slot,
        draw: Some(choice.draw).filter(|draw| *draw != NOT_DRAWN),
        score: choice.score,
        propensity: choice.propensity,
    }
}

fn fault_line(fault: &RungFault) -> FaultLine {
    FaultLine { rung: fault.rung.to_string(), fault: fault.fault.as_str() }
}

fn display<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
