//! What is counted of keys: requests by the key's name and what became of them. Names come from the file alone, and go with it.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The name under which those are counted that have no key of ours.
const NOBODY: &str = "";

/// Requests by key and outcome. Cheap to clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the variant is the label of the counter")]
pub(super) enum Outcome {
    allowed,
    bad_key,
    expired,
    wrong_scope,
    foreign_origin,
    too_many,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    key: String,
    outcome: Outcome,
}

/// The counters of one key, by outcome, made once.
#[derive(Debug, Clone)]
pub(super) struct Counts([Counter; Outcome::ALL.len()]);

// === impl Outcome ===

impl Outcome {
    /// In the order of the variants.
    const ALL: [Self; 6] =
        [Self::allowed, Self::bad_key, Self::expired, Self::wrong_scope, Self::foreign_origin, Self::too_many];
}

// === impl Metrics ===

impl Metrics {
    /// Makes them visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Requests by the name of their key, empty for none that is known here, and what became of them";
        registry.register("selvedge_key_requests", help, self.requests.clone());
    }

    pub(super) fn of(&self, name: &str) -> Counts {
        let counter = |outcome| self.requests.get_or_create(&Labels { key: name.to_owned(), outcome }).clone();
        Counts(Outcome::ALL.map(counter))
    }

    /// Counts one whose key is none.
    pub(super) fn bad_key(&self) {
        self.requests.get_or_create(&Labels { key: NOBODY.to_owned(), outcome: Outcome::bad_key }).inc();
    }

    /// The keys of these names are gone.
    pub(super) fn forget<'a>(&self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            for outcome in Outcome::ALL {
                self.requests.remove(&Labels { key: name.to_owned(), outcome });
            }
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Counts what became of a request, and hands it on.
    pub(super) fn told<E>(&self, checked: Result<(), (Outcome, E)>) -> Result<(), E> {
        let (outcome, told) = match checked {
            Ok(()) => (Outcome::allowed, Ok(())),
            Err((outcome, error)) => (outcome, Err(error)),
        };
        self.0[outcome as usize].inc();
        told
    }
}
