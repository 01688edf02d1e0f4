//! The aggregates of views: which views may have them, and what their values refer to.

use std::sync::Arc;

use super::{Problems, unknown};
use crate::aggregate::{self, Feature, Of};
use crate::definition::{By, FeatureDef, Sync};
use crate::layout::FeatureKind;
use crate::plan::ViewPlan;

/// The most cells of a row of aggregates.
const MAX_CELLS: usize = 4_096;

/// Compiles the aggregates of every view that has some.
pub(super) fn compile(views: &mut [ViewPlan], problems: &mut Problems) {
    for at in 0..views.len() {
        let view = &views[at];
        if view.def.aggregates.is_empty() {
            continue;
        }
        let place = format!("features.toml: view.{}", view.name);
        let def = &view.def;
        let is_session = def.by.is_session();
        if let Err(why) = counted_by(views, &def.by) {
            problems.add(&place, why);
        }
        if is_session && def.max_lag.is_some() {
            problems.add(&place, "aggregates of a session are never late: leave `max_lag` out");
        }
        for (key, is_said) in [
            ("sync", def.sync != Sync::All),
            ("shards", def.shards.is_some()),
            ("on_miss", def.on_miss.is_some()),
            ("max_bytes", def.max_bytes.is_some()),
        ] {
            if is_said {
                problems.add(&place, format!("aggregates are made of events, not of rows: leave `{key}` out"));
            }
        }
        let of_session = def.aggregates.iter().filter(|(_, aggregate)| !is_session && aggregate.session.is_some());
        for (name, _) in of_session {
            let why = "`session` is about a session, which this view is not by: use `first`, `count` or `time_since`";
            problems.add(format!("{place}.aggregates.{name}"), why);
        }
        let bucket = format!("{}_agg", view.name);
        if !is_session && views.iter().any(|other| other.name == bucket) {
            problems.add(&place, format!("its bucket is that of the view {bucket:?}: rename one of them"));
        }
        match aggregate::compile(&view.def.aggregates, |name| feature(views, name)) {
            Ok(compiled) if compiled.layout().cells() > MAX_CELLS => {
                problems.add(&place, format!("a row of aggregates is larger than {MAX_CELLS} cells of 8 bytes"));
            }
            Ok(compiled) => {
                let view = &mut views[at];
                view.layout = compiled.layout().clone();
                view.aggregates = Some(Arc::new(compiled));
            }
            Err(bad) => bad.into_iter().for_each(|(name, why)| problems.add(format!("{place}.aggregates.{name}"), why)),
        }
    }
}

/// Whether an event says whose aggregates these are, by itself or by a feature of its item that is stored with it.
fn counted_by(views: &[ViewPlan], by: &By) -> Result<(), String> {
    let told = |name: &String| matches!(name.as_str(), "subject" | "session" | "item");
    let why = || {
        "aggregates are by what an event names: subject, session, item, or a pair of them or of one and a symbol of its item \
         such as \"item.category\""
            .to_owned()
    };
    match by {
        By::One(one) if told(one) => Ok(()),
        By::Pair([a, b]) if told(a) && told(b) && a != b => Ok(()),
        By::Pair([one, name] | [name, one]) if told(one) && name.contains('.') && !name.starts_with("context.") => {
            match feature(views, name)? {
                (_, FeatureKind::Symbol, _) => Ok(()),
                (_, kind, _) => Err(format!("by {name:?}, which is a {kind}: expected a symbol")),
            }
        }
        _ => Err(why()),
    }
}

/// A feature of the item that an event is about.
fn feature(views: &[ViewPlan], name: &str) -> Result<Feature, String> {
    let (view_name, field_name) = name.split_once('.').unwrap_or((name, ""));
    let Some(view) = views.iter().position(|view| view.name == view_name) else {
        return Err(unknown("view", view_name, views.iter().map(|view| view.name.as_str())));
    };
    if views[view].def.by != By::One("item".into()) {
        return Err(format!(
            "view {view_name:?} is not by = \"item\": only what an event's item is known for can be joined"
        ));
    }
    let fields = views[view].layout.fields();
    match fields.iter().position(|field| field.name == field_name) {
        Some(_) if views[view].def.features.get(field_name).is_some_and(FeatureDef::pii) => {
            Err(format!("{name:?} is a person's own (pii), and what aggregates come to is recorded"))
        }
        Some(field) => Ok((Of::Feature { name: name.to_owned(), view, field }, fields[field].kind, fields[field].len)),
        None => {
            let known = fields.iter().map(|field| field.name.as_str());
            Err(unknown(&format!("feature of view {view_name:?}"), field_name, known))
        }
    }
}
