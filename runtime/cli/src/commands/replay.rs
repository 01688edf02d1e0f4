//! `selvedge replay`: recorded decisions, decided again with the release they were decided with. The same bytes must come
//! out; a record that cannot be replayed says why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_build::release::{self, Limits};
use selvedge_decision::plan::Plan;
use selvedge_decision::policy::Contests;
use selvedge_decision::record::Rung;
use selvedge_decision::replay::{CannotReplay, replay};
use selvedge_decision::settle::Modules;
use selvedge_decision::{Digest, Fault, Record};
use selvedge_host::{Host, HostConfig, Module};
use selvedge_node::link::nats::events::{BlockQuery, BlocksFrom};
use selvedge_node::outbox::Lane;
use selvedge_node::outbox::reader::{Item, Reader, segments};
use serde::Serialize;

use crate::core::{CoreArgs, block_on};
use crate::files::read_file;
use crate::output::{Outcome, Output, Usage};

/// How long one call may take here: faults come from the record, so this only ends what would not end.
const CALL_BUDGET: Duration = Duration::from_secs(10);

/// How many differences are told one by one.
const MAX_TOLD: u64 = 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Records without inputs are counted as skipped: a placement records the inputs of a share of its \
    decisions, and never those marked pii = true. Findings are records that come out different, or cannot be replayed for another reason."
)]
pub(crate) struct Args {
    /// `nats` for the core's stream, or a node's outbox folder.
    source: String,
    /// A release file; one for every release that decided.
    #[arg(long, value_name = "FILE", required = true)]
    release: Vec<PathBuf>,
    #[command(flatten)]
    core: CoreArgs,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Records that were decided again.
    replayed: u64,
    /// Those of them that came out different.
    different: u64,
    /// Records without inputs.
    without_inputs: u64,
    /// Records without the inputs that are a person's own.
    without_pii: u64,
    /// Records of a release that was not given.
    other_release: u64,
    /// Records of another version of the decision core.
    other_core: u64,
    /// Records that do not fit their release, and blocks that cannot be read.
    broken: u64,
}

/// A release that decided.
struct Decided {
    plan: Plan,
    modules: Loaded,
}

/// The modules of a plan, by its index.
struct Loaded(Vec<Module>);

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let host = Host::new(HostConfig { instances: 4, ..HostConfig::default() })?;
        let releases: BTreeMap<Digest, Decided> =
            self.release.iter().map(|file| load(&host, file)).collect::<anyhow::Result<_>>()?;
        let mut reader = Reader::new();
        let mut report = Report::default();
        let mut block = |bytes: &[u8]| match reader.block(bytes) {
            Ok(entries) => {
                for entry in entries {
                    if let Item::Record(record) = entry.item {
                        report.count(&releases, &record, output);
                    }
                }
            }
            Err(bad) => report.broken(&bad, output),
        };
        let mut unreadable = Vec::new();
        if self.source == "nats" {
            let query = BlockQuery { lane: Some(Lane::Decisions), node: None, from: BlocksFrom::Start, follow: false };
            block_on(0, async {
                let nats = self.core.connect().await?;
                let mut blocks = nats.blocks(query).await?;
                while let Some(message) = blocks.next().await? {
                    block(&message.bytes);
                }
                anyhow::Ok(())
            })?;
        } else {
            let folder = Path::new(&self.source);
            let found = segments(folder).map_err(|error| Usage(format!("{}: {error}", folder.display())))?;
            for found in found {
                match found {
                    Ok(bytes) => block(&bytes),
                    Err(error) => unreadable.push(error),
                }
            }
        }
        unreadable.iter().for_each(|error| report.broken(error, output));
        output.data(&report, report.text())?;
        Ok(Outcome::of(report.is_clean()))
    }
}

fn load(host: &Host, file: &Path) -> anyhow::Result<(Digest, Decided)> {
    let limits = Limits::default();
    let files = release::open(&read_file(file, limits.max_total_bytes)?, &limits)?;
    let contents = release::definition(&files)?;
    let plan = contents.compile()?;
    let load = |name: &String| {
        let module =
            contents.modules.get(name).ok_or_else(|| anyhow::anyhow!("module {name} is not in the release"))?;
        anyhow::Ok(host.load(module.bytes, &module.file.manifest)?)
    };
    let modules = Loaded(plan.modules.iter().map(load).collect::<anyhow::Result<_>>()?);
    Ok((files.digest, Decided { plan, modules }))
}

// === impl Report ===

impl Report {
    fn count(&mut self, releases: &BTreeMap<Digest, Decided>, record: &Record, output: &Output) {
        let Some(decided) = releases.get(&record.release) else {
            self.other_release += 1;
            if self.other_release == 1 {
                output.talk(format_args!("{}: decided by {}, which was not given", record.id, record.release));
            }
            return;
        };
        match replay(&decided.plan, record, &mut Calls(&decided.modules), &mut Contests::default()) {
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
fn difference(before: &Record, after: &Record) -> String {
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

/// The calls of one replay.
struct Calls<'a>(&'a Loaded);

impl Modules for Calls<'_> {
    fn evaluate(
        &mut self,
        _: Rung,
        module: usize,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let Some(module) = self.0.0.get(module) else { return Err(Fault::Refused) };
        module.evaluate(shared, candidates, count, CALL_BUDGET)
    }
}
