//! Where something of a person may be: buckets, and what their keys look like there. Owns that a key is only taken for theirs where
//! the view says that it is: an item may be called as a person is.

use std::collections::BTreeMap;

use selvedge_decision::Plan;
use selvedge_decision::definition::By;
use selvedge_node::aggregates;
use selvedge_node::features::entity::{bucket_names, key_of};
use selvedge_node::ids::{Kind, is_hashed};
use selvedge_node::link::NatsLink;
use selvedge_node::link::nats::erased::Erased;

/// A bucket, and what to look for in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// Keys; `*` stands for anything between two dots.
    pub(super) patterns: Vec<String>,
    /// Why what is found may be another's.
    pub(super) unsure: Option<&'static str>,
}

const UNSURE: &str =
    "left: the releases have no view of this name, so these keys may be another's; name one that has it with --release";

/// All places at this core.
pub(super) async fn of(nats: &NatsLink, plans: &[Plan], erased: &Erased) -> anyhow::Result<Vec<Place>> {
    let known = known(plans);
    let mut places = Vec::new();
    for name in nats.feature_buckets().await? {
        let of = |views: &Vec<(By, &str)>| views.iter().flat_map(|(by, before)| patterns(by, before, erased)).collect();
        let found = known.get(&name).map(|views| (of(views), None));
        let (patterns, unsure) = found.unwrap_or_else(|| {
            // A hash is nobody else's.
            (anywhere(erased), Some(UNSURE).filter(|_| !is_hashed(&erased.subject)))
        });
        if !patterns.is_empty() {
            places.push(Place { bucket: nats.config().features_bucket(&name), patterns, unsure });
        }
    }
    let bucket = nats.config().sessions_bucket();
    if nats.has_stream(&format!("KV_{bucket}")).await? {
        // By view, node and run of it.
        let patterns = erased.sessions.iter().map(|session| format!("*.*.*.{}", key_of(session))).collect();
        places.push(Place { bucket, patterns, unsure: None });
    }
    Ok(places)
}

/// The buckets of the views of releases, without what their names begin with: by whom their keys are, and what stands before that.
/// Releases may not agree.
fn known(plans: &[Plan]) -> BTreeMap<String, Vec<(By, &'static str)>> {
    let mut known = BTreeMap::<String, Vec<(By, &'static str)>>::new();
    for view in plans.iter().flat_map(|plan| &plan.views) {
        let (names, before) = match (&view.aggregates, view.def.shards) {
            // What each node told.
            (Some(_), _) => (vec![aggregates::name_of(&view.name)], "*."),
            (None, shards) => (bucket_names(&view.name, shards), ""),
        };
        for name in names {
            known.entry(name).or_default().push((view.def.by.clone(), before));
        }
    }
    known
}

/// What the keys of a person are like in a bucket by `by`; none when nothing in it is a person's.
fn patterns(by: &By, before: &str, erased: &Erased) -> Vec<String> {
    let keys = |name: &str| match Kind::of(name) {
        Some(Kind::Subject) => vec![key_of(&erased.subject)],
        Some(Kind::Session) => erased.sessions.iter().map(|session| key_of(session)).collect(),
        None => Vec::new(),
    };
    match by {
        By::One(one) => keys(one).into_iter().map(|key| format!("{before}{key}")).collect(),
        By::Pair([a, b]) => {
            let first = keys(a).into_iter().map(|key| format!("{before}{key}.*"));
            first.chain(keys(b).into_iter().map(|key| format!("{before}*.{key}"))).collect()
        }
    }
}

/// What they may be like in a bucket of which nothing is known.
fn anywhere(erased: &Erased) -> Vec<String> {
    let ids = std::iter::once(&erased.subject).chain(&erased.sessions);
    let like =
        |key: String| [key.clone(), format!("{key}.*"), format!("*.{key}"), format!("*.{key}.*"), format!("*.*.{key}")];
    ids.flat_map(|id| like(key_of(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_person_s_where_the_view_says_so() {
        let erased = Erased { subject: "u-42".into(), at_us: 0, sessions: vec!["s-1".into(), "s-2".into()] };
        let check =
            |by: By, before: &str, expected: &[&str]| assert_eq!(patterns(&by, before, &erased), expected, "{by:?}");
        let one = |name: &str| By::One(name.into());
        let pair = |a: &str, b: &str| By::Pair([a.into(), b.into()]);
        check(one("subject"), "", &["dS00Mg"]);
        check(one("subject"), "*.", &["*.dS00Mg"]);
        check(one("session"), "", &["cy0x", "cy0y"]);
        check(one("item"), "", &[]);
        check(pair("item", "context.market"), "", &[]);
        check(pair("subject", "item"), "*.", &["*.dS00Mg.*"]);
        check(pair("item", "subject"), "", &["*.dS00Mg"]);
        check(pair("session", "item"), "", &["cy0x.*", "cy0y.*"]);
    }
}
