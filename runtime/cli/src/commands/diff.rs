//! `selvedge diff`: what changes from one release to another, on decisions that were recorded. Owns the flags; the run is
//! `compare::study`'s, the words are `told`'s.

mod told;

use crate::compare::earned::Wish;
use crate::compare::study::{Study, pair};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};
use crate::recorded::{Days, Source, Wanted};

pub(super) use self::told::Told;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Recorded decisions with inputs are made again by both releases, on this machine. What B reads and no record has is \
    named and counted, never guessed. Value is estimated from logged propensities; where they cannot say anything, that is told, \
    and why. Findings are that nothing could be compared; a source without any decision is an error. docs/replay.md has how to read it."
)]
pub(crate) struct Args {
    /// A release file, or the digest of a release at the core.
    a: String,
    /// The other one.
    b: String,
    /// `nats` for the core's stream, a node's outbox folder, or a lake: its directory or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "SOURCE")]
    replay: Source,
    /// A kind of reward that counts, such as purchase, or purchase=7d with its window; when not said, of each placement every kind that
    /// its decisions had or its policy learns by.
    #[arg(long, value_name = "KIND[=WINDOW]")]
    reward: Vec<Wish>,
    #[command(flatten)]
    days: Days,
    #[command(flatten)]
    core: CoreArgs,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let comparison = block_on(0, async {
            let (a, b, releases) = pair([&self.a, &self.b], &self.core, output).await?;
            let mut recorded = self.replay.read(&self.core, Wanted { days: self.days, events: true }).await?;
            let wishes = Some(&*self.reward).filter(|wishes| !wishes.is_empty());
            let comparison = Study::new(a, b, releases, output).read(&mut recorded, wishes).await?;
            recorded.check_any()?;
            anyhow::Ok(comparison)
        })?;
        output.data(&comparison, Told(&comparison))?;
        Ok(Outcome::of(comparison.compared > 0))
    }
}
