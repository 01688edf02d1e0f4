//! The pipeline kernel: runs the program that the builder appended, preprocessing, model and calibration. Owns the evaluation;
//! what each step means is said by the builder's reference, with which this agrees to the bit.
//!
//! Everything that no candidate changes is computed once a call; for every candidate only its own columns are written.

mod columns;
mod forest;
pub mod program;
mod sums;

use program::{Op, Program, Reader};
use selvedge_guest::Call;

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
        return Err(format!("the model takes {} shared columns and {} a candidate", program.shared, program.candidate));
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
    machine.run(program.shared_ops())?;
    for row in call.rows() {
        machine.tape.get_mut(own..own + row.len())?.copy_from_slice(row);
        machine.run(program.candidate_ops())?;
        for place in program.outputs {
            answer.push(*machine.tape.get(u32::from_le_bytes(*place) as usize)?);
        }
    }
    Some(answer)
}

// === impl Machine ===

impl Machine {
    fn run(&mut self, mut ops: Reader<'_>) -> Option<()> {
        let Self { tape, narrow } = self;
        while !ops.is_done() {
            let mut op = ops.record()?;
            match op.code()? {
                Op::Trees => forest::trees(&mut op, tape)?,
                Op::Narrow => sums::narrow(&mut op, tape, narrow)?,
                Op::Length => sums::length(&mut op, tape, narrow)?,
                Op::Linear32 => sums::linear32(&mut op, tape, narrow)?,
                Op::Linear64 => sums::linear64(&mut op, tape)?,
                Op::Embedding => sums::embedding(&mut op, tape, narrow)?,
                Op::Dot => sums::dot(&mut op, tape, narrow)?,
                other => columns::run(other, &mut op, tape)?,
            }
        }
        Some(())
    }
}
