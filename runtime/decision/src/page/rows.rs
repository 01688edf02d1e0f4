//! The rows that a page decides by: what changes of a release's views, and what belongs to who looks at the page. Owns the binary
//! form of an answer, and how a page keeps and reads the rows of several.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::{PAGE_VERSION, PageRelease};
use crate::form::{self, form};
use crate::gather::Features;
use crate::layout::{NO_SYMBOL, OTHER_SYMBOL};
use crate::record::CORE_VERSION;
use crate::sorted::Sorted;
use crate::texts::Texts;
use crate::{Digest, TimeUs};

/// What a node answers a page that asks for rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageRows<'a> {
    /// [`PAGE_VERSION`].
    pub version: u32,
    /// The release that the rows are of.
    pub release: [u8; 32],
    /// The node's clock when it answered.
    pub time_us: TimeUs,
    /// Whether they are of who looks at the page, and not everybody's.
    pub own: bool,
    /// Who that is, as the node knows them.
    pub subject: Option<&'a str>,
    /// The session.
    pub session: Option<&'a str>,
    /// The texts that the rows' symbols name, by their index here.
    pub texts: Vec<&'a str>,
    /// The rows, view after view.
    pub tables: Vec<PageTable<'a>>,
    /// What was learned, by the plan's bandit: of each action its rewards and misses.
    pub learned: Vec<(u32, Counts<'a>)>,
    /// The placements that may choose the best alone, because exploring was switched off.
    pub frozen: Vec<&'a str>,
    /// What experiments have an override for: placement, index of the experiment, index of the arm. Of the subject or the session,
    /// as the experiment's unit says.
    pub overrides: Vec<(&'a str, u32, u32)>,
}

/// Of each action its rewards and misses.
type Counts<'a> = Vec<(&'a str, [f64; 2])>;

/// Rows of one view.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageTable<'a> {
    /// The view, by its index in the plan.
    pub view: u32,
    /// Microseconds since the view was last proven current.
    pub lag_us: i64,
    /// Whose rows, sorted.
    pub entities: Vec<&'a str>,
    /// Of each, the time of its event.
    pub times_us: Vec<TimeUs>,
    /// The cells that a page gets, 8 bytes each, little-endian, row after row. A symbol's is its index in `texts`, or
    /// [`NO_SYMBOL`], or [`OTHER_SYMBOL`].
    pub cells: &'a [u8],
}

/// Why bytes are not what a page decides by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPage {
    /// Not the form.
    #[error("not what a page decides by: cut off, or something else")]
    Form,
    /// Of another version.
    #[error("form {version} of decision core {core}; this engine reads form {PAGE_VERSION} of core {CORE_VERSION}")]
    Version {
        /// The form's.
        version: u32,
        /// The core's; 0 where it is not said.
        core: u32,
    },
    /// Of another release.
    #[error("rows of another release: fetch the release again")]
    OtherRelease,
}

/// The rows a page holds.
#[derive(Debug, Default)]
pub struct Tables {
    views: Sorted<u32, Table>,
    /// The texts that symbols name, and by their numbers those among the release's texts.
    texts: Texts,
    released: Vec<f64>,
    /// The page's clock, for the lag of what it reads.
    now_us: i64,
}

#[derive(Debug)]
struct Table {
    width: usize,
    /// The page's clock when they came, less their lag then.
    current_us: i64,
    entities: Texts,
    times_us: Vec<TimeUs>,
    cells: Vec<u64>,
}

// === forms ===

form!(struct PageRows<'a> {
    version,
    release,
    time_us,
    own,
    subject,
    session,
    texts,
    tables,
    learned,
    frozen,
    overrides,
});
form!(struct PageTable<'a> { view, lag_us, entities, times_us, cells });

// === impl PageRows ===

impl<'a> PageRows<'a> {
    /// Its binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        form::bytes(self)
    }

    /// Reads what [`PageRows::to_bytes`] wrote, of `release`.
    ///
    /// # Errors
    ///
    /// When it is something else, or of another release.
    pub fn from_bytes(bytes: &'a [u8], release: Digest) -> Result<Self, BadPage> {
        let version = form::begins(bytes).ok_or(BadPage::Form)?;
        if version != PAGE_VERSION {
            return Err(BadPage::Version { version, core: 0 });
        }
        let rows: Self = form::read(bytes).ok_or(BadPage::Form)?;
        if rows.release != release.0 {
            return Err(BadPage::OtherRelease);
        }
        Ok(rows)
    }
}

// === impl Tables ===

impl Tables {
    /// Takes the rows of an answer, in place of what it held of the same views. `now_us` is the page's clock.
    ///
    /// # Errors
    ///
    /// When rows do not fit their view; nothing of the answer is taken then.
    pub fn take(&mut self, release: &PageRelease, rows: &PageRows<'_>, now_us: i64) -> Result<(), BadPage> {
        self.texts.add(&rows.texts);
        for number in self.released.len()..self.texts.len() {
            self.released.push(self.texts.text(number).map_or(-1.0, |text| release.number(text)));
        }
        let symbol = |text: &&str| self.texts.number(text).map_or(OTHER_SYMBOL, |number| number as u64);
        let symbols: Vec<u64> = rows.texts.iter().map(symbol).collect();
        let mut taken = Vec::with_capacity(rows.tables.len());
        for table in &rows.tables {
            let view = release.views.get(&table.view).ok_or(BadPage::Form)?;
            let (cells, rest) = table.cells.as_chunks::<8>();
            let count = table.entities.len();
            if !rest.is_empty() || cells.len() != count * view.used.len() || table.times_us.len() != count {
                return Err(BadPage::Form);
            }
            let width = view.cells as usize;
            let mut whole = vec![0; width * count];
            let mut cells = cells.iter().map(|cell| u64::from_le_bytes(*cell));
            for row in whole.chunks_exact_mut(width.max(1)) {
                for (at, cell) in view.used.iter().zip(&mut cells) {
                    let is_symbol = view.symbols.binary_search(at).is_ok();
                    let known = |cell: u64| symbols.get(cell as usize).copied().unwrap_or(OTHER_SYMBOL);
                    let place = row.get_mut(*at as usize).ok_or(BadPage::Form)?;
                    *place = if is_symbol && cell != NO_SYMBOL { known(cell) } else { cell };
                }
            }
            let mut entities = Texts::default();
            entities.add(&table.entities);
            let current_us = now_us.saturating_sub(table.lag_us);
            taken.push((
                table.view,
                Table { width, current_us, entities, times_us: table.times_us.clone(), cells: whole },
            ));
        }
        taken.into_iter().for_each(|(view, table)| self.views.insert(view, table));
        Ok(())
    }

    /// The page's clock from here on.
    pub fn at(&mut self, now_us: i64) {
        self.now_us = now_us;
    }

    /// Whether it holds rows of a view.
    pub fn holds(&self, view: u32) -> bool {
        self.views.contains_key(&view)
    }

    fn table(&self, view: usize) -> Option<&Table> {
        self.views.get(&u32::try_from(view).ok()?)
    }
}

/// What a page's decision reads: its rows, and the texts of its release.
#[derive(Debug)]
pub struct Held<'a> {
    /// The release.
    pub release: &'a PageRelease,
    /// The rows.
    pub tables: &'a Tables,
}

impl Features for Held<'_> {
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        let table = self.tables.table(view)?;
        let at = table.entities.number(entity)?;
        cells.copy_from_slice(table.cells.get(at * table.width..)?.get(..cells.len())?);
        table.times_us.get(at).copied()
    }

    fn lag_us(&self, view: usize) -> i64 {
        self.tables.table(view).map_or(i64::MAX, |table| self.tables.now_us.saturating_sub(table.current_us).max(0))
    }

    fn symbol(&self, cell: u64) -> f64 {
        if cell == NO_SYMBOL { f64::NAN } else { self.tables.released.get(cell as usize).copied().unwrap_or(-1.0) }
    }

    fn number(&self, text: &str) -> f64 {
        self.release.number(text)
    }

    fn text(&self, cell: u64) -> Option<Arc<str>> {
        self.tables.texts.text(cell as usize).cloned()
    }

    fn entities(&self, view: usize, limit: usize) -> Result<Vec<Arc<str>>, usize> {
        let Some(table) = self.tables.table(view) else { return Ok(Vec::new()) };
        match table.entities.len() {
            found if found > limit => Err(found),
            _ => Ok(table.entities.sorted().cloned().collect()),
        }
    }
}
