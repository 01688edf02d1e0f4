//! How an answer came about: what each group of trees or each column of a linear model added, for one row. Owns what is told
//! and the names of columns; the numbers of the columns are the tape that `reference` filled.
//!
//! An answered column is followed back through steps that work column by column (a link, a calibration, a scale) to the sum
//! it is made of. A sum of trees is told in at most ten groups of trees that follow each other, a linear one term by term.
//! Groups are added in f64, so they add up to the sum but for its last bits.

mod names;

use serde::Serialize;

use self::names::Names;
use super::Pipeline;
use super::step::{Column, Precision, Step};
use super::trees::{Compare, Tree, Trees};

/// The most groups of trees of one sum.
const GROUPS: usize = 10;

/// How one answer came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The answer's name.
    pub answer: String,
    /// The value of the sum, before what follows it; the answer itself, when nothing does.
    pub sum: f64,
    /// What was added to what; absent for a column that is no sum.
    #[serde(flatten)]
    pub parts: Option<Parts>,
}

/// What a sum is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Parts {
    /// Of an ensemble: `base`, and what follows each other's trees added; all of it after the division of a forest.
    Trees {
        /// Where the sum begins.
        base: f64,
        /// What the trees added, in their order.
        trees: Vec<Group>,
    },
    /// Of a linear model: `intercept`, and what the columns added.
    Linear {
        /// Where the sum begins.
        intercept: f64,
        /// What the columns added, the largest first; columns that added nothing are left out.
        terms: Vec<Term>,
    },
}

/// Trees that follow each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The first tree, by its number in the model.
    pub first: usize,
    /// The last.
    pub last: usize,
    /// What they added.
    pub adds: f64,
}

/// A column of a linear model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Term {
    /// The column, named after the inputs it comes from.
    pub column: String,
    /// Its value.
    pub value: f64,
    /// What it is multiplied with.
    pub weight: f64,
    /// The product.
    pub adds: f64,
}

/// The sums behind a pipeline's answers, found once for all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Explainer {
    sums: Vec<Sum>,
    /// Of the columns that linear sums add up.
    names: Names,
}

/// What an answer is made of.
#[derive(Debug, Clone, PartialEq)]
struct Sum {
    answer: String,
    column: Column,
    /// The step that makes the column, and which of its columns that is; absent for an input.
    made_by: Option<(usize, usize)>,
}

// === impl Explainer ===

impl Explainer {
    /// For the margins of a pipeline that passed its check, or the probabilities of one that has nothing else.
    pub fn new(pipeline: &Pipeline) -> Self {
        let outputs = &pipeline.outputs;
        let answers = if outputs.margin.is_empty() { &outputs.probability } else { &outputs.margin };
        let (mut firsts, mut first) = (Vec::with_capacity(pipeline.steps.len()), pipeline.input_width());
        for step in &pipeline.steps {
            firsts.push(first);
            first += step.width();
        }
        let sum = |(name, column): (&String, Column)| Sum::behind(pipeline, &firsts, name, column);
        let sums: Vec<Sum> = answers.iter().map(|answer| sum((&answer.name, answer.column))).collect();
        let terms = sums.iter().filter_map(|sum| match &pipeline.steps[sum.made_by?.0] {
            Step::Linear { columns, .. } => Some(columns),
            _ => None,
        });
        let names = Names::of(pipeline, terms.flatten().copied());
        Self { sums, names }
    }

    /// How the answers for a row came about; `tape` holds all columns of the row.
    pub fn explain(&self, pipeline: &Pipeline, tape: &[f64]) -> Vec<Explained> {
        let value = |column: Column| tape.get(column as usize).copied().unwrap_or(f64::NAN);
        let one = |sum: &Sum| {
            let parts = sum.made_by.and_then(|(step, own)| match &pipeline.steps[step] {
                Step::Trees(trees) => Some(of_trees(trees, own, &value)),
                Step::Linear { columns, weights, intercept, .. } => {
                    let weights = &weights[own * columns.len()..][..columns.len()];
                    Some(of_terms(intercept[own], columns, weights, &self.names, &value))
                }
                _ => None,
            });
            Explained { answer: sum.answer.clone(), sum: value(sum.column), parts }
        };
        self.sums.iter().map(one).collect()
    }
}

// === impl Sum ===

impl Sum {
    /// Follows `column` back to the sum it is made of. `firsts` are the first columns of the steps.
    fn behind(pipeline: &Pipeline, firsts: &[usize], answer: &str, mut column: Column) -> Self {
        // Every turn goes to a column that stands before: it ends.
        loop {
            // Steps without columns begin where the next one does, so the last of them is the one that has some.
            let step = firsts.partition_point(|first| *first <= column as usize).checked_sub(1);
            let made_by = step.map(|step| (step, column as usize - firsts[step]));
            column = match made_by.map(|(step, own)| (&pipeline.steps[step], own)) {
                Some((
                    Step::Apply { columns, .. }
                    | Step::Scale { columns, .. }
                    | Step::Clip { columns, .. }
                    | Step::Softmax { columns, .. }
                    | Step::Normalize { columns }
                    | Step::Interpolate { columns, .. }
                    | Step::Prior { columns, .. },
                    own,
                )) => columns[own],
                Some(_) | None => return Self { answer: answer.to_owned(), column, made_by },
            };
        }
    }
}

fn of_terms(
    intercept: f64,
    columns: &[Column],
    weights: &[f64],
    names: &Names,
    value: &impl Fn(Column) -> f64,
) -> Parts {
    let term = |(column, weight): (&Column, &f64)| {
        let value = value(*column);
        Term { column: names.get(*column).to_owned(), value, weight: *weight, adds: weight * value }
    };
    let mut terms: Vec<Term> = columns.iter().zip(weights).map(term).filter(|term| term.adds != 0.0).collect();
    terms.sort_by(|a, b| b.adds.abs().total_cmp(&a.adds.abs()));
    Parts::Linear { intercept, terms }
}

fn of_trees(trees: &Trees, output: usize, value: &impl Fn(Column) -> f64) -> Parts {
    let divide = trees.divide.unwrap_or(1.0);
    let mut leaves = Vec::new();
    for (number, tree) in trees.trees.iter().enumerate() {
        let width = trees.leaf_width(tree);
        if width > 1 || tree.output as usize == output {
            let first = tree.threshold[leaf(trees, tree, value)] as usize;
            let leaf = tree.values[first + if width > 1 { output } else { 0 }];
            leaves.push((number, rounded(trees.precision, leaf * tree.weight.unwrap_or(1.0)) / divide));
        }
    }
    let group = |group: &[(usize, f64)]| Group {
        first: group.first().map_or(0, |(number, _)| *number),
        last: group.last().map_or(0, |(number, _)| *number),
        adds: group.iter().map(|(_, adds)| adds).sum(),
    };
    let size = leaves.len().div_ceil(GROUPS).max(1);
    Parts::Trees { base: trees.base[output] / divide, trees: leaves.chunks(size).map(group).collect() }
}

/// The leaf a row comes to. Children stand behind their parents, so it comes to one.
fn leaf(trees: &Trees, tree: &Tree, value: &impl Fn(Column) -> f64) -> usize {
    let mut node = 0;
    while let Ok(feature) = usize::try_from(tree.feature[node]) {
        let value = value(trees.columns[feature]);
        let goes_left = if value.is_nan() {
            tree.is_default_left(node)
        } else if let Some(set) = tree.set(node) {
            value >= 0.0 && value < f64::from(u32::MAX) && set.binary_search(&(value as u32)).is_ok()
        } else {
            let threshold = tree.threshold[node];
            match trees.compare {
                Compare::F32Less => f64::from(value as f32) < threshold,
                Compare::F32AtMost => f64::from(value as f32) <= threshold,
                Compare::F64AtMost => value <= threshold,
                Compare::F64Less => value < threshold,
            }
        };
        node = if goes_left { tree.left[node] } else { tree.right[node] } as usize;
    }
    node
}

fn rounded(precision: Precision, value: f64) -> f64 {
    match precision {
        Precision::F32 => f64::from(value as f32),
        Precision::F64 => value,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[track_caller]
    fn check(pipeline: &str, tape: &[f64], expected: &str) {
        let pipeline: Pipeline = serde_json::from_str(pipeline).unwrap();
        pipeline.check().unwrap();
        assert_eq!(tape.len(), pipeline.width(), "the tape is whole");
        let explained = Explainer::new(&pipeline).explain(&pipeline, tape);
        assert_eq!(serde_json::to_string(&explained).unwrap(), expected);
    }

    #[test]
    fn trees_are_told_in_groups() {
        let tree = |left: f64, right: f64| {
            format!(
                r#"{{"feature":[0,-1,-1],"threshold":[1.5,0,1],"left":[1,0,0],"right":[2,0,0],"default_left":[1,0,0],
                "values":[{left},{right}]}}"#
            )
        };
        let trees: Vec<String> = (0..12).map(|at| tree(f64::from(at), 100.0)).collect();
        let pipeline = format!(
            r#"{{"selvedge_pipeline":1,"kind":"xgboost","inputs":[{{"name":"age","type":"number"}}],
            "steps":[{{"step":"trees","columns":[0],"outputs":1,"base":[0.5],"compare":"f32_less","precision":"f32",
            "trees":[{}]}},{{"step":"apply","columns":[1],"function":"sigmoid"}}],
            "outputs":{{"probability":[{{"name":"score","column":2}}]}}}}"#,
            trees.join(",")
        );
        let groups = |adds: [f64; 6]| {
            let group =
                |(at, adds): (usize, &f64)| format!(r#"{{"first":{},"last":{},"adds":{adds:?}}}"#, 2 * at, 2 * at + 1);
            adds.iter().enumerate().map(group).collect::<Vec<_>>().join(",")
        };
        let low = groups([1.0, 5.0, 9.0, 13.0, 17.0, 21.0]);
        let told = format!(r#"[{{"answer":"score","sum":66.5,"base":0.5,"trees":[{low}]}}]"#);
        check(&pipeline, &[1.0, 66.5, 1.0], &told);
        check(&pipeline, &[f64::NAN, 66.5, 1.0], &told);
        let high = groups([200.0; 6]);
        check(
            &pipeline,
            &[1.5, 1200.5, 1.0],
            &format!(r#"[{{"answer":"score","sum":1200.5,"base":0.5,"trees":[{high}]}}]"#),
        );
    }

    #[test]
    fn a_linear_model_is_told_by_the_inputs_names() {
        check(
            r#"{"selvedge_pipeline":1,"kind":"scikit-learn",
            "inputs":[{"name":"age","type":"number"},{"name":"country","type":"symbol","symbols":["DE","FR"]}],
            "steps":[{"step":"impute","columns":[0],"values":[40]},{"step":"scale","columns":[2],"divide":[10]},
            {"step":"one_hot","column":1,"width":2,"slots":[0,1]},
            {"step":"linear","columns":[3,4,5],"weights":[0.5,1,-3],"intercept":[0.25]},
            {"step":"apply","columns":[6],"function":"sigmoid"}],
            "outputs":{"margin":[{"name":"score","column":6}],"probability":[{"name":"score","column":7}]}}"#,
            &[f64::NAN, 1.0, 40.0, 4.0, 0.0, 1.0, -0.75, 0.3],
            r#"[{"answer":"score","sum":-0.75,"intercept":0.25,"terms":[{"column":"country=FR","value":1.0,"weight":-3.0,"adds":-3.0},{"column":"age","value":4.0,"weight":0.5,"adds":2.0}]}]"#,
        );
    }

    #[test]
    fn names_of_names_do_not_double() {
        // Column i is the square of the one before it, so its name would be twice as long.
        let squares: Vec<String> =
            (0..64).map(|column| format!(r#"{{"step":"products","terms":[[{column},{column}]]}}"#)).collect();
        let pipeline = format!(
            r#"{{"selvedge_pipeline":1,"kind":"x","inputs":[{{"name":"größe","type":"number"}}],"steps":[{},
            {{"step":"linear","columns":[2,64],"weights":[1,2],"intercept":[0]}}],
            "outputs":{{"margin":[{{"name":"score","column":65}}]}}}}"#,
            squares.join(",")
        );
        let pipeline: Pipeline = serde_json::from_str(&pipeline).unwrap();
        let explained = Explainer::new(&pipeline).explain(&pipeline, &[1.0; 66]);
        let Some(Parts::Linear { terms, .. }) = &explained[0].parts else { unreachable!() };
        assert_eq!(terms[1].column, "größe*größe*größe*größe");
        assert!(terms[0].column.starts_with("größe*größe*") && terms[0].column.ends_with('…'), "{}", terms[0].column);
        assert!(terms[0].column.len() <= 200, "{}", terms[0].column.len());
    }

    #[test]
    fn what_is_no_sum_has_no_parts() {
        check(
            r#"{"selvedge_pipeline":1,"kind":"x","inputs":[{"name":"a","type":"number"}],"steps":[],
            "outputs":{"margin":[{"name":"score","column":0}]}}"#,
            &[2.0],
            r#"[{"answer":"score","sum":2.0}]"#,
        );
    }
}
