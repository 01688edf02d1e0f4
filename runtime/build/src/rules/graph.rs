//! From nodes and edges to the steps of a program. Owns the order of evaluation, which names each node sees (as ZEN hands
//! them on), branches, and what the answer consists of.

mod flow;
mod names;
mod nodes;
mod outputs;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Builder, Names, Wrong};
use super::finding::{BadRules, Code, Finding, Level, MAX_FINDINGS, Place};
use super::jdm::{Content, Edge, File, NodeDef};
use super::program::{Program, Step, ValueId};
use super::settings::{Dates, Settings, scope_of};
use crate::definitions::nearest;

use self::names::within;
pub(super) use self::outputs::needed_kind;

/// The most known names that one not known is compared with.
const MAX_NEAR: usize = 1_000;

/// What a node does to the rest.
#[derive(Debug, Default)]
struct Done {
    /// What it hands on, until every node behind it has run.
    names: Names,
    /// The flag without which it does not run.
    active: Option<ValueId>,
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
    contents: Vec<Content>,
    /// The edges that lead to each node: from which one, and by which of its handles.
    incoming: Vec<Vec<(usize, &'f str)>>,
    /// How many edges of each node lead to nodes that have not run.
    ahead: Vec<usize>,
    settings: &'f Settings,
    builder: Builder,
    steps: Vec<Step>,
    done: Vec<Done>,
    /// The step that gives a value.
    given_by: BTreeMap<ValueId, usize>,
    /// For a value that is missing unless a flag is true, the flag.
    missing_unless: BTreeMap<ValueId, ValueId>,
    /// Flags that are true when all flags of one of these sets are.
    either: BTreeMap<BTreeSet<Vec<ValueId>>, ValueId>,
    /// How many rows have an `_id`.
    row_ids: BTreeMap<String, usize>,
    /// Cells as written, where the file is not what people wrote.
    written: &'f [BTreeMap<String, String>],
    /// Errors, and what only `check` tells.
    findings: Vec<Finding>,
    cells: usize,
}

/// The name that was probably meant, as the end of a message.
fn near<'n>(word: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(word, known.take(MAX_NEAR)).map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
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
    if let Some((name, outer)) = settings.inputs.keys().find_map(|name| Some((name, within(&settings.inputs, name)?))) {
        let message = format!("the inputs `{outer}` and `{name}`: one is a value, the other a group of values");
        let wrong = Wrong::new(Code::Graph, message, "give one of them another name");
        return Err(BadRules::one(wrong.at(Place::default().column(name))));
    }
    let declared = settings.inputs.iter().map(|(name, def)| (name.clone(), def.spec())).collect();
    let mut graph = Graph {
        nodes: &file.nodes,
        contents,
        incoming: Vec::new(),
        ahead: Vec::new(),
        settings,
        builder: Builder::new(declared),
        steps: Vec::new(),
        done: file.nodes.iter().map(|_| Done::default()).collect(),
        given_by: BTreeMap::new(),
        missing_unless: BTreeMap::new(),
        either: BTreeMap::new(),
        row_ids: BTreeMap::new(),
        written: &file.written,
        findings,
        cells: 0,
    };
    graph.run(&file.edges)
}

// === impl Graph ===

impl<'f> Graph<'f> {
    fn run(&mut self, edges: &'f [Edge]) -> Result<Built, BadRules> {
        let order = self.order(edges)?;
        for at in order {
            self.node(at);
            if self.findings.len() >= MAX_FINDINGS {
                break;
            }
        }
        if !self.is_bad() {
            self.check_settings();
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
        let work = builder.worked();
        let declared = builder.declared.iter();
        let declared = declared.map(|(name, spec)| (name.clone(), spec.scope.unwrap_or_else(|| scope_of(name))));
        let declared = declared.collect();
        let mut program = Program {
            inputs: builder.inputs,
            input_values: builder.input_values,
            values: builder.values,
            steps: std::mem::take(&mut self.steps),
            outputs,
            texts: builder.texts.into_iter().collect(),
            rows: self.settings.rows(),
            declared,
            work,
        };
        program.finish()?;
        Ok(Built { program, findings: std::mem::take(&mut self.findings) })
    }

    fn is_bad(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    fn tell(&mut self, wrong: Wrong, place: Place) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(wrong.at(place));
        }
    }

    /// What settings say of tables, columns and rows that are not there would silently do nothing.
    fn check_settings(&mut self) {
        let settings = self.settings;
        self.check_table_names();
        for (id, dates) in &settings.dates {
            let wrong = match self.row_ids.get(id) {
                Some(1) if *dates == Dates::default() => Wrong::new(
                    Code::Form,
                    format!("`dates` says nothing of the row {id:?}"),
                    "give it `from` or `until`, or leave it out",
                ),
                Some(1) => continue,
                Some(rows) => Wrong::new(
                    Code::Graph,
                    format!("`dates` names the row {id:?}, and {rows} rows have this `_id`"),
                    "give each row its own, or write `_from` and `_until` into the row",
                ),
                None => {
                    let hint = near(id, self.row_ids.keys().map(String::as_str));
                    let message = format!("`dates` names the row {id:?}, and no row has this `_id`{hint}");
                    Wrong::new(Code::UnknownName, message, "name a row by its `_id`")
                }
            };
            self.tell(wrong, Place::default());
        }
        for (table, columns) in &settings.collect {
            let defs = self.nodes.iter().zip(&self.contents).filter_map(|(node, content)| match content {
                Content::Table(def) => Some((node.name.as_str(), def)),
                _ => None,
            });
            let Some((_, def)) = defs.clone().find(|(name, _)| name == table) else {
                let hint = near(table, defs.map(|(name, _)| name));
                let message = format!("`collect` names {table:?}, which is no table{hint}");
                self.tell(Wrong::new(Code::UnknownName, message, "name a decision table"), Place::default());
                continue;
            };
            if def.hit_policy.as_deref() != Some("collect") {
                let message = "`collect` says how rows become one, but only the first row that matches counts";
                let advice = "turn on hit policy collect, or leave it out";
                self.tell(Wrong::new(Code::Form, message, advice), Place::table(table));
                continue;
            }
            let fields = || def.outputs.iter().map(|output| output.field.as_deref().unwrap_or_default().trim());
            let unknown: Vec<_> = columns.keys().filter(|name| !fields().any(|field| field == *name)).collect();
            let told = unknown.into_iter().map(|name| {
                let hint = near(name, fields());
                let message = format!("`collect` names `{name}`, which is no output column{hint}");
                (Wrong::new(Code::UnknownName, message, "name a column by its field"), name)
            });
            for (wrong, name) in told.collect::<Vec<_>>() {
                self.tell(wrong, Place::table(table).column(name));
            }
        }
    }

    /// What is said of a table by its name must be of one.
    fn check_table_names(&mut self) {
        let settings = self.settings;
        for name in settings.collect.keys().chain(&settings.row) {
            let tables = self.nodes.iter().zip(&self.contents);
            let tables = tables.filter(|(node, content)| node.name == *name && matches!(content, Content::Table(_)));
            let count = tables.count();
            if count > 1 {
                let message = format!("x-selvedge names the table {name:?}, and {count} tables have this name");
                self.tell(Wrong::new(Code::Graph, message, "give each its own name"), Place::table(name));
            }
        }
    }

    fn written(&self, row: usize, column: &str) -> Option<&'f str> {
        Some(self.written.get(row)?.get(column)?.as_str())
    }

    /// Declared inputs that nothing reads, and nodes that lead nowhere.
    fn tell_unused(&mut self) {
        let used: BTreeSet<&str> = self.builder.inputs.iter().map(|input| input.name.as_str()).collect();
        let unused = self.settings.inputs.keys().filter(|name| !used.contains(name.as_str()));
        for name in unused.take(MAX_FINDINGS) {
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

    /// Adds a step, after those that resolving its names asked for.
    fn step(&mut self, step: Step) {
        self.add_asked();
        self.add(step);
    }

    fn add_asked(&mut self) {
        for asked in std::mem::take(&mut self.builder.asked) {
            self.add(asked);
        }
    }

    fn add(&mut self, step: Step) {
        if let Some(active) = step.active() {
            self.missing_unless.extend(step.gives().into_iter().map(|value| (value, active)));
        }
        let at = self.steps.len();
        self.given_by.extend(step.gives().into_iter().map(|value| (value, at)));
        self.steps.push(step);
    }
}
