//! Gather: the placement's rows, out of views and request, by the plan made at deploy. Slots and columns, never names; a row
//! is copied, not looked into. Must not know how a view is stored.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::TimeUs;
use crate::definition::Overdue;
use crate::layout::{NO_IDS, NO_SYMBOL, NO_TIME, OTHER_SYMBOL, id_hash, unpack};
use crate::manifest::Scope;
use crate::plan::{CellOp, Entity, IdOf, Key, Placement, Post, RequestOp, Ttl, ViewUse};

/// What a decision reads of views: the node's tables, a browser's bootstrap, a test's map.
pub trait Features {
    /// Copies the row of `entity` in view `view` of the plan into `cells` (as long as the view's rows) and returns its event
    /// time; `None` leaves `cells` as they are.
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs>;

    /// Why there is no row of `entity`, for the explanation.
    fn absence(&self, view: usize, entity: &str) -> Absence {
        let _ = (view, entity);
        Absence::NoRow
    }

    /// The number of the last event in the rows of sessions that were read, as this run of the node counts its events; 0 for
    /// none.
    fn session_seq(&self) -> u64 {
        0
    }

    /// Microseconds since the view was last proven current.
    fn lag_us(&self, view: usize) -> i64;

    /// A symbol's number among the release's texts, -1 for any other text, NaN for [`NO_SYMBOL`].
    fn symbol(&self, cell: u64) -> f64;

    /// A text's number among the release's texts, -1 for any other.
    fn number(&self, text: &str) -> f64;

    /// A symbol's text.
    fn text(&self, cell: u64) -> Option<Arc<str>>;

    /// The ids of all entities of a view, or how many there are when they are more than `limit`.
    fn entities(&self, view: usize, limit: usize) -> Result<Vec<Arc<str>>, usize>;
}

/// Why there is no row of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Nobody wrote one.
    NoRow,
    /// The view is on-demand and the row did not come in time: the next decision has it.
    NotFetched,
    /// The view is on-demand, does not hold the entity, and the core cannot be reached.
    Unreachable,
    /// The request does not say whose row.
    NoEntity,
}

/// Why a row was not used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    Absent(Absence),
    /// Its view is late; what that does is the view's to say.
    Late,
}

/// A request, bounded and typed by its placement.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// Whom it is for.
    pub subject: Option<&'a str>,
    /// The session it belongs to.
    pub session: Option<&'a str>,
    /// The context's values in the placement's order.
    pub context: Vec<ContextValue<'a>>,
    /// The candidates it names.
    pub candidates: Option<Vec<&'a str>>,
    /// Ids that are chosen elsewhere on the page and are no candidates here.
    pub taken: &'a [Arc<str>],
    /// How many choices it wants.
    pub slots: Option<usize>,
    /// The caller's offset from UTC in minutes.
    pub tz_offset_min: i32,
}

/// A value of the request's context.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ContextValue<'a> {
    /// Not given, or null.
    #[default]
    Missing,
    /// A number.
    Number(f64),
    /// A flag.
    Flag(bool),
    /// A text.
    Symbol(&'a str),
}

/// The placement's rows for one decision. Kept by the caller between decisions, so that nothing is allocated twice.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The shared row.
    pub shared: Vec<f64>,
    /// The candidates' rows, row-major.
    pub candidates: Vec<f64>,
    /// The late views that say `refuse`, as indices into the placement's views.
    pub refused: Vec<u16>,
    /// The largest lag among the views read, in microseconds.
    pub max_lag_us: i64,
    /// Event times, when asked for: of the placement's views, `count` times each for a candidate's view; 0 is no row.
    pub times: Vec<Vec<TimeUs>>,
    /// How many views were late.
    pub late: u32,
    /// How many values were old.
    pub old: u32,
    /// Columns whose value was old, when asked for: row, column, what that does.
    pub olds: Vec<(Option<u32>, usize, Overdue)>,
    /// Columns filled by a default, when asked for: row (`None` is the shared one) and column.
    pub defaulted: Vec<(Option<u32>, usize)>,
    /// Why a view's row was not used as it is, when asked for: row, index into the placement's views, reason.
    pub whys: Vec<(Option<u32>, usize, Why)>,
    /// The texts behind symbols, when asked for: row, column, text; a row holds numbers of the release's texts only.
    pub texts: Vec<(Option<u32>, usize, Arc<str>)>,
    cells: Vec<u64>,
    other: Vec<u64>,
    key: String,
}

/// What gather is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub request: &'a Request<'a>,
    /// The candidates' ids.
    pub ids: &'a [Arc<str>],
    /// The decision's time.
    pub time_us: TimeUs,
    /// Whether times and defaults are wanted.
    pub explain: bool,
}

impl Asked<'_> {
    /// Whether times and defaults are kept; a page explains nothing.
    fn explains(self) -> bool {
        cfg!(feature = "std") && self.explain
    }
}

/// Fills `rows`.
pub fn gather(placement: &Placement, asked: Asked<'_>, features: &impl Features, rows: &mut Rows) {
    let count = asked.ids.len();
    let width = placement.candidate_width;
    rows.reset(placement, count);
    for (at, used) in placement.views.iter().enumerate() {
        let lag_us = features.lag_us(used.view);
        rows.max_lag_us = rows.max_lag_us.max(lag_us);
        let late = used.lateness.filter(|lateness| lag_us > lateness.max_lag_us).map(|lateness| lateness.late);
        rows.late += u32::from(late.is_some());
        if late == Some(Overdue::Refuse) {
            rows.refused.push(at as u16);
        }
        let mut fill = Fill {
            used,
            asked,
            features,
            late,
            again: false,
            time_us: None,
            cells: &mut rows.cells,
            other: &mut rows.other,
            key: &mut rows.key,
        };
        fill.cells.resize(used.cells, 0);
        let mut times = Vec::new();
        let mut done = |filled: Filled, row: Option<u32>| {
            rows.old += filled.old;
            if asked.explains() {
                rows.olds.extend(filled.olds.into_iter().map(|(column, old)| (row, column, old)));
                times.push(filled.time_us.unwrap_or(0));
                rows.defaulted.extend(filled.defaulted.into_iter().map(|column| (row, column)));
                rows.whys.extend(filled.why.map(|why| (row, at, why)));
                rows.texts.extend(filled.texts.into_iter().map(|(column, text)| (row, column, text)));
            }
        };
        match used.scope {
            Scope::Shared => {
                done(fill.row(None, &mut rows.shared), None);
            }
            Scope::Candidate => {
                for (row, out) in rows.candidates.chunks_exact_mut(width).enumerate() {
                    done(fill.row(Some(&asked.ids[row]), out), Some(row as u32));
                    // What all candidates share is read once, so that no change comes in between.
                    fill.again = !used.entity.is_candidate();
                }
            }
        }
        if asked.explains() {
            rows.times.push(times);
        }
    }
    ask(placement, asked, features, rows);
    for post in &placement.post {
        product(post, width, count, rows);
    }
}

/// One view's share of the rows.
struct Fill<'a, F> {
    used: &'a ViewUse,
    asked: Asked<'a>,
    features: &'a F,
    /// What the view does, if it is late.
    late: Option<Overdue>,
    /// The cells hold this row already.
    again: bool,
    /// Its event time.
    time_us: Option<TimeUs>,
    cells: &'a mut Vec<u64>,
    /// For the row of another view, which says whose row this is.
    other: &'a mut Vec<u64>,
    key: &'a mut String,
}

/// What there is to tell of one filled row; reason, texts and defaults only when asked for.
struct Filled {
    time_us: Option<TimeUs>,
    why: Option<Why>,
    old: u32,
    olds: Vec<(usize, Overdue)>,
    defaulted: Vec<usize>,
    texts: Vec<(usize, Arc<str>)>,
}

impl<F: Features> Fill<'_, F> {
    /// Fills one row.
    fn row(&mut self, item: Option<&str>, out: &mut [f64]) -> Filled {
        let (features, other) = (self.features, &mut *self.other);
        let mut symbol = |view: usize, cell: usize, cells: usize| {
            other.clear();
            other.resize(cells, NO_SYMBOL);
            features.read(view, item?, other)?;
            Some(other[cell]).filter(|cell| *cell != NO_SYMBOL).and_then(|cell| features.text(cell))
        };
        let entity = entity_text(self.used.entity, self.asked.request, item, &mut symbol, self.key);
        if !self.again {
            self.time_us = match entity {
                Some(entity) if self.late != Some(Overdue::Default) => {
                    self.features.read(self.used.view, entity, self.cells)
                }
                _ => None,
            };
        }
        let time_us = self.time_us;
        let why = if !self.asked.explains() {
            None
        } else if let Some(entity) = entity {
            let absence = || Why::Absent(self.features.absence(self.used.view, entity));
            self.late.map(|_| Why::Late).or_else(|| time_us.is_none().then(absence))
        } else {
            Some(Why::Absent(Absence::NoEntity))
        };
        if time_us.is_some() {
            let about = About { request: self.asked.request, item, now_us: self.asked.time_us };
            for op in &self.used.ops {
                apply(op, self.cells, out, self.features, about);
            }
        }
        let (mut old, mut olds) = (0, Vec::new());
        let now_us = self.asked.time_us;
        let is_old = |ttl: &&Ttl| time_us.is_some_and(|time_us| now_us.saturating_sub(time_us) > ttl.ttl_us);
        for ttl in self.used.ttls.iter().filter(is_old) {
            match ttl.old {
                Overdue::Use => {}
                Overdue::Default => out[ttl.to..ttl.to + ttl.n].fill(f64::NAN),
                Overdue::Refuse => out[ttl.refused] = 1.0,
            }
            old += 1;
            if self.asked.explains() {
                olds.push((ttl.to, ttl.old));
            }
        }
        let mut defaulted = Vec::new();
        for (to, n, value) in &self.used.defaults {
            let columns = &mut out[*to..to + n];
            if columns[0].is_nan() {
                columns.fill(*value);
                if self.asked.explains() {
                    defaulted.push(*to);
                }
            }
        }
        let mut texts = if self.asked.explains() && time_us.is_some() { self.texts() } else { Vec::new() };
        // What is too old is not what was decided by.
        texts.retain(|(to, _)| !olds.iter().any(|(at, old)| at == to && matches!(old, Overdue::Default)));
        Filled { time_us, why, old, olds, defaulted, texts }
    }

    fn texts(&self) -> Vec<(usize, Arc<str>)> {
        let text = |op: &CellOp| match op {
            CellOp::Symbol { cell, to } | CellOp::SymbolId { cell, to } if self.cells[*cell] != NO_SYMBOL => {
                self.features.text(self.cells[*cell]).map(|text| (*to, text))
            }
            _ => None,
        };
        self.used.ops.iter().filter_map(text).collect()
    }
}

// === impl Why ===

impl Why {
    /// Its name in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent(Absence::NoRow) => "no_row",
            Self::Absent(Absence::NotFetched) => "not_fetched",
            Self::Absent(Absence::Unreachable) => "unreachable",
            Self::Absent(Absence::NoEntity) => "no_entity",
            Self::Late => "late",
        }
    }
}

// === impl Rows ===

/// Columns that are kept for the next decision.
const KEPT_COLUMNS: usize = 128 << 10;

impl Rows {
    /// Gives back what one large decision took; the next is most likely smaller.
    pub fn shrink(&mut self) {
        if self.candidates.capacity() > KEPT_COLUMNS {
            self.candidates = Vec::new();
        }
    }

    fn reset(&mut self, placement: &Placement, count: usize) {
        self.shared.clear();
        self.shared.resize(placement.shared_width, f64::NAN);
        self.candidates.clear();
        self.candidates.resize(placement.candidate_width * count, f64::NAN);
        self.refused.clear();
        self.max_lag_us = 0;
        (self.late, self.old) = (0, 0);
        self.olds.clear();
        self.times.clear();
        self.defaulted.clear();
        self.whys.clear();
        self.texts.clear();
    }
}

// === steps ===

/// What a step may ask besides the cells.
#[derive(Clone, Copy)]
struct About<'a> {
    request: &'a Request<'a>,
    item: Option<&'a str>,
    now_us: TimeUs,
}

fn apply(op: &CellOp, cells: &[u64], out: &mut [f64], features: &impl Features, about: About<'_>) {
    match op {
        CellOp::Copy { cell, to, n } => {
            for (to, cell) in out[*to..to + n].iter_mut().zip(&cells[*cell..cell + n]) {
                *to = f64::from_bits(*cell);
            }
        }
        CellOp::Widen { cell, to } => out[*to] = f64::from(unpack(cells[*cell])[0]),
        CellOp::Vector { cell, to, n } => {
            let halves = cells[*cell..].iter().flat_map(|cell| unpack(*cell));
            for (to, half) in out[*to..to + n].iter_mut().zip(halves) {
                *to = f64::from(half);
            }
        }
        CellOp::Symbol { cell, to } => out[*to] = features.symbol(cells[*cell]),
        CellOp::Text { cell, to, test } if cells[*cell] != NO_SYMBOL => {
            // A text that the node had no room for passes no test.
            out[*to] = f64::from(features.text(cells[*cell]).is_some_and(|text| test.holds(&text)));
        }
        CellOp::Text { .. } => {}
        CellOp::Includes { cell, n, to, id } => {
            let id = match id {
                IdOf::Candidate => about.item.map(id_hash),
                IdOf::Context(index) => match context(about.request, *index) {
                    ContextValue::Symbol(text) => Some(id_hash(text)),
                    ContextValue::Missing | ContextValue::Number(_) | ContextValue::Flag(_) => None,
                },
                IdOf::Known(hash) => Some(*hash),
            };
            let ids = &cells[*cell..cell + n];
            if let Some(id) = id.filter(|_| ids[0] != NO_IDS) {
                out[*to] = f64::from(ids.contains(&id));
            }
        }
        CellOp::SymbolId { cell, to } if !matches!(cells[*cell], NO_SYMBOL | OTHER_SYMBOL) => {
            out[*to] = cells[*cell] as f64;
        }
        CellOp::SymbolId { .. } => {}
        CellOp::Seconds { cell, to } if cells[*cell] != NO_TIME => out[*to] = cells[*cell] as i64 as f64 / 1e6,
        CellOp::Age { cell, to } if cells[*cell] != NO_TIME => {
            out[*to] = about.now_us.saturating_sub(cells[*cell] as i64).max(0) as f64 / 1e6;
        }
        CellOp::Seconds { .. } | CellOp::Age { .. } => {}
    }
}

fn ask(placement: &Placement, asked: Asked<'_>, features: &impl Features, rows: &mut Rows) {
    let local_min = asked.time_us.div_euclid(60_000_000) + i64::from(asked.request.tz_offset_min);
    for (scope, op) in &placement.request {
        let (to, value) = match op {
            RequestOp::Context { index, to } => {
                let value = match context(asked.request, *index) {
                    ContextValue::Missing => f64::NAN,
                    ContextValue::Number(number) => number,
                    ContextValue::Flag(flag) => f64::from(flag),
                    ContextValue::Symbol(text) => features.number(text),
                };
                (to, value)
            }
            RequestOp::Text { index, to, test } => match context(asked.request, *index) {
                ContextValue::Symbol(text) => (to, f64::from(test.holds(text))),
                _ => continue,
            },
            RequestOp::MinuteOfDay { to } => (to, local_min.rem_euclid(1_440) as f64),
            // Day 0 of the Unix epoch was a Thursday.
            RequestOp::DayOfWeek { to } => (to, (local_min.div_euclid(1_440) + 3).rem_euclid(7) as f64),
            RequestOp::EpochSeconds { to } => (to, asked.time_us as f64 / 1e6),
            RequestOp::CandidateId { to } => {
                for (row, id) in rows.candidates.chunks_exact_mut(placement.candidate_width).zip(asked.ids) {
                    row[*to] = features.number(id);
                }
                continue;
            }
        };
        match scope {
            Scope::Shared => rows.shared[*to] = value,
            Scope::Candidate => {
                let rows = rows.candidates.chunks_exact_mut(placement.candidate_width.max(1));
                rows.for_each(|row| row[*to] = value);
            }
        }
    }
}

fn context<'a>(request: &Request<'a>, index: usize) -> ContextValue<'a> {
    request.context.get(index).copied().unwrap_or_default()
}

/// Dot product or cosine of two vectors, summed in order.
fn product(post: &Post, width: usize, count: usize, rows: &mut Rows) {
    let turns = if post.to.0 == Scope::Shared { 1 } else { count };
    for turn in 0..turns {
        let part = |(scope, at): (Scope, usize)| match scope {
            Scope::Shared => &rows.shared[at..at + post.n],
            Scope::Candidate => &rows.candidates[turn * width + at..turn * width + at + post.n],
        };
        let (a, b) = (part(post.a), part(post.b));
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).fold(0.0, |sum, (x, y)| sum + x * y);
        let mut value = dot(a, b);
        if post.cosine {
            let lengths = libm::sqrt(dot(a, a)) * libm::sqrt(dot(b, b));
            value = if lengths > 0.0 { value / lengths } else { f64::NAN };
        }
        match post.to.0 {
            Scope::Shared => rows.shared[post.to.1] = value,
            Scope::Candidate => rows.candidates[turn * width + post.to.1] = value,
        }
    }
}

/// The key of a row, written into `key` when it is a pair; `None` when the request does not name it. `symbol` says what a view has
/// of the item in a cell of so many.
pub fn entity_text<'a>(
    entity: Entity,
    request: &Request<'a>,
    item: Option<&'a str>,
    symbol: &mut dyn FnMut(usize, usize, usize) -> Option<Arc<str>>,
    key: &'a mut String,
) -> Option<&'a str> {
    let told = |part: Key| match part {
        Key::Subject => request.subject,
        Key::Session => request.session,
        Key::Item => item,
        Key::Context(index) => match context(request, index) {
            ContextValue::Symbol(text) => Some(text),
            _ => None,
        },
        // Of a pair alone.
        Key::Feature { .. } => None,
    };
    match entity {
        Entity::One(one) => told(one),
        Entity::Pair(a, b) => {
            key.clear();
            for (before, part) in [("", a), ("\0", b)] {
                key.push_str(before);
                match part {
                    Key::Feature { view, cell, cells } => key.push_str(&symbol(view, cell, cells)?),
                    part => key.push_str(told(part)?),
                }
            }
            Some(key)
        }
    }
}
