//! Rules as modules: 20 rows of 4 conditions over one row of inputs, and over 200 candidates.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use selvedge_build::{module, rules};
use selvedge_host::{Host, HostConfig, Module};
use serde_json::{Value, json};

use super::measure::Samples;
use super::{Effort, Line};

const ROWS: usize = 20;
const CONDITIONS: usize = 4;
/// Candidates of a ranking.
const CANDIDATES: u32 = 200;
/// Candidates of a call that is long enough for the rest of the call not to count.
const MANY: u32 = 1_000;
/// Bars, in microseconds and bytes.
const ROW_BAR_US: f64 = 0.1;
const CANDIDATES_BAR_US: f64 = 12.0;
const SIZE_BAR: f64 = 4096.0;
const AMPLE: Duration = Duration::from_secs(1);

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let bytes = rules::build("bench.jdm.json", &serde_json::to_vec(&file())?)?;
    let manifest = module::open(&bytes)?.manifest;
    let host = Host::new(HostConfig { instances: 4, ..HostConfig::default() })?;
    let loaded = host.load(&bytes, &manifest)?;
    let calls = effort.scale(20_000);
    let (mut few, mut some, mut many) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        few.push(round(&loaded, 1, calls)?);
        some.push(round(&loaded, CANDIDATES, calls / 2)?);
        many.push(round(&loaded, MANY, calls / 8)?);
    }
    let median = |rounds: &mut Vec<(f64, f64)>| {
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        rounds[rounds.len() / 2]
    };
    let (few, some, many) = (median(&mut few), median(&mut some), median(&mut many));
    let inside = (many.0 - few.0) / f64::from(MANY - 1);
    let size = module::lift(&bytes)?.len() as f64;
    Ok(vec![
        Line::reported("rules: 20 rows x 4 conditions, one candidate, fresh instance", few, "a whole call"),
        Line::time(
            "rules: the same inside the module",
            (inside, inside),
            inside,
            ROW_BAR_US,
            "a call of 1,000 candidates less one of 1, for each; the last row is the one that fires",
        ),
        Line::time("rules: 200 candidates, fresh instance", some, some.0, CANDIDATES_BAR_US, "a whole call"),
        Line::other("rules: core module of 20 rows, bytes", size, Some(SIZE_BAR), "bytes"),
    ])
}

/// Median and 99th percentile of calls with `count` candidates, which only the last row takes.
fn round(loaded: &Module, count: u32, calls: usize) -> Result<(f64, f64)> {
    let candidates = vec![1e9; count as usize * CONDITIONS];
    let mut samples = Samples::default();
    for _ in 0..calls.max(10) {
        let start = Instant::now();
        let answer = loaded.evaluate(&[], black_box(&candidates), count, AMPLE);
        samples.add(start.elapsed());
        anyhow::ensure!(answer.is_ok_and(|answer| answer.len() == count as usize * 3), "the module does not answer");
    }
    Ok(samples.quantiles())
}

/// A table whose rows fail at their first, second, third and fourth cell in turn.
fn file() -> Value {
    let columns: Vec<Value> =
        (0..CONDITIONS).map(|at| json!({ "id": format!("i{at}"), "field": format!("item.f{at}") })).collect();
    let rules: Vec<Value> = (0..ROWS)
        .map(|row| {
            let mut rule = json!({ "o0": (row as f64 / 8.0).to_string(), "o1": "true" });
            for at in 0..CONDITIONS {
                let passes = at != row % CONDITIONS || row + 1 == ROWS;
                let cell = match (passes, at % 2) {
                    (true, 0) => format!("> {row}"),
                    (true, _) => format!("[{row}..2000000000)"),
                    (false, _) => format!("< {row}"),
                };
                rule[format!("i{at}")] = Value::from(cell);
            }
            rule
        })
        .collect();
    let inputs: serde_json::Map<String, Value> =
        (0..CONDITIONS).map(|at| (format!("item.f{at}"), Value::from("number"))).collect();
    json!({
        "nodes": [
            { "id": "in", "type": "inputNode", "name": "in" },
            { "id": "t", "type": "decisionTableNode", "name": "t", "content": {
                "hitPolicy": "first", "inputs": columns, "rules": rules,
                "outputs": [{ "id": "o0", "field": "boost" }, { "id": "o1", "field": "eligible" }],
            } },
            { "id": "out", "type": "outputNode", "name": "out" },
        ],
        "edges": [
            { "id": "a", "sourceId": "in", "targetId": "t" },
            { "id": "b", "sourceId": "t", "targetId": "out" },
        ],
        "x-selvedge": { "inputs": inputs },
    })
}
