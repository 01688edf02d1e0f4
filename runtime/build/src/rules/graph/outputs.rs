//! What the answer consists of: the names that reach the output node. Owns defaults, the bounds that follow from what rows
//! give, and the output `row`.

use selvedge_decision::manifest::{Kind, Scalar};

use super::super::check::{Names, Wrong};
use super::super::finding::{Code, Place};
use super::super::jdm::Content;
use super::super::program::{Aggregate, Answer, Expr, Literal, Step, Type, ValueId};
use super::super::settings::OutputDef;
use super::Graph;

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
            true => names.given.keys().map(|name| (name.clone(), OutputDef::default())).collect(),
            false => self.settings.outputs.iter().map(|(name, def)| (name.clone(), def.clone())).collect(),
        };
        let mut outputs = Vec::new();
        for (name, def) in wanted {
            match self.output(&names, &name, &def) {
                Ok(answer) => outputs.push(answer),
                Err(wrong) => self.tell(wrong, Place::default().column(&name)),
            }
        }
        if !outputs.iter().any(|answer| answer.name == "row") {
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
        let value = match name {
            "row" if !names.given.contains_key("row") => {
                return self.row_output()?.ok_or_else(|| {
                    Wrong::new(
                        Code::UnknownName,
                        "`row` is which row of a table fired; there is no table",
                        "leave it out",
                    )
                });
            }
            _ => self.builder.resolve(names, name)?,
        };
        let kind = self.builder.values[value.at()].kind;
        let declared = def.kind.map(|declared| (declared, "x-selvedge says"));
        let needed = match name {
            "score" | "boost" | "pin" | "row" => Some((Kind::Number, "the runtime needs")),
            "eligible" => Some((Kind::Flag, "the runtime needs")),
            _ => None,
        };
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
            None => match name {
                "boost" => Some(Literal::Number(1.0)),
                "eligible" => Some(Literal::Flag(true)),
                _ => None,
            },
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
                Ok(Literal::Text(text.clone()))
            }
            _ => Err(Wrong::new(
                Code::OutputType,
                format!("`{name}` is a {kind}, which its default is not"),
                "write a number, true or false, or a text",
            )),
        }
    }

    /// The row that fired in the table that x-selvedge names, or in the last one.
    fn row_output(&self) -> Result<Option<Answer>, Wrong> {
        let of =
            |name: &str| self.nodes.iter().zip(&self.done).find(|(node, done)| node.name == name && done.row.is_some());
        let value = match &self.settings.row {
            Some(name) => match of(name) {
                Some((_, done)) => done.row,
                None => {
                    let message = format!("x-selvedge takes `row` from {name:?}, which is no table");
                    return Err(Wrong::new(Code::UnknownName, message, "name a decision table"));
                }
            },
            None => self.steps.iter().rev().find_map(|step| match step {
                Step::Table(table) => Some(table.row),
                Step::Let { .. } | Step::Switch { .. } => None,
            }),
        };
        Ok(value.map(|value| Answer { name: "row".into(), kind: Type::Number, value, default: None, min: Some(0.0) }))
    }

    /// The least number that the rows of a table write down for `value`.
    fn least(&self, value: ValueId, default: Option<&Literal>) -> Option<f64> {
        let (table, column) = self.steps.iter().find_map(|step| match step {
            Step::Table(table) => Some((table, table.targets.iter().position(|target| target.value == value)?)),
            Step::Let { .. } | Step::Switch { .. } => None,
        })?;
        let target = &table.targets[column];
        let written = table.rows.iter().filter_map(|row| row.outputs[column].as_ref()).map(|expr| match expr {
            Expr::Literal(Literal::Number(number)) => Some(*number),
            _ => None,
        });
        let least = written.collect::<Option<Vec<_>>>()?.into_iter().fold(f64::INFINITY, f64::min);
        let least = match (target.aggregate, target.initial) {
            (Some(Aggregate::Count), _) => 0.0,
            (Some(Aggregate::Sum), _) if least >= 0.0 => 0.0,
            (Some(Aggregate::Sum), _) | (None, Some(_)) => return None,
            (Some(Aggregate::Min | Aggregate::Max) | None, _) => least,
        };
        let least = match default {
            Some(Literal::Number(default)) => least.min(*default),
            _ => least,
        };
        least.is_finite().then_some(least)
    }
}

fn kind_of(kind: Type) -> Kind {
    match kind {
        Type::Number => Kind::Number,
        Type::Flag => Kind::Flag,
        Type::Text => Kind::Symbol,
    }
}
