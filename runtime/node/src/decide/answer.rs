//! The answer as JSON: what `POST /v1/decide` replies.

use selvedge_decision::manifest::Kind;
use selvedge_decision::plan::{Placement, ValueSpec};
use selvedge_decision::{DecisionId, Fault, Reason, Record};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{Decided, Explanation};
use crate::tokens::{Token, Tokens};

/// A decision's answer, rendered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The decision's id.
    pub id: DecisionId,
    /// Why this answer.
    pub reason: Reason,
    /// A JSON object.
    pub json: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    decision_id: String,
    placement: &'a str,
    release: &'a str,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    experiment: Option<&'a str>,
    arm: Option<&'a str>,
    choices: Vec<Choice<'a>>,
    values: Values<'a>,
    max_lag_ms: u32,
    fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a Explanation>,
}

#[derive(Serialize)]
struct Choice<'a> {
    id: &'a str,
    /// `null` when nothing scored it.
    score: f64,
    propensity: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a selvedge_decision::definition::Payload>,
    /// What a browser shows when it tells what became of the choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
}

/// Values by `module.output`; those without a value are left out.
struct Values<'a> {
    specs: &'a [ValueSpec],
    values: &'a [f64],
}

// === impl Answer ===

impl Answer {
    /// With `tokens`, each choice has one.
    pub(super) fn new(decided: &Decided, tokens: Option<&Tokens>) -> Self {
        let record = &decided.decision.record;
        let json = match decided.active.plan.placements.get(&*record.placement) {
            Some(placement) => render(decided, record, placement, tokens),
            None => b"{}".to_vec(),
        };
        Self { id: record.id, reason: record.reason, json }
    }
}

fn render(decided: &Decided, record: &Record, placement: &Placement, tokens: Option<&Tokens>) -> Vec<u8> {
    let choices = record.choices.iter().map(|choice| {
        let id = &*record.candidates[choice.candidate as usize];
        let payload = placement.payload(record.experiment.as_deref(), record.arm.as_deref(), id);
        let token = tokens.map(|tokens| tokens.mint(record, choice));
        Choice { id, score: choice.score, propensity: choice.propensity, payload, token }
    });
    let body = Body {
        decision_id: record.id.to_string(),
        placement: &record.placement,
        release: &decided.active.digest_text,
        reason: record.reason,
        experiment: record.experiment.as_deref(),
        arm: record.arm.as_deref(),
        choices: choices.collect(),
        values: Values { specs: &placement.values, values: &record.values },
        max_lag_ms: record.max_lag_ms,
        fault: record.faults.first().map(|fault| fault.fault),
        explanation: decided.explanation.as_ref(),
    };
    let mut json = Vec::with_capacity(512 + 96 * body.choices.len());
    // Nothing in it can fail to be written as JSON: keys are texts and floats that are no number become null.
    match serde_json::to_writer(&mut json, &body) {
        Ok(()) => json,
        Err(_) => b"{}".to_vec(),
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (spec, value) in self.specs.iter().zip(self.values).filter(|(_, value)| !value.is_nan()) {
            map.serialize_key(&spec.name)?;
            match spec.kind {
                Kind::Number | Kind::Vector => map.serialize_value(value)?,
                Kind::Flag => map.serialize_value(&(*value != 0.0))?,
                Kind::Symbol => map.serialize_value(&spec.symbols.get(*value as usize).filter(|_| *value >= 0.0))?,
            }
        }
        map.end()
    }
}
