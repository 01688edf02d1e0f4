//! The inputs as used, by name. Owns how recorded rows become columns: the release says which numbers are what.

use std::collections::BTreeMap;

use selvedge_decision::Digest;
use selvedge_decision::manifest::{Kind as InputKind, Scope};
use selvedge_decision::plan::{Column, Plan, Symbols};

use crate::table::{Cell, Kind, Shape, Spec};

/// What a symbol is called that the release does not know: modules cannot tell such texts apart.
const OTHER: &str = "<other>";

/// The features of a placement in every release.
pub(super) struct Features {
    columns: Vec<Spec>,
    releases: BTreeMap<Digest, Placed>,
}

/// Where a release's features stand in its recorded rows.
struct Placed {
    symbols: Symbols,
    shared_width: usize,
    candidate_width: usize,
    /// For each column, where it is.
    places: Vec<Option<(Scope, Column)>>,
}

/// The inputs of one decision.
pub(super) struct Inputs<'a> {
    columns: usize,
    placed: Option<(&'a Placed, &'a [Cell], &'a [Cell])>,
}

// === impl Features ===

impl Features {
    /// Of the releases that have the placement. What is a person's own is never recorded, and no column; a node's own number of a
    /// text is another on every node, and none either.
    pub(super) fn new(releases: &BTreeMap<Digest, Plan>, placement: &str) -> Self {
        let mut columns: Vec<Spec> = Vec::new();
        let mut placed = BTreeMap::new();
        for (digest, plan) in releases {
            let Some(found) = plan.placements.get(placement) else { continue };
            let shared = found.shared.iter().map(|column| (Scope::Shared, column));
            let all = shared.chain(found.candidate.iter().map(|column| (Scope::Candidate, column)));
            let mut places: Vec<Option<(Scope, Column)>> = Vec::new();
            for (scope, column) in all.filter(|(_, column)| !column.pii && !column.is_identity) {
                let spec = spec(column);
                let at = match columns.iter().position(|known| *known == spec) {
                    Some(at) => at,
                    None => {
                        columns.push(spec);
                        columns.len() - 1
                    }
                };
                places.resize(places.len().max(at + 1), None);
                places[at] = Some((scope, column.clone()));
            }
            placed.insert(
                *digest,
                Placed {
                    symbols: plan.symbols.clone(),
                    shared_width: found.shared_width,
                    candidate_width: found.candidate_width,
                    places,
                },
            );
        }
        Self { columns, releases: placed }
    }

    /// A column a feature. Where its type changed from one release to another there are two, the later by its type's name.
    pub(super) fn columns(&self) -> Vec<Spec> {
        let mut named: Vec<Spec> = Vec::new();
        for spec in &self.columns {
            let mut spec = spec.clone();
            while named.iter().any(|known| known.name == spec.name) {
                spec.name = format!("{} ({:?})", spec.name, spec.kind).to_lowercase();
            }
            named.push(spec);
        }
        named
    }

    /// The inputs of a decision with `count` candidates; none when its release is not known, or they do not fit it.
    pub(super) fn of<'a>(
        &'a self,
        release: Option<Digest>,
        shared: &'a Cell,
        rows: &'a Cell,
        count: usize,
    ) -> Option<Inputs<'a>> {
        let columns = self.columns.len();
        if *shared == Cell::Null {
            return Some(Inputs { columns, placed: None });
        }
        let placed = self.releases.get(&release?)?;
        let (shared, rows) = (shared.elements(), rows.elements());
        let fits = (shared.len(), rows.len()) == (placed.shared_width, placed.candidate_width * count);
        fits.then_some(Inputs { columns, placed: Some((placed, shared, rows)) })
    }
}

fn spec(column: &Column) -> Spec {
    let (kind, shape) = match column.kind {
        InputKind::Number | InputKind::Flag => (Kind::Number, Shape::Maybe),
        InputKind::Symbol => (Kind::Text, Shape::Maybe),
        InputKind::Vector => (Kind::Number, Shape::MaybeList),
    };
    Spec::new(&column.name, kind, shape)
}

// === impl Inputs ===

impl Inputs<'_> {
    /// The cells of the candidate at `index`, one a column.
    pub(super) fn row(&self, index: Option<usize>) -> Vec<Cell> {
        let Some((placed, shared, rows)) = self.placed else { return vec![Cell::Null; self.columns] };
        let own = index.and_then(|index| {
            let from = index * placed.candidate_width;
            rows.get(from..from + placed.candidate_width)
        });
        let cell = |at: usize| {
            let (scope, column) = placed.places.get(at)?.as_ref()?;
            let row = if *scope == Scope::Shared { shared } else { own? };
            Some(value(column, row.get(column.at..column.at + column.width)?, &placed.symbols))
        };
        (0..self.columns).map(|at| cell(at).unwrap_or(Cell::Null)).collect()
    }
}

/// The value of a column; null when it is missing.
fn value(column: &Column, cells: &[Cell], symbols: &Symbols) -> Cell {
    let number = |cell: &Cell| cell.as_number().map_or(Cell::Null, Cell::number);
    match (column.kind, cells) {
        (InputKind::Number | InputKind::Flag, [cell]) => number(cell),
        (InputKind::Symbol, [cell]) => match cell.as_number() {
            Some(symbol) if !symbol.is_nan() => Cell::text(symbols.text(symbol).unwrap_or(OTHER)),
            _ => Cell::Null,
        },
        (InputKind::Vector, cells) if cells.iter().any(|cell| number(cell) != Cell::Null) => {
            Cell::list(cells.iter().map(number))
        }
        _ => Cell::Null,
    }
}
