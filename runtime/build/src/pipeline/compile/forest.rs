//! Trees as the kernel walks them. Owns the turning of every trainer's comparison into the kernel's one: at least an f64.

use std::collections::VecDeque;

use selvedge_pipeline::program::{Op, Record};

use crate::pipeline::step::Precision;
use crate::pipeline::trees::{Compare, Tree, Trees};

/// Trees that the kernel walks side by side.
const LANES: usize = 8;
/// Trees of at most so many levels are walked without looking whether the walk has arrived.
const PLAIN_LEVELS: u32 = 8;
const SET: u32 = 1;
const MISSING_FIRST: u32 = 2;
const F32: u32 = 1;
const DIVIDES: u32 = 2;
const ALL: u32 = u32::MAX;
/// 2^128, which the largest f32 would be followed by.
const BEYOND: f64 = (1u128 << 127) as f64 * 2.0;

/// The nodes and what belongs to them, growing tree by tree.
#[derive(Default)]
struct Layout {
    nodes: Vec<[u8; 16]>,
    /// The values of leaves that have one an output.
    values: Vec<f64>,
    sets: Vec<u32>,
}

/// What a group is made of.
#[derive(Clone, Copy)]
struct Root {
    at: u32,
    levels: u32,
    has_sets: bool,
}

/// The record of an ensemble. `place` is where a feature's column stands, or its negation.
pub(super) fn record(trees: &Trees, first: u32, mut place: impl FnMut(usize, bool) -> u32) -> Record {
    let mut layout = Layout::default();
    // Node 0 stays empty, so that two siblings stand side by side in a line of the cache; node 1 is a leaf for the last
    // group's empty lanes.
    layout.nodes.resize(2, [0; 16]);
    layout.nodes[1] = node(0, 0, 16);
    let roots: Vec<Root> = trees.trees.iter().map(|tree| layout.add(trees, tree, &mut place)).collect();
    let is_f32 = trees.precision == Precision::F32;
    let flags = if is_f32 { F32 } else { 0 } | if trees.divide.is_some() { DIVIDES } else { 0 };
    let counts =
        [trees.trees.len(), roots.len().div_ceil(LANES), layout.values.len(), layout.sets.len(), layout.nodes.len()];
    let [trees_count, groups, values, sets, nodes] = counts.map(|count| count as u32);
    let round = |base: &f64| if is_f32 { f64::from(*base as f32) } else { *base };
    let outputs_of = trees.trees.iter().map(|tree| if trees.leaf_width(tree) > 1 { ALL } else { tree.output });
    Record::new(Op::Trees)
        .words([first, trees.outputs, trees_count, groups, values, sets, nodes, flags])
        // A sum that no tree goes into is its base, rounded as every sum is.
        .numbers(trees.base.iter().map(round).chain([trees.divide.unwrap_or(1.0)]))
        .words(outputs_of)
        .words(roots.chunks(LANES).flat_map(group))
        .numbers(layout.values)
        .words(layout.sets)
        .nodes(layout.nodes.into_flattened())
}

fn group(roots: &[Root]) -> Vec<u32> {
    let levels = roots.iter().map(|root| root.levels).max().unwrap_or(0);
    let plain = if levels <= PLAIN_LEVELS { levels } else { PLAIN_LEVELS };
    let has_sets = roots.iter().any(|root| root.has_sets);
    let mut words = vec![plain, levels - plain, u32::from(has_sets)];
    words.extend(roots.iter().map(|root| root.at));
    words.resize(3 + LANES, 16);
    words
}

fn node(threshold: u64, offset: u32, child: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&threshold.to_le_bytes());
    bytes[8..12].copy_from_slice(&offset.to_le_bytes());
    bytes[12..].copy_from_slice(&child.to_le_bytes());
    bytes
}

// === impl Layout ===

impl Layout {
    /// Lays a tree out level by level, siblings side by side.
    fn add(&mut self, trees: &Trees, tree: &Tree, place: &mut impl FnMut(usize, bool) -> u32) -> Root {
        let root = self.reserve();
        let mut waiting = VecDeque::from([(0, root, 0)]);
        let mut levels = 0;
        let mut has_sets = false;
        let width = trees.leaf_width(tree);
        while let Some((from, at, level)) = waiting.pop_front() {
            levels = levels.max(level);
            let Ok(feature) = usize::try_from(tree.feature[from]) else {
                self.nodes[at] = node(self.leaf(trees, tree, from, width), 0, 16 * at as u32);
                continue;
            };
            let children = self.reserve();
            let [left, right] = [tree.left[from] as usize, tree.right[from] as usize];
            let missing_left = tree.is_default_left(from);
            let (threshold, offset, first, second) = if let Some(set) = tree.set(from) {
                has_sets = true;
                let flags = SET | if missing_left { MISSING_FIRST } else { 0 };
                (self.set(set), (8 * place(feature, false)) | flags, left, right)
            } else {
                let bound = bound(trees.compare, tree.threshold[from]);
                // A missing value goes to the first child.
                if missing_left {
                    (bound.to_bits(), 8 * place(feature, false), left, right)
                } else {
                    (negated(bound).to_bits(), 8 * place(feature, true), right, left)
                }
            };
            self.nodes[at] = node(threshold, offset, 16 * children as u32);
            waiting.push_back((first, children, level + 1));
            waiting.push_back((second, children + 1, level + 1));
        }
        Root { at: 16 * root as u32, levels, has_sets }
    }

    /// Two nodes side by side; a root leaves the second empty.
    fn reserve(&mut self) -> usize {
        let at = self.nodes.len();
        self.nodes.resize(at + 2, [0; 16]);
        at
    }

    /// What stands for the threshold of a leaf.
    fn leaf(&mut self, trees: &Trees, tree: &Tree, from: usize, width: usize) -> u64 {
        let first = tree.threshold[from] as usize;
        let value = |value: &f64| match trees.precision {
            Precision::F64 => value * tree.weight.unwrap_or(1.0),
            Precision::F32 => f64::from(*value as f32 * tree.weight.map_or(1.0, |weight| weight as f32)),
        };
        let values = &tree.values[first..first + width];
        if width == 1 {
            return value(&values[0]).to_bits();
        }
        let at = self.values.len();
        self.values.extend(values.iter().map(value));
        at as u64
    }

    fn set(&mut self, set: &[u32]) -> u64 {
        let start = self.sets.len();
        let words = set.last().map_or(0, |last| *last as usize / 32 + 1);
        self.sets.resize(start + words, 0);
        for member in set {
            self.sets[start + *member as usize / 32] |= 1 << (member % 32);
        }
        (start as u64) << 32 | words as u64
    }
}

/// The smallest f64 that does not go left; NaN when all do.
fn bound(compare: Compare, threshold: f64) -> f64 {
    match compare {
        Compare::F64Less => threshold,
        Compare::F64AtMost if threshold == f64::INFINITY => f64::NAN,
        Compare::F64AtMost => threshold.next_up(),
        Compare::F32Less => smallest_rounding_to(first_f32(threshold, false)),
        Compare::F32AtMost if threshold == f64::INFINITY => f64::NAN,
        Compare::F32AtMost => smallest_rounding_to(first_f32(threshold, true)),
    }
}

/// The smallest f32 that is at least the threshold, or above it.
fn first_f32(threshold: f64, above: bool) -> f32 {
    let near = threshold as f32;
    let before = |value: f32| f64::from(value) < threshold || above && f64::from(value) == threshold;
    if before(near) { near.next_up() } else { near }
}

/// The smallest f64 that becomes `to` or more when it is rounded to f32.
fn smallest_rounding_to(to: f32) -> f64 {
    let below = to.next_down();
    if below == to {
        return f64::NEG_INFINITY;
    }
    // What is beyond the largest f32 rounds as if the next one were there.
    let wide = |value: f32| if value.is_infinite() { BEYOND.copysign(f64::from(value)) } else { f64::from(value) };
    let middle = (wide(below) + wide(to)) / 2.0;
    if middle as f32 >= to { middle } else { middle.next_up() }
}

/// For the negated column with its children swapped: at least this means less than `bound`.
fn negated(bound: f64) -> f64 {
    // Nothing lies below -inf, and everything that is a number below the bound that is none.
    if bound == f64::NEG_INFINITY {
        f64::NAN
    } else if bound.is_nan() {
        f64::NEG_INFINITY
    } else {
        (-bound).next_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_where_rounding_to_f32_turns() {
        let singles = [0.0f32, -0.0, 1.0, -1.0, 0.1, 16_777_217.0, f32::MAX, f32::MIN, 1e-45, -1e-45, 3.5e-40];
        for single in singles.into_iter().chain([f32::INFINITY, f32::NEG_INFINITY]) {
            for threshold in [f64::from(single), f64::from(single).next_up(), f64::from(single).next_down()] {
                for (compare, left) in [
                    (Compare::F32Less, (|x, t| f64::from(x as f32) < t) as fn(f64, f64) -> bool),
                    (Compare::F32AtMost, |x, t| f64::from(x as f32) <= t),
                    (Compare::F64Less, |x, t| x < t),
                    (Compare::F64AtMost, |x, t| x <= t),
                ] {
                    let bound = bound(compare, threshold);
                    let near = [
                        bound,
                        bound.next_up(),
                        bound.next_down(),
                        threshold,
                        threshold.next_up(),
                        threshold.next_down(),
                    ];
                    for x in near.into_iter().chain([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN]) {
                        if x.is_nan() {
                            continue;
                        }
                        let expected = left(x, threshold);
                        let right = x >= bound;
                        assert_eq!(!right, expected, "{compare:?} {x:e} {threshold:e}, bound {bound:e}");
                        assert_eq!(-x >= negated(bound), expected, "{compare:?} {x:e} {threshold:e}, negated");
                    }
                }
            }
        }
    }
}
