//! `selvedge features backfill`: what the events in the stream or in a lake come to, computed again by the code that nodes and the
//! core run.

use std::path::PathBuf;
use std::time::Instant;

use selvedge_decision::TimeUs;
use selvedge_decision::layout::{FeatureKind, Field, NO_IDS, NO_SYMBOL, NO_TIME, unpack};
use selvedge_node::aggregates::{Block, Counted, Entities, Order, Part, States};
use selvedge_node::clock::Clock;
use selvedge_node::events::rfc3339;
use selvedge_node::features::Symbols;
use selvedge_node::features::entity::PAIR_SEPARATOR;
use selvedge_node::link::nats::events::{BlockQuery, BlocksFrom};
use selvedge_node::outbox::Lane;
use serde_json::{Map, Value, json};

use crate::commands::core::plan_of;
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints a JSON object for each entity, by name of aggregate, with `_key`. Reads all events that the stream still \
    has, or with --lake those that were landed, and keeps all entities in memory."
)]
pub(crate) struct Args {
    /// The release file or folder that defines the view.
    #[arg(long, value_name = "PATH")]
    release: PathBuf,
    /// The view, by session or not.
    #[arg(long, value_name = "NAME")]
    view: String,
    /// Windows are evaluated at this time, RFC 3339, and later events are left out; now when not said.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<TimeUs>,
    /// Read the events of this lake instead, a directory or s3://BUCKET/PREFIX; the core is not asked then.
    #[cfg(feature = "lake")]
    #[arg(long, value_name = "LAKE")]
    lake: Option<String>,
    #[command(flatten)]
    core: CoreArgs,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let plan = plan_of(&self.release)?;
        let views = Counted::all(&plan);
        let Some(counted) = views.into_iter().find(|counted| counted.view == self.view) else {
            return Err(Usage(format!("release {:?} has no view {:?} with aggregates", plan.name, self.view)).into());
        };
        let at = self.at.unwrap_or_else(|| Clock::new().now_us());
        let aggregates = counted.aggregates.clone();
        let mut states = States::new(counted.aggregates, counted.by, Part::WHOLE, Entities::in_memory());
        let broken = block_on(0, self.read(&mut states, at, output))?;
        let symbols = Symbols::default();
        let mut cells = vec![0; aggregates.layout().cells()];
        let whole = states.whole();
        for (entity, state) in &whole {
            aggregates.read(state, at, &|text| u64::from(symbols.intern(text)), &mut cells);
            let key = match entity.split_once(PAIR_SEPARATOR) {
                Some((a, b)) => json!([a, b]),
                None => json!(**entity),
            };
            let fields = aggregates.layout().fields().iter();
            let mut row: Map<String, Value> =
                fields.map(|field| (field.name.clone(), value(field, &cells, &symbols))).collect();
            row.insert("_key".to_owned(), key);
            output.json_line(&row)?;
        }
        output.talk(format_args!("{} events of {} entities", states.counts().events, whole.len()));
        Ok(Outcome::of(broken == 0))
    }

    /// Counts all there is; how many blocks cannot be read.
    async fn read(&self, states: &mut States, at: TimeUs, output: &Output) -> anyhow::Result<u64> {
        #[cfg(feature = "lake")]
        if let Some(place) = &self.lake {
            read_lake(place, states, at, output).await?;
            return Ok(0);
        }
        self.read_stream(states, at, output).await
    }

    async fn read_stream(&self, states: &mut States, at: TimeUs, output: &Output) -> anyhow::Result<u64> {
        let (mut order, mut broken) = (Order::default(), 0);
        let query = BlockQuery { lane: Some(Lane::Events), node: None, from: BlocksFrom::Start, follow: false };
        let nats = self.core.connect().await?;
        nats.erased(0).await?.0.iter().for_each(|person| states.erase(person));
        let mut blocks = nats.blocks(query).await?;
        while let Some(message) = blocks.next().await? {
            match Block::read(&message.bytes, message.sequence) {
                Ok(block) => states.apply(until(order.take(block, Instant::now()), at)).await?,
                Err(bad) => {
                    broken += 1;
                    output.talk(format_args!("skipped: block {}: {bad}", message.sequence));
                }
            }
        }
        // The end: what is missing does not come any more.
        states.apply(until(order.give_up_all(), at)).await?;
        let missing = order.missing();
        if missing > 0 {
            output.talk(format_args!("{missing} events are not in the stream, or not any more: counted without them"));
        }
        Ok(broken)
    }
}

/// Counts the events of a lake. They are in their order there, and each once.
#[cfg(feature = "lake")]
async fn read_lake(place: &str, states: &mut States, at: TimeUs, output: &Output) -> anyhow::Result<()> {
    let store = crate::lake::open_existing(place)?;
    let mut events = selvedge_core::lake::Events::of(&store, at).await?;
    while let Some(block) = events.next().await? {
        states.apply(vec![block]).await?;
    }
    if events.passed_by() > 0 {
        output.talk(format_args!("{} events of erased persons passed by", events.passed_by()));
    }
    Ok(())
}

/// Blocks without what came after `at`.
fn until(blocks: Vec<Block>, at: TimeUs) -> Vec<Block> {
    blocks.into_iter().map(|block| block.until(at)).collect()
}

fn value(field: &Field, cells: &[u64], symbols: &Symbols) -> Value {
    let cells = &cells[field.cell as usize..];
    let cell = cells.first().copied().unwrap_or_default();
    let number = |number: f64| if number.is_nan() { Value::Null } else { json!(number) };
    match field.kind {
        FeatureKind::Number | FeatureKind::Flag => number(f64::from_bits(cell)),
        FeatureKind::F32 => number(f64::from(unpack(cell)[0])),
        FeatureKind::Symbol if cell == NO_SYMBOL => Value::Null,
        FeatureKind::Symbol => json!(u32::try_from(cell).ok().and_then(|cell| symbols.text(cell)).as_deref()),
        FeatureKind::Time if cell == NO_TIME => Value::Null,
        FeatureKind::Time => json!(rfc3339::format(cell as TimeUs)),
        FeatureKind::Vector => {
            let values = cells.iter().flat_map(|cell| unpack(*cell)).take(field.len as usize);
            values.map(|value| number(f64::from(value))).collect()
        }
        FeatureKind::Ids if cell == NO_IDS => Value::Null,
        // As everywhere, by their hashes.
        FeatureKind::Ids => cells.iter().take(field.len as usize).filter(|id| **id != 0).map(|id| json!(id)).collect(),
        FeatureKind::Text => Value::Null,
    }
}

fn time(text: &str) -> Result<TimeUs, String> {
    rfc3339::parse(text).ok_or_else(|| format!("{text:?} is no time such as 2026-11-23T08:15:30Z"))
}
