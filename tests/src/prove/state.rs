//! What a node believes of its features, asked by decisions: the placement `plp-rank` of a priced shop scores each item by
//! its price, so the score is the value that the decision used.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::harness::shop::Shop;
use crate::harness::{Client, Rig};

/// A numbered shop that ranks by price.
pub(crate) fn priced_shop(rig: &Rig, number: u32) -> Result<Shop> {
    Shop::priced(rig.path(&format!("priced-{number}")), number)
}

/// The price of each of `items` as a decision sees it; 0 for one it has no price of.
pub(super) async fn prices(client: &mut Client, items: &[String]) -> Result<BTreeMap<String, f64>> {
    let mut prices = BTreeMap::new();
    for items in items.chunks(500) {
        let request = json!({"placement": "plp-rank", "candidates": items, "slots": items.len()});
        let answer = client.post("/v1/decide", &request).await?.ok()?;
        for choice in answer["choices"].as_array().context("choices")? {
            let id = choice["id"].as_str().context("an id")?;
            let score = match &choice["score"] {
                Value::Null => 0.0,
                score => score.as_f64().with_context(|| format!("no score in {choice}"))?,
            };
            prices.insert(id.to_owned(), score);
        }
    }
    Ok(prices)
}

/// The price of each of `items` in the core's bucket, with its sequence; 0 for one that has none.
pub(super) async fn bucket(rig: &Rig, items: &[String]) -> Result<BTreeMap<String, (f64, u64)>> {
    let link = rig.link().await?;
    let mut prices = BTreeMap::new();
    for item in items {
        let Some(row) = link.get_feature("item", item).await? else { continue };
        let json: Value = serde_json::from_slice(&row.row).unwrap_or_default();
        prices.insert(item.clone(), (json["price"].as_f64().unwrap_or(0.0), row.revision));
    }
    Ok(prices)
}
