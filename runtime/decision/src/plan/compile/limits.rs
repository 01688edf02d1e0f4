//! Limits: names of features become columns of the candidates' rows.

use super::rows::Rows;
use super::sources::Reference;
use super::{Compiler, Problems, side};
use crate::layout::FeatureKind;
use crate::limits::{Limit, LimitKind, of_places};
use crate::manifest::{Scalar, Scope};
use crate::plan::columns::Source;

/// The most limits of a placement.
const MAX_LIMITS: usize = 64;

/// A limit before columns have their places.
struct Wanted {
    name: String,
    of: String,
    kind: Result<LimitKind, String>,
    /// Whether any text will do, or one that the release knows, or none.
    texts: Texts,
}

#[derive(Clone, Copy, PartialEq)]
enum Texts {
    None,
    Same,
    Known,
}

impl Compiler<'_> {
    /// Makes sure that candidates' rows have the columns of all limits.
    pub(super) fn limit_sources(&mut self, problems: &mut Problems) {
        let wanted = self.wanted();
        if wanted.len() > MAX_LIMITS {
            problems.add(&self.at, format!("{} limits, at most {MAX_LIMITS}", wanted.len()));
        }
        for limit in wanted {
            match self.limit_source(&limit) {
                Ok(source) => {
                    self.sources[side(Scope::Candidate)].entry(source).or_insert(limit.of);
                }
                Err(why) => problems.add(&self.at, format!("limits: {}: {why}", limit.name)),
            }
            if let Err(why) = limit.kind {
                problems.add(&self.at, format!("limits: {}: {why}", limit.name));
            }
        }
        self.contradictions().into_iter().for_each(|why| problems.add(&self.at, format!("limits: {why}")));
    }

    /// The limits, in the order told: those of single candidates, those of a kind, shares.
    pub(super) fn limits(&self, rows: &Rows) -> Vec<Limit> {
        let limit = |wanted: Wanted| {
            let column = rows.at(Scope::Candidate, &self.limit_source(&wanted).ok()?);
            Some(Limit { name: wanted.name, column, kind: wanted.kind.ok()? })
        };
        self.wanted().into_iter().filter_map(limit).collect()
    }

    fn wanted(&self) -> Vec<Wanted> {
        let def = &self.def.limits;
        let number = |kind: &'static str, make: fn(f64) -> LimitKind| {
            move |(of, than): (&String, &f64)| Wanted {
                name: format!("{kind} {of}"),
                of: of.clone(),
                kind: if than.is_finite() { Ok(make(*than)) } else { Err(format!("{than} is not a finite number")) },
                texts: Texts::None,
            }
        };
        let mut wanted: Vec<Wanted> = Vec::new();
        wanted.extend(def.above.iter().map(number("above", LimitKind::Above)));
        wanted.extend(def.at_least.iter().map(number("at_least", LimitKind::AtLeast)));
        wanted.extend(def.below.iter().map(number("below", LimitKind::Below)));
        wanted.extend(def.max_per.iter().map(|(of, most)| Wanted {
            name: format!("max_per {of}"),
            of: of.clone(),
            kind: match most {
                0 => Err("0 of a kind would leave nothing to choose: say 1 or more".into()),
                most => Ok(LimitKind::MaxPer(*most)),
            },
            texts: Texts::Same,
        }));
        wanted.extend(def.min_share.iter().map(|share| Wanted {
            name: format!("min_share {}", share.of),
            of: share.of.clone(),
            kind: match self.value(&share.is) {
                is if !is.is_finite() => Err(format!("{is} is not a finite number")),
                is if share.share > 0.0 && share.share <= 1.0 => Ok(LimitKind::MinShare { is, share: share.share }),
                _ => Err(format!("share is {}, expected more than 0 and at most 1", share.share)),
            },
            texts: if matches!(share.is, Scalar::Text(_)) { Texts::Known } else { Texts::None },
        }));
        wanted
    }

    /// Limits that no decision for as many places as the placement says can keep together, pins apart. A lack of candidates is no
    /// contradiction, nor are shares of two features: one candidate may count for both.
    fn contradictions(&self) -> Vec<String> {
        let def = &self.def.limits;
        let mut found = Vec::new();
        let floors = |of: &str| {
            let above = def.above.get(of).map(|than| ("above", *than, LimitKind::Above(*than)));
            let at_least = def.at_least.get(of).map(|least| ("at_least", *least, LimitKind::AtLeast(*least)));
            above.into_iter().chain(at_least)
        };
        for (of, below) in &def.below {
            for (kind, floor, _) in floors(of).filter(|(_, floor, _)| floor >= below) {
                found.push(format!(
                    "{kind} {of} is {floor} and below {of} is {below}: no candidate keeps both, and then no `below` of the placement \
                     would hold"
                ));
            }
        }
        let slots = match self.def.actions.len() {
            0 => self.def.slots as usize,
            actions => actions.min(self.def.slots as usize),
        };
        for (at, share) in def.min_share.iter().enumerate() {
            let (of, is) = (&share.of, self.value(&share.is));
            let what = format!("min_share {of} is {}", shown(&share.is));
            if def.min_share[..at].iter().any(|other| other.of == *of && self.value(&other.is) == is) {
                found.push(format!("{what} stands twice: keep one"));
            }
            for (kind, floor, _) in floors(of).filter(|(.., limit)| !limit.lets_through(is)) {
                found.push(format!("{what}, but {kind} {of} is {floor}: none of those may be chosen"));
            }
            let wanted = of_places(share.share, slots);
            if let Some(most) = def.max_per.get(of).filter(|most| wanted > **most as usize) {
                found.push(format!(
                    "{what}: a share of {} of {slots} places is {wanted}, but max_per {of} is {most}: lower the one or raise the other",
                    share.share
                ));
            }
            // A candidate has one value of a feature, so these places cannot be the same. Sums of fractions are not exact.
            let of_it = def.min_share.iter().filter(|other| other.of == *of);
            let sum: f64 = of_it.map(|share| share.share).sum();
            if sum > 1.0 + 1e-9 {
                found.push(format!("min_share {of}: the shares of {of} add up to {sum}, at most 1"));
            }
        }
        found
    }

    /// A value as rows of candidates have it.
    fn value(&self, is: &Scalar) -> f64 {
        match is {
            Scalar::Flag(flag) => f64::from(*flag),
            Scalar::Number(number) => *number,
            Scalar::Text(text) => self.world.symbols.number(text),
        }
    }

    fn limit_source(&self, wanted: &Wanted) -> Result<Source, String> {
        let of = &wanted.of;
        let Reference::Feature(view, field) = self.reference(of)? else {
            return Err(format!("{of:?} is not about the candidates"));
        };
        if self.scope_of_view(view)? != Scope::Candidate {
            return Err(format!("{of:?} is not about the candidates"));
        }
        match (self.world.views[view].layout.fields()[field].kind, wanted.texts) {
            (FeatureKind::Flag, Texts::None) if wanted.kind.as_ref().is_ok_and(|kind| !a_flag_keeps(*kind)) => {
                Err(format!("{of:?} is a flag, 0 or 1: none keeps this"))
            }
            (FeatureKind::Number | FeatureKind::F32 | FeatureKind::Flag, Texts::None | Texts::Same) => {
                Ok(Source::Feature { view, field })
            }
            (FeatureKind::Symbol, Texts::Known) => Ok(Source::Feature { view, field }),
            (FeatureKind::Symbol, Texts::Same) => Ok(Source::SymbolId { view, field }),
            (other, Texts::None) => Err(format!("{of:?} is a {other}, expected a number or a flag")),
            (other, Texts::Known) => Err(format!("{of:?} is a {other}, expected a symbol")),
            (other, Texts::Same) => Err(format!("{of:?} is a {other}, expected a symbol, a number or a flag")),
        }
    }
}

/// Whether there is a flag, or none, that keeps a limit.
fn a_flag_keeps(limit: LimitKind) -> bool {
    match limit {
        LimitKind::MinShare { is, .. } => is == 0.0 || is == 1.0,
        limit => [0.0, 1.0, f64::NAN].into_iter().any(|flag| limit.lets_through(flag)),
    }
}

fn shown(value: &Scalar) -> String {
    match value {
        Scalar::Flag(flag) => flag.to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => format!("{text:?}"),
    }
}
