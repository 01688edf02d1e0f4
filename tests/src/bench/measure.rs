//! Measuring: quantiles, medians over rounds, CPU time of threads.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Times of single calls of one round, in microseconds.
#[derive(Debug, Default, Clone)]
pub(super) struct Samples {
    us: Vec<f64>,
}

/// Median and 99th percentile of each of several rounds, in microseconds.
#[derive(Debug, Default, Clone)]
pub(super) struct Quantiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// A number of equal calls on some threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// Median time of a call.
    pub(super) p50_us: f64,
    /// 99th percentile of a call.
    pub(super) p99_us: f64,
    /// CPU time of the calling threads, for each call.
    pub(super) cpu_us: f64,
    /// CPU time of the whole process, for each call: with what the call leaves to others, such as writing its record.
    pub(super) process_us: f64,
}

// === impl Samples ===

impl Samples {
    pub(super) fn add(&mut self, time: Duration) {
        self.us.push(time.as_secs_f64() * 1e6);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.us.extend(other.us);
    }

    pub(super) fn len(&self) -> usize {
        self.us.len()
    }

    /// The value that share `q` of the samples did not exceed; NaN when there is none.
    pub(super) fn quantile(&mut self, q: f64) -> f64 {
        self.us.sort_unstable_by(f64::total_cmp);
        let at = ((self.us.len() as f64 * q).ceil() as usize).clamp(1, self.us.len().max(1)) - 1;
        self.us.get(at).copied().unwrap_or(f64::NAN)
    }

    /// Median and 99th percentile.
    pub(super) fn quantiles(&mut self) -> (f64, f64) {
        (self.quantile(0.5), self.quantile(0.99))
    }
}

// === impl Quantiles ===

impl Quantiles {
    /// Adds a round.
    pub(super) fn push(&mut self, mut round: Samples) {
        let (p50, p99) = round.quantiles();
        self.p50.push(p50);
        self.p99.push(p99);
    }

    /// The median of each over the rounds.
    pub(super) fn medians(&self) -> (f64, f64) {
        (median(self.p50.iter().copied()), median(self.p99.iter().copied()))
    }
}

// === impl Round ===

impl Round {
    /// `calls` calls on each of `threads` threads at once. `make` gives each thread its own call.
    pub(super) fn run<C: FnMut()>(threads: usize, calls: usize, make: impl Fn(usize) -> C + Sync) -> Self {
        let process = process_cpu();
        let results: Vec<(Samples, Duration)> = std::thread::scope(|scope| {
            let make = &make;
            let workers: Vec<_> = (0..threads).map(|at| scope.spawn(move || one_thread(calls, make(at)))).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
        });
        let process = process_cpu().saturating_sub(process);
        let cpu: Duration = results.iter().map(|(_, cpu)| *cpu).sum();
        let mut all = Samples::default();
        results.into_iter().for_each(|(samples, _)| all.extend(samples));
        let (p50_us, p99_us) = all.quantiles();
        let each = |cpu: Duration, calls: usize| cpu.as_secs_f64() * 1e6 / calls.max(1) as f64;
        let process_us = each(process, all.len() + threads * warm_up(calls));
        Self { p50_us, p99_us, cpu_us: each(cpu, all.len()), process_us }
    }

    /// Calls on this thread, for what cannot go to another.
    pub(super) fn on_this_thread(calls: usize, call: impl FnMut()) -> Self {
        let process = process_cpu();
        let (mut samples, cpu) = one_thread(calls, call);
        let (p50_us, p99_us) = samples.quantiles();
        let process = process_cpu().saturating_sub(process);
        let each = |cpu: Duration, calls: usize| cpu.as_secs_f64() * 1e6 / calls.max(1) as f64;
        Self { p50_us, p99_us, cpu_us: each(cpu, calls), process_us: each(process, calls + warm_up(calls)) }
    }

    /// As [`Round::on_this_thread`], of calls that say themselves what they took, without what is done around them.
    pub(super) fn timed(calls: usize, mut call: impl FnMut() -> Duration) -> Self {
        (0..warm_up(calls)).for_each(|_| {
            call();
        });
        let mut samples = Samples::default();
        let (process, thread) = (process_cpu(), thread_cpu());
        (0..calls).for_each(|_| samples.add(call()));
        let (process, thread) = (process_cpu().saturating_sub(process), thread_cpu().saturating_sub(thread));
        let (p50_us, p99_us) = samples.quantiles();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / calls.max(1) as f64;
        Self { p50_us, p99_us, cpu_us: each(thread), process_us: each(process) }
    }

    /// The median of each number over `rounds` rounds.
    pub(super) fn median(rounds: usize, round: impl FnMut() -> Self) -> Self {
        Self::medians(&std::iter::repeat_with(round).take(rounds).collect::<Vec<_>>())
    }

    /// One thread and two, in turn, so that what disturbs one disturbs the other.
    pub(super) fn one_and_two(rounds: usize, mut round: impl FnMut(usize) -> Self) -> (Self, Self) {
        let pairs: Vec<(Self, Self)> = (0..rounds).map(|_| (round(1), round(2))).collect();
        let (one, two): (Vec<Self>, Vec<Self>) = pairs.into_iter().unzip();
        (Self::medians(&one), Self::medians(&two))
    }

    /// The median of each number.
    pub(super) fn medians(all: &[Self]) -> Self {
        let of = |pick: fn(&Self) -> f64| median(all.iter().map(pick));
        Self {
            p50_us: of(|r| r.p50_us),
            p99_us: of(|r| r.p99_us),
            cpu_us: of(|r| r.cpu_us),
            process_us: of(|r| r.process_us),
        }
    }

    /// Median and 99th percentile.
    pub(super) fn quantiles(self) -> (f64, f64) {
        (self.p50_us, self.p99_us)
    }
}

fn one_thread(calls: usize, mut call: impl FnMut()) -> (Samples, Duration) {
    // Caches, predictors and lazily made things are not what is measured.
    (0..warm_up(calls)).for_each(|_| call());
    let mut samples = Samples { us: Vec::with_capacity(calls) };
    let before = thread_cpu();
    for _ in 0..calls {
        let start = Instant::now();
        call();
        samples.add(start.elapsed());
    }
    (samples, thread_cpu().saturating_sub(before))
}

fn warm_up(calls: usize) -> usize {
    calls / 10 + 1
}

fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

/// The middle one; NaN when there is none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_samples() {
        let mut samples = Samples::default();
        (1..=100).rev().for_each(|us| samples.add(Duration::from_micros(us)));
        let (p50, p99) = samples.quantiles();
        assert_eq!((p50.round(), p99.round()), (50.0, 99.0));
        assert!(Samples::default().quantile(0.5).is_nan());
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
    }
}
