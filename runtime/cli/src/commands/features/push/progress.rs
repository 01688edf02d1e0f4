//! How far a push is, for people: a bar on a terminal, a line now and then where nobody watches, nothing beside JSON. Owns how
//! it looks.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::output::Output;

/// How often a bar is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Cells of the bar; the whole line is shorter than 80 characters.
const BAR_CELLS: u64 = 24;

/// How far it is.
pub(super) struct Progress {
    style: Style,
    before: u64,
    total: u64,
    started: Instant,
    shown: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    Nothing,
}

// === impl Progress ===

impl Progress {
    /// Of `total` rows, `before` were written by another push.
    pub(super) fn new(output: &Output, before: u64, total: u64) -> Self {
        let style = match (output.is_json(), io::stderr().is_terminal()) {
            (true, _) => Style::Nothing,
            (false, true) => Style::Bar,
            (false, false) => Style::Lines,
        };
        // A short push where nobody watches says nothing before its end.
        let started = Instant::now();
        Self { style, before, total, started, shown: (style == Style::Lines).then_some(started) }
    }

    /// `done` rows, those before included, are in their buckets.
    pub(super) fn show(&mut self, done: u64) {
        let now = Instant::now();
        let every = match self.style {
            Style::Bar => DRAWN_EVERY,
            Style::Lines => TOLD_EVERY,
            Style::Nothing => return,
        };
        if self.shown.is_some_and(|shown| now.duration_since(shown) < every && done < self.total) {
            return;
        }
        let is_end = done >= self.total;
        self.shown = Some(now);
        let text = line(self.before, done, self.total, now.duration_since(self.started));
        let mut to = io::stderr().lock();
        // When standard error is gone there is nobody left to tell.
        drop(match self.style {
            Style::Bar => write!(to, "\r{} {text}\x1b[K", bar(done, self.total)).and_then(|()| to.flush()),
            Style::Lines if !is_end => writeln!(to, "{text}"),
            Style::Lines | Style::Nothing => Ok(()),
        });
    }

    /// What is written next begins on a line of its own.
    pub(super) fn end(&self) {
        if self.style == Style::Bar && self.shown.is_some() {
            drop(writeln!(io::stderr().lock()));
        }
    }
}

fn bar(done: u64, total: u64) -> String {
    let full = done.min(total) * BAR_CELLS / total.max(1);
    format!("[{}{}]", "#".repeat(full as usize), ".".repeat((BAR_CELLS - full) as usize))
}

/// Such as `45 % 450000/1000000 rows, 52300/s, 0:11 left`. The rate is that of this push alone.
fn line(before: u64, done: u64, total: u64, took: Duration) -> String {
    let now = done.saturating_sub(before);
    let percent = done * 100 / total.max(1);
    let mut text = format!("{percent} % {done}/{total} rows");
    let rate = now as f64 / took.as_secs_f64();
    if now > 0 && rate.is_finite() {
        text += &format!(", {rate:.0}/s");
        if done < total {
            let left_s = ((total - done) as f64 / rate).ceil() as u64;
            text += &format!(", {}:{:02} left", left_s / 60, left_s % 60);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let check = |before, done, total, took_s, expected: &str| {
            assert_eq!(line(before, done, total, Duration::from_secs(took_s)), expected);
        };
        check(0, 450_000, 1_000_000, 9, "45 % 450000/1000000 rows, 50000/s, 0:11 left");
        check(400_000, 450_000, 1_000_000, 1, "45 % 450000/1000000 rows, 50000/s, 0:11 left");
        check(0, 1_000, 100_000, 1, "1 % 1000/100000 rows, 1000/s, 1:39 left");
        check(0, 10, 10, 2, "100 % 10/10 rows, 5/s");
        check(0, 0, 10, 0, "0 % 0/10 rows");
        check(0, 0, 0, 0, "0 % 0/0 rows");
    }

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        assert_eq!(bar(1, 2), format!("[{}{}]", "#".repeat(12), ".".repeat(12)));
        assert_eq!(bar(0, 0), format!("[{}]", ".".repeat(24)));
        assert_eq!(bar(9, 9), format!("[{}]", "#".repeat(24)));
        let widest = line(0, 99_999_999, 100_000_000, Duration::from_secs(99_999));
        assert!(bar(1, 1).len() + 1 + widest.len() < 80, "{widest}");
    }
}
