//! What the releases of this node say: placements, views, rules as tables with what fired, and what a view knows of an entity.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use selvedge_decision::definition::Sync;
use selvedge_decision::plan::{Candidates, Placement, Plan};
use selvedge_decision::policy::PolicyKind;
use serde_json::{Value, json};

use super::super::Admin;
use super::super::error::{ApiError, Code};
use super::reply;
use crate::decide::Active;
use crate::features::entity::entity as joined;

/// Actions of a placement that are told.
const ACTIONS: usize = 200;

/// What runs, as far as a page needs it to ask and to show.
pub(super) async fn told(State(api): State<Arc<Admin>>) -> Response {
    let held = api.console.held();
    let releases: Vec<Value> = held
        .iter()
        .map(|(role, active)| json!({ "role": role, "release": active.digest_text, "name": active.plan.name }))
        .collect();
    let Some((_, active)) = held.first() else { return reply(&json!({ "releases": releases })) };
    let plan = &active.plan;
    let placements: Vec<Value> = plan.placements.values().map(|placement| told_placement(plan, placement)).collect();
    let views: Vec<Value> = plan
        .views
        .iter()
        .map(|view| {
            let features = view.layout.fields().iter().map(|field| {
                let pii = view.def.features.get(&field.name).is_some_and(|def| def.pii());
                json!({ "name": field.name, "kind": field.kind.to_string(), "pii": pii })
            });
            json!({
                "view": view.name,
                "by": view.def.by.names(),
                "sync": match view.def.sync { Sync::All => "all", Sync::OnDemand => "on-demand" },
                "events": view.aggregates.is_some(),
                "features": features.collect::<Vec<_>>(),
            })
        })
        .collect();
    reply(
        &json!({ "releases": releases, "placements": placements, "views": views, "hashes_ids": api.console.ids.is_keyed() }),
    )
}

fn told_placement(plan: &Plan, placement: &Placement) -> Value {
    let names = |calls: &[usize]| -> Vec<&str> {
        calls.iter().filter_map(|call| placement.calls.get(*call)).map(|call| call.name.as_str()).collect()
    };
    let way = placement.ways.first();
    let ladder: Vec<usize> = way.iter().flat_map(|way| way.ladder.iter().map(|scorer| scorer.call)).collect();
    let policy = way.map_or("argmax", |way| match way.policy.kind {
        PolicyKind::Argmax => "argmax",
        PolicyKind::Epsilon(_) => "epsilon",
        PolicyKind::Softmax(_) => "softmax",
        PolicyKind::Thompson => "thompson",
    });
    let candidates = match placement.candidates {
        Candidates::Actions => json!({ "from": "actions" }),
        Candidates::Request => json!({ "from": "request" }),
        Candidates::View(view) => json!({ "from": "view", "view": plan.views.get(view).map(|view| &view.name) }),
    };
    json!({
        "placement": placement.key,
        "context": placement.context.iter().map(|(name, kind)| json!({ "name": name, "kind": kind.to_string() })).collect::<Vec<_>>(),
        "actions": placement.actions.iter().take(ACTIONS).map(|action| &action.id).collect::<Vec<_>>(),
        "candidates": candidates,
        "slots": placement.slots,
        "deadline_ms": placement.deadline_us as f64 / 1e3,
        "record_inputs": placement.record_inputs,
        "rules": way.map(|way| names(&way.rules)).unwrap_or_default(),
        "ladder": names(&ladder),
        "policy": policy,
        "experiments": placement.experiments.iter().map(|experiment| &experiment.key).collect::<Vec<_>>(),
        "needs_subject": placement.views.iter().any(|used| used.entity.needs_subject()),
        "needs_session": placement.views.iter().any(|used| used.entity.needs_session()),
    })
}

/// The rules of the running release, and how often each row fired since it began to run.
pub(super) async fn rules(State(api): State<Arc<Admin>>) -> Response {
    let Some(active) = Option::as_ref(&api.console.releases.active()).map(Arc::clone) else {
        return reply(&json!({ "modules": [] }));
    };
    let modules: Vec<Value> =
        (0..active.plan.modules.len()).filter_map(|module| told_module(&active, module)).collect();
    reply(&json!({ "modules": modules, "release": active.digest_text }))
}

/// A module that some placement asks as rules; `None` for others.
fn told_module(active: &Active, module: usize) -> Option<Value> {
    let is_it =
        |placement: &Placement, call: &usize| placement.calls.get(*call).is_some_and(|call| call.module == module);
    let used: Vec<&str> = active
        .plan
        .placements
        .values()
        .filter(|placement| placement.ways.iter().flat_map(|way| &way.rules).any(|call| is_it(placement, call)))
        .map(|placement| &*placement.key)
        .collect();
    if used.is_empty() {
        return None;
    }
    let (told, fired) = active.rules_at(module)?;
    Some(json!({
        "module": active.plan.modules.get(module),
        "kind": told.kind,
        "placements": used,
        "tables": told.tables,
        "fired": fired.fired(),
    }))
}

pub(super) async fn entity(State(api): State<Arc<Admin>>, Path((view, entity)): Path<(String, String)>) -> Response {
    look(&api, &view, &[&entity])
}

pub(super) async fn pair(
    State(api): State<Arc<Admin>>,
    Path((view, first, second)): Path<(String, String, String)>,
) -> Response {
    look(&api, &view, &[&first, &second])
}

fn look(api: &Admin, view: &str, parts: &[&str]) -> Response {
    let api = &api.console;
    let Some(active) = Option::as_ref(&api.releases.active()).map(Arc::clone) else {
        return ApiError::from(crate::decide::Refused::NotReady).into_response();
    };
    let Some(def) = active.plan.views.iter().find(|known| known.name == view).map(|view| &view.def) else {
        return ApiError::new(Code::not_found, format!("the running release has no view {view:?}"))
            .at("view")
            .into_response();
    };
    let names = def.by.names();
    if names.len() != parts.len() {
        let message = format!("view {view:?} is by {}: it needs {} of them", names.join(" and "), names.len());
        return ApiError::new(Code::bad_field, message).at("entity").into_response();
    }
    let name = match joined(parts.iter().copied()) {
        Ok(name) => name,
        Err(bad) => return ApiError::new(Code::bad_field, bad.to_string()).at("entity").into_response(),
    };
    let name = api.ids.entity(&def.by, &name);
    match active.look(view, &name, api.console.now_us()) {
        Ok(looked) => reply(&looked),
        Err(error) => ApiError::new(Code::not_found, error.to_string()).at("view").into_response(),
    }
}
