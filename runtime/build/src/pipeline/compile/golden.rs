//! Golden vectors of a pipeline: calls that look for what could go wrong, answered by the reference. Owns which calls; the same
//! pipeline has the same ones on every machine.

use selvedge_decision::Manifest;
use selvedge_decision::manifest::{Kind, Scope};

use crate::module::Vector;
use crate::pipeline::step::{Function, Step};
use crate::pipeline::{OutputKind, Pipeline, reference};

/// How many calls.
const VECTORS: usize = 32;
/// The most candidates of a call.
const ROWS: u32 = 3;
/// The most bytes of all of them; a very wide model gets fewer.
const MAX_BYTES: usize = 4 << 20;
/// The most thresholds kept for an input column.
const THRESHOLDS: usize = 32;

/// Draws that are the same everywhere.
pub(super) struct Draws(pub(super) u64);

pub(super) fn vectors(pipeline: &Pipeline, output: OutputKind, manifest: &Manifest) -> Vec<Vector> {
    let thresholds = thresholds(pipeline);
    let each = 8 * (manifest.shared_width() + ROWS as usize * (manifest.candidate_width() + manifest.outputs.len()));
    let mut draws = Draws(0x5e1f_ed9e);
    (0..VECTORS.min((MAX_BYTES / each.max(1)).max(1)))
        .filter_map(|index| {
            let count = (1 + index as u32 % ROWS).min(manifest.limits.rows);
            let mut fill = |scope| row(pipeline, &thresholds, scope, index, &mut draws);
            let shared = fill(Scope::Shared);
            let candidates: Vec<f64> = (0..count).flat_map(|_| fill(Scope::Candidate)).collect();
            let outputs = reference::evaluate(pipeline, output, &shared, &candidates, count as usize).ok()?;
            Some(Vector { shared, candidates, count, outputs })
        })
        .collect()
}

/// The inputs of one scope. The first call has ordinary values alone; later ones go to thresholds and their neighbours, miss
/// values, and hold a zero with a sign.
fn row(pipeline: &Pipeline, thresholds: &[Vec<f64>], scope: Scope, index: usize, draws: &mut Draws) -> Vec<f64> {
    let mut row = Vec::new();
    let mut column = 0;
    for input in &pipeline.inputs {
        for _ in 0..input.width() {
            if input.scope() == scope {
                let value = match input.kind {
                    Kind::Number | Kind::Vector => number(&thresholds[column], index, draws),
                    Kind::Flag => f64::from(draws.next() & 1 == 1),
                    Kind::Symbol => draws.below(input.symbols.len() + 1) as f64 - 1.0,
                };
                row.push(if index > 0 && draws.below(8) == 0 { f64::NAN } else { value });
            }
            column += 1;
        }
    }
    row
}

fn number(thresholds: &[f64], index: usize, draws: &mut Draws) -> f64 {
    let threshold = match thresholds {
        [] => draws.unit() * 8.0 - 4.0,
        some => some[draws.below(some.len())],
    };
    if index == 0 {
        return threshold + (draws.unit() - 0.5) * threshold.abs().max(1.0);
    }
    match draws.below(8) {
        0 | 1 => threshold,
        2 => threshold.next_up(),
        3 => threshold.next_down(),
        4 => f64::from((threshold as f32).next_up()),
        5 => f64::from((threshold as f32).next_down()),
        6 => -0.0,
        _ => threshold + (draws.unit() - 0.5) * threshold.abs().max(1.0),
    }
}

/// For each input column the values at which a tree, a bin or a point of the pipeline turns, as far as they are of the input
/// itself; not more than [`THRESHOLDS`], taken from all over the model.
fn thresholds(pipeline: &Pipeline) -> Vec<Vec<f64>> {
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); pipeline.input_width()];
    // The input column that a column has the values of.
    let mut source: Vec<Option<usize>> = (0..found.len()).map(Some).collect();
    let mut draws = Draws(1);
    for step in &pipeline.steps {
        let mut add = |column: u32, value: f64| {
            let Some(kept) = source[column as usize].map(|column| &mut found[column]) else { return };
            if !value.is_finite() {
            } else if kept.len() < THRESHOLDS {
                kept.push(value);
            } else {
                let at = draws.below(4 * THRESHOLDS);
                kept.get_mut(at).into_iter().for_each(|kept| *kept = value);
            }
        };
        match step {
            Step::Trees(trees) => {
                for tree in &trees.trees {
                    for (node, feature) in tree.feature.iter().enumerate().filter(|(_, feature)| **feature >= 0) {
                        let column = trees.columns[*feature as usize];
                        match tree.set(node) {
                            Some(set) => set.first().into_iter().for_each(|first| add(column, f64::from(*first))),
                            None => add(column, tree.threshold[node]),
                        }
                    }
                }
            }
            Step::Bins { column, edges: list } | Step::Index { column, values: list } => {
                list.iter().for_each(|value| add(*column, *value));
            }
            Step::Clip { columns, low, high } => columns.iter().for_each(|column| {
                add(*column, *low);
                add(*column, *high);
            }),
            Step::Interpolate { columns, x, .. } => {
                // Every column has all points: a few of them do.
                let few = || x.iter().step_by(x.len().div_ceil(THRESHOLDS).max(1));
                columns.iter().for_each(|column| few().for_each(|value| add(*column, *value)));
            }
            _ => {}
        }
        let same: Vec<Option<usize>> = match step {
            Step::Impute { columns, .. }
            | Step::ZeroIsMissing { columns }
            | Step::Clip { columns, .. }
            | Step::Apply { columns, function: Function::RoundF32 | Function::Trunc } => {
                columns.iter().map(|column| source[*column as usize]).collect()
            }
            _ => vec![None; step.width()],
        };
        source.extend(same);
    }
    found
}

// === impl Draws ===

impl Draws {
    /// SplitMix64 (Steele, Lea and Flood, 2014).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Answer, Answers, PIPELINE_VERSION, PipelineInput};

    #[test]
    fn a_column_takes_a_few_of_many_points() {
        let x: Vec<f64> = (0..320).map(f64::from).collect();
        let steps = vec![Step::Interpolate { columns: vec![1, 1, 0], y: x.clone(), x }];
        let pipeline = Pipeline {
            selvedge_pipeline: PIPELINE_VERSION,
            kind: "x".into(),
            made_by: None,
            inputs: vec![PipelineInput::number("a"), PipelineInput::number("b")],
            steps,
            outputs: Answers { margin: vec![Answer { name: "score".into(), column: 2 }], probability: Vec::new() },
        };
        let found = thresholds(&pipeline);
        let every_tenth: Vec<f64> = (0..32).map(|i| f64::from(10 * i)).collect();
        assert_eq!(found[0], every_tenth);
        assert!(found[1].len() == 32 && found[1].iter().all(|value| every_tenth.contains(value)));
    }
}
