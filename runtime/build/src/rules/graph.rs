//! From nodes and edges to the steps of a program. Owns the order of evaluation, which names each node sees (as ZEN hands
//! them on), branches, and what the answer consists of.

mod flow;
mod nodes;
mod outputs;

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Builder, Names, Wrong};
use super::finding::{BadRules, Code, Finding, Level, MAX_FINDINGS, Place};
use super::jdm::{Content, Edge, File, NodeDef};
use super::program::{Expr, Program, Step, Type, ValueId};
use super::settings::Settings;

/// What a node does to the rest.
#[derive(Debug, Default)]
struct Done {
    /// What it hands on.
    names: Names,
    /// When it runs at all; `None` for always.
    active: Option<Expr>,
    /// For a switch: the flag of each statement, by its id.
    branches: BTreeMap<String, ValueId>,
    /// The statements that must have been chosen: by switch, which.
    chosen: BTreeMap<usize, usize>,
    /// The row that fires, for a table.
    row: Option<ValueId>,
    /// Whether something in it, or before it, is wrong.
    broken: bool,
}

/// The making of a program.
pub(super) struct Graph<'f> {
    nodes: &'f [NodeDef],
    edges: &'f [Edge],
    contents: Vec<Content>,
    settings: &'f Settings,
    builder: Builder,
    steps: Vec<Step>,
    done: Vec<Done>,
    /// Errors, and what only `check` tells.
    findings: Vec<Finding>,
    cells: usize,
}

/// A program and what is to be told of its file although it can be built.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Built {
    pub(super) program: Program,
    pub(super) findings: Vec<Finding>,
}

/// Makes the program of a file.
pub(super) fn build(file: &File, settings: &Settings) -> Result<Built, BadRules> {
    let mut findings = Vec::new();
    let mut contents = Vec::new();
    for node in &file.nodes {
        match node.content() {
            Ok(content) => contents.push(content),
            Err(bad) => findings.extend(bad.findings),
        }
    }
    if !findings.is_empty() {
        findings.truncate(MAX_FINDINGS);
        return Err(BadRules { findings });
    }
    let declared = settings.inputs.iter().map(|(name, def)| (name.clone(), def.spec())).collect();
    let mut graph = Graph {
        nodes: &file.nodes,
        edges: &file.edges,
        contents,
        settings,
        builder: Builder::new(declared),
        steps: Vec::new(),
        done: file.nodes.iter().map(|_| Done::default()).collect(),
        findings,
        cells: 0,
    };
    graph.run()
}

// === impl Graph ===

impl Graph<'_> {
    fn run(&mut self) -> Result<Built, BadRules> {
        let order = self.order()?;
        for at in order {
            self.node(at);
            if self.findings.len() >= MAX_FINDINGS {
                break;
            }
        }
        let outputs = if self.is_bad() { Vec::new() } else { self.outputs() };
        if self.is_bad() {
            let mut findings = std::mem::take(&mut self.findings);
            findings.retain(|finding| finding.level == Level::Error);
            findings.truncate(MAX_FINDINGS);
            return Err(BadRules { findings });
        }
        self.tell_unused();
        let builder = std::mem::take(&mut self.builder);
        let mut program = Program {
            inputs: builder.inputs,
            input_values: builder.input_values,
            values: builder.values,
            steps: std::mem::take(&mut self.steps),
            outputs,
            texts: builder.texts.into_iter().collect(),
            rows: self.settings.rows,
            declared: self.settings.inputs.keys().cloned().collect(),
        };
        program.finish().map_err(|wrong| BadRules::one(wrong.at(Place::default())))?;
        Ok(Built { program, findings: std::mem::take(&mut self.findings) })
    }

    fn is_bad(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    fn tell(&mut self, wrong: Wrong, place: Place) {
        self.findings.push(wrong.at(place));
    }

    /// Declared inputs that nothing reads, and nodes that lead nowhere.
    fn tell_unused(&mut self) {
        let used: BTreeSet<&str> = self.builder.inputs.iter().map(|input| input.name.as_str()).collect();
        for name in self.settings.inputs.keys().filter(|name| !used.contains(name.as_str())) {
            let place = Place::default().column(name);
            let message = format!("the input `{name}` is declared, and no cell speaks of it");
            let mut finding = Finding::error(Code::UnusedInput, place, message, "leave it out of x-selvedge");
            finding.level = Level::Warning;
            self.findings.push(finding);
        }
        for at in self.leads_nowhere() {
            let message = format!("node {:?} leads to no outputNode", self.nodes[at].id);
            let place = Place::table(&self.nodes[at].name);
            let mut finding = Finding::error(Code::UnusedNode, place, message, "connect it or remove it");
            finding.level = Level::Warning;
            self.findings.push(finding);
        }
    }

    fn active_value(&mut self, parts: Vec<Expr>) -> Result<Option<Expr>, Wrong> {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { return Ok(None) };
        let Some(second) = parts.next() else { return Ok(Some(first)) };
        let either = |a: Expr, b: Expr| Expr::Or(Box::new(a), Box::new(b));
        let expr = parts.fold(either(first, second), either);
        let value = self.builder.value("", Type::Flag)?;
        self.steps.push(Step::Let { value, expr, failed: None, active: None });
        Ok(Some(Expr::Value(value)))
    }
}
