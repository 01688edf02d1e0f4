//! What a release's views know of one entity, for people. Owns how cells are shown, and that a person's own values are not.

use selvedge_decision::TimeUs;
use selvedge_decision::gather::Absence;
use selvedge_decision::layout::{FeatureKind, Field, NO_IDS, NO_SYMBOL, NO_TIME, unpack};
use selvedge_decision::rfc3339;
use serde::Serialize;

use super::active::{Active, Bound};
use crate::features::entity::PAIR_SEPARATOR;

/// The numbers of a vector that are shown.
const SHOWN: usize = 16;

/// An entity's row of one view.
#[derive(Debug, Clone, Serialize)]
pub struct Looked {
    /// The view.
    pub view: String,
    /// The entity, one name or two.
    pub entity: Vec<String>,
    /// Why there is no row: `no_row`, `not_fetched`, `unreachable`; none when there is one.
    pub absent: Option<&'static str>,
    /// The time of its event; none where there was none.
    pub time: Option<String>,
    /// Since then.
    pub age_ms: Option<i64>,
    /// Since the view was last proven current; none when it never was.
    pub lag_ms: Option<i64>,
    /// Its features, in their order.
    pub features: Vec<Feature>,
}

/// One feature.
#[derive(Debug, Clone, Serialize)]
pub struct Feature {
    name: String,
    /// Its type.
    kind: String,
    value: Value,
    /// A person's own, which is not shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pii: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Value {
    Missing,
    Flag(bool),
    Number(f64),
    Text(String),
    /// The first numbers, and how many there are.
    Vector {
        first: Vec<f32>,
        len: u32,
    },
    /// Kept as hashes: how many.
    Ids {
        ids: usize,
    },
}

/// There is no such view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the release has no view {0:?}")]
pub struct NoView(pub String);

impl Active {
    /// What view `name` knows of an entity, names joined as in memory. An on-demand view that does not hold it fetches it, so that the
    /// next look finds it.
    pub fn look(&self, name: &str, entity: &str, now_us: TimeUs) -> Result<Looked, NoView> {
        let (Some(at), no_view) = (self.plan.view(name), NoView(name.to_owned())) else {
            return Err(NoView(name.to_owned()));
        };
        let (plan, bound) = (&self.plan.views[at], self.view(at).ok_or(no_view)?);
        let mut cells = plan.layout.missing_row();
        let (time_us, absent, lag_us) = match bound {
            Bound::Table(view) => {
                let time_us = view.read(entity, &mut cells, now_us);
                let absent = time_us.is_none().then(|| absence(view.absence(entity, now_us)));
                (time_us, absent, view.lag_us(now_us))
            }
            Bound::Sessions(view) => {
                let (time_us, _) = view.read(entity, now_us, &mut cells);
                (Some(time_us).filter(|time_us| *time_us != 0), (time_us == 0).then_some("no_row"), view.lag_us(now_us))
            }
        };
        let shown = plan.layout.fields().iter().filter(|_| absent.is_none() || plan.aggregates.is_some());
        let features = shown.map(|field| {
            let pii = plan.def.features.get(&field.name).is_some_and(|def| def.pii());
            let value = if pii { Value::Missing } else { self.shown(field, &cells) };
            Feature { name: field.name.clone(), kind: field.kind.to_string(), value, pii }
        });
        Ok(Looked {
            view: name.to_owned(),
            entity: entity.split(PAIR_SEPARATOR).map(str::to_owned).collect(),
            absent,
            time: time_us.map(rfc3339::format),
            age_ms: time_us.map(|time_us| now_us.saturating_sub(time_us) / 1_000),
            lag_ms: Some(lag_us / 1_000).filter(|_| lag_us != i64::MAX),
            features: features.collect(),
        })
    }

    fn shown(&self, field: &Field, cells: &[u64]) -> Value {
        let start = field.cell as usize;
        let Some(cells) = cells.get(start..start + field.cells()) else { return Value::Missing };
        let number = |number: f64| if number.is_nan() { Value::Missing } else { Value::Number(number) };
        match (field.kind, cells) {
            (FeatureKind::Number, [cell, ..]) => number(f64::from_bits(*cell)),
            (FeatureKind::F32, [cell, ..]) => number(f64::from(f32::from_bits(*cell as u32))),
            (FeatureKind::Flag, [cell, ..]) => match f64::from_bits(*cell) {
                flag if flag.is_nan() => Value::Missing,
                flag => Value::Flag(flag != 0.0),
            },
            (FeatureKind::Time, [cell, ..]) if *cell != NO_TIME => Value::Text(rfc3339::format(*cell as i64)),
            (FeatureKind::Symbol, [cell, ..]) if *cell != NO_SYMBOL => {
                Value::Text(self.text(*cell).map_or_else(|| "(other)".to_owned(), |text| text.to_string()))
            }
            (FeatureKind::Vector, cells) => {
                let numbers = cells.iter().flat_map(|cell| unpack(*cell)).take((field.len as usize).min(SHOWN));
                let first: Vec<f32> = numbers.collect();
                if first.iter().all(|number| number.is_nan()) {
                    return Value::Missing;
                }
                Value::Vector { first, len: field.len }
            }
            (FeatureKind::Ids, [cell, ..]) if *cell != NO_IDS => {
                Value::Ids { ids: cells.iter().take_while(|cell| **cell != 0).count() }
            }
            _ => Value::Missing,
        }
    }
}

fn absence(absence: Absence) -> &'static str {
    match absence {
        Absence::NoRow | Absence::NoEntity => "no_row",
        Absence::NotFetched => "not_fetched",
        Absence::Unreachable => "unreachable",
    }
}
