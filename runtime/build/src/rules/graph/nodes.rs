//! Nodes become steps. Owns what an expression node and a switch of the file mean, and how any node takes what arrives and
//! hands on; tables are `graph/table.rs`. Every mistake in a node is told, not the first alone.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::check::{Checker, Given, Inputs, Names, Wrong};
use super::super::finding::{Code, Place};
use super::super::jdm::{Content, ExpressionsDef, MAX_CELLS, SwitchDef, Transform};
use super::super::parse;
use super::super::program::{Expr, Step, Type, ValueId};
use super::super::syntax::Node;
use super::flow::Start;
use super::names::{clash, is_within};
use super::{Done, Graph};

/// How a node takes what arrives, and where what it gives goes.
pub(super) struct Ways {
    /// What its own expressions see.
    pub(super) sees: Names,
    /// What is handed on beside what it gives.
    pub(super) passes: Names,
    /// Before every name it gives.
    pub(super) prefix: String,
}

// === impl Graph ===

impl Graph<'_> {
    /// Makes the steps of node `at`.
    pub(super) fn node(&mut self, at: usize) {
        let told = self.findings.len();
        if self.incoming[at].iter().any(|(from, _)| self.done[*from].broken) {
            // What is wrong was told where it is wrong; here it would be told again.
            self.done[at].broken = true;
            return;
        }
        match self.try_node(at) {
            Ok(done) => self.done[at] = done,
            Err(wrong) => self.tell(wrong, Place::table(&self.nodes[at].name)),
        }
        self.done[at].broken = self.findings.len() > told;
        if !matches!(self.contents[at], Content::Output) {
            self.release(at);
        }
    }

    fn try_node(&mut self, at: usize) -> Result<Done, Wrong> {
        // Taken out, so that the steps can be added while it is read.
        let content = std::mem::replace(&mut self.contents[at], Content::Input);
        let done = match &content {
            Content::Input => {
                let inputs = Some(Inputs { prefix: String::new(), when: None });
                Ok(Done { names: Names { inputs, ..Names::default() }, ..Done::default() })
            }
            Content::Output => Ok(Done::default()),
            Content::Table(def) => self.start(at).and_then(|start| self.table(at, def, start)),
            Content::Expressions(def) => self.start(at).and_then(|start| self.expressions(at, def, start)),
            Content::Switch(def) => self.start(at).and_then(|start| self.switch(at, def, start)),
        };
        self.contents[at] = content;
        done
    }

    pub(super) fn ways(&mut self, transform: &Transform, start: &Start) -> Result<Ways, Wrong> {
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
            self.builder.work(start.names.given.len())?;
            let inside = start.names.given.iter().filter(|(name, _)| is_within(name, field));
            sees.given = Rc::new(inside.map(|(name, given)| (Rc::from(&name[field.len() + 1..]), *given)).collect());
            sees.group = format!("{field}.");
            if let Some(inputs) = &mut sees.inputs {
                inputs.prefix.clone_from(&sees.group);
            }
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
        self.builder.work(passes.given.len())?;
        Ok(Ways { sees, passes, prefix: path.map(|path| format!("{path}.")).unwrap_or_default() })
    }

    /// A name the node gives: its own value, in place of what it passes on under that name.
    pub(super) fn give(&mut self, ways: &mut Ways, key: &str, kind: Type) -> Result<ValueId, Wrong> {
        let name = format!("{}{key}", ways.prefix);
        if !is_path(&name) {
            return Err(Wrong::new(Code::Syntax, format!("`{name}` is no name"), "use letters, digits, `_` and dots"));
        }
        let input = ways.passes.inputs.is_some().then(|| clash(&self.settings.inputs, &name)).flatten();
        if let Some(other) = clash(&ways.passes.given, &name).or(input) {
            return Err(Wrong::new(
                Code::Graph,
                format!("`{name}` and `{other}`: one is a value, the other a group of values"),
                "give one of them another name",
            ));
        }
        let value = self.builder.value(&name, kind)?;
        Rc::make_mut(&mut ways.passes.given).insert(Rc::from(name), Given { value, when: None });
        Ok(value)
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
            if let Err(wrong) = self.expression(&mut ways, key, text, start.active) {
                self.tell(wrong, Place::table(&self.nodes[at].name).column(key).cell(text));
            }
        }
        Ok(Done { names: ways.passes, active: start.active, chosen: start.chosen, ..Done::default() })
    }

    fn expression(&mut self, ways: &mut Ways, key: &str, text: &str, active: Option<ValueId>) -> Result<(), Wrong> {
        let node = parse::expression(text)?;
        let mut checker = Checker { builder: &mut self.builder, names: &ways.sees, column: None };
        let (expr, kind) = checker.expr(&node)?;
        let kind = kind.ok_or_else(|| Wrong::new(Code::Type, "never has a value", "remove the key"))?;
        let value = self.give(ways, key, kind)?;
        self.builder.note_open(value, &expr);
        ways.sees.own.insert(key.to_owned(), value);
        self.step(Step::Let { value, expr, failed: None, active });
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
        self.step(Step::Switch { branches, first, active: start.active });
        Ok(Done { names: start.names, active: start.active, branches: flags, chosen: start.chosen, ..Done::default() })
    }

    fn condition(&mut self, names: &Names, text: &str) -> Result<Option<Expr>, Wrong> {
        if text.is_empty() {
            return Ok(None);
        }
        let node = parse::expression(text)?;
        Checker { builder: &mut self.builder, names, column: None }.typed(&node, Type::Flag, "as a condition").map(Some)
    }

    pub(super) fn count_cells(&mut self, more: usize) -> Result<(), Wrong> {
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

pub(super) fn unknown_policy(policy: &str) -> Wrong {
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
