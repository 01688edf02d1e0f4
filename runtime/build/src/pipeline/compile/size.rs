//! How many bytes a program takes at least. Owns the bound by which a small file does not become gigabytes: sets become lists
//! of bits, rows of weights and vectors are filled up to whole lanes.

use super::emit::{NARROW_LANES, WIDE_LANES};
use crate::pipeline::Pipeline;
use crate::pipeline::step::{Precision, Step};
use crate::pipeline::trees::Trees;

/// The bytes of one node.
const NODE_BYTES: usize = 16;

/// The bytes of the steps of which a column is `needed`, and how the largest part of them could become smaller.
pub(super) fn of(pipeline: &Pipeline, needed: &[bool]) -> (u64, &'static str) {
    let mut parts = [
        (0, "train fewer or smaller trees"),
        (0, "number the categories from 0, without gaps"),
        (0, "leave out columns, or make the layers smaller"),
        (0, "split the catalogue, or keep the vectors as a feature of the view"),
    ];
    let mut first = pipeline.input_width();
    for step in &pipeline.steps {
        let own = first..first + step.width();
        first = own.end;
        if !needed[own].contains(&true) {
            continue;
        }
        let [trees, sets, weights, vectors] = parts.each_mut().map(|(bytes, _)| bytes);
        match step {
            Step::Trees(step) => {
                *trees += step.trees.iter().map(|tree| (tree.feature.len() * NODE_BYTES) as u64).sum::<u64>();
                *sets += of_sets(step);
            }
            Step::Linear { columns, intercept, precision, .. } => {
                *weights += match precision {
                    Precision::F64 => padded(intercept.len(), columns.len(), WIDE_LANES, 8),
                    Precision::F32 => padded(intercept.len(), columns.len(), NARROW_LANES, 4),
                };
            }
            Step::Embedding { columns, vectors: values, .. } => {
                *vectors += padded(values.len() / columns.len(), columns.len(), NARROW_LANES, 4);
            }
            _ => {}
        }
    }
    let largest = parts.iter().max_by_key(|(bytes, _)| *bytes).map_or("", |(_, advice)| advice);
    (parts.iter().map(|(bytes, _)| bytes).sum(), largest)
}

/// The bits of the sets: up to the largest category of each.
fn of_sets(trees: &Trees) -> u64 {
    let nodes = trees.trees.iter().flat_map(|tree| (0..tree.feature.len()).filter_map(|node| tree.set(node)));
    nodes.filter_map(<[u32]>::last).map(|last| 4 * (u64::from(*last) / 32 + 1)).sum()
}

fn padded(rows: usize, width: usize, lanes: usize, bytes: u64) -> u64 {
    rows as u64 * width.next_multiple_of(lanes) as u64 * bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::{CompileError, Options, module, program};
    use crate::pipeline::{
        Answer, Answers, Column, Compare, PIPELINE_VERSION, Pipeline, PipelineInput, Precision, Step, Tree, Trees,
    };

    /// A number, a symbol and the steps; `column` is answered.
    fn pipeline(steps: Vec<Step>, column: Column) -> Pipeline {
        Pipeline {
            selvedge_pipeline: PIPELINE_VERSION,
            kind: "x".into(),
            made_by: None,
            inputs: vec![PipelineInput::number("a"), PipelineInput::symbol("item.id", vec!["x".into()])],
            steps,
            outputs: Answers { margin: vec![Answer { name: "score".into(), column }], probability: Vec::new() },
        }
    }

    #[track_caller]
    fn check(pipeline: &Pipeline, size: u64, expected: &str) {
        let options = Options::new("m");
        for refused in [module(pipeline, &options), program(pipeline, &options)] {
            let told = refused.unwrap_err();
            assert!(
                matches!(told, CompileError::Size { needed, advice } if needed == size && advice.contains(expected))
            );
        }
    }

    #[test]
    fn vectors_of_one_number_take_whole_lanes() {
        let vectors = Step::Embedding { column: 1, columns: vec![0], vectors: vec![0.5; 65_536], cosine: false };
        let mut steps = vec![vectors; 17];
        steps.push(Step::Sums { terms: vec![(2..19).collect()] });
        check(&pipeline(steps.clone(), 19), 17 * 65_536 * 64, "keep the vectors as a feature");
        // What no answer needs is left out of the program.
        assert!(program(&pipeline(steps, 2), &Options::new("m")).is_ok());
        let more = Step::Embedding { column: 1, columns: vec![0], vectors: vec![0.5; 65_537], cosine: false };
        let told = program(&pipeline(vec![more], 2), &Options::new("m")).unwrap_err().to_string();
        assert_eq!(told, "steps[0].vectors: 65537 vectors, at most 65536");
    }

    #[test]
    fn a_set_takes_the_bits_up_to_its_largest_category() {
        // A chain of nodes that ask for one large category.
        let mut tree = Tree { sets: vec![vec![(1 << 24) - 1]], ..Tree::default() };
        for node in 0..81 {
            let is_leaf = node % 2 == 1 || node == 80;
            tree.feature.push(if is_leaf { -1 } else { 0 });
            tree.threshold.push(0.0);
            tree.left.push(if is_leaf { 0 } else { node + 1 });
            tree.right.push(if is_leaf { 0 } else { node + 2 });
            tree.set.push(if is_leaf { -1 } else { 0 });
            tree.values.extend(is_leaf.then_some(1.0));
        }
        let trees = Trees {
            columns: vec![0],
            outputs: 1,
            base: vec![0.0],
            precision: Precision::F64,
            divide: None,
            compare: Compare::F64AtMost,
            trees: vec![tree],
        };
        check(&pipeline(vec![Step::Trees(trees)], 2), 40 * (2 << 20) + 81 * 16, "number the categories from 0");
    }
}
