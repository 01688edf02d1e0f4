//! The columns of a placement's two rows and the steps that fill them. Owns what each step means; the order of columns is
//! decided in `compile`: by view and cell, so that most of a row is one copy.

use super::{Entity, Lateness};
use crate::definition::{Overdue, ViewDef};
use crate::form::form;
use crate::layout::FeatureKind;
use crate::manifest::{Kind, Scope};
use alloc::string::String;
use alloc::vec::Vec;

/// A column, or `width` columns of a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The feature or context value, or the derived input's name.
    pub name: String,
    /// What its numbers mean. A symbol's number is an index of the release's texts.
    pub kind: Kind,
    /// Its first f64 in the row.
    pub at: usize,
    /// How many.
    pub width: usize,
    /// The view use that fills it, for its age.
    pub view: Option<usize>,
    /// Whether a person's own value is in it.
    pub pii: bool,
    /// Whether its number is the deciding node's own for a text: it says which texts are one, and nothing beyond that decision.
    pub is_identity: bool,
}

/// How a placement reads one view.
#[derive(Debug, Clone)]
pub struct ViewUse {
    /// The view's index in the plan.
    pub view: usize,
    /// Whose row.
    pub entity: Entity,
    /// Which row it fills.
    pub scope: Scope,
    /// Cells of the view's row.
    pub cells: usize,
    /// What to do with the cells.
    pub ops: Vec<CellOp>,
    /// What stands in for missing values: first column, width, value.
    pub defaults: Vec<(usize, usize, f64)>,
    /// Values that may grow old.
    pub ttls: Vec<Ttl>,
    /// When it is late.
    pub lateness: Option<Lateness>,
    /// Whether a decision waits for a row that the node does not hold.
    pub waits: bool,
}

/// How old the value of some columns may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// First column.
    pub to: usize,
    /// How many.
    pub n: usize,
    /// The largest age that is not old, in microseconds.
    pub ttl_us: i64,
    /// What an old value does.
    pub old: Overdue,
    /// For `refuse`: the column of the same row that becomes 1.
    pub refused: usize,
}

/// One step from a view's cells to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellOp {
    /// `n` cells hold f64 as they are.
    Copy {
        /// First cell.
        cell: usize,
        /// First column.
        to: usize,
        /// How many.
        n: usize,
    },
    /// One cell holds an f32 in its low half.
    Widen {
        /// The cell.
        cell: usize,
        /// The column.
        to: usize,
    },
    /// Cells hold `n` f32, two a cell.
    Vector {
        /// First cell.
        cell: usize,
        /// First column.
        to: usize,
        /// How many f32.
        n: usize,
    },
    /// One cell holds a symbol of the node, to become one of the release.
    Symbol {
        /// The cell.
        cell: usize,
        /// The column.
        to: usize,
    },
    /// One cell holds a symbol of the node whose text is tested.
    Text {
        /// The cell.
        cell: usize,
        /// The column.
        to: usize,
        /// The test.
        test: TextTest,
    },
    /// Cells hold a list of ids; the column is whether one of them is this.
    Includes {
        /// First cell.
        cell: usize,
        /// The most ids.
        n: usize,
        /// The column.
        to: usize,
        /// Whose membership is asked.
        id: IdOf,
    },
    /// One cell holds a symbol of the node; the column is that number, which says no more than which texts are one.
    SymbolId {
        /// The cell.
        cell: usize,
        /// The column.
        to: usize,
    },
    /// One cell holds a time; the column is the seconds from 1970 to it.
    Seconds {
        /// The cell.
        cell: usize,
        /// The column.
        to: usize,
    },
    /// One cell holds a time; the column is the seconds since.
    Age {
        /// The cell.
        cell: usize,
        /// The column.
        to: usize,
    },
}

/// An id whose membership in a list is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdOf {
    /// The candidate's.
    Candidate,
    /// That of a context value.
    Context(usize),
    /// One that is known, by its hash.
    Known(u64),
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextTest {
    /// It starts with this.
    StartsWith(String),
    /// It ends with this.
    EndsWith(String),
    /// It contains this.
    Contains(String),
}

/// One step from the request to a row; in candidates' rows the same in each, but for their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOp {
    /// A context value as it is; a symbol becomes the release's.
    Context {
        /// Index of the value.
        index: usize,
        /// Column of the row.
        to: usize,
    },
    /// A test of a context value's text.
    Text {
        /// Index of the value.
        index: usize,
        /// Column of the row.
        to: usize,
        /// The test.
        test: TextTest,
    },
    /// Minutes since midnight.
    MinuteOfDay {
        /// Column of the row.
        to: usize,
    },
    /// Day of the week, Monday is 0.
    DayOfWeek {
        /// Column of the row.
        to: usize,
    },
    /// Seconds since 1970.
    EpochSeconds {
        /// Column of the row.
        to: usize,
    },
    /// The candidate's id as a symbol of the release.
    CandidateId {
        /// Column of the row.
        to: usize,
    },
}

/// One step from columns to a column, after all rows are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// A vector's row and first column.
    pub a: (Scope, usize),
    /// The other vector's.
    pub b: (Scope, usize),
    /// Their length.
    pub n: usize,
    /// The result's row and column.
    pub to: (Scope, usize),
    /// Whether the result is divided by both lengths.
    pub cosine: bool,
}

/// Where the value of a column comes from; its order is the order of columns in a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Field `field` of a view.
    Feature { view: usize, field: usize },
    /// A test on the text of a field.
    FeatureText { view: usize, field: usize, test: TextTest },
    /// Whether the list in a field has an id.
    Includes { view: usize, field: usize, id: IdOf },
    /// The node's own number of the symbol in a field.
    SymbolId { view: usize, field: usize },
    /// Seconds since the time in a field.
    Age { view: usize, field: usize },
    /// A context value.
    Context(usize),
    /// A test on a context value's text.
    ContextText { index: usize, test: TextTest },
    /// Minutes since midnight.
    MinuteOfDay,
    /// Day of the week.
    DayOfWeek,
    /// Seconds since 1970.
    EpochSeconds,
    /// The candidate's id.
    CandidateId,
    /// A product of two vector fields.
    Product { a: (usize, usize), b: (usize, usize), cosine: bool },
}

// === forms ===

form!(struct ViewUse { view, entity, scope, cells, ops, defaults, ttls, lateness, waits });
form!(struct Ttl { to, n, ttl_us, old, refused });
form!(enum CellOp {
    Copy { cell, to, n },
    1 Widen { cell, to },
    2 Vector { cell, to, n },
    3 Symbol { cell, to },
    4 Text { cell, to, test },
    5 Includes { cell, n, to, id },
    6 SymbolId { cell, to },
    7 Seconds { cell, to },
    8 Age { cell, to },
});
form!(enum IdOf { Candidate, 1 Context(index), 2 Known(hash) });
form!(enum TextTest { StartsWith(part), 1 EndsWith(part), 2 Contains(part) });
form!(enum RequestOp {
    Context { index, to },
    1 Text { index, to, test },
    2 MinuteOfDay { to },
    3 DayOfWeek { to },
    4 EpochSeconds { to },
    5 CandidateId { to },
});
form!(struct Post { a, b, n, to, cosine });

// === impl TextTest ===

impl TextTest {
    /// Whether `text` passes.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::StartsWith(part) => text.starts_with(part.as_str()),
            Self::EndsWith(part) => text.ends_with(part.as_str()),
            Self::Contains(part) => contains(text, part),
        }
    }
}

/// Whether a text has a part; in a page by trying every place, which is little code.
fn contains(text: &str, part: &str) -> bool {
    if cfg!(feature = "std") {
        return text.contains(part);
    }
    part.is_empty() || text.as_bytes().windows(part.len()).any(|window| window == part.as_bytes())
}

/// What a feature's numbers mean to a module; none for what no module takes as it is.
pub(super) fn kind_of(feature: FeatureKind) -> Option<Kind> {
    match feature {
        FeatureKind::Number | FeatureKind::F32 | FeatureKind::Time => Some(Kind::Number),
        FeatureKind::Flag => Some(Kind::Flag),
        FeatureKind::Symbol => Some(Kind::Symbol),
        FeatureKind::Vector => Some(Kind::Vector),
        FeatureKind::Ids | FeatureKind::Text => None,
    }
}

/// The cell step of one field.
pub(super) fn cell_op(kind: FeatureKind, cell: usize, len: usize, to: usize) -> CellOp {
    match kind {
        FeatureKind::Number | FeatureKind::Flag => CellOp::Copy { cell, to, n: 1 },
        FeatureKind::Time => CellOp::Seconds { cell, to },
        FeatureKind::F32 => CellOp::Widen { cell, to },
        FeatureKind::Symbol => CellOp::Symbol { cell, to },
        FeatureKind::Vector => CellOp::Vector { cell, to, n: len },
        // Never asked for: no module takes them as they are.
        FeatureKind::Ids | FeatureKind::Text => CellOp::Copy { cell, to, n: 0 },
    }
}

/// Adds a step, as part of the one before where both copy what lies side by side.
pub(super) fn push_op(ops: &mut Vec<CellOp>, op: CellOp) {
    if let (Some(CellOp::Copy { cell, to, n }), CellOp::Copy { cell: next_cell, to: next_to, n: more }) =
        (ops.last_mut(), &op)
        && *cell + *n == *next_cell
        && *to + *n == *next_to
    {
        *n += more;
        return;
    }
    ops.push(op);
}

/// When a view is late, as its definition says it.
pub(super) fn lateness(def: &ViewDef) -> Option<Lateness> {
    def.max_lag.map(|span| Lateness { max_lag_us: span.us(), late: def.late })
}
