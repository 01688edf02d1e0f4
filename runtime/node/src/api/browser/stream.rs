//! `GET /v1/browser/stream`: server-sent events that tell a page what runs, at once and whenever that changes. Owns what they say, and
//! that not all pages of a shop ask again in the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::Stream;
use serde::Serialize;

use super::super::Public;
use super::super::stream::{Client, Holder, answer};
use super::Caller;
use crate::keys::PublishableKey;
use crate::releases::Status;

/// How long after a swap the last page is told, when the key's burst is enough for all to ask at once.
const SPREAD: Duration = Duration::from_secs(2);
/// The same when it is not: whoever looks at a page for longer than that gets what runs.
const MOST_SPREAD: Duration = Duration::from_secs(60);
/// What a page that is told takes of its key's rate: the release, rows, and its placements decided.
const TOKENS: f64 = 5.0;
/// The share of the rate that is for pages that are told; the rest is for those that are opened meanwhile.
const SHARE: f64 = 0.5;
/// Rate and burst of pages without a key: what a key has unless told otherwise.
const WITHOUT_KEY: (f64, u32) = (500.0, 1_000);
/// The least time after which a page whose stream ended comes back.
const RETRY: Duration = Duration::from_secs(2);
/// 2^64 over the golden ratio: whatever the count of pages, its multiples lie evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What runs, as a page is told it.
#[derive(Serialize)]
struct Told<'a> {
    release: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<&'a str>,
}

/// One page.
struct Page {
    client: Client,
    /// Where in the spread its turn is: a part of 2^32.
    turn: u32,
    greeted: bool,
}

pub(super) async fn open(State(api): State<Arc<Public>>, Extension(caller): Extension<Caller>) -> Response {
    static PAGES: AtomicU64 = AtomicU64::new(0);
    match Client::new(&api, caller.key.map_or(Holder::Anybody, Holder::Page)) {
        Ok(client) => {
            let turn = (PAGES.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN) >> 32) as u32;
            answer(events(Page { client, turn, greeted: false }))
        }
        Err(full) => api.reply(Err(full)),
    }
}

fn events(page: Page) -> impl Stream<Item = Event> {
    futures_util::stream::unfold(page, |mut page| async move {
        let event = if page.greeted {
            page.client.other().await?;
            let turn = page.turn(Duration::ZERO);
            page.client.wait(turn).await?;
            // What runs now, which may be yet another.
            event("release", &page.client.learn())
        } else {
            page.greeted = true;
            event("hello", &page.client.learn()).retry(RETRY + page.turn(SPREAD))
        };
        Some((event, page))
    })
}

fn event(name: &str, status: &Status) -> Event {
    let told = Told {
        release: status.active.as_ref().map(|running| running.release.as_str()),
        canary: status.canary.as_ref().map(|canary| canary.running.release.as_str()),
    };
    // Texts alone: writing them cannot fail.
    Event::default().event(name).data(serde_json::to_string(&told).unwrap_or_default())
}

// === impl Page ===

impl Page {
    /// When its turn is, of a time in which all pages of its key have theirs, which is `least` at least.
    fn turn(&self, least: Duration) -> Duration {
        let (pages, key) = self.client.beside();
        turn_of(self.turn, spread(pages, key.map_or(WITHOUT_KEY, PublishableKey::rate)).max(least))
    }
}

/// In how much time so many pages are told, by the rate and the burst of their key.
fn spread(pages: usize, (rate, burst): (f64, u32)) -> Duration {
    let tokens = TOKENS * pages as f64;
    let most = if tokens <= f64::from(burst) { SPREAD } else { MOST_SPREAD };
    Duration::from_secs_f64((tokens / (rate * SHARE)).min(most.as_secs_f64()))
}

fn turn_of(turn: u32, spread: Duration) -> Duration {
    spread.mul_f64(f64::from(turn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pages_are_told_at_once_and_many_as_their_rate_allows() {
        let check = |pages: usize, rate: (f64, u32), expected_ms: u64| {
            assert_eq!(spread(pages, rate), Duration::from_millis(expected_ms), "{pages} pages at {rate:?}");
        };
        check(1, WITHOUT_KEY, 20);
        check(100, WITHOUT_KEY, 2_000);
        check(200, WITHOUT_KEY, 2_000);
        check(1_000, WITHOUT_KEY, 20_000);
        check(10_000, WITHOUT_KEY, 60_000);
        check(1_000, (5_000.0, 5_000), 2_000);
        check(1, (0.01, 2), 60_000);
        for pages in [201, 1_000, 2_900] {
            let (rate, _) = WITHOUT_KEY;
            let asked = TOKENS * pages as f64 / spread(pages, WITHOUT_KEY).as_secs_f64();
            assert!(asked <= rate * SHARE + 1e-6, "{pages} pages take {asked} tokens a second");
        }
    }

    #[test]
    fn turns_lie_evenly() {
        let mut turns: Vec<u32> = (0..1_000).map(|page: u64| (page.wrapping_mul(GOLDEN) >> 32) as u32).collect();
        turns.sort_unstable();
        let widest = turns.windows(2).map(|pair| turn_of(pair[1], SPREAD) - turn_of(pair[0], SPREAD)).max();
        assert!(widest < Some(Duration::from_millis(6)), "{widest:?}");
        assert_eq!(turn_of(u32::MAX, SPREAD), SPREAD);
    }
}
