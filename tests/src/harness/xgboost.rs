//! Model files as XGBoost 3 writes them, with trees of a fixed seed: for what needs a model of any size and no trainer.

use serde_json::{Value, json};

use super::Random;

/// A `binary:logistic` model of full trees over features with these names, as JSON.
pub fn model(names: &[&str], trees: usize, depth: u32, seed: u64) -> String {
    let mut random = Random::new(seed);
    let all: Vec<Value> = (0..trees).map(|id| tree(id, names.len(), depth, &mut random)).collect();
    let count = trees.to_string();
    let model = json!({
        "learner": {
            "attributes": {},
            "feature_names": names,
            "feature_types": vec!["float"; names.len()],
            "gradient_booster": {
                "model": {
                    "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": count},
                    "iteration_indptr": (0..=trees).collect::<Vec<_>>(),
                    "tree_info": vec![0; trees],
                    "trees": all,
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": "[2.5E-1]", "boost_from_average": "1", "num_class": "0",
                "num_feature": names.len().to_string(), "num_target": "1",
            },
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [3, 1, 0],
    });
    model.to_string()
}

/// A full tree in order of levels: the children of node n are 2n + 1 and 2n + 2.
fn tree(id: usize, features: usize, depth: u32, random: &mut Random) -> Value {
    let inner = (1usize << depth) - 1;
    let nodes = 2 * inner + 1;
    let mut of = |leaf: fn(&mut Random) -> f32, inside: fn(&mut Random) -> f32| -> Vec<f32> {
        (0..nodes).map(|node| if node < inner { inside(random) } else { leaf(random) }).collect()
    };
    let small = |random: &mut Random| (random.unit() * 0.1 - 0.05) as f32;
    let large = |random: &mut Random| (random.unit() * 100.0) as f32;
    let split_conditions = of(small, large);
    let (base_weights, loss_changes, sum_hessian) = (of(small, small), of(|_| 0.0, large), of(large, large));
    let child = |node: usize, side: usize| if node < inner { (2 * node + side) as i64 } else { -1 };
    let parent = |node: usize| if node == 0 { 2_147_483_647 } else { (node - 1) / 2 };
    json!({
        "base_weights": base_weights,
        "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
        "default_left": (0..nodes).map(|_| random.below(2)).collect::<Vec<_>>(),
        "id": id,
        "left_children": (0..nodes).map(|node| child(node, 1)).collect::<Vec<_>>(),
        "loss_changes": loss_changes,
        "parents": (0..nodes).map(parent).collect::<Vec<_>>(),
        "right_children": (0..nodes).map(|node| child(node, 2)).collect::<Vec<_>>(),
        "split_conditions": split_conditions,
        "split_indices": (0..nodes).map(|node| if node < inner { random.below(features as u64) } else { 0 }).collect::<Vec<_>>(),
        "split_type": vec![0; nodes],
        "sum_hessian": sum_hessian,
        "tree_param": {
            "num_deleted": "0", "num_feature": features.to_string(), "num_nodes": nodes.to_string(), "size_leaf_vector": "1",
        },
    })
}
