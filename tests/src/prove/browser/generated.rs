//! Decisions of a shop whose modules are real: rules, linear models and trees, three kinds of policies, experiments, limits, values of
//! every type, some of them missing. Requests and rows are by chance; the modules run natively in the host, in JavaScript as a page
//! runs them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_build::keys::SigningKey;
use selvedge_build::module;
use selvedge_build::release::{self, Limits};
use selvedge_decision::definition::Unit;
use selvedge_decision::layout::{FeatureKind, id_hash, pack};
use selvedge_decision::page::{PAGE_VERSION, PageRelease, PageRows, PageTable, PageView, Whose};
use selvedge_decision::{Fault, Plan, TimeUs};
use selvedge_engine::engine::{Ask, Value as Given};
use selvedge_host::{Host, HostConfig, Module};
use serde_json::json;

use super::{Called, Findings, Scale, World, digest};
use crate::harness::shop::Shop;
use crate::harness::{Random, xgboost};

/// 2026-11-23T12:00:00Z.
const NOW_US: TimeUs = 1_795_435_200_000_000;
const ITEMS: usize = 40;
const SUBJECTS: usize = 30;
const TEXTS: [&str; 6] = ["shoes", "hats", "socks", "vip", "new", "unheard of"];
const COUNTRIES: [&str; 3] = ["DE", "FR", "XX"];

const FEATURES: &str = r#"
[view.user]
by = "subject"
browser = true
max_lag = "1s"
late = "use"
[view.user.features]
segment = { type = "symbol", default = "new" }
value = { type = "number", default = 1.5 }
taste = { type = "vector", len = 5 }
since = "time"
seen = { type = "ids", len = 3 }
member = "flag"
[view.visit]
by = "session"
browser = true
[view.visit.features]
views = "number"
[view.item]
by = "item"
browser = true
[view.item.features]
category = "symbol"
price = { type = "number", ttl = "1h", old = "refuse" }
margin = "f32"
stock = "number"
taste = { type = "vector", len = 5 }
fresh = "time"
secret = "number"
[view.promo]
by = ["item", "context.country"]
browser = true
[view.promo.features]
off = "number"
"#;

const HERO: &str = r#"
browser = true
context = { country = "symbol", cart = "number", mobile = "flag" }
actions = [{ id = "a" }, { id = "b" }, { id = "c" }, { id = "d" }]
slots = 2
rules = ["perks"]
ladder = ["hero"]
choose = { policy = "epsilon", epsilon = 0.3, floor = 0.01 }
fallback = ["c"]
record = { inputs = 1.0 }
[[experiment]]
key = "cheap"
unit = "subject"
overrides = { "u-1" = "trees" }
arms = [{ name = "none", weight = 50 }, { name = "trees", weight = 30, ladder = ["trees", "hero"] }, { name = "soft", weight = 20, choose = { policy = "softmax", temperature = 0.2 } }]
"#;

const OFFERS: &str = r#"
browser = true
actions = [{ id = "x" }, { id = "y" }, { id = "z" }]
slots = 2
choose = { policy = "thompson", reward = "click", floor = 0.02 }
fallback = ["x"]
record = { inputs = 1.0 }
"#;

const RANK: &str = r#"
browser = true
context = { country = "symbol", cart = "number" }
candidates = { view = "item", from = "request" }
slots = 6
ladder = ["rank"]
choose = { policy = "softmax", temperature = 0.5 }
fallback = { by = "item.margin" }
record = { inputs = 0.5 }
[limits]
above = { "item.stock" = 0 }
max_per = { "item.category" = 2 }
min_share = [{ of = "item.category", is = "hats", share = 0.2 }]
"#;

const ALL: &str = r#"
browser = true
candidates = { view = "item", from = "view" }
slots = 3
ladder = ["rank-all"]
fallback = { by = "item.stock" }
record = { inputs = 1.0 }
[shadow]
scorers = ["dear"]
share = 0.5
"#;

const PERKS: &str = "user.segment: symbol,context.country: symbol,candidate.id: symbol,> boost: number,> eligible: flag,> badge\n\
    vip,,,1.5,,gold\n\
    ,DE,b,2,,\n\
    ,FR,d,,false,\n";

const HERO_MODEL: &str = r#"
link = "logistic"
intercept = -0.3
[[input]]
name = "candidate.id"
scope = "candidate"
type = "symbol"
weights = { a = 0.5, b = -0.25, c = 0.125 }
[[input]]
name = "user.segment"
scope = "shared"
type = "symbol"
weights = { vip = 0.7, new = -0.2 }
[[input]]
name = "user.value"
scope = "shared"
type = "number"
weight = 0.001
[[input]]
name = "user.member"
scope = "shared"
type = "flag"
weight = 0.3
[[input]]
name = "context.cart"
scope = "shared"
type = "number"
weight = 0.01
[[input]]
name = "age"
scope = "shared"
type = "number"
weight = -0.0000001
derive = { fn = "age", of = "user.since" }
[[input]]
name = "minute"
scope = "shared"
type = "number"
weight = 0.0001
derive = { fn = "minute_of_day" }
[[input]]
name = "visit.views"
scope = "shared"
type = "number"
weight = 0.05
"#;

const RANK_MODEL: &str = r#"
link = "identity"
[[input]]
name = "item.price"
scope = "candidate"
type = "number"
weight = -0.013
[[input]]
name = "item.margin"
scope = "candidate"
type = "number"
weight = 0.3
[[input]]
name = "item.category"
scope = "candidate"
type = "symbol"
weights = { shoes = 0.7, hats = -0.2 }
[[input]]
name = "like"
scope = "candidate"
type = "number"
weight = 0.8
derive = { fn = "cosine", a = "user.taste", b = "item.taste" }
[[input]]
name = "seen"
scope = "candidate"
type = "flag"
weight = -0.5
derive = { fn = "includes", of = "user.seen", id = "candidate.id" }
[[input]]
name = "sh"
scope = "candidate"
type = "flag"
weight = 0.2
derive = { fn = "starts_with", of = "item.category", text = "sh" }
[[input]]
name = "promo.off"
scope = "candidate"
type = "number"
weight = 0.9
"#;

const ALL_MODEL: &str = r#"
link = "identity"
[[input]]
name = "item.stock"
scope = "candidate"
type = "number"
weight = 0.5
[[input]]
name = "fresh"
scope = "candidate"
type = "number"
weight = -0.00001
derive = { fn = "age", of = "item.fresh" }
"#;

const DEAR_MODEL: &str =
    "link = \"identity\"\n[[input]]\nname = \"item.stock\"\nscope = \"candidate\"\ntype = \"number\"\nweight = 2.0\n";

/// The release, and what runs its modules natively.
struct Built {
    plan: Plan,
    modules: Vec<Module>,
    cores: Vec<Vec<u8>>,
}

pub(super) fn worlds(scale: Scale, findings: &mut Findings) -> Result<Vec<World>> {
    let built = Built::new()?;
    let mut random = Random::new(scale.seed);
    let mut world = World::new("generated".into(), &built.plan);
    for (at, core) in built.cores.iter().enumerate() {
        world.modules.push(json!({"index": at, "wasm": format!("{at}.wasm")}));
        world.files.insert(format!("{at}.wasm"), core.clone());
    }
    let page = PageRelease::from_bytes(&world.release)?;
    findings.check(page.placements.len() == 4, || {
        format!("a page decides {:?}", page.placements.keys().collect::<Vec<_>>())
    });
    let mut engine = world.engine()?;
    let mut modules = Called(|module: usize, shared: &[f64], rows: &[f64], count| {
        let module = built.modules.get(module).ok_or(Fault::Refused)?;
        module.evaluate(shared, rows, count, Duration::from_secs(5))
    });
    let texts: Vec<&str> = TEXTS.to_vec();
    let rounds = scale.pick(1_000, 40);
    for _ in 0..rounds {
        // Everybody's rows, which change now and then, then those of one after another.
        let all = tables(&page, &built.plan, None, &mut random);
        world.take(&mut engine, &rows(&texts, &all, false, (None, None)))?;
        for _ in 0..100 {
            let subject = format!("u-{}", random.below(SUBJECTS as u64));
            let session = format!("s-{}", random.below(50));
            let own = tables(&page, &built.plan, Some((&subject, &session)), &mut random);
            let mut rows = rows(&texts, &own, true, (Some(&subject), Some(&session)));
            rows.learned = learned(&built.plan, &mut random);
            rows.frozen = if random.below(10) == 0 { vec!["offers"] } else { vec![] };
            rows.overrides = overrides(&built.plan, &subject);
            let key = *random.pick(&["hero", "offers", "rank", "all"]);
            let items: Vec<String> = (0..random.below(12)).map(|_| format!("sku-{}", random.below(50))).collect();
            let items: BTreeSet<&str> = items.iter().map(String::as_str).collect();
            let given = |name: &str, random: &mut Random| match (name, random.below(4)) {
                (_, 0) => Given::Missing,
                ("country", at) => Given::Symbol(COUNTRIES[at as usize - 1]),
                ("mobile", at) => Given::Flag(at == 1),
                (_, _) => Given::Number(random.unit() * 300.0),
            };
            let context = built.plan.placements[key].context.iter().map(|(name, _)| given(name, &mut random)).collect();
            let ask = Ask {
                placement: key,
                context,
                candidates: (key == "rank").then(|| items.into_iter().collect()),
                taken: if random.below(5) == 0 { vec!["a", "sku-3", "sku-4"] } else { vec![] },
                slots: (random.below(2) == 0).then(|| 1 + random.below(8) as u32),
                tz_offset_min: random.below(1_440) as i32 - 720,
            };
            world.ask(&mut engine, &mut modules, &rows, &ask, |_| None, findings)?;
        }
    }
    Ok(vec![world])
}

impl World {
    /// Rows for whatever is asked later.
    fn take(&mut self, engine: &mut selvedge_engine::engine::Engine, rows: &PageRows<'_>) -> Result<()> {
        let bytes = rows.to_bytes();
        engine.take(&bytes, 0).map_err(|bad| anyhow::anyhow!("{}: {bad}", self.name))?;
        self.ops.push(super::Op::Rows(bytes));
        Ok(())
    }
}

// === impl Built ===

impl Built {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let shop = Shop::new(folder.path(), "parity")?;
        shop.file("features.toml", FEATURES)?.file("modules/perks.csv", PERKS)?;
        shop.placement("hero", HERO)?.placement("offers", OFFERS)?.placement("rank", RANK)?.placement("all", ALL)?;
        shop.model("hero", HERO_MODEL)?.model("rank", RANK_MODEL)?;
        shop.model("rank-all", ALL_MODEL)?.model("dear", DEAR_MODEL)?;
        let names = ["user.value", "visit.views", "context.cart"];
        shop.file("modules/trees.json", xgboost::model(&names, 100, 6, 1))?;
        let packed = release::pack(folder.path(), &SigningKey::generate()?)?;
        let files = release::open(&packed.bytes, &Limits::default())?;
        let contents = release::definition(&files)?;
        let plan = contents.compile()?;
        let host = Host::new(HostConfig { instances: 4, ..HostConfig::default() })?;
        let (mut modules, mut cores) = (Vec::new(), Vec::new());
        for name in &plan.modules {
            let module = contents.modules.get(name).context("a module")?;
            modules.push(host.load(module.bytes, &module.file.manifest)?);
            cores.push(module::lift(module.bytes)?.to_vec());
        }
        Ok(Self { plan, modules, cores })
    }
}

/// An action, its rewards and misses.
type Learned<'a> = (&'a str, [f64; 2]);

/// A view's rows, until they go out.
struct Table {
    view: u32,
    lag_us: i64,
    entities: Vec<String>,
    times_us: Vec<TimeUs>,
    cells: Vec<u8>,
}

/// Rows by chance: everybody's, or those of a subject and a session, who have none now and then.
fn tables(page: &PageRelease, plan: &Plan, of: Option<(&str, &str)>, random: &mut Random) -> Vec<Table> {
    let mut tables = Vec::new();
    for (at, view) in &page.views {
        let entities: Vec<String> = match (view.whose, of) {
            (Whose::All, None) if plan.views[*at as usize].name == "promo" => {
                (0..ITEMS).map(|item| format!("sku-{item}\0{}", random.pick(&COUNTRIES))).collect()
            }
            (Whose::All, None) => (0..ITEMS).map(|item| format!("sku-{item}")).collect(),
            (Whose::Subject, Some((subject, _))) => vec![subject.to_owned()],
            (Whose::Session, Some((_, session))) => vec![session.to_owned()],
            _ => continue,
        };
        let is_there = |_: &String| random.below(8) > 0;
        let mut entities: Vec<String> = entities.into_iter().filter(is_there).collect();
        entities.sort();
        let mut table =
            Table { view: *at, lag_us: random.below(2_000_000) as i64, entities, times_us: vec![], cells: vec![] };
        for _ in 0..table.entities.len() {
            table.times_us.push(NOW_US - random.below(7_200_000_000) as i64);
            table.cells.extend(row(plan, *at, view, random));
        }
        tables.push(table);
    }
    tables
}

/// The cells of a row that a page gets.
fn row(plan: &Plan, at: u32, view: &PageView, random: &mut Random) -> Vec<u8> {
    let layout = &plan.views[at as usize].layout;
    let mut cells = layout.missing_row();
    for field in layout.fields() {
        if random.below(6) == 0 {
            continue;
        }
        for cell in &mut cells[field.cell as usize..field.cell as usize + field.cells()] {
            *cell = match field.kind {
                FeatureKind::Number if field.name == "stock" => (random.below(4) as f64).to_bits(),
                FeatureKind::Number => (random.unit() * 200.0).to_bits(),
                FeatureKind::F32 => u64::from((random.unit() as f32).to_bits()),
                FeatureKind::Flag => f64::from(u8::from(random.below(2) == 0)).to_bits(),
                FeatureKind::Time => (NOW_US - random.below(90_000_000_000) as i64) as u64,
                FeatureKind::Symbol => random.below(TEXTS.len() as u64),
                FeatureKind::Vector => pack(random.unit() as f32 - 0.5, random.unit() as f32 - 0.5),
                FeatureKind::Ids => id_hash(&format!("sku-{}", random.below(ITEMS as u64))),
                FeatureKind::Text => 0,
            };
        }
    }
    view.used.iter().flat_map(|cell| cells[*cell as usize].to_le_bytes()).collect()
}

fn rows<'a>(texts: &[&'a str], tables: &'a [Table], own: bool, of: (Option<&'a str>, Option<&'a str>)) -> PageRows<'a> {
    let (subject, session) = of;
    let tables = tables.iter().map(|table| PageTable {
        view: table.view,
        lag_us: table.lag_us,
        entities: table.entities.iter().map(String::as_str).collect(),
        times_us: table.times_us.clone(),
        cells: &table.cells,
    });
    PageRows {
        version: PAGE_VERSION,
        release: digest().0,
        time_us: NOW_US,
        own,
        subject,
        session,
        texts: texts.to_vec(),
        tables: tables.collect(),
        ..PageRows::default()
    }
}

fn learned<'a>(plan: &'a Plan, random: &mut Random) -> Vec<(u32, Vec<Learned<'a>>)> {
    let of = plan.bandits.iter().zip(0..).map(|(bandit, at)| {
        let counts =
            bandit.actions.iter().map(|action| (&**action, [random.below(50) as f64, random.below(900) as f64]));
        (at, counts.collect())
    });
    of.collect()
}

fn overrides<'a>(plan: &'a Plan, subject: &str) -> Vec<(&'a str, u32, u32)> {
    let mut found = Vec::new();
    for (key, placement) in &plan.placements {
        for (experiment, at) in placement.experiments.iter().zip(0..) {
            if let (Unit::Subject, Some(arm)) = (experiment.unit, experiment.overrides.get(subject)) {
                found.push((key.as_str(), at, *arm as u32));
            }
        }
    }
    found
}
