//! What the core holds in the end: every item of the events stream, each (node, epoch, lane, seq) once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use selvedge_decision::{Epoch, Record};
use selvedge_node::clock::Clock;
use selvedge_node::events::Event;
use selvedge_node::link::nats::events::{BlockMessages, BlockQuery, ReadFailure};
use selvedge_node::link::{NatsConfig, NatsLink};
use selvedge_node::outbox::Lane;
use selvedge_node::outbox::reader::{Item, Reader};

const CONNECT: Duration = Duration::from_secs(10);

/// The stream as far as it was read; it can be read on.
pub struct Stream {
    link: Arc<NatsLink>,
    messages: Option<BlockMessages>,
    reader: Reader,
    /// Events and rewards.
    pub events: Vec<Event>,
    /// The place of each event: its run, its lane, and its number there.
    pub places: Vec<(Epoch, Lane, u64)>,
    /// Decision records.
    pub records: Vec<Record>,
}

// === impl Stream ===

impl Stream {
    /// Connects to the core at `nats`; nothing is read yet.
    pub async fn open(nats: &str) -> Result<Self> {
        let config = NatsConfig { url: nats.to_owned(), ..NatsConfig::default() };
        let link = NatsLink::connect(config, &Clock::new()).await?;
        ensure!(link.connected(CONNECT).await, "the core at {nats} does not answer");
        Ok(Self {
            link,
            messages: None,
            reader: Reader::new(),
            events: Vec::new(),
            places: Vec::new(),
            records: Vec::new(),
        })
    }

    /// Reads what arrived since the last time.
    pub async fn read_on(&mut self) -> Result<()> {
        if self.messages.is_none() {
            self.messages = match self.link.blocks(BlockQuery::default()).await {
                Ok(messages) => Some(messages),
                // No node has told anything yet.
                Err(ReadFailure::NoStream(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
        }
        let Some(messages) = &mut self.messages else { return Ok(()) };
        loop {
            let message = match messages.next().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(error) => {
                    // From the start again next time; what was read is known.
                    self.messages = None;
                    return Err(error.into());
                }
            };
            for entry in self.reader.block(&message.bytes)? {
                match entry.item {
                    Item::Event(event) => {
                        self.events.push(event);
                        self.places.push((entry.epoch, entry.lane, entry.seq));
                    }
                    Item::Record(record) => self.records.push(*record),
                }
            }
        }
    }

    /// How often each message id is among the events.
    pub fn times_by_message_id(&self) -> BTreeMap<&str, u32> {
        let mut times = BTreeMap::new();
        for id in self.events.iter().filter_map(|event| event.message_id.as_deref()) {
            *times.entry(id).or_default() += 1;
        }
        times
    }
}
