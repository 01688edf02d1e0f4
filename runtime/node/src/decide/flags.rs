//! Decisions as feature flags, as OpenFeature's remote evaluation protocol (OFREP 0.3.0) has them: a placement is a flag, the first
//! choice its variant, the payload its value. Owns what a flag looks like, which placements are one, and the evaluation of all of
//! them at once. Must not know HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_decision::definition::{Payload, Unit};
use selvedge_decision::plan::{Candidates, Experiment, FallbackPlan, Placement, Way};
use selvedge_decision::record::Lot;
use selvedge_decision::settle::{Facts, Outcome, Unlearned, settle};
use selvedge_decision::{BadRequest, DecisionId, Fault, Reason, TimeUs};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::active::Active;
use super::modules::Calls;
use super::request::{self, BadValue, Context, Value, Wire};
use super::source::Snapshot;
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
    /// How many of them were decided for this context.
    pub decided: usize,
    /// The flags as JSON, separated by commas; `None` when the caller has those of this tag.
    pub json: Option<Vec<u8>>,
}

/// One flag for one context.
pub struct OneFlag {
    /// The release it was evaluated with.
    pub active: Arc<Active>,
    /// The decision.
    pub id: DecisionId,
    /// The first choice's id; `None` when nothing was chosen.
    pub variant: Option<Arc<str>>,
    /// Why, in OpenFeature's words.
    pub reason: &'static str,
    /// The flag as JSON.
    pub json: Vec<u8>,
}

/// The placements of a release as flags.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// Those that are the same for everybody, as JSON, separated by commas.
    statics: Vec<u8>,
    /// What their JSON hashes to.
    tag: [u8; TAG_BYTES],
    /// Those that depend on who asks.
    each: Vec<EachFlag>,
}

/// A flag that depends on who asks.
#[derive(Debug)]
struct EachFlag {
    key: Arc<str>,
    /// Where it depends on nothing but which arm they have.
    split: Option<Split>,
}

/// A flag as each arm has it, put together once a release.
#[derive(Debug)]
struct Split {
    /// By experiment and arm.
    arms: Vec<Vec<Told>>,
    /// For who has none.
    none: Told,
}

/// A flag's JSON, and what it hashes to.
#[derive(Debug)]
struct Told {
    json: Vec<u8>,
    tag: [u8; TAG_BYTES],
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
    experiment: Option<&'a str>,
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
    /// One placement as a flag; its record is a decision's.
    pub async fn evaluate(&self, wire: &Wire<'_>) -> Result<OneFlag, Refused> {
        let decided = self.one_in_time(wire).await?;
        Ok(self.conclude(decided, |decided| {
            let (active, record) = (decided.active.clone(), &decided.decision.record);
            let placement = active.plan.placements.get(&*record.placement);
            let reason = placement.map_or("UNKNOWN", |placement| reason(placement, record.reason));
            let variant = record.choices.first().map(|choice| record.candidates[choice.candidate as usize].clone());
            let json = with_id(decided.flag(true).unwrap_or_default(), record.id);
            OneFlag { active, id: record.id, variant, reason, json }
        }))
    }

    /// All placements as flags, on one release and one view of the features, after one wait for all. `known` says of a tag whether
    /// the caller has its flags: then there is no JSON, and no record, because nobody is given what was decided. A flag of which an arm
    /// is all there is to decide leaves none either: who has which arm is known without. A flag that cannot be evaluated stands in the
    /// list as `failed` has it.
    pub async fn evaluate_all(
        &self,
        wire: &Wire<'_>,
        known: impl Fn(&str) -> bool,
        failed: impl Fn(&str, Refused) -> Vec<u8>,
    ) -> Result<AllFlags, Refused> {
        let (active, time_us) = self.begin(wire.unit())?;
        let flags = active.flags();
        let page =
            Page { active: active.clone(), time_us, snapshot: Some(Snapshot::default()), waited: Duration::ZERO };
        let waits = flags.each.iter().any(|flag| first_sight::waiting(&active, &flag.key).is_some());
        let page =
            if waits { self.after_wait(page, flags.each.iter().map(|flag| flag.wire(wire))).await } else { page };
        let (mut json, mut hash) = (flags.statics.clone(), Sha256::new_with_prefix(flags.tag));
        let mut records = Vec::new();
        let mut turn = Instant::now();
        for flag in &flags.each {
            if let Some(split) = &flag.split {
                match split.told(&active, &flag.key, wire, page.time_us) {
                    Ok(told) => {
                        hash.update(told.tag);
                        join(&mut json, &told.json);
                    }
                    Err(refused) => {
                        let flag = failed(&flag.key, refused);
                        hash.update(&flag);
                        join(&mut json, &flag);
                    }
                }
                continue;
            }
            let wire = flag.wire(wire);
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
        let tag = if flags.each.is_empty() { hex(&flags.tag) } else { hex(&hash.finalize()[..TAG_BYTES]) };
        let decided = records.len();
        let json = if known(&tag) { None } else { Some(json) };
        if json.is_some() {
            records.into_iter().for_each(|record| self.outbox.append_record(record));
        }
        Ok(AllFlags { release: active.digest_text.clone(), tag, decided, json })
    }
}

// === impl Flags ===

impl Flags {
    /// Those of a release. What is the same for everybody is decided here, once, by the code that decides anything.
    pub(super) fn new(active: &Active) -> Self {
        let mut flags = Self::default();
        for placement in active.plan.placements.values().filter(|placement| is_flag(placement)) {
            let split = is_fixed(placement).then(|| Split::new(active, placement)).flatten();
            match split {
                Some(split) if split.arms.is_empty() => join(&mut flags.statics, &split.none.json),
                split => flags.each.push(EachFlag { key: placement.key.clone(), split }),
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

/// Whether all who have the same arm get the same. Every field is named, so that what a placement learns to depend on has to be thought
/// of here.
fn is_fixed(placement: &Placement) -> bool {
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
        experiments: _,
        limits,
        shadow: _,
        values: _,
    } = placement;
    let is_fixed = |way: &Way| {
        !way.policy.explores() && way.policy.bandit.is_none() && matches!(way.fallback, FallbackPlan::List(_))
    };
    *candidates == Candidates::Actions
        && views.is_empty()
        && calls.is_empty()
        && limits.is_empty()
        && ways.iter().all(is_fixed)
}

// === impl EachFlag ===

impl EachFlag {
    /// A request for it alone.
    fn wire<'a>(&'a self, wire: &Wire<'a>) -> Wire<'a> {
        Wire { placement: Text::from(&*self.key), ..wire.clone() }
    }
}

// === impl Split ===

impl Split {
    /// A placement that is fixed but for its arms, decided once for each by the code that decides anything.
    fn new(active: &Active, placement: &Placement) -> Option<Self> {
        let arm = |at: usize, arm: usize| {
            let mut lots = vec![Lot::Out; placement.experiments.len()];
            lots[at] = Lot::Arm(u16::try_from(arm).ok()?);
            Told::new(active, placement, &lots)
        };
        let arms = |(at, experiment): (usize, &Experiment)| (0..experiment.arms.len()).map(|of| arm(at, of)).collect();
        Some(Self {
            arms: placement.experiments.iter().enumerate().map(arms).collect::<Option<_>>()?,
            none: Told::new(active, placement, &vec![Lot::Out; placement.experiments.len()])?,
        })
    }

    /// The flag as who asks has it.
    fn told(&self, active: &Active, key: &str, wire: &Wire<'_>, time_us: TimeUs) -> Result<&Told, Refused> {
        let Some(placement) = active.plan.placements.get(key) else { return Ok(&self.none) };
        // What is wrong with a request is wrong with it here as well as where it asks for this flag alone.
        request::typed(placement, wire, &[])?;
        let experiments = &placement.experiments;
        let mut found = None;
        for (at, experiment) in experiments.iter().enumerate() {
            let (unit, name) = match experiment.unit {
                Unit::Subject => (&wire.subject, "subject"),
                Unit::Session => (&wire.session, "session"),
            };
            // One that is missing is missed whether or not an experiment before has the request.
            let unit = unit.as_ref().ok_or(BadRequest::NoUnit(name))?;
            if found.is_none() {
                found = experiment.arm(experiment.lot(unit.as_str(), time_us)).map(|arm| (at, arm));
            }
        }
        Ok(found.and_then(|(at, arm)| self.arms.get(at)?.get(arm)).unwrap_or(&self.none))
    }
}

impl Told {
    fn new(active: &Active, placement: &Placement, lots: &[Lot]) -> Option<Self> {
        let ids: Vec<Arc<str>> = placement.actions.iter().map(|action| action.id.clone()).collect();
        let facts = Facts {
            ids: &ids,
            shared: &[],
            rows: &[],
            refused: &[],
            lots,
            slots: 1,
            seed: 0,
            explores: false,
            shadows: false,
            explain: false,
        };
        let mut calls = Calls::new(active, Instant::now(), placement.deadline_us);
        let outcome = settle(placement, facts, &mut calls, &mut Unlearned::default());
        let json = render(active, placement, &Seen::of(&outcome, &ids), false)?;
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&Sha256::digest(&json)[..TAG_BYTES]);
        Some(Self { json, tag })
    }
}

/// What a flag tells of a decision.
struct Seen<'a> {
    /// The first choice: its id, score and propensity.
    first: Option<(&'a str, f64, f64)>,
    reason: Reason,
    experiment: Option<&'a str>,
    arm: Option<&'a str>,
    fault: Option<Fault>,
}

impl<'a> Seen<'a> {
    fn of(outcome: &'a Outcome, ids: &'a [Arc<str>]) -> Self {
        let first = outcome.choices.first();
        Self {
            first: first.map(|choice| (&*ids[choice.candidate as usize], choice.score, choice.propensity)),
            reason: outcome.reason.unwrap_or(Reason::Empty),
            experiment: outcome.experiment.as_deref(),
            arm: outcome.arm.as_deref(),
            fault: outcome.faults.first().map(|fault| fault.fault),
        }
    }
}

// === impl Decided ===

impl Decided {
    /// As a flag, without the id of the decision. `exact` also tells what differs between decisions that choose the same.
    fn flag(&self, exact: bool) -> Option<Vec<u8>> {
        let record = &self.decision.record;
        let first = record.choices.first();
        let seen = Seen {
            first: first
                .map(|choice| (&*record.candidates[choice.candidate as usize], choice.score, choice.propensity)),
            reason: record.reason,
            experiment: record.experiment.as_deref(),
            arm: record.arm.as_deref(),
            fault: record.faults.first().map(|fault| fault.fault),
        };
        render(&self.active, self.active.plan.placements.get(&*record.placement)?, &seen, exact)
    }
}

fn render(active: &Active, placement: &Placement, seen: &Seen<'_>, exact: bool) -> Option<Vec<u8>> {
    let value = seen.first.map(|(id, ..)| {
        let payload = placement.payload(seen.experiment, seen.arm, id);
        payload.map_or(FlagValue::Id(id), FlagValue::Payload)
    });
    let numbers = seen.first.filter(|_| exact);
    let flag = Flag {
        key: &placement.key,
        value,
        variant: seen.first.map_or("", |(id, ..)| id),
        reason: reason(placement, seen.reason),
        metadata: Metadata {
            release: &active.digest_text,
            reason: seen.reason,
            experiment: seen.experiment,
            arm: seen.arm,
            fault: seen.fault,
            score: numbers.map(|(_, score, _)| score).filter(|score| score.is_finite()),
            propensity: numbers.map(|(.., propensity)| propensity),
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
        Reason::Ruled if is_fixed(placement) && placement.experiments.is_empty() => "STATIC",
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
