//! Models for benchmarks, made up: their shapes are those of the speed table, their numbers mean nothing. Owns the making of
//! pipelines; compiling them is the builder's.

use anyhow::Result;
use selvedge_build::pipeline::compile::{self, Options};
use selvedge_build::pipeline::{
    Answer, Answers, Column, Compare, Function, PIPELINE_VERSION, Pipeline, PipelineInput, Precision, Step, Tree, Trees,
};
use selvedge_decision::manifest::{Kind, Scope};

use crate::harness::Random;

/// A module of a pipeline that answers margins, for calls of up to `rows` candidates.
pub fn module(pipeline: &Pipeline, name: &str, rows: u32) -> Result<Vec<u8>> {
    Ok(compile::module(pipeline, &Options { rows, ..Options::new(name) })?)
}

/// Numbers of these names.
pub fn numbers(names: impl IntoIterator<Item = String>, scope: Scope) -> Vec<PipelineInput> {
    names.into_iter().map(|name| PipelineInput { scope: Some(scope), ..PipelineInput::number(name) }).collect()
}

/// As XGBoost makes them: `trees` perfect trees of `depth` over all inputs, sums in f32, missing values to either side. No
/// score is below 0.
pub fn perfect(inputs: Vec<PipelineInput>, trees: usize, depth: u32, seed: u64) -> Pipeline {
    let mut random = Random::new(seed);
    let leaves = 1usize << depth;
    let tree = |random: &mut Random| {
        let mut tree = Tree::default();
        for node in 0..2 * leaves - 1 {
            let inner = node < leaves - 1;
            tree.feature.push(if inner { random.below(inputs.len() as u64) as i32 } else { -1 });
            tree.threshold.push(if inner { single(random.unit() * 2.0 - 1.0) } else { (node + 1 - leaves) as f64 });
            tree.left.push(if inner { 2 * node as u32 + 1 } else { 0 });
            tree.right.push(if inner { 2 * node as u32 + 2 } else { 0 });
            tree.default_left.push(random.below(2) as u8);
        }
        tree.values = (0..leaves).map(|_| single(random.unit() * 2.0 / trees as f64)).collect();
        tree
    };
    let all = (0..trees).map(|_| tree(&mut random)).collect();
    ensemble(inputs, Compare::F32Less, Precision::F32, all)
}

/// As LightGBM makes them: `trees` trees of `leaves` leaves, the heaviest leaf split first, sums in f64.
pub fn leafwise(inputs: Vec<PipelineInput>, trees: usize, leaves: usize, seed: u64) -> Pipeline {
    let mut random = Random::new(seed);
    let tree = |random: &mut Random| {
        let mut tree = Tree::default();
        let leaf = |tree: &mut Tree| {
            tree.feature.push(-1);
            tree.threshold.push(0.0);
            tree.left.push(0);
            tree.right.push(0);
            tree.feature.len() - 1
        };
        let mut open = vec![(leaf(&mut tree), 1.0)];
        while open.len() < leaves {
            // Rows do not fall evenly, so some branches become much longer than others.
            let heaviest = (0..open.len()).max_by(|a, b| f64::total_cmp(&open[*a].1, &open[*b].1)).unwrap_or(0);
            let (node, weight) = open.swap_remove(heaviest);
            let share = 0.1 + 0.8 * random.unit();
            let [left, right] = [leaf(&mut tree), leaf(&mut tree)];
            tree.feature[node] = random.below(inputs.len() as u64) as i32;
            tree.threshold[node] = share * 2.0 - 1.0;
            (tree.left[node], tree.right[node]) = (left as u32, right as u32);
            open.extend([(left, weight * share), (right, weight * (1.0 - share))]);
        }
        for node in 0..tree.feature.len() {
            if tree.feature[node] < 0 {
                tree.threshold[node] = tree.values.len() as f64;
                tree.values.push(random.unit() / trees as f64);
            }
        }
        tree
    };
    let all = (0..trees).map(|_| tree(&mut random)).collect();
    ensemble(inputs, Compare::F64AtMost, Precision::F64, all)
}

fn ensemble(inputs: Vec<PipelineInput>, compare: Compare, precision: Precision, trees: Vec<Tree>) -> Pipeline {
    let columns: Vec<Column> = (0..inputs.len() as Column).collect();
    let column = columns.len() as Column;
    let trees = Trees { columns, outputs: 1, base: vec![0.5], precision, divide: None, compare, trees };
    pipeline("xgboost", inputs, vec![Step::Trees(trees)], column)
}

/// A network of one hidden layer, in f32.
pub fn network(inputs: Vec<PipelineInput>, hidden: usize, seed: u64) -> Pipeline {
    let mut random = Random::new(seed);
    let width = inputs.len() as Column;
    let mut layer = |columns: Vec<Column>, outputs: usize| Step::Linear {
        weights: (0..outputs * columns.len()).map(|_| single(random.unit() - 0.5)).collect(),
        intercept: (0..outputs).map(|_| single(random.unit() - 0.5)).collect(),
        columns,
        precision: Precision::F32,
    };
    let after = |first: Column| (first..first + hidden as Column).collect::<Vec<_>>();
    let first = layer((0..width).collect(), hidden);
    let relu = Step::Apply { columns: after(width), function: Function::Relu };
    let last = layer(after(width + hidden as Column), 1);
    pipeline("onnx", inputs, vec![first, relu, last], width + 2 * hidden as Column)
}

/// A person's vector of `len` against the vectors of `items`.
pub fn embedding(items: usize, len: usize, seed: u64) -> Pipeline {
    let mut random = Random::new(seed);
    let person = PipelineInput { kind: Kind::Vector, len: Some(len as u32), ..PipelineInput::number("user.taste") };
    let item = PipelineInput::symbol("candidate.id", (0..items).map(|item| format!("sku-{item}")).collect());
    let step = Step::Embedding {
        column: len as Column,
        columns: (0..len as Column).collect(),
        vectors: (0..items * len).map(|_| single(random.unit() - 0.5)).collect(),
        cosine: false,
    };
    pipeline("embedding", vec![person, item], vec![step], len as Column + 1)
}

fn pipeline(kind: &str, inputs: Vec<PipelineInput>, steps: Vec<Step>, column: Column) -> Pipeline {
    let margin = vec![Answer { name: "score".into(), column }];
    Pipeline {
        selvedge_pipeline: PIPELINE_VERSION,
        kind: kind.into(),
        made_by: None,
        inputs,
        steps,
        outputs: Answers { margin, probability: Vec::new() },
    }
}

/// A number that is an f32.
fn single(value: f64) -> f64 {
    f64::from(value as f32)
}
