//! What an event's properties say that the event itself does not: trackers that know neither items nor decisions can put them
//! only there. Properties are the sender's own, so what does not fit is no hint and no fault.

use std::borrow::Cow;

use selvedge_decision::DecisionId;
use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use super::event::id;
use super::fields::Elements;

/// Item and decision of an event, as its properties have them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hints<'a> {
    /// GA4's `items[0].item_id` or `item_id`, Segment's `product_id` or `products[0].product_id`.
    pub(super) item: Option<Cow<'a, str>>,
    /// `decision_id`.
    pub(super) decision_id: Option<DecisionId>,
}

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    product_id: Option<&'a RawValue>,
    #[serde(borrow)]
    products: Option<&'a RawValue>,
    #[serde(borrow, alias = "decisionId")]
    decision_id: Option<&'a RawValue>,
}

/// One of several items.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    product_id: Option<&'a RawValue>,
}

// === impl Hints ===

impl<'a> Hints<'a> {
    /// What valid JSON says, as far as it is asked for.
    pub(super) fn of(properties: &'a str, item: bool, decision: bool) -> Self {
        // Most properties have neither: looking for the words is cheaper than reading them.
        let item = item && (properties.contains("item") || properties.contains("product"));
        let decision = decision && properties.contains("decision");
        if !item && !decision {
            return Self::default();
        }
        let Ok(said) = serde_json::from_str::<Properties<'_>>(properties) else { return Self::default() };
        let one = |raw: Option<&'a RawValue>| raw.and_then(|raw| id(raw.get()));
        let found = || {
            first(said.items, |item| item.item_id)
                .or_else(|| one(said.item_id))
                .or_else(|| one(said.product_id))
                .or_else(|| first(said.products, |item| item.product_id))
        };
        let named = || said.decision_id.and_then(|raw| id(raw.get())).and_then(|text| text.parse().ok());
        Self { item: if item { found() } else { None }, decision_id: if decision { named() } else { None } }
    }
}

/// The id of the first element of an array of items.
fn first<'a>(items: Option<&'a RawValue>, of: fn(&Item<'a>) -> Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    let (items, _) = Elements { limit: 1 }.deserialize(&mut serde_json::Deserializer::from_str(items?.get())).ok()?;
    id(of(&serde_json::from_str(items.first()?).ok()?)?.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_and_decisions_are_found_where_trackers_put_them() {
        let check = |properties: &str, item: Option<&str>| {
            assert_eq!(Hints::of(properties, true, true).item.as_deref(), item, "{properties}");
            assert_eq!(Hints::of(properties, false, true).item, None, "{properties}");
        };
        check(r#"{"items":[{"item_id":"sku-1"},{"item_id":"sku-2"}]}"#, Some("sku-1"));
        check(r#"{"items":[{"item_name":"a"}],"item_id":"sku-3"}"#, Some("sku-3"));
        check(r#"{"product_id":"507f1f77","sku":"G-32"}"#, Some("507f1f77"));
        check(r#"{"product_id":4711}"#, Some("4711"));
        check(r#"{"order_id":"o","products":[{"product_id":"p-1"},{"product_id":"p-2"}]}"#, Some("p-1"));
        check(r#"{"items":[{"item_id":"ga4"}],"product_id":"segment"}"#, Some("ga4"));
        for none in [
            "{}",
            r#"{"items":[]}"#,
            r#"{"items":{"item_id":"x"}}"#,
            r#"{"items":["sku-1"]}"#,
            r#"{"items":null,"products":[null]}"#,
            r#"{"product_id":1.5}"#,
            r#"{"product_id":""}"#,
            r#"{"product_id":"a","product_id":"b"}"#,
            r#"{"nested":{"product_id":"deeper"}}"#,
            r#"{"list":"items"}"#,
        ] {
            check(none, None);
        }
        let id = "0190a0f2-7e1c-7abc-8def-0123456789ab";
        for properties in [format!(r#"{{"decision_id":"{id}"}}"#), format!(r#"{{"decisionId":"{id}","x":1}}"#)] {
            assert_eq!(Hints::of(&properties, true, true).decision_id, id.parse().ok());
            assert_eq!(Hints::of(&properties, true, false).decision_id, None);
        }
        assert_eq!(Hints::of(r#"{"decision_id":"mine"}"#, true, true), Hints::default());
    }
}
