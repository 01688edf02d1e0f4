//! How answers came about, from the source: what groups of trees or columns of a linear model added, or which rows of which
//! tables fired. A module does not hold that.

use std::path::Path;

use selvedge_build::build::is_rules;
use selvedge_build::pipeline::explain::Explainer as Sums;
use selvedge_build::pipeline::{Pipeline, reference};
use selvedge_build::rules::{self, Rules};
use serde_json::{Value, json};

use super::rows::Row;
use crate::files::read_rules;
use crate::modules::file_name;
use crate::output::Usage;

/// A source that can be explained.
#[derive(Debug)]
pub(super) enum Explainer {
    /// Whose trees or columns add up.
    Model(Box<Pipeline>, Sums),
    /// Whose rows fire.
    Rules(Box<Rules>),
}

// === impl Explainer ===

impl Explainer {
    /// The source at `path`, of which a model's pipeline was read already.
    pub(super) fn new(path: &Path, pipeline: Option<Pipeline>) -> anyhow::Result<Self> {
        if let Some(pipeline) = pipeline {
            let sums = Sums::new(&pipeline);
            return Ok(Self::Model(Box::new(pipeline), sums));
        }
        if is_rules(&file_name(path)) {
            return Ok(Self::Rules(Box::new(read_rules(path)??)));
        }
        let why = "--explain needs a model file or a file of rules: a module does not hold what its parts add";
        Err(Usage(why.into()).into())
    }

    /// How the answers of a call came about, for each candidate.
    pub(super) fn explain(&self, row: &Row) -> Value {
        let width = row.candidates.len() / row.count.max(1) as usize;
        let candidate = |at: usize| {
            let own = row.candidates.get(at * width..(at + 1) * width).unwrap_or_default();
            match self {
                Self::Model(pipeline, sums) => {
                    let inputs = reference::join(pipeline, &row.shared, own);
                    json!(sums.explain(pipeline, &reference::tape(pipeline, &inputs)))
                }
                Self::Rules(rules) => fired(rules, &row.shared, own),
            }
        };
        (0..row.count as usize).map(candidate).collect()
    }
}

/// The tables that were reached, each with the rows that fired as they are written.
fn fired(rules: &Rules, shared: &[f64], own: &[f64]) -> Value {
    let tables: Vec<_> = rules.program.tables().collect();
    let told = |(table, fired): (usize, Vec<usize>)| {
        let table = tables.get(table)?;
        let row = |at: usize| {
            let row = table.rows.get(at)?;
            Some(json!({"row": at, "cells": row.cells, "note": row.note}))
        };
        Some(json!({"table": table.name, "fired": fired.into_iter().filter_map(row).collect::<Vec<_>>()}))
    };
    let fired = rules::evaluate(&rules.program, shared, own).fired;
    fired.into_iter().filter_map(told).collect()
}
