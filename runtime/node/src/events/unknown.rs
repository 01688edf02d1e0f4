//! Events that the running release does not list, counted by name: what a tracker's typing error looks like. Owns the bound on
//! the names: whoever sends ever new ones fills no memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use serde::Serialize;

/// Names that are counted one by one; all further ones are `other`.
const NAMES: usize = 100;
/// What further names are counted as.
const OTHER: &str = "other";

/// The counts. Cheap to clone: all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Unknown(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    by_name: BTreeMap<String, u64>,
    other: u64,
}

/// What `/v1/status` says of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownEvent {
    /// The name, or `other`.
    pub event: String,
    /// How many were taken since the node started.
    pub count: u64,
}

// === impl Unknown ===

impl Unknown {
    /// Counts events that were taken, by their names.
    pub fn count(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let Counts { by_name, other } = &mut *self.lock();
        for name in names {
            let has_room = by_name.len() < NAMES && name != OTHER;
            match by_name.get_mut(&name) {
                Some(count) => *count += 1,
                None if has_room => _ = by_name.insert(name, 1),
                None => *other += 1,
            }
        }
    }

    /// The counts, largest first.
    pub fn status(&self) -> Vec<UnknownEvent> {
        let counts = self.lock();
        let named = counts.by_name.iter().map(|(event, count)| UnknownEvent { event: event.clone(), count: *count });
        let mut status: Vec<_> = named.collect();
        status.sort_by_key(|event| std::cmp::Reverse(event.count));
        if counts.other > 0 {
            status.push(UnknownEvent { event: OTHER.to_owned(), count: counts.other });
        }
        status
    }

    /// Makes them visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Every change under the lock is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Unknown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Events taken that the running release does not list, by name";
        let mut family = encoder.encode_descriptor("selvedge_events_unknown", help, None, MetricType::Counter)?;
        for UnknownEvent { event, count } in self.status() {
            ConstCounter::new(count).encode(family.encode_family(&[("name", event.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_counted_up_to_a_bound() {
        let unknown = Unknown::default();
        let repeated = |name: &str, times: usize| vec![name.to_owned(); times];
        unknown.count(repeated("b \"quoted\"", 3));
        unknown.count(repeated("a", 2));
        unknown.count(repeated(OTHER, 4));
        (0..NAMES).for_each(|n| unknown.count(vec![format!("n-{n}")]));
        unknown.count(repeated("a", 3));
        let status = unknown.status();
        assert_eq!(status.len(), NAMES + 1);
        let event = |at: usize| (status[at].event.as_str(), status[at].count);
        // Two of the hundred found no place beside the first two.
        assert_eq!([event(0), event(1), event(NAMES)], [("a", 5), ("b \"quoted\"", 3), (OTHER, 6)]);
        let mut registry = Registry::default();
        unknown.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"selvedge_events_unknown_total{name="a"} 5"#,
            r#"selvedge_events_unknown_total{name="b \"quoted\""} 3"#,
            r#"selvedge_events_unknown_total{name="other"} 6"#,
        ] {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line} in\n{text}");
        }
    }
}
