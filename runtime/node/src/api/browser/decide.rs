//! `POST /v1/browser/decide`: the placements of a page. Owns what a page may ask for, and that what is wrong with one placement keeps
//! none of the others from it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use selvedge_decision::plan::Placement;

use super::super::decide::listed;
use super::super::error::{ApiError, Code};
use super::super::spans::Told;
use super::super::{Public, body};
use super::Caller;
use crate::decide::{Batch, Refused};

pub(super) async fn page(
    State(api): State<Arc<Public>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let limits = api.limits;
    let answer = match body::read(&head.headers, body, limits.decide_body, limits.client_timeout).await {
        Ok(bytes) => match body::parse::<Batch<'_>>(&bytes) {
            Ok(batch) => {
                let told = api.otlp.is_on().then_some(Told::Decisions(batch.placements.len()));
                api.page(&caller, &batch.known_as(&api.ids)).await.map(|json| (told, json))
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    api.reply_telling(answer)
}

// === impl Public ===

impl Public {
    async fn page(&self, caller: &Caller, batch: &Batch<'_>) -> Result<Vec<u8>, ApiError> {
        self.bound(batch)?;
        if batch.explain {
            let why = "an explanation tells features and scores: ask POST /v1/decide for it, with a server key";
            return Err(ApiError::new(Code::not_for_browsers, why).at("explain"));
        }
        caller.charge(batch.placements.len())?;
        let (release, parts) =
            self.decider.decide_page(batch, &self.tokens, |placement| caller.may_ask(placement)).await?;
        let parts = parts.into_iter().zip(&batch.placements).map(|(part, asked)| match part {
            Ok(answer) => answer.json,
            Err(refused) => ApiError::from(refused).json(Some(asked.placement.as_str())),
        });
        let parts: Vec<Vec<u8>> = parts.collect();
        let mut json = listed(parts.iter().map(Vec::as_slice));
        json.extend_from_slice(format!(",\"release\":\"{release}\"}}").as_bytes());
        Ok(json)
    }
}

// === impl Caller ===

impl Caller {
    /// Whether the page may ask for a placement: the release must say that pages may, and its key that this one may.
    pub(super) fn may_ask(&self, placement: &Placement) -> Result<(), Refused> {
        let key = || placement.key.to_string();
        if !placement.browser {
            return Err(Refused::NotForBrowsers { key: key() });
        }
        match &self.key {
            Some(publishable) if !publishable.allows(&placement.key) => Err(Refused::NotForKey { key: key() }),
            _ => Ok(()),
        }
    }
}
