//! What can be said of a table without running it: rows that never fire, inputs that no row takes, cells that nothing passes.
//! Owns the analysis. It splits each column's values into classes that no cell tells apart, and looks at every combination;
//! where there are too many, it compares rows in pairs.
//!
//! Cells that read more than their own column or compute with it, dates, statements of their own, and outputs that may fail
//! may hold or not; nothing is concluded from them.

mod classes;
mod rows;

use std::collections::BTreeSet;

use selvedge_decision::definition::FeaturesDef;
use selvedge_decision::manifest::Derive;

use super::Rules;
use super::finding::{Code, Finding, Level, MAX_FINDINGS, Place};
use super::program::{Program, Table, ValueId};
use crate::definitions::nearest;

use self::classes::{Axis, Class, Grid};
use self::rows::Rows;

/// The most combinations of classes that are looked at.
const MAX_COMBINATIONS: usize = 200_000;
/// Tables with more rows are not compared row by row.
const MAX_PAIRED_ROWS: usize = 400;
/// The most words of row sets that are gone through for one file.
const MAX_WORDS: usize = 50_000_000;

/// Everything there is to say about rules that can be built.
pub fn lint(rules: &Rules) -> Vec<Finding> {
    let mut findings = rules.findings.clone();
    let mut words = MAX_WORDS;
    for table in rules.program.tables() {
        let mut lint = Lint { program: &rules.program, table, findings: Vec::new(), words };
        lint.table();
        words = lint.words;
        findings.extend(lint.findings);
    }
    // What is merely good to know gives way.
    if findings.len() > MAX_FINDINGS {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        findings.truncate(MAX_FINDINGS);
    }
    findings.iter_mut().for_each(|finding| rules.file.clone_into(&mut finding.file));
    findings
}

/// Inputs that no view of `features` and no context of a placement provides.
pub fn unknown_features(rules: &Rules, features: &FeaturesDef, contexts: &BTreeSet<String>) -> Vec<Finding> {
    let mut known: BTreeSet<String> = contexts.iter().map(|name| format!("context.{name}")).collect();
    for (view, def) in &features.view {
        known.extend(def.features.keys().chain(def.aggregates.keys()).map(|feature| format!("{view}.{feature}")));
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
    /// How many words of row sets may still be gone through.
    words: usize,
}

// === impl Lint ===

impl Lint<'_> {
    fn table(&mut self) {
        let Some(grid) = Grid::new(self.program, self.table) else {
            return self.skipped("it has more values than can be looked at: nothing is said of its rows");
        };
        self.words = self.words.saturating_sub(grid.words);
        let contradictory = self.contradictions(&grid);
        let combinations = grid.axes.iter().try_fold(1usize, |all, axis| all.checked_mul(axis.classes.len()));
        let combinations = combinations.filter(|all| {
            *all <= MAX_COMBINATIONS && self.spend(all.saturating_mul(grid.every.words() * grid.axes.len().max(1)))
        });
        if combinations.is_some() {
            let mut seen = Seen { reachable: Rows::new(self.table.rows.len(), |_| false), gap: None };
            walk(&grid, &mut Vec::new(), &grid.every, &grid.sure, &mut seen, self.table.collect);
            for row in (0..self.table.rows.len()).filter(|row| !seen.reachable.has(*row) && !contradictory.has(*row)) {
                self.unreachable(row, "the rows before it take everything that it takes");
            }
            match seen.gap.filter(|_| !self.table.collect) {
                Some(gap) if self.reads_inputs_alone() => self.gap(&grid, &gap),
                Some(_) => self.skipped(
                    "a node before decides when it runs, or computes a column: whether that leaves a gap is not known",
                ),
                None => {}
            }
        } else {
            self.skipped(
                "its cells tell too many cases apart: gaps, and rows that several rows hide, are not looked for",
            );
        }
        if self.table.rows.len() <= MAX_PAIRED_ROWS && !self.table.collect {
            self.pairs(&grid, combinations.is_none(), &contradictory);
        }
    }

    /// Whether so many words may be gone through; they count.
    fn spend(&mut self, words: usize) -> bool {
        let may = words <= self.words;
        self.words -= if may { words } else { 0 };
        may
    }

    /// Whether it always runs, and its columns are inputs: any values of them may come together.
    fn reads_inputs_alone(&self) -> bool {
        let is_input = |value: &ValueId| self.program.input_values.binary_search(value).is_ok();
        self.table.active.is_none()
            && self.table.columns.iter().filter_map(|column| column.value.as_ref()).all(is_input)
    }

    fn tell(&mut self, code: Code, level: Level, place: Place, message: String, advice: &str) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { level, ..Finding::error(code, place, message, advice) });
        }
    }

    fn skipped(&mut self, why: &str) {
        let place = Place::table(&self.table.name);
        self.tell(Code::Skipped, Level::Information, place, why.to_owned(), "");
    }

    fn place(&self, row: usize) -> Place {
        Place::table(&self.table.name).row(row)
    }

    /// Rows with a cell that no value passes.
    fn contradictions(&mut self, grid: &Grid) -> Rows {
        let mut rows = Rows::new(self.table.rows.len(), |_| false);
        for axis in &grid.axes {
            let mut passed = Rows::new(self.table.rows.len(), |_| false);
            axis.classes.iter().for_each(|class| passed.add(&class.may));
            for row in (0..self.table.rows.len()).filter(|row| !passed.has(*row)) {
                rows.insert(row);
                let cells = axis.columns.iter().map(|at| self.table.rows[row].cells[*at].as_str());
                let cells: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
                let place = self.place(row).column(self.name(axis)).cell(&cells.join(" and "));
                self.tell(
                    Code::Contradiction,
                    Level::Warning,
                    place,
                    "no value passes this cell".into(),
                    "the row never fires: mend the cell or remove the row",
                );
            }
        }
        rows
    }

    fn name(&self, axis: &Axis) -> &str {
        axis.columns.first().map_or("", |at| self.table.columns[*at].name.as_str())
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
            .zip(&grid.axes)
            .filter(|(_, axis)| axis.classes.len() > 1)
            .map(|(class, axis)| {
                let value = axis.columns.first().and_then(|at| self.table.columns[*at].value);
                format!("{} = {}", self.name(axis), axis.classes[*class].show(self.program, value))
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
    fn pairs(&mut self, grid: &Grid, look_for_hidden: bool, contradictory: &Rows) {
        let rows = self.table.rows.len();
        // The classes that each row takes, column by column.
        let taken: Vec<Vec<Rows>> = (0..rows)
            .map(|row| {
                let of = |axis: &Axis| Rows::new(axis.classes.len(), |class| axis.classes[class].may.has(row));
                grid.axes.iter().map(of).collect()
            })
            .collect();
        let words: usize = taken.first().map_or(0, |row| row.iter().map(Rows::words).sum());
        if !self.spend(rows * rows * words) {
            return self.skipped("its cells tell too many cases apart: overlaps are not looked for");
        }
        let within = |inner: usize, outer: usize| {
            taken[inner].iter().zip(&taken[outer]).all(|(inner, outer)| inner.is_within(outer))
        };
        let meets = |a: usize, b: usize| taken[a].iter().zip(&taken[b]).all(|(a, b)| a.meets(b));
        for later in (1..rows).filter(|row| !contradictory.has(*row)) {
            if look_for_hidden
                && let Some(hides) = (0..later).find(|earlier| grid.sure.has(*earlier) && within(later, *earlier))
            {
                self.unreachable(later, &format!("row {} takes everything that it takes", hides + 1));
                continue;
            }
            let partly = (0..later).find(|earlier| {
                !contradictory.has(*earlier)
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
    reachable: Rows,
    /// The classes of a combination that no row takes.
    gap: Option<Vec<usize>>,
}

fn walk(grid: &Grid, chosen: &mut Vec<usize>, may: &Rows, sure: &Rows, seen: &mut Seen, collect: bool) {
    let Some(axis) = grid.axes.get(chosen.len()) else {
        if collect {
            seen.reachable.add(may);
        } else {
            seen.reachable.add(&may.up_to(sure));
        }
        let missing = chosen.iter().zip(&grid.axes).any(|(class, axis)| axis.classes[*class].is_missing);
        if may.is_empty() && !missing && seen.gap.is_none() {
            seen.gap = Some(chosen.clone());
        }
        return;
    };
    for (at, Class { may: own, .. }) in axis.classes.iter().enumerate() {
        chosen.push(at);
        walk(grid, chosen, &may.and(own), &sure.and(own), seen, collect);
        chosen.pop();
    }
}
