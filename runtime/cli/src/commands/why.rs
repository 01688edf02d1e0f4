//! `selvedge why`: how one recorded decision came about. Owns what is told of a record alone, and of a record and its release.

mod told;

use std::path::PathBuf;

use selvedge_decision::{DecisionId, Record};
use selvedge_node::events::Event;

use self::told::Told;
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};
use crate::recorded::{Days, Found, Source, Wanted};
use crate::releases::Releases;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A record says what was chosen and why; with its inputs and its release the decision is made again, and the rules that \
    fired, the scores and the features are told. `selvedge tail --subject ID --lane decisions` finds a person's decisions. \
    Findings are a decision that is not there, and one that comes out different."
)]
pub(crate) struct Args {
    /// The decision, as the answer said it.
    decision: DecisionId,
    /// `nats` for the core's stream, a node's outbox folder, or a lake: its directory or s3://BUCKET/PREFIX.
    #[arg(default_value = "nats")]
    source: Source,
    /// The release that decided; it is fetched from the core when it is not given.
    #[arg(long, value_name = "FILE")]
    release: Option<PathBuf>,
    #[command(flatten)]
    core: CoreArgs,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let mut releases = Releases::given(self.release.as_slice(), &self.core)?;
        block_on(0, async {
            let Some((record, brought)) = self.find(output).await? else {
                output.talk(format_args!("{}: there is no record of it", self.decision));
                return Ok(Outcome::Findings);
            };
            let release = match record.inputs.is_some() || self.release.is_some() {
                true => releases.of(record.release, output).await,
                false => Err("recorded without inputs".to_owned()),
            };
            let told = Told::new(&record, &brought, release.as_deref().map_err(Clone::clone));
            output.data(&told, &told)?;
            Ok(Outcome::of(!told.is_different()))
        })
    }

    /// The record, and what names it.
    async fn find(&self, output: &Output) -> anyhow::Result<Option<(Record, Vec<Event>)>> {
        let wanted = Wanted { days: Days::around(self.decision.time_us()), events: true };
        let mut recorded = self.source.read(&self.core, wanted).await?;
        let (mut record, mut brought) = (None, Vec::new());
        while let Some(found) = recorded.next().await? {
            match found {
                Found::Record(found) if found.id == self.decision => record = Some(*found),
                Found::Event(event) if event.decision_id == Some(self.decision) => brought.push(*event),
                Found::Record(_) | Found::Event(_) => {}
                Found::Broken(why) => output.talk(format_args!("skipped: {why}")),
            }
        }
        Ok(record.map(|record| (record, brought)))
    }
}
