//! `POST /v1/decide` and `/v1/decide/batch`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, Code};
use super::spans::Told;
use super::{Public, body};
use crate::decide::{Answer, Batch, Wire};
use crate::keys::Scope;

pub(super) async fn one(State(api): State<Arc<Public>>, request: Request) -> Response {
    let answer = match api.admitted(request, Scope::Decide, api.limits.decide_body).await {
        Ok((_, bytes)) => match body::parse::<Wire<'_>>(&bytes) {
            Ok(wire) => {
                let wire = wire.known_as(&api.ids);
                let answer = api.decider.decide_in_time(&wire).await.map_err(ApiError::from);
                answer.map(|answer| (api.otlp.is_on().then(|| decision(&wire, &answer)), answer.json))
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    api.reply_telling(answer)
}

fn decision(wire: &Wire<'_>, answer: &Answer) -> Told {
    Told::Decision(wire.placement.as_str().to_owned(), answer.id.to_string(), answer.reason.as_str())
}

pub(super) async fn batch(State(api): State<Arc<Public>>, request: Request) -> Response {
    let answers = match api.admitted(request, Scope::Decide, api.limits.decide_body).await {
        Ok((_, bytes)) => match body::parse::<Batch<'_>>(&bytes) {
            Ok(batch) => {
                let told = api.otlp.is_on().then_some(Told::Decisions(batch.placements.len()));
                api.batch(&batch.known_as(&api.ids)).await.map(|json| (told, json))
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    api.reply_telling(answers)
}

// === impl Public ===

impl Public {
    async fn batch(&self, batch: &Batch<'_>) -> Result<Vec<u8>, ApiError> {
        self.bound(batch)?;
        let answers = self.decider.decide_batch(batch).await;
        let answers = answers.map_err(|(part, refused)| ApiError::from(refused).inside(part))?;
        let mut json = listed(answers.iter().map(|answer| answer.json.as_slice()));
        json.push(b'}');
        Ok(json)
    }

    pub(super) fn reply_telling(&self, reply: Result<(Option<Told>, Vec<u8>), ApiError>) -> Response {
        let (told, reply) = match reply {
            Ok((told, json)) => (told, Ok(json)),
            Err(error) => (None, Err(error)),
        };
        let mut response = self.reply(reply);
        if let Some(told) = told {
            response.extensions_mut().insert(told);
        }
        response
    }

    /// Whether a page is one that is decided.
    pub(super) fn bound(&self, batch: &Batch<'_>) -> Result<(), ApiError> {
        let (found, limit) = (batch.placements.len(), self.limits.batch);
        if found == 0 || found > limit {
            let message = format!("{found} placements, expected 1 to {limit}");
            return Err(ApiError::new(Code::out_of_bounds, message).at("placements").limit(limit));
        }
        Ok(())
    }

    pub(super) fn reply(&self, reply: Result<Vec<u8>, ApiError>) -> Response {
        match reply {
            Ok(json) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
            Err(error) => {
                self.metrics.refused(error.code);
                error.into_response()
            }
        }
    }
}

/// Decisions as the beginning of a JSON object.
pub(super) fn listed<'j>(decisions: impl Iterator<Item = &'j [u8]>) -> Vec<u8> {
    let mut json = b"{\"decisions\":[".to_vec();
    for (at, decision) in decisions.enumerate() {
        if at > 0 {
            json.push(b',');
        }
        json.extend_from_slice(decision);
    }
    json.push(b']');
    json
}
