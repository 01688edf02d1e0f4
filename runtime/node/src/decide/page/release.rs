//! What a page gets of a release: one JSON object, with what JavaScript reads in words and what the decision core reads in bytes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use selvedge_decision::Digest;
use selvedge_decision::definition::Payload;
use selvedge_decision::manifest::Kind;
use selvedge_decision::page::PageRelease;
use selvedge_decision::plan::{Arm, Placement};
use selvedge_decision::record::CORE_VERSION;
use serde::Serialize;

use super::Allowed;
use crate::decide::Active;

/// What a page gets of a release.
#[derive(Debug)]
pub struct PageAnswer {
    /// The release as the decision core of a page reads it.
    pub page: PageRelease,
    /// The answer, JSON.
    pub json: Bytes,
    /// The hash of the answer.
    pub etag: String,
}

#[derive(Serialize)]
struct Body<'a> {
    release: &'a str,
    /// The version of the node's decision core.
    core: u32,
    modules: Vec<Module<'a>>,
    placements: BTreeMap<&'a str, Shown<'a>>,
    /// Those for browsers that a page cannot decide. Why not is not for pages: `selvedge check -v` tells it.
    remote: Vec<&'a str>,
    /// [`PageRelease`], in base64.
    plan: String,
}

#[derive(Serialize)]
struct Module<'a> {
    /// By which the decision core calls it.
    index: u32,
    name: &'a str,
    digest: String,
}

/// A placement in words: what it takes, and what it gives besides what was decided.
#[derive(Serialize)]
struct Shown<'a> {
    /// Names and types, in order.
    context: Vec<(&'a str, Kind)>,
    max_candidates: usize,
    values: Vec<Value<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    payloads: BTreeMap<&'a str, &'a Payload>,
    /// By experiment and arm, where an arm has payloads of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    arms: BTreeMap<&'a str, BTreeMap<&'a str, &'a BTreeMap<String, Payload>>>,
}

#[derive(Serialize)]
struct Value<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    symbols: &'a [String],
}

// === impl PageAnswer ===

impl PageAnswer {
    pub(super) fn new(active: &Active, allowed: &Allowed) -> Self {
        let plan = &active.plan;
        let is_allowed = |key: &str| allowed.as_ref().is_none_or(|allowed| allowed.contains(key));
        let decides = |key: &str| active.pages.form().placements.contains_key(key);
        let (page, _) = plan.page(
            active.digest,
            |key| is_allowed(key) && decides(key),
            |module| plan.modules.get(module).is_some_and(|name| active.lifted.contains_key(name)),
        );
        let is_remote = |key: &str, placement: &Placement| placement.browser && is_allowed(key) && !decides(key);
        let remote = plan.placements.iter().filter(|(key, placement)| is_remote(key, placement));
        let modules = page.modules.keys().filter_map(|index| {
            let name = plan.modules.get(*index as usize)?;
            Some(Module { index: *index, name, digest: active.lifted.get(name)?.digest.to_string() })
        });
        // From the plan: in a page's own form there are no payloads.
        let placements = plan.placements.iter().filter(|(key, _)| page.placements.contains_key(*key));
        let body = Body {
            release: &active.digest_text,
            core: CORE_VERSION,
            modules: modules.collect(),
            placements: placements.map(|(key, placement)| (key.as_str(), Shown::new(placement))).collect(),
            remote: remote.map(|(key, _)| key.as_str()).collect(),
            plan: STANDARD.encode(page.to_bytes()),
        };
        // Keys are texts: nothing in it can fail to be written.
        let json = Bytes::from(serde_json::to_vec(&body).unwrap_or_default());
        let etag = Digest::of(&json).hex()[..32].to_owned();
        Self { page, json, etag }
    }
}

// === impl Shown ===

impl<'a> Shown<'a> {
    fn new(placement: &'a Placement) -> Self {
        let own = placement.actions.iter().filter_map(|action| Some((&*action.id, action.payload.as_ref()?)));
        let arms = placement.experiments.iter().map(|experiment| {
            let payloads = |arm: &'a Arm| Some((&*arm.name, &placement.ways.get(arm.way)?.payloads));
            let arms = experiment.arms.iter().filter_map(payloads).filter(|(_, payloads)| !payloads.is_empty());
            (&*experiment.key, arms.collect::<BTreeMap<_, _>>())
        });
        let values = placement.values.iter();
        Self {
            context: placement.context.iter().map(|(name, kind)| (name.as_str(), *kind)).collect(),
            max_candidates: placement.max_candidates,
            values: values.map(|of| Value { name: &of.name, kind: of.kind, symbols: &of.symbols }).collect(),
            payloads: own.collect(),
            arms: arms.filter(|(_, arms)| !arms.is_empty()).collect(),
        }
    }
}
