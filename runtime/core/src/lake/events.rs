//! The events of a whole lake, for whoever counts them again. Owns their order, in which each node told them: by node, run and
//! number, whatever the day; and which are passed by: those of erased persons, and those that came later than is asked for.

use std::collections::VecDeque;

use selvedge_decision::{Epoch, NodeId, TimeUs};
use selvedge_node::aggregates::Block;
use selvedge_node::events::Event;
use selvedge_node::outbox::Lane;

use super::erased::{Erased, ErasedError};
use super::items::{Items, ItemsError};
use super::part::Day;
use super::store::{Store, StoreError};
use crate::table::Cell;

/// Events of a block, at most.
const MOST: usize = 1_000;

/// What is read of an event; [`event`] takes it in this order.
const READ: [&str; 10] =
    ["received", "time", "event", "message_id", "subject", "session", "item", "decision_id", "properties", "joined"];

/// The events of a lake, in blocks, one part in memory at a time.
pub struct Events {
    items: Items,
    erased: Erased,
    until: TimeUs,
    /// Read ahead: the first event that is not of the block before it.
    ahead: VecDeque<(NodeId, Epoch, u64, Event)>,
    passed_by: u64,
}

/// Events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whose events are erased is not known.
    #[error(transparent)]
    Erased(#[from] ErasedError),
    /// A part cannot be read.
    #[error(transparent)]
    Items(#[from] ItemsError),
}

// === impl Events ===

impl Events {
    /// The events that nodes received up to `until`.
    pub async fn of(store: &Store, until: TimeUs) -> Result<Self, EventsError> {
        let erased = Erased::read(store).await?;
        let items = Items::of_days(store, Lane::Events, Day::of(until), &READ).await?;
        Ok(Self { items, erased, until, ahead: VecDeque::new(), passed_by: 0 })
    }

    /// The next of them, of one run and without a hole.
    pub async fn next(&mut self) -> Result<Option<Block>, EventsError> {
        let Some((node, epoch, first, event)) = self.one().await? else { return Ok(None) };
        let mut events = vec![event];
        while events.len() < MOST {
            let Some(next) = self.one().await? else { break };
            if (&next.0, next.1, next.2) != (&node, epoch, first + events.len() as u64) {
                self.ahead.push_back(next);
                break;
            }
            events.push(next.3);
        }
        Ok(Some(Block::of(node, epoch, first, events)))
    }

    /// Events of erased persons that were passed by.
    pub fn passed_by(&self) -> u64 {
        self.passed_by
    }

    async fn one(&mut self) -> Result<Option<(NodeId, Epoch, u64, Event)>, EventsError> {
        if let Some(ahead) = self.ahead.pop_front() {
            return Ok(Some(ahead));
        }
        while let Some(row) = self.items.next().await? {
            let Some((node, epoch, seq)) = self.items.place() else { continue };
            let (node, epoch) = (node.clone(), epoch);
            let Some(event) = event(&row).filter(|event| event.received_us <= self.until) else { continue };
            if self.erased.covers(event.subject.as_deref(), event.session.as_deref(), event.received_us) {
                self.passed_by += 1;
                continue;
            }
            return Ok(Some((node, epoch, seq, event)));
        }
        Ok(None)
    }
}

/// An event as it was told.
fn event(row: &[Cell]) -> Option<Event> {
    let [received, time, name, message, subject, session, item, decision, properties, joined] = row else {
        return None;
    };
    let text = |cell: &Cell| cell.as_text().map(str::to_owned);
    Some(Event {
        time_us: time.as_whole()?,
        received_us: received.as_whole()?,
        name: text(name)?,
        subject: text(subject),
        session: text(session),
        item: text(item),
        decision_id: decision.as_text().and_then(|id| id.parse().ok()),
        message_id: text(message),
        properties: text(properties).unwrap_or_else(|| "{}".to_owned()),
        joined: text(joined),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use selvedge_node::outbox::reader::{Entry, Item};

    use super::super::part::Part;
    use super::super::rows;
    use super::*;
    use crate::table::Writing;

    /// 2026-11-26T00:00:00Z.
    const MIDNIGHT_US: TimeUs = 1_795_651_200_000_000;

    /// Event `seq`: one an hour, number 5 the first of its day.
    fn event(seq: u64, subject: &str) -> Event {
        let time_us = MIDNIGHT_US + (seq as i64 - 5) * 3_600_000_000;
        Event {
            time_us: time_us - 1,
            received_us: time_us,
            name: "view_item".to_owned(),
            subject: Some(subject.to_owned()),
            session: Some("s-1".to_owned()),
            item: None,
            decision_id: "019ac000-0000-7000-8000-000000000001".parse().ok(),
            message_id: Some(format!("m-{seq}")),
            properties: "{\"value\":0.1}".to_owned(),
            joined: Some("{\"item.price\":7.01}".to_owned()),
        }
    }

    /// A part of a run, in which every third event is of `u-0`.
    async fn part(store: &Store, day: i64, node: &str, epoch: u64, seqs: std::ops::RangeInclusive<u64>) {
        let (node, epoch): (NodeId, Epoch) = (node.parse().unwrap(), Epoch(epoch));
        let lane = Lane::Events;
        let mut writing = Writing::new(Vec::new(), rows::columns(lane)).unwrap();
        for seq in seqs.clone() {
            let item = Item::Event(event(seq, &format!("u-{}", seq % 3)));
            writing.push(rows::row(&Entry { lane, seq, node: node.clone(), epoch, sealed_us: 0, item })).unwrap();
        }
        let (first, last) = (*seqs.start(), *seqs.end());
        let day = Day::of(MIDNIGHT_US + day * 86_400_000_000);
        let path = Part { lane, day, node, epoch, first, last }.path();
        store.create(&path, writing.finish().unwrap()).await.unwrap();
    }

    /// A block as [`part`] tells it.
    fn block(node: &str, epoch: u64, seqs: std::ops::RangeInclusive<u64>) -> Block {
        let events = seqs.clone().map(|seq| event(seq, &format!("u-{}", seq % 3))).collect();
        Block::of(node.parse().unwrap(), Epoch(epoch), *seqs.start(), events)
    }

    async fn read(store: &Store, until: TimeUs) -> (Vec<Block>, u64) {
        let mut events = Events::of(store, until).await.unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = events.next().await.unwrap() {
            blocks.push(block);
        }
        (blocks, events.passed_by())
    }

    #[tokio::test]
    async fn events_come_as_each_node_told_them_and_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        part(&store, 0, "edge-2", 1, 5..=6).await;
        part(&store, 0, "edge-1", 1, 5..=8).await;
        part(&store, -1, "edge-1", 1, 1..=4).await;
        // A clock that was set back: the second run begins on the day before.
        part(&store, -1, "edge-1", 2, 1..=2).await;
        // What two processes landed into one bucket for a moment, and what a compaction did not remove yet.
        part(&store, 0, "edge-1", 1, 7..=10).await;
        part(&store, 0, "edge-1", 1, 5..=6).await;
        let (second, other) = (block("edge-1", 2, 1..=2), block("edge-2", 1, 5..=6));
        let all = vec![block("edge-1", 1, 1..=10), second.clone(), other.clone()];
        assert_eq!(read(&store, TimeUs::MAX).await, (all, 0));

        // Up to a time, which here is that of number 6.
        let until = vec![block("edge-1", 1, 1..=6), second.clone(), other];
        assert_eq!(read(&store, MIDNIGHT_US + 3_600_000_000).await, (until, 0));

        // Numbers 3 and 6 are of somebody who was erased, number 9 came after that.
        Erased::mark(&store, "u-0", &[], MIDNIGHT_US + 4 * 3_600_000_000, false).await.unwrap();
        let left = [1..=2, 4..=5, 7..=10].map(|seqs| block("edge-1", 1, seqs));
        let left = [&left[..], &[second, block("edge-2", 1, 5..=5)]].concat();
        assert_eq!(read(&store, TimeUs::MAX).await, (left, 3));
    }
}
