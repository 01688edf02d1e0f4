//! From a pipeline to a module: the kernel, the program appended to it, the manifest and golden vectors. Owns what is refused
//! because a host would not take it; how steps become records is `emit`'s, how trees are laid out `forest`'s.

mod emit;
mod forest;
mod golden;
mod needed;
mod range;

use selvedge_decision::Digest;
use selvedge_decision::manifest::{Input, Kind, Limits, MANIFEST_VERSION, Manifest, Output, Source};

use super::{BadPipeline, OutputKind, Pipeline, PipelineInput, Step};
use crate::module::{self, BadModule};

/// The memory that a host gives a module unless told otherwise, in bytes.
pub const HOST_MEMORY_BYTES: u64 = 64 << 20;

/// What a module is made with.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The module's name, for people.
    pub name: String,
    /// What it answers; unless said, probabilities where there are any, else margins.
    pub output: Option<OutputKind>,
    /// The most candidate rows of one call.
    pub rows: u32,
    /// Whether it may be served to browsers.
    pub browser: bool,
    /// The digest of the file it is built from.
    pub digest: Option<Digest>,
}

/// Why a pipeline does not become a module.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// What the pipeline says cannot be.
    #[error(transparent)]
    Pipeline(#[from] BadPipeline),
    /// It has no outputs of the kind asked for.
    #[error("the model has no {0} to answer with: ask for {1}")]
    Output(&'static str, &'static str),
    /// It needs more than a host gives.
    #[error(
        "the model needs {needed} bytes of memory for calls of {rows} rows, a host gives {HOST_MEMORY_BYTES}: {advice}"
    )]
    Memory {
        /// What it needs.
        needed: u64,
        /// The rows it was to be sized for.
        rows: u32,
        /// What to do.
        advice: &'static str,
    },
    /// The result would not open as a module.
    #[error(transparent)]
    Module(#[from] BadModule),
}

/// Makes a module of a pipeline.
///
/// # Errors
///
/// With what is wrong with the pipeline, or which limit its module would break.
pub fn module(pipeline: &Pipeline, options: &Options) -> Result<Vec<u8>, CompileError> {
    pipeline.check()?;
    let output = chosen(pipeline, options)?;
    let manifest = manifest(pipeline, output, options);
    bounded_sets(pipeline, options)?;
    manifest.check().map_err(BadModule::from)?;
    let program = emit::program(pipeline, output);
    let steps = (program.candidate_ops.len() * selvedge_pipeline::STEP_BYTES) as u64;
    let scratch = 8 * u64::from(program.places) + 4 * u64::from(program.narrow) + steps;
    let bytes = program.to_bytes();
    let rows = options.rows as usize * (manifest.candidate_width() + 2 * manifest.outputs.len());
    let columns = manifest.shared_width() + rows;
    let needed = bytes.len() as u64 + scratch + 8 * columns as u64;
    if needed > HOST_MEMORY_BYTES {
        let advice =
            if bytes.len() as u64 > HOST_MEMORY_BYTES / 2 { "train fewer or smaller trees" } else { "lower `rows`" };
        return Err(CompileError::Memory { needed, rows: options.rows, advice });
    }
    let vectors = golden::vectors(pipeline, output, &manifest);
    Ok(module::seal_with(selvedge_prebuilt::PIPELINE, &bytes, scratch, &manifest, &vectors)?)
}

/// The program alone, as the kernel runs it: for comparing and measuring the kernel outside a module.
///
/// # Errors
///
/// As [`module`].
pub fn program(pipeline: &Pipeline, options: &Options) -> Result<Vec<u8>, CompileError> {
    pipeline.check()?;
    bounded_sets(pipeline, options)?;
    Ok(emit::program(pipeline, chosen(pipeline, options)?).to_bytes())
}

/// Sets become lists of bits: a few large categories in a file must not become gigabytes.
fn bounded_sets(pipeline: &Pipeline, options: &Options) -> Result<(), CompileError> {
    let trees = pipeline.steps.iter().filter_map(|step| if let Step::Trees(trees) = step { Some(trees) } else { None });
    let nodes =
        trees.flat_map(|trees| &trees.trees).flat_map(|tree| (0..tree.feature.len()).map(|node| tree.set(node)));
    let needed = nodes.flatten().map(|set| set.last().map_or(0, |last| u64::from(*last) / 8 + 4)).sum();
    if needed > HOST_MEMORY_BYTES {
        let advice = "number the categories from 0, without gaps";
        return Err(CompileError::Memory { needed, rows: options.rows, advice });
    }
    Ok(())
}

fn chosen(pipeline: &Pipeline, options: &Options) -> Result<OutputKind, CompileError> {
    let (margin, probability) = (OutputKind::Margin, OutputKind::Probability);
    let wanted = options.output.unwrap_or(if pipeline.answers(probability).is_some() { probability } else { margin });
    match (pipeline.answers(wanted), wanted) {
        (Some(_), _) => Ok(wanted),
        (None, OutputKind::Margin) => Err(CompileError::Output("margin", "probability")),
        (None, OutputKind::Probability) => Err(CompileError::Output("probability", "margin")),
    }
}

fn manifest(pipeline: &Pipeline, output: OutputKind, options: &Options) -> Manifest {
    let ranges = range::ranges(pipeline);
    let outputs = pipeline.answers(output).unwrap_or_default().iter().map(|answer| Output {
        name: answer.name.clone(),
        kind: Kind::Number,
        symbols: Vec::new(),
        min: (ranges[answer.column as usize].low >= 0.0).then_some(0.0),
    });
    Manifest {
        manifest: MANIFEST_VERSION,
        name: options.name.clone(),
        inputs: pipeline.inputs.iter().map(input).collect(),
        outputs: outputs.collect(),
        source: Some(Source {
            kind: pipeline.kind.clone(),
            made_by: pipeline.made_by.clone(),
            digest: options.digest.map(|digest| digest.to_string()),
        }),
        limits: Limits { rows: options.rows, memory_bytes: 0 },
        browser: options.browser,
    }
}

fn input(input: &PipelineInput) -> Input {
    Input {
        name: input.name.clone(),
        scope: input.scope(),
        kind: input.kind,
        symbols: input.symbols.clone(),
        len: input.len,
        missing: input.missing.clone(),
        derive: None,
    }
}

// === impl Options ===

impl Options {
    /// A module that answers what the model is for, with 1,024 rows, for browsers too.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), output: None, rows: 1024, browser: true, digest: None }
    }
}
