#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use selvedge_build::definitions;
use selvedge_decision::plan::Definition;
use selvedge_decision::record::Inputs;
use selvedge_decision::{DecisionId, Digest, Reason};

use super::*;

const KEY: &str = "p";

/// A plan of one placement, whose one module reads these inputs, each a name, a type and what else its manifest says.
fn plan(features: &str, placement: &str, inputs: &[(&str, &str, &str)]) -> Plan {
    let input = |(name, scope_and_type, more): &(&str, &str, &str)| {
        let (scope, kind) = scope_and_type.split_once(' ').unwrap();
        format!("{{\"name\":\"{name}\",\"scope\":\"{scope}\",\"type\":\"{kind}\"{more}}}")
    };
    let inputs: Vec<String> = inputs.iter().map(input).collect();
    let manifest = format!(
        "{{\"manifest\":1,\"name\":\"m\",\"inputs\":[{}],\"outputs\":[{{\"name\":\"score\",\"type\":\"number\"}}],\
         \"limits\":{{\"rows\":9,\"memory_bytes\":1}}}}",
        inputs.join(",")
    );
    let placement = format!("{placement}\nladder = [\"m\"]\n");
    let definition = Definition {
        release: definitions::release("name = \"r\"").unwrap(),
        features: definitions::features(features).unwrap(),
        placements: BTreeMap::from([(KEY.to_owned(), definitions::placement("p.toml", &placement).unwrap())]),
        modules: BTreeMap::from([("m".to_owned(), serde_json::from_str(&manifest).unwrap())]),
        tables: BTreeMap::new(),
    };
    Plan::compile(&definition).unwrap()
}

fn record(candidates: &[&str], shared: &[f64], rows: &[f64], max_lag_ms: u32) -> Record {
    Record {
        id: DecisionId::new(1_000_000, 1, 2),
        time_us: 1_000_000,
        seed: 0,
        release: Digest::of(b"r"),
        core: 1,
        placement: KEY.into(),
        subject: Some("u".into()),
        session: None,
        lots: vec![],
        slots: 1,
        candidates: candidates.iter().map(|id| Arc::from(*id)).collect(),
        choices: vec![],
        values: vec![],
        reason: Reason::Scored,
        experiment: None,
        arm: None,
        faults: vec![],
        max_lag_ms,
        session_seq: 0,
        shadows: vec![],
        model: None,
        inputs: Some(Inputs {
            rate: 1.0,
            shared: shared.to_vec(),
            candidates: rows.to_vec(),
            refused: vec![],
            explores: true,
            learned: vec![],
        }),
    }
}

/// The rows of `to`, and what its module asks for that is not there.
fn carried(of: &Plan, to: &Plan, record: &Record) -> Result<(Rows, Option<String>), String> {
    let (from, into) = (&of.placements[KEY], &to.placements[KEY]);
    let carry = Carry::new((of, from), (to, into), false);
    let rows = carry.rows(record, from, (to, into))?;
    let unknown = carry.unknown_to(&rows, 0).map(str::to_owned);
    Ok((rows, unknown))
}

const USER: &str = "[view.user]\nby = \"subject\"\n[view.user.features]\n";
const ITEMS: &str = "[view.item]\nby = \"item\"\n[view.item.features]\nprice = \"number\"\n";
const ACTIONS: &str = "actions = [{ id = \"a\" }, { id = \"b\" }]\nfallback = [\"a\"]";

#[test]
fn columns_are_matched_by_what_they_say() {
    let features = format!("{USER}age = \"number\"\nvalue = \"number\"\nsegment = \"symbol\"\n{ITEMS}");
    let placement = "candidates = { view = \"item\", from = \"request\" }\nfallback = { by = \"item.price\" }";
    let of = plan(
        &features,
        placement,
        &[("user.segment", "shared symbol", ",\"symbols\":[\"x\",\"y\"]"), ("user.value", "shared number", "")],
    );
    let to = plan(
        &features,
        placement,
        &[("user.segment", "candidate symbol", ",\"symbols\":[\"a\",\"y\"]"), ("user.value", "shared number", "")],
    );
    let (segment, value) = (&of.placements[KEY].shared, &to.placements[KEY]);
    assert_eq!(segment.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["user.segment", "user.value"]);
    // The request's segment, repeated in each candidate's row, under the other release's number of "y".
    let y = to.symbols.number("y");
    let (rows, unknown) =
        carried(&of, &to, &record(&["i", "j"], &[of.symbols.number("y"), 7.0], &[1.0, 2.0], 0)).unwrap();
    assert_eq!((rows.shared, unknown), (vec![7.0], None));
    let width = value.candidate_width;
    let of_segment = value.candidate.iter().find(|column| column.name == "user.segment").unwrap().at;
    assert_eq!([rows.candidates[of_segment], rows.candidates[width + of_segment]], [y, y]);
    // "x" is known to the first alone and told from nothing by the second; of what the first did not know it might be "a".
    let of_text = |number: f64| carried(&of, &to, &record(&["i"], &[number, 7.0], &[1.0], 0)).unwrap().1;
    assert_eq!(of_text(of.symbols.number("x")), None);
    assert_eq!(of_text(-1.0), Some("user.segment".to_owned()));
    assert_eq!(of_text(f64::NAN), None);
}

#[test]
fn what_no_record_says_is_named() {
    let check = |of: (&str, &str, &str), to: (&str, &str, &str), shared: f64, expected: Option<&str>| {
        let of = plan(of.0, &format!("{}\n{ACTIONS}", of.1), &[(of.2, "shared number", "")]);
        let to = plan(to.0, &format!("{}\n{ACTIONS}", to.1), &[(to.2, "shared number", "")]);
        let found = carried(&of, &to, &record(&["a", "b"], &[shared], &[], 0)).map(|(_, unknown)| unknown);
        assert_eq!(found, Ok(expected.map(str::to_owned)), "{shared}");
    };
    let plain = format!("{USER}age = \"number\"\nvalue = \"number\"\n");
    let zero = format!("{USER}age = {{ type = \"number\", default = 0.0 }}\n");
    let one = format!("{USER}age = {{ type = \"number\", default = 1.0 }}\n");
    let ttl = format!("{USER}age = {{ type = \"number\", ttl = \"1h\" }}\n");
    let pii = format!("{USER}age = {{ type = \"number\", pii = true }}\n");
    let of = |features: &str| (features.to_owned(), String::new());
    let all = [&plain, &zero, &one, &ttl, &pii].map(|features| of(features));
    let [plain, zero, one, ttl, pii] = &all;
    let age = |of: &'static str| of;
    let side = |of: &'static str, (features, placement): &(String, String)| (features.clone(), placement.clone(), of);
    let cases = [
        (side(age("user.age"), plain), side("user.value", plain), 5.0, Some("user.value")),
        (side("user.age", zero), side("user.age", one), 0.0, Some("user.age")),
        (side("user.age", zero), side("user.age", one), 5.0, None),
        (side("user.age", plain), side("user.age", one), f64::NAN, None),
        (side("user.age", plain), side("user.age", ttl), 5.0, Some("user.age")),
        (side("user.age", pii), side("user.age", plain), f64::NAN, Some("user.age")),
    ];
    for (of, to, shared, expected) in &cases {
        check((&of.0, &of.1, of.2), (&to.0, &to.1, to.2), *shared, *expected);
    }
    let counted = |window: &str| {
        format!(
            "[view.visit]\nby = \"session\"\n[view.visit.aggregates]\nviews = {{ count = \"view_item\", window = \"{window}\" }}\n"
        )
    };
    let (short, long) = (counted("30m"), counted("60m"));
    check((&short, "", "visit.views"), (&short, "", "visit.views"), 3.0, None);
    check((&short, "", "visit.views"), (&long, "", "visit.views"), 3.0, Some("visit.views"));
    let context = "context = { a = \"number\", b = \"number\" }";
    check(("", context, "context.a"), ("", context, "context.b"), 3.0, Some("context.b"));
    check(("", context, "context.b"), ("", "context = { b = \"number\" }", "context.b"), 3.0, None);
}

#[test]
fn a_lag_matters_where_releases_disagree_on_it() {
    let late = |max_lag: &str| {
        let view = format!(
            "[view.user]\nby = \"subject\"\nmax_lag = \"{max_lag}\"\nlate = \"refuse\"\n[view.user.features]\nage = \"number\"\n"
        );
        plan(&view, ACTIONS, &[("user.age", "shared number", "")])
    };
    let check = |max_lag_ms: u32, is_known: bool| {
        let found = carried(&late("1s"), &late("5s"), &record(&["a", "b"], &[1.0], &[], max_lag_ms));
        assert_eq!(found.is_ok(), is_known, "{max_lag_ms}: {found:?}");
    };
    check(1_000, true);
    check(1_001, false);
    assert!(carried(&late("1s"), &late("1s"), &record(&["a", "b"], &[1.0], &[], 9_000)).is_ok());
}

#[test]
fn candidates_are_those_the_other_release_has() {
    let with = |actions: &str, more: &[(&str, &str, &str)]| {
        let id = [("candidate.id", "candidate symbol", ",\"symbols\":[\"a\",\"b\",\"c\"]")];
        plan(ITEMS, &format!("actions = [{actions}]\nfallback = [\"a\"]\nslots = 1"), &[&id, more].concat())
    };
    let two = "{ id = \"a\" }, { id = \"b\" }";
    let three = "{ id = \"a\" }, { id = \"c\" }, { id = \"b\" }";
    let (of, to) = (with(two, &[]), with(three, &[]));
    let numbers = |plan: &Plan, ids: &[&str]| ids.iter().map(|id| plan.symbols.number(id)).collect::<Vec<_>>();
    let ids = |rows: &Rows| rows.ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (rows, unknown) = carried(&of, &to, &record(&["a", "b"], &[], &numbers(&of, &["a", "b"]), 0)).unwrap();
    assert_eq!((ids(&rows), unknown), (vec!["a".to_owned(), "c".into(), "b".into()], None));
    assert_eq!(rows.candidates, numbers(&to, &["a", "c", "b"]));
    // A request that named one, or a page that had shown the other: the new one was not asked for.
    let (rows, _) = carried(&of, &to, &record(&["b"], &[], &numbers(&of, &["b"]), 0)).unwrap();
    assert_eq!(ids(&rows), ["b"]);
    // Of a new action no features are recorded.
    let price = [("item.price", "candidate number", "")];
    let (of, to) = (with(two, &price), with(three, &price));
    let width = of.placements[KEY].candidate_width;
    let (_, unknown) = carried(&of, &to, &record(&["a", "b"], &[], &vec![1.0; 2 * width], 0)).unwrap();
    assert_eq!(unknown.as_deref(), Some("item.price"));
}
