//! Decisions during swaps: none fails, none mixes two releases, the old release is freed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_node::decide::Active;
use selvedge_node::node::Node;
use serde_json::{Value, json};

use super::{Findings, Scale};
use crate::harness::shop::Shop;
use crate::harness::{Client, Rig, inprocess, until};

const LIMIT: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 4;

/// By release: the numbers that answers of it said.
type Seen = BTreeMap<String, BTreeMap<String, u64>>;

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let decisions = scale.pick(10_000, 800);
    let swaps = scale.pick(20, 4);
    let rig = Rig::start().await?;
    // Inside this process, so that a release that is kept too long can be seen.
    let node = inprocess::start(&rig.spec("edge-1")).await?;
    let mut files = Vec::new();
    for number in 0..=swaps {
        files.push(rig.pack(&Shop::numbered(rig.path(&format!("number-{number}")), number)?).await?);
    }
    rig.push("item", (0..3).map(|at| json!({"_key": format!("sku-{at}"), "price": 1.0, "stock": 1.0}))).await?;
    let first = rig.deploy(&files[0]).await?;
    let mut releases = vec![runs(&node, &first).await?];
    let mut numbers = BTreeMap::from([(first, 0)]);

    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|at| tokio::spawn(work(node.listening.http, at, Arc::clone(&stop), Arc::clone(&count))))
        .collect();
    for (number, file) in files.iter().enumerate().skip(1) {
        // The swaps share the traffic evenly: each waits for its part of the decisions.
        let enough = decisions * number as u64 / (u64::from(swaps) + 1);
        until("decisions to go on", LIMIT, async || (count.load(Ordering::Relaxed) >= enough).then_some(())).await?;
        let digest = rig.deploy(file).await?;
        releases.push(runs(&node, &digest).await?);
        numbers.insert(digest, number);
        // Each connection may still have one answer of before under way: one more than that is of this release.
        let answered = count.load(Ordering::Relaxed) + CONNECTIONS as u64 + 1;
        until("an answer of the release", LIMIT, async || (count.load(Ordering::Relaxed) >= answered).then_some(()))
            .await?;
    }
    until("enough decisions", LIMIT, async || (count.load(Ordering::Relaxed) >= decisions).then_some(())).await?;
    stop.store(true, Ordering::Relaxed);

    let mut findings = Findings::default();
    let mut seen = Seen::new();
    for worker in workers {
        let (answers, failures) = worker.await.context("a connection's task")?;
        for (release, numbers) in answers {
            for (number, count) in numbers {
                *seen.entry(release.clone()).or_default().entry(number).or_default() += count;
            }
        }
        for failure in failures {
            findings.check(false, || failure);
        }
    }
    for (release, said) in &seen {
        let expected = numbers.get(release).map(|number| json!(*number as f64).to_string());
        for (number, count) in said {
            let mixed = if Some(number) == expected.as_ref() { 0 } else { *count };
            findings
                .count(*count, mixed, || format!("release {release} ({expected:?}): {count} answers said {number}"));
        }
    }
    findings.check(seen.len() == numbers.len(), || format!("{} of {} releases answered", seen.len(), numbers.len()));
    // The last is kept warm for a rollback.
    let old = &releases[..releases.len() - 2];
    let mut held = 0;
    let freed = until("old releases to be freed", LIMIT, async || {
        held = old.iter().filter(|release| release.strong_count() > 0).count();
        (held == 0).then_some(())
    });
    findings.works(freed.await.with_context(|| format!("{held} of {} old releases are still held", old.len())));
    node.stop().await;
    Ok(findings)
}

/// Waits until the node runs `release`; a look at it that does not keep it.
async fn runs(node: &Node, release: &str) -> Result<Weak<Active>> {
    until(&format!("the node to run {release}"), LIMIT, async || {
        let active = node.releases.active();
        active.as_ref().filter(|active| active.digest_text == release).map(Arc::downgrade)
    })
    .await
}

async fn work(address: SocketAddr, at: usize, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> (Seen, Vec<String>) {
    let mut client = Client::new(address);
    let (mut seen, mut failures) = (Seen::new(), Vec::new());
    let hero = json!({"placement": "home-hero"});
    let rank = json!({"placement": "plp-rank", "candidates": ["sku-0", "sku-1", "sku-2"]});
    let page = json!({"placements": [hero, rank]});
    for turn in at.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (path, body) = match turn % 3 {
            0 => ("/v1/decide", &hero),
            1 => ("/v1/decide", &rank),
            _ => ("/v1/decide/batch", &page),
        };
        match client.post(path, body).await.and_then(|answer| answer.ok()).and_then(|answer| judge(&answer)) {
            Ok((release, number)) => *seen.entry(release).or_default().entry(number).or_default() += 1,
            Err(error) => failures.push(format!("{error:#}")),
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    (seen, failures)
}

/// The one release and the one number that an answer speaks of; an error when there are two of either.
fn judge(answer: &Value) -> Result<(String, String)> {
    let single = [answer.clone()];
    let decisions = answer["decisions"].as_array().map_or(&single[..], |decisions| &decisions[..]);
    let mut said = std::collections::BTreeSet::new();
    for decision in decisions {
        let release = decision["release"].as_str().context("no release")?;
        anyhow::ensure!(decision["reason"] == "SCORED", "not scored: {decision}");
        for choice in decision["choices"].as_array().context("no choices")? {
            let score = choice["score"].as_f64().context("no score")?;
            said.insert((release.to_owned(), json!(score).to_string()));
            if let Some(number) = choice["payload"]["number"].as_f64() {
                said.insert((release.to_owned(), json!(number).to_string()));
            }
        }
    }
    anyhow::ensure!(said.len() == 1, "an answer that mixes {said:?}: {answer}");
    said.pop_first().context("no choice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_mixes_two_releases_is_noticed() {
        let decision = |release: &str, score: f64, number: u32| json!({"release": release, "reason": "SCORED", "choices": [{"score": score, "payload": {"number": number}}]});
        assert_eq!(judge(&decision("a", 3.0, 3)).ok(), Some(("a".into(), "3.0".into())));
        assert!(judge(&decision("a", 3.0, 4)).is_err(), "a score of one release and the payload of another");
        assert!(judge(&json!({"decisions": [decision("a", 3.0, 3), decision("b", 3.0, 3)]})).is_err());
        assert!(judge(&json!({"decisions": [decision("a", 3.0, 3), decision("a", 3.0, 3)]})).is_ok());
    }
}
