//! A pipeline in the making: steps as they are pushed, and the columns they append. Owns the numbering of columns.

use std::ops::Range;

use super::BadModel;
use crate::pipeline::step::Column;
use crate::pipeline::{Answers, MAX_COLUMNS, MAX_STEPS, PIPELINE_VERSION, Pipeline, PipelineInput, Step};

/// Inputs, and steps over them.
#[derive(Debug)]
pub(super) struct Tape {
    inputs: Vec<PipelineInput>,
    steps: Vec<Step>,
    width: usize,
}

// === impl Tape ===

impl Tape {
    /// Begins with the inputs' columns.
    pub(super) fn new(inputs: Vec<PipelineInput>) -> Self {
        let width = inputs.iter().map(PipelineInput::width).sum();
        Self { inputs, steps: Vec::new(), width }
    }

    /// Appends a step; the columns that it adds.
    ///
    /// # Errors
    ///
    /// When there are more steps or columns than a pipeline has.
    pub(super) fn push(&mut self, step: Step) -> Result<Range<Column>, String> {
        let end = self.width.saturating_add(step.width());
        if end > MAX_COLUMNS {
            return Err(format!("the model has more than {MAX_COLUMNS} columns"));
        }
        if self.steps.len() == MAX_STEPS {
            return Err(format!("the model has more than {MAX_STEPS} steps"));
        }
        let columns = self.width as Column..end as Column;
        self.steps.push(step);
        self.width = end;
        Ok(columns)
    }

    /// As [`Self::push`], for an importer whose steps stand nowhere in its file.
    ///
    /// # Errors
    ///
    /// When there are more steps or columns than a pipeline has.
    pub(super) fn columns(&mut self, step: Step) -> Result<Vec<Column>, BadModel> {
        self.push(step).map(Iterator::collect).map_err(BadModel::whole)
    }

    /// The pipeline, when all holds that must.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub(super) fn finish(self, kind: &str, made_by: Option<String>, outputs: Answers) -> Result<Pipeline, BadModel> {
        let Self { inputs, steps, width: _ } = self;
        let kind = kind.to_owned();
        super::checked(Pipeline { selvedge_pipeline: PIPELINE_VERSION, kind, made_by, inputs, steps, outputs })
    }
}
