#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use super::*;
use crate::definition::{AggregateDef, Names, SessionPart, Span};
use crate::layout::{NO_IDS, NO_SYMBOL, NO_TIME, id_hash, unpack};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// A whole number of half-hours and hours since 1970.
const START: TimeUs = 1_800_000_000 * SECOND;

/// `name = { .. }` of each, compiled; `item.taste` is a vector of 3, `item.category` a symbol, `item.price` a number.
fn aggregates(defs: &[(&str, AggregateDef)]) -> Aggregates {
    let defs: BTreeMap<String, AggregateDef> = defs.iter().map(|(name, def)| ((*name).into(), def.clone())).collect();
    compile(&defs, feature).unwrap()
}

fn feature(name: &str) -> Result<Feature, String> {
    let of = |field| Of::Feature { name: name.to_owned(), view: 0, field };
    match name {
        "item.bought" => Ok((of(3), FeatureKind::Ids, 8)),
        "item.category" => Ok((of(0), FeatureKind::Symbol, 1)),
        "item.since" => Ok((of(4), FeatureKind::Time, 1)),
        "item.price" => Ok((of(1), FeatureKind::Number, 1)),
        "item.taste" => Ok((of(2), FeatureKind::Vector, 3)),
        _ => Err(format!("there is no feature {name:?}")),
    }
}

fn of(name: &str) -> Option<Names> {
    Some(Names::One(name.into()))
}

fn minutes(n: i64) -> Option<Span> {
    Some(Span::from_us(n * MINUTE))
}

/// The row at `now`, numbers by name; a symbol's cell is the length of its text, a time in microseconds.
fn row(aggregates: &Aggregates, state: &State, now: TimeUs) -> BTreeMap<String, f64> {
    let mut cells = vec![0; aggregates.layout().cells()];
    aggregates.read(state, now, &|text| text.len() as u64, &mut cells);
    let value = |field: &crate::layout::Field| match field.kind {
        FeatureKind::Symbol if cells[field.cell as usize] == NO_SYMBOL => f64::NAN,
        FeatureKind::Symbol => cells[field.cell as usize] as f64,
        FeatureKind::Vector => f64::from(unpack(cells[field.cell as usize])[0]),
        FeatureKind::Time if cells[field.cell as usize] == NO_TIME => f64::NAN,
        FeatureKind::Time => cells[field.cell as usize] as i64 as f64,
        _ => f64::from_bits(cells[field.cell as usize]),
    };
    aggregates.layout().fields().iter().map(|field| (field.name.clone(), value(field))).collect()
}

struct Session<'a> {
    aggregates: &'a Aggregates,
    state: State,
}

impl Session<'_> {
    fn event(&mut self, name: &str, time_us: TimeUs, value: impl Fn(&Of) -> Option<Value>) {
        let values: Vec<Option<Value>> = self.aggregates.sources().iter().map(value).collect();
        self.aggregates.apply(&mut self.state, Happening { name, time_us, values: &values });
    }

    fn plain(&mut self, name: &str, time_us: TimeUs) {
        self.event(name, time_us, |_| None);
    }

    fn number(&self, name: &str, now: TimeUs) -> f64 {
        row(self.aggregates, &self.state, now)[name]
    }
}

fn session(aggregates: &Aggregates) -> Session<'_> {
    Session { aggregates, state: State::default() }
}

fn price(price: f64) -> impl Fn(&Of) -> Option<Value> {
    move |of| matches!(of, Of::Feature { field: 1, .. }).then_some(Value::Number(price))
}

#[test]
fn a_window_is_its_whole_buckets_and_the_current_one() {
    let all = aggregates(&[("views", AggregateDef { count: of("view"), window: minutes(12), ..Default::default() })]);
    let mut session = session(&all);
    // One a minute, half a minute into it.
    for minute in 0..20 {
        session.plain("view", START + minute * MINUTE + MINUTE / 2);
        session.plain("other", START + minute * MINUTE + MINUTE / 2);
    }
    assert_eq!(session.number("views", START + 19 * MINUTE + MINUTE / 2), 13.0);
    assert_eq!(session.number("views", START + 25 * MINUTE), 7.0);
    assert_eq!(session.number("views", START + 31 * MINUTE), 1.0);
    assert_eq!(session.number("views", START + 32 * MINUTE), 0.0);
    assert_eq!(session.number("views", START + 400_000 * MINUTE), 0.0);
}

#[test]
fn sums_do_not_depend_on_the_order_of_addition() {
    let def = |def: AggregateDef| AggregateDef { of: Some("item.price".into()), ..def };
    let all = aggregates(&[
        ("sum", def(AggregateDef { sum: of("buy"), ..Default::default() })),
        ("mean", def(AggregateDef { mean: of("buy"), ..Default::default() })),
        ("min", def(AggregateDef { min: of("buy"), ..Default::default() })),
        ("max", def(AggregateDef { max: of("buy"), ..Default::default() })),
    ]);
    let prices = [0.1, 0.2, 0.3, 1e12, -1e12, 59.9, f64::NAN, 2e12];
    let (mut there, mut back) = (session(&all), session(&all));
    prices.iter().for_each(|p| there.event("buy", START, price(*p)));
    prices.iter().rev().for_each(|p| back.event("buy", START, price(*p)));
    there.plain("buy", START);
    assert_eq!(there.number("sum", START), 60.5, "without what is no number or too large");
    assert_eq!(there.number("sum", START), back.number("sum", START));
    assert_eq!(there.number("mean", START), 60.5 / 6.0);
    assert_eq!((there.number("min", START), there.number("max", START)), (-1e12, 1e12));
    let empty = session(&all);
    assert_eq!(empty.number("sum", START), 0.0);
    assert!(empty.number("mean", START).is_nan(), "of nothing there is no mean");
}

#[test]
fn last_and_first_keep_values_and_time_since_counts_seconds() {
    let def = |def: AggregateDef| AggregateDef { of: Some("item.category".into()), ..def };
    let all = aggregates(&[
        ("first", def(AggregateDef { first: of("view"), ..Default::default() })),
        ("last", def(AggregateDef { last: of("view"), window: minutes(12), ..Default::default() })),
        ("since", AggregateDef { time_since: of("view"), ..Default::default() }),
    ]);
    let mut session = session(&all);
    for (at, text) in [(0, "a"), (1, "bb"), (2, "ccc")] {
        session.event("view", START + at * SECOND, |of| {
            matches!(of, Of::Feature { field: 0, .. }).then(|| Value::Text(text.into()))
        });
    }
    session.plain("view", START + 3 * SECOND);
    let now = START + 10 * SECOND;
    assert_eq!((session.number("first", now), session.number("last", now)), (1.0, 3.0));
    assert_eq!(session.number("since", now), 7.0);
    assert!(session.number("last", START + 14 * MINUTE).is_nan(), "outside its window");
}

#[test]
fn a_rate_starts_from_its_prior() {
    let def = AggregateDef { rate: of("cart"), over: of("view"), prior: Some([1.0, 3.0]), ..Default::default() };
    let all = aggregates(&[("rate", def)]);
    let mut session = session(&all);
    session.plain("other", START);
    assert_eq!(session.number("rate", START), 0.25);
    (0..3).for_each(|_| session.plain("view", START));
    session.plain("cart", START);
    assert_eq!(session.number("rate", START), 2.0 / 7.0);
}

#[test]
fn conditions_are_properties() {
    let conditions = [("list".to_owned(), Scalar::Text("search".into())), ("paid".to_owned(), Scalar::Flag(true))];
    let def = AggregateDef { count: of("view"), conditions: conditions.into(), ..Default::default() };
    let all = aggregates(&[("n", def)]);
    let mut session = session(&all);
    for (list, paid) in [("search", true), ("search", false), ("home", true)] {
        session.event("view", START, |of| match of {
            Of::Property(name) if name == "list" => Some(Value::Text(list.into())),
            Of::Property(_) => Some(Value::Flag(paid)),
            _ => None,
        });
    }
    session.plain("view", START);
    assert_eq!(session.number("n", START), 1.0);
}

#[test]
fn distinct_is_exact_up_to_its_bound() {
    let def = AggregateDef { distinct: of("view"), of: Some("item".into()), window: minutes(12), ..Default::default() };
    let all = aggregates(&[("n", def)]);
    let mut session = session(&all);
    let view = |session: &mut Session<'_>, n: i64, at| {
        session.event("view", at, |_| Some(Value::Text(format!("sku-{n}").into())));
    };
    for n in (0..40).chain(0..40) {
        view(&mut session, n, START);
    }
    assert_eq!(session.number("n", START), 40.0);
    (40..200).for_each(|n| view(&mut session, n, START + n * SECOND));
    assert_eq!(session.number("n", START + 200 * SECOND), 64.0);
    assert_eq!(session.number("n", START + 15 * MINUTE), 20.0, "those of the last thirteen buckets");
}

#[test]
fn the_last_different_ones_are_a_list_of_ids() {
    let def = AggregateDef {
        last_n: of("view"),
        of: Some("item".into()),
        n: Some(3),
        window: minutes(12),
        ..Default::default()
    };
    let all = aggregates(&[("list", def)]);
    let mut session = session(&all);
    let list = |session: &Session<'_>, now| {
        let mut cells = vec![0; all.layout().cells()];
        all.read(&session.state, now, &|_| 0, &mut cells);
        cells
    };
    let ids = |names: [&str; 3]| names.map(|name| if name.is_empty() { 0 } else { id_hash(name) }).to_vec();
    assert_eq!(list(&session, START)[0], NO_IDS, "nothing was seen");
    for (at, item) in ["a", "b", "a", "c", "d"].into_iter().enumerate() {
        session.event("view", START + at as i64 * MINUTE, |_| Some(Value::Text(item.into())));
        if at == 2 {
            assert_eq!(list(&session, START + 2 * MINUTE), ids(["a", "b", ""]), "each once, the last one first");
        }
    }
    assert_eq!(list(&session, START + 4 * MINUTE), ids(["d", "c", "a"]));
    assert_eq!(list(&session, START + 15 * MINUTE), ids(["d", "c", ""]), "what is within the window");
    assert_eq!(list(&session, START + 30 * MINUTE)[0], NO_IDS);
}

#[test]
fn what_fades_weighs_half_after_its_half_life() {
    let def = |def: AggregateDef| AggregateDef { half_life: minutes(30), ..def };
    let all = aggregates(&[
        ("count", def(AggregateDef { decayed_count: of("view"), ..Default::default() })),
        ("taste", def(AggregateDef { decayed_mean: of("view"), of: Some("item.taste".into()), ..Default::default() })),
    ]);
    let mut session = session(&all);
    let view = |session: &mut Session<'_>, x: f32, at| {
        session.event("view", at, |_| Some(Value::Vector([x, 0.0, 0.0].into())));
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    assert!(session.number("taste", START).is_nan());
    view(&mut session, 1.0, START + 7 * MINUTE);
    assert!(near(session.number("count", START + 7 * MINUTE), 1.0));
    assert!(near(session.number("count", START + 37 * MINUTE), 0.5));
    view(&mut session, -1.0, START + 37 * MINUTE);
    assert!(near(session.number("count", START + 67 * MINUTE), 0.75));
    assert!(near(session.number("taste", START + 67 * MINUTE), (0.5 - 1.0) / 1.5), "fading changes no mean");
    assert!(near(session.number("count", START + 67 * MINUTE + 40 * 30 * MINUTE), 0.0));
}

#[test]
fn a_session_tells_of_itself() {
    let part = |part| AggregateDef { session: Some(part), ..Default::default() };
    let all = aggregates(&[
        ("depth", part(SessionPart::Depth)),
        ("duration", part(SessionPart::Duration)),
        ("start", part(SessionPart::Start)),
    ]);
    let mut session = session(&all);
    assert!(session.number("start", START).is_nan(), "none has begun");
    session.plain("a", START);
    session.plain("b", START + 90 * SECOND);
    let now = START + 100 * SECOND;
    assert_eq!((session.number("depth", now), session.number("duration", now)), (2.0, 90.0));
    assert_eq!(session.number("start", now), START as f64);
}

/// Every function over every kind of value.
fn everything() -> Aggregates {
    let price = |def: AggregateDef| AggregateDef { of: Some("item.price".into()), window: minutes(12), ..def };
    aggregates(&[
        ("count", AggregateDef { count: of("view"), window: minutes(12), ..Default::default() }),
        ("decayed", AggregateDef { decayed_count: of("view"), half_life: minutes(1), ..Default::default() }),
        ("depth", AggregateDef { session: Some(SessionPart::Depth), ..Default::default() }),
        ("distinct", AggregateDef { distinct: of("view"), of: Some("item".into()), ..Default::default() }),
        ("duration", AggregateDef { session: Some(SessionPart::Duration), ..Default::default() }),
        ("first", AggregateDef { first: of("view"), of: Some("item".into()), ..Default::default() }),
        ("last", AggregateDef { last: of("buy"), of: Some("item".into()), ..Default::default() }),
        ("max", price(AggregateDef { max: of("view"), ..Default::default() })),
        ("mean", price(AggregateDef { mean: of("view"), ..Default::default() })),
        ("min", price(AggregateDef { min: of("buy"), ..Default::default() })),
        ("rate", AggregateDef { rate: of("buy"), over: of("view"), prior: Some([1.0, 9.0]), ..Default::default() }),
        ("recent", AggregateDef { last_n: of("view"), of: Some("item".into()), n: Some(5), ..Default::default() }),
        ("since", AggregateDef { time_since: of("buy"), ..Default::default() }),
        ("start", AggregateDef { session: Some(SessionPart::Start), ..Default::default() }),
        ("sum", price(AggregateDef { sum: of("buy"), ..Default::default() })),
    ])
}

fn some_events() -> Vec<(&'static str, TimeUs, f64)> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let mut now = START;
    (0..300)
        .map(|_| {
            now += next() % (20 * SECOND);
            (if next() % 4 == 0 { "buy" } else { "view" }, now, (next() % 10_000) as f64 / 100.0)
        })
        .collect()
}

fn values_of(price: f64) -> impl Fn(&Of) -> Option<Value> {
    move |of| match of {
        Of::Item => Some(Value::Text(format!("sku-{}", price as i64 % 90).into())),
        Of::Feature { field: 1, .. } => Some(Value::Number(price)),
        _ => None,
    }
}

/// A session that moves between nodes leaves a part of its state on each.
#[test]
fn parts_of_a_state_come_to_what_the_whole_does() {
    let all = everything();
    let (mut whole, mut parts) = (session(&all), [session(&all), session(&all), session(&all)]);
    for (at, (name, time_us, price)) in some_events().into_iter().enumerate() {
        whole.event(name, time_us, values_of(price));
        parts[at / 7 % 3].event(name, time_us, values_of(price));
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut merged = State::default();
            order.into_iter().for_each(|part| all.merge(&mut merged, &parts[part].state));
            let (found, expected) = (row(&all, &merged, time_us + SECOND), row(&all, &whole.state, time_us + SECOND));
            for (name, expected) in expected {
                // Which of more than 64 items were seen last is known to the whole only.
                if name != "distinct" || expected < MOST_DISTINCT as f64 {
                    assert_eq!(found[&name].to_bits(), expected.to_bits(), "{name} after {at} events");
                }
            }
        }
    }
}

/// What was passed by and comes when others behind it are counted.
#[test]
fn an_event_that_comes_late_is_not_the_last() {
    let item = |def: AggregateDef| AggregateDef { of: Some("item".into()), ..def };
    let taste = AggregateDef {
        decayed_mean: of("view"),
        of: Some("item.taste".into()),
        half_life: minutes(1),
        ..Default::default()
    };
    let all = aggregates(&[
        ("first", item(AggregateDef { first: of("view"), ..Default::default() })),
        ("last", item(AggregateDef { last: of("view"), ..Default::default() })),
        ("since", AggregateDef { time_since: of("view"), ..Default::default() }),
        ("taste", taste),
    ]);
    let value = |text: &'static str, x: f32| {
        move |of: &Of| match of {
            Of::Item => Some(Value::Text(text.into())),
            _ => Some(Value::Vector([x, 1.0, 1.0].into())),
        }
    };
    let mut session = session(&all);
    session.event("view", START + 2 * MINUTE, value("bb", 1.0));
    session.event("view", START + MINUTE, value("a", 4.0));
    let found = row(&all, &session.state, START + 3 * MINUTE);
    assert_eq!((found["first"], found["last"], found["since"]), (1.0, 2.0, 60.0));
    assert_eq!(found["taste"], 2.0, "(1 + 4 / 2) / (1 + 1 / 2)");
}

/// As JSON, to the bit.
fn sent(slot: &Slot) -> Slot {
    serde_json::from_slice(&serde_json::to_vec(slot).unwrap()).unwrap()
}

#[test]
fn a_state_survives_being_stored() {
    let all = everything();
    let mut session = session(&all);
    for (name, time_us, price) in some_events() {
        session.event(name, time_us, values_of(price));
    }
    let slot = sent(&all.slot(&session.state, 300));
    assert_eq!((slot.seq, slot.last()), (300, session.state.last()));
    assert_eq!(all.state(&slot), session.state);
    let nothing = all.state(&sent(&all.slot(&State::default(), 0)));
    assert_eq!(row(&all, &nothing, START).len(), row(&all, &State::default(), START).len());
    assert_eq!((nothing.last(), nothing.events()), (0, 0));
}

/// Two nodes may run two releases.
#[test]
fn a_slot_is_read_by_what_its_aggregates_mean() {
    let count = |name| AggregateDef { count: of(name), window: minutes(12), ..Default::default() };
    let theirs = aggregates(&[("a", count("view")), ("b", count("buy"))]);
    let ours = aggregates(&[("c", count("buy")), ("d", count("other"))]);
    let mut session = session(&theirs);
    session.plain("view", START);
    session.plain("buy", START);
    let state = ours.state(&sent(&theirs.slot(&session.state, 2)));
    assert_eq!(row(&ours, &state, START)["c"], 1.0);
    assert_eq!(row(&ours, &state, START)["d"], 0.0);
    assert_eq!(state.events(), 2);
}

/// What lies in a core is not always what a node put there.
#[test]
fn a_slot_that_cannot_be_does_no_harm() {
    let taste = AggregateDef {
        decayed_mean: of("view"),
        of: Some("item.taste".into()),
        half_life: minutes(1),
        ..Default::default()
    };
    let all = aggregates(&[
        ("count", AggregateDef { count: of("view"), window: minutes(12), ..Default::default() }),
        ("taste", taste),
    ]);
    let mut session = session(&all);
    session.event("view", START, |_| Some(Value::Vector([1.0, 2.0, 3.0].into())));
    let good = serde_json::to_value(all.slot(&session.state, 1)).unwrap();
    let text = good.to_string();
    for (from, to) in [
        ("\"newest\":", "\"newest\":-9223372036854775808, \"was\":"),
        ("\"buckets\":[", "\"buckets\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"),
        ("\"weight\":1.0", "\"weight\":-1.0"),
        ("\"sums\":[", "\"sums\":[0.0,"),
        ("\"Counts\"", "\"Shares\""),
    ] {
        assert!(text.contains(from), "{text}");
        let Ok(slot) = serde_json::from_str::<Slot>(&text.replace(from, to)) else { continue };
        let mut state = all.state(&slot);
        assert_ne!(state, session.state, "{from} is {to}");
        all.merge(&mut state, &session.state);
        row(&all, &state, START);
    }
}

#[test]
fn another_release_keeps_what_means_the_same() {
    let views = AggregateDef { count: of("view"), window: minutes(12), ..Default::default() };
    let before = aggregates(&[("a", views.clone()), ("b", AggregateDef { count: of("buy"), ..Default::default() })]);
    let mut session = session(&before);
    session.plain("view", START);
    session.plain("buy", START);
    let longer = AggregateDef { window: minutes(24), ..views.clone() };
    let after = aggregates(&[("renamed", views), ("longer", longer)]);
    let adopted = after.adopt(&before, &session.state);
    let found = row(&after, &adopted, START);
    assert_eq!((found["renamed"], found["longer"]), (1.0, 0.0));
}

/// A release numbers its views and fields anew; what an aggregate is made of goes by name.
#[test]
fn a_feature_is_known_by_its_name() {
    let def = |of: &str| {
        BTreeMap::from([(
            "x".to_owned(),
            AggregateDef { last: self::of("view"), of: Some(of.into()), ..Default::default() },
        )])
    };
    let at = |field| move |name: &str| Ok((Of::Feature { name: name.into(), view: 0, field }, FeatureKind::Number, 1));
    let (price, moved, other) = (
        compile(&def("item.price"), at(0)).unwrap(),
        compile(&def("item.price"), at(1)).unwrap(),
        compile(&def("item.margin"), at(0)).unwrap(),
    );
    let mut session = session(&price);
    session.event("view", START, |_| Some(Value::Number(7.0)));
    assert_eq!(row(&moved, &moved.adopt(&price, &session.state), START)["x"], 7.0);
    assert!(row(&other, &other.adopt(&price, &session.state), START)["x"].is_nan());
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let cases: &[(AggregateDef, &str)] = &[
        (AggregateDef::default(), "names no function"),
        (AggregateDef { count: of("a"), sum: of("a"), ..Default::default() }, "two functions, `count` and `sum`"),
        (AggregateDef { sum: of("a"), ..Default::default() }, "`sum` needs `of`"),
        (AggregateDef { sum: of("a"), of: Some("item.category".into()), ..Default::default() }, "`of` is a symbol"),
        (
            AggregateDef { sum: of("a"), of: Some("item.brand".into()), ..Default::default() },
            "no feature \"item.brand\"",
        ),
        (
            AggregateDef { count: of("a"), of: Some("value".into()), ..Default::default() },
            "`count` has no use for `of`",
        ),
        (AggregateDef { count: of("a"), window: Some(Span::from_us(5)), ..Default::default() }, "expected 12s to 400d"),
        (AggregateDef { last_n: of("a"), of: Some("item".into()), ..Default::default() }, "needs `n`"),
        (
            AggregateDef { last_n: of("a"), of: Some("item.price".into()), n: Some(3), ..Default::default() },
            "or a symbol",
        ),
        (
            AggregateDef { last_n: of("a"), of: Some("item".into()), n: Some(101), ..Default::default() },
            "expected 1 to 100",
        ),
        (AggregateDef { count: of("a"), n: Some(3), ..Default::default() }, "`count` has no use for `n`"),
        (AggregateDef { rate: of("a"), ..Default::default() }, "needs `over`"),
        (AggregateDef { decayed_count: of("a"), ..Default::default() }, "needs `half_life`"),
        (AggregateDef { count: Some(Names::Any(vec![])), ..Default::default() }, "names 0 events"),
        (AggregateDef { count: of(""), ..Default::default() }, "1 to 128 bytes"),
        (AggregateDef { first: of("a"), of: Some("item.taste".into()), ..Default::default() }, "`decayed_mean` takes"),
    ];
    for (def, reason) in cases {
        let found = compile(&BTreeMap::from([("x".to_owned(), def.clone())]), feature).unwrap_err();
        assert!(found[0].1.contains(reason), "{:?} does not say {reason:?}", found[0].1);
    }
}
