//! `selvedge erase`: removes what is kept of a person, and tells what it removed and what it could not reach. Owns the order: first
//! it is noted that they are erased, so that whoever counts or keeps something of them lets go; then keys go; then it is looked
//! again, because what was on its way may have come meanwhile.

mod places;
mod report;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use selvedge_build::channel;
#[cfg(feature = "lake")]
use selvedge_core::lake;
use selvedge_node::clock::Clock;
use selvedge_node::features::entity::entity;
use selvedge_node::ids::{Ids, IdsKey, Kind};
use selvedge_node::link::NatsLink;
use selvedge_node::link::nats::erased::Erased;
use selvedge_node::link::nats::events::{BlockQuery, BlocksFrom, ReadFailure};
use selvedge_node::outbox::reader::{Item, Reader};

use self::places::Place;
use self::report::{Part, Report};
use crate::commands::core::{plan_of, plan_of_channel};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output, Usage};

/// How long nodes and the core have to let go of what they have in memory: they ask every second.
const LET_GO: Duration = Duration::from_millis(1_500);
/// How often it is looked whether something came again.
const ROUNDS: usize = 3;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Sessions are those that the stream tells of; name others with --session. Events and decisions in the stream stay \
    until the stream's age and are passed by from now on. docs/people.md says what is removed where, and what is not."
)]
pub(crate) struct Args {
    /// The person, as requests name them, or as the hash that their id became.
    subject: String,
    /// The key by which nodes hash ids (`ids.key`).
    #[arg(long, value_name = "FILE")]
    ids_key: Option<PathBuf>,
    /// A session of theirs, besides those that the stream tells of; may be given several times.
    #[arg(long = "session", value_name = "ID")]
    sessions: Vec<String>,
    /// The channel whose release says which views there are.
    #[arg(long, value_name = "NAME", default_value = "prod")]
    channel: String,
    /// A release file or folder that says which views there are, besides the channel's; may be given several times.
    #[arg(long = "release", value_name = "PATH")]
    releases: Vec<PathBuf>,
    /// The lake, a directory or s3://BUCKET/PREFIX: whoever reads it passes by what is older than the mark that is left there.
    #[cfg(feature = "lake")]
    #[arg(long, value_name = "PLACE")]
    lake: Option<String>,
    /// Tell what would go, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    core: CoreArgs,
}

/// What the stream tells of a person.
#[derive(Default)]
struct Told {
    reader: Reader,
    /// The last number of the stream that was read.
    read_to: u64,
    sessions: BTreeSet<String>,
    events: u64,
    decisions: u64,
    unreadable: u64,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        if !channel::is_name(&self.channel) {
            let why = format!("{:?} is no channel: a name has 1 to 64 characters of a-z, 0-9 and -", self.channel);
            return Err(Usage(why).into());
        }
        let ids = match &self.ids_key {
            Some(path) => Ids::keyed(IdsKey::read(path)?),
            None => Ids::default(),
        };
        let known_as = |kind: Kind, id: &str| {
            entity([id]).map_err(|bad| Usage(format!("{} {id:?}: {bad}", kind.as_str())))?;
            anyhow::Ok(ids.known_as(kind, id).into_owned())
        };
        let subject = known_as(Kind::Subject, &self.subject)?;
        let sessions = self.sessions.iter().map(|id| known_as(Kind::Session, id)).collect::<Result<Vec<_>, _>>()?;
        #[cfg(feature = "lake")]
        if let Some(lake) = &self.lake {
            crate::lake::open_existing(lake)?;
        }
        let report = block_on(0, self.erase(&subject, sessions, output))?;
        report.print(output)?;
        Ok(Outcome::of(report.is_whole()))
    }

    async fn erase(&self, subject: &str, sessions: Vec<String>, output: &Output) -> anyhow::Result<Report> {
        let nats = self.core.connect().await?;
        let mut plans = Vec::new();
        match plan_of_channel(&nats, &self.channel).await? {
            Some(plan) => plans.push(plan),
            None if self.releases.is_empty() => anyhow::bail!(
                "channel {} has no release, which says what views there are of people; name one with --release",
                self.channel
            ),
            None => {}
        }
        plans.extend(self.releases.iter().map(|path| plan_of(path)).collect::<Result<Vec<_>, _>>()?);
        // What was noted before stays: the stream may not tell of those sessions any more.
        let before = nats.erased(0).await?.0.into_iter().filter(|known| known.subject == subject);
        let mut told =
            Told { sessions: before.flat_map(|known| known.sessions).chain(sessions).collect(), ..Told::default() };
        let mut erased = told.erased(subject);
        if !self.dry_run {
            // First: who learns of them late passes by what they did before.
            nats.note_erased(&erased).await?;
        }
        output.talk("looking through the stream for their sessions");
        told.read_on(&nats, subject).await?;
        erased = told.erased(subject);
        if !self.dry_run {
            nats.note_erased(&erased).await?;
            tokio::time::sleep(LET_GO).await;
        }
        let mut report = Report::new(self.dry_run);
        for place in places::of(&nats, &plans, &erased).await? {
            report.add(self.clear(&nats, &place).await);
        }
        for _ in 1..ROUNDS {
            if self.dry_run || report.removed() == 0 {
                break;
            }
            // What went may have been made of events, or in a session, that came since. Who counts hears of it before this
            // ends: it lets go of a person whole, and what they do next must not be in that.
            told.read_on(&nats, subject).await?;
            erased = told.erased(subject);
            nats.note_erased(&erased).await?;
            tokio::time::sleep(LET_GO).await;
            let mut again = Vec::new();
            for place in places::of(&nats, &plans, &erased).await? {
                again.push(self.clear(&nats, &place).await);
            }
            let removed: u64 = again.iter().map(|part| part.removed).sum();
            again.into_iter().for_each(|part| report.add(part));
            if removed == 0 {
                break;
            }
        }
        report.add(told.part(&nats.config().events_stream()));
        report.add(Part::noted(&nats.config().erased_bucket(), erased.sessions.len(), self.dry_run));
        report.add(self.mark(&erased).await?);
        Ok(report)
    }

    /// Leaves the mark in the lake.
    #[cfg(feature = "lake")]
    async fn mark(&self, erased: &Erased) -> anyhow::Result<Part> {
        let Some(lake) = &self.lake else {
            return Ok(Part::left("lake", "", "not looked at: --lake leaves a mark that its readers keep to"));
        };
        let store = crate::lake::open_existing(lake)?;
        let Erased { subject, at_us, sessions } = erased;
        let path = lake::Erased::mark(&store, subject, sessions, *at_us, self.dry_run).await?;
        Ok(Part::marked(&format!("{}/{path}", lake.trim_end_matches('/')), self.dry_run))
    }

    #[cfg(not(feature = "lake"))]
    #[expect(clippy::unused_async, reason = "with the lake it waits")]
    async fn mark(&self, _: &Erased) -> anyhow::Result<Part> {
        Ok(Part::left("lake", "", "not looked at: this command was built without the lake"))
    }

    /// Removes what is in one bucket.
    async fn clear(&self, nats: &NatsLink, place: &Place) -> Part {
        let mut part = Part::bucket(&place.bucket);
        let keys = match nats.keys_like(&place.bucket, &place.patterns).await {
            Ok(keys) => keys,
            Err(error) => return part.failed(error.to_string()),
        };
        part.found = keys.len() as u64;
        if let Some(why) = place.unsure.filter(|_| part.found > 0) {
            return part.failed(why.to_owned());
        }
        for key in keys.iter().filter(|_| !self.dry_run) {
            match nats.purge_key(&place.bucket, key).await {
                Ok(ends) => {
                    part.removed += 1;
                    if !ends {
                        part.note = Some("the keys stay as marks without a value".to_owned());
                    }
                }
                Err(error) => return part.failed(error.to_string()),
            }
        }
        part
    }
}

// === impl Told ===

impl Told {
    /// The person, erased now.
    fn erased(&self, subject: &str) -> Erased {
        let sessions = self.sessions.iter().cloned().collect();
        Erased { subject: subject.to_owned(), at_us: Clock::new().now_us(), sessions }
    }

    /// Reads what of the stream was not read yet.
    async fn read_on(&mut self, nats: &NatsLink, subject: &str) -> anyhow::Result<()> {
        let query = BlockQuery { from: BlocksFrom::After(self.read_to), ..BlockQuery::default() };
        let mut blocks = match nats.blocks(query).await {
            Ok(blocks) => blocks,
            Err(ReadFailure::NoStream(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(message) = blocks.next().await? {
            self.read_to = message.sequence;
            let Ok(entries) = self.reader.block(&message.bytes) else {
                self.unreadable += 1;
                continue;
            };
            for entry in entries {
                let (whose, session, count) = match entry.item {
                    Item::Event(event) => (event.subject, event.session, &mut self.events),
                    Item::Record(record) => (record.subject, record.session, &mut self.decisions),
                };
                if whose.as_deref() == Some(subject) {
                    *count += 1;
                    self.sessions.extend(session);
                }
            }
        }
        Ok(())
    }

    fn part(&self, stream: &str) -> Part {
        let mut why = format!(
            "events: {}, decisions: {}; they stay until the stream's age, and are passed by",
            self.events, self.decisions
        );
        if self.unreadable > 0 {
            why.push_str(&format!("; blocks that cannot be read: {}", self.unreadable));
        }
        let part = Part { found: self.events + self.decisions, ..Part::left("stream", stream, &why) };
        if self.unreadable > 0 { part.failed(why) } else { part }
    }
}
