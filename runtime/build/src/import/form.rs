//! The middle form itself, as JSON: what `sdk-python` writes, and what other exporters may (`docs/pipeline.md`). Owns reading
//! it with the path of what is wrong; what must hold of it is `pipeline::check`'s.

use super::{BadModel, names};
use crate::pipeline::Pipeline;

/// Reads a pipeline. `names` are other names for its inputs, in their order.
///
/// # Errors
///
/// With the path inside the file and what is wrong there.
pub fn read(bytes: &[u8], names: Option<&[String]>) -> Result<Pipeline, BadModel> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut pipeline: Pipeline = serde_path_to_error::deserialize(&mut json).map_err(BadModel::from_path)?;
    json.end().map_err(|error| BadModel::whole(error.to_string()))?;
    if let Some(names) = names {
        names::fit(names, pipeline.inputs.len())?;
        for (input, name) in pipeline.inputs.iter_mut().zip(names) {
            input.name.clone_from(name);
        }
    }
    super::checked(pipeline)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::pipeline::Step;

    const DOCUMENTED: &str = include_str!("../../../../docs/pipeline.md");

    /// The blocks of JSON in the documentation.
    fn examples() -> impl Iterator<Item = &'static str> {
        DOCUMENTED.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next())
    }

    /// A pipeline of eight numbers and the step.
    fn around(step: &str) -> String {
        let inputs: Vec<String> = (0..8).map(|i| format!(r#"{{"name": "f{i}", "type": "number"}}"#)).collect();
        format!(
            r#"{{"selvedge_pipeline": 1, "kind": "test", "inputs": [{}], "steps": [{step}],
            "outputs": {{"margin": [{{"name": "score", "column": 8}}]}}}}"#,
            inputs.join(",")
        )
    }

    #[test]
    fn the_documentation_s_examples_are_read_and_written_the_same() {
        let mut steps = std::collections::BTreeSet::new();
        for example in examples() {
            let is_whole = example.starts_with("{\n  \"selvedge_pipeline\"");
            let text = if is_whole { example.to_owned() } else { around(example) };
            let pipeline = read(text.as_bytes(), None).unwrap_or_else(|bad| panic!("{bad}: {example}"));
            let again = serde_json::to_vec(&pipeline).unwrap();
            // By text: NaN is not equal to itself.
            assert_eq!(format!("{:?}", read(&again, None).unwrap()), format!("{pipeline:?}"), "{example}");
            let name = |step: &Step| serde_json::to_value(step).unwrap()["step"].as_str().unwrap().to_owned();
            steps.extend(pipeline.steps.iter().map(name));
        }
        let unknown = read(around(r#"{"step": "?"}"#).as_bytes(), None).unwrap_err().why;
        let known: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
        assert!(known.len() >= 20, "{unknown}");
        let missing: Vec<_> = known.iter().filter(|step| !steps.contains(**step)).collect();
        assert!(missing.is_empty(), "docs/pipeline.md has no example of {missing:?}");
    }

    #[track_caller]
    fn refused(step: &str, expected: &str) {
        let bad = read(around(step).as_bytes(), None).unwrap_err().to_string();
        assert!(bad.contains(expected), "{bad}; expected {expected:?}");
    }

    #[test]
    fn a_mistake_is_told_at_its_path() {
        refused(
            r#"{"columns": [0], "step": "is_missing"}"#,
            "steps[0]: invalid value: string \"columns\", expected an",
        );
        refused("{}", "steps[0]: missing field `step`");
        refused("[]", "steps[0]: invalid type: sequence, expected an object whose first key is `step`");
        refused(r#"{"step": "is_mising", "columns": []}"#, "steps[0]: unknown variant `is_mising`");
        refused(r#"{"step": "is_missing"}"#, "steps[0]: missing field `columns`");
        refused(r#"{"step": "is_missing", "columns": [0], "step": "clip"}"#, "steps[0].step: unknown field `step`");
        refused(r#"{"step": "is_missing", "columns": [0, -1]}"#, "steps[0].columns[1]: invalid value: integer `-1`");
        refused(r#"{"step": "is_missing", "columns": [8]}"#, "steps[0]: reads column 8, but only 8 stand before it");
        refused(r#"{"step": "scale", "columns": [0], "divided": [2]}"#, "steps[0].divided: unknown field `divided`");
        refused(r#"{"step": "impute", "columns": [0], "values": [null]}"#, "steps[0].values[0]: invalid type: null");
        refused(r#"{"step": "one_hot", "column": 0, "width": 4294967295, "slots": []}"#, "at most 1000000");
        let tree = r#"{"feature": [0, -1, -1], "threshold": [0.5, 0, 1], "left": [1, 0, 0], "right": [2, 0], "values": [1, 2]}"#;
        let trees = format!(
            r#"{{"step": "trees", "columns": [0], "outputs": 1, "base": [0], "compare": "f64_less", "trees": [{tree}]}}"#
        );
        refused(&trees, "steps[0].trees[0].right: 2 values, but there are 3 nodes");
        refused(&trees.replace("f64_less", "f16_less"), "steps[0].compare: unknown variant `f16_less`");
        refused(&trees.replace("[1, 0, 0]", "[1, 0, 0.5]"), "steps[0].trees[0].left[2]: invalid type: floating point");
    }

    #[test]
    fn a_hostile_file_costs_no_more_than_its_size() {
        let bad = |text: &str| read(text.as_bytes(), None).unwrap_err().to_string();
        let good = around(r#"{"step": "is_missing", "columns": [0]}"#);
        for end in 0..good.len() {
            assert!(read(&good.as_bytes()[..end], None).is_err(), "cut off at {end}");
        }
        let vector = r#""type": "vector", "len": 4294967295"#;
        assert!(bad(&good.replace(r#""type": "number""#, vector)).contains("columns, at most 1000000"));
        assert!(bad(&good.replace("pipeline\": 1", "pipeline\": 2")).contains("version 2 is unknown"));
        assert!(bad(&format!("{good}{good}")).contains("trailing characters"));
        let deep = format!(r#"{{"step": "products", "terms": {}"#, "[".repeat(100_000));
        assert!(bad(&around(&deep)).contains("steps[0].terms[0][0]: invalid type: sequence"));
    }

    #[test]
    fn inputs_take_other_names() {
        let good = around(r#"{"step": "is_missing", "columns": [0]}"#);
        let names: Vec<String> = (0..8).map(|i| format!("item.n{i}")).collect();
        assert_eq!(read(good.as_bytes(), Some(&names)).unwrap().inputs[7].name, "item.n7");
        assert!(read(good.as_bytes(), Some(&names[1..])).unwrap_err().why.contains("7 feature names were given"));
    }
}
