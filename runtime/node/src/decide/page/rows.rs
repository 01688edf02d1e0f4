//! The rows a page decides by, as they are read and written: everybody's, or those of who looks at it. Owns how much of them there may
//! be, and that no cell goes out which no placement of the page reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use selvedge_decision::TimeUs;
use selvedge_decision::definition::Unit;
use selvedge_decision::layout::{NO_SYMBOL, OTHER_SYMBOL};
use selvedge_decision::page::{PAGE_VERSION, PageRelease, PageRows, PageTable, PageView, Whose};
use selvedge_decision::plan::Placement;
use selvedge_decision::policy::Contests;

use super::{Asked, One, page_of};
use crate::decide::active::{Active, Bound};
use crate::decide::{Decider, Refused};
use crate::features::Fetching;

/// How long rows of who looks at a page are waited for, where the core has to be asked.
const WAIT: Duration = Duration::from_millis(500);

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum BadRows {
    /// No release.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// More than a page may get.
    #[error(
        "the rows of its views are more than {limit} bytes (http.max_page_rows): a page does not decide by so many; leave \
         browser = true off the largest view, and nodes decide"
    )]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// Rows as they were read.
pub(super) struct Rows {
    time_us: TimeUs,
    texts: Vec<Arc<str>>,
    views: Vec<Read>,
}

/// Rows of one view.
struct Read {
    view: u32,
    lag_us: i64,
    rows: Vec<(Arc<str>, TimeUs)>,
    cells: Vec<u8>,
}

/// Reads rows for a page.
struct Reader<'a> {
    active: &'a Active,
    now_us: TimeUs,
    /// Bytes that are left.
    left: usize,
    limit: usize,
    texts: Vec<Arc<str>>,
    /// By the node's number of a text: its index among `texts`.
    numbers: HashMap<u64, u64, FixedState>,
    row: Vec<u64>,
}

// === impl Decider ===

impl Decider {
    /// The rows of somebody by which a page decides, in the form of [`PageRows`].
    ///
    /// # Errors
    ///
    /// When the node has no release, or when there are more.
    pub async fn page_rows_of(&self, asked: Asked<'_>) -> Result<Vec<u8>, BadRows> {
        let Asked { one, allowed, limit } = asked;
        let active = self.releases.of(asked.unit()).ok_or(Refused::NotReady)?;
        let answer = page_of(&active, allowed).await?;
        fetch(&active, &answer.page, one, self.clock.now_us()).await;
        let rows = Rows::of_one(&active, &answer.page, one, self.clock.now_us(), limit)?;
        Ok(rows.whole(&active, &answer.page, Some(one)).to_bytes())
    }
}

/// Has what the core alone has of somebody fetched, and waits for it.
async fn fetch(active: &Active, page: &PageRelease, one: One<'_>, now_us: TimeUs) {
    let mut fetching = begin_fetching(active, page, one, now_us);
    let all = async {
        for one in &mut fetching {
            one.over().await;
        }
    };
    // In time or not: without a row, a page decides by defaults as a node does.
    drop(tokio::time::timeout(WAIT, all).await);
}

/// Asks the core for what it alone has of somebody: nothing where all is here.
pub(super) fn begin_fetching(active: &Active, page: &PageRelease, one: One<'_>, now_us: TimeUs) -> Vec<Fetching> {
    let own = page.views.iter().filter_map(|(at, view)| Some((active.view(*at as usize)?, whom(view, one)?)));
    let fetching = own.filter_map(|(view, one)| match view {
        Bound::Table(table) => table.fetch(one, now_us),
        Bound::Sessions(_) => None,
    });
    fetching.collect()
}

/// Whose row of a view is one's own.
fn whom<'a>(view: &PageView, (subject, session): One<'a>) -> Option<&'a str> {
    match view.whose {
        Whose::All => None,
        Whose::Subject => subject,
        Whose::Session => session,
    }
}

// === impl Rows ===

impl Rows {
    /// Everybody's, those that are the same for every page.
    pub(super) fn of_all(active: &Active, page: &PageRelease, now_us: TimeUs, limit: usize) -> Result<Self, BadRows> {
        let mut reader = Reader::new(active, now_us, limit);
        let views = page.views.iter().filter(|(_, view)| view.whose == Whose::All);
        let views = views.map(|(at, view)| reader.all(*at, view)).collect::<Result<_, _>>()?;
        Ok(Self { time_us: now_us, texts: reader.texts, views })
    }

    /// Those of somebody, as they are here.
    pub(super) fn of_one(
        active: &Active,
        page: &PageRelease,
        one: One<'_>,
        now_us: TimeUs,
        limit: usize,
    ) -> Result<Self, BadRows> {
        let mut reader = Reader::new(active, now_us, limit);
        let views = page.views.iter().filter_map(|(at, view)| Some((*at, view, whom(view, one)?)));
        let views = views.map(|(at, view, one)| reader.one(at, view, one)).collect::<Result<_, _>>()?;
        Ok(Self { time_us: now_us, texts: reader.texts, views })
    }

    /// The answer, with what else changes while a release runs; `of` says whose rows they are, if not everybody's.
    pub(super) fn whole<'a>(&'a self, active: &'a Active, page: &'a PageRelease, of: Option<One<'a>>) -> PageRows<'a> {
        let (subject, session) = of.unwrap_or_default();
        let placements = || active.plan.placements.iter().filter(|(key, _)| page.placements.contains_key(*key));
        let mut learned = Vec::new();
        for (_, placement) in placements() {
            let ids: Vec<Arc<str>> = placement.actions.iter().map(|action| action.id.clone()).collect();
            for bandit in placement.ways.iter().filter_map(|way| way.policy.bandit) {
                let counts = active.learned(bandit, &ids, &[], &mut Contests::default());
                let known = placement.actions.iter().zip(counts).map(|(action, counts)| (&*action.id, counts));
                learned.push((bandit as u32, known.collect()));
            }
        }
        let overridden = |(key, placement): (&'a String, &'a Placement)| {
            let arms = placement.experiments.iter().zip(0..).filter_map(move |(experiment, at)| {
                let unit = match experiment.unit {
                    Unit::Subject => subject,
                    Unit::Session => session,
                };
                Some((key.as_str(), at, *experiment.overrides.get(unit?)? as u32))
            });
            arms.collect::<Vec<_>>()
        };
        PageRows {
            version: PAGE_VERSION,
            release: page.release.0,
            time_us: self.time_us,
            own: of.is_some(),
            subject,
            session,
            texts: self.texts.iter().map(|text| &**text).collect(),
            tables: self.views.iter().map(Read::table).collect(),
            learned,
            frozen: placements().map(|(key, _)| key.as_str()).filter(|key| !active.explores(key)).collect(),
            overrides: placements().flat_map(overridden).collect(),
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn new(active: &'a Active, now_us: TimeUs, limit: usize) -> Self {
        let (texts, numbers, row) = (Vec::new(), HashMap::default(), Vec::new());
        Self { active, now_us, left: limit, limit, texts, numbers, row }
    }

    /// The rows of all entities.
    fn all(&mut self, at: u32, view: &PageView) -> Result<Read, BadRows> {
        let Some(Bound::Table(table)) = self.active.view(at as usize) else { return Ok(Read::empty(at, 0)) };
        let mut read = Read::empty(at, table.lag_us(self.now_us));
        // An entity weighs a byte at least: before looking at each, too many are refused by their number alone.
        let mut entities = table.entities(self.left).map_err(|_| BadRows::TooMany { limit: self.limit })?;
        entities.sort_unstable();
        for entity in entities {
            self.row.clear();
            self.row.resize(view.cells as usize, 0);
            let Some(time_us) = table.read(&entity, &mut self.row, self.now_us) else { continue };
            self.push(view, entity, time_us, &mut read)?;
        }
        Ok(read)
    }

    /// The row of one, if there is one.
    fn one(&mut self, at: u32, view: &PageView, entity: &str) -> Result<Read, BadRows> {
        self.row.clear();
        self.row.resize(view.cells as usize, 0);
        let (time_us, lag_us) = match self.active.view(at as usize) {
            Some(Bound::Table(table)) => (table.read(entity, &mut self.row, self.now_us), table.lag_us(self.now_us)),
            Some(Bound::Sessions(sessions)) => {
                (Some(sessions.read(entity, self.now_us, &mut self.row).0), sessions.lag_us(self.now_us))
            }
            None => (None, 0),
        };
        let mut read = Read::empty(at, lag_us);
        if let Some(time_us) = time_us {
            self.push(view, entity.into(), time_us, &mut read)?;
        }
        Ok(read)
    }

    /// Adds the row that was read: the cells that the page's placements use, and no other.
    fn push(&mut self, view: &PageView, entity: Arc<str>, time_us: TimeUs, read: &mut Read) -> Result<(), BadRows> {
        self.take(entity.len() + 8 * (view.used.len() + 1))?;
        for at in &view.used {
            let cell = self.row.get(*at as usize).copied().unwrap_or_default();
            let is_symbol = view.symbols.binary_search(at).is_ok();
            let cell = if is_symbol { self.symbol(cell)? } else { cell };
            read.cells.extend(cell.to_le_bytes());
        }
        read.rows.push((entity, time_us));
        Ok(())
    }

    /// A symbol's index among the answer's texts.
    fn symbol(&mut self, cell: u64) -> Result<u64, BadRows> {
        if cell == NO_SYMBOL {
            return Ok(NO_SYMBOL);
        }
        if let Some(number) = self.numbers.get(&cell) {
            return Ok(*number);
        }
        // A text that the node had no room for has none here either.
        let Some(text) = self.active.text(cell) else { return Ok(OTHER_SYMBOL) };
        self.take(text.len())?;
        let number = self.texts.len() as u64;
        self.texts.push(text);
        self.numbers.insert(cell, number);
        Ok(number)
    }

    fn take(&mut self, bytes: usize) -> Result<(), BadRows> {
        self.left = self.left.checked_sub(bytes).ok_or(BadRows::TooMany { limit: self.limit })?;
        Ok(())
    }
}

// === impl Read ===

impl Read {
    fn empty(view: u32, lag_us: i64) -> Self {
        Self { view, lag_us, rows: Vec::new(), cells: Vec::new() }
    }

    fn table(&self) -> PageTable<'_> {
        PageTable {
            view: self.view,
            lag_us: self.lag_us,
            entities: self.rows.iter().map(|(entity, _)| &**entity).collect(),
            times_us: self.rows.iter().map(|(_, time_us)| *time_us).collect(),
            cells: &self.cells,
        }
    }
}
