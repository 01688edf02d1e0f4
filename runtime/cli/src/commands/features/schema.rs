//! What a release says of a view's rows. Owns the look into it, and how a value that is not what its feature asks for is told;
//! whether it is, is the node's own reader's word.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use selvedge_build::definitions::{self, nearest};
use selvedge_decision::definition::By;
use selvedge_decision::layout::{FeatureKind, RowLayout};
use selvedge_node::features::row::{RowReader, TIME_NAME};
use selvedge_node::features::{SymbolLimits, Symbols};
use serde_json::value::RawValue;

use super::SHOWN_CHARS;
use crate::files::read_file;

/// The largest features.toml, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The features of one view.
pub(super) struct Schema {
    view: String,
    layout: Arc<RowLayout>,
    shards: Option<u32>,
    by: By,
    reader: RowReader,
}

/// A value that is not what the view asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The feature, or what stands in its place; empty for a row that is none.
    pub(super) name: String,
    pub(super) why: String,
}

// === impl Schema ===

impl Schema {
    /// The features of a view as `path` says, a release's folder or its features.toml.
    pub(super) fn read(path: &Path, view: &str) -> anyhow::Result<Self> {
        let file = if path.is_dir() { path.join("features.toml") } else { path.to_owned() };
        let name = file.display();
        let text = String::from_utf8(read_file(&file, MAX_BYTES)?);
        let text = text.with_context(|| format!("{name} is not UTF-8; --release takes a release's folder"))?;
        let def = definitions::features(&text).with_context(|| format!("{name} cannot be read"))?;
        let Some(found) = def.view.get(view) else {
            let near = nearest(view, def.view.keys().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            anyhow::bail!("{name} has no view {view:?}{near}");
        };
        anyhow::ensure!(
            found.aggregates.is_empty(),
            "view {view:?} of {name} is made of a session's events: no rows are written into it"
        );
        Ok(Self { by: found.by.clone(), ..Self::of(view, found.layout(), found.shards) })
    }

    /// A view of these features, by item.
    pub(super) fn of(view: &str, layout: RowLayout, shards: Option<u32>) -> Self {
        let layout = Arc::new(layout);
        Self { view: view.to_owned(), reader: reader(&layout), layout, shards, by: By::One("item".to_owned()) }
    }

    pub(super) fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// Whose values these are.
    pub(super) fn by(&self) -> &By {
        &self.by
    }

    /// How many shards the view has.
    pub(super) fn shards(&self) -> Option<u32> {
        self.shards
    }

    /// Whether the view has a feature of this name; when not, why that is wrong.
    pub(super) fn knows(&self, name: &str) -> Result<(), String> {
        if self.layout.field(name).is_some() {
            return Ok(());
        }
        let near = nearest(name, self.layout.fields().iter().map(|field| field.name.as_str()));
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        Err(format!("view {:?} has no such feature{near}", self.view))
    }

    /// Looks through a row as a node will read it; the first thing that is wrong.
    pub(super) fn check(&mut self, json: &[u8]) -> Result<(), Wrong> {
        let row = self.reader.read(json).map_err(|error| Wrong { name: String::new(), why: error.to_string() })?;
        if row.wrong == 0 && row.unknown == 0 {
            return Ok(());
        }
        let values: BTreeMap<String, &RawValue> = serde_json::from_slice(json).unwrap_or_default();
        let wrong = values.into_iter().find_map(|(name, value)| {
            let why = self.why(&name, value)?;
            Some(Wrong { name, why })
        });
        wrong.map_or(Ok(()), Err)
    }

    fn why(&self, name: &str, value: &RawValue) -> Option<String> {
        let value = value.get();
        let shown: String = value.chars().take(SHOWN_CHARS).collect();
        let shown = if shown.len() < value.len() { format!("{shown}…") } else { shown };
        if name == TIME_NAME {
            let one = one(name, value);
            let is_wrong = reader(&self.layout).read(one.as_bytes()).is_ok_and(|row| row.wrong > 0);
            return is_wrong
                .then(|| format!("{shown} is no time; expected RFC 3339, or whole microseconds since 1970"));
        }
        let Some(field) = self.layout.field(name) else {
            return self.knows(name).err().filter(|_| !name.starts_with('_'));
        };
        let one = one(name, value);
        let is_wrong = reader(&self.layout).read(one.as_bytes()).is_ok_and(|row| row.wrong > 0);
        is_wrong.then(|| format!("{shown} is not {}", expected(field.kind, field.len)))
    }
}

/// A row of one value.
fn one(name: &str, value: &str) -> String {
    format!("{{{}:{value}}}", serde_json::Value::from(name))
}

fn reader(layout: &Arc<RowLayout>) -> RowReader {
    // What a text's number is does not matter here.
    let limits = SymbolLimits { symbols: 1, ..SymbolLimits::default() };
    RowReader::new(Arc::clone(layout), Arc::new(Symbols::new(limits)))
}

/// What a feature's type asks for.
pub(super) fn expected(kind: FeatureKind, len: u32) -> String {
    match kind {
        FeatureKind::Number => "a number".into(),
        FeatureKind::F32 => "a number that an f32 can hold".into(),
        FeatureKind::Flag => "true or false".into(),
        FeatureKind::Symbol | FeatureKind::Text => "a text".into(),
        FeatureKind::Time => "a time: RFC 3339, or whole microseconds since 1970".into(),
        FeatureKind::Vector => format!("a list of {len} numbers"),
        FeatureKind::Ids => "a list of texts".into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    const FEATURES: &str = r#"
        [view.user]
        by = "subject"
        shards = 4
        [view.user.features]
        bought = { type = "ids", len = 2 }
        seen = "time"
        segment = "symbol"
        taste = { type = "vector", len = 2 }
        value = "number"
        [view.session]
        by = "session"
        [view.session.aggregates]
        views = { count = "view_item" }
    "#;

    fn schema() -> (tempfile::TempDir, Schema) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("features.toml"), FEATURES).unwrap();
        let schema = Schema::read(folder.path(), "user").unwrap();
        (folder, schema)
    }

    #[test]
    fn a_wrong_value_is_told_by_its_name() {
        let (_folder, mut schema) = schema();
        let mut check = |json: &str, expected: Option<(&str, &str)>| {
            let wrong = schema.check(json.as_bytes()).err();
            let wrong = wrong.as_ref().map(|wrong| (wrong.name.as_str(), wrong.why.as_str()));
            assert_eq!(wrong, expected, "{json}");
        };
        check(r#"{"value":1,"segment":"vip","taste":[1,2],"bought":["a","b","c"],"seen":5,"_time":1,"_x":{}}"#, None);
        check(r#"{"value":null}"#, None);
        check(r#"{"value":"1"}"#, Some(("value", "\"1\" is not a number")));
        check(r#"{"taste":[1],"value":1}"#, Some(("taste", "[1] is not a list of 2 numbers")));
        check(
            r#"{"seen":"soon"}"#,
            Some(("seen", "\"soon\" is not a time: RFC 3339, or whole microseconds since 1970")),
        );
        check(
            r#"{"segmnet":"vip"}"#,
            Some(("segmnet", "view \"user\" has no such feature; did you mean \"segment\"?")),
        );
        check(
            r#"{"_time":"soon"}"#,
            Some(("_time", "\"soon\" is no time; expected RFC 3339, or whole microseconds since 1970")),
        );
        let (_folder, mut schema) = self::schema();
        let long = format!("{{\"value\":\"{}\"}}", "ü".repeat(100));
        assert_eq!(schema.check(long.as_bytes()).unwrap_err().why, format!("\"{}… is not a number", "ü".repeat(59)));
    }

    #[test]
    fn a_view_that_takes_no_rows_is_refused() {
        let (folder, schema) = schema();
        assert_eq!(schema.shards(), Some(4));
        let refused = |path: &Path, view: &str| format!("{:#}", Schema::read(path, view).err().expect("a refusal"));
        assert!(refused(folder.path(), "usr").contains("did you mean \"user\"?"));
        assert!(refused(folder.path(), "session").contains("a session's events"));
        assert!(refused(&folder.path().join("none"), "user").contains("cannot read"));
        let file = folder.path().join("features.toml");
        assert!(Schema::read(&file, "user").is_ok(), "the file itself will do");
        std::fs::write(&file, "[view.user]\nby = 1\n").unwrap();
        assert!(refused(folder.path(), "user").contains("features.toml:2"));
    }
}
