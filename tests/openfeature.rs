//! OpenFeature's remote evaluation protocol: unchanged official providers, and every reply against the published description.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use selvedge_suite::harness::shop::{FEATURES, Shop, number};
use selvedge_suite::harness::{Answer, Client, Node, Rig, Sse, binary, process, until};
use selvedge_suite::modules;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const ONE: &str = "/ofrep/v1/evaluate/flags/{key}";
const ALL: &str = "/ofrep/v1/evaluate/flags";
const VIEWS: &str = r#"
[view.visit]
by = "session"
[view.visit.aggregates]
views = { count = "view_item" }
"#;

/// A placement for each kind of flag: what it is for everybody, decided by a model, split, fallen back, empty, and no flag at all.
fn shop(rig: &Rig, banner: bool) -> Result<Shop> {
    let shop = Shop::new(rig.path("shop"), "flags")?;
    shop.file("features.toml", format!("{FEATURES}{VIEWS}"))?;
    // One of them always faults: the node shall not take the release back.
    shop.file("release.toml", "name = \"flags\"\n[guard]\nmax_fault_rate = 1.0\n")?;
    let on = if banner { "on" } else { "off" };
    let banner = format!(
        "actions = [{{ id = \"on\", payload = true }}, {{ id = \"off\", payload = false }}]\nfallback = [\"{on}\"]\n"
    );
    shop.placement("banner", &banner)?;
    shop.placement("page-size", "actions = [{ id = \"some\", payload = 24 }]\nfallback = [\"some\"]\n")?;
    shop.placement("free-from", "actions = [{ id = \"low\", payload = 15.0 }]\nfallback = [\"low\"]\n")?;
    shop.placement("theme", "actions = [{ id = \"dark\" }, { id = \"light\" }]\nfallback = [\"light\"]\n")?;
    let hero = r#"
context = { cart_value = "number" }
actions = [{ id = "plain", payload = { banner = "plain.svg", rows = [1, 2] } }, { id = "vip", payload = { banner = "vip.svg" } }]
deadline = "1s"
ladder = ["value"]
fallback = ["plain"]
"#;
    shop.placement("hero", hero)?;
    let split = "[[experiment]]\nkey = \"greeting\"\nunit = \"subject\"\narms = [{ name = \"a\", weight = 50 }, { name = \"b\", \
                 weight = 50, ladder = [\"value\"] }]\n";
    shop.placement("greeting", &format!("{hero}{split}"))?;
    shop.placement("visits", &hero.replace("\"value\"", "\"views\""))?;
    shop.placement("broken", &hero.replace("\"value\"", "\"refuses\"").replace("cart_value", "provoke"))?;
    let rank = "ladder = [\"price\"]\ndeadline = \"1s\"\nfallback = { by = \"item.stock\" }\n";
    shop.placement("best", &format!("candidates = {{ view = \"item\", from = \"view\" }}\n{rank}"))?;
    shop.placement(
        "none",
        &format!(
            "candidates = {{ view = \"nothing\", from = \"view\" }}\n{}",
            rank.replace("item.stock", "nothing.stock").replace("price", "stock")
        ),
    )?;
    shop.placement("plp-rank", &format!("candidates = {{ view = \"item\", from = \"request\" }}\n{rank}"))?;
    let nothing = "\n[view.nothing]\nby = \"item\"\nsync = \"all\"\n[view.nothing.features]\nstock = \"number\"\n";
    shop.file("features.toml", format!("{FEATURES}{VIEWS}{nothing}"))?;
    let vip = "[[input]]\nname = \"candidate.id\"\nscope = \"candidate\"\ntype = \"symbol\"\nweights = { vip = 0.5 }\n";
    let value = number("user.value", "shared", 1.0) + &number("context.cart_value", "shared", 0.0);
    shop.model("value", &format!("link = \"identity\"\n{vip}{value}"))?;
    shop.model("views", &format!("link = \"identity\"\n{vip}{}", number("visit.views", "shared", 1.0)))?;
    shop.model("price", &format!("link = \"identity\"\nrows = 4096\n{}", number("item.price", "candidate", 1.0)))?;
    shop.model("stock", &format!("link = \"identity\"\nrows = 4096\n{}", number("nothing.stock", "candidate", 1.0)))?;
    shop.module("refuses", &modules::hostile("refuses")?)?;
    Ok(shop)
}

async fn start(rig: &Rig) -> Result<Node> {
    rig.push("user", [json!({"_key": "u-1", "value": 7.0})]).await?;
    rig.push("item", [json!({"_key": "sku-1", "price": 3.0}), json!({"_key": "sku-2", "price": 9.0})]).await?;
    let release = rig.deploy(shop(rig, true)?.folder()).await?;
    let node = Node::start(rig.spec("edge-1").set("modules.breaker_after=0")).await?;
    node.runs(&release, LIMIT).await?;
    let mut client = node.client();
    let ready = until("every item to be held", LIMIT, async || {
        let flag = client.post("/ofrep/v1/evaluate/flags/best", &json!({"context": {}})).await.ok()?.ok().ok()?;
        (flag["variant"] == "sku-2").then_some(())
    });
    ready.await?;
    Ok(node)
}

/// Replies, and where they came from, to be held against the published description.
#[derive(Default)]
struct Replies(Vec<Value>);

// === impl Replies ===

impl Replies {
    async fn post(&mut self, client: &mut Client, path: &str, body: impl Into<bytes::Bytes>) -> Result<Answer> {
        let answer = client.send(Method::POST, path, body).await?;
        let of = if path == ALL { ALL } else { ONE };
        let body = answer.json().unwrap_or(Value::Null);
        self.0.push(json!({"path": of, "status": answer.status.as_u16(), "body": body}));
        Ok(answer)
    }

    /// The flag of that key for a context.
    async fn flag(&mut self, client: &mut Client, key: &str, context: Value) -> Result<(u16, Value)> {
        let path = format!("{ALL}/{key}");
        let answer = self.post(client, &path, json!({"context": context}).to_string()).await?;
        Ok((answer.status.as_u16(), answer.json()?))
    }

    /// Each is one that the published description has, by a validator of its language.
    async fn all_are_as_described(&self, folder: &Path) -> Result<()> {
        let Some(python) = binary::python("openfeature")? else {
            println!("there is no Python with jsonschema here: `./x test` makes one");
            return Ok(());
        };
        let file = folder.join("replies.json");
        std::fs::write(&file, Value::from(self.0.clone()).to_string())?;
        let mut command = Command::new(python);
        command.arg(binary::repository().join("tests/python/ofrep_replies.py"));
        command.arg(binary::repository().join("tests/cases/ofrep/openapi.yaml")).arg(file);
        let (status, _, stderr) = process::run("ofrep_replies.py", command, LIMIT).await?;
        ensure!(status.success(), "{stderr}");
        Ok(())
    }
}

/// Each kind of placement is the flag it should be, each wrong request the error it should be, and both are as published.
#[test]
fn flags_and_errors_are_as_published() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        let (mut client, mut replies) = (node.client(), Replies::default());
        let who = json!({"targetingKey": "u-1", "session": "s-1", "cart_value": 20, "provoke": 1});

        for (key, reason, variant, value) in [
            ("banner", "STATIC", "on", json!(true)),
            ("page-size", "STATIC", "some", json!(24)),
            ("free-from", "STATIC", "low", json!(15.0)),
            ("theme", "STATIC", "light", json!("light")),
            ("hero", "TARGETING_MATCH", "vip", json!({"banner": "vip.svg"})),
            ("greeting", "SPLIT", "vip", json!({"banner": "vip.svg"})),
            ("visits", "TARGETING_MATCH", "vip", json!({"banner": "vip.svg"})),
            ("broken", "UNKNOWN", "plain", json!({"banner": "plain.svg", "rows": [1, 2]})),
            ("best", "TARGETING_MATCH", "sku-2", json!("sku-2")),
            ("none", "DISABLED", "", Value::Null),
        ] {
            let (status, flag) = replies.flag(&mut client, key, who.clone()).await?;
            let right = status == 200 && flag["key"] == key && flag["reason"] == reason && flag["variant"] == variant;
            ensure!(right && flag["value"] == value, "{key}: {status} {flag}");
            ensure!(flag["metadata"]["decision_id"].is_string() && flag["metadata"]["release"].is_string(), "{flag}");
        }
        let float = replies.post(&mut client, "/ofrep/v1/evaluate/flags/free-from", "{}").await?;
        ensure!(float.text().contains("\"value\":15.0,"), "a float stays one: {}", float.text());
        let (_, flag) = replies.flag(&mut client, "broken", who.clone()).await?;
        ensure!(flag["metadata"]["reason"] == "FALLBACK" && flag["metadata"]["fault"] == "refused", "{flag}");
        let (_, flag) = replies.flag(&mut client, "greeting", who.clone()).await?;
        ensure!(flag["metadata"]["arm"].is_string() && flag["metadata"]["propensity"] == 1.0, "{flag}");
        let encoded = replies.post(&mut client, "/ofrep/v1/evaluate/flags/page%2Dsize", "{}").await?.ok()?;
        ensure!(encoded["value"] == 24, "{encoded}");

        for (path, body, status, code, details) in [
            ("/nothing", r#"{"context":{}}"#, 404, "FLAG_NOT_FOUND", "no placement"),
            ("/banners", r#"{"context":{}}"#, 404, "FLAG_NOT_FOUND", "did you mean \"banner\"?"),
            ("/plp-rank", r#"{"context":{}}"#, 404, "FLAG_NOT_FOUND", "POST /v1/decide"),
            ("/%ff", r#"{"context":{}}"#, 404, "FLAG_NOT_FOUND", "no key of a flag"),
            ("/hero", "{", 400, "PARSE_ERROR", "not JSON"),
            ("/hero", "", 400, "PARSE_ERROR", "not JSON"),
            // Once a list was taken for an object without any fields.
            ("/banner", "[]", 400, "PARSE_ERROR", "a JSON object was expected"),
            ("", " [{}]", 400, "PARSE_ERROR", "a JSON object was expected"),
            ("", "null", 400, "PARSE_ERROR", "a JSON object was expected"),
            ("/hero", r#"{"context":{"session":"s"}}"#, 400, "TARGETING_KEY_MISSING", "context.targetingKey"),
            ("/hero", r#"{"context":{"targetingKey":""}}"#, 400, "TARGETING_KEY_MISSING", "context.targetingKey"),
            ("/visits", r#"{"context":{"targetingKey":"u-1"}}"#, 400, "INVALID_CONTEXT", "context.session"),
            ("/hero", r#"{"context":[]}"#, 400, "INVALID_CONTEXT", "context"),
            ("/hero", r#"{"context":{"targetingKey":7}}"#, 400, "INVALID_CONTEXT", "context.targetingKey"),
            (
                "/hero",
                r#"{"context":{"targetingKey":"u","cart_value":"x"}}"#,
                400,
                "INVALID_CONTEXT",
                "context.cart_value",
            ),
            (
                "/hero",
                r#"{"context":{"targetingKey":"u","tz_offset_min":0.5}}"#,
                400,
                "INVALID_CONTEXT",
                "tz_offset_min",
            ),
            ("", "nothing", 400, "PARSE_ERROR", "not JSON"),
            ("", r#"{"context":{"session":1}}"#, 400, "INVALID_CONTEXT", "context.session"),
        ] {
            let answer = replies.post(&mut client, &format!("{ALL}{path}"), body).await?;
            let error = answer.json()?;
            let right = answer.status.as_u16() == status && error["errorCode"] == code;
            let told = error["errorDetails"].as_str().is_some_and(|told| told.contains(details));
            ensure!(right && told && (path.is_empty() || error["key"].is_string()), "{path} {body}: {error}");
        }
        let large = json!({"context": {"targetingKey": "u", "more": "x".repeat(70_000)}}).to_string();
        let answer = replies.post(&mut client, &format!("{ALL}/hero"), large).await?;
        ensure!(answer.status.as_u16() == 400 && answer.json()?["errorCode"] == "INVALID_CONTEXT", "{}", answer.text());

        let answer = replies.post(&mut client, ALL, json!({"context": who}).to_string()).await?;
        let all = answer.ok()?;
        let flags = all["flags"].as_array().context("no flags")?;
        let keys: Vec<&str> = flags.iter().filter_map(|flag| flag["key"].as_str()).collect();
        ensure!(flags.len() == 10 && !keys.contains(&"plp-rank"), "{keys:?}");
        let alone: Value = json!({"targetingKey": "u-1"});
        let answer = replies.post(&mut client, ALL, json!({"context": alone}).to_string()).await?.ok()?;
        let of = |key: &str| answer["flags"].as_array().into_iter().flatten().find(|flag| flag["key"] == key).cloned();
        ensure!(of("visits").context("no visits")?["errorCode"] == "INVALID_CONTEXT", "{answer}");
        ensure!(of("hero").context("no hero")?["variant"] == "vip", "{answer}");
        let answer = replies.post(&mut client, ALL, "{}").await?.ok()?;
        ensure!(answer.to_string().contains("TARGETING_KEY_MISSING"), "{answer}");
        replies.all_are_as_described(&rig.path("")).await
    })
}

/// A flag that nothing but an experiment splits is put together for each arm once a release: in a bulk call everybody has the arm that
/// they have alone, and no decision is recorded, because there was none.
#[test]
fn a_flag_that_an_experiment_splits_is_in_a_bulk_call_what_it_is_alone() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("split"), "split")?;
        shop.placement(
            "color",
            r#"
actions = [{ id = "red", payload = 1 }, { id = "blue", payload = 2 }]
fallback = ["red"]
[[experiment]]
key = "first"
unit = "session"
group = { name = "page", from = 0, to = 5000 }
overrides = { s-7 = "new" }
arms = [{ name = "old", weight = 50 }, { name = "new", weight = 50, fallback = ["blue"], payloads = { blue = 3 } }]
[[experiment]]
key = "second"
unit = "subject"
group = { name = "people", from = 0, to = 5000 }
arms = [{ name = "only", weight = 100, fallback = ["blue"] }]
"#,
        )?;
        let release = rig.deploy(shop.folder()).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        let mut client = node.client();
        let mut kinds = std::collections::BTreeSet::new();
        for unit in 0..200 {
            let who = json!({"context": {"targetingKey": format!("u-{}", unit % 40), "session": format!("s-{unit}")}});
            let alone = client.post(&format!("{ALL}/color"), &who).await?.ok()?;
            let all = client.post(ALL, &who).await?.ok()?;
            let told = |flag: &Value| {
                let metadata = &flag["metadata"];
                let parts =
                    [&flag["variant"], &flag["value"], &flag["reason"], &metadata["experiment"], &metadata["arm"]];
                parts.map(Value::to_string).join(" ")
            };
            let flag = &all["flags"][0];
            ensure!(told(flag) == told(&alone), "{who}: {flag} is not {alone}");
            ensure!(flag["metadata"]["decision_id"].is_null(), "{flag}");
            kinds.insert(told(flag));
        }
        ensure!(kinds.len() == 4, "two arms of the first, one of the second, and none: {kinds:?}");
        let recorded = until("the decisions to be recorded", LIMIT, async || {
            let recorded = node.metrics().await.ok()?.sum("selvedge_outbox_accepted_total", &["lane=\"decisions\""]);
            (recorded >= 200.0).then_some(recorded)
        });
        let recorded = recorded.await?;
        ensure!(recorded == 200.0, "{recorded} decisions are recorded, 200 flags were asked for alone");
        let long = json!({"context": {"targetingKey": "u-1", "session": "s".repeat(5_000)}});
        let alone = client.post(&format!("{ALL}/color"), &long).await?.json()?;
        let all = client.post(ALL, &long).await?.ok()?;
        ensure!(all["flags"][0]["errorCode"] == alone["errorCode"] && alone["errorCode"].is_string(), "{all} {alone}");
        let nobody = client.post(ALL, &json!({})).await?.ok()?;
        ensure!(
            nobody["flags"][0]["errorCode"] == "TARGETING_KEY_MISSING"
                || nobody["flags"][0]["errorCode"] == "INVALID_CONTEXT",
            "{nobody}"
        );
        Ok(())
    })
}

/// A tag is that of the flags: the same for the same, another for others; what a client has already leaves no record.
#[test]
fn a_bulk_call_is_answered_once_for_the_same_flags() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        let mut client = node.client();
        let body = json!({"context": {"targetingKey": "u-1", "session": "s-1"}}).to_string();
        let ask = async |client: &mut Client, tag: &str| {
            let headers =
                [("content-type", "application/json"), ("if-none-match", tag), ("origin", "https://shop.example")];
            client.send_with(Method::POST, ALL, &headers, body.clone()).await
        };
        let first = ask(&mut client, "\"none\"").await?;
        let tag = first.headers.get("etag").context("no etag")?.to_str()?.to_owned();
        let header = |answer: &Answer, name: &str| {
            answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        ensure!(header(&first, "access-control-expose-headers").as_deref() == Some("ETag, Retry-After"));
        ensure!(header(&first, "access-control-allow-origin").as_deref() == Some("*"));
        let records = async || {
            Ok::<_, anyhow::Error>(node.metrics().await?.sum("selvedge_outbox_accepted_total", &["lane=\"decisions\""]))
        };
        let before = records().await?;
        let again = ask(&mut client, &tag).await?;
        ensure!(again.status.as_u16() == 304 && again.body.is_empty(), "{}: {}", again.status, again.text());
        ensure!(
            header(&again, "etag").as_deref() == Some(tag.as_str())
                && header(&again, "access-control-allow-origin").is_some()
        );
        ensure!(records().await? == before, "a 304 gives nobody a decision, but left a record");

        rig.push("item", [json!({"_key": "sku-1", "price": 30.0})]).await?;
        let changed = until("another tag for other flags", LIMIT, async || {
            let answer = ask(&mut client, &tag).await.ok()?;
            (answer.status.as_u16() == 200).then_some(answer)
        });
        let changed = changed.await?;
        ensure!(changed.ok()?.to_string().contains("\"sku-1\""), "{}", changed.text());
        ensure!(header(&changed, "etag").as_deref() != Some(tag.as_str()));

        let preflight = [
            ("origin", "https://shop.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,if-none-match,x-own"),
        ];
        let granted = client.send_with(Method::OPTIONS, ALL, &preflight, "").await?;
        ensure!(granted.status.as_u16() == 204, "{}", granted.status);
        ensure!(
            header(&granted, "access-control-allow-headers").as_deref() == Some("content-type,if-none-match,x-own")
        );
        ensure!(header(&granted, "access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
        Ok(())
    })
}

/// More evaluations of all flags at once than allowed are told to come again; a page that may not read is not let.
#[test]
fn too_many_bulk_calls_and_foreign_pages_are_turned_away() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "slow")?;
        shop.module("endless_loop", &modules::hostile("endless_loop")?)?;
        let placement = "context = { provoke = \"number\" }\nactions = [{ id = \"a\" }]\ndeadline = \"2s\"\nladder = [\"endless_loop\"]\nfallback = [\"a\"]\n";
        shop.placement("slow", placement)?;
        shop.file("release.toml", "name = \"slow\"\n[guard]\nmax_fault_rate = 1.0\n")?;
        let release = rig.deploy(shop.folder()).await?;
        let spec = rig.spec("edge-1").set("http.max_bulk=1").set("modules.breaker_after=0").set("http.threads=4");
        let node = Node::start(spec.set("http.cors_origins=https://shop.example").set("http.max_streams=0")).await?;
        node.runs(&release, LIMIT).await?;
        let body = json!({"context": {"provoke": 1.0}});
        let turned_away = until("a bulk call to be turned away", LIMIT, async || {
            let (mut one, mut two) = (node.client(), node.client());
            let (one, two) = tokio::join!(one.post(ALL, &body), two.post(ALL, &body));
            [one.ok()?, two.ok()?].into_iter().find(|answer| answer.status.as_u16() == 429)
        });
        let answer = turned_away.await?;
        ensure!(answer.headers.get("retry-after").context("no retry-after")?.to_str()?.parse::<u32>()? > 0);
        ensure!(answer.json()?["errorCode"] == "GENERAL", "{}", answer.text());

        let mut client = node.client();
        let all = client.post(ALL, &json!({"context": {}})).await?.ok()?;
        ensure!(all["eventStreams"].is_null(), "no place for a stream, but told of one: {all}");
        for (origin, allowed) in [("https://shop.example", true), ("https://other.example", false)] {
            let headers = [("origin", origin)];
            let answer = client.send_with(Method::POST, ALL, &headers, "{}").await?;
            let told = answer.headers.get("access-control-allow-origin");
            ensure!(told.is_some() == allowed && answer.headers.get("vary").is_some(), "{origin}: {told:?}");
        }
        ensure!(client.get("/ofrep/v1/events").await?.status.as_u16() == 503);
        Ok(())
    })
}

/// Before its first release a node answers as the protocol has it, and a provider may come again.
#[test]
fn without_a_release_a_provider_is_told_to_wait() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = rig.node("edge-1").await?;
        let (mut client, mut replies) = (node.client(), Replies::default());
        for path in [ALL.to_owned(), format!("{ALL}/hero")] {
            let answer = replies.post(&mut client, &path, "{}").await?;
            ensure!(answer.status.as_u16() == 500 && answer.headers.contains_key("retry-after"), "{}", answer.status);
            ensure!(answer.json()?["errorCode"].is_null() == (path == ALL), "{}", answer.text());
        }
        replies.all_are_as_described(&rig.path("")).await
    })
}

/// The official providers, unchanged: Python's, and those of npm for servers and for pages, which a swap reaches by its stream.
#[test]
fn official_providers() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        match binary::python("openfeature")? {
            None => println!("there is no Python with OpenFeature's provider here: `./x test` makes one"),
            Some(python) => {
                let script = binary::repository().join("tests/python/openfeature_provider.py");
                provider(Command::new(python), &script, node.http).await?;
            }
        }
        let Some((program, packages)) = binary::javascript("openfeature")? else {
            println!("there is no Node.js with OpenFeature's providers here: `./x test` installs them");
            return Ok(());
        };
        // Packages are found beside the script, so it runs where they are.
        let script = |name: &str| -> Result<std::path::PathBuf> {
            let copy = packages.join(name);
            std::fs::copy(binary::repository().join("tests/javascript").join(name), &copy)?;
            Ok(copy)
        };
        provider(Command::new(&program), &script("openfeature_server.mjs")?, node.http).await?;

        // EventSource is a page's; Node.js has it on request.
        let mut command = Command::new(&program);
        command
            .arg("--experimental-eventsource")
            .arg(script("openfeature_web.mjs")?)
            .arg(format!("http://{}", node.http));
        let mut page =
            selvedge_suite::harness::Process::spawn("openfeature_web.mjs", &mut command, &rig.path("web.log"))?;
        let line = page.line(LIMIT).await.with_context(|| page.log_tail())?;
        ensure!(line == "listening", "{line}\n{}", page.log_tail());
        let open = until("the page's stream", LIMIT, async || {
            (node.metrics().await.ok()?.sum("selvedge_event_streams", &[]) == 1.0).then_some(())
        });
        open.await?;
        rig.deploy(shop(&rig, false)?.folder()).await?;
        let line = page.line(LIMIT).await.with_context(|| page.log_tail())?;
        ensure!(line == "changed", "{line}\n{}", page.log_tail());
        let closed = until("the page's stream to be closed", LIMIT, async || {
            (node.metrics().await.ok()?.sum("selvedge_event_streams", &[]) == 0.0).then_some(())
        });
        closed.await?;
        Ok(())
    })
}

async fn provider(mut command: Command, script: &Path, http: SocketAddr) -> Result<()> {
    command.arg(script).arg(format!("http://{http}"));
    let (status, stdout, stderr) = process::run(&script.display().to_string(), command, LIMIT).await?;
    ensure!(status.success(), "{}: {status}\n{stdout}\n{stderr}", script.display());
    Ok(())
}

/// A client that comes back is told once when another release runs than it knew, and nothing otherwise; a stop ends its stream.
#[test]
fn a_stream_tells_what_a_client_missed() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        let first = node.status().await?["releases"]["active"]["release"].as_str().context("no release")?.to_owned();
        let second = rig.deploy(shop(&rig, false)?.folder()).await?;
        node.runs(&second, LIMIT).await?;
        let id = |release: &str| release.trim_start_matches("sha256:").to_owned();
        // Of the release before: one event, at once.
        let mut late = Sse::open(node.http, &format!("/ofrep/v1/events?release={}", id(&first)), &[]).await?;
        late.says(&["event: message", &format!("id: {}", id(&second)), "\"refetchEvaluation\""]).await?;
        // The browser's own word counts for more than the address it first came with.
        let back = format!("/ofrep/v1/events?release={}", id(&first));
        let mut current = Sse::open(node.http, &back, &[("last-event-id", &id(&second))]).await?;
        let third = rig.deploy(shop(&rig, true)?.folder()).await?;
        current.says(&[&format!("id: {}", id(&third))]).await?;
        ensure!(current.text.matches("refetchEvaluation").count() == 1, "told of what it knew: {}", current.text);
        late.says(&[&format!("id: {}", id(&third))]).await?;
        let (_, status) = node.terminate().await?;
        ensure!(status.success() && late.ends().await && current.ends().await, "a stop does not end streams: {status}");
        Ok(())
    })
}
