//! LightGBM's trees as the middle form has them. Owns the meaning of a node: threshold or set, and where a missing value goes.

use std::collections::BTreeMap;

use super::BadModel;
use super::text::Block;
use crate::import::order;
use crate::pipeline::step::ZERO;
use crate::pipeline::{MAX_NODES, Tree};

/// How a node sees its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// As it is.
    Plain,
    /// With zero as a missing value.
    ZeroIsMissing,
    /// As a category: cut to an integer.
    Category,
}

/// The pairs of feature and kind that occur, each with its index in `Trees::columns`.
#[derive(Debug)]
pub(super) struct Kinds {
    /// By index.
    pub(super) seen: Vec<(usize, Kind)>,
    features: usize,
    index: BTreeMap<(usize, Kind), i32>,
}

/// A node's `decision_type`.
#[derive(Debug, Clone, Copy)]
struct Decision(u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MissingType {
    /// NaN is 0.
    None,
    /// Zero and NaN are missing.
    Zero,
    /// NaN is missing.
    Nan,
}

/// The trees of a file, of which `outputs` make an iteration.
pub(super) fn all(blocks: &[Block<'_>], outputs: usize, kinds: &mut Kinds) -> Result<Vec<Tree>, BadModel> {
    let mut nodes = 0;
    let mut trees = Vec::with_capacity(blocks.len());
    for (i, block) in blocks.iter().enumerate() {
        let mut tree = one(block, kinds)?;
        nodes += tree.feature.len();
        if nodes > MAX_NODES {
            return Err(block.bad("num_leaves", format!("more than {MAX_NODES} nodes so far")));
        }
        tree.output = (i % outputs) as u32;
        trees.push(tree);
    }
    Ok(trees)
}

/// The lists of a tree with inner nodes.
struct Lists {
    feature: Vec<usize>,
    threshold: Vec<f64>,
    decision: Vec<u8>,
    left: Vec<i64>,
    right: Vec<i64>,
}

fn one(block: &Block<'_>, kinds: &mut Kinds) -> Result<Tree, BadModel> {
    if block.optional("is_linear").is_some_and(|linear| linear != "0") {
        let why = "linear trees are not supported; train with `linear_tree` false";
        return Err(block.bad("is_linear", why));
    }
    let leaves = block.count("num_leaves")?;
    if leaves == 0 || leaves > MAX_NODES {
        return Err(block.bad("num_leaves", format!("{leaves} is not between 1 and {MAX_NODES}")));
    }
    let values: Vec<f64> = block.list("leaf_value", leaves)?;
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        return Err(block.bad(&format!("leaf_value[{i}]"), "not a finite number"));
    }
    if leaves == 1 {
        let (feature, threshold, left, right) = (vec![-1], vec![0.0], vec![0], vec![0]);
        return Ok(Tree { feature, threshold, left, right, values, ..Tree::default() });
    }
    let inner = leaves - 1;
    let lists = Lists {
        feature: block.list("split_feature", inner)?,
        threshold: block.list("threshold", inner)?,
        decision: block.list("decision_type", inner)?,
        left: block.list("left_child", inner)?,
        right: block.list("right_child", inner)?,
    };
    let sets = sets(block)?;
    // An inner node keeps its number; leaf i, which the file writes as -1 - i, stands behind the inner nodes.
    let place = |child: i64| if child < 0 { (-1 - child).saturating_add(inner as i64) } else { child };
    let children = |node: usize| (node < inner).then(|| (place(lists.left[node]), place(lists.right[node])));
    let (order, number) = order::parents_first(inner + leaves, children)
        .map_err(|(node, why)| block.bad(&format!("left_child[{node}]"), why))?;
    let mut tree = Tree { values, ..Tree::default() };
    for node in order.into_iter().map(|node| node as usize) {
        if node < inner {
            split(block, &lists, node, sets.len(), kinds, &mut tree)?;
            tree.left.push(number[place(lists.left[node]) as usize]);
            tree.right.push(number[place(lists.right[node]) as usize]);
        } else {
            tree.feature.push(-1);
            tree.threshold.push((node - inner) as f64);
            tree.default_left.push(0);
            tree.set.push(-1);
            tree.left.push(0);
            tree.right.push(0);
        }
    }
    if sets.is_empty() {
        tree.set.clear();
    }
    tree.sets = sets;
    Ok(tree)
}

/// Appends what an inner node asks for.
fn split(
    block: &Block<'_>,
    lists: &Lists,
    node: usize,
    sets: usize,
    kinds: &mut Kinds,
    tree: &mut Tree,
) -> Result<(), BadModel> {
    let (feature, threshold, decision) = (lists.feature[node], lists.threshold[node], Decision(lists.decision[node]));
    if feature >= kinds.features {
        let why = format!("feature {feature} of {}", kinds.features);
        return Err(block.bad(&format!("split_feature[{node}]"), why));
    }
    let missing = decision.missing().ok_or_else(|| {
        block.bad(&format!("decision_type[{node}]"), format!("{} has no known type of missing values", decision.0))
    })?;
    if threshold.is_nan() {
        return Err(block.bad(&format!("threshold[{node}]"), "not a number"));
    }
    if decision.is_category() {
        if !(threshold >= 0.0 && threshold < sets as f64 && threshold.fract() == 0.0) {
            return Err(block.bad(&format!("threshold[{node}]"), format!("set {threshold} of {sets}")));
        }
        tree.feature.push(kinds.of(feature, Kind::Category));
        tree.threshold.push(0.0);
        tree.default_left.push(0);
        tree.set.push(threshold as i32);
        return Ok(());
    }
    let threshold = around_zero(threshold);
    let (kind, default_left) = match missing {
        MissingType::None => (Kind::Plain, 0.0 <= threshold),
        MissingType::Zero => (Kind::ZeroIsMissing, decision.is_default_left()),
        MissingType::Nan => (Kind::Plain, decision.is_default_left()),
    };
    tree.feature.push(kinds.of(feature, kind));
    tree.threshold.push(threshold);
    tree.default_left.push(u8::from(default_left));
    tree.set.push(-1);
    Ok(())
}

/// LightGBM reads what is at most [`ZERO`] away from 0 as 0; a threshold in that range is moved so that such values go where
/// 0 goes.
fn around_zero(threshold: f64) -> f64 {
    if threshold.abs() > ZERO {
        threshold
    } else if threshold >= 0.0 {
        ZERO
    } else {
        (-ZERO).next_down()
    }
}

/// The sets of categories of a tree, from bits in words of 32.
fn sets(block: &Block<'_>) -> Result<Vec<Vec<u32>>, BadModel> {
    let count = block.optional("num_cat").map_or(Ok(0), |_| block.count("num_cat"))?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let bounds: Vec<usize> = block.list("cat_boundaries", count.saturating_add(1))?;
    let words: Vec<u32> = block.list("cat_threshold", bounds.last().copied().unwrap_or(0))?;
    let mut sets = Vec::with_capacity(count);
    for (i, pair) in bounds.windows(2).enumerate() {
        let words = words.get(pair[0]..pair[1]).filter(|words| words.len() <= 1 << 19);
        let words = words.ok_or_else(|| {
            block.bad(&format!("cat_boundaries[{i}]"), format!("{} to {} are no words of a set", pair[0], pair[1]))
        })?;
        let members =
            (0..words.len() as u32 * 32).filter(|member| words[*member as usize / 32] >> (member % 32) & 1 == 1);
        sets.push(members.collect());
    }
    Ok(sets)
}

// === impl Kinds ===

impl Kinds {
    pub(super) fn new(features: usize) -> Self {
        Self { seen: Vec::new(), features, index: BTreeMap::new() }
    }

    fn of(&mut self, feature: usize, kind: Kind) -> i32 {
        *self.index.entry((feature, kind)).or_insert_with(|| {
            self.seen.push((feature, kind));
            self.seen.len() as i32 - 1
        })
    }
}

// === impl Decision ===

impl Decision {
    fn is_category(self) -> bool {
        self.0 & 1 != 0
    }

    fn is_default_left(self) -> bool {
        self.0 & 2 != 0
    }

    fn missing(self) -> Option<MissingType> {
        match self.0 >> 2 {
            0 => Some(MissingType::None),
            1 => Some(MissingType::Zero),
            2 => Some(MissingType::Nan),
            _ => None,
        }
    }
}
