//! Nodes become steps. Owns what a decision table, an expression node and a switch of the file mean, cell by cell; every
//! mistake in a node is told, not the first alone.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::check::{Checker, Names, Wrong, one_type};
use super::super::finding::{Code, MAX_FINDINGS, Place};
use super::super::jdm::{Content, ExpressionsDef, MAX_CELLS, SwitchDef, TableDef, Transform};
use super::super::parse;
use super::super::program::{Aggregate, Column, Expr, Literal, Order, Row, Step, Table, Target, Type, ValueId};
use super::super::settings::Dates;
use super::super::syntax::Node;
use super::flow::{Start, is_within};
use super::{Done, Graph};

/// Keys of a row that are not cells.
const ROW_KEYS: [&str; 4] = ["_id", "_description", "_from", "_until"];

/// How a node takes what arrives, and where what it gives goes.
struct Ways {
    /// What its own expressions see.
    sees: Names,
    /// What is handed on beside what it gives.
    passes: Names,
    /// Before every name it gives.
    prefix: String,
}

// === impl Graph ===

impl Graph<'_> {
    /// Makes the steps of node `at`.
    pub(super) fn node(&mut self, at: usize) {
        let told = self.findings.len();
        if self.edges.iter().any(|edge| edge.target_id == self.nodes[at].id && self.is_broken(&edge.source_id)) {
            // What is wrong was told where it is wrong; here it would be told again.
            self.done[at].broken = true;
            return;
        }
        match self.try_node(at) {
            Ok(done) => self.done[at] = done,
            Err(wrong) => self.tell(wrong, Place::table(&self.nodes[at].name)),
        }
        self.done[at].broken = self.findings.len() > told;
    }

    fn is_broken(&self, id: &str) -> bool {
        self.nodes.iter().zip(&self.done).any(|(node, done)| node.id == id && done.broken)
    }

    fn try_node(&mut self, at: usize) -> Result<Done, Wrong> {
        // Taken out, so that the steps can be added while it is read.
        let content = std::mem::replace(&mut self.contents[at], Content::Input);
        let done = match &content {
            Content::Input => {
                Ok(Done { names: Names { inputs: Some(String::new()), ..Names::default() }, ..Done::default() })
            }
            Content::Output => Ok(Done::default()),
            Content::Table(def) => self.start(at).and_then(|start| self.table(at, def, start)),
            Content::Expressions(def) => self.start(at).and_then(|start| self.expressions(at, def, start)),
            Content::Switch(def) => self.start(at).and_then(|start| self.switch(at, def, start)),
        };
        self.contents[at] = content;
        done
    }

    fn ways(&self, transform: &Transform, start: &Start) -> Result<Ways, Wrong> {
        if !matches!(transform.execution_mode.as_deref(), None | Some("" | "single")) {
            return Err(Wrong::new(
                Code::Unsupported,
                "runs as a loop over a list, which is not in the profile",
                "every candidate is a row of its own already: rules see one at a time",
            ));
        }
        let mut sees = start.names.clone();
        let field = transform.input_field.as_deref().map(str::trim).filter(|field| !field.is_empty());
        if let Some(field) = field {
            if !is_path(field) {
                return Err(Wrong::new(
                    Code::Unsupported,
                    format!("its input field `{field}` is no group of inputs"),
                    "name a group such as `cart`, or leave it empty",
                ));
            }
            let inside = start.names.given.iter().filter(|(name, _)| is_within(name, field));
            sees.given = inside.map(|(name, id)| (name[field.len() + 1..].to_owned(), *id)).collect();
            sees.inputs = start.names.inputs.as_ref().map(|prefix| format!("{prefix}{field}."));
        }
        let path = transform.output_path.as_deref().map(str::trim).filter(|path| !path.is_empty());
        if let Some(path) = path.filter(|path| !is_path(path)) {
            return Err(Wrong::new(
                Code::Syntax,
                format!("its output path `{path}` is no name"),
                "write such as `cart.discount`",
            ));
        }
        let passes = if transform.pass_through == Some(true) { start.names.clone() } else { Names::default() };
        Ok(Ways { sees, passes, prefix: path.map(|path| format!("{path}.")).unwrap_or_default() })
    }

    /// A name the node gives: its own value, in place of what it passes on under that name.
    fn give(&mut self, ways: &mut Ways, key: &str, kind: Type) -> Result<(ValueId, Option<ValueId>), Wrong> {
        let name = format!("{}{key}", ways.prefix);
        if !is_path(&name) {
            return Err(Wrong::new(Code::Syntax, format!("`{name}` is no name"), "use letters, digits, `_` and dots"));
        }
        let other = ways.passes.given.keys().find(|other| is_within(other, &name) || is_within(&name, other));
        if let Some(other) = other {
            return Err(Wrong::new(
                Code::Graph,
                format!("`{name}` and `{other}`: one is a value, the other a group of values"),
                "give one of them another name",
            ));
        }
        let input = ways.passes.inputs.is_some() && self.settings.inputs.contains_key(&name);
        let before = match ways.passes.given.get(&name) {
            Some(id) => Some(*id),
            None if input => Some(self.builder.resolve(&ways.passes, &name)?),
            None => None,
        };
        let value = self.builder.value(&name, kind)?;
        ways.passes.given.insert(name, value);
        Ok((value, before))
    }

    // === expressions ===

    fn expressions(&mut self, at: usize, def: &ExpressionsDef, start: Start) -> Result<Done, Wrong> {
        let mut ways = self.ways(&def.transform, &start)?;
        for expression in &def.expressions {
            let (key, text) = (expression.key.trim(), expression.value.trim());
            if key.is_empty() || text.is_empty() {
                continue;
            }
            self.count_cells(1)?;
            if let Err(wrong) = self.expression(&mut ways, key, text, start.active.as_ref()) {
                self.tell(wrong, Place::table(&self.nodes[at].name).column(key).cell(text));
            }
        }
        Ok(Done { names: ways.passes, active: start.active, chosen: start.chosen, ..Done::default() })
    }

    fn expression(&mut self, ways: &mut Ways, key: &str, text: &str, active: Option<&Expr>) -> Result<(), Wrong> {
        let node = parse::expression(text)?;
        let mut checker = Checker { builder: &mut self.builder, names: &ways.sees, column: None };
        let (expr, kind) = checker.expr(&node)?;
        let kind = kind.ok_or_else(|| Wrong::new(Code::Type, "never has a value", "remove the key"))?;
        let (value, _) = self.give(ways, key, kind)?;
        self.builder.note_open(value, &expr);
        ways.sees.own.insert(key.to_owned(), value);
        self.steps.push(Step::Let { value, expr, failed: None, active: active.cloned() });
        Ok(())
    }

    // === switches ===

    fn switch(&mut self, at: usize, def: &SwitchDef, start: Start) -> Result<Done, Wrong> {
        let first = match def.hit_policy.as_deref() {
            None | Some("" | "first") => true,
            Some("collect") => false,
            Some(other) => return Err(unknown_policy(other)),
        };
        self.count_cells(def.statements.len())?;
        let mut branches = Vec::new();
        let mut flags = BTreeMap::new();
        for (row, statement) in def.statements.iter().enumerate() {
            let text = statement.condition.trim();
            let condition = self.condition(&start.names, text);
            let place = || Place::table(&self.nodes[at].name).row(row).cell(text);
            match condition {
                Ok(condition) => {
                    let flag = self.builder.value("", Type::Flag)?;
                    branches.push((flag, condition));
                    if flags.insert(statement.id.clone(), flag).is_some() {
                        let message = format!("the statement id {:?} stands twice", statement.id);
                        let place = place();
                        self.tell(Wrong::new(Code::Graph, message, "give each its own"), place);
                    }
                }
                Err(wrong) => {
                    let place = place();
                    self.tell(wrong, place);
                }
            }
        }
        self.steps.push(Step::Switch { branches, first, active: start.active.clone() });
        Ok(Done { names: start.names, active: start.active, branches: flags, chosen: start.chosen, ..Done::default() })
    }

    fn condition(&mut self, names: &Names, text: &str) -> Result<Option<Expr>, Wrong> {
        if text.is_empty() {
            return Ok(None);
        }
        let node = parse::expression(text)?;
        Checker { builder: &mut self.builder, names, column: None }.typed(&node, Type::Flag, "as a condition").map(Some)
    }

    // === tables ===

    fn table(&mut self, at: usize, def: &TableDef, start: Start) -> Result<Done, Wrong> {
        let name = self.nodes[at].name.clone();
        let collect = match def.hit_policy.as_deref() {
            None | Some("" | "first") => false,
            Some("collect") => true,
            Some(other) => return Err(unknown_policy(other)),
        };
        if def.outputs.is_empty() {
            return Err(Wrong::new(Code::Form, "has no output column", "add one"));
        }
        self.count_cells(def.rules.len().saturating_mul(def.inputs.len() + def.outputs.len()))?;
        let mut ways = self.ways(&def.transform, &start)?;
        let columns = self.columns(&name, def, &ways, start.active.as_ref());
        let mut rows: Vec<Row> = Vec::with_capacity(def.rules.len());
        let mut kinds = vec![None; def.outputs.len()];
        for (number, rule) in def.rules.iter().enumerate() {
            let row = self.row(&name, number, rule, def, &columns, &ways.sees, &mut kinds);
            rows.push(row);
            if self.findings.len() >= MAX_FINDINGS {
                break;
            }
        }
        let row = self.builder.value(&format!("row of {name}"), Type::Number)?;
        let mut targets = Vec::new();
        for (column, output) in def.outputs.iter().enumerate() {
            let field = output.field.as_deref().unwrap_or_default().trim();
            match self.target(&name, field, kinds[column], collect, &mut ways) {
                Ok(target) => {
                    for expr in rows.iter().filter_map(|row| row.outputs[column].as_ref()) {
                        self.builder.note_open(target.value, expr);
                    }
                    targets.push(target);
                }
                Err(wrong) => self.tell(wrong, Place::table(&name).column(field)),
            }
        }
        let head = |column: &super::super::jdm::ColumnDef| {
            let name = column.name.as_deref().filter(|name| !name.trim().is_empty()).or(column.field.as_deref());
            Column { name: name.unwrap_or(&column.id).to_owned(), value: None }
        };
        let columns = def.inputs.iter().zip(columns).map(|(def, (value, _))| Column { value, ..head(def) }).collect();
        let outputs = def.outputs.iter().map(head).collect();
        let active = start.active.clone();
        self.steps.push(Step::Table(Table { name, columns, rows, outputs, targets, row, collect, active }));
        Ok(Done { names: ways.passes, active: start.active, chosen: start.chosen, row: Some(row), ..Done::default() })
    }

    /// For each input column its value, and the flag that says that it could not be computed.
    fn columns(
        &mut self,
        table: &str,
        def: &TableDef,
        ways: &Ways,
        active: Option<&Expr>,
    ) -> Vec<(Option<ValueId>, Option<ValueId>)> {
        let mut columns = Vec::new();
        for column in &def.inputs {
            let field = column.field.as_deref().unwrap_or_default().trim();
            if field.is_empty() {
                columns.push((None, None));
                continue;
            }
            columns.push(self.column(field, ways, active).unwrap_or_else(|wrong| {
                let head = column.name.as_deref().unwrap_or(field);
                self.tell(wrong, Place::table(table).column(head).cell(field));
                (None, None)
            }));
        }
        columns
    }

    fn column(
        &mut self,
        field: &str,
        ways: &Ways,
        active: Option<&Expr>,
    ) -> Result<(Option<ValueId>, Option<ValueId>), Wrong> {
        let node = parse::expression(field)?;
        let mut checker = Checker { builder: &mut self.builder, names: &ways.sees, column: None };
        let (expr, kind) = checker.expr(&node)?;
        if let Expr::Value(id) = expr {
            return Ok((Some(id), None));
        }
        let kind = kind.ok_or_else(|| Wrong::new(Code::Type, "never has a value", "remove the column"))?;
        let value = self.builder.value(field, kind)?;
        self.builder.note_open(value, &expr);
        let failed = if expr.can_fail() { Some(self.builder.value("", Type::Flag)?) } else { None };
        self.steps.push(Step::Let { value, expr, failed, active: active.cloned() });
        Ok((Some(value), failed))
    }

    #[allow(clippy::too_many_arguments, reason = "a row is read from all that the table knows")]
    fn row(
        &mut self,
        table: &str,
        number: usize,
        rule: &BTreeMap<String, Value>,
        def: &TableDef,
        columns: &[(Option<ValueId>, Option<ValueId>)],
        sees: &Names,
        kinds: &mut [Option<Type>],
    ) -> Row {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().trim();
        let mut row =
            Row { tests: vec![], also: vec![], outputs: vec![], cells: vec![], note: text("_description").to_owned() };
        for (key, value) in rule.iter().filter(|(_, value)| !matches!(value, Value::String(_) | Value::Null)) {
            if !ROW_KEYS.contains(&key.as_str()) {
                let message = format!("the cell {key:?} holds {value}, not a text");
                self.tell(
                    Wrong::new(Code::Form, message, "write cells as texts, such as \"5\""),
                    Place::table(table).row(number),
                );
            }
        }
        for (column, (value, failed)) in def.inputs.iter().zip(columns) {
            let cell = text(&column.id);
            row.cells.push(cell.to_owned());
            let head = column.name.as_deref().or(column.field.as_deref()).unwrap_or_default();
            let test = self.cell(cell, *value, *failed, sees).unwrap_or_else(|wrong| {
                self.tell(wrong, Place::table(table).row(number).column(head).cell(cell));
                None
            });
            row.tests.push(test);
        }
        for (column, kind) in def.outputs.iter().zip(kinds) {
            let cell = text(&column.id);
            row.cells.push(cell.to_owned());
            let expr = self.output_cell(cell, sees, kind).unwrap_or_else(|wrong| {
                let head = column.name.as_deref().or(column.field.as_deref()).unwrap_or_default();
                self.tell(wrong, Place::table(table).row(number).column(head).cell(cell));
                None
            });
            row.outputs.push(expr);
        }
        let id = text("_id");
        let mut dates = self.settings.dates.get(id).cloned().unwrap_or_default();
        dates.from = dates.from.or_else(|| Some(text("_from").to_owned()).filter(|text| !text.is_empty()));
        dates.until = dates.until.or_else(|| Some(text("_until").to_owned()).filter(|text| !text.is_empty()));
        match self.dates(&dates) {
            Ok(also) => row.also = also,
            Err(wrong) => self.tell(wrong, Place::table(table).row(number)),
        }
        row
    }

    fn cell(
        &mut self,
        cell: &str,
        value: Option<ValueId>,
        failed: Option<ValueId>,
        sees: &Names,
    ) -> Result<Option<Expr>, Wrong> {
        if matches!(cell, "" | "-") {
            return Ok(None);
        }
        let mut checker = Checker { builder: &mut self.builder, names: sees, column: value };
        let test = match value {
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
        if !collect {
            let (value, initial) = self.give(ways, field, kind)?;
            if let Some(before) = initial {
                one_type(
                    Some(kind),
                    Some(self.builder.values[before.at()].kind),
                    &format!("`{field}` here and before"),
                )?;
            }
            return Ok(Target { value, aggregate: None, initial });
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
        let (value, _) = self.give(ways, field, Type::Number)?;
        Ok(Target { value, aggregate: Some(aggregate), initial: None })
    }

    fn count_cells(&mut self, more: usize) -> Result<(), Wrong> {
        self.cells = self.cells.saturating_add(more);
        if self.cells > MAX_CELLS {
            return Err(Wrong::new(
                Code::Limit,
                format!("more than {MAX_CELLS} cells"),
                "split it into several modules",
            ));
        }
        Ok(())
    }
}

fn unknown_policy(policy: &str) -> Wrong {
    Wrong::new(
        Code::Unsupported,
        format!("the hit policy {policy:?} is not in the profile"),
        "known here: first, collect",
    )
}

/// Whether it is a name with dots: `cart.total`.
fn is_path(text: &str) -> bool {
    text.len() <= 200
        && matches!(parse::expression(text), Ok(Node::Name(name)) if name == text && !name.starts_with('$'))
}
