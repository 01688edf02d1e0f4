//! Rows of a test as the decision core reads them. Owns the meaning of a JSON value for a feature.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_decision::gather::Features;
use selvedge_decision::layout::{FeatureKind, Field, NO_SYMBOL, id_hash, pack};
use selvedge_decision::{Plan, TimeUs};
use selvedge_node::features::row::parse_rfc3339;
use serde_json::{Map, Value};

use super::{Ids, NOW_US};

/// Rows by view, entity and feature, as a test writes them.
pub(super) type Written = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// All rows of a test, typed.
pub(super) struct Tables<'p> {
    plan: &'p Plan,
    /// By view of the plan: cells by entity, the parts of a pair joined as the core joins them.
    rows: Vec<BTreeMap<String, Vec<u64>>>,
    /// The texts of the rows; a symbol's cell is its place.
    texts: Vec<Arc<str>>,
}

// === impl Tables ===

impl<'p> Tables<'p> {
    pub(super) fn new(plan: &'p Plan, written: &Written) -> Result<Self, String> {
        let mut tables = Self { plan, rows: plan.views.iter().map(|_| BTreeMap::new()).collect(), texts: Vec::new() };
        for (name, rows) in written {
            let view = plan.views.iter().position(|view| view.name == *name);
            let view = view.ok_or_else(|| format!("features: the release has no view {name:?}"))?;
            for (entity, row) in rows {
                let cells = tables.cells(view, row).map_err(|why| format!("features.{name}.{entity}: {why}"))?;
                tables.rows[view].insert(entity.replace('|', "\0"), cells);
            }
        }
        Ok(tables)
    }

    fn cells(&mut self, view: usize, row: &Map<String, Value>) -> Result<Vec<u64>, String> {
        let layout = &self.plan.views[view].layout;
        let mut cells = layout.missing_row();
        for (name, value) in row.iter().filter(|(_, value)| !value.is_null()) {
            let field = layout.field(name).ok_or_else(|| format!("the view has no feature {name:?}"))?;
            let wrong = || format!("{name:?}: {value} is no {:?}", field.kind);
            let at = field.cell as usize;
            cells[at] = match (field.kind, value) {
                (FeatureKind::Number, Value::Number(number)) => number.as_f64().ok_or_else(wrong)?.to_bits(),
                (FeatureKind::Time, Value::Number(number)) => number.as_i64().ok_or_else(wrong)? as u64,
                (FeatureKind::Time, Value::String(text)) => parse_rfc3339(text).ok_or_else(wrong)? as u64,
                (FeatureKind::Text, Value::String(_)) => continue,
                (FeatureKind::Ids, Value::Array(list)) => {
                    ids(field, list, &mut cells).ok_or_else(wrong)?;
                    continue;
                }
                (FeatureKind::F32, Value::Number(number)) => {
                    u64::from((number.as_f64().ok_or_else(wrong)? as f32).to_bits())
                }
                (FeatureKind::Flag, Value::Bool(flag)) => f64::from(*flag).to_bits(),
                (FeatureKind::Symbol, Value::String(text)) => {
                    // One text is one cell, as on a node: limits count by it.
                    let known = self.texts.iter().position(|known| **known == **text);
                    known.unwrap_or_else(|| {
                        self.texts.push(Arc::from(text.as_str()));
                        self.texts.len() - 1
                    }) as u64
                }
                (FeatureKind::Vector, Value::Array(list)) => {
                    vector(field, list, &mut cells).ok_or_else(wrong)?;
                    continue;
                }
                _ => return Err(wrong()),
            };
        }
        Ok(cells)
    }
}

/// Writes a vector's cells, two numbers in each; `None` when it is not one of its length.
fn vector(field: &Field, list: &[Value], cells: &mut [u64]) -> Option<()> {
    if list.len() != field.len as usize {
        return None;
    }
    let numbers: Vec<f32> =
        list.iter().map(|value| value.as_f64().map(|number| number as f32)).collect::<Option<_>>()?;
    for (cell, pair) in cells.get_mut(field.cell as usize..)?.iter_mut().zip(numbers.chunks(2)) {
        *cell = pack(pair[0], pair.get(1).copied().unwrap_or(f32::NAN));
    }
    Some(())
}

/// Writes a list's cells; `None` when something in it is no text.
fn ids(field: &Field, list: &[Value], cells: &mut [u64]) -> Option<()> {
    let ids: Vec<u64> = list.iter().map(|id| id.as_str().map(id_hash)).collect::<Option<_>>()?;
    let cells = cells.get_mut(field.cell as usize..)?.get_mut(..field.cells())?;
    cells.fill(0);
    cells.iter_mut().zip(ids).for_each(|(cell, id)| *cell = id);
    Some(())
}

impl Features for Tables<'_> {
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        cells.copy_from_slice(self.rows.get(view)?.get(entity)?);
        Some(NOW_US)
    }

    fn lag_us(&self, _: usize) -> i64 {
        0
    }

    fn symbol(&self, cell: u64) -> f64 {
        self.text(cell).map_or(f64::NAN, |text| self.plan.symbols.number(&text))
    }

    fn number(&self, text: &str) -> f64 {
        self.plan.symbols.number(text)
    }

    fn text(&self, cell: u64) -> Option<Arc<str>> {
        if cell == NO_SYMBOL { None } else { self.texts.get(cell as usize).cloned() }
    }

    fn entities(&self, view: usize, limit: usize) -> Result<Ids, usize> {
        let rows = self.rows.get(view).map(BTreeMap::len).unwrap_or_default();
        if rows > limit {
            return Err(rows);
        }
        Ok(self.rows.get(view).into_iter().flat_map(BTreeMap::keys).map(|id| Arc::from(id.as_str())).collect())
    }
}
