//! The TOML files people write: text to the types of `selvedge_decision::definition`, with errors that name file, line, key
//! and the nearest known key. Owns what one file can be checked for alone; what the files mean together is the plan's.

mod reader;
mod words;

use std::fmt;

use selvedge_decision::definition::{FeaturesDef, PlacementDef, ReleaseDef};

pub use self::reader::{at, read};
pub use self::words::in_words;
pub(crate) use self::words::untagged;

/// The most events a release lists, and the bytes of an event's name.
const MAX_EVENTS: usize = 1_000;
const MAX_EVENT_BYTES: usize = 128;

/// What is wrong in a TOML file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFile {
    /// The file as the caller names it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The path of the key, such as `view.user.sync`; empty for what concerns the whole file.
    pub key: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// The known key or word nearest to the one that is not known.
    pub nearest: Option<String>,
}

/// Reads `release.toml`.
pub fn release(text: &str) -> Result<ReleaseDef, BadFile> {
    let file = "release.toml";
    let def: ReleaseDef = read(file, text)?;
    let printable = !def.name.trim().is_empty() && def.name.len() <= 100 && !def.name.chars().any(char::is_control);
    if !printable {
        return Err(at(file, text, &["name"], "a name has 1 to 100 bytes and no control characters"));
    }
    let shares = [
        ("max_fault_rate", def.guard.max_fault_rate),
        ("max_fallback_increase", def.guard.max_fallback_increase),
        ("max_reward_drop", def.guard.max_reward_drop),
    ];
    if let Some((key, _)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
        return Err(at(file, text, &["guard", key], "a share from 0 to 1 was expected"));
    }
    if !(1.0..=1e6).contains(&def.guard.max_p99_ratio) {
        return Err(at(file, text, &["guard", "max_p99_ratio"], "a number from 1 to 1000000 was expected"));
    }
    if def.guard.reward.as_ref().is_some_and(|kind| kind.trim().is_empty() || kind.starts_with('$')) {
        let why = "an event's name was expected, such as \"add_to_cart\", or what `$reward` events say as `kind`";
        return Err(at(file, text, &["guard", "reward"], why));
    }
    if def.guard.window.us() <= 0 {
        return Err(at(file, text, &["guard", "window"], "a time above 0 was expected"));
    }
    Ok(def)
}

/// Reads `features.toml`.
pub fn features(text: &str) -> Result<FeaturesDef, BadFile> {
    let file = "features.toml";
    let def: FeaturesDef = read(file, text)?;
    if def.events.len() > MAX_EVENTS {
        return Err(at(
            file,
            text,
            &["events"],
            &format!("{} events, at most {MAX_EVENTS} are allowed", def.events.len()),
        ));
    }
    for (place, name) in def.events.iter().enumerate() {
        let why = if name.is_empty() || name.len() > MAX_EVENT_BYTES || name.chars().any(char::is_control) {
            format!("{name:?}: a name has 1 to {MAX_EVENT_BYTES} bytes and no control characters")
        } else if name.starts_with('$') {
            format!("{name:?}: the node's own events are always known")
        } else if def.events[..place].contains(name) {
            format!("{name:?} stands twice")
        } else {
            continue;
        };
        return Err(at(file, text, &["events"], &why));
    }
    Ok(def)
}

/// Reads `placements/KEY.toml`; `file` is that path.
pub fn placement(file: &str, text: &str) -> Result<PlacementDef, BadFile> {
    read(file, text)
}

/// The longest word that is compared with others, in bytes: the work grows with the product of the lengths.
const MAX_WORD_BYTES: usize = 80;

/// The nearest of `known` to `word`, when one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_short = |word: &str| word.len() <= MAX_WORD_BYTES;
    let near = |known: &'a str| (strsim::normalized_damerau_levenshtein(word, known), known);
    let known = known.into_iter().filter(|known| is_short(word) && is_short(known));
    let best = known.map(near).max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= 0.5).then_some(best.1)
}

// === impl BadFile ===

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BadFile {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use selvedge_decision::definition::{By, Fallback, FeatureDef, Payload, Span};
    use selvedge_decision::layout::FeatureKind;

    use super::*;

    #[test]
    fn the_files_of_the_design_are_read() {
        let def = features(
            r#"
            events = ["view_item", "purchase"]
            [view.user]
            by = "subject"
            sync = "all"
            max_lag = "1h"
            [view.user.features]
            segment = "symbol"
            lifetime_value = { type = "number", default = 0 }
            taste = { type = "vector", len = 64 }
            [view.price]
            by = ["item", "context.market"]
            sync = "all"
            features = { price = "f32" }
            "#,
        )
        .unwrap();
        assert_eq!(def.events, ["view_item", "purchase"]);
        let user = &def.view["user"];
        assert_eq!(user.max_lag, Some(Span::from_us(3_600_000_000)));
        assert_eq!(user.features["segment"], FeatureDef::Kind(FeatureKind::Symbol));
        assert_eq!(user.features["taste"].width(), 64);
        assert_eq!(def.view["price"].by, By::Pair(["item".into(), "context.market".into()]));

        let def = placement(
            "placements/home-hero.toml",
            r#"
            context = { country = "symbol", cart_value = "number" }
            actions = [
              { id = "vip", payload = { banner = "vip.svg", sizes = [1, 2.5], on = true } },
              { id = "default" },
            ]
            slots = 1
            deadline = "5ms"
            rules = ["hero-eligibility"]
            ladder = ["hero-gbdt", "hero-linear"]
            choose = { policy = "argmax" }
            record = { inputs = 1 }
            fallback = ["default"]
            [[experiment]]
            key = "hero-model"
            unit = "subject"
            arms = [{ name = "gbdt", weight = 50 }, { name = "linear", weight = 50, ladder = ["hero-linear"] }]
            "#,
        )
        .unwrap();
        assert_eq!(def.fallback, Fallback::List(vec!["default".into()]));
        assert_eq!(def.deadline.us(), 5_000);
        assert!(matches!(&def.actions[0].payload, Some(Payload::Table(table)) if table.len() == 3));
        assert_eq!(def.experiment[0].arms[1].ladder.as_deref(), Some(&["hero-linear".to_owned()][..]));

        let def = release("name = \"shop\"\n[guard]\nwindow = \"1m\"\n").unwrap();
        assert_eq!((def.guard.window.us(), def.guard.min_decisions), (60_000_000, 200));
    }

    #[test]
    fn errors_name_line_key_and_the_nearest_known_key() {
        let check = |error: BadFile, expected: &str| assert_eq!(error.to_string(), expected);
        let view = "[view.user]\nby = \"subject\"\nsync = \"all\"\n";
        let of = |text: &str| features(&format!("{view}{text}")).unwrap_err();
        check(
            of("max_lagg = \"1h\"\nfeatures = {}"),
            "features.toml:4: view.user.max_lagg: unknown key; known here: by, browser, sync, shards, on_miss, max_bytes, max_lag, \
             late, features, aggregates; did you mean \"max_lag\"?",
        );
        check(
            of("max_lag = \"1 hour\"\nfeatures = {}"),
            "features.toml:4: view.user.max_lag: \"1 hour\" is not a time such as 5ms, 10s, 2m, 1h or 7d",
        );
        check(
            of("late = \"refuze\"\nfeatures = {}"),
            "features.toml:4: view.user.late: unknown word \"refuze\"; known here: use, default, refuse; did you mean \"refuse\"?",
        );
        let without_by = features("[view.user]\nsync = \"all\"\n").unwrap_err();
        check(without_by, "features.toml:1: view.user: the key \"by\" is missing");
        check(
            of("[view.user.features]\na = \"nubmer\""),
            "features.toml:5: view.user.features.a: unknown word \"nubmer\"; known here: number, f32, flag, time, symbol, vector, ids, text; did you mean \"number\"?",
        );
        check(
            of("[view.user.features]\na = { type = \"vector\", length = 3 }"),
            "features.toml:5: view.user.features.a.length: unknown key; known here: type, len, default, ttl, old, pii; did you mean \"len\"?",
        );
        check(
            of("[view.user.features]\na = { len = 3 }"),
            "features.toml:5: view.user.features.a: the key \"type\" is missing",
        );
        check(
            of("[view.user.features]\na = { type = \"vector\", len = -1 }"),
            "features.toml:5: view.user.features.a.len: found the integer `-1`, but a whole number from 0 to 4294967295 was expected",
        );
        check(
            of("[view.user.features]\na = 3"),
            "features.toml:5: view.user.features.a: expected a type such as \"number\", or a table such as { type = \"number\", default = 0.0 }",
        );
        check(of("features = {}\nby = \"x\""), "features.toml:5: by: duplicate key");

        let of = |events: &str| features(&format!("\nevents = [{events}]")).unwrap_err();
        check(of("\"a\", \"b\", \"a\""), "features.toml:2: events: \"a\" stands twice");
        check(of("\"$reward\""), "features.toml:2: events: \"$reward\": the node's own events are always known");
        check(of("\"\""), "features.toml:2: events: \"\": a name has 1 to 128 bytes and no control characters");
        check(of("7"), "features.toml:2: events[0]: found the integer `7`, but a text in quotes was expected");
        let many: Vec<String> = (0..1001).map(|n| format!("\"e{n}\"")).collect();
        check(of(&many.join(",")), "features.toml:2: events: 1001 events, at most 1000 are allowed");

        let of = |text: &str| placement("placements/p.toml", text).unwrap_err();
        check(
            of("fallback = 3"),
            "placements/p.toml:1: fallback: expected a list of ids, or a table such as { by = \"item.popularity\" }",
        );
        check(
            of("\nfallback = []\nslots = \"3\""),
            "placements/p.toml:3: slots: found the text \"3\", but a whole number from 0 to 4294967295 was expected",
        );
        check(
            of("fallback = []\n[[experiment]]\nkey = \"k\"\nunit = \"user\"\narms = []"),
            "placements/p.toml:4: experiment[0].unit: unknown word \"user\"; known here: subject, session",
        );
        check(
            of(
                "fallback = []\n[[experiment]]\nkey = \"k\"\nunit = \"subject\"\narms = [{ name = \"a\", weight = 50.0 }]",
            ),
            "placements/p.toml:5: experiment[0].arms[0].weight: found the number `50.0`, but a whole number from 0 to 4294967295 was \
             expected",
        );
        let prior = |prior: &str| of(&format!("fallback = []\nchoose = {{ policy = \"thompson\", prior = {prior} }}"));
        check(prior("[1, 1, 1]"), "placements/p.toml:2: choose.prior: found a list of 3, but a list of 2 was expected");
        check(prior("[1]"), "placements/p.toml:2: choose.prior: found a list of 1, but a list of 2 was expected");
        check(
            of("fallback = []\nlimits = 3"),
            "placements/p.toml:2: limits: found the integer `3`, but a table was expected",
        );
        check(
            of("fallback = []\n[[actions]]\nid = \"a\"\npayload = 2020-01-01"),
            "placements/p.toml:4: actions[0].payload: a date cannot stand here; write it as text in quotes",
        );
        check(of("fallback = [\n"), "placements/p.toml:1: unclosed array, expected `]`");

        check(
            release("name = \"\"").unwrap_err(),
            "release.toml:1: name: a name has 1 to 100 bytes and no control characters",
        );
        check(
            release("name = \"a\"\n[guard]\nmax_fault_rate = 2").unwrap_err(),
            "release.toml:3: guard.max_fault_rate: a share from 0 to 1 was expected",
        );
        check(
            release("name = \"a\"\n[holdout]\nsalt = \"h\"\nshare = \"10%\"").unwrap_err(),
            "release.toml:4: holdout.share: found the text \"10%\", but a number was expected",
        );
        check(
            release("name = \"a\"\n[guard]\nmax_fallback_increase = -0.1").unwrap_err(),
            "release.toml:3: guard.max_fallback_increase: a share from 0 to 1 was expected",
        );
        check(
            release("name = \"a\"\n[guard]\nmax_p99_ratio = 0.5").unwrap_err(),
            "release.toml:3: guard.max_p99_ratio: a number from 1 to 1000000 was expected",
        );
    }

    #[test]
    fn nearest_is_silent_when_nothing_is_near() {
        assert_eq!(nearest("windw", ["window", "name"]), Some("window"));
        assert_eq!(nearest("colour", ["window", "name"]), None);
        let long = "x".repeat(100);
        assert_eq!(nearest(&long, [long.as_str()]), None, "no typing mistake");
    }
}
