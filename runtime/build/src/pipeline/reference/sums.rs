//! The sums: linear, dot products, trees. Owns the order in which every sum is taken.

use selvedge_decision::manifest::Scope;

use crate::pipeline::step::Precision;
use crate::pipeline::trees::{Compare, Tree, Trees};

pub(super) fn linear(
    tape: &[f64],
    scopes: &[Scope],
    columns: &[u32],
    weights: &[f64],
    intercept: &[f64],
    precision: Precision,
) -> Vec<f64> {
    let row = |output: usize| {
        let weights = &weights[output * columns.len()..][..columns.len()];
        let side = |scope: Scope| {
            let terms = columns.iter().zip(weights).filter(move |(column, _)| scopes[**column as usize] == scope);
            terms.map(|(column, weight)| (tape[*column as usize], *weight))
        };
        match precision {
            Precision::F64 => [Scope::Shared, Scope::Candidate].into_iter().fold(intercept[output], |sum, scope| {
                if side(scope).next().is_some() { sum + dot64(side(scope)) } else { sum }
            }),
            Precision::F32 => {
                let sum = [Scope::Shared, Scope::Candidate].into_iter().fold(intercept[output] as f32, |sum, scope| {
                    let (x, weights): (Vec<f64>, Vec<f64>) = side(scope).unzip();
                    if x.is_empty() { sum } else { sum + dot32(x, weights) }
                });
                f64::from(sum)
            }
        }
    };
    (0..intercept.len()).map(row).collect()
}

/// In eight lanes, from 0 each.
fn dot64(terms: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut lanes = [0.0; 8];
    for (i, (x, weight)) in terms.enumerate() {
        lanes[i % 8] += x * weight;
    }
    fold(lanes, |a, b| a + b)
}

/// In sixteen lanes of f32, from 0 each.
pub(super) fn dot32(a: impl IntoIterator<Item = f64>, b: impl IntoIterator<Item = f64>) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
        lanes[i % 16] += a as f32 * b as f32;
    }
    fold(std::array::from_fn(|i| lanes[i] + lanes[i + 8]), |a, b| a + b)
}

fn fold<T: Copy>([a, b, c, d, e, f, g, h]: [T; 8], add: impl Fn(T, T) -> T) -> T {
    add(add(add(a, e), add(c, g)), add(add(b, f), add(d, h)))
}

pub(super) fn embedding(x: f64, other: impl Iterator<Item = f64> + Clone, vectors: &[f64], cosine: bool) -> f64 {
    let len = other.clone().count();
    let Some(index) = super::symbol(x, vectors.len() / len) else { return 0.0 };
    let dot = dot32(other.clone(), vectors[index * len..][..len].iter().copied());
    if !cosine {
        return f64::from(dot);
    }
    let length = dot32(other.clone(), other).sqrt();
    if length == 0.0 { 0.0 } else { f64::from(dot / length) }
}

pub(super) fn trees(trees: &Trees, tape: &[f64]) -> Vec<f64> {
    let mut sums = trees.base.clone();
    for tree in &trees.trees {
        let leaf = &tree.values[tree.threshold[leaf(trees, tree, tape)] as usize..];
        let width = trees.leaf_width(tree);
        let first = if width == 1 { tree.output as usize } else { 0 };
        for (sum, value) in sums[first..].iter_mut().zip(&leaf[..width]) {
            *sum = match trees.precision {
                Precision::F64 => *sum + value * tree.weight.unwrap_or(1.0),
                Precision::F32 => {
                    let value = *value as f32 * tree.weight.map_or(1.0, |weight| weight as f32);
                    f64::from(*sum as f32 + value)
                }
            };
        }
    }
    sums.into_iter()
        .map(|sum| match (trees.precision, trees.divide) {
            (Precision::F64, None) => sum,
            (Precision::F64, Some(divide)) => sum / divide,
            (Precision::F32, None) => f64::from(sum as f32),
            (Precision::F32, Some(divide)) => f64::from(sum as f32 / divide as f32),
        })
        .collect()
}

/// The leaf that a row comes to.
fn leaf(trees: &Trees, tree: &Tree, tape: &[f64]) -> usize {
    let mut node = 0;
    // Children stand behind their parents, so this ends.
    while let Ok(feature) = usize::try_from(tree.feature[node]) {
        let x = tape[trees.columns[feature] as usize];
        let left = if x.is_nan() {
            tree.is_default_left(node)
        } else {
            match tree.set(node) {
                Some(set) => x >= 0.0 && x < f64::from(1 << 24) && set.binary_search(&(x as u32)).is_ok(),
                None => goes_left(trees.compare, x, tree.threshold[node]),
            }
        };
        node = if left { tree.left[node] } else { tree.right[node] } as usize;
    }
    node
}

fn goes_left(compare: Compare, x: f64, threshold: f64) -> bool {
    match compare {
        Compare::F32Less => f64::from(x as f32) < threshold,
        Compare::F32AtMost => f64::from(x as f32) <= threshold,
        Compare::F64AtMost => x <= threshold,
        Compare::F64Less => x < threshold,
    }
}
