//! The shape of XGBoost's model files, as much of it as decides a prediction. Owns the fields and their sizes; what is not
//! named here (statistics of the training) is skipped without being kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::BadModel;
use super::objective::Objective;

/// The text with `null` for every `NaN`, which versions before 3 write where a node asks for a category and which is no JSON.
pub(in crate::import) fn without_nan(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut found = Vec::new();
    let (mut done, mut is_text, mut at) = (0, false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if is_text => at += 1,
            b'"' => is_text = !is_text,
            b'N' if !is_text && bytes[at..].starts_with(b"NaN") => {
                found.extend_from_slice(&bytes[done..at]);
                found.extend_from_slice(b"null");
                done = at + 3;
            }
            _ => {}
        }
        at += 1;
    }
    if done == 0 {
        return Cow::Borrowed(bytes);
    }
    found.extend_from_slice(&bytes[done..]);
    Cow::Owned(found)
}

/// The whole.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) learner: Learner,
    #[serde(default)]
    pub(super) version: Vec<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Learner {
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) feature_names: Vec<String>,
    #[serde(default)]
    pub(super) feature_types: Vec<String>,
    pub(super) gradient_booster: Booster,
    pub(super) learner_model_param: Param,
    pub(super) objective: ObjectiveFile,
}

#[derive(Debug, Deserialize)]
pub(super) struct ObjectiveFile {
    pub(super) name: String,
}

/// Numbers as texts, in every version.
#[derive(Debug, Deserialize)]
pub(super) struct Param {
    pub(super) base_score: String,
    #[serde(default)]
    num_class: Option<String>,
    num_feature: String,
    #[serde(default)]
    num_target: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Booster {
    name: String,
    /// Of `gbtree`.
    #[serde(default)]
    model: Option<Model>,
    /// Of `dart`, around the model.
    #[serde(default)]
    gbtree: Option<Nested>,
    #[serde(default)]
    weight_drop: Vec<f32>,
}

#[derive(Debug, Deserialize)]
struct Nested {
    model: Model,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Model {
    pub(super) gbtree_model_param: ModelParam,
    /// Where each iteration's trees begin, since 2.0.
    pub(super) iteration_indptr: Vec<u32>,
    /// The output of each tree.
    pub(super) tree_info: Vec<u32>,
    pub(super) trees: Vec<TreeFile>,
    /// What categories stood for, since 3.1.
    pub(super) cats: Option<Cats>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ModelParam {
    num_parallel_tree: Option<String>,
    pub(super) num_trees: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Cats {
    #[serde(default)]
    pub(super) enc: Vec<Encoding>,
}

/// Texts as bytes and where each begins, or numbers.
#[derive(Debug, Deserialize)]
pub(super) struct Encoding {
    #[serde(default)]
    pub(super) offsets: Option<Vec<u32>>,
    #[serde(default)]
    pub(super) values: Vec<f64>,
}

/// A tree; node 0 is its root, a leaf's value stands where an inner node has its threshold.
#[derive(Debug, Deserialize)]
pub(super) struct TreeFile {
    pub(super) left_children: Vec<i32>,
    pub(super) right_children: Vec<i32>,
    pub(super) split_indices: Vec<u32>,
    pub(super) split_conditions: Vec<Condition>,
    pub(super) default_left: Vec<Bit>,
    /// 1 where a node asks for a category, since 1.3.
    #[serde(default)]
    pub(super) split_type: Vec<u8>,
    /// The categories of all nodes; a node's part of it by its index in `categories_nodes`.
    #[serde(default)]
    pub(super) categories: Vec<u32>,
    #[serde(default)]
    pub(super) categories_nodes: Vec<u32>,
    #[serde(default)]
    pub(super) categories_segments: Vec<u64>,
    #[serde(default)]
    pub(super) categories_sizes: Vec<u64>,
    #[serde(default)]
    pub(super) tree_param: TreeParam,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TreeParam {
    pub(super) size_leaf_vector: Option<String>,
}

/// A threshold or a leaf's value; not a number where a node asks for a category, which JSON has as `null`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition(pub(super) f32);

/// 0 or 1, or a flag as the first versions wrote it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit(pub(super) bool);

// === impl Param ===

impl Param {
    /// How many features the model was trained on.
    pub(super) fn features(&self) -> Result<usize, BadModel> {
        count("num_feature", &self.num_feature)
    }

    /// How many sums there are: one a class, or one a target.
    pub(super) fn outputs(&self, objective: &Objective) -> Result<u32, BadModel> {
        let part = |name, text: &Option<String>| text.as_deref().map_or(Ok(0), |text| count(name, text));
        let (classes, targets) = (part("num_class", &self.num_class)?, part("num_target", &self.num_target)?);
        let at = "learner.learner_model_param.num_class";
        if *objective == Objective::Softmax && classes < 2 {
            return Err(BadModel::new(at, format!("{classes}, but the objective needs at least 2 classes")));
        }
        match classes.max(targets).max(1) {
            outputs @ 1..=256 => Ok(outputs as u32),
            outputs => Err(BadModel::new(at, format!("{outputs} outputs, at most 256"))),
        }
    }
}

fn count(name: &str, text: &str) -> Result<usize, BadModel> {
    let bad = |_| BadModel::new(format!("learner.learner_model_param.{name}"), format!("{text:?} is no count"));
    text.parse().map_err(bad)
}

// === impl Booster ===

impl Booster {
    /// The model, and the weights of its trees when it is `dart`.
    pub(super) fn trees(self) -> Result<(Model, Option<Vec<f32>>), BadModel> {
        let missing = |at: &str| BadModel::new(format!("learner.gradient_booster.{at}"), "missing");
        match self.name.as_str() {
            "gbtree" => Ok((self.model.ok_or_else(|| missing("model"))?, None)),
            "dart" => Ok((self.gbtree.ok_or_else(|| missing("gbtree"))?.model, Some(self.weight_drop))),
            name => {
                let why = format!("the booster {name:?} is not supported; train with `booster` gbtree or dart");
                Err(BadModel::new("learner.gradient_booster.name", why))
            }
        }
    }
}

// === impl ModelParam ===

impl ModelParam {
    /// How many trees an iteration adds for each output.
    pub(super) fn parallel(&self) -> Result<usize, BadModel> {
        let at = "learner.gradient_booster.model.gbtree_model_param.num_parallel_tree";
        match self.num_parallel_tree.as_deref().map(str::parse) {
            None => Ok(1),
            Some(Ok(parallel @ 1..)) => Ok(parallel),
            Some(_) => Err(BadModel::new(at, "no count of at least 1")),
        }
    }
}

// === impl Condition ===

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<f32>::deserialize(deserializer)?.unwrap_or(f32::NAN)))
    }
}

// === impl Bit ===

impl<'de> Deserialize<'de> for Bit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bit;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("0, 1 or a flag")
            }
            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Bit, E> {
                Ok(Bit(value))
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Bit, E> {
                Ok(Bit(value != 0))
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Bit, E> {
                Ok(Bit(value != 0))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
