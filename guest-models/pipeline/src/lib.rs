//! The pipeline kernel: runs the program that the builder appended, preprocessing, model and calibration. Owns the evaluation;
//! what each step means is said by the builder's reference, with which this agrees to the bit.
//!
//! Everything that no candidate changes is computed once a call; for every candidate only its own columns are written.

mod columns;
mod dot;
pub mod exp;
mod forest;
pub mod program;
mod sums;

use forest::Forest;
use program::{Op, Program, Reader};
use selvedge_guest::Call;
use sums::Embedding;

selvedge_guest::export!(module);

/// The module: [`evaluate`] with the program that the builder appended.
///
/// # Errors
///
/// When no program of this version is appended, or the rows are not as wide as it says.
#[cfg_attr(target_arch = "wasm32", expect(unsafe_code, reason = "the appended program is the builder's"))]
pub fn module(call: Call<'_>) -> Result<Vec<f64>, String> {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: nobody but the builder appends, and it checked every index it wrote.
    let program = unsafe { Program::trust(selvedge_guest::memory::appended()) };
    #[cfg(not(target_arch = "wasm32"))]
    let program = None;
    evaluate(&program.ok_or("no pipeline program of version 1 is appended")?, call)
}

/// What the kernel keeps of a candidate's step while it runs, in bytes at most.
pub const STEP_BYTES: usize = 2 * size_of::<Step<'_>>();

/// The tape and what is kept beside it in f32.
struct Machine {
    /// NaN, the shared inputs, the candidate's, and what the steps append.
    tape: Vec<f64>,
    /// Columns rounded to f32, in groups padded with 0 to whole lanes.
    narrow: Vec<f32>,
}

/// A row of the program's outputs for each candidate.
///
/// # Errors
///
/// When the rows are not as wide as the program says, or it is damaged.
pub fn evaluate(program: &Program<'_>, call: Call<'_>) -> Result<Vec<f64>, String> {
    if call.shared().len() != program.shared
        || Some(call.candidates().len()) != call.count().checked_mul(program.candidate)
    {
        return Err("the rows are not as wide as the model's".to_owned());
    }
    run(program, call).ok_or_else(|| "the appended program is damaged".to_owned())
}

fn run(program: &Program<'_>, call: Call<'_>) -> Option<Vec<f64>> {
    let mut tape = Vec::with_capacity(program.places);
    tape.push(f64::NAN);
    tape.extend_from_slice(call.shared());
    tape.resize(program.places, 0.0);
    let mut machine = Machine { tape, narrow: vec![0.0; program.narrow] };
    let own = program.shared + 1;
    let mut answer = Vec::with_capacity(call.count() * program.outputs.len());
    let mut ops = program.shared_ops();
    while !ops.is_done() {
        machine.run(&Step::read(ops.record()?)?)?;
    }
    let mut steps = Vec::new();
    let mut ops = program.candidate_ops();
    while !ops.is_done() {
        steps.push(Step::read(ops.record()?)?);
    }
    if let [Step::Embedding(embedding)] = steps.as_slice()
        && let Some(column) = embedding.place.checked_sub(own)
        && let [place] = program.outputs
        && u32::from_le_bytes(*place) as usize == embedding.first
    {
        return embedding.all(call, column, &machine.tape, &machine.narrow);
    }
    for row in call.rows() {
        let place = machine.tape.get_mut(own..own + row.len())?;
        match row {
            // Copying a list is a call of the engine's.
            [x] => place[0] = *x,
            _ => place.copy_from_slice(row),
        }
        for step in &steps {
            machine.run(step)?;
        }
        for place in program.outputs {
            answer.push(*machine.tape.get(u32::from_le_bytes(*place) as usize)?);
        }
    }
    Some(answer)
}

/// A record, read as far as it pays to do so once for all candidates.
enum Step<'a> {
    Trees(Forest<'a>),
    Embedding(Embedding<'a>),
    Other(Op, Reader<'a>),
}

// === impl Step ===

impl<'a> Step<'a> {
    fn read(mut record: Reader<'a>) -> Option<Self> {
        Some(match record.code()? {
            Op::Trees => Self::Trees(Forest::read(&mut record)?),
            Op::Embedding => Self::Embedding(Embedding::read(&mut record)?),
            other => Self::Other(other, record),
        })
    }
}

// === impl Machine ===

impl Machine {
    fn run(&mut self, step: &Step<'_>) -> Option<()> {
        let Self { tape, narrow } = self;
        let (op, mut fields) = match step {
            Step::Trees(forest) => return forest.run(tape),
            Step::Embedding(embedding) => return embedding.run(tape, narrow),
            Step::Other(op, fields) => (*op, *fields),
        };
        match op {
            Op::Narrow => sums::narrow(&mut fields, tape, narrow),
            Op::NarrowRow => sums::narrow_row(&mut fields, tape, narrow),
            Op::Length => sums::length(&mut fields, tape, narrow),
            Op::Linear32 => sums::linear32(&mut fields, tape, narrow),
            Op::Linear64 => sums::linear64(&mut fields, tape),
            Op::Dot => sums::dot_product(&mut fields, tape, narrow),
            other => columns::run(other, &mut fields, tape),
        }
    }
}
