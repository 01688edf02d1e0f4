//! Ensembles of decision trees, as trainers mean them. Owns their shape; how the kernel lays them out is `compile`'s.

use serde::{Deserialize, Serialize};

use super::step::{Column, Precision};

/// The sums of an ensemble: for each output `base + Σ leaf`, tree by tree, rounded to `precision` after every addition;
/// then divided by `divide`, in the same precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trees {
    /// The column of each of the trainer's features.
    pub columns: Vec<Column>,
    /// How many sums.
    pub outputs: u32,
    /// Where each sum begins.
    pub base: Vec<f64>,
    /// What a sum is computed in; with `f32`, `base`, leaves and weights are f32.
    #[serde(default)]
    pub precision: Precision,
    /// What every sum is divided by at the end, as forests do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divide: Option<f64>,
    /// When a value goes left.
    pub compare: Compare,
    /// The trees, in the order in which they are summed.
    pub trees: Vec<Tree>,
}

/// When a value that is not missing goes left at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Rounded to f32 it is less: XGBoost.
    F32Less,
    /// Rounded to f32 it is at most the threshold (which is an f64): trees of scikit-learn.
    F32AtMost,
    /// It is at most the threshold: LightGBM, HistGradientBoosting, smartcore.
    F64AtMost,
    /// It is less.
    F64Less,
}

/// One tree, its nodes in parallel lists; node 0 is the root, children stand behind their parents.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Which sum its leaves go into; all of them, when a leaf has `outputs` values.
    #[serde(default)]
    pub output: u32,
    /// The index in `Trees::columns` a node looks at, -1 at a leaf.
    pub feature: Vec<i32>,
    /// The threshold of a node; at a leaf the index of its first value in `values`.
    pub threshold: Vec<f64>,
    /// The left child; 0 at a leaf.
    pub left: Vec<u32>,
    /// The right child; 0 at a leaf.
    pub right: Vec<u32>,
    /// 1 where a missing value goes left, else 0; empty when it always goes right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_left: Vec<u8>,
    /// For a node that asks for membership instead: the index of its set in `sets`, else -1. Empty when none does. A value
    /// is cut to an integer and goes left when that is in the set, right when it is not or the value is below 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<i32>,
    /// Sets of categories, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Vec<u32>>,
    /// The leaves' values.
    pub values: Vec<f64>,
    /// What every leaf is multiplied with (rounded to the sum's precision) before it is added, as DART does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

// === impl Trees ===

impl Trees {
    /// The values of one leaf: 1, or one an output.
    ///
    /// A tree has leaf vectors when it has `outputs` times as many values as leaves.
    pub fn leaf_width(&self, tree: &Tree) -> usize {
        let leaves = || tree.feature.iter().filter(|feature| **feature < 0).count();
        if self.outputs > 1 && tree.values.len() == leaves() * self.outputs as usize {
            self.outputs as usize
        } else {
            1
        }
    }
}

// === impl Tree ===

impl Tree {
    /// Whether a missing value goes left at `node`.
    pub fn is_default_left(&self, node: usize) -> bool {
        self.default_left.get(node).is_some_and(|left| *left != 0)
    }

    /// The set of `node`, when it asks for membership.
    pub fn set(&self, node: usize) -> Option<&[u32]> {
        let set = usize::try_from(*self.set.get(node)?).ok()?;
        self.sets.get(set).map(Vec::as_slice)
    }
}
