//! The last steps of making a program. Owns what is left out because nothing needs it, which values are the same for all
//! candidates, and the numbers of texts.

use std::collections::BTreeSet;

use selvedge_decision::manifest::{Kind, Missing, Scalar, Scope};

use super::finding::{BadRules, Code, Finding, Place};
use super::program::{Answer, Initial, Program, Step, Type, ValueId};
use crate::module::MAX_MANIFEST_BYTES;

// === impl Program ===

impl Program {
    /// Drops what no output needs, sorts shared from candidate values, and gives text inputs their list.
    pub(super) fn finish(&mut self) -> Result<(), BadRules> {
        self.drop_unneeded();
        self.spread_scopes();
        if self.texts.len() > 65_536 {
            let message = format!("{} different texts, at most 65,536", self.texts.len());
            let finding = Finding::error(Code::Limit, Place::default(), message, "split it into several modules");
            return Err(BadRules::one(finding));
        }
        for input in self.inputs.iter_mut().filter(|input| input.kind == Kind::Symbol) {
            if let Missing::Default { default: Scalar::Text(text) } = &input.missing
                && !self.texts.contains(text)
            {
                // Not a text that any cell speaks of; the manifest must know it all the same.
                self.texts.push(text.clone());
                self.texts.sort_unstable();
            }
        }
        let is_text = |kind: Kind| kind == Kind::Symbol;
        self.check_texts()?;
        if self.texts.is_empty() {
            if let Some(output) = self.outputs.iter().find(|output| output.kind == Type::Text) {
                return Err(BadRules::one(Finding::error(
                    Code::Type,
                    self.handed_on(output),
                    "hands a text on, but no cell names any text",
                    "list the texts it may have in x-selvedge: \"symbols\": [\"…\"]",
                )));
            }
            // It matters only whether it is there; a list of symbols may not be empty.
            if self.inputs.iter().any(|input| is_text(input.kind)) {
                self.texts.push(String::new());
            }
        }
        for input in self.inputs.iter_mut().filter(|input| is_text(input.kind)) {
            input.symbols.clone_from(&self.texts);
        }
        self.number_texts();
        Ok(())
    }

    /// All texts are known: each that is written down is told its number.
    fn number_texts(&mut self) {
        let (mut steps, mut outputs) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.outputs));
        let number_of = |text: &str| self.text(text);
        steps.iter_mut().for_each(|step| step.each_expr_mut(&mut |expr| expr.tell(&number_of)));
        outputs.iter_mut().filter_map(|output| output.default.as_mut()).for_each(|default| default.tell(&number_of));
        (self.steps, self.outputs) = (steps, outputs);
    }

    /// Each input and output that is a text has the list of all of them in the manifest: refused before it is made.
    fn check_texts(&self) -> Result<(), BadRules> {
        let inputs = self.inputs.iter().filter(|input| input.kind == Kind::Symbol).count();
        let outputs = self.outputs.iter().filter(|output| output.kind == Type::Text).count();
        // In quotes, and a comma between.
        let list: usize = self.texts.iter().map(|text| text.len() + 3).sum();
        let bytes = list.saturating_mul(inputs + outputs);
        if bytes <= MAX_MANIFEST_BYTES {
            return Ok(());
        }
        let message = format!(
            "{} texts, which each of {inputs} symbol inputs and {outputs} outputs lists, are {bytes} bytes of the manifest, \
             at most {MAX_MANIFEST_BYTES}",
            self.texts.len()
        );
        let advice = "split it into several modules, or give what many columns ask as one input";
        Err(BadRules::one(Finding::error(Code::Limit, Place::default(), message, advice)))
    }

    /// The cell that hands a text on, of a table that gives an output.
    fn handed_on(&self, output: &Answer) -> Place {
        let place = Place::default().column(&output.name);
        let found = self.tables().find_map(|table| {
            let column = table.targets.iter().position(|target| target.value == output.value)?;
            let row = table.rows.iter().position(|row| row.outputs[column].is_some())?;
            let cell = table.rows[row].cells.get(table.columns.len() + column)?;
            Some(Place::table(&table.name).row(row).column(&table.outputs[column].name).cell(cell))
        });
        found.unwrap_or(place)
    }

    fn drop_unneeded(&mut self) {
        let mut needed: BTreeSet<ValueId> = self.outputs.iter().map(|output| output.value).collect();
        let mut kept = Vec::new();
        for step in std::mem::take(&mut self.steps).into_iter().rev() {
            if !step.gives().iter().any(|value| needed.contains(value)) {
                continue;
            }
            step.each_read(&mut |value| {
                needed.insert(value);
            });
            kept.push(step);
        }
        kept.reverse();
        self.steps = kept;
        let values = std::mem::take(&mut self.input_values);
        let inputs = std::mem::take(&mut self.inputs);
        for (value, input) in values.into_iter().zip(inputs).filter(|(value, _)| needed.contains(value)) {
            self.input_values.push(value);
            self.inputs.push(input);
        }
    }

    fn spread_scopes(&mut self) {
        for step in &self.steps {
            let mut scope = Scope::Shared;
            step.each_read(&mut |value| {
                if self.values[value.at()].scope == Scope::Candidate {
                    scope = Scope::Candidate;
                }
            });
            for value in step.gives() {
                self.values[value.at()].scope = scope;
            }
        }
    }
}

// === impl Step ===

impl Step {
    /// Calls `visit` with every value it reads.
    pub(super) fn each_read(&self, visit: &mut impl FnMut(ValueId)) {
        self.active().into_iter().for_each(&mut *visit);
        self.each_expr(&mut |expr| expr.each_value(visit));
        if let Self::Table(table) = self {
            for target in &table.targets {
                if let Initial::Value(before) = target.initial {
                    visit(before);
                }
            }
        }
    }

    /// Whether all it reads is the same for all candidates.
    pub(super) fn scope(&self, program: &Program) -> Scope {
        self.gives().first().map_or(Scope::Shared, |value| program.value(*value).scope)
    }
}
