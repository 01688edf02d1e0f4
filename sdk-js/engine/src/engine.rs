//! One page's engine: a release, the rows it holds, and the decisions it makes by them. Owns the page's clock and the ids it mints;
//! must not know JavaScript, so that tests run the very same code natively.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use selvedge_decision::definition::Unit;
use selvedge_decision::gather::{Request, Rows};
use selvedge_decision::page::{BadPage, Held, PageRelease, PageRows, Tables, Whose};
use selvedge_decision::policy::Contests;
use selvedge_decision::record::Record;
use selvedge_decision::replay::{CannotReplay, replay_at};
use selvedge_decision::settle::{Learned, Modules};
use selvedge_decision::sorted::Sorted;
use selvedge_decision::{BadRequest, DecisionId, Moment, TimeUs, World, decide};

pub use selvedge_decision::gather::ContextValue as Value;
pub use selvedge_decision::page::Ask;

/// The largest record that keeps its inputs, in bytes: in base64 it still fits into what a page may send when it is left.
const MOST_BYTES: usize = 40_000;

const FORM: &str = "bad_field: not what this engine was built for";
const PLACEMENT: &str = "unknown_placement: the page cannot decide this placement";
const ROWS: &str = "not_ready: the rows of a view did not come yet";

/// A page's engine.
#[derive(Debug)]
pub struct Engine {
    release: PageRelease,
    tables: Tables,
    me: Me,
    learned: Counts,
    frozen: Vec<String>,
    clock: Clock,
    /// 32 random bits of the page, and the number of the next decision.
    mint: (u32, u32),
    rows: Rows,
    contests: Contests,
}

/// By bandit and action: rewards and misses.
type Counts = Sorted<u32, Vec<(Arc<str>, [f64; 2])>>;

/// Who looks at the page, as the node knows them.
#[derive(Debug, Default)]
struct Me {
    subject: Option<String>,
    session: Option<String>,
}

/// The node's time by the page's clock: a page's own time may be wrong by a day.
#[derive(Debug, Default)]
struct Clock {
    /// What is added to the page's clock.
    ahead_us: i64,
    /// The last time that was told; time does not go back.
    last_us: TimeUs,
}

/// Why a page gets no decision, as its JavaScript reads it: the code that the node's API has for it, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// What the release's bandits know.
struct Known<'a> {
    counts: &'a Counts,
    contests: &'a mut Contests,
}

// === impl Engine ===

impl Engine {
    /// Of a release as the node tells it. `tag` is 32 random bits of this page, `count` the number of its first decision: random as
    /// well.
    ///
    /// # Errors
    ///
    /// When the bytes are something else, or of another version of the decision core.
    pub fn new(release: &[u8], tag: u32, count: u32) -> Result<Self, BadPage> {
        Ok(Self {
            release: PageRelease::from_bytes(release)?,
            tables: Tables::default(),
            me: Me::default(),
            learned: Counts::default(),
            frozen: Vec::new(),
            clock: Clock::default(),
            mint: (tag, count),
            rows: Rows::default(),
            contests: Contests::default(),
        })
    }

    /// Takes rows as the node answered them. `now_us` is the page's clock in microseconds, from whenever it likes.
    ///
    /// # Errors
    ///
    /// When the bytes are something else, or rows of another release.
    pub fn take(&mut self, rows: &[u8], now_us: i64) -> Result<(), BadPage> {
        let rows = PageRows::from_bytes(rows, self.release.release)?;
        self.tables.take(&self.release, &rows, now_us)?;
        self.clock.ahead_us = rows.time_us.saturating_sub(now_us);
        if rows.own {
            self.me = Me { subject: rows.subject.map(str::to_owned), session: rows.session.map(str::to_owned) };
            self.override_arms(&rows.overrides);
        }
        for (bandit, counts) in &rows.learned {
            let counts = counts.iter().map(|(action, counts)| (Arc::from(*action), *counts)).collect();
            self.learned.insert(*bandit, counts);
        }
        self.frozen = rows.frozen.iter().map(|placement| (*placement).to_owned()).collect();
        Ok(())
    }

    /// Decides one placement: the record, from which the answer is read, and which goes back to the node as it is.
    ///
    /// # Errors
    ///
    /// What a node refuses with a 4xx, and what a page cannot decide.
    pub fn decide(&mut self, ask: &[u8], now_us: i64, modules: &mut dyn Modules) -> Result<Vec<u8>, Refused> {
        let ask = Ask::from_bytes(ask).ok_or_else(|| Refused::new(FORM))?;
        let placement = self.release.placements.get(ask.placement).ok_or_else(|| Refused::new(PLACEMENT))?;
        if placement.views.iter().any(|used| self.lacks(used.view as u32)) {
            return Err(Refused::new(ROWS));
        }
        let taken: Vec<Arc<str>> = ask.taken.iter().map(|id| Arc::from(*id)).collect();
        let request = Request {
            subject: self.me.subject.as_deref(),
            session: self.me.session.as_deref(),
            context: ask.context,
            candidates: ask.candidates,
            taken: &taken,
            slots: ask.slots.map(|slots| slots as usize),
            tz_offset_min: ask.tz_offset_min,
        };
        let time_us = self.clock.time_us(now_us);
        let (tag, count) = self.mint;
        let moment = Moment {
            id: DecisionId::of_a_page(time_us, tag, count),
            time_us,
            release: self.release.release,
            explain: false,
            explores: !self.frozen.iter().any(|frozen| frozen == ask.placement),
        };
        self.tables.at(now_us);
        let world = World {
            features: &Held { release: &self.release, tables: &self.tables },
            modules,
            learned: &mut Known { counts: &self.learned, contests: &mut self.contests },
        };
        let mut record = decide(placement, &request, moment, world, &mut self.rows)?.record;
        self.mint.1 = count.wrapping_add(1);
        let bytes = record.to_bytes();
        if bytes.len() > MOST_BYTES && record.inputs.take().is_some() {
            return Ok(record.to_bytes());
        }
        Ok(bytes)
    }

    /// Decides a record again, by the inputs in it: the bytes of what comes out.
    ///
    /// # Errors
    ///
    /// When the record says too little, or is of another release's placement.
    pub fn replay(&mut self, record: &[u8], modules: &mut dyn Modules) -> Result<Vec<u8>, Refused> {
        let record = Record::from_bytes(record).map_err(|_| Refused::new(FORM))?;
        let placement = self.release.placements.get(&*record.placement).ok_or_else(|| Refused::new(PLACEMENT))?;
        Ok(replay_at(placement, record, modules, &mut self.contests)?.to_bytes())
    }

    /// The arms that experiments have for this subject and session, whatever they fall into: a release's own list names others.
    fn override_arms(&mut self, overrides: &[(&str, u32, u32)]) {
        for placement in self.release.placements.values_mut() {
            placement.experiments.iter_mut().for_each(|experiment| experiment.overrides.clear());
        }
        for (placement, experiment, arm) in overrides {
            let Some(placement) = self.release.placements.get_mut(*placement) else { continue };
            let Some(experiment) = placement.experiments.get_mut(*experiment as usize) else { continue };
            let unit = match experiment.unit {
                Unit::Subject => &self.me.subject,
                Unit::Session => &self.me.session,
            };
            if let Some(unit) = unit {
                experiment.overrides.insert(unit.clone(), *arm as usize);
            }
        }
    }

    /// Whether rows of a view did not come that are there for somebody who was named.
    fn lacks(&self, view: u32) -> bool {
        let is_named = match self.release.views.get(&view).map(|view| view.whose) {
            Some(Whose::Subject) => self.me.subject.is_some(),
            Some(Whose::Session) => self.me.session.is_some(),
            Some(Whose::All) | None => true,
        };
        is_named && !self.tables.holds(view)
    }

    /// The number of the next decision.
    pub fn next_count(&self) -> u32 {
        self.mint.1
    }

    /// How many outputs a row of each module's answer has.
    pub fn outputs(&self) -> &Sorted<u32, u32> {
        &self.release.modules
    }
}

// === impl Clock ===

impl Clock {
    fn time_us(&mut self, now_us: i64) -> TimeUs {
        self.last_us = self.last_us.max(now_us.saturating_add(self.ahead_us));
        self.last_us
    }
}

// === impl Refused ===

impl Refused {
    fn new(why: &str) -> Self {
        Self(why.to_owned())
    }

    /// The text that JavaScript gets.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl From<BadRequest> for Refused {
    /// In few words and without numbers: text formatting is code that pages fetch.
    fn from(bad: BadRequest) -> Self {
        let (why, id) = match bad {
            BadRequest::NoCandidates => ("no_candidates: this placement ranks the items that the request names", None),
            BadRequest::TooManyCandidates { .. } => ("out_of_bounds: more candidates than this placement takes", None),
            BadRequest::UnknownAction { id, .. } => ("unknown_action: this placement has no action ", Some(id)),
            BadRequest::Twice { id, .. } => ("duplicate_candidate: stands twice: ", Some(id)),
            BadRequest::NoUnit(unit) => ("missing_unit: this placement needs ", Some(unit.to_owned())),
        };
        let mut refused = Self::new(why);
        refused.0.push_str(id.as_deref().unwrap_or_default());
        refused
    }
}

impl From<CannotReplay> for Refused {
    fn from(_: CannotReplay) -> Self {
        Self::new("bad_record: it has no inputs, or those of something else")
    }
}

// === impl Known ===

impl Learned for Known<'_> {
    fn learned(&mut self, bandit: usize, ids: &[Arc<str>], _: &[i8]) -> Vec<[f64; 2]> {
        let counts = self.counts.get(&(bandit as u32));
        let of = |id: &Arc<str>| counts?.iter().find(|(action, _)| action == id).map(|(_, counts)| *counts);
        ids.iter().map(|id| of(id).unwrap_or_default()).collect()
    }

    fn contests(&mut self) -> &mut Contests {
        self.contests
    }
}
