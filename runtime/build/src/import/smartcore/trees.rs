//! smartcore's trees and their ensembles. A value goes left (to the true child) when it is at most the threshold; a missing
//! one goes right, because no comparison with it holds.

use super::model::{
    Boosted, BoostedNode, BoostedParameters, Classifier, Forest, Label, Node, Objective, RegressorForest, TreeRegressor,
};
use super::{answers, finish, fitted, inputs, push};
use crate::import::order::parents_first;
use crate::import::tape::Tape;
use crate::import::{BadModel, xgboost};
use crate::pipeline::step::Column;
use crate::pipeline::{Answers, Compare, Pipeline, Precision, Step, Tree, Trees};

pub(super) fn classifier(model: Classifier, names: Vec<String>) -> Result<Pipeline, BadModel> {
    let tree = classes_tree("", &model, &model.classes, model.num_features)?;
    shares(vec![tree], &model.classes, model.num_features, names)
}

pub(super) fn forest(model: Forest, names: Vec<String>) -> Result<Pipeline, BadModel> {
    let (trees, classes) = (fitted("trees", model.trees)?, fitted("classes", model.classes)?);
    let features = trees.first().map_or(0, |tree| tree.num_features);
    let trees = trees
        .iter()
        .enumerate()
        .map(|(i, tree)| classes_tree(&format!("trees[{i}]."), tree, &classes, features))
        .collect::<Result<Vec<_>, _>>()?;
    shares(trees, &classes, features, names)
}

pub(super) fn regressor(model: TreeRegressor, names: Vec<String>) -> Result<Pipeline, BadModel> {
    let tree = fitted("tree_regressor", model.tree_regressor)?;
    let features = fitted("num_features", model.num_features)?;
    let tree = flat("tree_regressor.", &tree.nodes, features, |output| Ok(vec![*output]))?;
    sums(vec![tree], 0.0, None, features, names)
}

pub(super) fn regressor_forest(model: RegressorForest, names: Vec<String>) -> Result<Pipeline, BadModel> {
    let forest = fitted("forest_regressor", model.forest_regressor)?;
    let trees = fitted("forest_regressor.trees", forest.trees)?;
    let features = fitted("forest_regressor.num_features", forest.num_features)?;
    let trees = trees
        .iter()
        .enumerate()
        .map(|(i, tree)| {
            flat(&format!("forest_regressor.trees[{i}]."), &tree.nodes, features, |output| Ok(vec![*output]))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let divide = trees.len() as f64;
    sums(trees, 0.0, Some(divide), features, names)
}

pub(super) fn boosted(model: Boosted, names: Vec<String>) -> Result<Pipeline, BadModel> {
    let regressors = fitted("regressors", model.regressors)?;
    let BoostedParameters { learning_rate, base_score, objective: Objective::MeanSquaredError } =
        fitted("parameters", model.parameters)?;
    // The model does not say how many features it was fitted on.
    let features = names.len();
    let mut trees = Vec::with_capacity(regressors.len());
    for (i, root) in regressors.into_iter().enumerate() {
        let mut tree = nested(root, features).map_err(|why| BadModel::new(format!("regressors[{i}]"), why))?;
        tree.weight = Some(learning_rate);
        trees.push(tree);
    }
    sums(trees, base_score, None, features, names)
}

/// A classifier's answer: for two classes the share of the trees that say the second, else one share a class.
fn shares(trees: Vec<Tree>, classes: &[Label], features: usize, names: Vec<String>) -> Result<Pipeline, BadModel> {
    if classes.len() < 2 || classes.len() > 256 {
        let why = format!("{} classes; between 2 and 256 are expected", classes.len());
        return Err(BadModel::new("classes", why));
    }
    let outputs = if classes.len() == 2 { 1 } else { classes.len() as u32 };
    let divide = Some(trees.len() as f64).filter(|trees| *trees != 1.0);
    let (tape, columns) = summed(trees, vec![0.0; outputs as usize], divide, features, names)?;
    finish(tape, Answers { margin: Vec::new(), probability: answers(classes, &columns) })
}

/// A regression's answer.
fn sums(
    trees: Vec<Tree>,
    base: f64,
    divide: Option<f64>,
    features: usize,
    names: Vec<String>,
) -> Result<Pipeline, BadModel> {
    let (tape, columns) = summed(trees, vec![base], divide, features, names)?;
    finish(tape, Answers { margin: xgboost::named("output", &columns), probability: Vec::new() })
}

fn summed(
    trees: Vec<Tree>,
    base: Vec<f64>,
    divide: Option<f64>,
    features: usize,
    names: Vec<String>,
) -> Result<(Tape, Vec<Column>), BadModel> {
    if trees.is_empty() {
        return Err(BadModel::new("trees", "empty: the model is not fitted"));
    }
    let mut tape = Tape::new(inputs(names, features)?);
    let columns = push(
        &mut tape,
        Step::Trees(Trees {
            columns: (0..features as Column).collect(),
            outputs: base.len() as u32,
            base,
            precision: Precision::F64,
            divide,
            compare: Compare::F64AtMost,
            trees,
        }),
    )?;
    Ok((tape, columns))
}

/// A classifier's tree: a leaf is 1 for its class and 0 for the others.
fn classes_tree(at: &str, model: &Classifier, classes: &[Label], features: usize) -> Result<Tree, BadModel> {
    if model.num_features != features {
        let why = format!("{}, the first tree has {features}", model.num_features);
        return Err(BadModel::new(format!("{at}num_features"), why));
    }
    flat(at, &model.nodes, features, |class| match classes.len() {
        count if *class >= count => Err(format!("class {class} of {count}")),
        2 => Ok(vec![*class as f64]),
        count => Ok((0..count).map(|other| f64::from(other == *class)).collect()),
    })
}

/// A tree whose nodes stand in a list.
fn flat<Out>(
    at: &str,
    nodes: &[Node<Out>],
    features: usize,
    leaf: impl Fn(&Out) -> Result<Vec<f64>, String>,
) -> Result<Tree, BadModel> {
    if nodes.is_empty() {
        return Err(BadModel::new(format!("{at}nodes"), "empty: the tree is not fitted"));
    }
    let bad = |node: usize, why: String| BadModel::new(format!("{at}nodes[{node}]"), why);
    let child = |child: usize| i64::try_from(child).unwrap_or(i64::MAX);
    let (order, number) = parents_first(nodes.len(), |node| {
        let Node { true_child, false_child, .. } = &nodes[node];
        // One child without the other is told as a child that does not exist.
        true_child.map(|left| (child(left), false_child.map_or(-1, child)))
    })
    .map_err(|(node, why)| bad(node, why))?;
    let mut tree = Tree::default();
    for old in order {
        let node = &nodes[old as usize];
        match (node.true_child, node.false_child) {
            (Some(left), Some(right)) => {
                if node.split_feature >= features {
                    return Err(bad(old as usize, format!("feature {} of {features}", node.split_feature)));
                }
                let Some(threshold) = node.split_value else {
                    return Err(bad(old as usize, "a split without a value, or with one that is not finite".into()));
                };
                inner(&mut tree, node.split_feature, threshold, number[left], number[right]);
            }
            _ => {
                let values = leaf(&node.output).map_err(|why| bad(old as usize, why))?;
                push_leaf(&mut tree, &values);
            }
        }
    }
    Ok(tree)
}

/// A tree whose nodes hold their children.
fn nested(root: BoostedNode, features: usize) -> Result<Tree, String> {
    let mut tree = Tree::default();
    // A right child is numbered when its turn comes, its parent is told then; a left one stands next to its parent.
    let mut pending = vec![(Box::new(root), None)];
    while let Some((mut node, right_of)) = pending.pop() {
        let at = tree.feature.len();
        if let Some(parent) = right_of {
            tree.right[parent] = at as u32;
        }
        let Some((left, right)) = node.children() else {
            push_leaf(&mut tree, &[node.value]);
            continue;
        };
        if node.split_feature_idx >= features {
            return Err(format!(
                "a split on feature {}, but {features} feature names were given",
                node.split_feature_idx
            ));
        }
        inner(&mut tree, node.split_feature_idx, node.threshold, at as u32 + 1, 0);
        pending.push((right, Some(at)));
        pending.push((left, None));
    }
    Ok(tree)
}

fn inner(tree: &mut Tree, feature: usize, threshold: f64, left: u32, right: u32) {
    tree.feature.push(feature as i32);
    tree.threshold.push(threshold);
    tree.left.push(left);
    tree.right.push(right);
}

fn push_leaf(tree: &mut Tree, values: &[f64]) {
    tree.feature.push(-1);
    tree.threshold.push(tree.values.len() as f64);
    tree.left.push(0);
    tree.right.push(0);
    tree.values.extend_from_slice(values);
}
