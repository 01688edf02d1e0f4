//! LightGBM's text files, versions 2 to 4. Owns what the trainer means with them; `text` has their notation, `tree` the trees.
//!
//! LightGBM sums in f64, from 0, tree by tree. A value goes left when it is at most the threshold; a category goes left when
//! it is in a node's set. What a missing value and a zero mean stands in every node.

mod objective;
mod text;
mod tree;

use serde_json::Value;

use objective::Objective;
use text::{Block, Model};
use tree::Kind;

use super::categories::Categories;
use super::tape::Tape;
use super::xgboost::named;
use super::{BadModel, names};
use crate::pipeline::step::Column;
use crate::pipeline::{Answers, Compare, Function, MAX_OUTPUTS, Pipeline, PipelineInput, Precision, Step, Trees};

/// Whether a file is a LightGBM model, by its first line.
pub(super) fn is_one(text: &[u8]) -> bool {
    text.strip_prefix(b"tree").is_some_and(|rest| matches!(rest.first(), Some(b'\n' | b'\r')))
}

/// Reads a model that `save_model` wrote.
///
/// # Errors
///
/// With the tree and the key inside the file, and what is wrong there.
pub fn read(bytes: &[u8], names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let text = std::str::from_utf8(bytes).map_err(|error| BadModel::whole(format!("not UTF-8: {error}")))?;
    pipeline(&Model::parse(text)?, names)
}

fn pipeline(model: &Model<'_>, names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let head = &model.head;
    let version = head.text("version")?;
    if !matches!(version, "v2" | "v3" | "v4") {
        return Err(head.bad("version", format!("{version:?} is unknown; this builder reads v2, v3 and v4")));
    }
    let outputs = head.count("num_tree_per_iteration")?;
    if outputs == 0 || outputs > MAX_OUTPUTS || !model.trees.len().is_multiple_of(outputs) {
        let why = format!(
            "{outputs} for {} trees; between 1 and {MAX_OUTPUTS} that divide them are expected",
            model.trees.len()
        );
        return Err(head.bad("num_tree_per_iteration", why));
    }
    let objective = Objective::read(head, outputs)?;
    let features = head.count("max_feature_idx")?.saturating_add(1);
    let told =
        head.optional("feature_names").map_or_else(Vec::new, |names| names.split(' ').map(str::to_owned).collect());
    let names = names::choose(names, told, "feature_names", features)?;
    let categories = dictionaries(model, features)?;
    let inputs: Vec<PipelineInput> = names
        .into_iter()
        .zip(&categories)
        .map(|(name, known)| {
            known.as_ref().map_or_else(|| PipelineInput::number(&name), |known| known.input(name.clone()))
        })
        .collect();

    let mut kinds = tree::Kinds::new(features);
    let trees = tree::all(&model.trees, outputs, &mut kinds)?;
    let mut tape = Tape::new(inputs);
    let columns = columns(&kinds, &categories, &mut tape)?;
    let margins = tape.columns(Step::Trees(Trees {
        columns,
        outputs: outputs as u32,
        base: vec![0.0; outputs],
        precision: Precision::F64,
        divide: None,
        compare: Compare::F64AtMost,
        trees,
    }))?;
    let iterations = head.has("average_output").then_some(model.trees.len() / outputs);
    let predictions = objective.predictions(&margins, iterations, &mut tape)?;
    let kind = if objective.has_classes() { "class" } else { "output" };
    let made_by = format!("lightgbm, file version {}", version.trim_start_matches('v'));
    let answers = Answers { margin: named(kind, &margins), probability: named(kind, &predictions) };
    tape.finish("lightgbm", Some(made_by), answers)
}

/// The column of each feature as each kind of node sees it, after the steps that it takes to get there.
fn columns(kinds: &tree::Kinds, categories: &[Option<Categories>], tape: &mut Tape) -> Result<Vec<Column>, BadModel> {
    // Where a dictionary of numbers stands, the code is what the trainer saw.
    let mut codes: Vec<Column> = (0..categories.len() as Column).collect();
    for (known, code) in categories.iter().zip(&mut codes) {
        if let Some(known) = known {
            *code = known.code(*code, tape)?;
        }
    }
    // A dictionary's codes are whole already.
    let is_cut = |feature: usize, kind: Kind| kind == Kind::Category && categories[feature].is_none();
    let of = |is_one: &dyn Fn(usize, Kind) -> bool| -> Vec<Column> {
        let seen = kinds.seen.iter().filter(|(feature, kind)| is_one(*feature, *kind));
        seen.map(|(feature, _)| codes[*feature]).collect()
    };
    let mut step = |columns: Vec<Column>, step: fn(Vec<Column>) -> Step| {
        if columns.is_empty() { Ok(Vec::new()) } else { tape.columns(step(columns)) }
    };
    let zeros = of(&|_, kind| kind == Kind::ZeroIsMissing);
    let mut zeros = step(zeros, |columns| Step::ZeroIsMissing { columns })?.into_iter();
    let cut = of(&is_cut);
    let mut cut = step(cut, |columns| Step::Apply { columns, function: Function::Trunc })?.into_iter();
    let column = |(feature, kind): &(usize, Kind)| {
        let made = match kind {
            Kind::ZeroIsMissing => zeros.next(),
            Kind::Category if is_cut(*feature, *kind) => cut.next(),
            Kind::Category | Kind::Plain => None,
        };
        made.unwrap_or(codes[*feature])
    };
    Ok(kinds.seen.iter().map(column).collect())
}

/// What the codes of each feature stood for in the data frame that the model was trained on. The file has the categories of
/// all categorical columns in their order, and apart from them which features are categorical.
fn dictionaries(model: &Model<'_>, features: usize) -> Result<Vec<Option<Categories>>, BadModel> {
    let mut found: Vec<Option<Categories>> = Vec::new();
    found.resize_with(features, || None);
    let Some(line) = model.pandas_categorical else { return Ok(found) };
    let at = "pandas_categorical";
    let lists: Option<Vec<Vec<Value>>> =
        serde_json::from_str(line).map_err(|error| BadModel::new(at, error.to_string()))?;
    let lists = lists.unwrap_or_default();
    if lists.is_empty() {
        return Ok(found);
    }
    let told = model.categorical_feature.unwrap_or("");
    let columns: Result<Vec<usize>, _> = told.split(',').map(|column| column.trim().parse::<usize>()).collect();
    let mut columns = columns.unwrap_or_default();
    columns.sort_unstable();
    columns.dedup();
    if columns.len() != lists.len() {
        let why = format!(
            "categories of {} columns, but parameter categorical_feature names {}, so it is not known which feature has \
             which; train with the columns of type category as the categorical features, none of them ordered",
            lists.len(),
            columns.len(),
        );
        return Err(BadModel::new(at, why));
    }
    for (i, (column, list)) in columns.into_iter().zip(lists).enumerate() {
        let place = found.get_mut(column);
        let place =
            place.ok_or_else(|| BadModel::new("categorical_feature", format!("feature {column} of {features}")))?;
        *place = Some(Categories::from_json(&format!("{at}[{i}]"), list)?);
    }
    Ok(found)
}

// === impl Block ===

impl Block<'_> {
    fn bad(&self, key: &str, why: impl Into<String>) -> BadModel {
        BadModel::new(self.path(key), why)
    }
}
