//! Where recorded decisions are read from: the core's stream, a node's outbox folder, or a lake. Owns what a SOURCE is, and that
//! every item comes once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use selvedge_decision::{Record, TimeUs};
use selvedge_node::events::Event;
use selvedge_node::events::rfc3339;
use selvedge_node::link::nats::events::{BlockMessages, BlockQuery, BlocksFrom};
use selvedge_node::outbox::Lane;
use selvedge_node::outbox::reader::{Item, Reader, Segments, segments};

use crate::core::CoreArgs;
use crate::output::Usage;

const DAY_US: TimeUs = 86_400_000_000;
const A_SOURCE: &str = "a SOURCE is `nats`, a node's outbox folder (what the core does not have yet), or a lake";

/// How long after a decision something that it brought may still come, at most, for those who ask for that: a week.
pub(crate) const BROUGHT_WITHIN_US: TimeUs = 7 * DAY_US;

/// Where items are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The core's stream.
    Nats,
    /// A node's outbox folder.
    Folder(PathBuf),
    /// A lake.
    #[cfg(feature = "lake")]
    Lake(String),
}

/// The days that are asked for, in UTC; all of them when nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Days {
    /// The first day of decisions, in UTC.
    #[arg(id = "since", long = "since", value_name = "DAY", value_parser = day)]
    from: Option<TimeUs>,
    /// Their last day.
    #[arg(id = "until", long = "until", value_name = "DAY", value_parser = day)]
    to: Option<TimeUs>,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Decisions of these days.
    pub(crate) days: Days,
    /// Whether events come, too, from those days on and for a week after them.
    pub(crate) events: bool,
}

/// One thing that was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// A decision.
    Record(Box<Record>),
    /// An event that names one.
    Event(Box<Event>),
    /// What cannot be read, and why.
    Broken(String),
}

/// Items as they are read.
pub(crate) struct Recorded {
    from: From,
    reader: Reader,
    ready: VecDeque<Found>,
    wanted: Wanted,
    /// What is read, for people.
    of: String,
    /// Whether a decision that is asked for was found, or what cannot be read and may be one.
    any: bool,
}

enum From {
    Nats(Box<BlockMessages>),
    Folder(Segments),
    #[cfg(feature = "lake")]
    Lake(Box<selvedge_core::lake::Recorded>),
}

// === impl Source ===

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text == "nats" {
            return Ok(Self::Nats);
        }
        #[cfg(feature = "lake")]
        if text.contains("://") || is_lake(Path::new(text)) {
            return Ok(Self::Lake(text.to_owned()));
        }
        Ok(Self::Folder(PathBuf::from(text)))
    }
}

/// Whether a directory is a lake's: it has a folder for a lane, or says how far it is landed.
#[cfg(feature = "lake")]
fn is_lake(folder: &Path) -> bool {
    let lanes = [Lane::Decisions, Lane::Events, Lane::Rewards].map(Lane::as_str);
    folder.join("position.json").is_file() || lanes.iter().any(|lane| folder.join(lane).is_dir())
}

impl Source {
    /// Begins to read.
    pub(crate) async fn read(&self, core: &CoreArgs, wanted: Wanted) -> anyhow::Result<Recorded> {
        if let (Some(from), Some(to)) = (wanted.days.from, wanted.days.to)
            && to < from
        {
            return Err(Usage("--until is before --since".to_owned()).into());
        }
        let from = match self {
            Self::Nats => {
                let lane = (!wanted.events).then_some(Lane::Decisions);
                let query = BlockQuery { lane, node: None, from: BlocksFrom::Start, follow: false };
                From::Nats(Box::new(core.connect().await?.blocks(query).await?))
            }
            Self::Folder(folder) => From::Folder(open(folder)?),
            #[cfg(feature = "lake")]
            Self::Lake(place) => {
                use selvedge_core::lake::{Recorded, Store, StoreError};
                let store = Store::open_existing(place).map_err(|error| match error {
                    StoreError::BadPlace { .. } => Usage(error.to_string()).into(),
                    other => anyhow::Error::from(other),
                })?;
                let lanes = [Lane::Decisions, Lane::Rewards, Lane::Events];
                let lanes = if wanted.events { &lanes[..] } else { &lanes[..1] };
                let days = wanted.days;
                let recorded = Recorded::of(&store, lanes, |lane, day| days.may_have(lane, day.start_us())).await?;
                From::Lake(Box::new(recorded))
            }
        };
        Ok(Recorded { from, reader: Reader::new(), ready: VecDeque::new(), wanted, of: self.to_string(), any: false })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nats => f.write_str("nats"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            #[cfg(feature = "lake")]
            Self::Lake(place) => f.write_str(place),
        }
    }
}

/// The segments of a folder, which is a node's outbox folder or its data folder.
fn open(folder: &Path) -> anyhow::Result<Segments> {
    let inside = folder.join("outbox");
    let folder = if inside.is_dir() { &inside } else { folder };
    Ok(segments(folder).map_err(|error| Usage(format!("{}: {error}; {A_SOURCE}", folder.display())))?)
}

// === impl Recorded ===

impl Recorded {
    /// The next record, event or what cannot be read; `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Found>> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(Some(found));
            }
            let block = match &mut self.from {
                From::Nats(blocks) => match blocks.next().await? {
                    Some(message) => Ok(message.bytes),
                    None => return Ok(None),
                },
                From::Folder(segments) => match segments.next() {
                    Some(block) => block.map(Into::into).map_err(|error| error.to_string()),
                    None => return Ok(None),
                },
                #[cfg(feature = "lake")]
                From::Lake(recorded) => match recorded.next().await? {
                    Some(item) => {
                        self.take(item);
                        continue;
                    }
                    None => return Ok(None),
                },
            };
            match block.and_then(|bytes| self.reader.block(&bytes).map_err(|error| error.to_string())) {
                Ok(entries) => entries.into_iter().for_each(|entry| self.take(entry.item)),
                Err(why) => {
                    self.any = true;
                    self.ready.push_back(Found::Broken(why));
                }
            }
        }
    }

    /// Whether there was anything to judge by, for those to whom nothing found is nothing wrong: a path that is not the right one
    /// would pass.
    pub(crate) fn check_any(&self) -> Result<(), Usage> {
        if self.any {
            return Ok(());
        }
        let of_days = if self.wanted.days == Days::default() { "" } else { " of the days that are asked for" };
        Err(Usage(format!("{}: there is no decision{of_days} in it; {A_SOURCE}", self.of)))
    }

    fn take(&mut self, item: Item) {
        let Wanted { days, events } = self.wanted;
        match item {
            Item::Record(record) if days.have(record.time_us) => {
                self.any = true;
                self.ready.push_back(Found::Record(record));
            }
            Item::Event(event) if events && event.decision_id.is_some_and(|id| days.have(id.time_us())) => {
                self.ready.push_back(Found::Event(Box::new(event)));
            }
            Item::Record(_) | Item::Event(_) => {}
        }
    }
}

// === impl Days ===

impl Days {
    /// The days in which a decision of this time is recorded.
    pub(crate) fn around(time_us: TimeUs) -> Self {
        let day = |time_us: TimeUs| time_us.div_euclid(DAY_US) * DAY_US;
        // A clock that was put right between the id and the record.
        Self { from: Some(day(time_us.saturating_sub(DAY_US))), to: Some(day(time_us.saturating_add(DAY_US))) }
    }

    /// Whether a decision of this time is asked for.
    fn have(self, time_us: TimeUs) -> bool {
        self.from.is_none_or(|from| time_us >= from) && self.to.is_none_or(|to| time_us < to.saturating_add(DAY_US))
    }

    /// Whether the day that begins then may have what is asked for.
    #[cfg(feature = "lake")]
    fn may_have(self, lane: Lane, start_us: TimeUs) -> bool {
        let after_us = if lane == Lane::Decisions { 0 } else { BROUGHT_WITHIN_US };
        let to = self.to.map(|to| to.saturating_add(after_us));
        self.from.is_none_or(|from| start_us >= from) && to.is_none_or(|to| start_us <= to)
    }
}

fn day(text: &str) -> Result<TimeUs, String> {
    let time = if text.len() == 10 { rfc3339::parse(&format!("{text}T00:00:00Z")) } else { None };
    time.ok_or_else(|| format!("{text:?} is not a day such as 2026-11-26"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_source_is_told_by_what_is_there() {
        let check = |text: &str, expected: Source| assert_eq!(text.parse::<Source>().unwrap(), expected);
        check("nats", Source::Nats);
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        check(place, Source::Folder(folder.path().to_owned()));
        #[cfg(feature = "lake")]
        {
            std::fs::create_dir(folder.path().join("decisions")).unwrap();
            check(place, Source::Lake(place.to_owned()));
            check("s3://shop/lake", Source::Lake("s3://shop/lake".to_owned()));
        }
    }

    #[test]
    fn days_are_whole_and_in_utc() {
        let us = |text: &str| rfc3339::parse(text).unwrap();
        let days = Days { from: Some(day("2026-11-26").unwrap()), to: Some(day("2026-11-27").unwrap()) };
        let check = |time: &str, expected: bool| assert_eq!(days.have(us(time)), expected, "{time}");
        check("2026-11-25T23:59:59.999999Z", false);
        check("2026-11-26T00:00:00Z", true);
        check("2026-11-27T23:59:59.999999Z", true);
        check("2026-11-28T00:00:00Z", false);
        assert!(
            Days::default().have(i64::MIN) && Days::around(us("2026-11-26T12:00:00Z")).have(us("2026-11-27T23:00:00Z"))
        );
        assert!(day("2026-11").is_err() && day("2026-13-26").is_err());
    }
}
