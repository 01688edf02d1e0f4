//! `selvedge tail`: events, decisions and rewards, each once, from the core's stream or from a node's outbox folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use selvedge_decision::NodeId;
use selvedge_node::events::rfc3339;
use selvedge_node::ids::{Ids, IdsKey, Kind};
use selvedge_node::link::nats::events::{BlockQuery, BlocksFrom};
use selvedge_node::outbox::reader::{Entry, Item, Reader, segments};
use selvedge_node::outbox::{Lane, write_line};

use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One lane instead of all.
    #[arg(long, value_enum)]
    lane: Option<LaneName>,
    /// One node instead of all.
    #[arg(long, value_name = "NAME")]
    node: Option<NodeId>,
    /// What was told of this person: events they did, decisions made for them.
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// The key by which nodes hash ids of people: the subject is looked for as they know it, and as it is.
    #[arg(long, value_name = "FILE", requires = "subject")]
    ids_key: Option<PathBuf>,
    /// Wait for more at the end.
    #[arg(long, short)]
    follow: bool,
    /// Where to begin; `now` with --follow and `start` without, when not said.
    #[arg(long, value_enum)]
    from: Option<Begin>,
    /// Read a node's outbox folder, or one with its segments, instead of the core.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["follow", "from"])]
    dir: Option<PathBuf>,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LaneName {
    Events,
    Decisions,
    Rewards,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Begin {
    /// The oldest that is there.
    Start,
    /// The next that arrives.
    Now,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let whose = Whose::of(self.subject.as_deref(), self.ids_key.as_deref())?;
        let mut printer = Printer { reader: Reader::new(), output: *output, whose, broken: 0 };
        match &self.dir {
            Some(dir) => self.read_folder(dir, &mut printer)?,
            None => self.read_core(&mut printer)?,
        }
        if printer.broken > 0 {
            output.talk(format_args!("{} blocks cannot be read", printer.broken));
        }
        Ok(Outcome::of(printer.broken == 0))
    }

    fn read_folder(&self, dir: &Path, printer: &mut Printer) -> anyhow::Result<()> {
        let lane = self.lane.map(Lane::from);
        for block in segments(dir).map_err(|error| Usage(format!("{}: {error}", dir.display())))? {
            match block {
                Ok(block) => printer.block(&block, lane, self.node.as_ref())?,
                Err(error) => printer.skip(&error),
            }
        }
        Ok(())
    }

    fn read_core(&self, printer: &mut Printer) -> anyhow::Result<()> {
        let from = match self.from.unwrap_or(if self.follow { Begin::Now } else { Begin::Start }) {
            Begin::Start => BlocksFrom::Start,
            Begin::Now => BlocksFrom::Now,
        };
        let query = BlockQuery { lane: self.lane.map(Lane::from), node: self.node.clone(), from, follow: self.follow };
        block_on(0, async {
            let nats = self.core.connect().await?;
            let mut blocks = nats.blocks(query).await?;
            loop {
                let next = tokio::select! {
                    next = blocks.next() => next?,
                    // Ctrl-C is how a follower ends, and not a failure.
                    _ = tokio::signal::ctrl_c() => return Ok(()),
                };
                let Some(message) = next else { return Ok(()) };
                printer.block(&message.bytes, None, None)?;
            }
        })
    }
}

impl From<LaneName> for Lane {
    fn from(name: LaneName) -> Self {
        match name {
            LaneName::Events => Self::Events,
            LaneName::Decisions => Self::Decisions,
            LaneName::Rewards => Self::Rewards,
        }
    }
}

/// Whose items are printed: the ids that name the person, or none for everybody's.
struct Whose(Vec<String>);

/// Prints every item once.
struct Printer {
    reader: Reader,
    output: Output,
    whose: Whose,
    broken: u64,
}

// === impl Whose ===

impl Whose {
    fn of(subject: Option<&str>, key: Option<&Path>) -> anyhow::Result<Self> {
        let Some(subject) = subject else { return Ok(Self(Vec::new())) };
        let mut ids = vec![subject.to_owned()];
        if let Some(key) = key {
            ids.push(Ids::keyed(IdsKey::read(key)?).known_as(Kind::Subject, subject).into_owned());
        }
        Ok(Self(ids))
    }

    fn have(&self, item: &Item) -> bool {
        let subject = match item {
            Item::Event(event) => &event.subject,
            Item::Record(record) => &record.subject,
        };
        self.0.is_empty() || subject.as_ref().is_some_and(|subject| self.0.contains(subject))
    }
}

// === impl Printer ===

impl Printer {
    fn block(&mut self, bytes: &[u8], lane: Option<Lane>, node: Option<&NodeId>) -> anyhow::Result<()> {
        let entries = match self.reader.block(bytes) {
            Ok(entries) => entries,
            Err(bad) => {
                self.skip(&bad);
                return Ok(());
            }
        };
        let wanted = |entry: &&Entry| {
            let is_there = lane.is_none_or(|lane| entry.lane == lane) && node.is_none_or(|node| entry.node == *node);
            is_there && self.whose.have(&entry.item)
        };
        let mut text = Vec::new();
        for entry in entries.iter().filter(wanted) {
            if self.output.is_json() {
                write_line(entry, &mut text)?;
            } else {
                writeln!(text, "{}", printable(&line(entry)))?;
            }
        }
        self.output.bytes(&text)
    }

    fn skip(&mut self, why: &dyn std::fmt::Display) {
        self.broken += 1;
        self.output.talk(format_args!("skipped: {why}"));
    }
}

/// A line that a terminal takes as text, whatever a client sent in it.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// An entry for people.
fn line(entry: &Entry) -> String {
    let place = format!("{} {} {}", entry.node, entry.lane.as_str(), entry.seq);
    let who = |subject: Option<&str>, session: Option<&str>| {
        let part = |name: &str, value: Option<&str>| value.map(|value| format!(" {name}={value}")).unwrap_or_default();
        format!("{}{}", part("subject", subject), part("session", session))
    };
    match &entry.item {
        Item::Event(event) => {
            let item = event.item.as_deref().map(|item| format!(" item={item}")).unwrap_or_default();
            let who = who(event.subject.as_deref(), event.session.as_deref());
            let time = rfc3339::format(event.time_us);
            format!("{time} {place} {}{who}{item} {}", event.name, event.properties)
        }
        Item::Record(record) => {
            let chosen = record.choices.iter().map(|choice| {
                let id = record.candidates.get(choice.candidate as usize);
                let id: &str = id.map_or("?", |id| id);
                if choice.score.is_nan() { id.to_owned() } else { format!("{id} ({:.4})", choice.score) }
            });
            let chosen: Vec<_> = chosen.collect();
            let who = who(record.subject.as_deref(), record.session.as_deref());
            let faults: String = record.faults.iter().map(|fault| format!(" fault={}", fault.fault)).collect();
            let time = rfc3339::format(record.time_us);
            let (placement, reason) = (&record.placement, record.reason.as_str());
            format!("{time} {place} {placement} {reason}{who}{faults} -> {}", chosen.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_person_is_known_by_the_id_and_by_its_hash() {
        let check = |whose: &Whose, subject: Option<&str>, expected: bool| {
            let event = selvedge_node::events::Event {
                time_us: 0,
                received_us: 0,
                name: "view_item".into(),
                subject: subject.map(str::to_owned),
                session: Some("u-1".into()),
                item: None,
                decision_id: None,
                message_id: None,
                properties: "{}".into(),
                joined: None,
            };
            assert_eq!(whose.have(&Item::Event(event)), expected, "{subject:?}");
        };
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("ids.key");
        crate::files::write_new(&key, 0o600, &IdsKey::generate().unwrap()).unwrap();
        let hash = IdsKey::read(&key).unwrap().hash(Kind::Subject, "u-1");
        let all = Whose::of(None, None).unwrap();
        check(&all, None, true);
        let plain = Whose::of(Some("u-1"), None).unwrap();
        check(&plain, Some("u-1"), true);
        check(&plain, Some(&hash), false);
        check(&plain, None, false);
        let keyed = Whose::of(Some("u-1"), Some(&key)).unwrap();
        check(&keyed, Some("u-1"), true);
        check(&keyed, Some(&hash), true);
        check(&keyed, Some("u-2"), false);
    }

    #[test]
    fn no_client_writes_to_the_terminal() {
        assert_eq!(printable("a \u{1b}[2J b\u{9b}c"), "a \u{fffd}[2J b\u{fffd}c");
    }
}
