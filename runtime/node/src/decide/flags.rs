//! Decisions as feature flags, as OpenFeature's remote evaluation protocol (OFREP 0.3.0) has them: a placement is a flag, the first
//! choice its variant, the payload its value. Owns what a flag looks like, which placements are one, and the evaluation of all of
//! them at once. Must not know HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_decision::definition::Payload;
use selvedge_decision::gather::{Request, Rows};
use selvedge_decision::plan::{Candidates, FallbackPlan, Placement, Way};
use selvedge_decision::settle::Unlearned;
use selvedge_decision::{DecisionId, Fault, Moment, Reason, Record, World, decide};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::active::Active;
use super::modules::Calls;
use super::request::{BadValue, Context, Value, Wire};
use super::source::{Snapshot, Source};
use super::{Decided, Decider, Page, Refused, Text, first_sight};

/// Bytes of a tag that are kept.
const TAG_BYTES: usize = 16;
/// How long one evaluation of all flags keeps its thread before others have their turn.
const TURN: Duration = Duration::from_millis(1);

/// All flags for one context.
#[derive(Debug, Clone)]
pub struct AllFlags {
    /// The release that they were evaluated with.
    pub release: String,
    /// Equal for equal flags, whatever decided them: 32 hex digits.
    pub tag: String,
    /// The flags as JSON, separated by commas; `None` when the caller has those of this tag.
    pub json: Option<Vec<u8>>,
}

/// The placements of a release as flags.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// Those that are the same for everybody, as JSON, separated by commas.
    statics: Vec<u8>,
    /// What their JSON hashes to.
    tag: [u8; TAG_BYTES],
    /// The keys of those that are decided for each context.
    decided: Vec<Arc<str>>,
}

#[derive(Serialize)]
struct Flag<'a> {
    key: &'a str,
    /// None when nothing was chosen: the caller's own default counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<FlagValue<'a>>,
    variant: &'a str,
    reason: &'static str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FlagValue<'a> {
    Payload(&'a Payload),
    Id(&'a str),
}

/// Texts and numbers only: that is all a flag's metadata may hold.
#[derive(Serialize)]
struct Metadata<'a> {
    release: &'a str,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    arm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    propensity: Option<f64>,
}

// === impl Wire ===

impl<'a> Wire<'a> {
    /// A request for flags from an evaluation context: `targetingKey` is the subject, `session` and `tz_offset_min` are what they
    /// are in a request, and all of it is the context. An empty text is what some SDKs send for none.
    pub fn of_flags(context: Context<'a>) -> Result<Self, BadValue> {
        let text = |name: &str| match context.value(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone()).filter(|text| !text.as_str().is_empty())),
            Some(other) => Err(bad(name, format!("is {}, expected a text", other.name()))),
        };
        let (subject, session) = (text("targetingKey")?, text("session")?);
        let tz_offset_min = match context.value("tz_offset_min") {
            None | Some(Value::Null) => 0,
            Some(Value::Number(minutes)) if minutes.trunc() == *minutes && minutes.abs() <= 1_440.0 => *minutes as i32,
            Some(_) => return Err(bad("tz_offset_min", "expected whole minutes from -1440 to 1440".to_owned())),
        };
        // Of a flag only the first choice is told, so no more are made.
        Ok(Self { subject, session, context, tz_offset_min, slots: Some(1), ..Self::default() })
    }
}

fn bad(name: &str, why: String) -> BadValue {
    BadValue { field: format!("context.{name}"), why, limit: None }
}

// === impl Decider ===

impl Decider {
    /// One placement as a flag, an OFREP success as JSON; its record is a decision's.
    pub async fn evaluate(&self, wire: &Wire<'_>) -> Result<Vec<u8>, Refused> {
        let decided = self.one_in_time(wire).await?;
        Ok(self.conclude(decided, |decided| {
            let flag = decided.flag(true).unwrap_or_default();
            with_id(flag, decided.decision.record.id)
        }))
    }

    /// All placements as flags, on one release and one view of the features, after one wait for all. `known` says of a tag whether
    /// the caller has its flags: then there is no JSON, and no record, because nobody is given what was decided. A flag that cannot
    /// be evaluated stands in the list as `failed` has it.
    pub async fn evaluate_all(
        &self,
        wire: &Wire<'_>,
        known: impl Fn(&str) -> bool,
        failed: impl Fn(&str, Refused) -> Vec<u8>,
    ) -> Result<AllFlags, Refused> {
        let (active, time_us) = self.begin(wire.unit())?;
        let flags = active.flags();
        let wires = || flags.decided.iter().map(|key| Wire { placement: Text::from(&**key), ..wire.clone() });
        let page =
            Page { active: active.clone(), time_us, snapshot: Some(Snapshot::default()), waited: Duration::ZERO };
        let waits = flags.decided.iter().any(|key| first_sight::waiting(&active, key).is_some());
        let page = if waits { self.after_wait(page, wires()).await } else { page };
        let (mut json, mut hash) = (flags.statics.clone(), Sha256::new_with_prefix(flags.tag));
        let mut records = Vec::new();
        let mut turn = Instant::now();
        for wire in wires() {
            let flag = match self.one(&page, &wire, &[]) {
                Ok(decided) => {
                    self.count(&decided);
                    let flag = decided.flag(false).unwrap_or_default();
                    hash.update(&flag);
                    let record = decided.decision.record;
                    let flag = with_id(flag, record.id);
                    records.push(record);
                    flag
                }
                Err(refused) => {
                    let flag = failed(wire.placement.as_str(), refused);
                    hash.update(&flag);
                    flag
                }
            };
            join(&mut json, &flag);
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
        let tag = if flags.decided.is_empty() { hex(&flags.tag) } else { hex(&hash.finalize()[..TAG_BYTES]) };
        let json = if known(&tag) { None } else { Some(json) };
        if json.is_some() {
            records.into_iter().for_each(|record| self.outbox.append_record(record));
        }
        Ok(AllFlags { release: active.digest_text.clone(), tag, json })
    }
}

// === impl Flags ===

impl Flags {
    /// Those of a release. What is the same for everybody is decided here, once, by the code that decides anything.
    pub(super) fn new(active: &Active) -> Self {
        let mut flags = Self::default();
        for placement in active.plan.placements.values().filter(|placement| is_flag(placement)) {
            match is_static(placement).then(|| static_flag(active, placement)).flatten() {
                Some(flag) => join(&mut flags.statics, &flag),
                None => flags.decided.push(placement.key.clone()),
            }
        }
        flags.tag.copy_from_slice(&Sha256::digest(&flags.statics)[..TAG_BYTES]);
        flags
    }
}

/// Whether a placement is a flag: one that ranks what the request names has nothing to choose from without that.
fn is_flag(placement: &Placement) -> bool {
    placement.candidates != Candidates::Request
}

/// Whether everybody gets the same. Every field is named, so that what a placement learns to depend on has to be thought of here.
fn is_static(placement: &Placement) -> bool {
    let Placement {
        key: _,
        browser: _,
        context: _,
        actions: _,
        candidates,
        max_candidates: _,
        slots: _,
        deadline_us: _,
        record_inputs: _,
        views,
        request: _,
        post: _,
        shared: _,
        shared_width: _,
        candidate: _,
        candidate_width: _,
        ineligible: _,
        pii: _,
        calls,
        ways,
        experiments,
        limits,
        shadow: _,
        values: _,
    } = placement;
    let is_fixed = |way: &Way| !way.policy.explores() && matches!(way.fallback, FallbackPlan::List(_));
    *candidates == Candidates::Actions
        && views.is_empty()
        && calls.is_empty()
        && experiments.is_empty()
        && limits.is_empty()
        && ways.iter().all(is_fixed)
}

fn static_flag(active: &Active, placement: &Placement) -> Option<Vec<u8>> {
    let moment =
        Moment { id: DecisionId::new(0, 0, 0), time_us: 0, release: active.digest, explain: false, explores: false };
    let request = Request { slots: Some(1), ..Request::default() };
    let source = Source::new(active, 0, None);
    let mut calls = Calls::new(active, Instant::now(), placement.deadline_us);
    let world = World { features: &source, modules: &mut calls, learned: &mut Unlearned::default() };
    let decision = decide(placement, &request, moment, world, &mut Rows::default()).ok()?;
    render(active, placement, &decision.record, false)
}

// === impl Decided ===

impl Decided {
    /// As a flag, without the id of the decision. `exact` also tells what differs between decisions that choose the same.
    fn flag(&self, exact: bool) -> Option<Vec<u8>> {
        let record = &self.decision.record;
        render(&self.active, self.active.plan.placements.get(&*record.placement)?, record, exact)
    }
}

fn render(active: &Active, placement: &Placement, record: &Record, exact: bool) -> Option<Vec<u8>> {
    let first = record.choices.first();
    let id = first.map(|choice| &*record.candidates[choice.candidate as usize]);
    let value = id.map(|id| {
        let payload = placement.payload(record.experiment.as_deref(), record.arm.as_deref(), id);
        payload.map_or(FlagValue::Id(id), FlagValue::Payload)
    });
    let first = first.filter(|_| exact);
    let flag = Flag {
        key: &record.placement,
        value,
        variant: id.unwrap_or_default(),
        reason: reason(placement, record.reason),
        metadata: Metadata {
            release: &active.digest_text,
            reason: record.reason,
            arm: record.arm.as_deref(),
            fault: record.faults.first().map(|fault| fault.fault),
            score: first.map(|choice| choice.score).filter(|score| score.is_finite()),
            propensity: first.map(|choice| choice.propensity),
        },
    };
    serde_json::to_vec(&flag).ok()
}

/// What OpenFeature calls a reason. STATIC is what a caller may keep for everybody, so an answer that a fault led to is not.
fn reason(placement: &Placement, reason: Reason) -> &'static str {
    match reason {
        Reason::Empty => "DISABLED",
        Reason::Fallback => "UNKNOWN",
        Reason::Explored | Reason::Assigned => "SPLIT",
        Reason::Ruled if is_static(placement) => "STATIC",
        Reason::Ruled | Reason::Scored => "TARGETING_MATCH",
    }
}

/// A flag with the decision's id in its metadata, behind all that its tag is made of.
fn with_id(mut flag: Vec<u8>, id: DecisionId) -> Vec<u8> {
    if flag.ends_with(b"}}") {
        flag.truncate(flag.len() - 2);
        flag.extend_from_slice(format!(",\"decision_id\":\"{id}\"}}}}").as_bytes());
    }
    flag
}

fn join(list: &mut Vec<u8>, flag: &[u8]) {
    if !list.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(flag);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
