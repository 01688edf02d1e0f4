//! What a decision brought. Owns which events count as that, of which kind they are, and what they count.

use serde_json::Value;

use super::Event;
use super::names::{DECISION, EXPOSURE, REWARD};

// === impl Event ===

impl Event {
    /// The kind and the value of what it brought to the decision that it names; `None` when it names none, and for what the node's
    /// own names tell besides rewards: that a decision was made or seen.
    pub fn reward(&self) -> Option<(String, f64)> {
        if self.decision_id.is_none() || self.name == DECISION || self.name == EXPOSURE {
            return None;
        }
        let properties: Option<Value> = serde_json::from_str(&self.properties).ok();
        let value = properties.as_ref().and_then(|properties| properties.get("value")).and_then(Value::as_f64);
        Some((kind(&self.name, Some(&self.properties)), value.unwrap_or(1.0)))
    }
}

/// The kind of a reward: the event's name, and of `$reward` what its properties say under `kind`.
pub fn kind(event: &str, properties: Option<&str>) -> String {
    if event != REWARD {
        return event.trim_start_matches('$').to_owned();
    }
    let properties: Option<Value> = properties.and_then(|text| serde_json::from_str(text).ok());
    let kind = properties.as_ref().and_then(|properties| properties.get("kind")).and_then(Value::as_str);
    kind.unwrap_or("value").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reward_is_of_the_kind_it_says() {
        let check = |event: &str, properties: &str, expected: &str| {
            assert_eq!(kind(event, Some(properties)), expected, "{event} {properties}");
        };
        check("$reward", r#"{"kind":"margin","value":2}"#, "margin");
        check("$reward", r#"{"value":2}"#, "value");
        check("$reward", r#"{"kind":7}"#, "value");
        check("$exposure", "{}", "exposure");
        check("purchase", r#"{"kind":"x"}"#, "purchase");
    }

    #[test]
    fn an_event_that_names_a_decision_is_its_reward() {
        let check = |name: &str, properties: &str, names: bool, expected: Option<(&str, f64)>| {
            let event = Event {
                name: name.into(),
                properties: properties.into(),
                decision_id: names.then(|| selvedge_decision::DecisionId::new(1, 2, 3)),
                ..crate::outbox::samples::event(1)
            };
            assert_eq!(event.reward(), expected.map(|(kind, value)| (kind.to_owned(), value)), "{name}");
        };
        check("purchase", r#"{"value":2.5}"#, true, Some(("purchase", 2.5)));
        check("select_item", "{}", true, Some(("select_item", 1.0)));
        check("$reward", r#"{"kind":"margin","value":-3}"#, true, Some(("margin", -3.0)));
        check("purchase", "{}", false, None);
        check("$exposure", "{}", true, None);
        check("$decision", "{}", true, None);
    }
}
