//! What pages ask of a node: the door and who may read what is said there, a page of placements, events by beacon, the stream, modules.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use selvedge_build::{module, release};
use selvedge_decision::Digest;
use selvedge_suite::harness::shop::{Shop, hero};
use selvedge_suite::harness::{Answer, Client, Node, Rig, Sse, until};
use serde_json::{Value, json};

use crate::keys::{create, publish};

const LIMIT: Duration = Duration::from_secs(60);
const SHOP: &str = "https://shop.example";

/// A shop with placements for pages (`home-hero`, `plp-rank`, `cart`) and one that is not (`home-secret`), each with a model.
fn shop(rig: &Rig, number: u32) -> Result<Shop> {
    let shop = Shop::numbered(rig.path(&format!("shop-{number}")), number)?;
    let page = |text: &str| format!("browser = true\n{text}");
    shop.placement("home-hero", &page(&hero(number, "[\"hero\"]")))?;
    shop.placement("cart", &page(&hero(number, "[\"hero\"]")))?;
    shop.placement("plp-rank", &page(selvedge_suite::harness::shop::RANK))?;
    shop.placement("home-secret", &hero(number, "[\"secret\"]"))?;
    shop.model("secret", &selvedge_suite::harness::shop::constant(number + 1_000))?;
    Ok(shop)
}

/// A node with that shop, a key for each part of it that a test needs, and the release.
async fn start(rig: &Rig, keys: &[(&str, &[&str])]) -> Result<(Node, Vec<String>, String)> {
    let file = rig.path("keys.jsonl");
    let (_, admin) = create(&rig.cli, &file, "ops", &["admin"]).await?;
    let mut made = Vec::new();
    for (name, more) in keys {
        made.push(publish(&rig.cli, &file, name, more).await?.1);
    }
    let release = rig.deploy(shop(rig, 1)?.folder()).await?;
    let mut spec = rig.spec("edge-1").set(format!("http.keys={}", file.display()));
    spec.admin_key = Some(admin);
    let node = Node::start(spec).await?;
    node.runs(&release, LIMIT).await?;
    Ok((node, made, release))
}

/// As a page sends it: no header that needs a preflight.
async fn post(client: &mut Client, path: &str, origin: Option<&str>, body: &str) -> Result<Answer> {
    let mut headers = vec![("content-type", "text/plain;charset=UTF-8")];
    headers.extend(origin.map(|origin| ("origin", origin)));
    client.send_with(Method::POST, path, &headers, body.to_owned()).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).and_then(|value| value.to_str().ok())
}

fn page(placements: &[&str]) -> String {
    let placements: Vec<Value> = placements.iter().map(|key| json!({"placement": key})).collect();
    json!({"subject": "u-1", "session": "s-1", "context": {"country": "DE"}, "placements": placements}).to_string()
}

#[test]
fn the_door_says_why_and_to_whom() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let slow: &[&str] = &["--origin", SHOP, "--rate", "0.01", "--burst", "2"];
        let (node, keys, _) =
            start(&rig, &[("web", &["--origin", SHOP]), ("every", &["--origin", "*"]), ("slow", slow)]).await?;
        let [web, every, slow] = keys.as_slice() else { anyhow::bail!("three keys") };
        let mut client = node.client();
        let body = page(&["home-hero"]);
        for (query, origin, status, code, reader) in [
            (format!("key={web}&v=1"), Some(SHOP), 200, "", Some(SHOP)),
            (format!("key={web}"), Some(SHOP), 200, "", Some(SHOP)),
            (format!("key={web}&v=1"), None, 200, "", None),
            (format!("key={every}&v=1"), Some("https://any.example"), 200, "", Some("*")),
            (format!("key={web}&v=1"), Some("https://evil.example"), 403, "foreign_origin", Some("*")),
            (format!("key={web}&v=1"), Some("null"), 403, "foreign_origin", Some("*")),
            ("v=1".to_owned(), Some(SHOP), 401, "bad_key", Some("*")),
            ("key=pk_wrong&v=1".to_owned(), Some(SHOP), 401, "bad_key", Some("*")),
            ("key=sk_wrong&v=1".to_owned(), Some(SHOP), 401, "bad_key", Some("*")),
            (format!("key={web}&v=2"), Some(SHOP), 426, "protocol", Some("*")),
            (format!("key={web}&v=x"), Some(SHOP), 426, "protocol", Some("*")),
        ] {
            let answer = post(&mut client, &format!("/v1/browser/decide?{query}"), origin, &body).await?;
            let json = answer.json()?;
            let told = json["error"]["code"].as_str().unwrap_or_default();
            ensure!(
                answer.status.as_u16() == status && told == code,
                "{query} of {origin:?}: {} {json}",
                answer.status
            );
            ensure!(
                header(&answer, "access-control-allow-origin") == reader,
                "{query} of {origin:?}: {:?}",
                answer.headers
            );
            ensure!(header(&answer, "x-selvedge-protocol") == Some("1"), "{:?}", answer.headers);
            let exposed = header(&answer, "access-control-expose-headers");
            ensure!(exposed.is_some_and(|names| names.contains("X-Selvedge-Protocol")) == reader.is_some());
            let varies = answer.headers.get_all("vary").iter().any(|value| value == "origin");
            ensure!(varies == (reader != Some("*")), "{query}: a cache must tell origins apart: {:?}", answer.headers);
            ensure!(code != "protocol" || json["error"]["speaks"] == json!([1]), "{json}");
        }
        let old = format!("Bearer {web}");
        let headers = [("authorization", old.as_str()), ("origin", SHOP)];
        let answer = client.send_with(Method::POST, "/v1/browser/decide", &headers, body.clone()).await?;
        ensure!(answer.status == StatusCode::OK, "a key in the header: {}", answer.text());

        // Each key has a rate of its own.
        let path = format!("/v1/browser/decide?key={slow}");
        for expected in [200, 200, 429, 429] {
            let answer = post(&mut client, &path, Some(SHOP), &body).await?;
            ensure!(answer.status.as_u16() == expected, "{}", answer.text());
            if expected == 429 {
                let wait: u64 = header(&answer, "retry-after").context("no Retry-After")?.parse()?;
                ensure!((80..=100).contains(&wait), "come again after {wait} s");
                ensure!(answer.json()?["error"]["code"] == "too_many_requests");
            }
        }
        ensure!(post(&mut client, &format!("/v1/browser/decide?key={web}"), Some(SHOP), &body).await?.status == 200);

        let asks = [
            ("origin", SHOP),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        for path in ["decide", "events", "stream", "release", "features", "records", "modules/00"] {
            let answer = client.send_with(Method::OPTIONS, &format!("/v1/browser/{path}"), &asks, "").await?;
            ensure!(answer.status == StatusCode::NO_CONTENT, "{path}: {}", answer.status);
            ensure!(header(&answer, "access-control-allow-headers") == Some("authorization,content-type"), "{path}");
            ensure!(header(&answer, "access-control-allow-origin") == Some("*"), "{path}: {:?}", answer.headers);
        }
        // Nothing needs a key to be told that it is not there; and every answer says its protocol.
        for (method, path, status) in
            [(Method::GET, "nothing", 404), (Method::PUT, "decide", 405), (Method::POST, "modules/00", 405)]
        {
            let answer = client.send_with(method, &format!("/v1/browser/{path}"), &[("origin", SHOP)], "").await?;
            ensure!(answer.status.as_u16() == status, "{path}: {}", answer.status);
            ensure!(answer.json()?["error"]["code"].is_string(), "{path}: {}", answer.text());
            ensure!(header(&answer, "x-selvedge-protocol") == Some("1"), "{path}: {:?}", answer.headers);
            ensure!(header(&answer, "access-control-allow-origin") == Some("*"), "{path}: {:?}", answer.headers);
        }
        let metrics = node.metrics().await?;
        let count = |key: &str, outcome: &str| {
            metrics.sum("selvedge_key_requests_total", &[&format!("key=\"{key}\""), &format!("outcome=\"{outcome}\"")])
        };
        ensure!(
            count("slow", "too_many") == 2.0
                && count("slow", "allowed") == 2.0
                && count("web", "foreign_origin") == 2.0
        );
        Ok(())
    })
}

#[test]
fn a_page_gets_what_it_may_have_whatever_else_it_asked_for() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let narrow: &[&str] = &["--origin", SHOP, "--placement", "home-hero", "--placement", "home-secret"];
        let (node, keys, release) = start(&rig, &[("web", &["--origin", SHOP]), ("narrow", narrow)]).await?;
        let mut client = node.client();
        let decide = async |client: &mut Client, key: &str, body: &str| {
            post(client, &format!("/v1/browser/decide?key={key}&v=1"), Some(SHOP), body).await
        };
        let all = page(&["home-hero", "home-secret", "home-secrets", "plp-rank", "cart"]);
        let answer = decide(&mut client, &keys[0], &all).await?.ok()?;
        ensure!(answer["release"] == release.as_str(), "{answer}");
        let decisions = answer["decisions"].as_array().context("no decisions")?;
        ensure!(decisions.len() == 5, "{answer}");
        ensure!(
            decisions[0]["choices"][0]["payload"]["number"] == 1 && decisions[0]["decision_id"].is_string(),
            "{answer}"
        );
        ensure!(decisions[1]["error"]["code"] == "not_for_browsers" && decisions[1]["placement"] == "home-secret");
        ensure!(decisions[1].to_string().contains("browser = true"), "{answer}");
        ensure!(decisions[2]["error"]["code"] == "unknown_placement", "{answer}");
        let near = decisions[2]["error"]["message"].as_str().unwrap_or_default();
        ensure!(!near.contains("mean \"home-secret\""), "a name that is not for pages is told: {answer}");
        ensure!(decisions[3]["error"]["code"] == "no_candidates", "{answer}");
        ensure!(decisions[4]["choices"].is_array(), "{answer}");
        let meant = decide(&mut client, &keys[0], &page(&["home-heros"])).await?.ok()?;
        ensure!(meant.to_string().contains("did you mean \\\"home-hero\\\""), "{meant}");
        let answer = decide(&mut client, &keys[1], &all).await?.ok()?;
        ensure!(answer["decisions"][0]["choices"].is_array(), "{answer}");
        for at in [1, 4] {
            ensure!(answer["decisions"][at]["error"]["code"] == "not_for_browsers", "{at}: {answer}");
        }
        ensure!(answer["decisions"][4].to_string().contains("the key's `placements`"), "{answer}");
        for (body, status, code, field) in [
            (r#"{"placements":[]}"#, 400, "out_of_bounds", "placements"),
            (r#"{"placements":[{"placement":"home-hero"}],"explain":true}"#, 403, "not_for_browsers", "explain"),
            ("{", 400, "bad_json", "body"),
            (r#"{"placement":"home-hero"}"#, 400, "bad_field", ""),
        ] {
            let answer = decide(&mut client, &keys[0], body).await?;
            let error = &answer.json()?["error"];
            ensure!(answer.status.as_u16() == status && error["code"] == code, "{body}: {error}");
            ensure!(field.is_empty() || error["field"] == field, "{body}: {error}");
            ensure!(header(&answer, "access-control-allow-origin") == Some(SHOP), "{body}: {:?}", answer.headers);
        }
        let twice = json!({"subject": "u", "distinct": true, "placements": [{"placement": "home-hero"}, {"placement": "cart"}]});
        let answer = decide(&mut client, &keys[0], &twice.to_string()).await?.ok()?;
        let mut ids: Vec<&Value> = Vec::new();
        for decision in answer["decisions"].as_array().context("no decisions")? {
            ids.extend(decision["choices"].as_array().context("no choices")?.iter().map(|choice| &choice["id"]));
        }
        ensure!(ids.len() == 3, "three actions on a page of four slots, none twice: {answer}");

        // A large answer is packed for whoever takes that, and means the same.
        let many = page(&["home-hero"; 8]);
        let path = format!("/v1/browser/decide?key={}", keys[0]);
        let packed = client.send_with(Method::POST, &path, &[("accept-encoding", "gzip, br")], many.clone()).await?;
        ensure!(header(&packed, "content-encoding") == Some("gzip"), "{:?}", packed.headers);
        let unpacked: Value = serde_json::from_slice(&unpack(&packed.body)?)?;
        ensure!(unpacked["decisions"].as_array().is_some_and(|decisions| decisions.len() == 8), "{unpacked}");
        let plain = client.send_with(Method::POST, &path, &[], many).await?;
        ensure!(header(&plain, "content-encoding").is_none() && plain.ok()?["release"] == release.as_str());
        Ok(())
    })
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut whole)?;
    Ok(whole)
}

/// Without keys, on the loopback, a page needs none; what is not for pages stays so.
#[test]
fn a_node_without_keys_is_a_page_s_as_well() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let release = rig.deploy(shop(&rig, 1)?.folder()).await?;
        let node = Node::start(rig.spec("edge-1").set(format!("http.cors_origins={SHOP}"))).await?;
        node.runs(&release, LIMIT).await?;
        let mut client = node.client();
        for path in ["/v1/browser/decide", "/v1/browser/decide?key=anything&v=1"] {
            let answer = post(&mut client, path, Some(SHOP), &page(&["home-hero", "home-secret"])).await?;
            let json = answer.ok()?;
            ensure!(json["decisions"][0]["choices"].is_array(), "{json}");
            ensure!(json["decisions"][1]["error"]["code"] == "not_for_browsers", "{json}");
            ensure!(header(&answer, "access-control-allow-origin") == Some(SHOP));
        }
        let foreign =
            post(&mut client, "/v1/browser/decide", Some("https://evil.example"), &page(&["home-hero"])).await?;
        ensure!(
            foreign.status == StatusCode::FORBIDDEN && foreign.text().contains("http.cors_origins"),
            "{}",
            foreign.text()
        );
        Ok(())
    })
}

#[test]
fn events_come_by_beacon_and_count_once() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, keys, _) = start(&rig, &[("web", &["--origin", SHOP])]).await?;
        let mut client = node.client();
        let decided =
            post(&mut client, &format!("/v1/browser/decide?key={}", keys[0]), Some(SHOP), &page(&["home-hero"]))
                .await?
                .ok()?;
        let id = &decided["decisions"][0]["decision_id"];
        let exposure = json!({"event": "$exposure", "messageId": "m-2", "decision_id": id, "session": "s-1",
                              "properties": {"placement": "home-hero"}});
        let batch = json!({"batch": [{"event": "view_item", "messageId": "m-1", "session": "s-1"}, exposure, {"event": "$click"}]});
        let path = format!("/v1/browser/events?key={}&v=1", keys[0]);
        let first = post(&mut client, &path, Some(SHOP), &batch.to_string()).await?;
        ensure!(first.status == StatusCode::ACCEPTED, "{}", first.text());
        let first = first.json()?;
        ensure!(first["accepted"] == 2 && first["rejected"][0]["index"] == 2, "{first}");
        let again = post(&mut client, &path, Some(SHOP), &batch.to_string()).await?.ok()?;
        ensure!(again["accepted"] == 0 && again["duplicates"] == 2, "{again}");
        let refused = post(&mut client, "/v1/browser/events", Some(SHOP), &batch.to_string()).await?;
        ensure!(refused.status == StatusCode::UNAUTHORIZED);
        Ok(())
    })
}

/// What a page says a decision brought counts with the token of that choice and no other, from the node that gave it or one of its key.
#[test]
fn what_a_decision_brought_needs_the_token_of_its_choice() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, keys, release) = start(&rig, &[("web", &["--origin", SHOP])]).await?;
        let stranger =
            Node::start(rig.spec("edge-2").set(format!("http.keys={}", rig.path("keys.jsonl").display()))).await;
        let stranger = stranger.context("another node, whose tokens are of its own key")?;
        let (mut client, mut other) = (node.client(), stranger.client());
        let decide = format!("/v1/browser/decide?key={}&v=1", keys[0]);
        let events = format!("/v1/browser/events?key={}&v=1", keys[0]);
        let decided = post(&mut client, &decide, Some(SHOP), &page(&["home-hero", "cart"])).await?.ok()?;
        ensure!(decided["release"] == release.as_str(), "{decided}");
        let (hero, cart) = (&decided["decisions"][0], &decided["decisions"][1]);
        let choice = &hero["choices"][0];
        let told = |decision: &Value, item: &Value, token: &Value| json!({"event": "select_promotion", "session": "s-1", "decision_id": decision["decision_id"], "item": item, "token": token});
        let mut hidden = told(hero, &choice["id"], &Value::Null);
        hidden["properties"] = json!({"decision_id": hero["decision_id"]});
        hidden["decision_id"] = Value::Null;
        let batch = json!([
            told(hero, &choice["id"], &choice["token"]),
            told(hero, &choice["id"], &Value::Null),
            told(hero, &hero["choices"][1]["id"], &choice["token"]),
            told(cart, &choice["id"], &choice["token"]),
            told(hero, &Value::Null, &choice["token"]),
            hidden,
        ]);
        let answer = post(&mut client, &events, Some(SHOP), &batch.to_string()).await?.ok()?;
        let codes: Vec<_> = answer["rejected"].as_array().context("rejected")?.iter().map(|one| &one["code"]).collect();
        let expected = ["no_token", "forged_token", "forged_token", "missing_field", "no_token"];
        ensure!(answer["accepted"] == 1 && codes == expected, "{answer}");
        // Whoever watches the node can tell a page that sends no token from one that makes them up.
        let metrics = node.metrics().await?;
        for code in ["no_token", "forged_token", "missing_field", "expired_token"] {
            let counted = metrics.sum("selvedge_outbox_rejected_total", &[&format!("code=\"{code}\"")]);
            let told = expected.iter().filter(|told| **told == code).count();
            ensure!(counted == told as f64, "{code}: {counted} counted, {told} told");
        }
        let right = told(hero, &choice["id"], &choice["token"]).to_string();
        let foreign = post(&mut other, &events, Some(SHOP), &right).await?.json()?;
        ensure!(foreign["rejected"][0]["code"] == "forged_token", "another node's key: {foreign}");
        Ok(())
    })
}

/// A key's rate counts what requests make a node do, not requests.
#[test]
fn a_question_takes_a_token_for_each_placement() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let key = |burst: &'static str| ["--origin", "*", "--rate", "0.01", "--burst", burst];
        let (node, keys, _) = start(&rig, &[("few", &key("8")), ("least", &key("2")), ("events", &key("3"))]).await?;
        let mut client = node.client();
        let mut asks = async |key: &str, count: usize| -> Result<u16> {
            let path = format!("/v1/browser/decide?key={key}&v=1");
            let answer = post(&mut client, &path, None, &page(&vec!["home-hero"; count])).await?;
            ensure!(
                answer.status == 200 || answer.json()?["error"]["code"] == "too_many_requests",
                "{}",
                answer.text()
            );
            Ok(answer.status.as_u16())
        };
        let few = [asks(&keys[0], 5).await?, asks(&keys[0], 5).await?, asks(&keys[0], 2).await?];
        ensure!(few == [200, 429, 200], "eight tokens, of which the refused question took one: {few:?}");
        let least = [asks(&keys[1], 5).await?, asks(&keys[1], 1).await?];
        ensure!(least == [200, 429], "what costs more than there can be takes all: {least:?}");
        let batch: Vec<Value> = (0..201)
            .map(|at| json!({"event": "view_item", "messageId": format!("m-{at}"), "session": "s-1"}))
            .collect();
        let path = format!("/v1/browser/events?key={}&v=1", keys[2]);
        for expected in [202, 429] {
            let answer = post(&mut node.client(), &path, None, &json!({"batch": batch}).to_string()).await?;
            ensure!(answer.status.as_u16() == expected, "{}", answer.text());
        }
        Ok(())
    })
}

/// One page that opens stream after stream takes no other key's places, and a key that is revoked has none.
#[test]
fn streams_are_shared_and_end_with_their_key() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let file = rig.path("keys.jsonl");
        let (_, admin) = create(&rig.cli, &file, "ops", &["admin"]).await?;
        let (id, web) = publish(&rig.cli, &file, "web", &["--origin", "*"]).await?;
        let (_, app) = publish(&rig.cli, &file, "app", &["--origin", "*"]).await?;
        let release = rig.deploy(shop(&rig, 1)?.folder()).await?;
        let settings = [format!("http.keys={}", file.display()), "http.max_streams=3".to_owned()];
        let mut spec = settings.into_iter().fold(rig.spec("edge-1"), selvedge_suite::harness::NodeSpec::set);
        spec.admin_key = Some(admin);
        let node = Node::start(spec).await?;
        node.runs(&release, LIMIT).await?;
        let path = |key: &str| format!("/v1/browser/stream?key={key}&v=1");
        let _first = Sse::open(node.http, &path(&web), &[]).await?;
        let _second = Sse::open(node.http, &path(&web), &[]).await?;
        let refused = node.client().get(&path(&web)).await?;
        ensure!(refused.status == StatusCode::SERVICE_UNAVAILABLE, "a third of three: {}", refused.status);
        ensure!(refused.json()?["error"]["code"] == "streams_full", "{}", refused.text());
        ensure!(header(&refused, "retry-after") == Some("60"), "{:?}", refused.headers);
        ensure!(node.metrics().await?.sum("selvedge_requests_refused_total", &["code=\"streams_full\""]) == 1.0);
        let mut other = Sse::open(node.http, &path(&app), &[]).await?;
        rig.cli.run(["keys", "revoke", &id, "--file", &file.display().to_string()]).await?.ok()?;
        let open = async || (node.metrics().await.ok()?.sum("selvedge_event_streams", &[]) == 1.0).then_some(());
        until("the streams of the key that was revoked to end", LIMIT, open).await?;
        let second = rig.deploy(shop(&rig, 2)?.folder()).await?;
        other.says(&["event: release", &second]).await?;
        Ok(())
    })
}

#[test]
fn open_pages_hear_of_a_swap() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, keys, first) = start(&rig, &[("web", &["--origin", SHOP])]).await?;
        let path = format!("/v1/browser/stream?key={}&v=1", keys[0]);
        let mut page = Sse::open(node.http, &path, &[("origin", SHOP)]).await?;
        page.says(&["event: hello", &format!("data: {{\"release\":\"{first}\"}}"), "retry: "]).await?;
        ensure!(page.text.contains(&format!("access-control-allow-origin: {SHOP}")), "{}", page.text);
        let second = rig.deploy(shop(&rig, 2)?.folder()).await?;
        page.says(&["event: release", &format!("data: {{\"release\":\"{second}\"}}")]).await?;
        ensure!(page.text.matches("event: ").count() == 2, "{}", page.text);
        let refused = node.client().get("/v1/browser/stream").await?;
        ensure!(refused.status == StatusCode::UNAUTHORIZED);
        let (_, status) = node.terminate().await?;
        ensure!(status.success() && page.ends().await, "a stop does not end the stream: {status}");
        Ok(())
    })
}

#[test]
fn modules_are_served_as_long_as_a_release_that_runs_or_ran_has_them() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, _, _) = start(&rig, &[]).await?;
        let mut client = node.client();
        let one = cores(&rig, 1).await?;
        let path = |core: &[u8]| format!("/v1/browser/modules/{}", Digest::of(core).hex());
        let of =
            |name: &str| one.iter().find(|(known, _)| known == name).map(|(_, core)| core).context("no such module");
        let hero = of("hero")?;
        let answer = client.send_with(Method::GET, &path(hero), &[("origin", "https://any.example")], "").await?;
        ensure!(answer.status == StatusCode::OK && answer.body[..] == hero[..], "{}", answer.status);
        ensure!(header(&answer, "content-type") == Some("application/wasm"));
        ensure!(header(&answer, "cache-control") == Some("public, max-age=31536000, immutable"));
        ensure!(header(&answer, "access-control-allow-origin") == Some("*"));
        let packed = client.send_with(Method::GET, &path(hero), &[("accept-encoding", "gzip")], "").await?;
        ensure!(
            header(&packed, "content-encoding") == Some("gzip") && unpack(&packed.body)? == *hero,
            "{:?}",
            packed.headers
        );
        let tag = header(&packed, "etag").context("no ETag")?;
        let same = client.send_with(Method::GET, &path(hero), &[("if-none-match", tag)], "").await?;
        ensure!(same.status == StatusCode::NOT_MODIFIED && same.body.is_empty(), "{}", same.status);
        for hidden in [path(of("secret")?), path(b"nothing"), "/v1/browser/modules/x".to_owned()] {
            let answer = client.get(&hidden).await?;
            ensure!(answer.status == StatusCode::NOT_FOUND, "{hidden}: {}", answer.status);
        }
        // One release further it is that of the one before, two further it is gone.
        for (number, there) in [(2, true), (3, false)] {
            let release = rig.deploy(shop(&rig, number)?.folder()).await?;
            node.runs(&release, LIMIT).await?;
            let found = until("the module", LIMIT, async || {
                let status = client.get(&path(hero)).await.ok()?.status;
                (status.is_success() == there).then_some(())
            });
            found.await.with_context(|| format!("after release {number}"))?;
        }
        Ok(())
    })
}

/// The core modules of shop `number`, by name.
async fn cores(rig: &Rig, number: u32) -> Result<Vec<(String, Vec<u8>)>> {
    let file = rig.pack(&shop(rig, number)?).await?;
    let files = release::open(&std::fs::read(file)?, &release::Limits::default())?;
    let modules = files
        .files
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix("modules/")?.strip_suffix(".wasm")?.to_owned(), bytes)));
    modules.map(|(name, bytes)| Ok((name, module::lift(bytes)?.to_vec()))).collect()
}
