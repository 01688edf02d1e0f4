//! `hero.toml` beside a model file `hero.json`: what the trainer did not know. Owns the file's shape, what it changes of a
//! pipeline, and the sidecar a model would have if nothing were to be changed. The models themselves are `import`'s.

mod template;

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::manifest::{Derive, Input, Kind, Missing, Scope};
use serde::Deserialize;

use crate::definitions::{self, BadFile, nearest};
use crate::pipeline::calibrate::{self, Calibration};
use crate::pipeline::{OutputKind, Pipeline, PipelineInput};

pub use template::template;

/// A sidecar as it was read.
#[derive(Debug, Clone)]
pub struct Sidecar {
    file: String,
    text: String,
    def: SidecarDef,
}

/// The file as written. Nothing has to be said.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SidecarDef {
    /// `margin` or `probability`.
    #[serde(default)]
    output: Option<OutputKind>,
    /// The most candidate rows of one call.
    #[serde(default)]
    rows: Option<u32>,
    /// Whether browsers may have it.
    #[serde(default)]
    browser: Option<bool>,
    /// The names of the model's inputs in its order, instead of those in the file.
    #[serde(default)]
    features: Option<Vec<String>>,
    /// What makes its answer a probability that can be believed.
    #[serde(default)]
    calibration: Option<Calibration>,
    /// What more is known of inputs, by the trainer's name.
    #[serde(default)]
    inputs: BTreeMap<String, InputDef>,
}

/// `[inputs.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputDef {
    /// `view.feature`, `context.name`, `candidate.id`.
    #[serde(default)]
    name: Option<String>,
    /// `shared` or `candidate`; by the name when it is not said.
    #[serde(default)]
    scope: Option<Scope>,
    /// `number`, `flag` or `symbol`.
    #[serde(rename = "type", default)]
    kind: Option<Kind>,
    /// For a symbol: the text of each of the trainer's codes, from 0.
    #[serde(default)]
    symbols: Option<Vec<String>>,
    /// What stands in for a missing value.
    #[serde(default)]
    missing: Option<Missing>,
    /// What the node computes it from.
    #[serde(default)]
    derive: Option<Derive>,
}

// === impl Sidecar ===

impl Sidecar {
    /// Reads a sidecar, calling it `file` in errors.
    ///
    /// # Errors
    ///
    /// With the line and the key that is wrong, and the nearest known key.
    pub fn read(file: &str, text: &str) -> Result<Self, BadFile> {
        Ok(Self { file: file.to_owned(), def: definitions::read(file, text)?, text: text.to_owned() })
    }

    /// Which answers the model gives.
    pub fn output(&self) -> Option<OutputKind> {
        self.def.output
    }

    /// The most candidate rows of one call.
    pub fn rows(&self) -> Option<u32> {
        self.def.rows
    }

    /// Whether browsers may have it.
    pub fn browser(&self) -> Option<bool> {
        self.def.browser
    }

    /// The names of the model's inputs in its order.
    pub fn features(&self) -> Option<&[String]> {
        self.def.features.as_deref()
    }

    /// Gives the pipeline's inputs the names, scopes, types and stand-ins that the sidecar says.
    ///
    /// # Errors
    ///
    /// At the key that does not fit the model.
    pub fn apply(&self, pipeline: &mut Pipeline) -> Result<(), BadFile> {
        let trained: Vec<String> = pipeline.inputs.iter().map(|input| input.name.clone()).collect();
        for (name, def) in &self.def.inputs {
            let Some(index) = trained.iter().position(|trained| trained == name) else {
                let bad = self.at(&[name], "the model has no input of this name");
                let nearest = nearest(name, trained.iter().map(String::as_str)).map(str::to_owned);
                return Err(BadFile { nearest, ..bad });
            };
            change(&mut pipeline.inputs[index], def).map_err(|(key, why)| self.at(&[name, key], &why))?;
        }
        let mut seen = BTreeSet::new();
        for (input, trained) in pipeline.inputs.iter().zip(&trained) {
            if !seen.insert(&input.name) {
                return Err(self.at(&[trained, "name"], &format!("another input is called {:?}, too", input.name)));
            }
        }
        Ok(())
    }

    /// Puts the sidecar's calibration on top of the pipeline, when there is one.
    ///
    /// # Errors
    ///
    /// At the key of what is wrong with it, or with it on this model.
    pub fn calibrate(&self, pipeline: &mut Pipeline) -> Result<(), BadFile> {
        let Some(calibration) = &self.def.calibration else { return Ok(()) };
        calibrate::calibrate(pipeline, calibration).map_err(|bad| {
            let keys = bad.at.split('.').map(|key| key.split('[').next().unwrap_or(key));
            let path: Vec<&str> = ["calibration"].into_iter().chain(keys.filter(|key| !key.is_empty())).collect();
            definitions::at(&self.file, &self.text, &path, &bad.why)
        })
    }

    fn at(&self, path: &[&str], message: &str) -> BadFile {
        let path: Vec<&str> = ["inputs"].iter().chain(path).copied().collect();
        definitions::at(&self.file, &self.text, &path, message)
    }
}

/// Changes one input, or says at which key it cannot.
fn change(input: &mut PipelineInput, def: &InputDef) -> Result<(), (&'static str, String)> {
    if let Some(kind) = def.kind.filter(|kind| *kind != input.kind) {
        match (input.kind, kind) {
            (Kind::Number, Kind::Flag | Kind::Symbol) | (Kind::Flag, Kind::Number) => input.kind = kind,
            (was, _) => return Err(("type", format!("the model reads a {was} here; it cannot be a {kind}"))),
        }
    }
    if let Some(symbols) = &def.symbols {
        if input.kind != Kind::Symbol {
            return Err(("symbols", format!("only a symbol has symbols, this is a {}", input.kind)));
        }
        let known = input.symbols.len();
        if known > 0 && known != symbols.len() {
            return Err(("symbols", format!("{} texts, but the model was trained on {known}", symbols.len())));
        }
        input.symbols.clone_from(symbols);
    } else if input.kind == Kind::Symbol && input.symbols.is_empty() {
        let why = "a symbol needs `symbols`, the text of each of the trainer's codes from 0";
        return Err(("type", why.into()));
    }
    if let Some(name) = &def.name {
        input.name.clone_from(name);
    }
    input.scope = def.scope.or(input.scope);
    if let Some(missing) = &def.missing {
        input.missing = missing.clone();
    }
    if let Some(derive) = &def.derive {
        input.derive = Some(derive.clone());
    }
    let as_told = Input {
        name: input.name.clone(),
        scope: input.scope(),
        kind: input.kind,
        symbols: input.symbols.clone(),
        len: input.len,
        missing: input.missing.clone(),
        derive: input.derive.clone(),
    };
    as_told.default_value().map(drop).map_err(|why| ("missing", why))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Three numbers, a symbol of two texts and a vector.
    fn model() -> Pipeline {
        let json = r#"{"selvedge_pipeline": 1, "kind": "xgboost", "inputs": [
            {"name": "Age", "type": "number"}, {"name": "Price", "type": "number"}, {"name": "New", "type": "number"},
            {"name": "Country", "type": "symbol", "symbols": ["DE", "FR"]}, {"name": "Taste", "type": "vector", "len": 2}],
            "steps": [], "outputs": {"margin": [{"name": "score", "column": 0}]}}"#;
        serde_json::from_str(json).unwrap()
    }

    fn applied(text: &str) -> Result<Pipeline, BadFile> {
        let mut pipeline = model();
        let sidecar = Sidecar::read("hero.toml", text)?;
        sidecar.apply(&mut pipeline)?;
        sidecar.calibrate(&mut pipeline)?;
        Ok(pipeline)
    }

    #[test]
    fn a_sidecar_says_what_the_trainer_did_not_know() {
        let pipeline = applied(
            r#"
            output = "margin"
            rows = 64
            browser = false
            [inputs]
            Age = { name = "user.age", missing = { default = 40 } }
            Price = { name = "item.price", missing = "error" }
            New = { name = "bought", type = "flag", scope = "shared", derive = { fn = "contains", of = "user.bought", text = "sku-1" } }
            Country = { name = "context.country", symbols = ["Germany", "France"], missing = { default = "France" } }
            "#,
        )
        .unwrap();
        let told: Vec<_> =
            pipeline.inputs.iter().map(|input| (input.name.as_str(), input.scope(), input.kind)).collect();
        assert_eq!(
            told,
            [
                ("user.age", Scope::Shared, Kind::Number),
                ("item.price", Scope::Candidate, Kind::Number),
                ("bought", Scope::Shared, Kind::Flag),
                ("context.country", Scope::Shared, Kind::Symbol),
                ("Taste", Scope::Shared, Kind::Vector),
            ]
        );
        assert_eq!(pipeline.inputs[3].symbols, ["Germany", "France"]);
        assert!(pipeline.inputs[1].missing.is_error());
        assert!(matches!(&pipeline.inputs[2].derive, Some(Derive::Contains { of, .. }) if of == "user.bought"));
        let coded = applied("[inputs.Age]\ntype = \"symbol\"\nsymbols = [\"young\", \"old\"]\n").unwrap();
        assert_eq!((coded.inputs[0].kind, coded.inputs[0].symbols.len()), (Kind::Symbol, 2));
        assert_eq!(applied("").unwrap(), model(), "nothing has to be said");
        let calibrated = applied("calibration = { platt = { a = -1.5, b = 0.25 }, kept = 0.1 }\n").unwrap();
        assert_eq!(calibrated.outputs.probability.len(), 1, "a margin becomes a probability");
    }

    #[test]
    fn mistakes_are_told_at_their_line() {
        let check = |text: &str, expected: &str| assert_eq!(applied(text).unwrap_err().to_string(), expected);
        check(
            "rows = 64\noutptu = \"margin\"",
            "hero.toml:2: outptu: unknown key; known here: output, rows, browser, features, calibration, inputs; did you mean \
             \"output\"?",
        );
        check(
            "output = \"probabilty\"",
            "hero.toml:1: output: unknown word \"probabilty\"; known here: margin, probability; did you mean \
             \"probability\"?",
        );
        check(
            "\n[inputs.age]\nname = \"user.age\"",
            "hero.toml:2: inputs.age: the model has no input of this name; did you mean \"Age\"?",
        );
        check(
            "[inputs.Age]\ntyp = \"flag\"",
            "hero.toml:2: inputs.Age.typ: unknown key; known here: name, scope, type, symbols, missing, derive; did you mean \
             \"type\"?",
        );
        check(
            "[inputs.Country]\ntype = \"number\"",
            "hero.toml:2: inputs.Country.type: the model reads a symbol here; it cannot be a number",
        );
        check(
            "[inputs.Age]\ntype = \"symbol\"",
            "hero.toml:2: inputs.Age.type: a symbol needs `symbols`, the text of each of the trainer's codes from 0",
        );
        check(
            "[inputs.Country]\nsymbols = [\"DE\"]",
            "hero.toml:2: inputs.Country.symbols: 1 texts, but the model was trained on 2",
        );
        check(
            "[inputs.Age]\nsymbols = [\"DE\"]",
            "hero.toml:2: inputs.Age.symbols: only a symbol has symbols, this is a number",
        );
        check(
            "[inputs.Country]\nmissing = { default = \"IT\" }",
            "hero.toml:2: inputs.Country.missing: missing.default \"IT\" is not one of its symbols",
        );
        check(
            "[inputs.Age]\nname = \"a\"\n[inputs.Price]\nname = \"a\"",
            "hero.toml:4: inputs.Price.name: another input is called \"a\", too",
        );
        check(
            "rows = 4\n[calibration]\nkept = 2.0",
            "hero.toml:3: calibration.kept: 2 is not above 0 and at most 1: it is the share of the negatives that was \
             kept",
        );
        check(
            "[calibration]\nkeptt = 0.5",
            "hero.toml:2: calibration.keptt: unknown key; known here: platt, isotonic, on, kept; did you mean \"kept\"?",
        );
    }

    #[test]
    fn a_template_changes_nothing() {
        let mut pipeline = model();
        pipeline.inputs[2].scope = Some(Scope::Candidate);
        pipeline.inputs[0].name = "a \"strange\" näme\u{7f}".into();
        pipeline.inputs[1].missing = Missing::Default { default: selvedge_decision::manifest::Scalar::Number(0.5) };
        let text = template("hero.json", "hero.toml", &pipeline);
        let mut changed = pipeline.clone();
        Sidecar::read("hero.toml", &text).unwrap().apply(&mut changed).unwrap();
        assert_eq!(changed, pipeline, "{text}");
    }
}
