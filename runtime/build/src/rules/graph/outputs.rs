//! What the answer consists of: the names that reach the output node. Owns defaults, the bounds that follow from what rows
//! give, and the output `row`.

use std::collections::BTreeSet;

use selvedge_decision::manifest::{Kind, Scalar};

use super::super::check::{Names, Wrong};
use super::super::finding::{Code, Place};
use super::super::jdm::Content;
use super::super::program::{Aggregate, Answer, Expr, Initial, Literal, Step, Table, Type, ValueId};
use super::super::settings::OutputDef;
use super::{Graph, near};

/// The most outputs of a module.
const MAX_OUTPUTS: usize = 256;

/// What stands in for a missing value of an output that means something to the runtime.
pub(super) fn built_in_default(name: &str) -> Option<Literal> {
    match name {
        "boost" => Some(Literal::Number(1.0)),
        "eligible" => Some(Literal::Flag(true)),
        _ => None,
    }
}

/// The type of an output that means something to the runtime.
pub(in super::super) fn needed_kind(name: &str) -> Option<Kind> {
    match name {
        "score" | "boost" | "pin" | "row" => Some(Kind::Number),
        "eligible" => Some(Kind::Flag),
        _ => None,
    }
}

// === impl Graph ===

impl Graph<'_> {
    /// The answer's columns; errors are told.
    pub(super) fn outputs(&mut self) -> Vec<Answer> {
        let Some(at) = self.contents.iter().position(|content| matches!(content, Content::Output)) else {
            return Vec::new();
        };
        let names = match self.start(at) {
            Ok(start) => start.names,
            Err(wrong) => {
                self.tell(wrong, Place::table(&self.nodes[at].name));
                return Vec::new();
            }
        };
        let wanted: Vec<(String, OutputDef)> = match self.settings.outputs.is_empty() {
            true => names.given.keys().map(|name| (name.to_string(), OutputDef::default())).collect(),
            false => self.settings.outputs.iter().map(|(name, def)| (name.clone(), def.clone())).collect(),
        };
        if wanted.len() >= MAX_OUTPUTS {
            let message = format!("{} outputs, at most {}, and `row`", wanted.len(), MAX_OUTPUTS - 1);
            let advice = "name those that are needed in x-selvedge: \"outputs\": { \"…\": {} }";
            self.tell(Wrong::new(Code::Limit, message, advice), Place::table(&self.nodes[at].name));
            return Vec::new();
        }
        let says_row = wanted.iter().any(|(name, _)| name == "row");
        let mut outputs = Vec::new();
        for (name, def) in wanted {
            match self.output(&names, &name, &def) {
                Ok(answer) => outputs.push(answer),
                Err(wrong) => self.tell(wrong, Place::default().column(&name)),
            }
        }
        if !says_row {
            match self.row_output() {
                Ok(row) => outputs.extend(row),
                Err(wrong) => self.tell(wrong, Place::default().column("row")),
            }
        }
        if outputs.is_empty() && !self.is_bad() {
            let wrong =
                Wrong::new(Code::Graph, "nothing reaches the outputNode", "connect a table or an expression to it");
            self.tell(wrong, Place::default());
        }
        outputs
    }

    fn output(&mut self, names: &Names, name: &str, def: &OutputDef) -> Result<Answer, Wrong> {
        if name == "row" {
            if self.settings.row.is_none() && names.given.contains_key(name) {
                return Err(Wrong::new(
                    Code::Graph,
                    "`row` is which row of a table fired, and is added; a column or key gives another value of this name",
                    "give that another name, or say in x-selvedge which table's row it is: \"row\": \"…\"",
                ));
            }
            return self.row_output()?.ok_or_else(|| {
                Wrong::new(Code::UnknownName, "`row` is which row of a table fired; there is no table", "leave it out")
            });
        }
        let is_input = names.inputs.is_some() && self.settings.inputs.contains_key(name);
        if !is_input && !names.given.contains_key(name) {
            let hint = near(name, names.given.keys().map(|name| &**name));
            return Err(Wrong::new(
                Code::UnknownName,
                format!(
                    "`outputs` of x-selvedge names `{name}`, and nothing that reaches the outputNode gives it{hint}"
                ),
                "add an output column or a key of this name, or leave it out",
            ));
        }
        let value = self.builder.resolve(names, name)?;
        self.add_asked();
        let kind = self.builder.kind(value);
        let declared = def.kind.map(|declared| (declared, "x-selvedge says"));
        let needed = needed_kind(name).map(|needed| (needed, "the runtime needs"));
        for (expected, who) in needed.into_iter().chain(declared) {
            if expected != kind_of(kind) {
                return Err(Wrong::new(
                    Code::OutputType,
                    format!("`{name}` is a {kind}, and {who} that it is a {expected}"),
                    "change the cells, or give it another name",
                ));
            }
        }
        let default = match &def.default {
            Some(default) => Some(self.default(name, kind, default)?),
            None => built_in_default(name),
        };
        let min = if kind == Type::Number { self.least(value, default.as_ref()) } else { None };
        Ok(Answer { name: name.to_owned(), kind, value, default, min })
    }

    fn default(&mut self, name: &str, kind: Type, default: &Scalar) -> Result<Literal, Wrong> {
        match (kind, default) {
            (Type::Number, Scalar::Number(number)) => Ok(Literal::Number(*number)),
            (Type::Flag, Scalar::Flag(flag)) => Ok(Literal::Flag(*flag)),
            (Type::Text, Scalar::Text(text)) => {
                self.builder.texts.insert(text.clone());
                Ok(Literal::text(text))
            }
            _ => Err(Wrong::new(
                Code::OutputType,
                format!("`{name}` is a {kind}, which its default is not"),
                "write a number, true or false, or a text",
            )),
        }
    }

    /// The row that fired in the table that x-selvedge names, or in the last one that ran of those that lead to the answer.
    fn row_output(&mut self) -> Result<Option<Answer>, Wrong> {
        let value = match &self.settings.row {
            Some(name) => {
                let tables = self.nodes.iter().zip(&self.done);
                let mut named = tables.filter(|(node, done)| node.name == *name && done.row.is_some());
                match named.next() {
                    Some((_, done)) => done.row,
                    None => {
                        let known = self.nodes.iter().zip(&self.done).filter(|(_, done)| done.row.is_some());
                        let hint = near(name, known.map(|(node, _)| node.name.as_str()));
                        let message = format!("x-selvedge takes `row` from {name:?}, which is no table{hint}");
                        return Err(Wrong::new(Code::UnknownName, message, "name a decision table"));
                    }
                }
            }
            None => self.last_row()?,
        };
        Ok(value.map(|value| Answer { name: "row".into(), kind: Type::Number, value, default: None, min: Some(0.0) }))
    }

    fn last_row(&mut self) -> Result<Option<ValueId>, Wrong> {
        let nowhere: BTreeSet<usize> = self.leads_nowhere().into_iter().collect();
        let tables = self.done.iter().enumerate().filter(|(at, _)| !nowhere.contains(at));
        let mut tables: Vec<_> = tables.filter_map(|(_, done)| Some((done.row?, done.active))).collect();
        // Values are numbered in the order of evaluation.
        tables.sort();
        let mut last = None;
        for (row, active) in tables {
            last = Some(match (last, active) {
                (Some(before), Some(active)) => {
                    let value = self.builder.value("row", Type::Number)?;
                    let expr = Expr::If(Box::new([Expr::Value(active), Expr::Value(row), Expr::Value(before)]));
                    self.step(Step::Let { value, expr, failed: None, active: None });
                    value
                }
                _ => row,
            });
        }
        Ok(last)
    }

    /// The least number that the rows of tables write down for `value`, or for one of the values it is chosen from.
    fn least(&self, value: ValueId, default: Option<&Literal>) -> Option<f64> {
        let mut least = match default {
            Some(Literal::Number(default)) => *default,
            _ => f64::INFINITY,
        };
        let mut ahead = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(value) = ahead.pop() {
            if !seen.insert(value) {
                continue;
            }
            match &self.steps[*self.given_by.get(&value)?] {
                Step::Table(table) => least = least.min(least_of(table, value)?),
                Step::Let { expr: Expr::If(parts), .. } => {
                    for part in &parts[1..] {
                        match part {
                            Expr::Value(value) => ahead.push(*value),
                            Expr::Missing => {}
                            _ => return None,
                        }
                    }
                }
                Step::Let { .. } | Step::Switch { .. } => return None,
            }
        }
        least.is_finite().then_some(least)
    }
}

/// The least number that the rows of a table write down for one of its values.
fn least_of(table: &Table, value: ValueId) -> Option<f64> {
    let column = table.targets.iter().position(|target| target.value == value)?;
    let target = &table.targets[column];
    if target.aggregate == Some(Aggregate::Count) {
        return Some(if target.initial == Initial::Zero { 0.0 } else { 1.0 });
    }
    let written = table.rows.iter().filter_map(|row| row.outputs[column].as_ref()).map(|expr| match expr {
        Expr::Literal(Literal::Number(number)) => Some(*number),
        _ => None,
    });
    let least = written.collect::<Option<Vec<_>>>()?.into_iter().fold(f64::INFINITY, f64::min);
    match (target.aggregate, target.initial) {
        (Some(Aggregate::Sum), Initial::Zero) if least >= 0.0 => Some(0.0),
        (Some(Aggregate::Sum), Initial::Missing) if least >= 0.0 => Some(least),
        (Some(Aggregate::Sum), _) | (None, Initial::Value(_)) => None,
        _ => Some(least),
    }
}

fn kind_of(kind: Type) -> Kind {
    match kind {
        Type::Number => Kind::Number,
        Type::Flag => Kind::Flag,
        Type::Text => Kind::Symbol,
    }
}
