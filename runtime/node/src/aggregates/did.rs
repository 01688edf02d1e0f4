//! What an instance tells of its work.

use std::fmt;

use serde::Serialize;

use super::order::Gap;

/// What an instance does, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Did {
    /// It began to count.
    Began {
        /// The view.
        view: String,
        /// The sequence of the stream that is counted already.
        after: u64,
    },
    /// Aggregates are new in a view that is counted already: they begin with nothing.
    Empty {
        /// The view.
        view: String,
        /// Their names.
        aggregates: Vec<String>,
    },
    /// Events did not come, and it counts on without them.
    PassedBy {
        /// The view.
        view: String,
        /// Which events.
        #[serde(flatten)]
        gap: Gap,
    },
    /// It counted on.
    Counted {
        /// The view.
        view: String,
        /// Up to this sequence of the stream.
        at: u64,
        /// Whether that is all there is.
        is_current: bool,
        /// Events of its part since it began.
        events: u64,
        /// Events that slots counted already.
        again: u64,
        /// Slots written since it began.
        slots: u64,
        /// Blocks that wait for one before them.
        held: usize,
        /// Events since it began that had been passed by before.
        late: u64,
        /// Events that were passed by and have not come.
        missing: u64,
        /// Runs of nodes that are not remembered any more, because too many others told something since.
        runs_forgotten: u64,
    },
    /// Something did not work; it is tried again.
    Failed {
        /// The view.
        view: String,
        /// What.
        why: String,
    },
}

// === impl Did ===

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { view, after } => write!(f, "{view}: counts what came after {after}"),
            Self::Empty { view, aggregates } => {
                let names = aggregates.join(", ");
                write!(
                    f,
                    "{view}: counts {names} from here on, not what came before; `selvedge features backfill` computes that, and \
                     a view of another name is counted from the beginning"
                )
            }
            Self::PassedBy { view, gap: Gap { node, epoch, seqs } } => {
                let last = seqs.end.saturating_sub(1);
                write!(
                    f,
                    "{view}: events {} to {last} of {node} {epoch} are not in the stream; counts on, and them when they come",
                    seqs.start
                )
            }
            Self::Counted { view, at, is_current, events, again, slots, held, late, missing, runs_forgotten } => {
                let current = if *is_current { "all there is" } else { "more to come" };
                write!(
                    f,
                    "{view}: at {at}, {current}; {events} events, {again} counted before, {slots} slots written"
                )?;
                if *held > 0 {
                    write!(f, ", {held} blocks wait for one before them")?;
                }
                if *late > 0 {
                    write!(f, ", {late} came late")?;
                }
                if *missing > 0 {
                    write!(f, ", {missing} did not come")?;
                }
                if *runs_forgotten > 0 { write!(f, ", {runs_forgotten} runs of nodes forgotten") } else { Ok(()) }
            }
            Self::Failed { view, why } => write!(f, "{view}: {why}"),
        }
    }
}
