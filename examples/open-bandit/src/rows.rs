//! Feature rows for the shop's three views, made from the log. Owns their shape; `shop/features.toml` declares the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::data::{Campaign, Impression, Item};

/// One row a visitor.
pub(crate) fn users(impressions: &[Impression]) -> Vec<Value> {
    let visitors: BTreeMap<String, &Impression> = impressions.iter().map(|seen| (seen.subject(), seen)).collect();
    let row = |(subject, seen): (String, &Impression)| {
        let [a, b, c, d] = &seen.visitor;
        json!({"_key": subject, "feature_0": a, "feature_1": b, "feature_2": c, "feature_3": d})
    };
    visitors.into_iter().map(row).collect()
}

/// How often each item was shown and clicked.
#[derive(Debug, Clone)]
pub(crate) struct Counts(Vec<(u32, u32)>);

impl Counts {
    /// Nothing seen yet of `items` items.
    pub(crate) fn new(items: usize) -> Self {
        Self(vec![(0, 0); items])
    }

    /// One more impression of an item.
    pub(crate) fn add(&mut self, item: usize, clicked: bool) {
        let (shown, clicks) = &mut self.0[item];
        *shown += 1;
        *clicks += u32::from(clicked);
    }
}

/// One row an item, with what was counted so far.
pub(crate) fn items(items: &[Item], counts: &Counts) -> Vec<Value> {
    let row = |(item, (shown, clicks)): (&Item, &(u32, u32))| {
        let [a, b, c] = &item.categories;
        json!({
            "_key": item.id, "feature_0": item.number, "feature_1": a, "feature_2": b, "feature_3": c,
            "stock": u32::from(*shown > 0), "clicks": clicks,
        })
    };
    items.iter().zip(&counts.0).map(row).collect()
}

/// One row for every visitor and item with an affinity, the latest that `seen` shows.
pub(crate) fn affinities(campaign: &Campaign, seen: &[Impression]) -> Vec<Value> {
    latest_affinities(seen)
        .into_iter()
        .map(|((subject, item), score)| json!({"_key": [subject, campaign.items[item].id], "score": score}))
        .collect()
}

/// The latest affinity of each visitor to each item.
pub(crate) fn latest_affinities(seen: &[Impression]) -> BTreeMap<(String, usize), f64> {
    let scores = seen.iter().flat_map(|impression| {
        let subject = impression.subject();
        impression.affinity.iter().map(move |(item, score)| ((subject.clone(), *item), *score))
    });
    scores.collect()
}
