//! `selvedge replay`: recorded decisions, decided again with the release they were decided with. The same bytes must come
//! out; a record that cannot be replayed says why.

use std::path::PathBuf;

use selvedge_decision::Record;
use selvedge_decision::policy::Contests;
use selvedge_decision::replay::{CannotReplay, replay};
use serde::Serialize;

use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};
use crate::recorded::{Days, Found, Source, Wanted};
use crate::releases::{Calls, Releases};

/// How many differences are told one by one.
const MAX_TOLD: u64 = 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Records without inputs are counted as skipped: a placement records the inputs of a share of its \
    decisions, and never those marked pii = true. Findings are records that come out different, or cannot be replayed for another reason. \
    A source without any decision is an error."
)]
pub(crate) struct Args {
    /// `nats` for the core's stream, a node's outbox folder, or a lake: its directory or s3://BUCKET/PREFIX.
    source: Source,
    /// A release file; one for every release that decided. They are fetched from the core when none is given.
    #[arg(long, value_name = "FILE")]
    release: Vec<PathBuf>,
    #[command(flatten)]
    days: Days,
    #[command(flatten)]
    core: CoreArgs,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip)]
    contests: Contests,
    /// Records that were decided again.
    replayed: u64,
    /// Those of them that came out different.
    different: u64,
    /// Records without inputs.
    without_inputs: u64,
    /// Records without the inputs that are a person's own.
    without_pii: u64,
    /// Records of a release that was not given, and cannot be fetched.
    other_release: u64,
    /// Records of another version of the decision core.
    other_core: u64,
    /// Records that do not fit their release, and blocks that cannot be read.
    broken: u64,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let mut releases = Releases::given(&self.release, &self.core)?;
        let mut report = Report::default();
        block_on(0, async {
            let wanted = Wanted { days: self.days, events: false };
            let mut recorded = self.source.read(&self.core, wanted).await?;
            while let Some(found) = recorded.next().await? {
                match found {
                    Found::Record(record) => report.count(&mut releases, &record, output).await,
                    Found::Event(_) => {}
                    Found::Broken(why) => report.broken(&why, output),
                }
            }
            recorded.check_any()?;
            anyhow::Ok(())
        })?;
        output.data(&report, report.text())?;
        Ok(Outcome::of(report.is_clean()))
    }
}

// === impl Report ===

impl Report {
    async fn count(&mut self, releases: &mut Releases, record: &Record, output: &Output) {
        if record.inputs.is_none() {
            self.without_inputs += 1;
            return;
        }
        let release = match releases.of(record.release, output).await {
            Ok(release) => release,
            Err(why) => {
                self.other_release += 1;
                if self.other_release == 1 {
                    output.talk(format_args!("{}: decided by {}: {why}", record.id, record.release));
                }
                return;
            }
        };
        match replay(&release.plan, record, &mut Calls(&release), &mut self.contests) {
            Ok(again) => {
                self.replayed += 1;
                if again.to_bytes() != record.to_bytes() {
                    self.different += 1;
                    if self.different <= MAX_TOLD {
                        output.talk(format_args!("{}: different: {}", record.id, difference(record, &again)));
                    }
                }
            }
            Err(CannotReplay::NoInputs(_)) => self.without_inputs += 1,
            Err(why @ CannotReplay::Pii(_)) => {
                self.without_pii += 1;
                if self.without_pii == 1 {
                    output.talk(format_args!("{}: {why}", record.id));
                }
            }
            Err(why @ CannotReplay::OtherCore(_)) => {
                self.other_core += 1;
                if self.other_core == 1 {
                    output.talk(format_args!("{}: {why}", record.id));
                }
            }
            Err(why) => self.broken(&format_args!("{}: {why}", record.id), output),
        }
    }

    fn broken(&mut self, why: &dyn std::fmt::Display, output: &Output) {
        self.broken += 1;
        if self.broken <= MAX_TOLD {
            output.talk(why);
        }
    }

    fn is_clean(&self) -> bool {
        self.different + self.other_release + self.other_core + self.broken == 0
    }

    fn text(&self) -> String {
        let mut text = format!("{} replayed, {} different", self.replayed, self.different);
        for (count, what) in [
            (self.without_inputs, "recorded without inputs"),
            (self.without_pii, "recorded without what is a person's own"),
            (self.other_release, "of a release that was not given"),
            (self.other_core, "of another version of the decision core"),
            (self.broken, "broken"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

/// The first part in which two records differ.
pub(super) fn difference(before: &Record, after: &Record) -> String {
    let parts = [
        ("reason", format!("{:?}", before.reason), format!("{:?}", after.reason)),
        ("choices", format!("{:?}", before.choices), format!("{:?}", after.choices)),
        ("values", format!("{:?}", before.values), format!("{:?}", after.values)),
        ("arm", format!("{:?}", before.arm), format!("{:?}", after.arm)),
        ("faults", format!("{:?}", before.faults), format!("{:?}", after.faults)),
        ("seed", before.seed.to_string(), after.seed.to_string()),
    ];
    let differs = parts.iter().find(|(_, before, after)| before != after);
    differs.map_or("in its bytes".into(), |(part, before, after)| format!("{part} was {before}, is {after}"))
}
