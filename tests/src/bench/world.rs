//! The shop that the speed rows decide in: 20 rules, 100 trees over 1,000 features of 4 views, as the speed table says.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::harness::Random;
use crate::harness::shop::Shop;
use crate::modules;

/// Views of the decide rows.
pub(super) const VIEWS: usize = 4;
/// Features of each.
pub(super) const FEATURES: usize = 250;
/// Subjects that have rows.
pub(super) const SUBJECTS: usize = 1_000;

/// The release: placement `hero` runs `rules` and `trees` on a shared row of 1,000 features and three actions.
pub(super) fn shop(folder: &Path) -> Result<Shop> {
    shop_with(folder, "")
}

/// The same with `more` in the placement.
pub(super) fn shop_with(folder: &Path, more: &str) -> Result<Shop> {
    let shop = Shop::new(folder, "bench")?;
    let mut features = String::new();
    for view in 0..VIEWS {
        writeln!(features, "[view.v{view}]\nby = \"subject\"\nsync = \"all\"\n[view.v{view}.features]")?;
        for feature in 0..FEATURES {
            writeln!(features, "f{feature:03} = \"number\"")?;
        }
    }
    shop.file("features.toml", features)?;
    shop.placement("hero", &format!("{HERO}{more}"))?;
    shop.module("rules", &modules::bench_rules()?)?.module("trees", &modules::bench_trees()?)?;
    Ok(shop)
}

const HERO: &str = r#"
actions = [{ id = "a" }, { id = "b" }, { id = "c" }]
slots = 1
deadline = "50ms"
rules = ["rules"]
ladder = ["trees"]
fallback = ["a"]
"#;

/// The rows of one view.
pub(super) fn rows(view: usize) -> impl Iterator<Item = Value> {
    let mut random = Random::new(view as u64);
    (0..SUBJECTS).map(move |subject| {
        let mut row: Map<String, Value> =
            (0..FEATURES).map(|feature| (format!("f{feature:03}"), json!(random.unit() * 2.0 - 1.0))).collect();
        row.insert("_key".into(), json!(subject_id(subject)));
        Value::Object(row)
    })
}

/// Decide requests for different subjects.
pub(super) fn requests() -> Vec<Bytes> {
    let request = |subject| json!({"placement": "hero", "subject": subject_id(subject)}).to_string().into();
    (0..SUBJECTS).map(request).collect()
}

/// The id of a subject.
pub(super) fn subject_id(subject: usize) -> String {
    format!("u-{subject}")
}
