//! Limits: names of features become columns of the candidates' rows.

use super::rows::Rows;
use super::sources::Reference;
use super::{Compiler, Problems, side};
use crate::layout::FeatureKind;
use crate::limits::{Limit, LimitKind};
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
            kind: if share.share > 0.0 && share.share <= 1.0 {
                let is = match &share.is {
                    Scalar::Flag(flag) => f64::from(*flag),
                    Scalar::Number(number) => *number,
                    Scalar::Text(text) => self.world.symbols.number(text),
                };
                Ok(LimitKind::MinShare { is, share: share.share })
            } else {
                Err(format!("share is {}, expected more than 0 and at most 1", share.share))
            },
            texts: if matches!(share.is, Scalar::Text(_)) { Texts::Known } else { Texts::None },
        }));
        let shares: f64 = def.min_share.iter().map(|share| share.share).sum();
        if shares > 1.0 && def.min_share.iter().all(|share| share.of == def.min_share[0].of) {
            let why = format!("the shares of {} add up to {shares}, at most 1", def.min_share[0].of);
            wanted
                .iter_mut()
                .filter(|limit| limit.name.starts_with("min_share"))
                .for_each(|limit| limit.kind = Err(why.clone()));
        }
        wanted
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
