//! The decision record: the answer and how it came about. Owns its canonical bytes, of which a replay says "the same";
//! how records travel and rest together is the outbox's block format.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::form::{self, form};
use crate::{DecisionId, Digest, Fault, TimeUs};

/// The version of the decision core. It goes up when the same inputs may give another outcome.
pub const CORE_VERSION: u32 = 3;

/// One decision as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The decision's id.
    pub id: DecisionId,
    /// The decision's time: the node's clock, which never goes back.
    pub time_us: TimeUs,
    /// First 8 bytes of SHA-256(id ‖ placement ‖ "decide").
    pub seed: u64,
    /// The release it was decided with.
    pub release: Digest,
    /// [`CORE_VERSION`] of the runtime that decided.
    pub core: u32,
    /// The placement asked for.
    pub placement: Arc<str>,
    /// Whom it was decided for.
    pub subject: Option<String>,
    /// The session it was decided in.
    pub session: Option<String>,
    /// For each experiment of the placement, in its order: what it drew for the unit.
    pub lots: Vec<Lot>,
    /// How many choices were asked for.
    pub slots: u32,
    /// The candidates' ids in the order they were considered.
    pub candidates: Vec<Arc<str>>,
    /// What was chosen, by slot.
    pub choices: Vec<ChoiceRecord>,
    /// The values of rules and models that go into the answer, in the placement's order; NaN is no value.
    pub values: Vec<f64>,
    /// Why this answer.
    pub reason: Reason,
    /// The experiment that applied.
    pub experiment: Option<Arc<str>>,
    /// The arm of it.
    pub arm: Option<Arc<str>>,
    /// The module calls that did not answer, in the order they were tried.
    pub faults: Vec<RungFault>,
    /// The largest lag among the views used.
    pub max_lag_ms: u32,
    /// The last `seq` of this run applied to the session's aggregates when they were read, 0 for none.
    pub session_seq: u64,
    /// What scorers that run beside made of it, in the placement's order; empty when they did not run.
    pub shadows: Vec<ShadowRecord>,
    /// What the policy's model saw of the choices: always there for one that learns by a model, so that a reward can be learned from.
    pub model: Option<ModelInputs>,
    /// The inputs as used, in the share of decisions the placement asks for.
    pub inputs: Option<Inputs>,
}

/// What an experiment draws for a decision's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lot {
    /// No part in it: it has not begun or is over, or another experiment of its group has the unit.
    Out,
    /// Held out of all experiments of the release.
    Holdout,
    /// A slot from 0 to 9,999.
    Slot(u16),
    /// An arm by its index, whatever the slot: an override.
    Arm(u16),
}

/// What a model saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInputs {
    /// [`crate::logistic::Shape::id`]: under another, the numbers mean something else.
    pub model: u32,
    /// In sixteenths: the features that all candidates share once, then those of each choice, in the order of [`Record::choices`].
    pub x: Vec<i8>,
}

/// What a scorer that runs beside would have chosen first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShadowRecord {
    /// Why it did not answer, when it did not; what follows is then 0 and NaN.
    pub fault: Option<Fault>,
    /// The eligible candidate it scored highest, as an index into [`Record::candidates`].
    pub candidate: u32,
    /// Its score after boosts.
    pub score: f64,
    /// What it made of the candidate that was chosen first; NaN when none was.
    pub chosen: f64,
}

/// One choice as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChoiceRecord {
    /// Index into [`Record::candidates`].
    pub candidate: u32,
    /// The slot it ended up in, from 0.
    pub slot: u32,
    /// The how-manieth draw brought it, from 0; limits may have refused some before. [`NOT_DRAWN`] for a pinned one.
    pub draw: u32,
    /// Its score after boosts; NaN when nothing scored it.
    pub score: f64,
    /// The probability of this choice in its draw, given the draws before it; 1 for a pinned one.
    pub propensity: f64,
}

/// The number of the draw of what was pinned and not drawn.
pub const NOT_DRAWN: u32 = u32::MAX;

/// A module call that did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungFault {
    /// Which call.
    pub rung: Rung,
    /// Why.
    pub fault: Fault,
}

/// A call of one decision: the index of a rules module or of a scorer on the ladder that applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// Rules module, in the placement's order.
    Rules(u8),
    /// Scorer, in the ladder's order.
    Ladder(u8),
    /// The rules module that says who has a part in an experiment, in the placement's order of experiments.
    Target(u8),
    /// Scorer that runs beside, in the placement's order. Its fault stands in [`Record::shadows`].
    Shadow(u8),
}

/// The rows that the modules' inputs were taken from, in the placement's layout. Symbols are indices of the release's
/// list, so the release and this are all a replay needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The share of decisions recorded with inputs when this one was.
    pub rate: f64,
    /// The request's row.
    pub shared: Vec<f64>,
    /// The candidates' rows, row-major.
    pub candidates: Vec<f64>,
    /// The late views that said `refuse`, as indices into the placement's views.
    pub refused: Vec<u16>,
    /// Whether another than the best could be chosen at all.
    pub explores: bool,
    /// What was learned of each candidate, two numbers each: rewards and misses without the prior, or with a model the mean and the
    /// variance of the logit. Empty when the policy does not learn.
    pub learned: Vec<f64>,
}

/// Why this answer. When several apply, the first of EMPTY, FALLBACK, EXPLORED, RULED, ASSIGNED, SCORED is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// There was nothing to choose.
    Empty,
    /// No scorer answered, or rules faulted: the placement's static order.
    Fallback,
    /// Exploration changed a choice.
    Explored,
    /// Rules alone decided, or the static order of a placement that has nothing else.
    Ruled,
    /// An experiment's arm decided how.
    Assigned,
    /// The ladder scored the candidates.
    Scored,
}

// === impl Lot ===

impl Lot {
    /// Where arms begin among numbers.
    const FIRST_ARM: i64 = 100_000;

    /// As records are shown: a slot as it is, -1 out, -2 held out, from 100,000 on an arm.
    pub fn number(self) -> i64 {
        match self {
            Self::Out => -1,
            Self::Holdout => -2,
            Self::Slot(slot) => i64::from(slot),
            Self::Arm(arm) => Self::FIRST_ARM + i64::from(arm),
        }
    }

    /// Of a number that [`Lot::number`] gave.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            -1 => Some(Self::Out),
            -2 => Some(Self::Holdout),
            Self::FIRST_ARM.. => u16::try_from(number - Self::FIRST_ARM).ok().map(Self::Arm),
            slot => u16::try_from(slot).ok().map(Self::Slot),
        }
    }
}

// === impl Rung ===

impl fmt::Display for Rung {
    /// As records are shown: `ladder:0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(at) => write!(f, "rules:{at}"),
            Self::Ladder(at) => write!(f, "ladder:{at}"),
            Self::Target(at) => write!(f, "experiment:{at}"),
            Self::Shadow(at) => write!(f, "shadow:{at}"),
        }
    }
}

impl FromStr for Rung {
    type Err = ();

    /// Reads what is shown.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, at) = text.split_once(':').ok_or(())?;
        let at = at.parse().map_err(drop)?;
        match kind {
            "rules" => Ok(Self::Rules(at)),
            "ladder" => Ok(Self::Ladder(at)),
            "experiment" => Ok(Self::Target(at)),
            "shadow" => Ok(Self::Shadow(at)),
            _ => Err(()),
        }
    }
}

// === impl Reason ===

impl Reason {
    /// Every reason, in order of precedence.
    pub const ALL: [Self; 6] = [Self::Empty, Self::Fallback, Self::Explored, Self::Ruled, Self::Assigned, Self::Scored];

    /// Its name in answers, metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "EMPTY",
            Self::Fallback => "FALLBACK",
            Self::Explored => "EXPLORED",
            Self::Ruled => "RULED",
            Self::Assigned => "ASSIGNED",
            Self::Scored => "SCORED",
        }
    }
}

/// The bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decision record: cut off, too long, or something else")]
pub struct BadRecord;

// === impl Record ===

impl Record {
    /// The canonical bytes: every field in order, integers as varints, floats by their bits (the postcard wire format).
    pub fn to_bytes(&self) -> Vec<u8> {
        form::bytes(self)
    }

    /// Reads what [`Record::to_bytes`] wrote, all of it.
    ///
    /// # Errors
    ///
    /// When it is something else, even where that says the same in more bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecord> {
        form::read(bytes).ok_or(BadRecord)
    }
}

form!(struct Record {
    id,
    time_us,
    seed,
    release,
    core,
    placement,
    subject,
    session,
    lots,
    slots,
    candidates,
    choices,
    values,
    reason,
    experiment,
    arm,
    faults,
    max_lag_ms,
    session_seq,
    shadows,
    model,
    inputs,
});
form!(enum Lot { Out, 1 Holdout, 2 Slot(slot), 3 Arm(arm) });
form!(struct ModelInputs { model, x });
form!(struct ShadowRecord { fault, candidate, score, chosen });
form!(struct ChoiceRecord { candidate, slot, draw, score, propensity });
form!(struct RungFault { rung, fault });
form!(enum Rung { Rules(at), 1 Ladder(at), 2 Target(at), 3 Shadow(at) });
form!(struct Inputs { rate, shared, candidates, refused, explores, learned });
form!(enum Reason { Empty, 1 Fallback, 2 Explored, 3 Ruled, 4 Assigned, 5 Scored });

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of value, and the ends of those that have some.
    fn records() -> Vec<Record> {
        let least = Record {
            id: DecisionId([0; 16]),
            time_us: i64::MIN,
            seed: 0,
            release: Digest([0; 32]),
            core: 0,
            placement: "".into(),
            subject: None,
            session: None,
            lots: Vec::new(),
            slots: 0,
            candidates: Vec::new(),
            choices: Vec::new(),
            values: Vec::new(),
            reason: Reason::Empty,
            experiment: None,
            arm: None,
            faults: Vec::new(),
            max_lag_ms: 0,
            session_seq: 0,
            shadows: Vec::new(),
            model: None,
            inputs: None,
        };
        let numbers =
            vec![0.0, -0.0, f64::NAN, f64::from_bits(0xfff8_0000_0000_0001), f64::INFINITY, f64::MIN_POSITIVE];
        let of = |at: u8| [Rung::Rules(at), Rung::Ladder(at), Rung::Target(at), Rung::Shadow(at)];
        let rungs = of(0).into_iter().chain(of(u8::MAX)).cycle();
        let choice = ChoiceRecord { candidate: 1, slot: 128, draw: NOT_DRAWN, score: -1.5, propensity: 0.25 };
        let shadow = ShadowRecord { fault: None, candidate: 300, score: f64::NAN, chosen: 1.0 };
        let most = Record {
            id: DecisionId([255; 16]),
            time_us: i64::MAX,
            seed: u64::MAX,
            release: Digest::of(b"most"),
            core: u32::MAX,
            placement: "Füße \0 👟".into(),
            subject: Some("u".repeat(127)),
            session: Some("s".repeat(20_000)),
            lots: vec![Lot::Out, Lot::Holdout, Lot::Slot(0), Lot::Slot(u16::MAX), Lot::Arm(127), Lot::Arm(128)],
            slots: 16_384,
            candidates: vec!["a".into(), "".into()],
            choices: vec![choice; 3],
            values: numbers.clone(),
            reason: Reason::Scored,
            experiment: Some("e".into()),
            arm: Some("a".into()),
            faults: Fault::ALL.into_iter().zip(rungs).map(|(fault, rung)| RungFault { rung, fault }).collect(),
            max_lag_ms: u32::MAX,
            session_seq: u64::MAX,
            shadows: vec![shadow, ShadowRecord { fault: Some(Fault::Shed), ..shadow }],
            model: Some(ModelInputs { model: 7, x: vec![i8::MIN, -1, 0, 1, i8::MAX] }),
            inputs: Some(Inputs {
                rate: 0.1,
                shared: numbers,
                candidates: vec![1.0; 200],
                refused: vec![0, u16::MAX],
                explores: true,
                learned: Vec::new(),
            }),
        };
        let times = [-1, 0, 1, 63, 64, -64, -65, 1_795_435_200_000_000];
        let timed = times.map(|time_us| Record { time_us, seed: time_us as u64, ..least.clone() });
        let reasons = Reason::ALL.map(|reason| Record { reason, ..most.clone() });
        [vec![least], timed.to_vec(), reasons.to_vec()].concat()
    }

    #[test]
    fn its_bytes_are_those_of_the_postcard_format() {
        for record in records() {
            let bytes = record.to_bytes();
            assert_eq!(postcard::to_allocvec(&record), Ok(bytes.clone()), "{record:?}");
            // By its bytes: NaN is not itself.
            assert_eq!(Record::from_bytes(&bytes).map(|read| read.to_bytes()), Ok(bytes));
        }
    }

    #[test]
    fn what_is_cut_off_too_long_or_said_in_another_way_is_no_record() {
        for record in records() {
            let bytes = record.to_bytes();
            let ends = (0..bytes.len()).step_by(bytes.len() / 100 + 1);
            ends.for_each(|end| assert_eq!(Record::from_bytes(&bytes[..end]), Err(BadRecord), "{end} of {record:?}"));
            assert_eq!(Record::from_bytes(&[&bytes[..], &[0]].concat()), Err(BadRecord));
        }
        // The last five bytes: the lag, the number of an event, no shadows, no model, no inputs.
        let least = records().swap_remove(0).to_bytes();
        let ends = |tail: &[u8]| Record::from_bytes(&[&least[..least.len() - 5], tail].concat());
        assert!(ends(&[0, 0, 0, 0, 0]).is_ok());
        let no_flag = ends(&[0, 0, 0, 0, 2]);
        let two_bytes_for_none = ends(&[0, 128, 0, 0, 0, 0]);
        let above_a_u32 = ends(&[255, 255, 255, 255, 16, 0, 0, 0, 0]);
        assert_eq!([no_flag, two_bytes_for_none, above_a_u32], [const { Err(BadRecord) }; 3]);
        // A list that says to be longer than all that is left.
        let lots = 16 + 10 + 1 + 32 + 1 + 1 + 1 + 1;
        let long = [&least[..lots], &[255, 255, 255, 255, 15], &least[lots + 1..]].concat();
        assert_eq!(Record::from_bytes(&long), Err(BadRecord));
    }
}
