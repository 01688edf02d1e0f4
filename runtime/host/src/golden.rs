//! Golden vectors against a module: the same bits in fresh instances, and in one instance kept, as a browser keeps it.

use std::time::{Duration, Instant};

use selvedge_decision::Fault;
use selvedge_decision::vector::Vector;

use crate::host::Module;

/// How long one golden call may take.
const BUDGET: Duration = Duration::from_secs(1);

/// A module that does not answer as its golden vectors say.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorMismatch {
    /// It faulted.
    #[error("golden vector {index}: the module faulted with `{fault}`")]
    Fault {
        /// Which vector, from 0.
        index: usize,
        /// Why it did not answer.
        fault: Fault,
    },
    /// It answered something else.
    #[error("golden vector {index}: value {at} is {found:?} ({:#018x}) instead of {expected:?} ({:#018x})", found.to_bits(), expected.to_bits())]
    Value {
        /// Which vector, from 0.
        index: usize,
        /// Which value of the answer, from 0.
        at: usize,
        /// What came out.
        found: f64,
        /// What must come out.
        expected: f64,
    },
    /// It answered right in fresh instances and something else in one that was kept.
    #[error("state survives a call: in an instance that is kept, {0}")]
    KeepsState(Box<VectorMismatch>),
}

// === impl Module ===

impl Module {
    /// Whether the module answers every vector, bit for bit, each in a fresh instance. One NaN is as good as another: which
    /// NaN comes out of arithmetic is the processor's choice.
    ///
    /// # Errors
    ///
    /// With the first vector that it answers otherwise.
    pub fn check_vectors(&self, vectors: &[Vector]) -> Result<(), VectorMismatch> {
        for (index, vector) in vectors.iter().enumerate() {
            let found = self.evaluate(&vector.shared, &vector.candidates, vector.count, BUDGET);
            compare(index, vector, found)?;
        }
        Ok(())
    }

    /// Whether the module answers every vector in one instance that is kept, in order, again, and shuffled: what a browser
    /// does with it. Golden vectors are needed to tell; without any, nothing is found.
    ///
    /// # Errors
    ///
    /// [`VectorMismatch::KeepsState`] when it does not, any other when it fails in fresh instances too.
    pub fn check_keeps_no_state(&self, vectors: &[Vector]) -> Result<(), VectorMismatch> {
        self.check_vectors(vectors)?;
        let deadline = Instant::now() + BUDGET * (3 * vectors.len() as u32 + 1);
        let kept = |index, fault| VectorMismatch::KeepsState(Box::new(VectorMismatch::Fault { index, fault }));
        let mut instance = self.keep(deadline).map_err(|fault| kept(0, fault))?;
        let forwards = 0..vectors.len();
        for index in forwards.clone().chain(forwards).chain(shuffled(vectors.len())) {
            let vector = &vectors[index];
            let found = instance.evaluate(&vector.shared, &vector.candidates, vector.count);
            compare(index, vector, found).map_err(|mismatch| VectorMismatch::KeepsState(Box::new(mismatch)))?;
        }
        Ok(())
    }
}

/// Every index once, far from where it was: backwards, the odd ones first.
fn shuffled(len: usize) -> impl Iterator<Item = usize> {
    let backwards = (0..len).rev();
    backwards.clone().filter(|index| index % 2 == 1).chain(backwards.filter(|index| index % 2 == 0))
}

fn compare(index: usize, vector: &Vector, found: Result<Vec<f64>, Fault>) -> Result<(), VectorMismatch> {
    let found = found.map_err(|fault| VectorMismatch::Fault { index, fault })?;
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    match found.iter().zip(&vector.outputs).position(|(found, expected)| !same(*found, *expected)) {
        Some(at) => Err(VectorMismatch::Value { index, at, found: found[at], expected: vector.outputs[at] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_has_every_index_once() {
        let mut all: Vec<usize> = shuffled(7).collect();
        assert_eq!(all, [5, 3, 1, 6, 4, 2, 0]);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
    }
}
