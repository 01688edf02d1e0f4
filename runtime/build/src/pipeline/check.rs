//! What must hold of a pipeline. Owns every reason it is refused; a pipeline that passes can be evaluated and compiled.

use selvedge_decision::manifest::Kind;

use super::step::{Precision, Step};
use super::trees::{Tree, Trees};
use super::{Answer, MAX_COLUMNS, MAX_NODES, MAX_OUTPUTS, MAX_STEPS, MAX_SYMBOLS, PIPELINE_VERSION, Pipeline};

/// What is wrong with a pipeline, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct BadPipeline {
    /// The path, such as `steps[3].columns`.
    pub at: String,
    /// What is wrong and what is expected.
    pub why: String,
}

type Checked = Result<(), (String, String)>;

fn bad(at: impl Into<String>, why: impl Into<String>) -> Checked {
    Err((at.into(), why.into()))
}

pub(super) fn pipeline(pipeline: &Pipeline) -> Result<(), BadPipeline> {
    let fail = |at: String, why: String| Err(BadPipeline { at, why });
    if pipeline.selvedge_pipeline != PIPELINE_VERSION {
        let why = format!("version {} is unknown, this builder reads {PIPELINE_VERSION}", pipeline.selvedge_pipeline);
        return fail("selvedge_pipeline".into(), why);
    }
    if pipeline.steps.len() > MAX_STEPS {
        return fail("steps".into(), format!("{} steps, at most {MAX_STEPS}", pipeline.steps.len()));
    }
    for (i, input) in pipeline.inputs.iter().enumerate() {
        if matches!(input.kind, Kind::Vector) != input.len.is_some_and(|len| len > 0) {
            return fail(format!("inputs[{i}] {:?}", input.name), "a vector, and only a vector, has a `len`".into());
        }
    }
    let mut width = pipeline.input_width();
    if width > MAX_COLUMNS {
        return fail("inputs".into(), format!("{width} columns, at most {MAX_COLUMNS}"));
    }
    let mut nodes = 0;
    for (i, step) in pipeline.steps.iter().enumerate() {
        if let Some(column) = step.reads().find(|column| *column as usize >= width) {
            let why = format!("reads column {column}, but only {width} stand before it");
            return fail(format!("steps[{i}]"), why);
        }
        if let Err((at, why)) = check_step(step, &mut nodes) {
            return fail(format!("steps[{i}].{at}"), why);
        }
        width = width.saturating_add(step.width());
        if width > MAX_COLUMNS {
            return fail(format!("steps[{i}]"), format!("{width} columns so far, at most {MAX_COLUMNS}"));
        }
    }
    let outputs = &pipeline.outputs;
    if outputs.margin.is_empty() && outputs.probability.is_empty() {
        return fail("outputs".into(), "neither `margin` nor `probability` is answered".into());
    }
    for (name, answers) in [("margin", &outputs.margin), ("probability", &outputs.probability)] {
        if let Err((at, why)) = check_answers(answers, width) {
            return fail(format!("outputs.{name}{at}"), why);
        }
    }
    Ok(())
}

fn check_answers(answers: &[Answer], width: usize) -> Checked {
    if answers.len() > MAX_OUTPUTS {
        return bad("", format!("{} outputs, at most {MAX_OUTPUTS}", answers.len()));
    }
    for (i, answer) in answers.iter().enumerate() {
        if answer.column as usize >= width {
            return bad(format!("[{i}]"), format!("column {} of {width}", answer.column));
        }
        if answers[..i].iter().any(|before| before.name == answer.name) {
            return bad(format!("[{i}]"), format!("the name {:?} stands twice", answer.name));
        }
    }
    Ok(())
}

fn check_step(step: &Step, nodes: &mut usize) -> Checked {
    match step {
        Step::Impute { columns, values } => lengths("values", values, columns.len()),
        Step::Scale { columns, subtract, divide, multiply, add } => {
            let lists = [("subtract", subtract), ("divide", divide), ("multiply", multiply), ("add", add)];
            lists
                .into_iter()
                .filter(|(_, list)| !list.is_empty())
                .try_for_each(|(name, list)| lengths(name, list, columns.len()).and_then(|()| finite(name, list)))
        }
        Step::Clip { low, high, .. } if low > high || low.is_nan() || high.is_nan() => {
            bad("low", format!("{low} is above high {high}, or one of them is no number"))
        }
        Step::Index { values, .. } => ascending("values", values),
        Step::Bins { edges, .. } => ascending("edges", edges),
        Step::OneHot { width, slots, other, missing, .. } => {
            let beyond =
                slots.iter().chain([other, missing]).find(|slot| **slot < -1 || i64::from(**slot) >= i64::from(*width));
            beyond.map_or(Ok(()), |slot| bad("slots", format!("slot {slot} of {width}")))
        }
        Step::Table { width, rows, other, missing, .. } => {
            let width = *width as usize;
            if width == 0 || rows.len() % width != 0 {
                return bad("rows", format!("{} values in rows of {width}", rows.len()));
            }
            lengths("other", other, width).and_then(|()| lengths("missing", missing, width))
        }
        Step::Linear { columns, weights, intercept, precision } => {
            let expected = columns.len().saturating_mul(intercept.len());
            lengths("weights", weights, expected)?;
            finite("weights", weights)?;
            finite("intercept", intercept)?;
            if *precision == Precision::F32 { in_f32("weights", weights) } else { Ok(()) }
        }
        Step::Interpolate { x, y, .. } => {
            if x.is_empty() {
                return bad("x", "empty: at least one point is needed");
            }
            lengths("y", y, x.len())?;
            ascending("x", x)?;
            finite("x", x)?;
            finite("y", y)
        }
        Step::Prior { kept, .. } if !(*kept > 0.0 && *kept <= 1.0) => {
            bad("kept", format!("{kept} is not above 0 and at most 1"))
        }
        Step::Embedding { columns, vectors, .. } => {
            if columns.is_empty() || vectors.len() % columns.len() != 0 {
                return bad("vectors", format!("{} values in vectors of {}", vectors.len(), columns.len()));
            }
            // Each is filled up to whole lanes, so many short ones would become far more than they are.
            if vectors.len() / columns.len() > MAX_SYMBOLS {
                let why = format!("{} vectors, at most {MAX_SYMBOLS}", vectors.len() / columns.len());
                return bad("vectors", why);
            }
            finite("vectors", vectors).and_then(|()| in_f32("vectors", vectors))
        }
        Step::Dot { a, b } if a.len() != b.len() => bad("b", format!("{} columns, `a` has {}", b.len(), a.len())),
        Step::Trees(trees) => check_trees(trees, nodes),
        Step::IsMissing { .. }
        | Step::ZeroIsMissing { .. }
        | Step::Clip { .. }
        | Step::Apply { .. }
        | Step::Products { .. }
        | Step::Sums { .. }
        | Step::Softmax { .. }
        | Step::Normalize { .. }
        | Step::Prior { .. }
        | Step::Dot { .. } => Ok(()),
    }
}

fn check_trees(trees: &Trees, nodes: &mut usize) -> Checked {
    if trees.outputs == 0 || trees.outputs as usize > MAX_OUTPUTS {
        return bad("outputs", format!("{} is not between 1 and {MAX_OUTPUTS}", trees.outputs));
    }
    lengths("base", &trees.base, trees.outputs as usize)?;
    finite("base", &trees.base)?;
    if trees.divide.is_some_and(|divide| divide == 0.0 || !divide.is_finite()) {
        return bad("divide", "0 or not finite");
    }
    for (i, tree) in trees.trees.iter().enumerate() {
        *nodes += tree.feature.len();
        if *nodes > MAX_NODES {
            return bad(format!("trees[{i}]"), format!("more than {MAX_NODES} nodes in all"));
        }
        check_tree(trees, tree).map_err(|(at, why)| (format!("trees[{i}].{at}"), why))?;
    }
    Ok(())
}

fn check_tree(trees: &Trees, tree: &Tree) -> Checked {
    let nodes = tree.feature.len();
    if nodes == 0 {
        return bad("feature", "empty: a tree has at least a leaf");
    }
    if tree.output >= trees.outputs {
        return bad("output", format!("{} of {}", tree.output, trees.outputs));
    }
    if tree.weight.is_some_and(|weight| !weight.is_finite()) {
        return bad("weight", "not a finite number");
    }
    finite("values", &tree.values)?;
    let lists = [("threshold", tree.threshold.len()), ("left", tree.left.len()), ("right", tree.right.len())];
    let optional = [("default_left", tree.default_left.len()), ("set", tree.set.len())];
    for (name, len) in lists.into_iter().chain(optional.into_iter().filter(|(_, len)| *len > 0)) {
        if len != nodes {
            return bad(name, format!("{len} values, but there are {nodes} nodes"));
        }
    }
    for set in &tree.sets {
        if !set.is_sorted_by(|a, b| a < b) || set.last().is_some_and(|last| *last >= 1 << 24) {
            return bad("sets", "a set's categories must be ascending and below 16,777,216");
        }
    }
    let leaf_width = trees.leaf_width(tree);
    // Children behind their parents, each with one parent: what can be reached is a tree, and a walk ends.
    let mut has_parent = vec![false; nodes];
    for node in 0..nodes {
        let at = |list: &str| format!("{list}[{node}]");
        if tree.feature[node] < 0 {
            let first = tree.threshold[node];
            let fits = first >= 0.0 && first.fract() == 0.0 && first + leaf_width as f64 <= tree.values.len() as f64;
            if !fits {
                return bad(at("threshold"), format!("a leaf's first value is {first}, of {}", tree.values.len()));
            }
            continue;
        }
        if tree.feature[node] as usize >= trees.columns.len() {
            return bad(at("feature"), format!("{} of {}", tree.feature[node], trees.columns.len()));
        }
        if tree.set.get(node).is_some_and(|set| *set >= tree.sets.len() as i32) {
            return bad(at("set"), format!("{} of {}", tree.set[node], tree.sets.len()));
        }
        if tree.set(node).is_none() && tree.threshold[node].is_nan() {
            return bad(at("threshold"), "not a number");
        }
        for (list, child) in [("left", tree.left[node] as usize), ("right", tree.right[node] as usize)] {
            if child <= node || child >= nodes || has_parent[child] {
                return bad(at(list), format!("{child} does not stand behind its parent, or has two"));
            }
            has_parent[child] = true;
        }
    }
    Ok(())
}

fn lengths(at: &str, list: &[f64], expected: usize) -> Checked {
    if list.len() == expected { Ok(()) } else { bad(at, format!("{} values, expected {expected}", list.len())) }
}

fn finite(at: &str, list: &[f64]) -> Checked {
    match list.iter().position(|value| !value.is_finite()) {
        Some(i) => bad(format!("{at}[{i}]"), "not a finite number"),
        None => Ok(()),
    }
}

fn in_f32(at: &str, list: &[f64]) -> Checked {
    match list.iter().position(|value| !(*value as f32).is_finite()) {
        Some(i) => bad(format!("{at}[{i}]"), format!("{} is beyond the range of f32", list[i])),
        None => Ok(()),
    }
}

fn ascending(at: &str, list: &[f64]) -> Checked {
    if list.iter().any(|value| value.is_nan()) || !list.is_sorted() { bad(at, "not ascending") } else { Ok(()) }
}
