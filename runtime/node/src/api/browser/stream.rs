//! `GET /v1/browser/stream`: server-sent events that tell a page what runs, at once and whenever that changes. Owns what they say, and
//! that not all pages of a shop ask again in the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::Stream;
use serde::Serialize;

use super::super::Public;
use super::super::stream::{Client, answer, full};
use crate::releases::Status;

/// How long after a swap the last page is told.
const SPREAD: Duration = Duration::from_secs(2);
/// How much longer each open page makes that: with few of them all are told at once.
const SPREAD_EACH: Duration = Duration::from_millis(1);
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

pub(super) async fn open(State(api): State<Arc<Public>>) -> Response {
    static PAGES: AtomicU64 = AtomicU64::new(0);
    let Some(client) = Client::new(&api) else { return full() };
    let turn = (PAGES.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN) >> 32) as u32;
    answer(events(Page { client, turn, greeted: false }))
}

fn events(page: Page) -> impl Stream<Item = Event> {
    futures_util::stream::unfold(page, |mut page| async move {
        let event = if page.greeted {
            page.client.other().await?;
            tokio::time::sleep(turn_of(page.turn, spread(page.client.all()))).await;
            // What runs now, which may be yet another.
            event("release", &page.client.learn())
        } else {
            page.greeted = true;
            event("hello", &page.client.learn()).retry(RETRY + turn_of(page.turn, SPREAD))
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

fn spread(pages: usize) -> Duration {
    SPREAD_EACH.saturating_mul(u32::try_from(pages).unwrap_or(u32::MAX)).min(SPREAD)
}

fn turn_of(turn: u32, spread: Duration) -> Duration {
    spread.mul_f64(f64::from(turn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_evenly_and_few_of_them_at_once() {
        assert_eq!(spread(1), Duration::from_millis(1));
        assert_eq!(spread(10_000), SPREAD);
        let mut turns: Vec<u32> = (0..1_000).map(|page: u64| (page.wrapping_mul(GOLDEN) >> 32) as u32).collect();
        turns.sort_unstable();
        let widest = turns.windows(2).map(|pair| turn_of(pair[1], SPREAD) - turn_of(pair[0], SPREAD)).max();
        assert!(widest < Some(Duration::from_millis(6)), "{widest:?}");
        assert_eq!(turn_of(u32::MAX, SPREAD), SPREAD);
    }
}
