//! `selvedge eval`: a module on rows of a file, one answer a line, with floats that read back to the same bits.

mod explain;
pub(super) mod rows;

use std::path::PathBuf;
use std::time::Duration;

use selvedge_build::derived;
use selvedge_decision::Manifest;
use selvedge_decision::manifest::{Kind, Role};
use selvedge_node::clock::Clock;
use serde_json::{Map, Value, json};

use self::explain::Explainer;
use self::rows::Rows;
use crate::files::read_file;
use crate::modules::{self, Built, MAX_FILE_BYTES, read_or_build};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line of the rows is {\"shared\":{…},\"candidates\":[{…}]} by feature name, or a flat object for \
    one row; missing is null. Inputs that a node computes (tests of texts, the time) are computed of the row. A line is answered by {\"scores\":[…]} when `score` is the module's only \
    output, by {\"outputs\":[{…}]} otherwise, and by {\"error\":\"…\"} when it has no answer, which is a \
    finding."
)]
pub(crate) struct Args {
    /// The module, or a source that `release pack` would build.
    module: PathBuf,
    /// The rows, one JSON object a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    rows: PathBuf,
    /// How long one line may take, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    budget_ms: u64,
    /// The time of the decisions, such as 2026-11-25T08:00:00Z; the current time when it is not said.
    #[arg(long, value_name = "TIME", value_parser = now_us)]
    now: Option<i64>,
    /// Say how each answer came about, too: what groups of trees or columns of a linear model added, or which rows fired.
    /// Needs the model file or the rules, not the module made of them.
    #[arg(long)]
    explain: bool,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let Built { bytes, file, pipeline } = read_or_build(&self.module)?;
        let explainer = if self.explain { Some(Explainer::new(&self.module, pipeline)?) } else { None };
        let host = modules::host(None)?;
        let loaded = host.load(&bytes, &file.manifest)?;
        let stdin = self.rows.as_os_str() == "-";
        let text = read_file(if stdin { "/dev/stdin".as_ref() } else { &self.rows }, MAX_FILE_BYTES)?;

        let mut rows = Rows::new(&file.manifest, self.now.unwrap_or_else(|| Clock::new().now_us()));
        let mut failed = 0;
        for (i, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let answer = rows.read(line).map_err(|why| format!("line {}: {why}", i + 1)).and_then(|row| {
                let budget = Duration::from_millis(self.budget_ms);
                let answer = loaded.evaluate(&row.shared, &row.candidates, row.count, budget);
                let answer = answer.map_err(|fault| format!("line {}: the module faulted with `{fault}`", i + 1))?;
                let mut told = told(&file.manifest, &answer);
                if let Some(explainer) = &explainer {
                    told["explained"] = explainer.explain(&row);
                }
                Ok(told)
            });
            match answer {
                Ok(told) => output.json_line(&told)?,
                Err(why) => {
                    failed += 1;
                    output.json_line(&json!({ "error": why }))?;
                }
            }
        }
        for name in rows.unknown() {
            output.talk(format_args!("{name:?} is not an input of the module and was left out"));
        }
        Ok(Outcome::of(failed == 0))
    }
}

/// `--now`.
pub(super) fn now_us(text: &str) -> Result<i64, String> {
    derived::moment_us(text)
}

/// The answer as JSON. NaN is null, which JSON has no other word for.
fn told(manifest: &Manifest, values: &[f64]) -> Value {
    let outputs = &manifest.outputs;
    if let [only] = &outputs[..]
        && only.role() == Role::Score
    {
        return json!({ "scores": values });
    }
    let row = |row: &[f64]| -> Map<String, Value> {
        let cells = outputs.iter().zip(row);
        let cell = |(output, value): (&selvedge_decision::manifest::Output, &f64)| {
            let told = match output.kind {
                _ if value.is_nan() => Value::Null,
                Kind::Flag => Value::from(*value != 0.0),
                Kind::Symbol => output.symbols.get(*value as usize).filter(|_| *value >= 0.0).cloned().into(),
                Kind::Number | Kind::Vector => Value::from(*value),
            };
            (output.name.clone(), told)
        };
        cells.map(cell).collect()
    };
    let rows: Vec<_> = values.chunks_exact(outputs.len().max(1)).map(row).collect();
    json!({ "outputs": rows })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn answers_are_told_by_name_and_type() {
        let check = |outputs: &str, values: &[f64], expected: &str| {
            let manifest = format!(
                "{{\"manifest\":1,\"name\":\"m\",\"inputs\":[],\"outputs\":{outputs},\"limits\":{{\"rows\":9,\"memory_bytes\":1}}}}"
            );
            let manifest: Manifest = serde_json::from_str(&manifest).unwrap();
            assert_eq!(told(&manifest, values).to_string(), expected);
        };
        check(r#"[{"name":"score","type":"number"}]"#, &[0.1, f64::NAN], r#"{"scores":[0.1,null]}"#);
        check(
            r#"[{"name":"eligible","type":"flag"},{"name":"tier","type":"symbol","symbols":["a","b"]},{"name":"x","type":"number"}]"#,
            &[1.0, 1.0, 0.30000000000000004, 0.0, -1.0, f64::NAN],
            r#"{"outputs":[{"eligible":true,"tier":"b","x":0.30000000000000004},{"eligible":false,"tier":null,"x":null}]}"#,
        );
    }
}
