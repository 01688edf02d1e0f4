//! From `[view.NAME.aggregates]` to aggregates. Owns what is refused about them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Aggregate, Aggregates, Filter, Function, Of, WINDOW_BUCKETS, Window, kind_of};
use crate::definition::{AggregateDef, Names, SessionPart, Span};
use crate::layout::{FeatureKind, RowLayout};

/// The shortest window and half-life: below, a bucket is less than a second or so, and the node's time is all that is told.
const SHORTEST: i64 = 12_000_000;
/// The longest: 400 days.
const LONGEST: i64 = 400 * 86_400_000_000;
/// The most names of events in one aggregate.
const MOST_NAMES: usize = 32;
/// The most values that `last_n` lists.
const MOST_LISTED: u32 = 100;

/// What a name such as `item.category` refers to.
pub type Feature = (Of, FeatureKind, u32);

/// Compiles the aggregates of a view. `feature` finds a feature by its name, `view.feature`, and says why it is none.
///
/// # Errors
///
/// The names of the aggregates that cannot be, each with the reason.
pub fn compile(
    defs: &BTreeMap<String, AggregateDef>,
    feature: impl Fn(&str) -> Result<Feature, String>,
) -> Result<Aggregates, Vec<(String, String)>> {
    let mut compiler = Compiler { feature, sources: Vec::new() };
    let (mut all, mut fields, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    for (name, def) in defs {
        match compiler.one(def) {
            Ok((aggregate, kind, len)) => {
                all.push(aggregate);
                fields.push((name.clone(), kind, len));
            }
            Err(why) => bad.push((name.clone(), why)),
        }
    }
    if !bad.is_empty() {
        return Err(bad);
    }
    let layout = RowLayout::new(fields);
    for (aggregate, field) in all.iter_mut().zip(layout.fields()) {
        aggregate.cell = field.cell as usize;
    }
    Ok(Aggregates::new(all, compiler.sources, layout))
}

struct Compiler<F> {
    feature: F,
    sources: Vec<Of>,
}

/// A function as it is written, before its value is known.
type Named<'a> = (&'static str, Option<&'a Names>);

impl<F: Fn(&str) -> Result<Feature, String>> Compiler<F> {
    fn one(&mut self, def: &AggregateDef) -> Result<(Aggregate, FeatureKind, u32), String> {
        let (function, names) = named(def)?;
        only(def, function)?;
        let filter = self.filter(function, names, def)?;
        let window = window(def.window)?;
        let half_life = || span("half_life", def.half_life.ok_or("needs `half_life`, such as \"30m\"")?);
        let number = |function| (function, FeatureKind::Number, 1);
        let (source, kind, len) = match self.value(def)? {
            Some((source, kind, len)) => (Some(source), Some(kind), len),
            None => (None, None, 1),
        };
        let summed = || match kind {
            Some(FeatureKind::Number | FeatureKind::F32 | FeatureKind::Flag) => Ok(()),
            Some(other) => Err(format!("`of` is a {other}, a number was expected")),
            None => Err(format!("`{function}` needs `of`: a property, or a feature of the item")),
        };
        let (function, kind, len) = match function {
            "count" => number(Function::Count(window)),
            "sum" => summed().map(|()| number(Function::Sum(window)))?,
            "mean" => summed().map(|()| number(Function::Mean(window)))?,
            "min" => summed().map(|()| number(Function::Min(window)))?,
            "max" => summed().map(|()| number(Function::Max(window)))?,
            "rate" => {
                let over = def.over.as_ref().ok_or("needs `over`: the events it is a share of")?;
                let prior = def.prior.unwrap_or([0.0, 0.0]);
                if !prior.iter().all(|part| (0.0..=1e9).contains(part)) {
                    return Err("`prior` is two numbers from 0 on, such as [1, 20]: hits and misses".into());
                }
                number(Function::Rate { over: self.filter("over", Some(over), def)?, prior, window })
            }
            "last" | "first" => {
                let kind = kind.ok_or_else(|| format!("`{function}` needs `of`"))?;
                if kind == FeatureKind::Vector {
                    return Err("`of` is a vector: `decayed_mean` takes vectors".into());
                }
                (if function == "last" { Function::Last(window) } else { Function::First }, kind_of(kind), 1)
            }
            "last_n" => {
                if kind != Some(FeatureKind::Symbol) {
                    return Err("`last_n` needs `of`: the item, or a symbol".into());
                }
                let n = def.n.ok_or("needs `n`, how many")?;
                if !(1..=MOST_LISTED).contains(&n) {
                    return Err(format!("`n` is {n}, expected 1 to {MOST_LISTED}"));
                }
                (Function::LastN(window, n as usize), FeatureKind::Ids, n)
            }
            "time_since" => number(Function::TimeSince),
            "distinct" if matches!(kind, None | Some(FeatureKind::Vector)) => {
                return Err("`distinct` needs `of`, and not a vector".into());
            }
            "distinct" => number(Function::Distinct(window)),
            "decayed_count" => number(Function::DecayedCount(half_life()?)),
            "decayed_mean" => match kind {
                Some(FeatureKind::Vector) => {
                    (Function::DecayedMean(half_life()?, len as usize), FeatureKind::Vector, len)
                }
                _ => return Err("`decayed_mean` needs `of`: a vector feature such as \"item.embedding\"".into()),
            },
            _ => match def.session {
                Some(SessionPart::Start) => (Function::SessionStart, FeatureKind::Time, 1),
                Some(SessionPart::Depth) => number(Function::SessionDepth),
                Some(SessionPart::Duration) | None => number(Function::SessionDuration),
            },
        };
        Ok((Aggregate { filter, function, source, cell: 0 }, kind, len))
    }

    fn filter(&mut self, key: &str, names: Option<&Names>, def: &AggregateDef) -> Result<Filter, String> {
        let names = match names {
            None => Vec::new(),
            Some(Names::One(name)) => vec![name.clone()],
            Some(Names::Any(names)) if (1..=MOST_NAMES).contains(&names.len()) => names.clone(),
            Some(Names::Any(names)) => {
                return Err(format!("`{key}` names {} events, expected 1 to {MOST_NAMES}", names.len()));
            }
        };
        if names.iter().any(|name| name.is_empty() || name.len() > 128) {
            return Err(format!("`{key}`: an event's name has 1 to 128 bytes"));
        }
        let conditions = def.conditions.iter();
        let conditions =
            conditions.map(|(name, value)| (self.source(Of::Property(name.clone())), value.clone())).collect();
        Ok(Filter { names, conditions })
    }

    /// What `of` names, its type and length.
    fn value(&mut self, def: &AggregateDef) -> Result<Option<(usize, FeatureKind, u32)>, String> {
        let Some(of) = def.of.as_deref() else { return Ok(None) };
        if of.is_empty() || of.len() > 256 {
            return Err("`of` has 1 to 256 bytes".into());
        }
        let (of, kind, len) = match of {
            "item" => (Of::Item, FeatureKind::Symbol, 1),
            _ if of.contains('.') => match (self.feature)(of)? {
                (_, kind @ (FeatureKind::Ids | FeatureKind::Text), _) => {
                    return Err(format!("`of` is a {kind}, which no aggregate takes"));
                }
                known => known,
            },
            _ => {
                let kind = def.kind.unwrap_or(FeatureKind::Number);
                if !matches!(kind, FeatureKind::Number | FeatureKind::Flag | FeatureKind::Symbol) {
                    return Err(format!("`type` is {kind}, a property is a number, a flag or a symbol"));
                }
                (Of::Property(of.into()), kind, 1)
            }
        };
        Ok(Some((self.source(of), kind, len)))
    }

    fn source(&mut self, of: Of) -> usize {
        self.sources.iter().position(|known| *known == of).unwrap_or_else(|| {
            self.sources.push(of);
            self.sources.len() - 1
        })
    }
}

/// The one function of a definition.
fn named(def: &AggregateDef) -> Result<Named<'_>, String> {
    let all = [
        ("count", &def.count),
        ("sum", &def.sum),
        ("mean", &def.mean),
        ("min", &def.min),
        ("max", &def.max),
        ("rate", &def.rate),
        ("last", &def.last),
        ("first", &def.first),
        ("last_n", &def.last_n),
        ("time_since", &def.time_since),
        ("distinct", &def.distinct),
        ("decayed_count", &def.decayed_count),
        ("decayed_mean", &def.decayed_mean),
    ];
    let said = all.iter().filter_map(|(name, names)| Some((*name, Some(names.as_ref()?))));
    let mut said: Vec<Named<'_>> = said.chain(def.session.map(|_| ("session", None))).collect();
    match (said.pop(), said.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(format!("names no function: expected one of {} or session", all.map(|(name, _)| name).join(", ")))
        }
        (Some(a), Some(b)) => Err(format!("names two functions, `{}` and `{}`: keep one", b.0, a.0)),
    }
}

/// What the function has no use for is a mistake.
fn only(def: &AggregateDef, function: &str) -> Result<(), String> {
    let windowed = ["count", "sum", "mean", "min", "max", "rate", "last", "last_n", "distinct"];
    let valued = ["sum", "mean", "min", "max", "last", "first", "last_n", "distinct", "decayed_mean"];
    let checks: [(&str, bool, &[&str]); 8] = [
        ("window", def.window.is_some(), &windowed),
        ("of", def.of.is_some(), &valued),
        ("type", def.kind.is_some(), &["last", "first", "last_n", "distinct"]),
        ("n", def.n.is_some(), &["last_n"]),
        ("over", def.over.is_some(), &["rate"]),
        ("prior", def.prior.is_some(), &["rate"]),
        ("half_life", def.half_life.is_some(), &["decayed_count", "decayed_mean"]),
        ("where", !def.conditions.is_empty() && function == "session", &[]),
    ];
    match checks.iter().find(|(_, is_said, users)| *is_said && !users.contains(&function)) {
        Some((key, ..)) => Err(format!("`{function}` has no use for `{key}`")),
        None => Ok(()),
    }
}

fn window(window: Option<Span>) -> Result<Window, String> {
    let Some(window) = window else { return Ok(Window::All) };
    let window = span("window", window)?;
    if window % (WINDOW_BUCKETS * 1_000) != 0 {
        return Err(format!("`window` is not {WINDOW_BUCKETS} times whole milliseconds"));
    }
    Ok(Window::Buckets(window / WINDOW_BUCKETS))
}

fn span(key: &str, span: Span) -> Result<i64, String> {
    if (SHORTEST..=LONGEST).contains(&span.us()) {
        Ok(span.us())
    } else {
        Err(format!("`{key}` is {}, expected 12s to 400d", String::from(span)))
    }
}
