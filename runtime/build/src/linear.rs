//! `NAME.linear.toml`: a linear or logistic model as weights. Owns the file's shape, the module made of it, and its golden
//! vectors, which come from the kernel's own code run natively.

use std::collections::BTreeMap;

use selvedge_decision::Digest;
use selvedge_decision::definition::Payload;
use selvedge_decision::manifest::{
    Derive, Input, Kind, Limits, MANIFEST_VERSION, Manifest, Missing, Output, Scope, Source,
};
use selvedge_guest::Call;
use selvedge_linear::model::{Model, Term, Weights};
use serde::Deserialize;

use crate::definitions::{self, BadFile};
use crate::module::{self, Vector};

/// How many golden vectors a model gets, and the rows of each.
const VECTORS: u32 = 8;
const VECTOR_ROWS: u32 = 3;

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearDef {
    /// `logistic` or `identity`.
    link: Link,
    /// The margin when every input is missing.
    #[serde(default)]
    intercept: f64,
    /// The most candidate rows of one call.
    #[serde(default = "default_rows")]
    rows: u32,
    /// The inputs, in the order of their columns.
    input: Vec<InputDef>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Link {
    Identity,
    Logistic,
}

/// `[[input]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputDef {
    /// `view.feature`, `context.name`.
    name: String,
    /// `shared` or `candidate`.
    scope: Scope,
    /// `number`, `flag`, `symbol` or `vector`.
    #[serde(rename = "type")]
    kind: Kind,
    /// For a number or a flag.
    #[serde(default)]
    weight: Option<f64>,
    /// For a symbol a table by text, for a vector a list.
    #[serde(default)]
    weights: Option<Payload>,
    /// For a symbol: the weight of any other text.
    #[serde(default)]
    other: Option<f64>,
    /// What stands in for a missing value; nothing, so that it contributes 0.
    #[serde(default)]
    missing: Missing,
    /// What the node computes it from.
    #[serde(default)]
    derive: Option<Derive>,
}

fn default_rows() -> u32 {
    1024
}

/// Builds the module of a `.linear.toml` file: the kernel, the weights appended, golden vectors.
///
/// # Errors
///
/// With the key that is wrong and what was expected.
pub fn build(file_name: &str, bytes: &[u8]) -> Result<Vec<u8>, BadFile> {
    let whole =
        |message: String| BadFile { file: file_name.to_owned(), line: 1, key: String::new(), message, nearest: None };
    let text = std::str::from_utf8(bytes).map_err(|error| whole(format!("not UTF-8: {error}")))?;
    let def: LinearDef = definitions::read(file_name, text)?;
    let mut manifest = Manifest {
        manifest: MANIFEST_VERSION,
        name: file_name.rsplit('/').next().unwrap_or(file_name).trim_end_matches(".linear.toml").to_owned(),
        inputs: Vec::new(),
        outputs: vec![score(def.link)],
        source: Some(Source { kind: "linear".into(), made_by: None, digest: Some(Digest::of(bytes).to_string()) }),
        limits: Limits { rows: def.rows, memory_bytes: 0 },
        browser: true,
    };
    let mut weights = Weights {
        link: match def.link {
            Link::Identity => selvedge_linear::model::Link::Identity,
            Link::Logistic => selvedge_linear::model::Link::Logistic,
        },
        intercept: def.intercept,
        shared: Vec::new(),
        candidate: Vec::new(),
    };
    for (index, input) in def.input.into_iter().enumerate() {
        let scope = input.scope;
        let name = input.name.clone();
        let (input, terms) = columns(input).map_err(|why| whole(format!("input {} {name:?}: {why}", index + 1)))?;
        manifest.inputs.push(input);
        match scope {
            Scope::Shared => weights.shared.extend(terms),
            Scope::Candidate => weights.candidate.extend(terms),
        }
    }
    manifest.check().map_err(|error| whole(error.to_string()))?;
    let data = weights.to_bytes();
    let vectors = golden(&data, &manifest).map_err(whole)?;
    module::seal_with(selvedge_prebuilt::LINEAR, &data, 0, &manifest, &vectors)
        .map_err(|error| whole(error.to_string()))
}

fn score(link: Link) -> Output {
    let min = match link {
        Link::Logistic => Some(0.0),
        Link::Identity => None,
    };
    Output { name: "score".into(), kind: Kind::Number, symbols: Vec::new(), min }
}

/// An input of the manifest, and what its columns contribute.
fn columns(def: InputDef) -> Result<(Input, Vec<Term>), String> {
    let mut symbols = Vec::new();
    let mut len = None;
    let terms = match (def.kind, def.weight, def.weights, def.other) {
        (Kind::Number | Kind::Flag, Some(weight), None, None) => vec![Term::Number(weight)],
        (Kind::Number | Kind::Flag, _, _, _) => return Err("needs `weight = NUMBER` and nothing else".into()),
        (Kind::Symbol, None, Some(Payload::Table(table)), other) => {
            let by_text: BTreeMap<String, f64> =
                table.into_iter().map(|(text, weight)| Ok((text, number(&weight)?))).collect::<Result<_, String>>()?;
            symbols = by_text.keys().cloned().collect();
            vec![Term::Symbol { table: by_text.into_values().collect(), other: other.unwrap_or(0.0) }]
        }
        (Kind::Symbol, _, _, _) => return Err("needs `weights = { TEXT = NUMBER, … }`, and may have `other`".into()),
        (Kind::Vector, None, Some(Payload::List(list)), None) => {
            len = Some(list.len() as u32);
            list.iter().map(|weight| number(weight).map(Term::Number)).collect::<Result<_, _>>()?
        }
        (Kind::Vector, _, _, _) => return Err("needs `weights = [NUMBER, …]` and nothing else".into()),
    };
    let finite = |term: &Term| match term {
        Term::Number(weight) => weight.is_finite(),
        Term::Symbol { table, other } => other.is_finite() && table.iter().all(|weight| weight.is_finite()),
    };
    if !terms.iter().all(finite) {
        return Err("a weight is not a finite number".into());
    }
    let InputDef { name, scope, kind, missing, derive, .. } = def;
    Ok((Input { name, scope, kind, symbols, len, missing, derive }, terms))
}

fn number(value: &Payload) -> Result<f64, String> {
    match value {
        Payload::Number(number) => Ok(*number),
        Payload::Integer(integer) => Ok(*integer as f64),
        Payload::Flag(_) | Payload::Text(_) | Payload::List(_) | Payload::Table(_) => {
            Err("every one of `weights` must be a number".into())
        }
    }
}

/// Calls that touch every column with ordinary, missing and unknown values, answered by the kernel's code.
fn golden(data: &[u8], manifest: &Manifest) -> Result<Vec<Vector>, String> {
    let model = Model::read(data)?;
    let mut state = 0x5e1f_ed9e;
    (0..VECTORS)
        .map(|index| {
            let count = VECTOR_ROWS.min(manifest.limits.rows);
            let shared = row(manifest, Scope::Shared, index, &mut state);
            let candidates: Vec<f64> =
                (0..count).flat_map(|_| row(manifest, Scope::Candidate, index, &mut state)).collect();
            let outputs = selvedge_linear::evaluate(&model, Call::new(&shared, &candidates, count as usize))?;
            Ok(Vector { shared, candidates, count, outputs })
        })
        .collect()
}

fn row(manifest: &Manifest, scope: Scope, index: u32, state: &mut u64) -> Vec<f64> {
    let mut row = Vec::new();
    for input in manifest.inputs.iter().filter(|input| input.scope == scope) {
        for _ in 0..input.width() {
            let draw = splitmix(state);
            let share = (draw >> 11) as f64 / (1u64 << 53) as f64;
            let value = match input.kind {
                Kind::Number | Kind::Vector => share * 8.0 - 4.0,
                Kind::Flag => f64::from(draw & 1 == 1),
                Kind::Symbol => (draw % (input.symbols.len() as u64 + 1)) as f64 - 1.0,
            };
            // The first call has every value, the later ones miss one in eight.
            row.push(if index > 0 && draw >> 61 == 0 { f64::NAN } else { value });
        }
    }
    row
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same calls on every machine.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn file(input: &str) -> String {
        format!("link = \"identity\"\n[[input]]\nname = \"a\"\nscope = \"shared\"\n{input}")
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = build("m.linear.toml", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}; expected {expected:?}");
    }

    #[test]
    fn a_model_s_inputs_become_columns() {
        let text = r#"
            link = "logistic"
            [[input]]
            name = "user.taste"
            scope = "shared"
            type = "vector"
            weights = [1, 2.5]
            [[input]]
            name = "item.category"
            scope = "candidate"
            type = "symbol"
            weights = { shoes = 1, bags = 2.0 }
            missing = "error"
        "#;
        let file = module::open(&build("modules/hero.linear.toml", text.as_bytes()).unwrap()).unwrap();
        let manifest = file.manifest;
        assert_eq!(manifest.name, "hero");
        assert_eq!(manifest.inputs[0].len, Some(2));
        assert_eq!(manifest.inputs[1].symbols, ["bags", "shoes"]);
        assert!(manifest.inputs[1].missing.is_error());
        assert_eq!((manifest.outputs[0].min, manifest.limits.rows, manifest.browser), (Some(0.0), 1024, true));
        assert_eq!(file.vectors.len(), VECTORS as usize);
    }

    #[test]
    fn mistakes_are_told() {
        refused("link = \"probit\"\n", "link");
        refused(&file("type = \"number\"\n"), "input 1 \"a\": needs `weight = NUMBER`");
        refused(&file("type = \"number\"\nweight = inf\n"), "not a finite number");
        refused(&file("type = \"symbol\"\nweight = 1\n"), "needs `weights = { TEXT = NUMBER");
        refused(&file("type = \"symbol\"\nweights = { a = \"1\" }\n"), "must be a number");
        refused(&file("type = \"vector\"\nweights = []\n"), "a vector needs its `len`");
        refused(&file("type = \"flag\"\nweight = 1\nwieght = 2\n"), "weight");
        refused(
            &file("type = \"symbol\"\nweights = { a = 1 }\nmissing = { default = \"b\" }\n"),
            "not one of its symbols",
        );
        let twice = "[[input]]\nname = \"a\"\nscope = \"shared\"\ntype = \"flag\"\nweight = 1\n";
        refused(&format!("{}{twice}", file("type = \"flag\"\nweight = 1\n")), "stands twice");
        assert!(build("m.linear.toml", b"\xff").is_err());
    }
}
