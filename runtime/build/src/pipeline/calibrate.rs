//! A calibration on top of any model with one output. Owns its JSON, and the steps it becomes; how it is fitted is the
//! author's (`docs/calibration.md`).

use serde::{Deserialize, Serialize};

use super::step::{Column, Function, Step};
use super::{Answer, MAX_COLUMNS, OutputKind, Pipeline};

/// The most points of an isotonic calibration.
pub const MAX_POINTS: usize = 65_536;

/// What makes an answer a probability that can be believed. Applied in this order: `platt` or `isotonic`, then `kept`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// A sigmoid of the margin; of the probability, for a model that has no margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platt: Option<Platt>,
    /// A rising curve over the probability; over the margin, for a model that has no probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isotonic: Option<Isotonic>,
    /// What `platt` or `isotonic` looks at, where the author fitted it on the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<OutputKind>,
    /// The share of the negatives the model was trained with, above 0 and at most 1: the probability is corrected for the
    /// rest, as `p / (p + (1 - p) / kept)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<f64>,
}

/// `1 / (1 + e^(a * x + b))`: the signs of Platt (1999), and of scikit-learn's `a_` and `b_`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platt {
    /// Below 0 where a larger margin is a larger probability.
    pub a: f64,
    /// The offset.
    pub b: f64,
}

/// Linear between the points, the outer values beyond them: scikit-learn's `X_thresholds_` and `y_thresholds_`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isotonic {
    /// Ascending.
    pub x: Vec<f64>,
    /// One a point, between 0 and 1, not falling.
    pub y: Vec<f64>,
}

/// Why a calibration cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("calibration{at}: {why}")]
pub struct BadCalibration {
    /// The path, such as `.isotonic.x[3]`; empty for the whole.
    pub at: String,
    /// What is wrong and what is expected.
    pub why: String,
}

fn bad<T>(at: impl Into<String>, why: impl Into<String>) -> Result<T, BadCalibration> {
    Err(BadCalibration { at: at.into(), why: why.into() })
}

/// Reads a calibration as JSON, such as `{"platt": {"a": -1.3, "b": 0.2}}`.
///
/// # Errors
///
/// With the path of what is wrong.
pub fn read(bytes: &[u8]) -> Result<Calibration, BadCalibration> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let calibration: Calibration = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!(".{path}") };
        BadCalibration { at, why: error.into_inner().to_string() }
    })?;
    json.end().or_else(|error| bad("", error.to_string()))?;
    calibration.check()?;
    Ok(calibration)
}

/// Puts a calibration on top of a model: its probability becomes the calibrated one, its margin stays.
///
/// A model with several outputs is refused: curves fitted one by one for its classes would no longer add up to 1.
///
/// # Errors
///
/// When the calibration is none, or the model has not the one answer that it needs. The pipeline is then as it was.
pub fn calibrate(pipeline: &mut Pipeline, calibration: &Calibration) -> Result<(), BadCalibration> {
    calibration.check()?;
    let outputs = &pipeline.outputs;
    for (kind, answers) in [("margins", &outputs.margin), ("probabilities", &outputs.probability)] {
        if answers.len() > 1 {
            let names: Vec<&str> = answers.iter().take(4).map(|answer| answer.name.as_str()).collect();
            let why = format!(
                "the model has {} {kind} ({}, …); only a model with one output can be calibrated",
                answers.len(),
                names.join(", ")
            );
            return bad("", why);
        }
    }
    let (steps, answer) = steps(pipeline, calibration)?;
    pipeline.steps.extend(steps);
    pipeline.outputs.probability = vec![answer];
    Ok(())
}

fn steps(pipeline: &Pipeline, calibration: &Calibration) -> Result<(Vec<Step>, Answer), BadCalibration> {
    let (margin, probability) = (pipeline.outputs.margin.first(), pipeline.outputs.probability.first());
    let (first, at) = match (&calibration.platt, &calibration.isotonic) {
        (Some(_), _) => (margin.or(probability), ".platt"),
        (None, Some(_)) => (probability.or(margin), ".isotonic"),
        (None, None) => (probability, ".kept"),
    };
    let chosen = match calibration.on {
        None => first,
        Some(OutputKind::Margin) => margin,
        Some(OutputKind::Probability) => probability,
    };
    let Some(Answer { name, column }) = chosen else {
        return match calibration.on {
            Some(OutputKind::Margin) => bad(".on", "the model has no margin"),
            Some(OutputKind::Probability) => bad(".on", "the model has no probability"),
            None => bad(at, "the model answers no probability; a `platt` or `isotonic` is needed to make one"),
        };
    };
    let width = pipeline.width();
    if width + 3 > MAX_COLUMNS {
        return bad("", format!("the model has {width} columns, too many to add some"));
    }
    let mut steps = Vec::new();
    let mut at: Column = *column;
    let mut push = |step: Step| {
        at = (width + steps.len()) as Column;
        steps.push(step);
        vec![at]
    };
    let mut columns = vec![*column];
    if let Some(Platt { a, b }) = calibration.platt {
        // -(a x + b), to the bit: negation is exact.
        let scale = Step::Scale { columns, subtract: vec![], divide: vec![], multiply: vec![-a], add: vec![-b] };
        columns = push(scale);
        columns = push(Step::Apply { columns, function: Function::Sigmoid });
    }
    if let Some(Isotonic { x, y }) = &calibration.isotonic {
        columns = push(Step::Interpolate { columns, x: x.clone(), y: y.clone() });
    }
    if let Some(kept) = calibration.kept {
        push(Step::Prior { columns, kept });
    }
    Ok((steps, Answer { name: name.clone(), column: at }))
}

// === impl Calibration ===

impl Calibration {
    fn check(&self) -> Result<(), BadCalibration> {
        match (&self.platt, &self.isotonic) {
            (Some(_), Some(_)) => return bad("", "`platt` and `isotonic` exclude each other"),
            (None, None) if self.on.is_some() => return bad(".on", "stands without `platt` or `isotonic`"),
            (None, None) if self.kept.is_none() => return bad("", "empty; it has `platt`, `isotonic` or `kept`"),
            (Some(platt), None) if !(platt.a.is_finite() && platt.b.is_finite()) => {
                return bad(".platt", format!("a {} and b {} must be finite numbers", platt.a, platt.b));
            }
            (None, Some(isotonic)) => isotonic.check()?,
            (Some(_) | None, None) => {}
        }
        match self.kept {
            Some(kept) if !(kept > 0.0 && kept <= 1.0) => bad(
                ".kept",
                format!("{kept} is not above 0 and at most 1: it is the share of the negatives that was kept"),
            ),
            Some(_) | None => Ok(()),
        }
    }
}

// === impl Isotonic ===

impl Isotonic {
    fn check(&self) -> Result<(), BadCalibration> {
        let Self { x, y } = self;
        if x.is_empty() || x.len() > MAX_POINTS {
            return bad(".isotonic.x", format!("{} points; between 1 and {MAX_POINTS} are expected", x.len()));
        }
        if x.len() != y.len() {
            return bad(".isotonic.y", format!("{} values, `x` has {}", y.len(), x.len()));
        }
        if let Some(i) = x.iter().position(|x| !x.is_finite()) {
            return bad(format!(".isotonic.x[{i}]"), format!("{} is not a finite number", x[i]));
        }
        if let Some(i) = y.iter().position(|y| !(0.0..=1.0).contains(y)) {
            return bad(format!(".isotonic.y[{i}]"), format!("{} is no probability", y[i]));
        }
        for (name, list) in [("x", x), ("y", y)] {
            if let Some(i) = (1..list.len()).find(|i| list[*i] < list[i - 1]) {
                return bad(format!(".isotonic.{name}[{i}]"), format!("{} falls below {}", list[i], list[i - 1]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::{Answers, PIPELINE_VERSION, PipelineInput};
    use super::*;

    /// A model of one input: its margin is the input, its probability (where it has one) the input plus 0.25.
    fn model(margins: usize, probabilities: usize) -> Pipeline {
        let answers = |count: usize, column: Column| {
            (0..count).map(|i| Answer { name: format!("score{i}"), column }).collect::<Vec<_>>()
        };
        Pipeline {
            selvedge_pipeline: PIPELINE_VERSION,
            kind: "linear".into(),
            made_by: None,
            inputs: vec![PipelineInput::number("x")],
            steps: vec![Step::Scale {
                columns: vec![0],
                subtract: vec![],
                divide: vec![],
                multiply: vec![],
                add: vec![0.25],
            }],
            outputs: Answers { margin: answers(margins, 0), probability: answers(probabilities, 1) },
        }
    }

    /// The columns that the calibration's steps read, and the column answered.
    #[track_caller]
    fn check(margins: usize, probabilities: usize, json: &str, expected: Result<(&[Column], Column), &str>) {
        let mut pipeline = model(margins, probabilities);
        let before = pipeline.clone();
        let result = read(json.as_bytes()).and_then(|calibration| calibrate(&mut pipeline, &calibration));
        match expected {
            Ok((reads, column)) => {
                result.unwrap();
                pipeline.check().unwrap();
                let found: Vec<Column> = pipeline.steps[1..].iter().flat_map(Step::reads).collect();
                assert_eq!(found, reads);
                assert_eq!(pipeline.outputs.margin, before.outputs.margin, "the margin stays");
                assert_eq!(pipeline.outputs.probability, [Answer { name: "score0".into(), column }]);
            }
            Err(why) => {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(why), "{error}; expected {why:?}");
                assert_eq!(pipeline, before, "a refused calibration changes nothing");
            }
        }
    }

    const PLATT: &str = r#"{"platt":{"a":-1.5,"b":0.5}}"#;
    const ISOTONIC: &str = r#"{"isotonic":{"x":[-1,0,0,2],"y":[0,0.25,0.5,1]}}"#;

    #[test]
    fn each_calibration_finds_what_it_was_fitted_on() {
        check(1, 1, PLATT, Ok((&[0, 2], 3)));
        check(0, 1, PLATT, Ok((&[1, 2], 3)));
        check(1, 1, ISOTONIC, Ok((&[1], 2)));
        check(1, 0, ISOTONIC, Ok((&[0], 2)));
        check(1, 1, r#"{"kept":0.1}"#, Ok((&[1], 2)));
        check(1, 1, r#"{"platt":{"a":-1,"b":0},"kept":0.1}"#, Ok((&[0, 2, 3], 4)));
        check(1, 1, r#"{"platt":{"a":-1,"b":0},"on":"probability"}"#, Ok((&[1, 2], 3)));
        check(1, 1, r#"{"isotonic":{"x":[0],"y":[0.5]},"on":"margin"}"#, Ok((&[0], 2)));
    }

    #[test]
    fn what_a_calibration_cannot_be_is_told() {
        check(1, 0, r#"{"kept":0.1}"#, Err("calibration.kept: the model answers no probability"));
        check(0, 1, r#"{"platt":{"a":1,"b":1},"on":"margin"}"#, Err("calibration.on: the model has no margin"));
        check(3, 3, PLATT, Err("3 margins (score0, score1, score2, …); only a model with one output"));
        check(0, 2, ISOTONIC, Err("2 probabilities"));
        check(1, 1, "{}", Err("empty; it has `platt`, `isotonic` or `kept`"));
        check(1, 1, r#"{"on":"margin","kept":1}"#, Err("calibration.on: stands without"));
        check(1, 1, r#"{"kept":0}"#, Err("calibration.kept: 0 is not above 0"));
        check(1, 1, r#"{"kept":1.5}"#, Err("calibration.kept: 1.5 is not"));
        check(1, 1, r#"{"plat":{"a":1,"b":1}}"#, Err("unknown field `plat`"));
        check(1, 1, r#"{"platt":{"a":1}}"#, Err("calibration.platt: missing field `b`"));
        check(1, 1, r#"{"platt":{"a":1,"b":1},"isotonic":{"x":[0],"y":[0]}}"#, Err("exclude each other"));
        check(1, 1, r#"{"isotonic":{"x":[],"y":[]}}"#, Err("calibration.isotonic.x: 0 points"));
        check(1, 1, r#"{"isotonic":{"x":[0,1],"y":[0]}}"#, Err("calibration.isotonic.y: 1 values, `x` has 2"));
        check(1, 1, r#"{"isotonic":{"x":[1,0],"y":[0,0]}}"#, Err("calibration.isotonic.x[1]: 0 falls below 1"));
        check(1, 1, r#"{"isotonic":{"x":[0,1],"y":[0,1.5]}}"#, Err("calibration.isotonic.y[1]: 1.5 is no probability"));
        check(1, 1, r#"{"isotonic":{"x":[0,1],"y":[1,0]}}"#, Err("calibration.isotonic.y[1]: 0 falls below 1"));
        check(1, 1, "{\"kept\":1} 2", Err("trailing characters"));
    }
}
