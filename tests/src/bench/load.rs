//! HTTP load: a closed loop (each connection asks again as soon as it was answered) and an open loop (requests are due by the
//! clock, and waiting for a free connection counts as latency).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hyper::Method;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::measure::Samples;
use crate::harness::{Client, Process, wait};

/// Requests of an open loop that may be due and wait for a connection.
const DUE: usize = 100_000;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) address: SocketAddr,
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// In turn; in each, every `@` is a digit of the request's number, so that no two need be alike.
    pub(super) bodies: Arc<Vec<Bytes>>,
}

/// Load that runs until it is told to stop.
pub(super) struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<(Samples, u64)>>,
}

struct Shared {
    ask: Ask,
    stop: AtomicBool,
    turn: AtomicU64,
    answered: AtomicU64,
}

/// When the next request is due.
#[derive(Clone)]
enum Pace {
    /// At once.
    Closed,
    /// By the clock.
    Open(Arc<Mutex<mpsc::Receiver<Instant>>>),
}

// === impl Load ===

impl Load {
    /// A closed loop on `connections` connections.
    pub(super) fn closed(ask: Ask, connections: usize) -> Self {
        let shared = Arc::new(Shared::new(ask));
        let workers = (0..connections).map(|_| tokio::spawn(Arc::clone(&shared).work(Pace::Closed))).collect();
        Self { shared, workers }
    }

    /// An open loop of `rate` requests a second over at most `connections` connections.
    pub(super) fn open(ask: Ask, connections: usize, rate: f64) -> Self {
        let shared = Arc::new(Shared::new(ask));
        let (due, receiver) = mpsc::channel(DUE);
        let pacer = Arc::clone(&shared);
        // A thread of its own: the runtime's timers know only whole milliseconds.
        std::thread::spawn(move || {
            let start = Instant::now();
            for turn in 0u64.. {
                let next = start + Duration::from_secs_f64(turn as f64 / rate);
                wait::block_until(next);
                if pacer.stop.load(Ordering::Relaxed) || due.try_send(next).is_err() {
                    return;
                }
            }
        });
        let pace = Pace::Open(Arc::new(Mutex::new(receiver)));
        let workers = (0..connections).map(|_| tokio::spawn(Arc::clone(&shared).work(pace.clone()))).collect();
        Self { shared, workers }
    }

    /// Lets it run for `span`; the CPU time that `server` used for each answer meanwhile, in microseconds.
    pub(super) async fn cpu_us(&self, server: &Process, span: Duration) -> Result<f64> {
        let (cpu, answered) = (server.cpu()?, self.shared.answered.load(Ordering::Relaxed));
        wait::pass(span).await;
        let cpu = server.cpu()?.saturating_sub(cpu);
        let answers = self.shared.answered.load(Ordering::Relaxed) - answered;
        ensure!(answers > 0, "no answer within {span:?}");
        Ok(cpu.as_secs_f64() * 1e6 / answers as f64)
    }

    /// Ends it: the times of all requests. An error when one failed.
    pub(super) async fn stop(self) -> Result<Samples> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let (mut all, mut failures) = (Samples::default(), 0);
        for worker in self.workers {
            let (samples, failed) = worker.await.context("a connection's task")?;
            all.extend(samples);
            failures += failed;
        }
        ensure!(failures == 0, "{failures} of {} requests failed", all.len());
        Ok(all)
    }
}

// === impl Shared ===

impl Shared {
    fn new(ask: Ask) -> Self {
        Self { ask, stop: AtomicBool::new(false), turn: AtomicU64::new(0), answered: AtomicU64::new(0) }
    }

    async fn work(self: Arc<Self>, pace: Pace) -> (Samples, u64) {
        let mut client = Client::new(self.ask.address);
        let (mut samples, mut failed) = (Samples::default(), 0);
        while !self.stop.load(Ordering::Relaxed) {
            let Some(start) = pace.next().await else { break };
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
            let body = numbered(&self.ask.bodies[turn % self.ask.bodies.len()], turn);
            let answer = client.send(self.ask.method.clone(), self.ask.path, body).await;
            failed += u64::from(!answer.is_ok_and(|answer| answer.status.is_success()));
            samples.add(start.elapsed());
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        (samples, failed)
    }
}

/// The body with the last digits of `turn` for each run of `@`.
fn numbered(body: &Bytes, turn: usize) -> Bytes {
    if !body.contains(&b'@') {
        return body.clone();
    }
    let mut bytes = body.to_vec();
    let mut rest = turn;
    for byte in bytes.iter_mut().rev() {
        if *byte == b'@' {
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
        } else {
            rest = turn;
        }
    }
    bytes.into()
}

// === impl Pace ===

impl Pace {
    async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed => Some(Instant::now()),
            Self::Open(due) => due.lock().await.recv().await,
        }
    }
}
