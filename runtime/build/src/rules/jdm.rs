//! The JDM file as GoRules' editor writes it. Owns its JSON shape and its bounds; what the nodes mean together is the graph's.
//!
//! Keys the editor keeps for itself (positions, widths, schemas) are passed over. `x-selvedge` is ours.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::finding::{BadRules, Code, Finding, Place};
use super::settings::Settings;
use crate::definitions::untagged;

/// The largest file of rules, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 4 << 20;
/// The most nodes, and the most edges.
const MAX_PARTS: usize = 1_000;
/// The most cells of all tables together.
pub(super) const MAX_CELLS: usize = 50_000;

/// The file.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) nodes: Vec<NodeDef>,
    pub(super) edges: Vec<Edge>,
    #[serde(rename = "x-selvedge")]
    pub(super) settings: Option<Settings>,
    /// For the one table of a CSV file: the cells as they were written there, by row and column.
    #[serde(skip)]
    pub(super) written: Vec<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NodeDef {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    content: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Edge {
    pub(super) source_id: String,
    pub(super) target_id: String,
    #[serde(default)]
    pub(super) source_handle: Option<String>,
}

/// What a node does.
#[derive(Debug)]
pub(super) enum Content {
    Input,
    Output,
    Table(TableDef),
    Expressions(ExpressionsDef),
    Switch(SwitchDef),
}

/// How a node takes and hands on.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Transform {
    pub(super) input_field: Option<String>,
    pub(super) output_path: Option<String>,
    pub(super) execution_mode: Option<String>,
    pub(super) pass_through: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TableDef {
    #[serde(default)]
    pub(super) hit_policy: Option<String>,
    pub(super) inputs: Vec<ColumnDef>,
    pub(super) outputs: Vec<ColumnDef>,
    pub(super) rules: Vec<BTreeMap<String, Value>>,
    #[serde(flatten)]
    pub(super) transform: Transform,
}

#[derive(Debug, Deserialize)]
pub(super) struct ColumnDef {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) field: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExpressionsDef {
    pub(super) expressions: Vec<ExpressionDef>,
    #[serde(flatten)]
    pub(super) transform: Transform,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExpressionDef {
    pub(super) key: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SwitchDef {
    #[serde(default)]
    pub(super) hit_policy: Option<String>,
    pub(super) statements: Vec<StatementDef>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StatementDef {
    pub(super) id: String,
    #[serde(default)]
    pub(super) condition: String,
}

/// Reads the bytes of a JDM file.
pub(super) fn read(bytes: &[u8]) -> Result<File, BadRules> {
    let file: File = json(bytes, "docs/rules.md shows the shape; GoRules' editor writes it")?;
    for (what, count) in [("nodes", file.nodes.len()), ("edges", file.edges.len())] {
        if count > MAX_PARTS {
            return Err(BadRules::one(Finding::error(
                Code::Limit,
                Place::default(),
                format!("{count} {what}, at most {MAX_PARTS}"),
                "split it into several files",
            )));
        }
    }
    Ok(file)
}

/// Reads JSON with the path of what is wrong in the message.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], advice: &str) -> Result<T, BadRules> {
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("{} bytes, at most {MAX_FILE_BYTES}", bytes.len());
        return Err(BadRules::one(Finding::error(
            Code::Limit,
            Place::default(),
            message,
            "split it into several files",
        )));
    }
    let wrong = |message: String| BadRules::one(Finding::error(Code::Form, Place::default(), message, advice));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner());
        // The place in the file stands behind the words.
        let text = why.to_string();
        let words = text.split(" at line ").next().unwrap_or_default();
        let expected = untagged(words).map(|expected| format!("{path}: {expected}{}", &text[words.len()..]));
        wrong(expected.unwrap_or_else(|| error.to_string()))
    })?;
    reader.end().map_err(|error| wrong(error.to_string()))?;
    Ok(read)
}

// === impl NodeDef ===

impl NodeDef {
    /// What it does, when the profile has it.
    pub(super) fn content(&self) -> Result<Content, BadRules> {
        match self.kind.as_str() {
            "inputNode" => Ok(Content::Input),
            "outputNode" => Ok(Content::Output),
            "decisionTableNode" => self.read().map(Content::Table),
            "expressionNode" => self.read().map(Content::Expressions),
            "switchNode" => self.read().map(Content::Switch),
            "functionNode" => Err(self.unsupported(
                "is a functionNode: JavaScript is not built into modules",
                "write it as a decision table or expressions, or as a module in Rust",
            )),
            other => Err(self.unsupported(
                &format!("is a {other}, which is not in the profile"),
                "known here: inputNode, decisionTableNode, expressionNode, switchNode, outputNode",
            )),
        }
    }

    fn unsupported(&self, what: &str, advice: &str) -> BadRules {
        let message = format!("node {:?} {what}", self.id);
        BadRules::one(Finding::error(Code::Unsupported, Place::table(&self.name), message, advice))
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, BadRules> {
        serde_path_to_error::deserialize(&self.content).map_err(|error| {
            let message = format!("node {:?}, content.{error}", self.id);
            BadRules::one(Finding::error(
                Code::Form,
                Place::table(&self.name),
                message,
                "GoRules' editor writes the shape",
            ))
        })
    }
}
