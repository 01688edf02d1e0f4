//! How a placement's rows become one module's rows. Owns the picks; a module whose inputs are the placement's row as it
//! stands gets that row itself, without a copy.

use super::Column;
use crate::form::form;
use crate::manifest::{Manifest, Output, Scope};
use crate::plan::Symbols;
use crate::{Fault, manifest};
use alloc::string::String;
use alloc::vec::Vec;

/// A module as a placement calls it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The module's index in the plan.
    pub module: usize,
    /// Its name.
    pub name: String,
    /// How its shared row is made.
    pub shared: Vec<Pick>,
    /// Width of its shared row.
    pub shared_width: usize,
    /// How its candidates' rows are made.
    pub candidate: Vec<Pick>,
    /// Width of its candidates' rows.
    pub candidate_width: usize,
    /// Its outputs.
    pub outputs: Vec<Output>,
    /// For each output that goes into the answer: its column and its index among the placement's values.
    pub values: Vec<(usize, usize)>,
    /// The view uses that its inputs come from.
    pub views: Vec<usize>,
    /// Columns of the placement's rows that hold 1 when an old value of its inputs refuses the call; in the candidates' rows
    /// they are the same in each.
    pub refused: Vec<(Scope, usize)>,
}

/// One step from the placement's row to a module's.
#[derive(Debug, Clone, PartialEq)]
pub enum Pick {
    /// `n` columns as they are.
    Run {
        /// First column of the placement's row.
        from: usize,
        /// How many.
        n: usize,
    },
    /// A symbol of the release becomes one of the module: its index by that of the release, -1 where it has none.
    Symbol {
        /// Column of the placement's row.
        from: usize,
        /// The module's numbers.
        map: Vec<f64>,
    },
    /// `n` columns, NaN replaced.
    Default {
        /// First column of the placement's row.
        from: usize,
        /// How many.
        n: usize,
        /// In place of NaN.
        value: f64,
    },
    /// A symbol, mapped and NaN replaced.
    SymbolDefault {
        /// Column of the placement's row.
        from: usize,
        /// The module's numbers.
        map: Vec<f64>,
        /// In place of NaN.
        value: f64,
    },
    /// `n` columns of which none may be NaN.
    Must {
        /// First column of the placement's row.
        from: usize,
        /// How many.
        n: usize,
    },
    /// A symbol, mapped, that may not be NaN.
    SymbolMust {
        /// Column of the placement's row.
        from: usize,
        /// The module's numbers.
        map: Vec<f64>,
    },
}

// === forms ===

form!(struct Call {
    module,
    name,
    shared,
    shared_width,
    candidate,
    candidate_width,
    outputs,
    values,
    views,
    refused,
});
form!(enum Pick {
    Run { from, n },
    1 Symbol { from, map },
    2 Default { from, n, value },
    3 SymbolDefault { from, map, value },
    4 Must { from, n },
    5 SymbolMust { from, map },
});

// === impl Call ===

impl Call {
    /// The outputs a row of its answer has.
    pub fn width(&self) -> usize {
        self.outputs.len()
    }

    /// The column of output `name`.
    pub fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// Appends its shared row, made from the placement's.
    pub fn shared_row(&self, row: &[f64], out: &mut Vec<f64>) -> Result<(), Fault> {
        out.reserve(self.shared_width);
        pick_row(&self.shared, row, out)
    }

    /// Appends its candidates' rows, made from the placement's `count` rows of `width`.
    pub fn candidate_rows(&self, rows: &[f64], width: usize, count: usize, out: &mut Vec<f64>) -> Result<(), Fault> {
        if self.candidate.is_empty() {
            return Ok(());
        }
        out.reserve(self.candidate_width * count);
        rows.chunks_exact(width.max(1)).take(count).try_for_each(|row| pick_row(&self.candidate, row, out))
    }

    /// Whether the placement's shared row is its own as it stands.
    pub fn takes_shared_as_is(&self, width: usize) -> bool {
        as_is(&self.shared, width)
    }

    /// Whether the placement's candidate rows are its own as they stand.
    pub fn takes_candidates_as_is(&self, width: usize) -> bool {
        as_is(&self.candidate, width)
    }
}

fn as_is(picks: &[Pick], width: usize) -> bool {
    match picks {
        [] => width == 0,
        [Pick::Run { from: 0, n }] => *n == width,
        _ => false,
    }
}

fn pick_row(picks: &[Pick], row: &[f64], out: &mut Vec<f64>) -> Result<(), Fault> {
    for pick in picks {
        match pick {
            Pick::Run { from, n } => out.extend_from_slice(&row[*from..from + n]),
            Pick::Symbol { from, map } => out.push(remap(row[*from], map)),
            Pick::Default { from, n, value } => {
                out.extend(row[*from..from + n].iter().map(|x| if x.is_nan() { *value } else { *x }));
            }
            Pick::SymbolDefault { from, map, value } => {
                out.push(if row[*from].is_nan() { *value } else { remap(row[*from], map) });
            }
            Pick::Must { from, n } => {
                let values = &row[*from..from + n];
                if values.iter().any(|x| x.is_nan()) {
                    return Err(Fault::Input);
                }
                out.extend_from_slice(values);
            }
            Pick::SymbolMust { from, map } => {
                if row[*from].is_nan() {
                    return Err(Fault::Input);
                }
                out.push(remap(row[*from], map));
            }
        }
    }
    Ok(())
}

fn remap(number: f64, map: &[f64]) -> f64 {
    if number.is_nan() {
        return number;
    }
    // -1 casts to 0 as usize would not do: it must stay "any other text".
    if number < 0.0 { -1.0 } else { map.get(number as usize).copied().unwrap_or(-1.0) }
}

/// The pick of one input from its column.
pub(super) fn pick(input: &manifest::Input, column: &Column, symbols: &Symbols) -> Pick {
    let (from, n) = (column.at, column.width);
    let default = input.default_value().ok().flatten();
    let must = input.missing.is_error();
    if input.kind != manifest::Kind::Symbol {
        return match default {
            Some(value) => Pick::Default { from, n, value },
            None if must => Pick::Must { from, n },
            None => Pick::Run { from, n },
        };
    }
    let number = |text: &String| input.symbols.iter().position(|known| known == text).map_or(-1.0, |at| at as f64);
    let map: Vec<f64> = symbols.texts().iter().map(number).collect();
    match default {
        Some(value) => Pick::SymbolDefault { from, map, value },
        None if must => Pick::SymbolMust { from, map },
        None if map.iter().enumerate().all(|(at, number)| *number == at as f64) => Pick::Run { from, n },
        None => Pick::Symbol { from, map },
    }
}

/// The picks of one row, runs joined.
pub(super) fn join(picks: impl IntoIterator<Item = Pick>) -> Vec<Pick> {
    let mut joined: Vec<Pick> = Vec::new();
    for pick in picks {
        match (joined.last_mut(), &pick) {
            (Some(Pick::Run { from, n }), Pick::Run { from: next, n: more }) if *from + *n == *next => *n += more,
            _ => joined.push(pick),
        }
    }
    joined
}

/// The inputs of a manifest that stand in `scope`, in order.
pub(super) fn inputs(manifest: &Manifest, scope: Scope) -> impl Iterator<Item = &manifest::Input> {
    manifest.inputs.iter().filter(move |input| input.scope == scope)
}
