//! The shop's back end: what is left of each product, and telling the nodes. Owns the catalogue while the shop runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::{Cli, wait};
use serde::Deserialize;
use serde_json::Value;

use crate::catalogue::Catalogue;

/// How often rows that the core does not have yet are tried.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// The most of one product in an order, and the most products.
const MAX_COUNT: u32 = 20;
const MAX_LINES: usize = 50;

#[derive(Debug)]
pub(crate) struct Stock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    catalogue: Catalogue,
    /// Products whose stock changed since the core was told.
    untold: BTreeSet<String>,
}

/// One line of an order.
#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) count: u32,
}

// === impl Stock ===

impl Stock {
    pub(crate) fn new(catalogue: Catalogue) -> Self {
        Self { state: Mutex::new(State { catalogue, untold: BTreeSet::new() }) }
    }

    /// The catalogue as it is now.
    pub(crate) fn catalogue(&self) -> Catalogue {
        self.lock().catalogue.clone()
    }

    pub(crate) fn rows(&self) -> Vec<Value> {
        self.lock().catalogue.rows().collect()
    }

    /// Takes an order from the shelves, all of it or nothing; what is wrong, in words for the buyer.
    pub(crate) fn order(&self, lines: &[Line]) -> Result<()> {
        ensure!(!lines.is_empty() && lines.len() <= MAX_LINES, "an order has 1 to {MAX_LINES} lines");
        let mut state = self.lock();
        let mut left = Vec::new();
        for line in lines {
            let product = state.catalogue.find(&line.id).with_context(|| format!("there is no {:?}", line.id))?;
            ensure!((1..=MAX_COUNT).contains(&line.count), "{}: from 1 to {MAX_COUNT} pieces", line.id);
            ensure!(line.count <= product.stock, "{}: only {} left", line.id, product.stock);
            ensure!(!left.iter().any(|(id, _)| *id == line.id), "{}: twice in one order", line.id);
            left.push((line.id.clone(), product.stock - line.count));
        }
        for (id, stock) in left {
            state.catalogue.set_stock(&id, stock);
            state.untold.insert(id);
        }
        Ok(())
    }

    /// Somebody counted the shelf.
    pub(crate) fn set(&self, id: &str, stock: u32) -> Result<()> {
        let mut state = self.lock();
        ensure!(state.catalogue.set_stock(id, stock), "there is no {id:?}");
        state.untold.insert(id.to_owned());
        Ok(())
    }

    /// Tells the core of every change, for ever; while it is away, changes wait.
    pub(crate) async fn tell(self: Arc<Self>, cli: Cli, file: PathBuf) {
        loop {
            let untold: Vec<String> = std::mem::take(&mut self.lock().untold).into_iter().collect();
            if !untold.is_empty() && push(&cli, &file, self.rows_of(&untold)).await.is_err() {
                self.lock().untold.extend(untold);
            }
            wait::pass(TELL_EVERY).await;
        }
    }

    /// The catalogue's file was saved: it counts, and what was ordered before does not.
    pub(crate) fn read_again(&self, shop: &Path) -> Result<()> {
        let catalogue = Catalogue::read(shop)?;
        let mut state = self.lock();
        state.untold = catalogue.products.iter().map(|product| product.id.clone()).collect();
        state.catalogue = catalogue;
        Ok(())
    }

    fn rows_of(&self, ids: &[String]) -> Vec<Value> {
        let state = self.lock();
        ids.iter().filter_map(|id| state.catalogue.row(id)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn push(cli: &Cli, file: &Path, rows: Vec<Value>) -> Result<()> {
    let lines: String = rows.into_iter().map(|row| format!("{row}\n")).collect();
    fs::write(file, lines)?;
    let words = ["features".as_ref(), "push".as_ref(), file.as_os_str(), "--view".as_ref(), "item".as_ref()];
    cli.run(words).await?.ok().map(drop)
}
