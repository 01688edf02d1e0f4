//! The names of a model's features: from the caller, from the file, or by number. Owns what may be a set of names.

use std::collections::BTreeSet;

use super::{BadModel, MAX_FEATURES};

/// The names of `count` features: the caller's, else the file's, else `f0`, `f1`, …
///
/// # Errors
///
/// When there are too many features, or a list does not fit.
pub(super) fn choose(
    given: Option<&[String]>,
    in_file: Vec<String>,
    at: &str,
    count: usize,
) -> Result<Vec<String>, BadModel> {
    if count > MAX_FEATURES {
        return Err(BadModel::new(at, format!("{count} features, at most {MAX_FEATURES}")));
    }
    if let Some(given) = given {
        fit(given, count)?;
        return Ok(given.to_vec());
    }
    if in_file.is_empty() {
        return Ok((0..count).map(|feature| format!("f{feature}")).collect());
    }
    if in_file.len() != count {
        return Err(BadModel::new(at, format!("{} names for {count} features", in_file.len())));
    }
    distinct(&in_file).map_err(|why| BadModel::new(at, why))?;
    Ok(in_file)
}

/// Whether the caller's names fit.
///
/// # Errors
///
/// When they do not.
pub(super) fn fit(given: &[String], count: usize) -> Result<(), BadModel> {
    if given.len() != count {
        let why = format!("{} feature names were given, but the model has {count} features", given.len());
        return Err(BadModel::whole(why));
    }
    distinct(given).map_err(|why| BadModel::whole(format!("the given feature names: {why}")))
}

fn distinct(names: &[String]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| name.is_empty() || !seen.insert(name.as_str())) {
        Some(name) if name.is_empty() => Err("a name is empty".into()),
        Some(name) => Err(format!("the name {name:?} stands twice")),
        None => Ok(()),
    }
}
