//! `GET /ofrep/v1/events`: server-sent events that tell a provider to evaluate its flags again when another release runs, or another
//! canary beside it. Owns what a client that was away is told: one event, when it comes back to others than it knew.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::Stream;
use selvedge_decision::Digest;

use super::super::Public;
use super::super::access;
use super::super::stream::{Client, DIGEST, Holder, answer};
use crate::keys::Scope;

/// Where it is.
pub(in super::super) const PATH: &str = "/ofrep/v1/events";

/// What a list of flags says of the stream, as a member of its JSON object. Without an origin: that of the page's own calls counts.
pub(super) fn told(release: &str) -> String {
    let digest = release.trim_start_matches(DIGEST);
    format!("\"eventStreams\":[{{\"type\":\"sse\",\"endpoint\":{{\"requestUri\":\"{PATH}?release={digest}\"}}}}],")
}

pub(in super::super) async fn open(State(api): State<Arc<Public>>, request: Request) -> Response {
    let key = access::key(request.headers());
    if let Err(denied) = api.access.server(key, Scope::Decide) {
        return api.reply(Err(denied.into()));
    }
    let holder = match key {
        Some(key) if !api.access.is_open() => Holder::Server(Digest::of(key.as_bytes())),
        _ => Holder::Anybody,
    };
    let mut client = match Client::new(&api, holder) {
        Ok(client) => client,
        Err(full) => return api.reply(Err(full)),
    };
    // A browser sends what it was told last when it comes back; before, it is what its flags were evaluated with.
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let asked = request.uri().query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("release=")));
    let status = client.status();
    // Whoever evaluated with one of those that run knows both: the subject says which of them it is.
    let is_current = |asked: &str| {
        let running = status.active.as_ref().into_iter().chain(status.canary.as_ref().map(|canary| &canary.running));
        running.map(|running| running.release.trim_start_matches(DIGEST)).any(|digest| digest == asked)
    };
    let asked = asked.filter(|asked| !is_current(asked)).map(str::to_owned);
    if let Some(knows) = last.filter(|last| !last.is_empty()).or(asked) {
        client.knows = knows;
    }
    client.look_again();
    answer(events(client))
}

fn events(client: Client) -> impl Stream<Item = Event> {
    futures_util::stream::unfold(client, |mut client| async move {
        let runs = client.other().await?;
        let (id, since_s) = (&runs.id, runs.since_s);
        let data = format!("{{\"type\":\"refetchEvaluation\",\"etag\":\"{id}\",\"lastModified\":{since_s}}}");
        let event = Event::default().event("message").id(id).data(data);
        client.knows = runs.id;
        Some((event, client))
    })
}
