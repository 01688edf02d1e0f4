//! Aggregates: what the events of a session (or of whoever a view is by) come to. Owns what each of them means; a node and a
//! backfill run this same code, so that a value recorded at a decision can be computed again, to the bit.
//!
//! Events are applied in the order of their sequence numbers, and their time is when a node received them, which never goes
//! back on one node. A **window** is cut into [`WINDOW_BUCKETS`] buckets of equal length, which begin at multiples of it since
//! 1970; it covers that many whole buckets and the current one, so `30m` looks back 30 to 32.5 minutes. Counts are integers and
//! sums are fixed-point (millionths), so that neither depends on the order of addition.
//!
//! One entity's [`State`] may come in several parts, one for each node that saw its events; [`Aggregates::merge`] puts them
//! together.

mod compile;
mod decay;
mod slot;
mod state;
#[cfg(test)]
mod tests;
mod window;

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use self::compile::{Feature, compile};
pub use self::slot::Slot;
use self::state::Cell;
pub use self::state::State;
use crate::layout::{FeatureKind, RowLayout, id_hash};
use crate::manifest::Scalar;
use crate::{Digest, TimeUs};

/// Buckets of a window, besides the current one.
pub const WINDOW_BUCKETS: i64 = 12;
/// The most different values that `distinct` tells apart; with more, it answers this.
pub const MOST_DISTINCT: usize = 64;
/// The largest number that an event may add to a sum or be the extreme of, either way; others are not counted.
pub const LARGEST: f64 = 1e12;

/// The aggregates of a view, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregates {
    all: Vec<Aggregate>,
    /// What events are asked for, each once.
    sources: Vec<Of>,
    layout: RowLayout,
    /// The digest of what each means, by which slots name them.
    meanings: Vec<String>,
}

/// One aggregate.
#[derive(Debug, Clone, PartialEq)]
struct Aggregate {
    /// Which events count.
    filter: Filter,
    function: Function,
    /// Which of the sources its value comes from.
    source: Option<usize>,
    /// Its first cell in a row.
    cell: usize,
}

/// Which events count.
#[derive(Debug, Clone, PartialEq)]
struct Filter {
    /// Any of these names; every event when there is none.
    names: Vec<String>,
    /// All of these properties, each by its source.
    conditions: Vec<(usize, Scalar)>,
}

/// What is computed.
#[derive(Debug, Clone, PartialEq)]
enum Function {
    Count(Window),
    Sum(Window),
    Mean(Window),
    Min(Window),
    Max(Window),
    /// Of the events of the second filter, the share of those of the first, with a prior.
    Rate {
        over: Filter,
        prior: [f64; 2],
        window: Window,
    },
    Last(Window),
    First,
    /// At most so many.
    LastN(Window, usize),
    TimeSince,
    Distinct(Window),
    /// Half-life in microseconds.
    DecayedCount(i64),
    /// Half-life in microseconds, and values.
    DecayedMean(i64, usize),
    SessionStart,
    SessionDepth,
    SessionDuration,
}

/// How far back an aggregate looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// To the first event.
    All,
    /// Over buckets of so many microseconds.
    Buckets(i64),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Of {
    /// The event's item.
    Item,
    /// A property of the event.
    Property(String),
    /// A feature of what the event is about, as it was when the event came.
    Feature {
        /// `view.feature`.
        name: String,
        /// The view, by its index in the plan.
        view: usize,
        /// The field, by its index in the view's layout.
        field: usize,
    },
}

/// A value of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A flag.
    Flag(bool),
    /// A text.
    Text(Arc<str>),
    /// A time, in microseconds since 1970.
    Time(TimeUs),
    /// A vector.
    Vector(Arc<[f32]>),
}

/// An event as aggregates see it.
#[derive(Debug, Clone, Copy)]
pub struct Happening<'a> {
    /// Its name.
    pub name: &'a str,
    /// When the node received it; events of one node are in order of it.
    pub time_us: TimeUs,
    /// The values of [`Aggregates::sources`], in their order; `None` where the event has none.
    pub values: &'a [Option<Value>],
}

// === impl Aggregates ===

impl Aggregates {
    fn new(all: Vec<Aggregate>, sources: Vec<Of>, layout: RowLayout) -> Self {
        let mut aggregates = Self { all, sources, layout, meanings: Vec::new() };
        let meanings = aggregates.all.iter().map(|aggregate| {
            let mut digest = Digest::of(aggregates.meaning(aggregate).as_bytes()).hex();
            digest.truncate(16);
            digest
        });
        aggregates.meanings = meanings.collect();
        aggregates
    }

    /// Where values come from; an event's are given in this order.
    pub fn sources(&self) -> &[Of] {
        &self.sources
    }

    /// How a row of them lies in memory.
    pub fn layout(&self) -> &RowLayout {
        &self.layout
    }

    /// Each by its name, and by a digest of what it means: the same whatever it is called.
    pub fn meanings(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.layout.fields();
        let name = |cell: usize| fields.iter().find(|field| field.cell as usize == cell).map(|field| &*field.name);
        let named = move |(aggregate, meaning): (&Aggregate, _)| Some((name(aggregate.cell)?, meaning));
        self.all.iter().zip(self.meanings.iter().map(String::as_str)).filter_map(named)
    }

    /// Whether an event of this name is asked for values.
    pub fn asks_of(&self, name: &str) -> bool {
        self.all.iter().any(|aggregate| {
            let asks = |filter: &Filter| filter.is_named(name) && !filter.conditions.is_empty();
            let over = matches!(&aggregate.function, Function::Rate { over, .. } if asks(over));
            over || asks(&aggregate.filter) || aggregate.source.is_some() && aggregate.filter.is_named(name)
        })
    }

    /// Applies an event. One that came before others that are applied already is not the last.
    pub fn apply(&self, state: &mut State, event: Happening<'_>) {
        state.fit(self);
        state.touch(event.time_us);
        for (aggregate, cell) in self.all.iter().zip(state.cells_mut()) {
            aggregate.apply(cell, event);
        }
    }

    /// The row at `now_us`; a state of other aggregates counts as one to which nothing has happened. `symbol` gives a text its
    /// cell.
    pub fn read(&self, state: &State, now_us: TimeUs, symbol: &impl Fn(&str) -> u64, row: &mut [u64]) {
        row.copy_from_slice(&self.layout.missing_row());
        let empty = State::default();
        let (state, fits) = if state.fits(self) { (state, true) } else { (&empty, false) };
        for (at, aggregate) in self.all.iter().enumerate() {
            match state.cells().get(at).filter(|_| fits) {
                Some(cell) => aggregate.read(cell, state, now_us, symbol, row),
                None => aggregate.read(&aggregate.function.empty(), state, now_us, symbol, row),
            }
        }
    }

    /// Takes over into `state` what another node knows of the same entity.
    pub fn merge(&self, state: &mut State, other: &State) {
        if !other.fits(self) {
            return;
        }
        state.fit(self);
        state.widen(other);
        for ((aggregate, cell), other) in self.all.iter().zip(state.cells_mut()).zip(other.cells()) {
            cell.merge(other, &aggregate.function);
        }
    }

    /// Brings a state of `before` to these aggregates: those that mean the same keep what they know, new ones start empty.
    pub fn adopt(&self, before: &Self, state: &State) -> State {
        let mut adopted = State::default();
        adopted.fit(self);
        if state.fits(before) {
            adopted.widen(state);
            for (meaning, cell) in self.meanings.iter().zip(adopted.cells_mut()) {
                if let Some((_, known)) = before.meanings.iter().zip(state.cells()).find(|(other, _)| *other == meaning)
                {
                    *cell = known.clone();
                }
            }
        }
        adopted
    }

    /// What an aggregate means, in words that stay the same when a release numbers or names things otherwise: two that say the
    /// same keep the same.
    fn meaning(&self, aggregate: &Aggregate) -> String {
        let source = |at: usize| match self.sources.get(at) {
            Some(Of::Item) => "item".to_owned(),
            Some(Of::Property(name)) => format!("property {name:?}"),
            Some(Of::Feature { name, .. }) => format!("feature {name:?}"),
            None => String::new(),
        };
        let filter = |filter: &Filter| {
            let conditions = filter.conditions.iter().map(|(at, wanted)| match wanted {
                Scalar::Number(number) => format!("{} = {:016x}", source(*at), number.to_bits()),
                Scalar::Flag(flag) => format!("{} = {flag}", source(*at)),
                Scalar::Text(text) => format!("{} = {text:?}", source(*at)),
            });
            format!("{:?} where {:?}", filter.names, conditions.collect::<Vec<_>>())
        };
        let over = match &aggregate.function {
            Function::Rate { over, .. } => filter(over),
            _ => String::new(),
        };
        let kind =
            self.layout.fields().iter().find(|field| field.cell as usize == aggregate.cell).map(|field| field.kind);
        let kind = kind.map(|kind| kind.to_string()).unwrap_or_default();
        let of = aggregate.source.map(source).unwrap_or_default();
        format!("{} {kind} of {of}; {}; {over}", aggregate.function.keeps(), filter(&aggregate.filter))
    }
}

// === impl Aggregate ===

impl Aggregate {
    fn apply(&self, cell: &mut Cell, event: Happening<'_>) {
        let now = event.time_us;
        let holds = self.filter.holds(event);
        if let (Function::Rate { over, window, .. }, Cell::Shares(shares)) = (&self.function, &mut *cell) {
            // An event may be in both.
            let both = [u64::from(holds), u64::from(over.holds(event))];
            if both != [0, 0] {
                let [hits, of] = shares.at(*window, now);
                (*hits, *of) = (*hits + both[0], *of + both[1]);
            }
            return;
        }
        if !holds {
            return;
        }
        let value = self.source.and_then(|at| event.values.get(at)?.as_ref());
        let number = value.and_then(Value::number);
        match (&self.function, cell) {
            (Function::Count(window), Cell::Counts(counts)) => *counts.at(*window, now) += 1,
            (Function::Sum(window) | Function::Mean(window), Cell::Sums(sums)) => {
                if let Some(number) = number {
                    let (count, sum) = sums.at(*window, now);
                    (*count, *sum) = (*count + 1, *sum + fixed(number));
                }
            }
            (Function::Min(window), Cell::Least(least)) => least.at(*window, now).add(number),
            (Function::Max(window), Cell::Most(most)) => most.at(*window, now).add(number),
            (Function::Last(_), Cell::Moment(moment)) => {
                if let Some(value) = value.filter(|_| moment.as_ref().is_none_or(|(at, _)| *at <= now)) {
                    *moment = Some((now, value.clone()));
                }
            }
            (Function::First, Cell::Moment(moment)) => {
                if let Some(value) = value.filter(|_| moment.as_ref().is_none_or(|(at, _)| now < *at)) {
                    *moment = Some((now, value.clone()));
                }
            }
            (Function::LastN(_, n), Cell::Recent(recent)) => {
                if let Some(Value::Text(text)) = value {
                    recent.add(text, now, *n);
                }
            }
            (Function::TimeSince, Cell::Moment(moment)) => {
                let last = moment.as_ref().map_or(now, |(at, _)| now.max(*at));
                *moment = Some((last, Value::Flag(true)));
            }
            (Function::Distinct(_), Cell::Distinct(seen)) => {
                if let Some(value) = value {
                    seen.add(value, now);
                }
            }
            (Function::DecayedCount(half_life), Cell::Decayed(decayed)) => decayed.add(*half_life, now),
            (Function::DecayedMean(half_life, _), Cell::Taste(taste)) => {
                if let Some(Value::Vector(vector)) = value {
                    taste.add(*half_life, now, vector);
                }
            }
            _ => {}
        }
    }

    fn read(&self, cell: &Cell, state: &State, now: TimeUs, symbol: &impl Fn(&str) -> u64, row: &mut [u64]) {
        let mut number = |value: f64| {
            if let Some(place) = row.get_mut(self.cell) {
                *place = value.to_bits();
            }
        };
        match (&self.function, cell) {
            (Function::Count(window), Cell::Counts(counts)) => {
                number(counts.over(*window, now).map(|count| *count as f64).sum());
            }
            (Function::Sum(window), Cell::Sums(sums)) => {
                number(unfixed(sums.over(*window, now).map(|(_, sum)| sum).sum()));
            }
            (Function::Mean(window), Cell::Sums(sums)) => {
                let (count, sum) =
                    sums.over(*window, now).fold((0, 0), |(n, all), (count, sum)| (n + count, all + sum));
                number(if count == 0 { f64::NAN } else { unfixed(sum) / count as f64 });
            }
            (Function::Min(window), Cell::Least(least)) => number(window::Extreme::of(least.over(*window, now))),
            (Function::Max(window), Cell::Most(most)) => number(window::Extreme::of(most.over(*window, now))),
            (Function::Rate { prior: [hits, misses], window, .. }, Cell::Shares(shares)) => {
                let (seen, of) = shares.over(*window, now).fold((0, 0), |(n, all), [hits, of]| (n + hits, all + of));
                let rate = (seen as f64 + hits) / (of as f64 + hits + misses);
                // More hits than chances: hits of chances that no window holds any more.
                number(if rate > 1.0 { 1.0 } else { rate });
            }
            (Function::Last(window), Cell::Moment(Some((at, value)))) if window.covers(*at, now) => {
                self.write(value, symbol, row);
            }
            (Function::First, Cell::Moment(Some((_, value)))) => self.write(value, symbol, row),
            (Function::LastN(window, n), Cell::Recent(recent)) => {
                let mut ids = recent.within(*window, now).map(id_hash).peekable();
                if let (Some(_), Some(cells)) = (ids.peek(), row.get_mut(self.cell..self.cell + n)) {
                    cells.iter_mut().for_each(|cell| *cell = ids.next().unwrap_or(0));
                }
            }
            (Function::TimeSince, Cell::Moment(Some((at, _)))) => number(seconds(now, *at)),
            (Function::Distinct(window), Cell::Distinct(seen)) => number(seen.count(*window, now) as f64),
            (Function::DecayedCount(half_life), Cell::Decayed(decayed)) => number(decayed.at(*half_life, now)),
            (Function::DecayedMean(..), Cell::Taste(taste)) => taste.write(&mut row[self.cell..]),
            (Function::SessionStart, _) => {
                if let Some(start) = state.start() {
                    self.write(&Value::Time(start), symbol, row);
                }
            }
            (Function::SessionDepth, _) => number(state.events() as f64),
            (Function::SessionDuration, _) => {
                number(state.start().map_or(f64::NAN, |start| seconds(state.last(), start)));
            }
            _ => {}
        }
    }

    fn write(&self, value: &Value, symbol: &impl Fn(&str) -> u64, row: &mut [u64]) {
        let Some(place) = row.get_mut(self.cell) else { return };
        *place = match value {
            Value::Text(text) => symbol(text),
            Value::Number(number) => number.to_bits(),
            Value::Flag(flag) => f64::from(*flag).to_bits(),
            Value::Time(time_us) => *time_us as u64,
            Value::Vector(_) => return,
        };
    }
}

// === impl Filter ===

impl Filter {
    fn is_named(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    fn holds(&self, event: Happening<'_>) -> bool {
        self.is_named(event.name)
            && self.conditions.iter().all(|(at, wanted)| {
                let value = event.values.get(*at).and_then(Option::as_ref);
                match (value, wanted) {
                    (Some(Value::Text(text)), Scalar::Text(wanted)) => **text == **wanted,
                    (Some(Value::Number(number)), Scalar::Number(wanted)) => number == wanted,
                    (Some(Value::Flag(flag)), Scalar::Flag(wanted)) => flag == wanted,
                    _ => false,
                }
            })
    }
}

// === impl Function ===

impl Function {
    /// What a state of it looks like when nothing has happened.
    fn empty(&self) -> Cell {
        match self {
            Self::Count(_) => Cell::Counts(window::Ring::default()),
            Self::Sum(_) | Self::Mean(_) => Cell::Sums(window::Ring::default()),
            Self::Min(_) => Cell::Least(window::Ring::default()),
            Self::Max(_) => Cell::Most(window::Ring::default()),
            Self::Rate { .. } => Cell::Shares(window::Ring::default()),
            Self::Last(_) | Self::First | Self::TimeSince => Cell::Moment(None),
            Self::LastN(..) => Cell::Recent(state::Recent::default()),
            Self::Distinct(_) => Cell::Distinct(state::Seen::default()),
            Self::DecayedCount(_) => Cell::Decayed(decay::Count::default()),
            Self::DecayedMean(_, len) => Cell::Taste(decay::Mean::new(*len)),
            Self::SessionStart | Self::SessionDepth | Self::SessionDuration => Cell::Nothing,
        }
    }

    /// What a state of it holds; filters and sources apart. A sum and a mean hold the same, and a prior may change.
    fn keeps(&self) -> String {
        let over = |word: &str, window: &Window| match window {
            Window::All => word.to_owned(),
            Window::Buckets(length) => format!("{word} in buckets of {length}"),
        };
        match self {
            Self::Count(window) => over("count", window),
            Self::Sum(window) | Self::Mean(window) => over("sum", window),
            Self::Min(window) => over("min", window),
            Self::Max(window) => over("max", window),
            Self::Rate { window, .. } => over("rate", window),
            Self::Last(window) => over("last", window),
            Self::First => "first".to_owned(),
            Self::LastN(window, n) => over(&format!("last {n}"), window),
            Self::TimeSince => "time since".to_owned(),
            Self::Distinct(window) => over("distinct", window),
            Self::DecayedCount(half_life) => format!("count by half in {half_life}"),
            Self::DecayedMean(half_life, len) => format!("mean of {len} by half in {half_life}"),
            Self::SessionStart => "start".to_owned(),
            Self::SessionDepth => "depth".to_owned(),
            Self::SessionDuration => "duration".to_owned(),
        }
    }
}

// === impl Value ===

impl Value {
    /// As a number of which sums are made.
    fn number(&self) -> Option<f64> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Flag(flag) => f64::from(*flag),
            Self::Text(_) | Self::Time(_) | Self::Vector(_) => return None,
        };
        (number.abs() <= LARGEST).then_some(number)
    }
}

/// The cell type of what a value of this kind is stored as.
fn kind_of(value: FeatureKind) -> FeatureKind {
    match value {
        FeatureKind::F32 => FeatureKind::Number,
        other => other,
    }
}

/// In millionths, rounded to the nearest, ties to even.
fn fixed(number: f64) -> i128 {
    libm::rint(number * 1e6) as i128
}

fn unfixed(millionths: i128) -> f64 {
    millionths as f64 / 1e6
}

/// Seconds from `at` to `now`, 0 when that is later: a row may be read with the time of a decision that began before the event.
fn seconds(now: TimeUs, at: TimeUs) -> f64 {
    now.saturating_sub(at).max(0) as f64 / 1e6
}
