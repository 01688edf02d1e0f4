//! From a trainer's model file to a [`Pipeline`]. Owns which content means which format, and how a mistake in one is told;
//! each format has a file of its own. Nothing here trusts a file: memory and time are bounded by its size.

mod categories;
pub mod embedding;
pub mod form;
pub mod lightgbm;
mod names;
pub mod onnx;
mod order;
pub mod smartcore;
mod tape;
pub mod xgboost;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::pipeline::{BadPipeline, Pipeline};

/// The most features of a model; a file can claim any number in a few bytes.
pub const MAX_FEATURES: usize = 100_000;

const FORMATS: &str = "XGBoost (JSON, UBJSON), LightGBM (text), pipeline JSON, ONNX, embeddings (JSON Lines, CSV)";

/// What is wrong with a model file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadModel {
    /// The path inside the file, such as `learner.gradient_booster.model.trees[3].left_children[7]`; empty for the whole.
    pub at: String,
    /// What is wrong, and what is expected or can be done.
    pub why: String,
}

/// The keys by which a JSON model is told from another.
#[derive(Deserialize)]
struct Keys {
    learner: Option<IgnoredAny>,
    selvedge_pipeline: Option<IgnoredAny>,
    nodes: Option<IgnoredAny>,
    edges: Option<IgnoredAny>,
}

/// Reads a model file of any known format, told by its content. `names` are the features' names in order, where the file
/// has none or others.
///
/// # Errors
///
/// With the path inside the file and what is wrong there.
pub fn read(file_name: &str, bytes: &[u8], names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let text = bytes.trim_ascii_start();
    if lightgbm::is_one(text) {
        return lightgbm::read(bytes, names);
    }
    if xgboost::is_ubjson(bytes) {
        return xgboost::read(bytes, names);
    }
    if onnx::is_one(bytes) {
        return onnx::read(bytes, names);
    }
    if embedding::is_one(text) {
        return embedding::read(bytes, names);
    }
    if text.first() == Some(&b'{') {
        let text = xgboost::without_nan(bytes);
        let keys: Keys = serde_json::from_slice(&text).map_err(|error| BadModel::whole(error.to_string()))?;
        if keys.learner.is_some() {
            return xgboost::read(bytes, names);
        }
        if keys.selvedge_pipeline.is_some() {
            return form::read(bytes, names);
        }
        if keys.nodes.is_some() && keys.edges.is_some() {
            let why =
                format!("{file_name} is a decision graph (JDM), which is read under a name that ends in .jdm.json");
            return Err(BadModel::whole(why));
        }
    }
    let why = match bytes.first() {
        Some(0x80) => {
            "a Python pickle, which runs code when it is opened; save the model in its own format instead".into()
        }
        _ => format!("{file_name} is no model file that this builder knows; it reads {FORMATS}"),
    };
    Err(BadModel::whole(why))
}

/// The pipeline, when all holds that must.
fn checked(pipeline: Pipeline) -> Result<Pipeline, BadModel> {
    pipeline.check()?;
    Ok(pipeline)
}

// === impl BadModel ===

impl BadModel {
    fn new(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: at.into(), why: why.into() }
    }

    fn whole(why: impl Into<String>) -> Self {
        Self::new("", why)
    }

    /// What serde did not like, at its path.
    fn from_path<E: std::error::Error>(error: serde_path_to_error::Error<E>) -> Self {
        let at = error.path().to_string();
        Self::new(if at == "." { String::new() } else { at }, error.into_inner().to_string())
    }
}

impl std::fmt::Display for BadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.at.is_empty() { f.write_str(&self.why) } else { write!(f, "{}: {}", self.at, self.why) }
    }
}

impl std::error::Error for BadModel {}

impl From<BadPipeline> for BadModel {
    fn from(bad: BadPipeline) -> Self {
        Self::new(bad.at, bad.why)
    }
}

#[cfg(test)]
mod tests;
