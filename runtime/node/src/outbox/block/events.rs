//! The columns of events and rewards. The struct's fields, in order, are the body of such a block; read `block.rs` first.

use serde::{Deserialize, Serialize};

use selvedge_decision::DecisionId;

use super::BadBlock;
use super::columns::{Budget, Column, TextWriter, Texts, delta, read, undelta};
use crate::events::Event;

/// The first version with a column `joined`; before, a body ends where its length, 0, would stand.
const WITH_JOINED: u8 = 3;

/// One element an event in every column, but for the texts and the decision ids.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Columns {
    /// All texts of the block, each once.
    text: String,
    /// Bytes of each text.
    text_bytes: Vec<u32>,
    /// `time_us` of the event, as delta.
    time_us: Vec<i64>,
    /// `received_us`, as the difference from the same event's `time_us`.
    received_us: Vec<i64>,
    /// Text of the name.
    name: Vec<u32>,
    /// Text of the subject, 0 for none.
    subject: Vec<u32>,
    /// Text of the session, 0 for none.
    session: Vec<u32>,
    /// Text of the item, 0 for none.
    item: Vec<u32>,
    /// 1 where there is a decision id, else 0.
    decision: Vec<u8>,
    /// First 8 bytes of each decision id, big-endian, as delta.
    decision_high: Vec<i64>,
    /// Last 8 bytes of each decision id, big-endian, as delta.
    decision_low: Vec<i64>,
    /// Text of the sender's id, 0 for none.
    message_id: Vec<u32>,
    /// Text of the properties: a JSON object.
    properties: Vec<u32>,
    /// Text of what was joined, a JSON object, 0 for nothing; no elements when no event of the block has any.
    joined: Vec<u32>,
}

/// Appends the columns of `events` to `raw`.
pub(super) fn encode(events: &[Event], raw: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let mut texts = TextWriter::with_capacity(events.len());
    let mut columns = Columns::default();
    let (mut time, mut high, mut low) = (0, 0, 0);
    for event in events {
        columns.time_us.push(delta(event.time_us as u64, &mut time));
        columns.received_us.push(event.received_us.wrapping_sub(event.time_us));
        columns.name.push(texts.number(&event.name));
        columns.subject.push(texts.optional(event.subject.as_deref()));
        columns.session.push(texts.optional(event.session.as_deref()));
        columns.item.push(texts.optional(event.item.as_deref()));
        columns.decision.push(u8::from(event.decision_id.is_some()));
        if let Some(id) = event.decision_id {
            let (id_high, id_low) = halves(id);
            columns.decision_high.push(delta(id_high, &mut high));
            columns.decision_low.push(delta(id_low, &mut low));
        }
        columns.message_id.push(texts.optional(event.message_id.as_deref()));
        columns.properties.push(texts.number(&event.properties));
    }
    if events.iter().any(|event| event.joined.is_some()) {
        columns.joined = events.iter().map(|event| texts.optional(event.joined.as_deref())).collect();
    }
    columns.text = texts.text;
    columns.text_bytes = texts.bytes;
    *raw = postcard::to_extend(&columns, std::mem::take(raw))?;
    Ok(())
}

/// The `count` events of a body.
pub(super) fn decode(bytes: &[u8], count: usize, version: u8) -> Result<Vec<Event>, BadBlock> {
    let columns: Columns = if version < WITH_JOINED { read(&[bytes, &[0]].concat())? } else { read(bytes)? };
    let texts = Texts::new(&columns.text, &columns.text_bytes)?;
    let mut budget = Budget::new();
    budget.take(count.saturating_mul(64))?;
    let mut time_us = Column::new("time_us", columns.time_us);
    let mut received_us = Column::new("received_us", columns.received_us);
    let mut name = Column::new("name", columns.name);
    let mut subject = Column::new("subject", columns.subject);
    let mut session = Column::new("session", columns.session);
    let mut item = Column::new("item", columns.item);
    let mut decision = Column::new("decision", columns.decision);
    let mut decision_high = Column::new("decision_high", columns.decision_high);
    let mut decision_low = Column::new("decision_low", columns.decision_low);
    let mut message_id = Column::new("message_id", columns.message_id);
    let mut properties = Column::new("properties", columns.properties);
    let any_joined = !columns.joined.is_empty();
    let mut joined = Column::new("joined", columns.joined);
    let (mut time, mut high, mut low) = (0, 0, 0);
    let mut events = Vec::new();
    for _ in 0..count {
        let at_us = undelta(time_us.one()?, &mut time) as i64;
        events.push(Event {
            time_us: at_us,
            received_us: at_us.wrapping_add(received_us.one()?),
            name: texts.take(name.one()?, &mut budget)?,
            subject: texts.optional(subject.one()?, &mut budget)?,
            session: texts.optional(session.one()?, &mut budget)?,
            item: texts.optional(item.one()?, &mut budget)?,
            decision_id: match decision.one()? {
                0 => None,
                1 => Some(join(undelta(decision_high.one()?, &mut high), undelta(decision_low.one()?, &mut low))),
                _ => return Err(BadBlock::Columns("decision is neither 0 nor 1".to_owned())),
            },
            message_id: texts.optional(message_id.one()?, &mut budget)?,
            properties: texts.take(properties.one()?, &mut budget)?,
            joined: if any_joined { texts.optional(joined.one()?, &mut budget)? } else { None },
        });
    }
    time_us.end()?;
    received_us.end()?;
    name.end()?;
    subject.end()?;
    session.end()?;
    item.end()?;
    decision.end()?;
    decision_high.end()?;
    decision_low.end()?;
    message_id.end()?;
    properties.end()?;
    joined.end()?;
    Ok(events)
}

/// A decision id as two big-endian numbers, which ids minted one after another hardly change.
pub(super) fn halves(id: DecisionId) -> (u64, u64) {
    let half = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| id.0[at + i]));
    (half(0), half(8))
}

/// The id of two numbers.
pub(super) fn join(high: u64, low: u64) -> DecisionId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    DecisionId(id)
}
