//! Pipelines made up from draws, of every step, over inputs of both scopes. Owns no comparing.

use proptest::prelude::*;
use selvedge_build::pipeline::{
    Answer, Answers, Column, Compare, Function, PIPELINE_VERSION, Pipeline, PipelineInput, Precision, Step, Tree, Trees,
};
use selvedge_decision::manifest::Scope;

/// Kinds of steps.
pub(super) const KINDS: usize = 24;

/// Where trees turn and what inputs hold, so that they meet.
const VALUES: [f64; 24] = [
    f64::NAN,
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    3.0,
    5.0,
    0.5,
    -0.5,
    -2.5,
    0.1,
    0.1f32 as f64,
    0.30000000000000004,
    1e-36,
    -1e-34,
    16_777_217.0,
    1e300,
    -1e300,
    3.4028235e38,
    1e-40,
    f64::INFINITY,
    f64::NEG_INFINITY,
    31.0,
];

/// What a step is made from.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) kind: usize,
    /// Which columns it reads, counted round the columns there are.
    pub(super) columns: Vec<usize>,
    pub(super) seed: u64,
}

/// Draws that are the same for the same seed.
pub(super) struct Draws(pub(super) u64);

/// A pipeline of these steps; it answers the last columns of each.
pub(super) fn pipeline(recipes: &[Recipe]) -> Pipeline {
    let input = |name: &str| PipelineInput::number(name);
    let inputs = vec![
        input("a"),
        input("item.b"),
        input("c"),
        PipelineInput { scope: Some(Scope::Candidate), ..PipelineInput::number("d") },
        input("e"),
    ];
    let mut pipeline = Pipeline {
        selvedge_pipeline: PIPELINE_VERSION,
        kind: "scikit-learn".into(),
        made_by: None,
        inputs,
        steps: Vec::new(),
        outputs: Answers::default(),
    };
    for recipe in recipes {
        let before = pipeline.width();
        let columns: Vec<Column> = recipe.columns.iter().map(|pick| (pick % before) as Column).collect();
        let step = step(recipe.kind, columns, &mut Draws(recipe.seed));
        let width = step.width();
        pipeline.steps.push(step);
        for column in before + width.saturating_sub(3)..before + width {
            pipeline.outputs.margin.push(Answer { name: format!("o{column}"), column: column as Column });
        }
    }
    pipeline
}

fn step(kind: usize, columns: Vec<Column>, draws: &mut Draws) -> Step {
    let (n, column) = (columns.len(), columns[0]);
    let precision = if draws.below(2) == 0 { Precision::F32 } else { Precision::F64 };
    match kind {
        0 => Step::Impute { values: draws.finite(n), columns },
        1 => Step::IsMissing { columns },
        2 => Step::ZeroIsMissing { columns },
        3 => {
            let mut list = || if draws.below(3) == 0 { Vec::new() } else { draws.small(n) };
            Step::Scale { subtract: list(), divide: list(), multiply: list(), add: list(), columns }
        }
        4 => Step::Clip { columns, low: -1.0, high: draws.unit() },
        5 => Step::Apply { columns, function: FUNCTIONS[draws.below(FUNCTIONS.len())] },
        6 => Step::Products { terms: draws.terms(&columns) },
        7 => Step::Sums { terms: draws.terms(&columns) },
        8 => Step::Index { column, values: draws.ascending() },
        9 => Step::Bins { column, edges: draws.ascending() },
        10 => {
            let slot = |draws: &mut Draws| draws.below(5) as i32 - 1;
            let slots = (0..draws.below(7)).map(|_| slot(draws)).collect();
            Step::OneHot { column, width: 4, slots, other: slot(draws), missing: slot(draws) }
        }
        11 => {
            let rows = draws.below(6);
            Step::Table {
                column,
                width: 2,
                rows: draws.values(2 * rows),
                other: draws.values(2),
                missing: draws.values(2),
            }
        }
        12 => {
            // More columns than lanes, so that groups, rests and both scopes come up.
            let columns: Vec<Column> = columns.iter().copied().cycle().take(n * (1 + draws.below(9))).collect();
            let outputs = 1 + draws.below(3);
            let weights = draws.small(outputs * columns.len());
            Step::Linear { weights, intercept: draws.small(outputs), columns, precision }
        }
        13 => Step::Linear { columns: Vec::new(), weights: Vec::new(), intercept: vec![-0.0, draws.unit()], precision },
        14 => Step::Softmax { columns, precision },
        15 => Step::Normalize { columns },
        16 => {
            let mut x = draws.ascending();
            x.retain(|x| x.is_finite());
            x.push(1e301);
            Step::Interpolate { columns, y: draws.small(x.len()), x }
        }
        17 => Step::Prior { columns, kept: 0.25 },
        18 => {
            let symbols = draws.below(6);
            let vectors = draws.small(n * symbols);
            Step::Embedding { column, vectors, columns, cosine: precision == Precision::F32 }
        }
        19 => Step::Dot { b: columns.iter().rev().copied().collect(), a: columns },
        20 => Step::Linear { weights: draws.small(n), columns, intercept: vec![0.5], precision: Precision::F64 },
        _ => Step::Trees(trees(columns, precision, draws)),
    }
}

fn trees(columns: Vec<Column>, precision: Precision, draws: &mut Draws) -> Trees {
    let outputs = 1 + draws.below(3) as u32 * draws.below(2) as u32;
    let compare = COMPARES[draws.below(COMPARES.len())];
    let features = columns.len();
    let with_sets = draws.below(2) == 0;
    let deep = draws.below(3) == 0;
    let trees = (0..draws.below(20))
        .map(|_| {
            let mut tree = Tree { output: draws.below(outputs as usize) as u32, ..Tree::default() };
            let vectors = outputs > 1 && draws.below(2) == 0;
            grow(&mut tree, features, if deep { 20 } else { 5 }, deep, with_sets, draws);
            let leaves = tree.feature.iter().filter(|feature| **feature < 0).count();
            let width = if vectors { outputs as usize } else { 1 };
            tree.values = draws.small(width * leaves);
            let mut next = 0;
            for node in 0..tree.feature.len() {
                if tree.feature[node] < 0 {
                    tree.threshold[node] = next as f64;
                    next += width;
                }
            }
            tree.weight = (draws.below(3) == 0).then(|| draws.unit());
            tree
        })
        .collect();
    let divide = (draws.below(3) == 0).then_some(7.0);
    Trees { columns, outputs, base: draws.small(outputs as usize), precision, divide, compare, trees }
}

/// Grows a node and what is below it; deep trees grow on one side alone.
fn grow(tree: &mut Tree, features: usize, levels: usize, deep: bool, with_sets: bool, draws: &mut Draws) -> u32 {
    let node = tree.feature.len();
    let is_leaf = levels == 0 || draws.below(if deep { 12 } else { 4 }) == 0;
    tree.feature.push(if is_leaf { -1 } else { draws.below(features) as i32 });
    tree.threshold.push(draws.threshold());
    tree.left.push(0);
    tree.right.push(0);
    tree.default_left.push(draws.below(2) as u8);
    tree.set.push(-1);
    if is_leaf {
        return node as u32;
    }
    if with_sets && draws.below(3) == 0 {
        tree.set[node] = tree.sets.len() as i32;
        let mut set: Vec<u32> = (0..draws.below(6)).map(|_| draws.below(40) as u32).collect();
        set.sort_unstable();
        set.dedup();
        tree.sets.push(set);
    }
    let other = if deep { 1 } else { levels - 1 };
    tree.left[node] = grow(tree, features, levels - 1, deep, with_sets, draws);
    tree.right[node] = grow(tree, features, other.min(levels - 1), deep, with_sets, draws);
    node as u32
}

const COMPARES: [Compare; 4] = [Compare::F32Less, Compare::F32AtMost, Compare::F64AtMost, Compare::F64Less];
const FUNCTIONS: [Function; 16] = [
    Function::Log,
    Function::Log2,
    Function::Log10,
    Function::Log1p,
    Function::Exp,
    Function::Expm1,
    Function::Sqrt,
    Function::Square,
    Function::Abs,
    Function::Negate,
    Function::Reciprocal,
    Function::Sigmoid,
    Function::Tanh,
    Function::Relu,
    Function::RoundF32,
    Function::Trunc,
];

// === impl Recipe ===

impl Recipe {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        (0..KINDS, prop::collection::vec(0usize..1000, 1..9), any::<u64>()).prop_map(|(kind, columns, seed)| Self {
            kind,
            columns,
            seed,
        })
    }
}

// === impl Draws ===

impl Draws {
    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Half of them where something turns, half anything from -4 to 4.
    pub(super) fn values(&mut self, n: usize) -> Vec<f64> {
        let value = |draws: &mut Self| match draws.below(2) {
            0 => VALUES[draws.below(VALUES.len())],
            _ => draws.unit() * 8.0 - 4.0,
        };
        (0..n).map(|_| value(self)).collect()
    }

    fn finite(&mut self, n: usize) -> Vec<f64> {
        self.values(n).into_iter().map(|value| if value.is_finite() { value } else { 0.25 }).collect()
    }

    /// Within the range of f32.
    fn small(&mut self, n: usize) -> Vec<f64> {
        self.finite(n).into_iter().map(|value| if value.abs() < 1e30 { value } else { 3.0 }).collect()
    }

    fn threshold(&mut self) -> f64 {
        let value = self.values(1)[0];
        if value.is_nan() { 0.0 } else { value }
    }

    fn ascending(&mut self) -> Vec<f64> {
        let n = self.below(8);
        let mut list: Vec<f64> = (0..n).map(|_| self.threshold()).collect();
        list.sort_by(f64::total_cmp);
        list
    }

    fn terms(&mut self, columns: &[Column]) -> Vec<Vec<Column>> {
        let term = |draws: &mut Self| (0..draws.below(4)).map(|_| columns[draws.below(columns.len())]).collect();
        let terms = 1 + self.below(4);
        (0..terms).map(|_| term(self)).collect()
    }
}
