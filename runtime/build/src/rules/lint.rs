//! What can be said of a table without running it: rows that never fire, inputs that no row takes, cells that nothing passes.
//! Owns the analysis. It splits each column's values into classes that no cell tells apart, and looks at every combination;
//! where there are too many, it compares rows in pairs.
//!
//! Cells that read more than their own column, dates and statements of their own may hold or not; nothing is concluded from
//! them.

mod classes;

use std::collections::BTreeSet;

use selvedge_decision::definition::FeaturesDef;
use selvedge_decision::manifest::Derive;

use super::Rules;
use super::finding::{Code, Finding, Level, MAX_FINDINGS, Place};
use super::program::{Program, Table};
use crate::definitions::nearest;

use self::classes::{Class, Grid};

/// The most combinations of classes that are looked at.
const MAX_COMBINATIONS: usize = 200_000;
/// Tables with more rows are not compared row by row.
const MAX_PAIRED_ROWS: usize = 400;

/// Everything there is to say about rules that can be built.
pub fn lint(rules: &Rules) -> Vec<Finding> {
    let mut findings = rules.findings.clone();
    for table in rules.program.tables() {
        let mut lint = Lint { program: &rules.program, table, findings: Vec::new() };
        lint.table();
        findings.extend(lint.findings);
    }
    findings.truncate(MAX_FINDINGS);
    findings.iter_mut().for_each(|finding| rules.file.clone_into(&mut finding.file));
    findings
}

/// Inputs that no view of `features` and no context of a placement provides.
pub fn unknown_features(rules: &Rules, features: &FeaturesDef, contexts: &BTreeSet<String>) -> Vec<Finding> {
    let mut known: BTreeSet<String> = contexts.iter().map(|name| format!("context.{name}")).collect();
    for (view, def) in &features.view {
        known.extend(def.features.keys().map(|feature| format!("{view}.{feature}")));
    }
    known.insert("candidate.id".to_owned());
    let mut needed = BTreeSet::new();
    for input in &rules.program.inputs {
        match &input.derive {
            None => drop(needed.insert(input.name.clone())),
            Some(
                Derive::StartsWith { of, .. }
                | Derive::EndsWith { of, .. }
                | Derive::Contains { of, .. }
                | Derive::Includes { of, .. }
                | Derive::Age { of },
            ) => {
                needed.insert(of.clone());
            }
            Some(Derive::Dot { a, b } | Derive::Cosine { a, b }) => needed.extend([a.clone(), b.clone()]),
            Some(Derive::MinuteOfDay | Derive::DayOfWeek | Derive::EpochSeconds) => {}
        }
    }
    let unknown = needed.into_iter().filter(|name| !known.contains(name));
    let tell = |name: String| {
        let hint = nearest(&name, known.iter().map(String::as_str)).map(|known| format!("; did you mean `{known}`?"));
        let message = format!("no view and no placement's context has `{name}`{}", hint.unwrap_or_default());
        let advice = "add it to features.toml, or to `context` of the placement";
        let finding = Finding::error(Code::UnknownFeature, Place::default().column(&name), message, advice);
        Finding { file: rules.file.clone(), ..finding }
    };
    unknown.map(tell).collect()
}

struct Lint<'p> {
    program: &'p Program,
    table: &'p Table,
    findings: Vec<Finding>,
}

// === impl Lint ===

impl Lint<'_> {
    fn table(&mut self) {
        let grid = Grid::new(self.program, self.table);
        let contradictory = self.contradictions(&grid);
        let combinations = grid.columns.iter().try_fold(1usize, |all, column| all.checked_mul(column.len()));
        if combinations.is_some_and(|all| all <= MAX_COMBINATIONS) {
            let mut seen = Seen { reachable: vec![false; self.table.rows.len()], gap: None };
            walk(&grid, &mut Vec::new(), &grid.every.clone(), &grid.sure.clone(), &mut seen, self.table.collect);
            for row in (0..seen.reachable.len()).filter(|row| !seen.reachable[*row] && !contradictory.contains(row)) {
                self.unreachable(row, "the rows before it take everything that it takes");
            }
            if let Some(gap) = seen.gap.filter(|_| !self.table.collect) {
                self.gap(&grid, &gap);
            }
        }
        if self.table.rows.len() <= MAX_PAIRED_ROWS && !self.table.collect {
            self.pairs(&grid, combinations.is_none_or(|all| all > MAX_COMBINATIONS), &contradictory);
        }
    }

    fn tell(&mut self, code: Code, level: Level, place: Place, message: String, advice: &str) {
        self.findings.push(Finding { level, ..Finding::error(code, place, message, advice) });
    }

    fn place(&self, row: usize) -> Place {
        Place::table(&self.table.name).row(row)
    }

    /// Rows with a cell that no value passes.
    fn contradictions(&mut self, grid: &Grid) -> BTreeSet<usize> {
        let mut rows = BTreeSet::new();
        for (at, column) in grid.columns.iter().enumerate() {
            for row in 0..self.table.rows.len() {
                if column.iter().all(|class| !class.may.has(row)) {
                    rows.insert(row);
                    let place =
                        self.place(row).column(&self.table.columns[at].name).cell(&self.table.rows[row].cells[at]);
                    self.tell(
                        Code::Contradiction,
                        Level::Warning,
                        place,
                        "no value passes this cell".into(),
                        "the row never fires: mend the cell or remove the row",
                    );
                }
            }
        }
        rows
    }

    fn unreachable(&mut self, row: usize, why: &str) {
        let place = self.place(row);
        self.tell(
            Code::UnreachableRow,
            Level::Warning,
            place,
            format!("never fires: {why}"),
            "move it up, narrow the rows before it, or remove it",
        );
    }

    fn gap(&mut self, grid: &Grid, gap: &[usize]) {
        let values: Vec<String> = gap
            .iter()
            .enumerate()
            .filter(|(column, _)| grid.columns[*column].len() > 1)
            .map(|(column, class)| {
                let shown = grid.columns[column][*class].show(self.program, self.table.columns[column].value);
                format!("{} = {shown}", self.table.columns[column].name)
            })
            .collect();
        let values = if values.is_empty() { "any input".to_owned() } else { values.join(", ") };
        self.tell(
            Code::Gap,
            Level::Warning,
            Place::table(&self.table.name),
            format!("no row takes {values}"),
            "add a last row with blank cells that says what holds then",
        );
    }

    /// Rows that overlap in part, and, when combinations were too many, rows that one row before hides.
    fn pairs(&mut self, grid: &Grid, look_for_hidden: bool, contradictory: &BTreeSet<usize>) {
        let rows = self.table.rows.len();
        for later in (1..rows).filter(|row| !contradictory.contains(row)) {
            let of =
                |row: usize| grid.columns.iter().map(move |column| column.iter().map(move |class| class.may.has(row)));
            let within = |inner: usize, outer: usize| {
                of(inner).zip(of(outer)).all(|(inner, outer)| inner.zip(outer).all(|(inner, outer)| !inner || outer))
            };
            let meets = |a: usize, b: usize| of(a).zip(of(b)).all(|(a, b)| a.zip(b).any(|(a, b)| a && b));
            if look_for_hidden
                && let Some(hides) = (0..later).find(|earlier| grid.sure.has(*earlier) && within(later, *earlier))
            {
                self.unreachable(later, &format!("row {} takes everything that it takes", hides + 1));
                continue;
            }
            let partly = (0..later).find(|earlier| {
                !contradictory.contains(earlier)
                    && meets(*earlier, later)
                    && !within(*earlier, later)
                    && !within(later, *earlier)
            });
            if let Some(earlier) = partly {
                let place = self.place(later);
                let message = format!("row {} takes some of the same inputs, and wins there", earlier + 1);
                self.tell(Code::Overlap, Level::Information, place, message, "");
            }
        }
    }
}

/// What walking over all combinations finds.
struct Seen {
    reachable: Vec<bool>,
    /// The classes of a combination that no row takes.
    gap: Option<Vec<usize>>,
}

fn walk(
    grid: &Grid,
    chosen: &mut Vec<usize>,
    may: &classes::Rows,
    sure: &classes::Rows,
    seen: &mut Seen,
    collect: bool,
) {
    let Some(column) = grid.columns.get(chosen.len()) else {
        for row in may.iter() {
            seen.reachable[row] = true;
            if sure.has(row) && !collect {
                break;
            }
        }
        let missing = chosen.iter().zip(&grid.columns).any(|(class, column)| column[*class].is_missing);
        if may.is_empty() && !missing && seen.gap.is_none() {
            seen.gap = Some(chosen.clone());
        }
        return;
    };
    for (at, Class { may: own, .. }) in column.iter().enumerate() {
        chosen.push(at);
        walk(grid, chosen, &may.and(own), &sure.and(own), seen, collect);
        chosen.pop();
    }
}
