//! What a model learns from must be what the node decided by: every value of an aggregate that was recorded with a decision comes
//! out of the stream and out of the lake again, bit for bit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selvedge_build::release;
use selvedge_decision::aggregate::{Happening, State};
use selvedge_decision::gather::{Asked, ContextValue, Features, Request, Rows, gather};
use selvedge_decision::layout::{FeatureKind, NO_SYMBOL};
use selvedge_decision::{Plan, Record, TimeUs};
use selvedge_node::aggregates::{Block, Counted, Entities, Order, Part, States};
use selvedge_node::events::{Event, rfc3339};
use selvedge_node::features::Symbols;
use selvedge_node::link::NatsLink;
use selvedge_node::link::nats::events::BlockQuery;
use selvedge_node::outbox::Lane;
use selvedge_node::outbox::reader::{Entry, Item, Reader};
use selvedge_node::sessions::values;
use selvedge_suite::harness::shop::{Shop, number};
use selvedge_suite::harness::{Cli, Node, Random, Rig, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const ITEMS: [&str; 3] = ["sku-1", "sku-2", "sku-3"];
const SUBJECTS: u64 = 3;
/// Of sessions the first so many stay on their node, the others move.
const STAY: u64 = 4;
const SESSIONS: u64 = 6;

const ITEM: &str = r#"
[view.item]
by = "item"
[view.item.features]
category = "symbol"
price = "number"
stock = "number"
taste = { type = "vector", len = 3 }

[view.session]
by = "session"
[view.session.aggregates]
depth = { session = "depth" }
duration = { session = "duration" }
"#;

/// Every function.
const ALL: &str = r#"
all = { count = ["view_item", "add_to_cart", "other"] }
views = { count = "view_item", window = "12s" }
rate = { rate = "add_to_cart", over = ["view_item", "add_to_cart"], prior = [1, 20] }
sum = { sum = "add_to_cart", of = "value" }
mean = { mean = "view_item", of = "item.price" }
most = { max = ["view_item", "add_to_cart"], of = "value", window = "1m" }
least = { min = ["view_item", "add_to_cart"], of = "value" }
kinds = { distinct = "view_item", of = "item" }
fresh = { decayed_count = "view_item", half_life = "12s" }
since = { time_since = "add_to_cart" }
first = { first = "view_item", of = "item.price" }
last = { last = "view_item", of = "item.category" }
recent = { last_n = "view_item", of = "item", n = 2 }
taste = { decayed_mean = "view_item", of = "item.taste", half_life = "12s" }
"#;
const NUMBERS: [&str; 11] =
    ["all", "views", "rate", "sum", "mean", "most", "least", "kinds", "fresh", "since", "first"];

/// A release that records all that it knows, `home-hero` of sessions and `plp-rank` of all; and one placement to look how far
/// the counting is, which scores the events of the session times 10^12, of both times 10^8, of the item times 10^4, of the person.
fn shop(rig: &Rig) -> Result<Shop> {
    let shop = Shop::new(rig.path("recorded"), "recorded")?;
    let views = [("person", "\"subject\""), ("goods", "\"item\""), ("both", "[\"subject\", \"item\"]")];
    let views = views.map(|(name, by)| format!("[view.{name}]\nby = {by}\n[view.{name}.aggregates]\n{ALL}"));
    shop.file("features.toml", format!("{ITEM}{ALL}{}", views.concat()))?;
    let rest = "deadline = \"1s\"\nrecord = { inputs = 1.0 }\n";
    let hero = format!("actions = [{{ id = \"default\" }}]\nladder = [\"sessions\"]\nfallback = [\"default\"]\n{rest}");
    shop.placement("home-hero", &hero)?;
    let items = "candidates = { view = \"item\", from = \"request\" }\nslots = 3\nfallback = { by = \"goods.all\" }\n";
    shop.placement("plp-rank", &format!("{items}ladder = [\"everything\"]\n{rest}"))?;
    shop.placement("how-far", &format!("{items}ladder = [\"counts\"]\ndeadline = \"1s\"\n"))?;

    let input =
        |name: &str, scope: &str, rest: &str| format!("[[input]]\nname = {name:?}\nscope = {scope:?}\n{rest}\n");
    let all_of = |view: &str, scope: &str| {
        let of = |name: &str| format!("{view}.{name}");
        let recent = |item: &str| {
            let derive = format!("derive = {{ fn = \"contains\", of = \"{view}.recent\", text = {item:?} }}");
            let name = format!("{view}-saw-{item}");
            input(&name, scope, &format!("type = \"flag\"\nweight = 1.0\n{derive}"))
        };
        let mut text: String = NUMBERS.map(|name| number(&of(name), scope, 1.0)).concat();
        text += &input(&of("last"), scope, "type = \"symbol\"\nweights = { shoes = 1.0, hats = 2.0 }");
        text += &input(&of("taste"), scope, "type = \"vector\"\nweights = [1.0, 2.0, 3.0]");
        text + &ITEMS.map(recent).concat()
    };
    let session = ["depth", "duration"].map(|name| number(&format!("session.{name}"), "shared", 1.0)).concat()
        + &all_of("session", "shared");
    let begin = "link = \"identity\"\nintercept = 0.0\n";
    shop.model("sessions", &format!("{begin}{session}"))?;
    let others = all_of("person", "shared") + &all_of("goods", "candidate") + &all_of("both", "candidate");
    shop.model("everything", &format!("{begin}{session}{others}"))?;
    let counts = number("session.all", "shared", 1e12)
        + &number("person.all", "shared", 1.0)
        + &number("goods.all", "candidate", 1e4)
        + &number("both.all", "candidate", 1e8);
    shop.model("counts", &format!("{begin}{counts}"))?;
    Ok(shop)
}

/// What was told so far, by whom it is about.
#[derive(Default)]
struct Told(BTreeMap<String, f64>);

impl Told {
    fn event(&mut self, subject: &str, session: &str, item: &str) {
        for key in [subject.to_owned(), session.to_owned(), item.to_owned(), format!("{subject} {item}")] {
            *self.0.entry(key).or_default() += 1.0;
        }
    }

    /// Waits until a node has counted all of it.
    async fn counted(&self, node: &Node) -> Result<()> {
        let of = |key: &str| self.0.get(key).copied().unwrap_or(0.0);
        for at in 0..SUBJECTS.max(SESSIONS) {
            let (subject, session) = (format!("u-{}", at % SUBJECTS), format!("s-{}", at % SESSIONS));
            let body = json!({"placement": "how-far", "subject": subject, "session": session, "candidates": ITEMS});
            let expected = |item: &str| {
                of(&session) * 1e12 + of(&format!("{subject} {item}")) * 1e8 + of(item) * 1e4 + of(&subject)
            };
            let mut last = Value::Null;
            let counted = until("all that was told", LIMIT, async || {
                last = node.client().post("/v1/decide", &body).await.ok()?.ok().ok()?;
                let choices = last["choices"].as_array()?;
                let is_it = |choice: &Value| choice["score"].as_f64() == choice["id"].as_str().map(expected);
                (choices.len() == ITEMS.len() && choices.iter().all(is_it)).then_some(())
            });
            counted.await.with_context(|| format!("{}: {last}; told {:?}", node.spec.name, self.0))?;
        }
        Ok(())
    }
}

/// Rows as they were, out of events.
struct Again<'a> {
    plan: &'a Plan,
    states: HashMap<usize, BTreeMap<Arc<str>, State>>,
    symbols: Symbols,
    at: TimeUs,
}

impl Features for Again<'_> {
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        let aggregates = self.plan.views[view].aggregates.as_ref()?;
        let nothing = State::default();
        let state = self.states.get(&view)?.get(entity).unwrap_or(&nothing);
        aggregates.read(state, self.at, &|text| u64::from(self.symbols.intern(text)), cells);
        Some(state.last())
    }

    fn lag_us(&self, _: usize) -> i64 {
        0
    }

    fn symbol(&self, cell: u64) -> f64 {
        let text = u32::try_from(cell).ok().and_then(|cell| self.symbols.text(cell));
        if cell == NO_SYMBOL { f64::NAN } else { text.map_or(-1.0, |text| self.plan.symbols.number(&text)) }
    }

    fn number(&self, text: &str) -> f64 {
        self.plan.symbols.number(text)
    }

    fn text(&self, _: u64) -> Option<Arc<str>> {
        None
    }

    fn entities(&self, _: usize, _: usize) -> Result<Vec<Arc<str>>, usize> {
        Ok(Vec::new())
    }
}

#[test]
fn what_was_recorded_comes_out_of_the_stream_again_to_the_bit() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let items = [
            ("sku-1", "shoes", 19.99, [0.1, -2.5, 3.0]),
            ("sku-2", "hats", 7.01, [1e-3, 0.7, -0.3]),
            ("sku-3", "socks", 0.333, [5.0, 0.2, 9.9]),
        ];
        let rows = items.map(|(id, category, price, taste)| json!({"_key": id, "category": category, "price": price, "stock": 1.0, "taste": taste}));
        rig.push("item", rows.to_vec()).await?;
        let packed = rig.pack(&shop(&rig)?).await?;
        let release = rig.deploy(&packed).await?;
        let mut nodes = [ready(&rig, "edge-1", &release).await?, ready(&rig, "edge-2", &release).await?];
        let mut core = rig.core_features("core", &[]).await?;

        let link = rig.link().await?;
        let mut random = Random::new(11);
        let (mut told, mut settled, mut on_the_way) = (Told::default(), BTreeSet::new(), 0);
        for round in 0..3 {
            for step in 0..150 {
                let (session, subject) = (random.below(SESSIONS), format!("u-{}", random.below(SUBJECTS)));
                let at = if session < STAY { session % 2 } else { random.below(2) } as usize;
                let (node, text) = (&nodes[at], format!("s-{session}"));
                // A session that has come from elsewhere, or from an earlier run, is not told by its number alone.
                if random.below(4) == 0 && session < STAY && (round < 2 || at == 0) {
                    node.client()
                        .post("/v1/decide", &json!({"placement": "home-hero", "session": text}))
                        .await?
                        .ok()?;
                    on_the_way += 1;
                } else {
                    let name = ["view_item", "view_item", "add_to_cart", "other"][random.below(4) as usize];
                    let (item, value) = (ITEMS[random.below(3) as usize], random.below(1_000) as f64 / 7.0);
                    told.event(&subject, &text, item);
                    let event = json!({"name": name, "subject": subject, "session": text, "item": item, "properties": {"value": value}});
                    node.client().post("/v1/events", &event).await?.ok()?;
                }
                if step == 70 {
                    // Without a word, with events on their way to it.
                    core.kill()?;
                    core = rig.core_features("core", &[]).await?;
                }
            }
            for node in &nodes {
                told.counted(node).await.with_context(|| core.log_tail())?;
            }
            for node in &nodes {
                for at in 0..SESSIONS {
                    let body = json!({"placement": "plp-rank", "subject": format!("u-{}", at % SUBJECTS),
                        "session": format!("s-{at}"), "candidates": ITEMS});
                    let answer = node.client().post("/v1/decide", &body).await?.ok()?;
                    settled.insert(answer["decision_id"].as_str().context("an id")?.to_owned());
                }
            }
            if round == 1 {
                // And a run of a node ends, when its records are told: those of its last 5 ms a kill may take.
                Found::all(&link, on_the_way, settled.len()).await?;
                let [one, two] = nodes;
                let two = Node::start(two.kill()?).await?;
                two.runs(&release, LIMIT).await?;
                nodes = [one, two];
            }
        }

        let found = Found::all(&link, on_the_way, settled.len()).await?;
        let files = release::open(&std::fs::read(&packed)?, &release::Limits::default())?;
        let plan = release::definition(&files)?.compile()?;
        let mut not_empty = 0;
        for record in found.of("home-hero") {
            let states = found.session(&plan, record)?;
            not_empty += usize::from(states.values().flat_map(BTreeMap::values).any(|state| state.events() > 1));
            same(&plan, record, states)?;
        }
        ensure!(not_empty > on_the_way / 2, "{not_empty} of {on_the_way} had something to tell");
        for record in found.of("plp-rank") {
            ensure!(settled.contains(&record.id.to_string()), "{}", record.id);
            same(&plan, record, found.backfill(&plan, record.time_us).await?)?;
        }
        // The command says the same, of the stream, and without a core of a lake.
        let lake = rig.path("lake").display().to_string();
        rig.cli.run(["core", "lake", "--to", &lake, "--once", "--rows", "100"]).await?.ok()?;
        let alone = Cli::new("nats://127.0.0.1:1".to_owned());
        let last = found.of("plp-rank").max_by_key(|record| record.time_us).context("a record")?;
        let states = found.backfill(&plan, last.time_us).await?;
        for view in ["session", "person", "goods", "both"] {
            let folder = rig.path("recorded").display().to_string();
            let at = rfc3339::format(last.time_us);
            let ran = rig.cli.run(["features", "backfill", "--view", view, "--release", &folder, "--at", &at]).await?;
            let told = &ran.ok()?.stdout;
            let rows = told.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
            agree(&plan, view, &states, &rows, last.time_us)?;
            let args = ["features", "backfill", "--view", view, "--release", &folder, "--at", &at, "--lake", &lake];
            let ran = alone.run(args).await?;
            let of_lake = &ran.ok()?.stdout;
            ensure!(of_lake == told, "{view}: the lake says {of_lake}, the stream {told}");
        }
        Ok(())
    })
}

async fn ready(rig: &Rig, name: &str, release: &str) -> Result<Node> {
    let node = rig.node(name).await?;
    node.runs(release, LIMIT).await?;
    until("the items", LIMIT, async || (node.view("item").await.ok()?["entities"].as_u64()? >= 3).then_some(()))
        .await?;
    Ok(node)
}

/// Gathers what was recorded again, and compares.
fn same(plan: &Plan, record: &Record, states: HashMap<usize, BTreeMap<Arc<str>, State>>) -> Result<()> {
    let again = Again { plan, states, symbols: Symbols::default(), at: record.time_us };
    let request = Request {
        subject: record.subject.as_deref(),
        session: record.session.as_deref(),
        context: Vec::<ContextValue<'_>>::new(),
        ..Request::default()
    };
    let asked = Asked { request: &request, ids: &record.candidates, time_us: record.time_us, explain: false };
    let mut rows = Rows::default();
    gather(&plan.placements[&*record.placement], asked, &again, &mut rows);
    let bits = |row: &[f64]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let inputs = record.inputs.as_ref().context("inputs")?;
    for (found, recorded) in [(&rows.shared, &inputs.shared), (&rows.candidates, &inputs.candidates)] {
        let (id, placement) = (record.id, &record.placement);
        ensure!(bits(found) == bits(recorded), "{placement} {id}: {found:?}, recorded {recorded:?}");
    }
    Ok(())
}

/// Compares the numbers of a backfill's rows.
fn agree(
    plan: &Plan,
    view: &str,
    states: &HashMap<usize, BTreeMap<Arc<str>, State>>,
    rows: &[Value],
    at: TimeUs,
) -> Result<()> {
    let index = plan.view(view).context("the view")?;
    let (aggregates, states) = (plan.views[index].aggregates.as_ref().context("aggregates")?, &states[&index]);
    ensure!(rows.len() == states.len() && !rows.is_empty(), "{view}: {} rows, {} states", rows.len(), states.len());
    let mut cells = vec![0; aggregates.layout().cells()];
    for (row, (entity, state)) in rows.iter().zip(states) {
        aggregates.read(state, at, &|_| 0, &mut cells);
        for field in aggregates.layout().fields().iter().filter(|field| field.kind == FeatureKind::Number) {
            let expected = f64::from_bits(cells[field.cell as usize]);
            let found = row[&field.name].as_f64().unwrap_or(f64::NAN);
            ensure!(found.to_bits() == expected.to_bits(), "{view} {entity:?}: {found} in {row}, expected {expected}");
        }
    }
    Ok(())
}

/// What the stream holds.
#[derive(Default)]
struct Found {
    blocks: Vec<Block>,
    /// Of each session by node and run, by number.
    events: HashMap<String, BTreeMap<(String, u64), Event>>,
    records: Vec<Record>,
}

impl Found {
    /// Waits for so many records of both placements.
    async fn all(link: &NatsLink, on_the_way: usize, settled: usize) -> Result<Self> {
        let (mut last, mut why) = ((0, 0), String::new());
        let found = until("the records", LIMIT, async || match Self::read(link).await {
            Ok(found) => {
                last = (found.of("home-hero").count(), found.of("plp-rank").count());
                (last == (on_the_way, settled)).then_some(found)
            }
            Err(error) => {
                why = format!("{error:#}");
                None
            }
        });
        found.await.with_context(|| format!("{last:?} of {:?} records; {why}", (on_the_way, settled)))
    }

    async fn read(link: &NatsLink) -> Result<Self> {
        let (mut found, mut reader) = (Self::default(), Reader::new());
        let mut blocks = link.blocks(BlockQuery::default()).await?;
        while let Some(message) = blocks.next().await? {
            let mut is_events = false;
            for Entry { lane, seq, item, node, epoch, .. } in reader.block(&message.bytes)? {
                is_events |= lane == Lane::Events;
                match item {
                    Item::Event(event) if lane == Lane::Events => {
                        let session = event.session.clone().unwrap_or_default();
                        found.events.entry(session).or_default().insert((format!("{node} {epoch}"), seq), event);
                    }
                    Item::Event(_) => {}
                    Item::Record(record) => found.records.push(*record),
                }
            }
            if is_events {
                found.blocks.push(Block::read(&message.bytes, message.sequence)?);
            }
        }
        Ok(found)
    }

    fn of<'a>(&'a self, placement: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| &*record.placement == placement)
    }

    /// The state of a record's session, of which all events came to one run, its node's first, up to the one that it names.
    fn session(&self, plan: &Plan, record: &Record) -> Result<HashMap<usize, BTreeMap<Arc<str>, State>>> {
        let view = plan.view("session").context("a view of sessions")?;
        let aggregates = plan.views[view].aggregates.clone().context("aggregates")?;
        let session = record.session.clone().context("a session")?;
        let mut state = State::default();
        let events = self.events.get(&session);
        let first = events.and_then(|events| events.keys().next()).map(|(run, _)| run);
        for ((run, seq), event) in events.into_iter().flatten() {
            if Some(run) != first || *seq > record.session_seq {
                continue;
            }
            let values = values(&aggregates, event);
            let happening = Happening { name: &event.name, time_us: event.received_us, values: &values };
            aggregates.apply(&mut state, happening);
        }
        Ok(HashMap::from([(view, BTreeMap::from([(session.into(), state)]))]))
    }

    /// All views at a time, as `selvedge features backfill` counts them.
    async fn backfill(&self, plan: &Plan, at: TimeUs) -> Result<HashMap<usize, BTreeMap<Arc<str>, State>>> {
        let mut all = HashMap::new();
        for Counted { view, by, aggregates } in Counted::all(plan) {
            let mut states = States::new(aggregates, by, Part::WHOLE, Entities::in_memory());
            let mut order = Order::default();
            for block in &self.blocks {
                let ready = order.take(block.clone(), Instant::now());
                states.apply(ready.into_iter().map(|block| block.until(at)).collect()).await?;
            }
            ensure!(order.held() == 0 && order.missing() == 0);
            all.insert(plan.view(&view).context("the view")?, states.whole());
        }
        Ok(all)
    }
}
