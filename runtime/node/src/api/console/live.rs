//! What happens, as it happens: samples and decisions, as server-sent events. Owns the pace, so that a node that decides a hundred
//! thousand times a second shows some of it and tells how much it passed over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::super::Admin;
use super::super::error::{ApiError, Code};
use super::decisions::Line;
use super::reply;

/// How often there may be something new.
const EVERY: Duration = Duration::from_millis(500);
/// Decisions that are told at once.
const MOST_AT_ONCE: usize = 20;
/// When a page that found no place may come again, in seconds.
const RETRY_AFTER_S: u64 = 10;

/// One page.
struct Told {
    api: Arc<Admin>,
    every: Interval,
    stop: watch::Receiver<bool>,
    sample: u64,
    decision: u64,
    /// What comes next before anything else.
    waiting: Vec<Event>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn samples(State(api): State<Arc<Admin>>) -> Response {
    let (samples, taken) = api.console.console.samples().all();
    let reasons = selvedge_decision::Reason::ALL.map(selvedge_decision::Reason::as_str);
    reply(&json!({ "samples": samples, "taken": taken, "reasons": reasons }))
}

pub(super) async fn open(State(api): State<Arc<Admin>>) -> Response {
    let Ok(place) = api.console.live.clone().try_acquire_owned() else {
        let message = format!("{} pages are told of what happens already; close some", super::MOST_LIVE);
        let error = ApiError::new(Code::too_many_requests, message);
        return ApiError { retry_after_s: Some(RETRY_AFTER_S), ..error }.into_response();
    };
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (_, sample) = api.console.console.samples().all();
    let decision = api.console.console.recent().since(u64::MAX, 0, |_| false).last;
    let stop = api.console.stop.clone();
    let told = Told { api, every, stop, sample, decision, waiting: Vec::new(), _place: place };
    let mut response = Sse::new(events(told)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn events(told: Told) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(told, |mut told| async move {
        let event = told.next().await?;
        Some((Ok(event), told))
    })
}

// === impl Told ===

impl Told {
    /// The next event; `None` when the node stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            tokio::select! {
                _ = self.every.tick() => {}
                _ = self.stop.wait_for(|stop| *stop) => return None,
            }
            self.look();
        }
    }

    fn look(&mut self) {
        let console = &self.api.console.console;
        let since = console.recent().since(self.decision, MOST_AT_ONCE, |_| true);
        if since.last > self.decision {
            self.decision = since.last;
            let lines: Vec<Line> = since.records.iter().map(|record| Line::of(record)).collect();
            let data = json!({ "decisions": lines, "passed": since.passed }).to_string();
            self.waiting.push(Event::default().event("decisions").data(data));
        }
        if let Some((sample, number)) = console.samples().last(self.sample) {
            self.sample = number;
            let data = serde_json::to_string(&sample).unwrap_or_default();
            self.waiting.push(Event::default().event("sample").data(data));
        }
    }
}
