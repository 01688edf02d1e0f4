//! `POST /v1/decide` and `/v1/decide/batch`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, Code};
use super::{Public, body};
use crate::decide::{Batch, Wire};

pub(super) async fn one(State(api): State<Arc<Public>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let limits = api.limits;
    let answer = match body::read(&head.headers, body, limits.decide_body, limits.client_timeout).await {
        Ok(bytes) => match body::parse::<Wire<'_>>(&bytes) {
            Ok(wire) => api.decider.decide_in_time(&wire.known_as(&api.ids)).await.map_err(ApiError::from),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    api.reply(answer.map(|answer| answer.json))
}

pub(super) async fn batch(State(api): State<Arc<Public>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let limits = api.limits;
    let answers = match body::read(&head.headers, body, limits.decide_body, limits.client_timeout).await {
        Ok(bytes) => match body::parse::<Batch<'_>>(&bytes) {
            Ok(batch) => api.batch(&batch.known_as(&api.ids)).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    api.reply(answers)
}

// === impl Public ===

impl Public {
    async fn batch(&self, batch: &Batch<'_>) -> Result<Vec<u8>, ApiError> {
        let limit = self.limits.batch;
        if batch.placements.is_empty() || batch.placements.len() > limit {
            let message = format!("{} placements, expected 1 to {limit}", batch.placements.len());
            return Err(ApiError::new(Code::out_of_bounds, message).at("placements").limit(limit));
        }
        let answers = self.decider.decide_batch(batch).await;
        let answers = answers.map_err(|(part, refused)| ApiError::from(refused).inside(part))?;
        let mut json = b"{\"decisions\":[".to_vec();
        for (at, answer) in answers.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            json.extend_from_slice(&answer.json);
        }
        json.extend_from_slice(b"]}");
        Ok(json)
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
