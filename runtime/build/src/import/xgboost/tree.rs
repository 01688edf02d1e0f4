//! XGBoost's trees as the middle form has them. Owns the checks of a tree's lists, and where its categories go.

use super::BadModel;
use super::file::{Model, TreeFile};
use crate::import::order;
use crate::pipeline::{MAX_NODES, Tree};

const AT: &str = "learner.gradient_booster.model";

/// The first `used` trees; `weights` are those of `dart`.
pub(super) fn all(
    model: Model,
    weights: Option<Vec<f32>>,
    used: usize,
    outputs: u32,
    features: usize,
) -> Result<Vec<Tree>, BadModel> {
    let count = model.trees.len();
    let lists = [("tree_info", Some(model.tree_info.len())), ("weight_drop", weights.as_ref().map(Vec::len))];
    for (name, len) in lists {
        if let Some(len) = len.filter(|len| *len != count) {
            return Err(BadModel::new(format!("{AT}.{name}"), format!("{len} values for {count} trees")));
        }
    }
    if model.gbtree_model_param.num_trees.is_some_and(|told| told.parse() != Ok(count)) {
        return Err(BadModel::new(format!("{AT}.gbtree_model_param.num_trees"), format!("there are {count} trees")));
    }
    let mut nodes = 0;
    let mut trees = Vec::with_capacity(used);
    for (i, (file, output)) in model.trees.into_iter().zip(model.tree_info).take(used).enumerate() {
        let at = |at: &str| format!("{AT}.trees[{i}]{at}");
        nodes += file.left_children.len();
        if nodes > MAX_NODES {
            return Err(BadModel::new(at(""), format!("more than {MAX_NODES} nodes so far")));
        }
        if output >= outputs {
            return Err(BadModel::new(format!("{AT}.tree_info[{i}]"), format!("output {output} of {outputs}")));
        }
        let mut tree = one(file, features).map_err(|(path, why)| BadModel::new(at(&path), why))?;
        tree.output = output;
        tree.weight = weights.as_ref().map(|weights| f64::from(weights[i]));
        trees.push(tree);
    }
    Ok(trees)
}

type Bad = (String, String);

fn one(file: TreeFile, features: usize) -> Result<Tree, Bad> {
    let nodes = file.left_children.len();
    check(&file, nodes)?;
    let is_leaf = |node: usize| file.left_children[node] == -1;
    let children = |node: usize| {
        let children = (i64::from(file.left_children[node]), i64::from(file.right_children[node]));
        (!is_leaf(node)).then_some(children)
    };
    let (order, number) =
        order::parents_first(nodes, children).map_err(|(node, why)| (format!(".left_children[{node}]"), why))?;
    let has_sets = file.split_type.contains(&1);
    let mut sets = Sets::of(&file, nodes)?;
    let (leaves, sets_of) = (nodes / 2 + 1, if has_sets { nodes } else { 0 });
    let mut tree = Tree {
        feature: Vec::with_capacity(nodes),
        threshold: Vec::with_capacity(nodes),
        left: Vec::with_capacity(nodes),
        right: Vec::with_capacity(nodes),
        default_left: Vec::with_capacity(nodes),
        set: Vec::with_capacity(sets_of),
        values: Vec::with_capacity(leaves),
        ..Tree::default()
    };
    for node in order.into_iter().map(|node| node as usize) {
        let condition = file.split_conditions[node].0;
        if is_leaf(node) {
            tree.feature.push(-1);
            tree.threshold.push(tree.values.len() as f64);
            tree.left.push(0);
            tree.right.push(0);
            tree.default_left.push(0);
            tree.values.push(f64::from(condition));
            if has_sets {
                tree.set.push(-1);
            }
            if !condition.is_finite() {
                return Err((format!(".split_conditions[{node}]"), "a leaf that is not a finite number".into()));
            }
            continue;
        }
        let feature = file.split_indices[node];
        if feature as usize >= features {
            return Err((format!(".split_indices[{node}]"), format!("feature {feature} of {features}")));
        }
        let (left, right) = (file.left_children[node] as usize, file.right_children[node] as usize);
        let left_is_default = file.default_left[node].0;
        let asks_for_a_set = file.split_type.get(node) == Some(&1);
        if !asks_for_a_set && condition.is_nan() {
            return Err((format!(".split_conditions[{node}]"), "a threshold that is not a number".into()));
        }
        // Members of a set go right here and left in the middle form.
        let (left, right) = if asks_for_a_set { (right, left) } else { (left, right) };
        tree.feature.push(feature as i32);
        tree.threshold.push(if asks_for_a_set { 0.0 } else { f64::from(condition) });
        tree.left.push(number[left]);
        tree.right.push(number[right]);
        tree.default_left.push(u8::from(left_is_default != asks_for_a_set));
        if has_sets {
            let set = if asks_for_a_set { sets.take(&file, node, &mut tree.sets)? } else { -1 };
            tree.set.push(set);
        }
    }
    Ok(tree)
}

fn check(file: &TreeFile, nodes: usize) -> Result<(), Bad> {
    if file.tree_param.size_leaf_vector.as_deref().is_some_and(|size| !matches!(size, "0" | "1")) {
        let why = "several values a leaf are not supported; train with `multi_strategy` one_output_per_tree";
        return Err((".tree_param.size_leaf_vector".into(), why.into()));
    }
    if nodes == 0 {
        return Err((".left_children".into(), "empty: a tree has at least a leaf".into()));
    }
    let lists = [
        ("right_children", file.right_children.len()),
        ("split_indices", file.split_indices.len()),
        ("split_conditions", file.split_conditions.len()),
        ("default_left", file.default_left.len()),
    ];
    let types = ("split_type", file.split_type.len());
    let types = (!file.split_type.is_empty()).then_some(types);
    match lists.into_iter().chain(types).find(|(_, len)| *len != nodes) {
        Some((name, len)) => Err((format!(".{name}"), format!("{len} values, but there are {nodes} nodes"))),
        None => Ok(()),
    }
}

/// Where each node's categories stand.
struct Sets {
    /// By node: the index in `categories_nodes`.
    of_node: Vec<Option<u32>>,
}

// === impl Sets ===

impl Sets {
    fn of(file: &TreeFile, nodes: usize) -> Result<Self, Bad> {
        let count = file.categories_nodes.len();
        for (name, len) in
            [("categories_segments", file.categories_segments.len()), ("categories_sizes", file.categories_sizes.len())]
        {
            if len != count {
                return Err((format!(".{name}"), format!("{len} values for {count} nodes with categories")));
            }
        }
        // Each category belongs to one node, so that a short file cannot stand for large sets.
        let told = file.categories_sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
        if told > file.categories.len() as u64 {
            let why = format!("{told} categories in all, but `categories` has {}", file.categories.len());
            return Err((".categories_sizes".into(), why));
        }
        let mut of_node = vec![None; if count == 0 { 0 } else { nodes }];
        for (i, node) in file.categories_nodes.iter().enumerate() {
            match of_node.get_mut(*node as usize) {
                Some(place @ None) => *place = Some(i as u32),
                _ => return Err((format!(".categories_nodes[{i}]"), format!("node {node} of {nodes}, or twice"))),
            }
        }
        Ok(Self { of_node })
    }

    /// The index of a node's set, which is appended to `sets`.
    fn take(&mut self, file: &TreeFile, node: usize, sets: &mut Vec<Vec<u32>>) -> Result<i32, Bad> {
        let missing = || (format!(".split_type[{node}]"), "asks for a category, but has none".to_owned());
        let i = self.of_node.get(node).copied().flatten().ok_or_else(missing)? as usize;
        let (start, size) = (file.categories_segments[i], file.categories_sizes[i]);
        let part = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(size)).ok());
        let Some(set) = part.and_then(|(start, end)| file.categories.get(start..end)) else {
            let why = format!("{size} from {start}, but `categories` has {}", file.categories.len());
            return Err((format!(".categories_segments[{i}]"), why));
        };
        let mut set = set.to_vec();
        set.sort_unstable();
        set.dedup();
        if let Some(category) = set.last().filter(|category| **category >= 1 << 24) {
            return Err((".categories".into(), format!("category {category}, must be below 16,777,216")));
        }
        sets.push(set);
        Ok(sets.len() as i32 - 1)
    }
}
