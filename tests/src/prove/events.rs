//! Events over the wire in every shape, packed or not; second copies, whatever happened to node and core in between; events
//! that the release does not list. The shapes by themselves are `tests/cases/events`.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use serde_json::{Value, json};

use super::{Findings, Scale, state};
use crate::harness::cli::Cli;
use crate::harness::stream::Stream;
use crate::harness::{Node, Random, Rig, until};

const LIMIT: Duration = Duration::from_secs(60);
/// The largest body, as a node has it unless told otherwise.
const BODY: u64 = 500 << 10;

/// A request and its answer.
struct Case {
    what: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    status: u16,
    /// What of the answer must be so.
    answer: Value,
}

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut rig = Rig::start().await?;
    let shop = state::priced_shop(&rig, 1)?;
    let features = std::fs::read_to_string(shop.folder().join("features.toml"))?;
    shop.file("features.toml", format!("events = [\"view_item\", \"purchase\"]\n{features}"))?;
    let release = rig.deploy(shop.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    let mut findings = Findings::default();
    for case in cases()? {
        let answer = node.client().send_with(Method::POST, "/v1/events", case.headers, case.body).await?;
        let said = answer.json().unwrap_or_default();
        let holds = answer.status == case.status && holds(&said, &case.answer);
        let expected = case.answer;
        findings
            .check(holds, || format!("{}: {} {said}, expected {} {expected}", case.what, answer.status, case.status));
    }
    unknown(&node, &mut findings).await?;
    copies(scale, &mut rig, node, &mut findings).await?;
    Ok(findings)
}

/// Whether `said` has all that `expected` has.
fn holds(said: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(fields) => fields.iter().all(|(name, value)| holds(&said[name], value)),
        Value::Array(values) => {
            said.as_array().is_some_and(|said| said.len() == values.len())
                && values.iter().enumerate().all(|(at, value)| holds(&said[at], value))
        }
        value => said == value,
    }
}

fn cases() -> Result<Vec<Case>> {
    let taken = |what, headers, body: &str, accepted: u32| Case {
        what,
        headers,
        body: body.into(),
        status: 202,
        answer: json!({"accepted": accepted, "duplicates": 0, "rejected": []}),
    };
    let refused = |what, headers, body: Vec<u8>, status, error: Value| Case {
        what,
        headers,
        body,
        status,
        answer: json!({ "error": error }),
    };
    let json_type = &[("content-type", "application/json")];
    let bomb = pack(&vec![b' '; 200 << 20])?;
    anyhow::ensure!((bomb.len() as u64) < BODY, "the bomb must be small enough to be unpacked: {}", bomb.len());
    Ok(vec![
        taken("one event", json_type, r#"{"event":"view_item"}"#, 1),
        taken("an array", json_type, r#"[{"event":"view_item"},{"event":"purchase"}]"#, 2),
        taken(
            "Segment's batch",
            json_type,
            r#"{"batch":[{"type":"track","event":"Product Viewed","anonymousId":"a","properties":{"product_id":"p"}}],
                "sentAt":"2026-03-01T12:00:00Z"}"#,
            1,
        ),
        taken("a beacon", &[("content-type", "text/plain;charset=UTF-8")], r#"{"batch":[{"event":"view_item"}]}"#, 1),
        taken(
            "lines",
            &[("content-type", "application/x-ndjson")],
            "{\"event\":\"view_item\"}\n{\"event\":\"view_item\"}",
            2,
        ),
        taken(
            "a structured CloudEvent",
            &[("content-type", "application/cloudevents+json")],
            r#"{"specversion":"1.0","type":"view_item","source":"/s","id":"structured"}"#,
            1,
        ),
        taken(
            "batched CloudEvents",
            &[("content-type", "application/cloudevents-batch+json")],
            r#"[{"specversion":"1.0","type":"view_item","source":"/s","id":"batched"}]"#,
            1,
        ),
        taken(
            "a binary CloudEvent",
            &[("ce-specversion", "1.0"), ("ce-type", "view_item"), ("ce-source", "/s"), ("ce-id", "binary")],
            r#"{"item_id":"sku-1"}"#,
            1,
        ),
        Case { body: pack(br#"[{"event":"view_item"}]"#)?, ..taken("packed", &[("content-encoding", "gzip")], "", 1) },
        Case { body: pack(br#"{"event":"view_item"}"#)?, ..taken("packed, and nobody says so", &[], "", 1) },
        Case {
            what: "one wrong, one right",
            headers: json_type,
            body: br#"[{"event":"$mine"},{"event":"view_item"}]"#.to_vec(),
            status: 202,
            answer: json!({"accepted": 1, "rejected": [{"index": 0, "code": "reserved_name", "field": "event"}]}),
        },
        refused(
            "a bomb",
            &[("content-encoding", "gzip")],
            bomb,
            413,
            json!({"code": "body_too_large", "field": "body", "limit": BODY}),
        ),
        refused(
            "a larger body than is allowed, packed",
            &[("content-encoding", "gzip")],
            vec![0x1f; BODY as usize + 1],
            413,
            json!({"code": "body_too_large", "limit": BODY}),
        ),
        refused(
            "packed and cut off",
            &[("content-encoding", "gzip")],
            pack(br#"{"event":"view_item"}"#)?[..20].to_vec(),
            400,
            json!({"code": "bad_encoding", "field": "body"}),
        ),
        refused(
            "packed otherwise",
            &[("content-encoding", "br")],
            br#"{"event":"view_item"}"#.to_vec(),
            415,
            json!({"code": "unsupported_encoding", "field": "content-encoding"}),
        ),
        refused(
            "a batch that was sent at no time",
            json_type,
            br#"{"batch":[{"event":"view_item"}],"sentAt":"now"}"#.to_vec(),
            400,
            json!({"code": "bad_field", "field": "sentAt"}),
        ),
        refused("nothing but wrong ones", json_type, b"[{}]".to_vec(), 400, json!({"code": "bad_batch"})),
    ])
}

fn pack(body: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body)?;
    encoder.finish().context("packing")
}

/// Events that the release does not list are counted where an operator looks.
async fn unknown(node: &Node, findings: &mut Findings) -> Result<()> {
    let batch = json!([{"event": "veiw_item"}, {"event": "veiw_item"}, {"event": "purchase"}, {"event": "$reward"}]);
    node.client().post("/v1/events", &batch).await?.ok()?;
    let metrics = node.metrics().await?;
    let counted = metrics.sum("selvedge_events_unknown_total", &["name=\"veiw_item\""]);
    findings.check(counted == 2.0, || format!("veiw_item was counted {counted} times"));
    let all = metrics.sum("selvedge_events_unknown_total", &[]);
    findings.check(all == 2.0, || format!("{all} events were counted as unknown"));
    let status = node.status().await?["unknown_events"].take();
    findings.check(status == json!([{"event": "veiw_item", "count": 2}]), || format!("/v1/status says {status}"));
    let ran = Cli::offline().run(["doctor", "--set", &format!("http.admin={}", node.admin)]).await?;
    findings.check(ran.stdout.contains("the release does not list veiw_item (2)"), || ran.stdout.clone());
    Ok(())
}

/// Events sent again after the node was stopped, killed and cut off: each is stored once.
async fn copies(scale: Scale, rig: &mut Rig, mut node: Node, findings: &mut Findings) -> Result<()> {
    let mut random = Random::new(scale.seed);
    let mut sent: Vec<Value> = Vec::new();
    for turn in 0..scale.pick(40, 6) {
        let fresh: Vec<Value> = (0..1 + random.below(200))
            .map(|at| json!({"event": "view_item", "messageId": format!("{}-{turn}-{at}", scale.seed)}))
            .collect();
        let answer = node.client().post("/v1/events", &json!({ "batch": fresh })).await?.ok()?;
        findings.check(answer["accepted"] == fresh.len() && answer["duplicates"] == 0, || {
            format!("turn {turn}: {} new events: {answer}", fresh.len())
        });
        sent.extend(fresh);
        match turn % 6 {
            0 => node = Node::start(node.kill()?).await?,
            1 => node = Node::start(node.terminate().await?.0).await?,
            2 => rig.nats.kill()?,
            3 => node = Node::start(node.kill()?).await?,
            4 => rig.nats.restart().await?,
            _ => {}
        }
        // In another order and cut than they came.
        let start = random.below(sent.len() as u64) as usize;
        let again = [&sent[start..], &sent[..start]].concat();
        for batch in again.chunks(1 + random.below(900) as usize) {
            let answer = node.client().post("/v1/events", &json!({ "batch": batch })).await?.ok()?;
            findings.check(answer["accepted"] == 0 && answer["duplicates"] == batch.len(), || {
                format!("turn {turn}: {} copies: {answer}", batch.len())
            });
        }
    }
    rig.nats.restart().await?;
    let mut stream = Stream::open(&rig.nats.url()).await?;
    let arrived = until("every event to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        let times = stream.times_by_message_id();
        sent.iter().all(|event| times.contains_key(event["messageId"].as_str().unwrap_or_default())).then_some(())
    });
    // What is missing is counted below, one by one.
    drop(arrived.await);
    let times = stream.times_by_message_id();
    for event in &sent {
        let id = event["messageId"].as_str().unwrap_or_default();
        let found = times.get(id).copied().unwrap_or(0);
        findings.check(found == 1, || format!("event {id} is {found} times in the stream"));
    }
    Ok(())
}
