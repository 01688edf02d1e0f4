//! What is told of a decision, as JSON and for people. Owns the shape.

use std::fmt;

use selvedge_decision::Record;
use selvedge_decision::plan::Placement;
use selvedge_decision::policy::Contests;
use selvedge_decision::record::{Lot, Rung};
use selvedge_decision::replay::{again, record_of};
use selvedge_decision::settle::Trace;
use selvedge_node::decide::Limited;
use selvedge_node::events::{Event, rfc3339};
use serde::Serialize;

use crate::commands::replay::difference;
use crate::compare::{Value, inputs};
use crate::releases::{Calls, Release};
use crate::table::Table;

/// How many candidates are told to people one by one, and how many features.
const SHOWN: usize = 20;

/// A decision, told.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    decision_id: String,
    time: String,
    placement: String,
    reason: &'static str,
    experiment: Option<String>,
    arm: Option<String>,
    /// Whether it was held out of experiments of the release.
    held_out: bool,
    release: String,
    core: u32,
    subject: Option<String>,
    session: Option<String>,
    slots: u32,
    candidates: usize,
    choices: Vec<Choice>,
    faults: Vec<Faulted>,
    max_lag_ms: u32,
    /// What came of it: events that name it.
    brought: Vec<Brought>,
    /// How it came about; none when the release or the inputs are not there.
    how: Option<How>,
    /// Why there is no `how`, or not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_replayed: Option<String>,
}

#[derive(Debug, Serialize)]
struct Choice {
    id: String,
    slot: u32,
    score: f64,
    propensity: f64,
}

#[derive(Debug, Serialize)]
struct Faulted {
    /// `rules:0`, `ladder:1`.
    call: String,
    /// Its module, where the release is known.
    module: Option<String>,
    fault: &'static str,
}

#[derive(Debug, Serialize)]
struct Brought {
    event: String,
    received: String,
    item: Option<String>,
    properties: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct How {
    /// Whether it comes out the same, to the byte; none where it could not be tried.
    same: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
    /// The scorer that answered.
    scorer: Option<String>,
    rules: Vec<Fired>,
    considered: Vec<Considered>,
    /// The limits that changed the answer; what stood elsewhere on the page is not recorded.
    limits: Vec<Limited>,
    values: Vec<Named>,
    inputs: Vec<Used>,
}

#[derive(Debug, Serialize)]
struct Fired {
    module: String,
    row: f64,
    candidate: String,
}

#[derive(Debug, Serialize)]
struct Considered {
    id: String,
    eligible: bool,
    boost: f64,
    score: f64,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    value: Value,
}

#[derive(Debug, Serialize)]
struct Used {
    name: String,
    candidate: Option<String>,
    value: Value,
}

// === impl Told ===

impl Told {
    pub(super) fn new(record: &Record, brought: &[Event], release: Result<&Release, String>) -> Self {
        let mut told = Self::of(record, brought);
        let release = match release {
            Ok(release) if release.digest == record.release => release,
            Ok(release) => {
                told.not_replayed = Some(format!("it was decided by another release than {}", release.digest));
                return told;
            }
            Err(why) => {
                told.not_replayed = Some(why);
                return told;
            }
        };
        let Some(placement) = release.plan.placements.get(&*record.placement) else {
            told.not_replayed = Some("its release has no such placement".to_owned());
            return told;
        };
        for (faulted, fault) in told.faults.iter_mut().zip(&record.faults) {
            faulted.module = module_of(record, placement, fault.rung);
        }
        if record.inputs.is_none() {
            told.not_replayed = Some("recorded without inputs".to_owned());
            return told;
        }
        let mut how = How::of(release, placement, record);
        match again(&release.plan, record, &mut Calls(release), &mut Contests::default()) {
            Ok(outcome) => {
                how.trace(placement, record, &outcome.trace);
                let again = record_of(record, outcome);
                how.same = Some(again.to_bytes() == record.to_bytes());
                how.difference = (how.same == Some(false)).then(|| difference(record, &again));
            }
            Err(why) => told.not_replayed = Some(why.to_string()),
        }
        told.how = Some(how);
        told
    }

    fn of(record: &Record, brought: &[Event]) -> Self {
        let choices = record.choices.iter().map(|choice| Choice {
            id: id(record, choice.candidate as usize),
            slot: choice.slot,
            score: choice.score,
            propensity: choice.propensity,
        });
        let faults = record.faults.iter().map(|fault| Faulted {
            call: fault.rung.to_string(),
            module: None,
            fault: fault.fault.as_str(),
        });
        let brought = brought.iter().map(|event| Brought {
            event: event.name.clone(),
            received: rfc3339::format(event.received_us),
            item: event.item.clone(),
            properties: serde_json::from_str(&event.properties).unwrap_or_default(),
        });
        Self {
            decision_id: record.id.to_string(),
            time: rfc3339::format(record.time_us),
            placement: record.placement.to_string(),
            reason: record.reason.as_str(),
            experiment: record.experiment.as_deref().map(str::to_owned),
            arm: record.arm.as_deref().map(str::to_owned),
            held_out: record.lots.contains(&Lot::Holdout),
            release: record.release.to_string(),
            core: record.core,
            subject: record.subject.clone(),
            session: record.session.clone(),
            slots: record.slots,
            candidates: record.candidates.len(),
            choices: choices.collect(),
            faults: faults.collect(),
            max_lag_ms: record.max_lag_ms,
            brought: brought.collect(),
            how: None,
            not_replayed: None,
        }
    }

    /// Whether it came out different when it was decided again.
    pub(super) fn is_different(&self) -> bool {
        self.how.as_ref().is_some_and(|how| how.same == Some(false))
    }
}

fn id(record: &Record, candidate: usize) -> String {
    record.candidates.get(candidate).map_or_else(|| "?".to_owned(), ToString::to_string)
}

/// The module of a call that faulted.
fn module_of(record: &Record, placement: &Placement, rung: Rung) -> Option<String> {
    Some(placement.call_of(record.experiment.as_deref(), record.arm.as_deref(), rung)?.name.clone())
}

// === impl How ===

impl How {
    /// What the record alone says, by the names of its release.
    fn of(release: &Release, placement: &Placement, record: &Record) -> Self {
        let chosen: Vec<usize> = record.choices.iter().take(SHOWN).map(|choice| choice.candidate as usize).collect();
        let used = inputs(&release.plan, placement, record, &chosen).into_iter().map(|input| Used {
            name: input.name,
            candidate: input.candidate.map(|candidate| id(record, candidate)),
            value: input.value,
        });
        let values = placement.values.iter().zip(&record.values).map(|(spec, value)| {
            use selvedge_decision::manifest::Kind;
            let told = match spec.kind {
                _ if value.is_nan() => Value::Missing,
                Kind::Flag => Value::Flag(*value != 0.0),
                Kind::Symbol => spec.symbols.get(*value as usize).cloned().map_or(Value::Missing, Value::Text),
                Kind::Number | Kind::Vector => Value::Number(*value),
            };
            Named { name: spec.name.clone(), value: told }
        });
        Self {
            same: None,
            difference: None,
            scorer: None,
            rules: Vec::new(),
            considered: Vec::new(),
            limits: Vec::new(),
            values: values.collect(),
            inputs: used.collect(),
        }
    }

    /// What deciding it again shows.
    fn trace(&mut self, placement: &Placement, record: &Record, trace: &Trace) {
        self.limits = Limited::of(placement, record, trace);
        self.scorer = trace.rung.and_then(|rung| {
            let scorer = placement.ways.get(trace.way)?.ladder.get(rung)?;
            let call = placement.calls.get(scorer.call)?;
            Some(format!("{}:{}", call.name, call.outputs.get(scorer.output)?.name))
        });
        let fired = trace.fired.iter().filter_map(|(call, candidate, row)| {
            let module = placement.calls.get(*call)?.name.clone();
            Some(Fired { module, row: *row, candidate: id(record, *candidate as usize) })
        });
        self.rules = fired.collect();
        let considered = trace.scores.iter().zip(&trace.boosts).zip(&trace.eligible).enumerate();
        self.considered = considered
            .map(|(at, ((score, boost), eligible))| Considered {
                id: id(record, at),
                eligible: *eligible,
                boost: *boost,
                score: *score,
            })
            .collect();
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} at {}", self.placement, self.decision_id, self.time)?;
        let whom = |name: &str, id: &Option<String>| {
            id.as_ref().map(|id| format!(" {name}={}", plain(id))).unwrap_or_default()
        };
        let named = |what: &str, name: &Option<String>| {
            name.as_ref().map(|name| format!(", {what} {}", plain(name))).unwrap_or_default()
        };
        let (experiment, arm) = (named("experiment", &self.experiment), named("arm", &self.arm));
        let held_out = if self.held_out { ", held out of experiments" } else { "" };
        let (subject, session) = (whom("subject", &self.subject), whom("session", &self.session));
        writeln!(f, "{}{experiment}{arm}{held_out}{subject}{session}", self.reason)?;
        writeln!(
            f,
            "release {}, decision core {}, views at most {} ms late",
            self.release, self.core, self.max_lag_ms
        )?;
        writeln!(f)?;
        let mut table = Table::new(&["slot", "choice", "score", "propensity"]);
        for choice in &self.choices {
            table.row([choice.slot.to_string(), plain(&choice.id), number(choice.score), number(choice.propensity)]);
        }
        write!(f, "{table}")?;
        write!(f, "\nof {} candidates, for {} slots", self.candidates, self.slots)?;
        if self.candidates == 0 {
            write!(f, ": there were none, or a page that shows nothing twice had them all elsewhere")?;
        }
        for fault in &self.faults {
            let module = fault.module.as_ref().map(|module| format!(" ({module})")).unwrap_or_default();
            write!(f, "\nfault: {}{module}: {}", fault.call, fault.fault)?;
        }
        for brought in &self.brought {
            let item = brought.item.as_ref().map(|item| format!(" item={}", plain(item))).unwrap_or_default();
            write!(
                f,
                "\nbrought: {}{item} {} at {}",
                plain(&brought.event),
                plain(&brought.properties.to_string()),
                brought.received
            )?;
        }
        if let Some(how) = &self.how {
            write!(f, "{how}")?;
        }
        match &self.not_replayed {
            Some(why) => write!(f, "\n\nnot decided again: {why}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.same, &self.difference) {
            (Some(true), _) => write!(f, "\n\ndecided again: the same bytes")?,
            (Some(false), why) => write!(f, "\n\ndecided again: different: {}", why.as_deref().unwrap_or_default())?,
            (None, _) => {}
        }
        if let Some(scorer) = &self.scorer {
            write!(f, "\nscored by {scorer}")?;
        }
        for fired in self.rules.iter().take(SHOWN) {
            write!(f, "\nrule: {} row {} fired for {}", fired.module, fired.row, plain(&fired.candidate))?;
        }
        if !self.considered.is_empty() {
            let mut table = Table::new(&["candidate", "eligible", "boost", "score"]);
            for candidate in self.considered.iter().take(SHOWN) {
                let eligible = if candidate.eligible { "yes" } else { "no" };
                table.row([
                    plain(&candidate.id),
                    eligible.to_owned(),
                    number(candidate.boost),
                    number(candidate.score),
                ]);
            }
            write!(f, "\n\n{table}")?;
            more(f, self.considered.len())?;
        }
        for limit in &self.limits {
            let ids: Vec<String> = limit.candidates.iter().map(|id| plain(id)).collect();
            match ids.is_empty() {
                true => write!(f, "\nlimit: {} changed the answer", limit.limit)?,
                false => write!(f, "\nlimit: {} kept from a place: {}", limit.limit, ids.join(", "))?,
            }
        }
        for named in &self.values {
            write!(f, "\nvalue: {} = {}", named.name, plain(&named.value.to_string()))?;
        }
        if !self.inputs.is_empty() {
            let mut table = Table::new(&["input", "of", "value"]);
            for input in self.inputs.iter().take(2 * SHOWN) {
                let of = input.candidate.as_deref().map(plain).unwrap_or_default();
                table.row([input.name.clone(), of, plain(&input.value.to_string())]);
            }
            write!(f, "\n\n{table}")?;
            more(f, self.inputs.len().saturating_sub(SHOWN))?;
        }
        Ok(())
    }
}

fn more(f: &mut fmt::Formatter<'_>, all: usize) -> fmt::Result {
    match all.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, "\nand {more} more: --json has all"),
    }
}

/// A number for people; nothing for none.
fn number(number: f64) -> String {
    if number.is_nan() { "-".to_owned() } else { format!("{number}") }
}

/// A text that a terminal takes as text, whatever a client sent in it.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
