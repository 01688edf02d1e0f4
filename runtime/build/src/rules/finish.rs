//! The last steps of making a program. Owns what is left out because nothing needs it, and which values are the same for all
//! candidates.

use std::collections::BTreeSet;

use selvedge_decision::manifest::{Kind, Missing, Scalar, Scope};

use super::check::Wrong;
use super::finding::Code;
use super::program::{Program, Step, ValueId};

// === impl Program ===

impl Program {
    /// Drops what no output needs, sorts shared from candidate values, and gives text inputs their list.
    pub(super) fn finish(&mut self) -> Result<(), Wrong> {
        self.drop_unneeded();
        self.spread_scopes();
        if self.texts.len() > 65_536 {
            let message = format!("{} different texts, at most 65,536", self.texts.len());
            return Err(Wrong::new(Code::Limit, message, "split it into several modules"));
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
        let needs_texts = self.inputs.iter().any(|input| is_text(input.kind))
            || self.outputs.iter().any(|output| output.kind == super::program::Type::Text);
        if needs_texts && self.texts.is_empty() {
            return Err(Wrong::new(
                Code::Type,
                "a text is passed on, but no cell names any text",
                "list the texts it may have: \"symbols\": [\"…\"]",
            ));
        }
        for input in self.inputs.iter_mut().filter(|input| is_text(input.kind)) {
            input.symbols.clone_from(&self.texts);
        }
        Ok(())
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
        self.each_expr(&mut |expr| expr.each_value(visit));
        if let Self::Table(table) = self {
            table.targets.iter().filter_map(|target| target.initial).for_each(visit);
        }
    }

    /// Whether all it reads is the same for all candidates.
    pub(super) fn scope(&self, program: &Program) -> Scope {
        self.gives().first().map_or(Scope::Shared, |value| program.value(*value).scope)
    }
}
