//! Bad requests: each gets a 4xx with its stable code, the field and the limit; never a 5xx, never a panic, and the next good
//! request is answered.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Findings, Scale, state};
use crate::harness::{Node, Random, Rig};

const LIMIT: Duration = Duration::from_secs(30);

/// A placement that needs a subject.
const PERSONAL: &str = r#"
context = { country = "symbol", cart_value = "number", member = "flag" }
actions = [{ id = "a" }, { id = "b" }]
ladder = ["personal"]
fallback = ["a"]
"#;

const PERSONAL_MODEL: &str = r#"
link = "identity"
[[input]]
name = "user.value"
scope = "shared"
type = "number"
weight = 1.0
[[input]]
name = "context.country"
scope = "shared"
type = "symbol"
weights = { DE = 1.0 }
[[input]]
name = "context.cart_value"
scope = "shared"
type = "number"
weight = 1.0
[[input]]
name = "context.member"
scope = "shared"
type = "flag"
weight = 1.0
"#;

/// A request and how it must be refused.
struct Case {
    what: &'static str,
    path: &'static str,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    field: Option<&'static str>,
    limit: bool,
}

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let rig = Rig::start().await?;
    let shop = state::priced_shop(&rig, 1)?;
    shop.placement("personal", PERSONAL)?.model("personal", PERSONAL_MODEL)?;
    let release = rig.deploy(shop.folder()).await?;
    let spec = rig.spec("edge-1").set("http.max_decide_body=256KiB").set("outbox.max_rewards=64KiB");
    let node = Node::start(spec).await?;
    node.runs(&release, LIMIT).await?;
    let mut findings = Findings::default();
    for case in cases() {
        check(&node, case, &mut findings).await?;
    }
    rejected_events(&node, &mut findings).await?;
    garbage(&node, scale, &mut findings).await?;
    let good = json!({"placement": "personal", "subject": "u-1", "context": {"country": "DE", "cart_value": 1.5, "member": true}});
    let answer = node.client().post("/v1/decide", &good).await?.ok()?;
    findings.check(answer["choices"][0]["score"] == 3.5, || format!("a good request after bad ones: {answer}"));
    let log = node.process.log()?;
    findings
        .check(!log.contains("panicked"), || format!("the node's log tells of a panic:\n{}", node.process.log_tail()));
    Ok(findings)
}

async fn check(node: &Node, case: Case, findings: &mut Findings) -> Result<()> {
    let mut client = node.client();
    let answer = client.send(Method::POST, case.path, case.body).await.context(case.what)?;
    let error = answer.json().unwrap_or_default()["error"].take();
    let field = case.field.is_none_or(|field| error["field"] == field);
    let holds = answer.status == case.status
        && error["code"] == case.code
        && error["message"].as_str().is_some_and(|message| !message.is_empty())
        && field
        && (!case.limit || error["limit"].is_u64());
    let expected = format!("{} {} {:?} limit: {}", case.status, case.code, case.field, case.limit);
    findings.check(holds, || format!("{}: {} {}, expected {expected}", case.what, answer.status, answer.text()));
    // The same connection or a new one: the node goes on.
    let next = client.post("/v1/decide", &json!({"placement": "home-hero"})).await.and_then(|answer| answer.ok());
    findings.works(next.with_context(|| format!("the request after: {}", case.what)));
    Ok(())
}

fn cases() -> Vec<Case> {
    let decide = |what, body: Value, status, code, field, limit| Case {
        what,
        path: "/v1/decide",
        body: body.to_string().into_bytes(),
        status,
        code,
        field,
        limit,
    };
    let raw =
        |what, path, body: Vec<u8>, status, code, field| Case { what, path, body, status, code, field, limit: false };
    let many: Vec<String> = (0..10_000).map(|at| at.to_string()).collect();
    let deep =
        format!("{{\"placement\":\"home-hero\",\"context\":{{\"x\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
    let (long, megabyte) = ("x".repeat(600), "x".repeat(1 << 20));
    let personal = |context: Value| json!({"placement": "personal", "subject": "u-1", "context": context});
    vec![
        decide(
            "unknown placement",
            json!({"placement": "home-her"}),
            404,
            "unknown_placement",
            Some("placement"),
            false,
        ),
        decide("no placement", json!({"subject": "u"}), 400, "bad_field", None, false),
        decide("placement of a wrong type", json!({"placement": 7}), 400, "bad_field", Some("placement"), false),
        decide("unknown field", json!({"placement": "home-hero", "plcement": 1}), 400, "bad_field", None, false),
        decide("missing subject", json!({"placement": "personal"}), 400, "missing_unit", Some("subject"), false),
        decide(
            "empty subject",
            json!({"placement": "personal", "subject": ""}),
            400,
            "bad_field",
            Some("subject"),
            false,
        ),
        decide(
            "long subject",
            json!({"placement": "personal", "subject": long}),
            400,
            "out_of_bounds",
            Some("subject"),
            true,
        ),
        decide(
            "subject of a wrong type",
            json!({"placement": "personal", "subject": 4}),
            400,
            "bad_field",
            Some("subject"),
            false,
        ),
        decide(
            "text for a number",
            personal(json!({"cart_value": "12"})),
            400,
            "bad_field",
            Some("context.cart_value"),
            false,
        ),
        decide("number for a text", personal(json!({"country": 49})), 400, "bad_field", Some("context.country"), false),
        decide("list for a flag", personal(json!({"member": [true]})), 400, "bad_field", Some("context.member"), false),
        decide(
            "long text",
            personal(json!({"country": "x".repeat(5_000)})),
            400,
            "out_of_bounds",
            Some("context.country"),
            true,
        ),
        decide("1 MB context", personal(json!({"country": megabyte})), 413, "body_too_large", Some("body"), true),
        decide(
            "context is a list",
            json!({"placement": "home-hero", "context": []}),
            400,
            "bad_field",
            Some("context"),
            false,
        ),
        decide(
            "10,000 candidates",
            json!({"placement": "plp-rank", "candidates": many}),
            400,
            "out_of_bounds",
            Some("candidates"),
            true,
        ),
        decide("no candidates", json!({"placement": "plp-rank"}), 400, "no_candidates", Some("candidates"), false),
        decide(
            "candidate twice",
            json!({"placement": "plp-rank", "candidates": ["a", "b", "a"]}),
            400,
            "duplicate_candidate",
            Some("candidates[2]"),
            false,
        ),
        decide(
            "unknown action",
            json!({"placement": "home-hero", "candidates": ["vip", "vup"]}),
            400,
            "unknown_action",
            Some("candidates[1]"),
            false,
        ),
        decide("no slots", json!({"placement": "home-hero", "slots": 0}), 400, "out_of_bounds", Some("slots"), true),
        decide(
            "a million slots",
            json!({"placement": "home-hero", "slots": 1_000_000}),
            400,
            "out_of_bounds",
            Some("slots"),
            true,
        ),
        decide(
            "minus one slot",
            json!({"placement": "home-hero", "slots": -1}),
            400,
            "bad_field",
            Some("slots"),
            false,
        ),
        decide(
            "no time zone",
            json!({"placement": "home-hero", "tz_offset_min": 100_000}),
            400,
            "out_of_bounds",
            Some("tz_offset_min"),
            true,
        ),
        raw(
            "invalid UTF-8",
            "/v1/decide",
            b"{\"placement\":\"home-\xff\xfe\"}".to_vec(),
            400,
            "bad_json",
            Some("body"),
        ),
        raw("deep JSON", "/v1/decide", deep.into_bytes(), 400, "bad_json", Some("body")),
        raw("no JSON", "/v1/decide", b"placement=home-hero".to_vec(), 400, "bad_json", Some("body")),
        raw("a list", "/v1/decide", b"[\"home-hero\"]".to_vec(), 400, "bad_json", Some("body")),
        raw("two values", "/v1/decide", b"{\"placement\":\"home-hero\"}{}".to_vec(), 400, "bad_json", Some("body")),
        raw("nothing", "/v1/decide", vec![], 400, "bad_json", Some("body")),
        raw(
            "a number beyond f64",
            "/v1/decide",
            b"{\"placement\":\"personal\",\"subject\":\"u\",\"context\":{\"cart_value\":1e999}}".to_vec(),
            400,
            "bad_json",
            Some("body"),
        ),
        raw(
            "empty batch",
            "/v1/decide/batch",
            b"{\"placements\":[]}".to_vec(),
            400,
            "out_of_bounds",
            Some("placements"),
        ),
        raw(
            "batch with a bad part",
            "/v1/decide/batch",
            b"{\"placements\":[{\"placement\":\"home-hero\"},{\"placement\":\"x\"}]}".to_vec(),
            404,
            "unknown_placement",
            Some("placements[1].placement"),
        ),
        raw("events that are none", "/v1/events", b"7".to_vec(), 400, "bad_json", Some("body")),
        raw("events cut off", "/v1/events", b"[{\"event\":\"a\"},".to_vec(), 400, "bad_json", Some("body")),
        raw("events that are not UTF-8", "/v1/events", b"{\"event\":\"\xff\"}".to_vec(), 400, "bad_json", Some("body")),
        raw("too large events", "/v1/events", vec![b' '; 600 << 10], 413, "body_too_large", Some("body")),
        Case {
            // Larger than all that may wait: "come again later" would be told for ever.
            what: "rewards that never fit",
            path: "/v1/events",
            body: json!(vec![json!({"event": "$reward", "properties": {"note": "x".repeat(1_000)}}); 100])
                .to_string()
                .into_bytes(),
            status: 413,
            code: "body_too_large",
            field: Some("body"),
            limit: true,
        },
        raw("no such path", "/v1/decided", vec![], 404, "not_found", None),
    ]
}

/// A batch of which some events are bad: the good ones are taken, each bad one is named by index and reason.
async fn rejected_events(node: &Node, findings: &mut Findings) -> Result<()> {
    let batch = json!([
        {"event": "view_item"},
        {"event": 7},
        {"subject": "no name"},
        {"event": "late", "timestamp": "yesterday"},
        {"event": "strange", "decision_id": "not an id"},
        "no object",
        {"event": "click", "session": "s-1"},
    ]);
    let answer = node.client().post("/v1/events", &batch).await?;
    let said = answer.json()?;
    findings.check(answer.status == 202 && said["accepted"] == 2, || {
        format!("2 of 7 events are good: {} {said}", answer.status)
    });
    let indices: Vec<u64> =
        said["rejected"].as_array().into_iter().flatten().filter_map(|one| one["index"].as_u64()).collect();
    findings.check(indices == [1, 2, 3, 4, 5], || format!("rejected, by index: {said}"));
    let told = |one: &Value| one["code"].is_string() && one["message"].is_string();
    findings.check(said["rejected"].as_array().into_iter().flatten().all(told), || {
        format!("without code or message: {said}")
    });
    Ok(())
}

/// Bytes that are no HTTP at all, random ones among them: the connection may end, the node may not.
async fn garbage(node: &Node, scale: Scale, findings: &mut Findings) -> Result<()> {
    let mut random = Random::new(scale.seed);
    for turn in 0..scale.pick(500, 50) {
        let mut bytes: Vec<u8> = match turn % 3 {
            0 => b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n".to_vec(),
            1 => b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n".to_vec(),
            _ => Vec::new(),
        };
        bytes.extend((0..random.below(300)).map(|_| random.bits() as u8));
        let mut stream =
            tokio::net::TcpStream::connect(node.http).await.context("the node takes no connections any more")?;
        // Either side may end it at any time.
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        let mut said = Vec::new();
        drop(tokio::time::timeout(LIMIT, stream.read_to_end(&mut said)).await.context("neither answered nor closed")?);
        findings.check(!said.starts_with(b"HTTP/1.1 5"), || {
            format!("garbage was answered with {}", String::from_utf8_lossy(&said))
        });
    }
    findings.works(
        node.client().post("/v1/decide", &json!({"placement": "home-hero"})).await.and_then(|answer| answer.ok()),
    );
    Ok(())
}
