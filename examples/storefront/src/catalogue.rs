//! The catalogue: the rows of `shop/features/item.jsonl`, which nodes hold and pages show. Owns reading them, and what of a row
//! is nobody's business but the shop's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Features that pages do not get.
const INSIDE: [&str; 3] = ["margin", "popularity", "style"];

/// What the simulator and the pages ask of a product.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Product {
    #[serde(rename = "_key")]
    pub(crate) id: String,
    pub(crate) category: String,
    pub(crate) season: String,
    pub(crate) family: String,
    pub(crate) price: f64,
    pub(crate) popularity: f64,
    pub(crate) stock: u32,
    /// Where it lies in the space of tastes; as the view `item` says.
    pub(crate) style: Vec<f64>,
}

/// All products, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    pub(crate) products: Vec<Product>,
    rows: Vec<Map<String, Value>>,
}

// === impl Catalogue ===

impl Catalogue {
    /// Reads a release folder's `features/item.jsonl`.
    pub(crate) fn read(shop: &Path) -> Result<Self> {
        let path = shop.join("features/item.jsonl");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut catalogue = Self { products: Vec::new(), rows: Vec::new() };
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{}:{}", path.display(), at + 1);
            let row: Map<String, Value> = serde_json::from_str(line).with_context(place)?;
            catalogue.products.push(serde_json::from_value(Value::Object(row.clone())).with_context(place)?);
            catalogue.rows.push(row);
        }
        ensure!(!catalogue.products.is_empty(), "{}: no products", path.display());
        Ok(catalogue)
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Product> {
        self.products.iter().find(|product| product.id == id)
    }

    /// The rows as `selvedge features push` takes them.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Value> {
        self.rows.iter().cloned().map(Value::Object)
    }

    /// One of them.
    pub(crate) fn row(&self, id: &str) -> Option<Value> {
        let at = self.products.iter().position(|product| product.id == id)?;
        Some(Value::Object(self.rows[at].clone()))
    }

    /// Sets what is left of a product; whether there is one.
    pub(crate) fn set_stock(&mut self, id: &str, stock: u32) -> bool {
        let Some(at) = self.products.iter().position(|product| product.id == id) else { return false };
        self.products[at].stock = stock;
        self.rows[at].insert("stock".to_owned(), stock.into());
        true
    }

    /// What pages get: a list of objects, `_key` as `id`.
    pub(crate) fn public(&self) -> Value {
        let public = self.rows.iter().map(|row| {
            let seen = row.iter().filter(|(name, _)| !INSIDE.contains(&name.as_str()));
            let named =
                seen.map(|(name, value)| (if name == "_key" { "id".to_owned() } else { name.clone() }, value.clone()));
            Value::Object(named.collect())
        });
        Value::Array(public.collect())
    }
}
