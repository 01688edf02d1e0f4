//! A release folder, checked as it would be packed: the whole release, then each of its rules with what its views provide.

use std::collections::BTreeSet;
use std::path::Path;

use selvedge_build::build::is_rules;
use selvedge_build::definitions;
use selvedge_build::keys::SigningKey;
use selvedge_build::release::{self, Contents, Limits, PackError};
use selvedge_build::rules::{self, Level};
use selvedge_decision::definition::{ExperimentDef, FeaturesDef, PlacementDef};
use selvedge_decision::plan::Placement;
use selvedge_decision::{Digest, TimeUs};
use selvedge_node::clock::Clock;

use super::{Found, MAX_FILE_BYTES, rules_file};
use crate::commands::release::check_modules;
use crate::files::{read_file, read_rules};

pub(super) fn check(dir: &Path) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    // Packed for what is told of it alone; the key signs nothing that is kept.
    match release::pack(dir, &SigningKey::generate()?) {
        Ok(packed) => {
            let files = release::open(&packed.bytes, &Limits::default())?;
            for finding in check_modules(&files)? {
                found.push(Found::error(&dir.display().to_string(), finding));
            }
            let contents = release::definition(&files)?;
            found.extend(in_pages(dir, &contents, files.digest)?);
            found.extend(over(dir, &contents, Clock::new().now_us()));
        }
        Err(PackError::Bad(bad)) => {
            found.extend(bad.findings.iter().map(|finding| Found::error(&dir.display().to_string(), finding)));
        }
        Err(error @ PackError::Read { .. }) => return Err(error.into()),
    }
    let features = features(dir);
    let contexts = contexts(dir)?;
    for path in release::sources(dir)? {
        let name = path.display().to_string();
        if !is_rules(&name) {
            continue;
        }
        let read = read_rules(&path)?;
        if let (Ok(rules), Some(features)) = (&read, &features) {
            let unknown = rules::lint::unknown_features(rules, features, &contexts);
            found.extend(unknown.into_iter().map(Found::Rules));
        }
        // What keeps it from being built was told with the release.
        found.extend(rules_file(read).into_iter().filter(|found| found.level() < Level::Error));
    }
    Ok(found)
}

/// The placements for browsers that a page cannot decide by itself, so that it asks a node for them; and those that it does decide and
/// that learn, which they do not from pages.
fn in_pages(dir: &Path, contents: &Contents<'_>, digest: Digest) -> anyhow::Result<Vec<Found>> {
    let plan = contents.compile()?;
    let browser = |at: usize| {
        let module = plan.modules.get(at).and_then(|name| contents.modules.get(name));
        module.is_some_and(|module| module.file.manifest.browser)
    };
    let (page, left) = plan.page(digest, |_| true, browser);
    let told = |key: &str, message: String| Found::Other {
        level: Level::Information,
        file: placement_file(dir, key),
        message,
    };
    let left = left
        .iter()
        .map(|(key, why)| told(key, format!("pages ask a node for it and do not decide it themselves: {why}")));
    let learns = |placement: &Placement| placement.ways.iter().any(|way| way.policy.bandit.is_some());
    let learning = page.placements.iter().filter(|(_, placement)| learns(placement)).map(|(key, _)| {
        let why = "pages may decide it themselves, and it learns nothing from what they decide: what was learned they can read";
        told(key, why.to_owned())
    });
    Ok(left.chain(learning).collect())
}

/// Experiments that are over. The release runs on without them, so it is no error.
fn over(dir: &Path, contents: &Contents<'_>, now_us: TimeUs) -> Vec<Found> {
    let of_each = |(key, def): (&String, &PlacementDef)| {
        let over = |experiment: &ExperimentDef| {
            let end = experiment.end.filter(|end| end.us() <= now_us)?;
            let (name, end) = (&experiment.key, String::from(end));
            let message = format!(
                "experiment {name:?} is over since {end}: nobody falls into it; take it out, or say a later `end`"
            );
            Some(Found::Other { level: Level::Warning, file: placement_file(dir, key), message })
        };
        def.experiment.iter().filter_map(over).collect::<Vec<_>>()
    };
    contents.placements.iter().flat_map(of_each).collect()
}

fn placement_file(dir: &Path, key: &str) -> String {
    dir.join(format!("placements/{key}.toml")).display().to_string()
}

fn features(dir: &Path) -> Option<FeaturesDef> {
    let text = read_file(&dir.join("features.toml"), MAX_FILE_BYTES).ok()?;
    definitions::features(std::str::from_utf8(&text).ok()?).ok()
}

/// What the placements' contexts hold.
fn contexts(dir: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in release::sources(dir)? {
        let is_placement = path.parent().is_some_and(|folder| folder.ends_with("placements"));
        if let (true, Ok(bytes)) = (is_placement, read_file(&path, MAX_FILE_BYTES))
            && let Ok(text) = std::str::from_utf8(&bytes)
            && let Ok(def) = definitions::placement(&path.display().to_string(), text)
        {
            names.extend(def.context.into_keys());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_placement_that_learns_nothing_from_pages_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("placements")).unwrap();
        write("release.toml", "name = \"shop\"\n");
        let actions = "actions = [{ id = \"a\" }, { id = \"b\" }]\nfallback = [\"a\"]\n";
        let learns = format!("{actions}choose = {{ policy = \"thompson\", reward = \"click\" }}\n");
        write("placements/fixed.toml", &format!("browser = true\n{actions}"));
        write("placements/hero.toml", &format!("browser = true\n{learns}"));
        write("placements/on-nodes.toml", &learns);
        let found: Vec<String> = check(folder.path()).unwrap().iter().map(Found::told).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("hero.toml: pages may decide it themselves, and it learns nothing"), "{found:?}");
    }

    /// What was an experiment when it was written is none any more, without a word: the folder is the same.
    #[test]
    fn an_experiment_that_is_over_is_a_warning_and_the_release_is_one_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("placements")).unwrap();
        write("release.toml", "name = \"shop\"\n");
        let experiment = |key: &str, end: &str| {
            format!(
                "[[experiment]]\nkey = \"{key}\"\nunit = \"subject\"\n{end}\narms = [{{ name = \"one\", weight = 100 }}]\n"
            )
        };
        let (past, future) = ("end = \"2020-01-02T03:04:05Z\"", "end = \"9999-01-01T00:00:00Z\"");
        let experiments = [experiment("old", past), experiment("new", future), experiment("always", "")].concat();
        write("placements/flag.toml", &format!("actions = [{{ id = \"a\" }}]\nfallback = [\"a\"]\n{experiments}"));
        let found = check(folder.path()).unwrap();
        let told: Vec<String> = found.iter().map(Found::told).collect();
        assert_eq!((found.len(), found[0].level()), (1, Level::Warning), "{told:?}");
        assert!(told[0].contains("flag.toml: experiment \"old\" is over since 2020-01-02T03:04:05"), "{told:?}");
    }
}
