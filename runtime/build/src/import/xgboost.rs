//! XGBoost's model files, JSON and UBJSON, of versions 1 to 3: `gbtree` and `dart`. Owns what the trainer means with them;
//! `file` has their shape, `ubjson` the binary notation.
//!
//! XGBoost sums in f32, the base margin first and then the leaves in the order of the trees. A value is rounded to f32 and
//! goes left when it is less than the threshold. A category goes right when it is in a node's set.

mod file;
mod objective;
mod tree;
mod ubjson;

pub(super) use file::without_nan;
use file::{Encoding, File, Learner, Model};
use objective::Objective;

use super::categories::Categories;
use super::tape::Tape;
use super::{BadModel, names};
use crate::pipeline::step::Column;
use crate::pipeline::{Answer, Answers, Compare, Function, Pipeline, PipelineInput, Precision, Step, Trees};

/// The newest major version whose files this reads.
const NEWEST: u32 = 3;

/// Whether a file is an object in UBJSON: in JSON no letter or sign follows the brace.
pub(super) fn is_ubjson(bytes: &[u8]) -> bool {
    matches!(bytes, [b'{', b'L' | b'l' | b'I' | b'i' | b'U' | b'$' | b'#', ..])
}

/// Reads a model that `save_model` wrote, in either notation.
///
/// # Errors
///
/// With the path inside the file and what is wrong there.
pub fn read(bytes: &[u8], names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let file: File = if is_ubjson(bytes) {
        let mut reader = ubjson::Reader::new(bytes);
        let file = serde_path_to_error::deserialize(&mut reader).map_err(BadModel::from_path)?;
        reader.end().map_err(|error| BadModel::whole(error.to_string()))?;
        file
    } else {
        let text = without_nan(bytes);
        let mut json = serde_json::Deserializer::from_slice(&text);
        let file = serde_path_to_error::deserialize(&mut json).map_err(BadModel::from_path)?;
        json.end().map_err(|error| BadModel::whole(error.to_string()))?;
        file
    };
    if let Some(major) = file.version.first().filter(|major| !(1..=NEWEST).contains(*major)) {
        let why = format!("XGBoost {major} is unknown; this builder reads files of versions 1 to {NEWEST}");
        return Err(BadModel::new("version[0]", why));
    }
    let version: Vec<String> = file.version.iter().map(u32::to_string).collect();
    let made_by = (!version.is_empty()).then(|| format!("xgboost {}", version.join(".")));
    pipeline(file.learner, made_by, names)
}

fn pipeline(learner: Learner, made_by: Option<String>, names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let Learner { attributes, feature_names, feature_types, gradient_booster, learner_model_param, objective } =
        learner;
    let param = &learner_model_param;
    let objective = Objective::named(&objective.name)?;
    let is_early_stopped = attributes.contains_key("scikit_learn");
    let best = attributes.get("best_iteration").filter(|_| is_early_stopped);
    let (mut model, weights) = gradient_booster.trees()?;
    let outputs = param.outputs(&objective)?;
    let trees = trees_used(&model, best.map(String::as_str), outputs)?;

    let features = param.features()?;
    let names = names::choose(names, feature_names, "learner.feature_names", features)?;
    if !feature_types.is_empty() && feature_types.len() != features {
        let why = format!("{} types for {features} features", feature_types.len());
        return Err(BadModel::new("learner.feature_types", why));
    }
    let encodings = model.cats.take().map_or_else(Vec::new, |cats| cats.enc);
    let (mut tape, columns) = inputs(names, &feature_types, encodings)?;

    let trees = Trees {
        columns,
        outputs,
        base: objective.base(param, outputs)?,
        precision: Precision::F32,
        divide: None,
        compare: Compare::F32Less,
        trees: tree::all(model, weights, trees, outputs, features)?,
    };
    let margins = tape.columns(Step::Trees(trees))?;
    let probabilities = objective.link(&margins, &mut tape)?;
    let kind = if objective == Objective::Softmax { "class" } else { "output" };
    let answers = |columns: Vec<Column>| named(kind, &columns);
    tape.finish("xgboost", made_by, Answers { margin: answers(margins), probability: answers(probabilities) })
}

/// How many trees a prediction sums, as the trainer's own default has it: a model of the scikit-learn interface stops at the
/// best iteration when it was stopped early, any other uses all.
fn trees_used(model: &Model, best: Option<&str>, outputs: u32) -> Result<usize, BadModel> {
    let count = model.trees.len();
    let Some(best) = best else { return Ok(count) };
    let at = "learner.attributes.best_iteration";
    let bad = |why: String| BadModel::new(at, why);
    let best: usize = best.parse().map_err(|_| bad(format!("{best:?} is no number")))?;
    let end = match model.iteration_indptr.get(best.saturating_add(1)) {
        Some(end) => *end as usize,
        None if model.iteration_indptr.is_empty() => {
            let a_round = model.gbtree_model_param.parallel()?.saturating_mul(outputs as usize);
            best.saturating_add(1).saturating_mul(a_round)
        }
        None => return Err(bad(format!("{best}, but there are {} iterations", model.iteration_indptr.len() - 1))),
    };
    if end > count { Err(bad(format!("{best}, but there are only {count} trees"))) } else { Ok(end) }
}

/// The inputs on a tape, and the column of each feature.
fn inputs(names: Vec<String>, types: &[String], encodings: Vec<Encoding>) -> Result<(Tape, Vec<Column>), BadModel> {
    let mut inputs = Vec::with_capacity(names.len());
    let mut columns = Vec::with_capacity(names.len());
    let mut codes = Vec::new();
    let mut categories = Vec::new();
    let mut encodings = encodings.into_iter();
    for (feature, name) in names.into_iter().enumerate() {
        let at = format!("learner.gradient_booster.model.cats.enc[{feature}]");
        let known = encodings.next().map(|encoding| encoding.categories(&at)).transpose()?.flatten();
        let input = match (types.get(feature).map(String::as_str), known) {
            (Some("c"), Some(known)) => {
                let input = known.input(name);
                categories.push((feature, known));
                input
            }
            (Some("c"), None) => {
                codes.push(feature as Column);
                PipelineInput::number(name)
            }
            (Some("i"), _) => {
                PipelineInput { kind: selvedge_decision::manifest::Kind::Flag, ..PipelineInput::number(name) }
            }
            _ => PipelineInput::number(name),
        };
        inputs.push(input);
        columns.push(feature as Column);
    }
    let mut tape = Tape::new(inputs);
    // A code is rounded to f32 before it is cut to an integer.
    if !codes.is_empty() {
        let rounded = tape.columns(Step::Apply { columns: codes.clone(), function: Function::RoundF32 })?;
        codes.iter().zip(rounded).for_each(|(feature, column)| columns[*feature as usize] = column);
    }
    for (feature, known) in categories {
        columns[feature] = known.code(feature as Column, &mut tape)?;
    }
    Ok((tape, columns))
}

/// One column is the `score`, several are numbered.
pub(super) fn named(kind: &str, columns: &[Column]) -> Vec<Answer> {
    match columns {
        [column] => vec![Answer { name: "score".into(), column: *column }],
        _ => (0..)
            .zip(columns)
            .map(|(i, column): (u32, _)| Answer { name: format!("{kind}_{i}"), column: *column })
            .collect(),
    }
}

// === impl Encoding ===

impl Encoding {
    /// The categories of a feature, when it has any.
    fn categories(self, at: &str) -> Result<Option<Categories>, BadModel> {
        if self.values.is_empty() {
            return Ok(None);
        }
        let Some(offsets) = self.offsets else {
            return Categories::Numbers(self.values).distinct(at).map(Some);
        };
        let byte =
            |value: &f64| if (0.0..256.0).contains(value) { Some(*value as u8) } else { Some(*value as i8 as u8) };
        let bytes: Vec<u8> = self.values.iter().filter_map(byte).collect();
        let mut texts = Vec::new();
        for pair in offsets.windows(2) {
            let text = bytes.get(pair[0] as usize..pair[1] as usize).map(std::str::from_utf8);
            match text {
                Some(Ok(text)) => texts.push(text.to_owned()),
                _ => return Err(BadModel::new(at, format!("bytes {} to {} are no text", pair[0], pair[1]))),
            }
        }
        Categories::Texts(texts).distinct(at).map(Some)
    }
}
