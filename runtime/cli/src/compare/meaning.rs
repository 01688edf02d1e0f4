//! What a column of a placement's rows says, in words that two releases share. Owns when two columns are one: the same value of
//! the same view, type and definition, the same context value, the same function of them.

use std::collections::BTreeMap;

use selvedge_decision::definition::Overdue;
use selvedge_decision::manifest::{Kind, Scope};
use selvedge_decision::plan::{CellOp, Column, IdOf, Placement, Plan, RequestOp, Ttl, ViewPlan, ViewUse};

/// What a column says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meaning {
    /// The same for two columns that say the same.
    pub(super) key: String,
    /// What people call it.
    pub(super) name: String,
    /// In place of a missing value.
    pub(super) default: Option<f64>,
    /// How old a value may be in microseconds, what an older one does, and the column of the same row that tells.
    pub(super) ttl: Option<Ttl>,
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) width: usize,
    pub(super) pii: bool,
}

/// The columns of one row, in their order.
pub(super) fn meanings(plan: &Plan, placement: &Placement, scope: Scope) -> Vec<Meaning> {
    let columns = if scope == Scope::Shared { &placement.shared } else { &placement.candidate };
    columns.iter().map(|column| meaning(plan, placement, scope, column)).collect()
}

fn meaning(plan: &Plan, placement: &Placement, scope: Scope, column: &Column) -> Meaning {
    let used = column.view.and_then(|view| placement.views.get(view));
    let of_view = used.and_then(|used| Some((used, of_view(plan, placement, used, column)?)));
    let key = match &of_view {
        Some((_, key)) => key.clone(),
        None => product(plan, placement, scope, column)
            .or_else(|| of_request(placement, scope, column))
            // What no step fills is nobody else's.
            .unwrap_or_else(|| format!("{} of {}", column.name, plan.name)),
    };
    let default = used.and_then(|used| used.defaults.iter().find(|(to, _, _)| *to == column.at));
    let ttl = used.and_then(|used| used.ttls.iter().find(|ttl| ttl.to == column.at && ttl.old != Overdue::Use));
    Meaning {
        key: format!("{key} as {} x {}", column.kind, column.width),
        name: column.name.clone(),
        default: default.map(|(_, _, value)| *value),
        ttl: ttl.copied(),
        kind: column.kind,
        at: column.at,
        width: column.width,
        pii: column.pii,
    }
}

fn of_view(plan: &Plan, placement: &Placement, used: &ViewUse, column: &Column) -> Option<String> {
    let view = plan.views.get(used.view)?;
    used.ops.iter().find_map(|op| match op {
        CellOp::Copy { cell, to, n } if (*to..to + n).contains(&column.at) => field(view, cell + column.at - to),
        CellOp::Widen { cell, to }
        | CellOp::Vector { cell, to, .. }
        | CellOp::Symbol { cell, to }
        | CellOp::Seconds { cell, to }
            if *to == column.at =>
        {
            field(view, *cell)
        }
        CellOp::Text { cell, to, test } if *to == column.at => Some(format!("{test:?} of {}", field(view, *cell)?)),
        CellOp::SymbolId { cell, to } if *to == column.at => Some(format!("identity of {}", field(view, *cell)?)),
        CellOp::Age { cell, to } if *to == column.at => Some(format!("age of {}", field(view, *cell)?)),
        CellOp::Includes { cell, to, id, .. } if *to == column.at => {
            let id = match id {
                IdOf::Candidate => "candidate.id".to_owned(),
                IdOf::Context(index) => context(placement, *index)?,
                IdOf::Known(hash) => format!("{hash:x}"),
            };
            Some(format!("whether {} has {id}", field(view, *cell)?))
        }
        _ => None,
    })
}

/// A feature as its view defines it: under one name two releases may count different things.
fn field(view: &ViewPlan, cell: usize) -> Option<String> {
    let found = view.layout.fields().iter().find(|field| field.cells() > 0 && field.cell as usize == cell)?;
    let counted = view.def.aggregates.get(&found.name).map(|aggregate| format!(" = {aggregate:?}"));
    let counted = counted.unwrap_or_default();
    Some(format!("{}.{} ({}) by {:?}{counted}", view.name, found.name, found.kind, view.def.by))
}

fn context(placement: &Placement, index: usize) -> Option<String> {
    placement.context.get(index).map(|(name, kind)| format!("context.{name} ({kind})"))
}

fn product(plan: &Plan, placement: &Placement, scope: Scope, column: &Column) -> Option<String> {
    let post = placement.post.iter().find(|post| post.to == (scope, column.at))?;
    let part = |(scope, at): (Scope, usize)| {
        let columns = if scope == Scope::Shared { &placement.shared } else { &placement.candidate };
        let column = columns.iter().find(|column| column.at == at)?;
        of_view(plan, placement, placement.views.get(column.view?)?, column)
    };
    let function = if post.cosine { "cosine" } else { "dot" };
    Some(format!("{function} of {} and {}", part(post.a)?, part(post.b)?))
}

fn of_request(placement: &Placement, scope: Scope, column: &Column) -> Option<String> {
    let said = |op: &RequestOp| -> Option<(usize, String)> {
        Some(match op {
            RequestOp::Context { index, to } => (*to, context(placement, *index)?),
            RequestOp::Text { index, to, test } => (*to, format!("{test:?} of {}", context(placement, *index)?)),
            RequestOp::MinuteOfDay { to } => (*to, "minute of day".to_owned()),
            RequestOp::DayOfWeek { to } => (*to, "day of week".to_owned()),
            RequestOp::EpochSeconds { to } => (*to, EPOCH_SECONDS.to_owned()),
            RequestOp::CandidateId { to } => (*to, CANDIDATE_ID.to_owned()),
        })
    };
    let of_row = placement.request.iter().filter(|(of, _)| *of == scope).map(|(_, op)| op);
    of_row.filter_map(said).find(|(to, _)| *to == column.at).map(|(_, key)| key)
}

/// The candidate's id, which every record has.
pub(super) const CANDIDATE_ID: &str = "candidate.id";
/// The decision's time, which every record has.
pub(super) const EPOCH_SECONDS: &str = "seconds since 1970";

/// For each column, by what it says.
pub(super) fn by_key(meanings: &[Meaning]) -> BTreeMap<&str, &Meaning> {
    meanings.iter().map(|meaning| (meaning.key.as_str(), meaning)).collect()
}
