//! Decision tables become steps. Owns what a table of the file means, cell by cell: its columns, the tests and the outputs of
//! its rows, their dates, and how rows that all match become one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::super::check::{Checker, Names, Wrong, one_type};
use super::super::finding::{Code, MAX_FINDINGS, Place};
use super::super::jdm::{ColumnDef, TableDef};
use super::super::parse;
use super::super::program::{
    Aggregate, Column, Expr, Initial, Literal, Order, Row, Step, Table, Target, Type, ValueId,
};
use super::super::settings::Dates;
use super::flow::Start;
use super::names::inside;
use super::nodes::{Ways, unknown_policy};
use super::outputs::built_in_default;
use super::{Done, Graph};

/// Keys of a row that are not cells.
const ROW_KEYS: [&str; 4] = ["_id", "_description", "_from", "_until"];

/// An input column.
#[derive(Debug, Clone, Copy)]
enum Head {
    /// Its cells speak of a value; the flag says that it could not be computed.
    Of(ValueId, Option<ValueId>),
    /// Each cell is a statement of its own.
    Statement,
    /// Something is wrong with it, and was told: its cells are passed over.
    Broken,
}

/// What the rows read so far give an output column.
#[derive(Debug, Clone, Copy, Default)]
struct Gives {
    kind: Option<Type>,
    /// Something is wrong with a cell, and was told.
    is_broken: bool,
}

/// A table that is being read.
struct Reading<'a> {
    name: &'a str,
    def: &'a TableDef,
    heads: Vec<Head>,
    sees: &'a Names,
}

// === impl Graph ===

impl Graph<'_> {
    pub(super) fn table(&mut self, at: usize, def: &TableDef, start: Start) -> Result<Done, Wrong> {
        let name = self.nodes[at].name.clone();
        let collect = match def.hit_policy.as_deref() {
            None | Some("" | "first") => false,
            Some("collect") => true,
            Some(other) => return Err(unknown_policy(other)),
        };
        if def.outputs.is_empty() {
            return Err(Wrong::new(Code::Form, "has no output column", "add one"));
        }
        let mut fields = BTreeSet::new();
        if let Some(twice) = def.outputs.iter().map(field).find(|field| !fields.insert(*field)) {
            let place = Place::table(&name).column(twice);
            let wrong = Wrong::new(Code::Form, format!("two columns give `{twice}`"), "give one of them another field");
            self.tell(wrong, place);
        }
        self.count_cells((def.rules.len() + 1).saturating_mul(def.inputs.len() + def.outputs.len()))?;
        let mut ways = self.ways(&def.transform, &start)?;
        let heads = self.heads(&name, def, &ways.sees, start.active);
        let reading = Reading { name: &name, def, heads, sees: &ways.sees };
        let mut rows: Vec<Row> = Vec::with_capacity(def.rules.len());
        let mut gives = vec![Gives::default(); def.outputs.len()];
        for (number, rule) in def.rules.iter().enumerate() {
            let row = self.row(&reading, number, rule, &mut gives);
            rows.push(row);
            if self.findings.len() >= MAX_FINDINGS {
                break;
            }
        }
        self.check_group(&ways.prefix, &mut ways.passes, &rows, collect)?;
        let columns = def.inputs.iter().zip(&reading.heads).map(|(def, head)| Column {
            name: title(def).to_owned(),
            value: match head {
                Head::Of(value, _) => Some(*value),
                Head::Statement | Head::Broken => None,
            },
        });
        let columns = columns.collect();
        let row = self.builder.value(&format!("row of {name}"), Type::Number)?;
        let mut targets = Vec::new();
        for (column, output) in def.outputs.iter().enumerate() {
            let field = field(output);
            if gives[column].kind.is_none() && gives[column].is_broken {
                continue;
            }
            match self.target(&name, field, gives[column].kind, collect, &mut ways) {
                Ok(target) => {
                    for expr in rows.iter().filter_map(|row| row.outputs[column].as_ref()) {
                        self.builder.note_open(target.value, expr);
                    }
                    targets.push(target);
                }
                Err(wrong) => self.tell(wrong, Place::table(&name).column(field)),
            }
        }
        let outputs = def.outputs.iter().map(|def| Column { name: title(def).to_owned(), value: None }).collect();
        let active = start.active;
        self.step(Step::Table(Table { name, columns, rows, outputs, targets, row, collect, active }));
        Ok(Done { names: ways.passes, active, chosen: start.chosen, row: Some(row), ..Done::default() })
    }

    /// Of a table that may fire no row, the output path may be no group that is there already: GoRules empties all of it. The
    /// list of a table that collects takes its place whatever fires.
    fn check_group(&self, prefix: &str, passes: &mut Names, rows: &[Row], collect: bool) -> Result<(), Wrong> {
        let Some(group) = prefix.strip_suffix('.').filter(|_| collect || !rows.iter().any(Row::always_fires)) else {
            return Ok(());
        };
        let given = inside(&passes.given, group);
        let input = passes.inputs.is_some().then(|| inside(&self.settings.inputs, group)).flatten();
        let other = given.or(input);
        if collect {
            return match other {
                None => Ok(()),
                Some(other) => Err(Wrong::new(
                    Code::Graph,
                    format!(
                        "its output path `{group}` has `{other}` already, and in GoRules the list that it collects takes the \
                         place of all of `{group}`"
                    ),
                    "give it another output path",
                )),
            };
        }
        if let Some(other) = other {
            return Err(Wrong::new(
                Code::Graph,
                format!(
                    "its output path `{group}` has `{other}` already, and when no row fires GoRules takes all of `{group}` away"
                ),
                "add a last row with blank cells, or give it another output path",
            ));
        }
        passes.groups.insert(Rc::from(group));
        Ok(())
    }

    fn heads(&mut self, table: &str, def: &TableDef, sees: &Names, active: Option<ValueId>) -> Vec<Head> {
        let mut heads = Vec::new();
        for column in &def.inputs {
            let head = match field(column) {
                "" => Ok(Head::Statement),
                field => self.head(field, sees, active),
            };
            heads.push(head.unwrap_or_else(|wrong| {
                self.tell(wrong, Place::table(table).column(title(column)).cell(field(column)));
                Head::Broken
            }));
        }
        heads
    }

    fn head(&mut self, field: &str, sees: &Names, active: Option<ValueId>) -> Result<Head, Wrong> {
        let node = parse::expression(field)?;
        let (expr, kind) = Checker { builder: &mut self.builder, names: sees, column: None }.expr(&node)?;
        if let Expr::Value(id) = expr {
            return Ok(Head::Of(id, None));
        }
        let kind = kind.ok_or_else(|| Wrong::new(Code::Type, "never has a value", "remove the column"))?;
        let value = self.builder.value(field, kind)?;
        self.builder.note_open(value, &expr);
        let failed = if expr.can_fail() { Some(self.builder.value("", Type::Flag)?) } else { None };
        self.step(Step::Let { value, expr, failed, active });
        Ok(Head::Of(value, failed))
    }

    fn row(
        &mut self,
        reading: &Reading<'_>,
        number: usize,
        rule: &BTreeMap<String, Value>,
        gives: &mut [Gives],
    ) -> Row {
        let Reading { name, def, heads, sees } = reading;
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().trim();
        let place = || Place::table(name).row(number);
        let mut row =
            Row { tests: vec![], also: vec![], outputs: vec![], cells: vec![], note: text("_description").to_owned() };
        for (key, value) in rule.iter().filter(|(_, value)| !matches!(value, Value::String(_) | Value::Null)) {
            if !ROW_KEYS.contains(&key.as_str()) {
                let message = format!("the cell {key:?} holds {value}, not a text");
                self.tell(Wrong::new(Code::Form, message, "write cells as texts, such as \"5\""), place());
            }
        }
        for (column, head) in def.inputs.iter().zip(heads) {
            let cell = text(&column.id);
            let written = self.written(number, &column.id).unwrap_or(cell);
            row.cells.push(written.to_owned());
            let test = self.cell(cell, *head, sees).unwrap_or_else(|wrong| {
                self.tell(wrong, place().column(title(column)).cell(written));
                None
            });
            row.tests.push(test);
        }
        for (column, gives) in def.outputs.iter().zip(gives) {
            let cell = text(&column.id);
            let written = self.written(number, &column.id).unwrap_or(cell);
            row.cells.push(written.to_owned());
            let expr = self.output_cell(cell, sees, &mut gives.kind).unwrap_or_else(|wrong| {
                gives.is_broken = true;
                self.tell(wrong, place().column(title(column)).cell(written));
                None
            });
            row.outputs.push(expr);
        }
        let id = text("_id");
        *self.row_ids.entry(id.to_owned()).or_default() += 1;
        let mut dates = self.settings.dates.get(id).cloned().unwrap_or_default();
        for (date, key) in [(&mut dates.from, "_from"), (&mut dates.until, "_until")] {
            let own = Some(text(key)).filter(|text| !text.is_empty());
            if let (Some(own), Some(other)) = (own, &*date) {
                let message = format!("its own `{key}` says {own}, and `dates` of x-selvedge {other}");
                self.tell(Wrong::new(Code::Form, message, "keep one of them"), place());
            }
            *date = date.take().or(own.map(str::to_owned));
        }
        match self.dates(&dates) {
            Ok(also) => row.also = also,
            Err(wrong) => self.tell(wrong, place()),
        }
        row
    }

    fn cell(&mut self, cell: &str, head: Head, sees: &Names) -> Result<Option<Expr>, Wrong> {
        if matches!(cell, "" | "-") || matches!(head, Head::Broken) {
            return Ok(None);
        }
        let (column, failed) = match head {
            Head::Of(value, failed) => (Some(value), failed),
            Head::Statement | Head::Broken => (None, None),
        };
        let mut checker = Checker { builder: &mut self.builder, names: sees, column };
        let test = match column {
            Some(_) => checker.cell(&parse::tests(cell)?)?,
            None => checker.typed(&parse::expression(cell)?, Type::Flag, "as a statement")?,
        };
        Ok(Some(match failed {
            Some(failed) => Expr::And(Box::new(Expr::Not(Box::new(Expr::Value(failed)))), Box::new(test)),
            None => test,
        }))
    }

    fn output_cell(&mut self, cell: &str, sees: &Names, kind: &mut Option<Type>) -> Result<Option<Expr>, Wrong> {
        if cell.is_empty() {
            return Ok(None);
        }
        let node = parse::expression(cell)?;
        let (expr, found) = Checker { builder: &mut self.builder, names: sees, column: None }.expr(&node)?;
        *kind = one_type(*kind, found, "the rows before and this one").map_err(|_| {
            let kinds = [*kind, found].map(|kind| kind.map_or_else(String::new, |kind| kind.to_string()));
            Wrong::new(
                Code::OutputType,
                format!("gives a {}, while rows before give a {}", kinds[1], kinds[0]),
                "one column has one type: texts in quotes, numbers without",
            )
        })?;
        Ok(Some(expr))
    }

    fn dates(&mut self, dates: &Dates) -> Result<Vec<Expr>, Wrong> {
        let [from, until] = dates.seconds().map_err(|why| {
            Wrong::new(Code::Syntax, why, "write dates as 2026-11-25, moments as 2026-11-25T08:00:00Z")
        })?;
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            return Err(Wrong::new(
                Code::Contradiction,
                "its `until` is not after its `from`: it never holds",
                "swap them",
            ));
        }
        let mut also = Vec::new();
        for (order, moment) in [(Order::MoreOrEqual, from), (Order::Less, until)] {
            if let Some(moment) = moment {
                let now = Expr::Value(self.builder.now()?);
                also.push(Expr::Order(order, Box::new(now), Box::new(Expr::Literal(Literal::Number(moment)))));
            }
        }
        Ok(also)
    }

    fn target(
        &mut self,
        table: &str,
        field: &str,
        kind: Option<Type>,
        collect: bool,
        ways: &mut Ways,
    ) -> Result<Target, Wrong> {
        if field.ends_with("[]") {
            return Err(Wrong::new(
                Code::Unsupported,
                "collects a list, which a module cannot answer",
                "turn on hit policy collect and say in x-selvedge how the values become one",
            ));
        }
        let kind =
            kind.ok_or_else(|| Wrong::new(Code::Type, "no row gives a value", "fill the column or remove it"))?;
        let name = format!("{}{field}", ways.prefix);
        if !collect {
            let is_seen = ways.passes.given.contains_key(name.as_str())
                || ways.passes.inputs.is_some() && self.settings.inputs.contains_key(&name);
            let before = if is_seen { Some(self.builder.resolve(&ways.passes, &name)?) } else { None };
            let value = self.give(ways, field, kind)?;
            let Some(before) = before else { return Ok(Target { value, aggregate: None, initial: Initial::Missing }) };
            one_type(Some(kind), Some(self.builder.kind(before)), &format!("`{field}` here and before"))?;
            return Ok(Target { value, aggregate: None, initial: Initial::Value(before) });
        }
        let word = self.settings.collect.get(table).and_then(|table| table.get(field)).ok_or_else(|| {
            Wrong::new(
                Code::Form,
                "the table collects, and nothing says how the values of this column become one",
                format!(
                    "say in x-selvedge: \"collect\": {{ \"{table}\": {{ \"{field}\": \"sum\" }} }}, or min, max, count"
                ),
            )
        })?;
        let aggregate = Aggregate::from(*word);
        if aggregate != Aggregate::Count && kind != Type::Number {
            return Err(Wrong::new(Code::Type, format!("a {kind} has no sum, min or max"), "use \"count\""));
        }
        let value = self.give(ways, field, Type::Number)?;
        // Of no row, what has a default has no value: it would never stand in for a 0.
        let said = self.settings.outputs.get(&name).is_some_and(|def| def.default.is_some());
        let initial = match aggregate {
            Aggregate::Sum | Aggregate::Count if !said && built_in_default(&name).is_none() => Initial::Zero,
            _ => Initial::Missing,
        };
        Ok(Target { value, aggregate: Some(aggregate), initial })
    }
}

fn field(column: &ColumnDef) -> &str {
    column.field.as_deref().unwrap_or_default().trim()
}

/// A column's head as people see it.
fn title(column: &ColumnDef) -> &str {
    let name = column.name.as_deref().filter(|name| !name.trim().is_empty());
    name.or(column.field.as_deref()).unwrap_or(&column.id)
}
