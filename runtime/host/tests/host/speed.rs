//! What a call costs, for people who change the engine's settings:
//! `cargo test --release -p selvedge-host --test host -- --ignored --nocapture`. The bars are the suite's.

use std::time::{Duration, Instant};

use selvedge_host::Module;
use selvedge_prebuilt::{bench, hostile};

use crate::{AMPLE, load, manifest, small};

/// Median wall time of a call, and CPU time of a call, in µs.
fn measure(module: &Module, shared: &[f64], candidates: &[f64], count: u32, calls: usize) -> (f64, f64) {
    let cpu = cpu_us();
    let mut walls: Vec<Duration> = (0..calls)
        .map(|_| {
            let start = Instant::now();
            module.evaluate(shared, candidates, count, AMPLE).unwrap();
            start.elapsed()
        })
        .collect();
    let cpu = (cpu_us() - cpu) / calls as f64;
    walls.sort();
    (walls[calls / 2].as_secs_f64() * 1e6, cpu)
}

/// What this thread ran so far.
fn cpu_us() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e3
}

#[test]
#[ignore = "a measurement"]
fn call_costs() {
    let row = |len: usize| (0..len).map(|i| (i % 17) as f64 / 8.5 - 1.0).collect::<Vec<f64>>();
    let trees = load(bench::TREES, &manifest(1000, 0, &["score"], 1));
    let rules = load(bench::RULES, &manifest(40, 0, &["eligible", "boost", "row"], 1));
    let rank = load(bench::RANK, &manifest(0, 100, &["score"], 200));
    let least = load(hostile::WELL_BEHAVED, &small());
    let (wide, narrow, list) = (row(1000), row(40), row(200 * 100));
    eprintln!("wall p50 and CPU a call, µs");
    for _ in 0..3 {
        eprintln!("least {:.2?}", measure(&least, &[0.0], &[1.0], 1, 50_000));
        eprintln!("trees {:.2?}", measure(&trees, &wide, &[], 1, 50_000));
        eprintln!("rules {:.2?}", measure(&rules, &narrow, &[], 1, 50_000));
        eprintln!("rank  {:.2?}", measure(&rank, &[], &list, 200, 5_000));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| eprintln!("trees on 2 threads {:.2?}", measure(&trees, &wide, &[], 1, 100_000)));
            }
        });
    }
}
