//! Decisions: the last ones in a line each, one in full, and what would be decided. Owns where one is looked for, and what is said when
//! it is not here or cannot be decided again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use selvedge_decision::record::{NOT_DRAWN, Rung};
use selvedge_decision::{DecisionId, Record, rfc3339};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::error::{ApiError, Code};
use super::super::{Admin, body};
use super::{ConsoleApi, reply};
use crate::console::recent::Brought;
use crate::decide::{Active, Explanation, Wire, again};

/// Decisions of a list.
const MOST: usize = 300;
/// Choices of a line.
const CHOICES: usize = 3;
/// How long the outbox is looked through for one.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// A decision in a line.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    id: String,
    time: String,
    placement: String,
    subject: Option<String>,
    session: Option<String>,
    reason: &'static str,
    experiment: Option<String>,
    arm: Option<String>,
    choices: Vec<String>,
    more_choices: usize,
    fault: Option<&'static str>,
    release: String,
    has_inputs: bool,
}

/// A decision in full, as recorded.
#[derive(Debug, Serialize)]
struct Recorded {
    id: String,
    time: String,
    placement: String,
    subject: Option<String>,
    session: Option<String>,
    reason: &'static str,
    experiment: Option<String>,
    arm: Option<String>,
    release: String,
    core: u32,
    slots: u32,
    candidates: usize,
    choices: Vec<Choice>,
    faults: Vec<Faulted>,
    max_lag_ms: u32,
    has_inputs: bool,
}

#[derive(Debug, Serialize)]
struct Choice {
    id: String,
    slot: u32,
    score: f64,
    propensity: f64,
    pinned: bool,
}

#[derive(Debug, Serialize)]
struct Faulted {
    /// `rules:0`, `ladder:1`.
    call: String,
    module: Option<String>,
    fault: &'static str,
}

/// All there is to tell of one.
#[derive(Debug, Serialize)]
struct Told {
    /// `memory` or `outbox`.
    found: &'static str,
    /// Which release of this node decided: `running`, `canary`, `previous`; none when it is not here any more.
    role: Option<&'static str>,
    decision: Recorded,
    /// Whether deciding it again gave the same bytes; none when it could not be decided again.
    same: Option<bool>,
    /// Why it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    how: Option<Explanation>,
    brought: Vec<Brought>,
}

pub(super) async fn all(State(api): State<Arc<Admin>>) -> Response {
    let since = api.console.console.recent().since(0, MOST, |_| true);
    let lines: Vec<Line> = since.records.iter().map(|record| Line::of(record)).collect();
    reply(&json!({ "decisions": lines, "seen": since.last }))
}

pub(super) async fn one(State(api): State<Arc<Admin>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<DecisionId>() else {
        let message = format!("{id:?} is no decision id: expected a UUID, as an answer's decision_id has it");
        return ApiError::new(Code::bad_field, message).at("id").into_response();
    };
    let found = tokio::task::spawn_blocking(move || api.console.explain(id)).await;
    match found {
        Ok(Ok(told)) => reply(&told),
        Ok(Err(error)) => error.into_response(),
        Err(error) => ApiError::new(Code::storage_failed, format!("looking for it broke off: {error}")).into_response(),
    }
}

/// What the running release would decide, and beside it the canary and the one before.
pub(super) async fn what_if(State(api): State<Arc<Admin>>, request: Request) -> Response {
    let api = &api.console;
    let (head, body) = request.into_parts();
    let bytes = match body::read(&head.headers, body, api.limits.decide_body, api.limits.client_timeout).await {
        Ok(bytes) => bytes,
        Err(error) => return error.into_response(),
    };
    let wire = match body::parse::<Wire<'_>>(&bytes) {
        Ok(wire) => Wire { explain: true, ..wire.known_as(&api.ids) },
        Err(error) => return error.into_response(),
    };
    let held = api.held();
    if held.is_empty() {
        return ApiError::from(crate::decide::Refused::NotReady).into_response();
    }
    let releases = held.iter().map(|(_, active)| Arc::clone(active)).collect();
    let answers = api.decider.what_if(&wire, releases).await;
    let told = held.iter().zip(answers).map(|((role, active), what_if)| {
        let release = json!({ "role": role, "release": active.digest_text, "name": active.plan.name });
        match what_if.answer.map(|answer| RawValue::from_string(String::from_utf8(answer.json).unwrap_or_default())) {
            Ok(Ok(answer)) => json!({ "of": release, "answer": answer }),
            Ok(Err(_)) => json!({ "of": release, "error": { "message": "the answer is not JSON" } }),
            Err(refused) => {
                let error = ApiError::from(refused);
                json!({ "of": release, "error": { "code": error.code, "message": error.message, "field": error.field } })
            }
        }
    });
    let told: Vec<Value> = told.collect();
    reply(&json!({ "answers": told }))
}

// === impl ConsoleApi ===

impl ConsoleApi {
    /// The releases that can decide here, and what each is.
    pub(super) fn held(&self) -> Vec<(&'static str, Arc<Active>)> {
        let running = Option::as_ref(&self.releases.active()).map(Arc::clone);
        let all = [("running", running), ("canary", self.releases.canary()), ("previous", self.releases.previous())];
        all.into_iter().filter_map(|(role, active)| Some((role, active?))).collect()
    }

    /// Looks for a decision and decides it again. Blocks.
    fn explain(&self, id: DecisionId) -> Result<Told, ApiError> {
        let kept = self.console.recent().find(id);
        let (record, found) = match kept {
            Some(record) => (record, "memory"),
            None => match self.outbox.find_record(id, Instant::now() + LOOK_WITHIN) {
                (Some(record), _) => (Arc::new(record), "outbox"),
                (None, true) => {
                    let message = "this node does not have that decision any more: it keeps the last 1,000, and on disk those that \
                                   the core has not acknowledged; `selvedge why` reads the core's stream and the lake";
                    return Err(ApiError::new(Code::not_found, message).at("id"));
                }
                (None, false) => {
                    let message = format!(
                        "it is not among the last 1,000, and the outbox could not be looked through in {} s; `selvedge why {id}` \
                         reads the core's stream and the lake",
                        LOOK_WITHIN.as_secs()
                    );
                    return Err(ApiError::new(Code::not_found, message).at("id"));
                }
            },
        };
        let brought = self.console.recent().of(id);
        let held = self.held().into_iter().find(|(_, active)| active.digest == record.release);
        let (role, active) = held.unzip();
        let decision = Recorded::of(&record, active.as_deref());
        let again = match &active {
            Some(active) => again(active, &record).map_err(|why| why.to_string()),
            None => {
                Err("the release that decided is neither running here nor kept: `selvedge why` fetches it".to_owned())
            }
        };
        let (same, how, why) = match again {
            Ok(again) => (Some(again.same), Some(again.explanation), None),
            Err(why) => (None, None, Some(why)),
        };
        Ok(Told { found, role, decision, same, why, how, brought })
    }
}

// === impl Line ===

impl Line {
    pub(super) fn of(record: &Record) -> Self {
        let choice = |at: u32| record.candidates.get(at as usize).map(ToString::to_string);
        Self {
            id: record.id.to_string(),
            time: rfc3339::format(record.time_us),
            placement: record.placement.to_string(),
            subject: record.subject.clone(),
            session: record.session.clone(),
            reason: record.reason.as_str(),
            experiment: record.experiment.as_deref().map(str::to_owned),
            arm: record.arm.as_deref().map(str::to_owned),
            choices: record.choices.iter().take(CHOICES).filter_map(|made| choice(made.candidate)).collect(),
            more_choices: record.choices.len().saturating_sub(CHOICES),
            fault: record.faults.first().map(|fault| fault.fault.as_str()),
            release: record.release.to_string(),
            has_inputs: record.inputs.is_some(),
        }
    }
}

// === impl Recorded ===

impl Recorded {
    fn of(record: &Record, active: Option<&Active>) -> Self {
        let placement = active.and_then(|active| active.plan.placements.get(&*record.placement));
        let module = |rung: Rung| {
            Some(placement?.call_of(record.experiment.as_deref(), record.arm.as_deref(), rung)?.name.clone())
        };
        let choices = record.choices.iter().map(|choice| Choice {
            id: record.candidates.get(choice.candidate as usize).map_or_else(|| "?".to_owned(), ToString::to_string),
            slot: choice.slot,
            score: choice.score,
            propensity: choice.propensity,
            pinned: choice.draw == NOT_DRAWN,
        });
        let faults = record.faults.iter().map(|fault| Faulted {
            call: fault.rung.to_string(),
            module: module(fault.rung),
            fault: fault.fault.as_str(),
        });
        Self {
            id: record.id.to_string(),
            time: rfc3339::format(record.time_us),
            placement: record.placement.to_string(),
            subject: record.subject.clone(),
            session: record.session.clone(),
            reason: record.reason.as_str(),
            experiment: record.experiment.as_deref().map(str::to_owned),
            arm: record.arm.as_deref().map(str::to_owned),
            release: record.release.to_string(),
            core: record.core,
            slots: record.slots,
            candidates: record.candidates.len(),
            choices: choices.collect(),
            faults: faults.collect(),
            max_lag_ms: record.max_lag_ms,
            has_inputs: record.inputs.is_some(),
        }
    }
}
