//! An answer never fails: while every tenth module call is made to fail, by traps, loops, memory and NaN, and the link to the core
//! is down half of the time, every decision is answered. How long the slowest take is told beside what the machine does to a
//! thread that only spins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Findings, Scale, state};
use crate::harness::{Client, Line, Node, NodeSpec, Proxy, Random, Rig, wait};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_millis(20);
const PRICE: f64 = 7.5;
const ITEMS: usize = 8;
const CONNECTIONS: u64 = 2;
/// One call in so many fails.
const EVERY: u64 = 10;
/// A trap, a loop, memory and NaN.
const GUESTS: [&str; 4] = ["trap", "endless_loop", "memory_bomb", "nan"];
/// How long a spin of the bare spinner takes by itself, and how often it spins.
const SPIN: Duration = Duration::from_millis(1);
const SPIN_EVERY: Duration = Duration::from_millis(10);

/// What came of one connection's decisions.
#[derive(Debug, Default)]
struct Answers {
    took_us: Vec<u32>,
    /// By reason, and by which rung answered.
    by: BTreeMap<String, u64>,
    failed: Vec<String>,
}

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let (wanted, half) = scale.pick((1_000_000, Duration::from_secs(5)), (2_000, Duration::from_millis(500)));
    let rig = Rig::start().await?;
    let items = (0..ITEMS).map(|at| json!({"_key": format!("sku-{at}"), "price": PRICE, "stock": at}));
    rig.push("item", items).await?;
    let shop = state::priced_shop(&rig, 1)?;
    // A tenth of these decisions has a fault, on purpose: the node shall not take the release back.
    shop.file("release.toml", "name = \"failing\"\n[guard]\nmax_fault_rate = 1.0\n")?;
    for guest in GUESTS {
        shop.module(guest, &modules::hostile(guest)?)?.placement(guest, &placement(guest))?;
    }
    let release = rig.deploy(shop.folder()).await?;
    let proxy = Proxy::start(rig.nats.port(), scale.seed).await?;
    let node = Node::start(NodeSpec { nats: proxy.url(), ..rig.spec("edge-1") }).await?;
    node.runs(&release, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let spinner = spin(Arc::clone(&stop))?;
    let asked = Arc::new(AtomicU64::new(0));
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|at| tokio::spawn(ask(node.http, Random::new(scale.seed ^ at << 32), Arc::clone(&asked), wanted)))
        .collect();
    let start = Instant::now();
    let mut down = Duration::ZERO;
    while connections.iter().any(|connection| !connection.is_finished()) {
        let cut = Instant::now();
        proxy.set(Line::Cut);
        wait::pass(half).await;
        proxy.set(Line::Whole);
        down += cut.elapsed();
        wait::pass(half).await;
    }
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    let mut all = Answers::default();
    for connection in connections {
        all.add(connection.await??);
    }
    let mut late_us = spinner.join().map_err(|_| anyhow::anyhow!("the spinner ended"))?;

    let mut findings = Findings::default();
    let failed = all.failed.len() as u64;
    findings.count(all.took_us.len() as u64 + failed, failed, || format!("not answered: {:?}", all.failed.first()));
    let faults = node.metrics().await?.sum("selvedge_faults_total", &[]);
    ensure!(
        faults * 2.0 > wanted as f64 / EVERY as f64,
        "{faults} faults in {wanted} decisions are too few to prove much"
    );
    let (share, slowest) = (down.as_secs_f64() / took.as_secs_f64(), quantile(&mut all.took_us, 0.9999));
    let machine = quantile(&mut late_us, 0.9999);
    findings.note(format!("{faults} faults; the link was down for {:.0} % of {took:.0?}; {:?}", share * 100.0, all.by));
    findings.note(format!(
        "us: p50 {}, p99 {}, p99.99 {slowest}; bar: deadline {} + {machine}, p99.99 of what {} spins of {SPIN:?} came late",
        quantile(&mut all.took_us, 0.5),
        quantile(&mut all.took_us, 0.99),
        DEADLINE.as_micros(),
        late_us.len(),
    ));
    if !scale.short {
        let bar = DEADLINE.as_micros() as u32 + machine;
        findings.check(slowest <= bar, || format!("p99.99 is {slowest} us, at most {bar}"));
    }
    Ok(findings)
}

fn placement(guest: &str) -> String {
    format!(
        "context = {{ provoke = \"number\" }}\ncandidates = {{ view = \"item\", from = \"request\" }}\nslots = 2\n\
         deadline = \"{}ms\"\nladder = [\"{guest}\", \"rank\"]\nfallback = {{ by = \"item.stock\" }}\n",
        DEADLINE.as_millis()
    )
}

/// Decides until all connections together have asked `wanted` times.
async fn ask(address: SocketAddr, mut random: Random, asked: Arc<AtomicU64>, wanted: u64) -> Result<Answers> {
    let mut client = Client::new(address);
    let mut answers = Answers::default();
    let items: Vec<String> = (0..ITEMS).map(|at| format!("sku-{at}")).collect();
    while asked.fetch_add(1, Ordering::Relaxed) < wanted {
        let guest = *random.pick(&GUESTS);
        let provoke = u32::from(random.below(EVERY) == 0);
        let request = json!({"placement": guest, "candidates": items, "context": {"provoke": provoke}});
        let start = Instant::now();
        let answer = client.post("/v1/decide", &request).await.and_then(|answer| answer.ok());
        let took = start.elapsed();
        match answer.and_then(|answer| told(&answer)) {
            Ok(by) => {
                answers.took_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                *answers.by.entry(by).or_default() += 1;
            }
            Err(error) => answers.failed.push(format!("{guest}, provoked {provoke}: {error:#}")),
        }
    }
    Ok(answers)
}

/// How an answer came about; an error when it is none: fewer choices than asked for, or a score that nobody gave.
fn told(answer: &Value) -> Result<String> {
    let choices = answer["choices"].as_array().context("no choices")?;
    ensure!(choices.len() == 2 && choices[0]["id"] != choices[1]["id"], "not two choices: {answer}");
    let reason = answer["reason"].as_str().context("no reason")?;
    let first = &choices[0];
    let rung = match first["score"].as_f64() {
        Some(score) if score == PRICE + 1.0 => "first rung",
        Some(score) if score == PRICE => "next rung",
        None if reason == "FALLBACK" && first["id"] == format!("sku-{}", ITEMS - 1) => "static order",
        _ => anyhow::bail!("nobody scores so: {answer}"),
    };
    Ok(rung.to_owned())
}

/// How late each spin came to its end, in microseconds, until `stop`.
fn spin(stop: Arc<AtomicBool>) -> Result<std::thread::JoinHandle<Vec<u32>>> {
    let work = move || {
        let mut late_us = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            while start.elapsed() < SPIN {
                std::hint::spin_loop();
            }
            late_us.push(u32::try_from((start.elapsed() - SPIN).as_micros()).unwrap_or(u32::MAX));
            wait::block_until(start + SPIN_EVERY);
        }
        late_us
    };
    Ok(std::thread::Builder::new().name("spinner".into()).spawn(work)?)
}

/// The value that share `q` did not exceed.
fn quantile(values: &mut [u32], q: f64) -> u32 {
    values.sort_unstable();
    let at = ((values.len() as f64 * q).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or_default()
}

// === impl Answers ===

impl Answers {
    fn add(&mut self, other: Self) {
        self.took_us.extend(other.took_us);
        self.failed.extend(other.failed);
        other.by.into_iter().for_each(|(by, count)| *self.by.entry(by).or_default() += count);
    }
}
