//! Categories of a feature: what its codes stood for when the model was trained. Owns how a dictionary becomes an input and
//! the steps that lead from its value to the trainer's code.

use serde_json::Value;

use super::BadModel;
use super::tape::Tape;
use crate::pipeline::step::Column;
use crate::pipeline::{PipelineInput, Step};

/// The values that the codes 0, 1, … of a feature stand for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Categories {
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

// === impl Categories ===

impl Categories {
    /// A list as JSON has it: texts, numbers or flags, all of one kind.
    ///
    /// # Errors
    ///
    /// When kinds are mixed, or it is none of them.
    pub(super) fn from_json(at: &str, values: Vec<Value>) -> Result<Self, BadModel> {
        if values.iter().all(Value::is_string) {
            let texts = values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect();
            return Self::Texts(texts).distinct(at);
        }
        let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(f64::from));
        let numbers: Option<Vec<f64>> = values.iter().map(number).collect();
        match numbers {
            Some(numbers) => Self::Numbers(numbers).distinct(at),
            None => Err(BadModel::new(at, "categories must be all texts or all numbers")),
        }
    }

    /// These categories, when none stands twice.
    ///
    /// # Errors
    ///
    /// When one does.
    pub(super) fn distinct(self, at: &str) -> Result<Self, BadModel> {
        let twice = match &self {
            Self::Texts(texts) => {
                let mut sorted: Vec<&String> = texts.iter().collect();
                sorted.sort();
                sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| format!("{:?}", pair[0]))
            }
            Self::Numbers(numbers) => {
                let mut sorted = numbers.clone();
                sorted.sort_by(f64::total_cmp);
                let same = |pair: &&[f64]| pair[0] == pair[1] || pair[1].is_nan();
                sorted.windows(2).find(same).map(|pair| pair[0].to_string())
            }
        };
        match twice {
            Some(category) => Err(BadModel::new(at, format!("the category {category} stands twice"))),
            None => Ok(self),
        }
    }

    /// The input of a feature with these categories: texts are a symbol, whose number is the code already.
    pub(super) fn input(&self, name: String) -> PipelineInput {
        match self {
            Self::Texts(texts) => PipelineInput::symbol(name, texts.clone()),
            Self::Numbers(_) => PipelineInput::number(name),
        }
    }

    /// The column of the code of what stands in `column`, after the steps that lead there; `column` itself when that is the
    /// code already.
    pub(super) fn code(&self, column: Column, tape: &mut Tape) -> Result<Column, BadModel> {
        let Self::Numbers(numbers) = self else { return Ok(column) };
        let mut codes: Vec<(f64, usize)> = numbers.iter().copied().zip(0..).collect();
        codes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let index = Step::Index { column, values: codes.iter().map(|(value, _)| *value).collect() };
        let column = tape.push(index).map_err(BadModel::whole)?.start;
        if codes.is_sorted_by_key(|(_, code)| *code) {
            return Ok(column);
        }
        let rows = codes.iter().map(|(_, code)| *code as f64).collect();
        let table = Step::Table { column, width: 1, rows, other: vec![-1.0], missing: vec![f64::NAN] };
        Ok(tape.push(table).map_err(BadModel::whole)?.start)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::pipeline::{Answer, Answers};

    #[track_caller]
    fn check(json: &str, expected: Result<Categories, &str>) {
        match (Categories::from_json("here", serde_json::from_str(json).unwrap()), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.to_string().contains(expected), "{found}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn categories_are_of_one_kind_and_stand_once() {
        check(r#"["b", "a"]"#, Ok(Categories::Texts(vec!["b".into(), "a".into()])));
        check("[3, 1.5]", Ok(Categories::Numbers(vec![3.0, 1.5])));
        check("[false, true]", Ok(Categories::Numbers(vec![0.0, 1.0])));
        check(r#"["b", 1]"#, Err("here: categories must be"));
        check("[[1]]", Err("all texts or all numbers"));
        check(r#"["b", "b"]"#, Err("\"b\" stands twice"));
        check("[0, 1, -0.0]", Err("stands twice"));
        check("[1, 1.0]", Err("1 stands twice"));
    }

    #[test]
    fn numbers_that_do_not_ascend_are_led_back_to_their_codes() {
        let steps = |categories: Categories, column: Column| {
            let mut tape = Tape::new(vec![PipelineInput::number("a"), categories.input("b".into())]);
            assert_eq!(categories.code(1, &mut tape).unwrap(), column);
            let margin = vec![Answer { name: "score".into(), column }];
            tape.finish("test", None, Answers { margin, probability: Vec::new() }).unwrap().steps
        };
        let found = steps(Categories::Numbers(vec![7.0, 1.0, 3.0]), 3);
        assert_eq!(found[0], Step::Index { column: 1, values: vec![1.0, 3.0, 7.0] });
        assert!(matches!(&found[1], Step::Table { column: 2, rows, .. } if *rows == [1.0, 2.0, 0.0]));
        assert_eq!(steps(Categories::Numbers(vec![1.0, 3.0]), 2).len(), 1);
        assert_eq!(steps(Categories::Texts(vec!["a".into()]), 1).len(), 0);
    }
}
