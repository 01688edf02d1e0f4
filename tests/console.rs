//! The console: what it serves and to whom, that what it shows is what the node did, and every page in a real browser.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use hyper::Method;
use selvedge_suite::harness::node::CHANNEL;
use selvedge_suite::harness::shop::{FEATURES, Shop, number};
use selvedge_suite::harness::{Cli, Client, Node, NodeSpec, Rig, binary, process, until};
use serde_json::{Value, json};

use crate::tls::{Certificate, settings, two};

const LIMIT: Duration = Duration::from_secs(60);
const MARK: (&str, &str) = ("x-selvedge-console", "1");

/// A shop that has some of everything: rules as a table, a model, an experiment, a bandit, views of people, items and sessions.
fn shop(rig: &Rig, name: &str, ship: f64) -> Result<Shop> {
    let shop = Shop::new(rig.path(name), name)?;
    let session = "\n[view.visit]\nby = \"session\"\n[view.visit.aggregates]\nviews = { count = \"view_item\" }\n";
    let secret = FEATURES
        .replace("segment = \"symbol\"", "segment = \"symbol\"\nemail_domain = { type = \"symbol\", pii = true }");
    shop.file("features.toml", format!("{secret}{session}"))?;
    let hero = r#"
context = { country = "symbol", cart_value = "number" }
actions = [{ id = "plain" }, { id = "ship" }, { id = "vip" }]
slots = 2
deadline = "1s"
rules = ["perks"]
ladder = ["value"]
fallback = ["plain"]
record = { inputs = 1.0 }
"#;
    let experiment = "[[experiment]]\nkey = \"greeting\"\nunit = \"subject\"\narms = [{ name = \"a\", weight = 50 }, { name = \"b\", weight = 50 }]\n";
    shop.placement("hero", hero)?;
    shop.placement("tested", &format!("{}{experiment}", hero.replace("inputs = 1.0", "inputs = 0.0")))?;
    shop.placement(
        "learns",
        "actions = [{ id = \"x\" }, { id = \"y\" }]\nchoose = { policy = \"thompson\", reward = \"click\" }\nfallback = [\"x\"]\n",
    )?;
    shop.file(
        "modules/perks.csv",
        "context.country: symbol,candidate.id: symbol,> eligible: flag,> boost: number,note\nFR,vip,false,1,not in France\n,ship,true,2,shipping first\n,,true,1,\n",
    )?;
    let id = format!(
        "[[input]]\nname = \"candidate.id\"\nscope = \"candidate\"\ntype = \"symbol\"\nweights = {{ ship = {ship:.1}, vip = 0.5 }}\n"
    );
    // A logistic model: what rules boost is never negative.
    shop.model("value", &format!("link = \"logistic\"\n{id}{}", number("context.cart_value", "shared", 0.01)))?;
    Ok(shop)
}

async fn start(rig: &Rig) -> Result<Node> {
    start_as(rig, rig.spec("edge-1")).await
}

async fn start_as(rig: &Rig, spec: NodeSpec) -> Result<Node> {
    rig.push("user", [json!({"_key": "u-1", "value": 7.0, "segment": "vip", "email_domain": "example.org"})]).await?;
    rig.push("item", [json!({"_key": "sku/1", "price": 3.5, "category": "shoes"})]).await?;
    let release = rig.deploy(shop(rig, "first", 0.1)?.folder()).await?;
    let node = Node::start(spec).await?;
    node.runs(&release, LIMIT).await?;
    Ok(node)
}

/// A node on which the rig's key is the operator's.
fn with_key(rig: &Rig) -> NodeSpec {
    rig.spec("edge-1").set(format!("console.operator_key={}", rig.key().display()))
}

async fn decide(client: &mut Client, placement: &str, subject: &str, country: &str) -> Result<Value> {
    let context = json!({"country": country, "cart_value": 20.0});
    client
        .post("/v1/decide", &json!({"placement": placement, "subject": subject, "session": "s-1", "context": context}))
        .await?
        .ok()
}

async fn look(admin: &mut Client, path: &str) -> Result<Value> {
    admin.get(&format!("/console/api/{path}")).await?.ok()
}

/// Asks until `found` finds what it looks for.
async fn wait_for<T>(node: &Node, path: &str, found: impl Fn(&Value) -> Option<T>) -> Result<T> {
    let mut admin = node.admin();
    let mut last = Value::Null;
    let waited = until(path, LIMIT, async || {
        last = look(&mut admin, path).await.ok()?;
        found(&last)
    });
    waited.await.with_context(|| last.to_string())
}

/// The page and its files are there, packed where that is wanted, and tell browsers that nothing else may be loaded.
#[test]
fn its_files_are_served_and_bounded() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = rig.node("edge-1").await?;
        let mut admin = node.admin();
        let moved = admin.get("/console").await?;
        ensure!(moved.status.as_u16() == 308 && moved.headers["location"] == "/console/", "{}", moved.status);
        let page = admin.get("/console/").await?;
        let policy = page.headers.get("content-security-policy").context("no policy")?.to_str()?;
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            ensure!(policy.contains(part), "{policy}");
        }
        ensure!(!policy.contains("unsafe"), "{policy}");
        let text = page.text();
        let mut names: Vec<&str> =
            text.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")).collect();
        let main = admin.get("/console/main.js").await?.text();
        names.extend(main.split('\'').filter_map(|part| part.strip_prefix("./")));
        ensure!(names.len() > 12, "{names:?}");
        for name in names {
            let path = format!("/console/{name}");
            let plain = admin.get(&path).await?;
            ensure!(plain.status.is_success(), "{path}: {}", plain.status);
            let packed = admin.send_with(Method::GET, &path, &[("accept-encoding", "br, gzip")], "").await?;
            ensure!(packed.headers["content-encoding"] == "gzip" && packed.body.len() < plain.body.len(), "{path}");
            let mut unpacked = Vec::new();
            std::io::Read::read_to_end(&mut GzDecoder::new(&packed.body[..]), &mut unpacked)?;
            ensure!(unpacked == plain.body, "{path}: packed is another file");
            let tag = plain.headers["etag"].to_str()?.to_owned();
            let known = admin.send_with(Method::GET, &path, &[("if-none-match", &tag)], "").await?;
            ensure!(known.status.as_u16() == 304 && known.body.is_empty(), "{path}: {}", known.status);
        }
        ensure!(admin.get("/console/nothing.js").await?.status.as_u16() == 404);
        // On the public listener there is no console.
        ensure!(node.client().get("/console/").await?.status.as_u16() == 404);
        // Before a release it says so, and does not fail.
        for path in ["release", "rules", "experiments", "bandits", "decisions", "samples", "status", "nodes"] {
            look(&mut admin, path).await.with_context(|| path.to_owned())?;
        }
        let headers = [MARK, ("content-type", "application/json")];
        let none = admin.send_with(Method::POST, "/console/api/decide", &headers, r#"{"placement":"hero"}"#).await?;
        ensure!(none.status.as_u16() == 503 && none.json()?["error"]["code"] == "not_ready", "{}", none.text());
        Ok(())
    })
}

/// A page of somebody else's cannot read it, whatever name it gave this machine, and cannot make the node work.
#[test]
fn pages_of_others_get_nothing() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        let mut admin = node.admin();
        // What a page sends besides makes its name no better.
        let bearer = Some(("authorization", "Bearer x"));
        for (host, expected) in [("localhost:7071", 200), ("evil.example:7071", 404), ("127.0.0.1.evil.example", 404)] {
            for path in ["/console/api/status", "/console/", "/v1/status", "/metrics", "/version"] {
                for key in [None, bearer, Some(("x-api-key", "sk_x"))] {
                    let headers: Vec<_> = [("host", host)].into_iter().chain(key).collect();
                    let answer = raw(&node, "GET", path, &headers, "").await?;
                    ensure!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{path} {headers:?}: {answer}");
                }
            }
            // Load balancers call a node as they like.
            let answer = raw(&node, "GET", "/livez", &[("host", host)], "").await?;
            ensure!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
        }
        // A page by such a name can send what looks like a key; where there are no keys it is none.
        let headers = [("host", "evil.example:7071"), ("authorization", "Bearer x")];
        let answer = raw(&node, "GET", "/console/api/status", &headers, "").await?;
        ensure!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let body = r#"{"placement":"hero","subject":"u-1"}"#;
        let simple =
            admin.send_with(Method::POST, "/console/api/decide", &[("content-type", "text/plain")], body).await?;
        ensure!(simple.status.as_u16() == 400 && simple.text().contains("x-selvedge-console"), "{}", simple.text());
        let preflight =
            admin.send_with(Method::OPTIONS, "/console/api/decide", &[("origin", "https://evil.example")], "").await?;
        ensure!(!preflight.headers.contains_key("access-control-allow-origin"), "{:?}", preflight.headers);
        Ok(())
    })
}

/// HTTP/2 names the node in the address, and by that it is told who asks.
#[test]
fn it_answers_by_http_2_without_keys() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (folder, certificate) = (rig.path(""), Certificate::new()?);
        certificate.write(&folder)?;
        let spec = settings("http.admin_tls", &folder).into_iter().fold(rig.spec("edge-1"), NodeSpec::set);
        let node = Node::start(spec).await?;
        for (host, expected) in [("localhost:7071", 200), ("127.0.0.1:7071", 200), ("evil.example:7071", 404)] {
            for path in ["/console/", "/console/api/status", "/v1/status", "/metrics"] {
                let (status, body) = two(node.admin, &certificate, &format!("https://{host}{path}")).await?;
                ensure!(status.as_u16() == expected, "{host}{path}: {status} {}", String::from_utf8_lossy(&body));
            }
        }
        Ok(())
    })
}

async fn raw(node: &Node, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(node.admin).await?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    socket
        .write_all(
            format!("{method} {path} HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .as_bytes(),
        )
        .await?;
    let mut answer = String::new();
    tokio::time::timeout(LIMIT, socket.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// What it shows of decisions is what was decided: in the list, in full, by row of the rules, by arm, by action.
#[test]
fn it_shows_what_the_node_did() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        let (mut client, mut admin) = (node.client(), node.admin());
        let answer = decide(&mut client, "hero", "u-1", "FR").await?;
        let id = answer["decision_id"].as_str().context("no id")?.to_owned();
        let listed = wait_for(&node, "decisions", |told| {
            told["decisions"].as_array()?.iter().find(|line| line["id"] == *id).cloned()
        });
        let line = listed.await?;
        ensure!(line["reason"] == answer["reason"] && line["choices"][0] == answer["choices"][0]["id"], "{line}");
        let told = look(&mut admin, &format!("decisions/{id}")).await?;
        ensure!(told["same"] == true && told["role"] == "running" && told["found"] == "memory", "{told}");
        ensure!(told["decision"]["choices"][0]["score"] == answer["choices"][0]["score"], "{told}");
        let out =
            told["how"]["candidates"].as_array().and_then(|all| all.iter().find(|one| one["id"] == "vip")).cloned();
        ensure!(out.context("no vip")?["eligible"] == false, "{told}");
        let country =
            told["how"]["features"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "context.country"));
        ensure!(country.context("no country")?["value"] == "FR", "{told}");

        let rules = look(&mut admin, "rules").await?;
        let module = &rules["modules"][0];
        ensure!(module["module"] == "perks" && module["tables"][0]["rows"][0]["note"] == "not in France", "{rules}");
        ensure!(module["tables"][0]["is_counted"] == true && module["fired"]["rows"] == json!([1, 1, 1]), "{rules}");
        ensure!(module["fired"]["asked"] == 3, "{rules}");

        let looked = look(&mut admin, "views/user/u-1").await?;
        let value =
            |name: &str| looked["features"].as_array().into_iter().flatten().find(|one| one["name"] == name).cloned();
        ensure!(
            value("user.segment").is_none() && value("segment").context("no segment")?["value"] == "vip",
            "{looked}"
        );
        ensure!(
            value("email_domain").context("no domain")?["value"].is_null(),
            "a person's own value is shown: {looked}"
        );
        ensure!(!looked.to_string().contains("example.org"), "{looked}");
        ensure!(look(&mut admin, "views/item/sku%2F1").await?["features"].to_string().contains("3.5"));
        ensure!(look(&mut admin, "views/user/u-2").await?["absent"] == "no_row");
        for (path, status) in [
            ("views/user/a/b", 400),
            ("views/nothing/a", 404),
            ("decisions/x", 400),
            ("decisions/019a0000-0000-7000-8000-000000000000", 404),
        ] {
            let answer = admin.get(&format!("/console/api/{path}")).await?;
            ensure!(
                answer.status.as_u16() == status && answer.json()?["error"]["message"].is_string(),
                "{path}: {}",
                answer.text()
            );
        }

        for at in 0..40 {
            let answer = decide(&mut client, "tested", &format!("u-{at}"), "DE").await?;
            if at % 2 == 0 {
                let event = json!({"event": "purchase", "subject": format!("u-{at}"), "decision_id": answer["decision_id"], "properties": {"value": 2.0}});
                client.post("/v1/events", &event).await?.ok()?;
            }
        }
        let told = wait_for(&node, "experiments", |told| {
            let all = told["experiments"].as_array()?.iter().find(|one| one["experiment"] == "greeting")?.clone();
            let sum = |of: &dyn Fn(&Value) -> Option<f64>| {
                all["arms"].as_array().map(|arms| arms.iter().filter_map(of).sum::<f64>())
            };
            (sum(&|arm| arm["units"].as_f64())? == 40.0 && sum(&|arm| arm["rewards"][0]["units"].as_f64())? == 20.0)
                .then(|| all.clone())
        });
        let told = told.await?;
        ensure!(told["arms"][0]["share"] == 0.5 && told["kinds"] == json!(["purchase"]), "{told}");

        for _ in 0..10 {
            let answer = client.post("/v1/decide", &json!({"placement": "learns"})).await?.ok()?;
            let event = json!({"event": "click", "decision_id": answer["decision_id"]});
            client.post("/v1/events", &event).await?.ok()?;
        }
        wait_for(&node, "bandits", |told| {
            let actions = told["bandits"][0]["now"]["actions"].as_array()?;
            let sum = |name: &str| actions.iter().filter_map(|one| one[name].as_u64()).sum::<u64>();
            let best: f64 = actions.iter().filter_map(|one| one["best"].as_f64()).sum();
            (sum("chosen") == 10 && sum("rewarded") == 10 && (best - 1.0).abs() < 1e-9).then_some(())
        })
        .await?;
        Ok(())
    })
}

/// The playground decides as a request would, leaves no trace, and sets the release before beside the one that runs.
#[test]
fn the_playground_decides_as_the_node_does() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        let (mut client, mut admin) = (node.client(), node.admin());
        let second = rig.deploy(shop(&rig, "second", -9.0)?.folder()).await?;
        node.runs(&second, LIMIT).await?;
        let body = json!({"placement": "hero", "subject": "u-1", "session": "s-1", "context": {"country": "DE", "cart_value": 20.0}});
        let headers = [MARK, ("content-type", "application/json")];
        let before = node.metrics().await?.sum("selvedge_decisions_total", &[]);
        let told = admin.send_with(Method::POST, "/console/api/decide", &headers, body.to_string()).await?.ok()?;
        let answers = told["answers"].as_array().context("no answers")?;
        ensure!(
            answers.len() == 2 && answers[0]["of"]["role"] == "running" && answers[1]["of"]["role"] == "previous",
            "{told}"
        );
        let now = client.post("/v1/decide", &body).await?.ok()?;
        for name in ["choices", "reason", "values", "placement", "release", "arm"] {
            ensure!(
                answers[0]["answer"][name] == now[name],
                "{name}: {} and {}",
                answers[0]["answer"][name],
                now[name]
            );
        }
        ensure!(answers[0]["answer"]["choices"] != answers[1]["answer"]["choices"], "two releases, one answer: {told}");
        ensure!(answers[0]["answer"]["explanation"]["rules"].is_array(), "{told}");
        let after = node.metrics().await?.sum("selvedge_decisions_total", &[]);
        ensure!(after == before + 1.0, "what was tried is counted: {before} and {after}");
        let wrong = json!({"placement": "heros"});
        let told = admin.send_with(Method::POST, "/console/api/decide", &headers, wrong.to_string()).await?.ok()?;
        ensure!(told["answers"][0]["error"]["code"] == "unknown_placement", "{told}");
        let broken = admin.send_with(Method::POST, "/console/api/decide", &headers, "{").await?;
        ensure!(broken.status.as_u16() == 400, "{}", broken.text());
        Ok(())
    })
}

/// A page that is told of what happens gets samples and decisions, and a stop of the node ends it.
#[test]
fn what_happens_is_told_as_it_happens() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        let mut client = node.client();
        let mut live = Live::open(&node).await?;
        let answer = decide(&mut client, "hero", "u-1", "DE").await?;
        let id = answer["decision_id"].as_str().context("no id")?.to_owned();
        live.says(&["event: sample", "event: decisions", &id]).await?;
        let mut others = Vec::new();
        for _ in 0..15 {
            others.push(Live::open(&node).await?);
        }
        let full = raw(&node, "GET", "/console/api/live", &[("host", "localhost")], "").await?;
        ensure!(full.starts_with("HTTP/1.1 429 ") && full.contains("retry-after: "), "{full}");
        let (_, status) = node.terminate().await?;
        ensure!(status.success() && live.ends().await, "a stop does not end the stream: {status}");
        Ok(())
    })
}

struct Live {
    socket: tokio::net::TcpStream,
    text: String,
}

// === impl Live ===

impl Live {
    async fn open(node: &Node) -> Result<Self> {
        use tokio::io::AsyncWriteExt;
        let mut socket = tokio::net::TcpStream::connect(node.admin).await?;
        socket.write_all(b"GET /console/api/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut live = Self { socket, text: String::new() };
        live.says(&["200 OK", "text/event-stream"]).await?;
        Ok(live)
    }

    async fn says(&mut self, parts: &[&str]) -> Result<()> {
        let read = async {
            while !parts.iter().all(|part| self.text.contains(part)) {
                ensure!(self.more().await, "the stream ended: {}", self.text);
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT, read).await.with_context(|| format!("{parts:?} was not said"))?
    }

    async fn ends(&mut self) -> bool {
        tokio::time::timeout(LIMIT, async { while self.more().await {} }).await.is_ok()
    }

    async fn more(&mut self) -> bool {
        use tokio::io::AsyncReadExt;
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes).await {
            Ok(count) if count > 0 => {
                self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
                true
            }
            _ => false,
        }
    }
}

/// Asks the node to move its channel: the status and what it said.
async fn move_to(node: &Node, headers: &[(&str, &str)], wanted: Value) -> Result<(u16, Value)> {
    let headers = [&[("content-type", "application/json")][..], headers].concat();
    let answer = node.admin().send_with(Method::POST, "/v1/channel", &headers, wanted.to_string()).await?;
    Ok((answer.status.as_u16(), answer.json()?))
}

/// A move that is refused with this status, this code and a message that says this, and that leaves the channel where it is.
async fn not_moved(rig: &Rig, node: &Node, wanted: Value, (status, code, says): (u16, &str, &str)) -> Result<()> {
    let before = rig.counter().await?;
    let (told_status, told) = move_to(node, &[], wanted.clone()).await?;
    let message = told["error"]["message"].as_str().unwrap_or_default();
    ensure!(told_status == status && told["error"]["code"] == code && message.contains(says), "{wanted}: {told}");
    ensure!(rig.counter().await? == before, "{wanted}: the channel was moved");
    Ok(())
}

/// Where the operator's key is, the channel is moved by the console and its API: what was seen is replaced, and the nodes swap.
#[test]
fn a_channel_is_moved_where_the_operator_s_key_is() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start_as(&rig, with_key(&rig)).await?;
        let first = node.status().await?["releases"]["active"]["release"].as_str().context("no release")?.to_owned();
        let (folder, key) =
            (shop(&rig, "second", -9.0)?.folder().display().to_string(), rig.key().display().to_string());
        let canary = ["deploy", &folder, "--to", CHANNEL, "--key", &key, "--share", "100%", "--wait"];
        let second = rig.cli.json(canary).await?["canary"]["release"].as_str().context("no canary")?.to_owned();
        let mut admin = node.admin();
        let told = look(&mut admin, "nodes").await?;
        ensure!(told["operator"] == json!({"key": "rig", "earlier": []}), "{told}");

        // The canary for all. A page's own origin may ask.
        let seen = rig.counter().await?;
        let own = format!("http://{}", node.admin);
        let (status, told) = move_to(&node, &[("origin", &own)], json!({"move": "promote", "seen": seen})).await?;
        ensure!(status == 200 && told["release"] == second.as_str() && told["canary"].is_null(), "{told}");
        let counter = told["counter"].as_u64().context("no counter")?;
        ensure!(counter > seen && rig.counter().await? == counter && told["channel"] == CHANNEL, "{told}");
        node.runs(&second, LIMIT).await?;
        let told = look(&mut admin, "nodes").await?;
        ensure!(told["operator"]["earlier"] == json!([first]) && told["channels"][0]["counter"] == counter, "{told}");

        let none = format!("sha256:{}", "0".repeat(64));
        for (wanted, refused) in [
            (json!({"move": "rollback", "seen": seen}), (409, "channel_moved", "look at it and decide again")),
            (json!({"move": "promote", "seen": counter}), (409, "nothing_to_move", "has no canary to promote")),
            (json!({"move": "release", "release": none, "seen": counter}), (404, "unknown_release", none.as_str())),
            (json!({"move": "rollback"}), (400, "bad_field", "seen")),
        ] {
            not_moved(&rig, &node, wanted, refused).await?;
        }

        // Back to the release before, and to one that is named.
        let (status, told) = move_to(&node, &[], json!({"move": "rollback", "seen": counter})).await?;
        ensure!(status == 200 && told["release"] == first.as_str(), "{told}");
        node.runs(&first, LIMIT).await?;
        let wanted = json!({"move": "release", "release": second, "seen": told["counter"]});
        let headers = [MARK, ("content-type", "application/json")];
        let told = admin.send_with(Method::POST, "/console/api/channel", &headers, wanted.to_string()).await?.ok()?;
        ensure!(told["release"] == second.as_str(), "{told}");
        node.runs(&second, LIMIT).await?;
        let log = node.process.log()?;
        ensure!(log.contains("channel moved by the operator's key") && log.contains(&second), "{log}");
        Ok(())
    })
}

/// A page of somebody else's moves nothing, whatever it sends; and where there are keys, it takes one for it, which the log names.
#[test]
fn a_channel_is_not_moved_by_pages_of_others() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start_as(&rig, with_key(&rig)).await?;
        let second = rig.deploy(shop(&rig, "second", -9.0)?.folder()).await?;
        node.runs(&second, LIMIT).await?;
        let seen = rig.counter().await?;
        let wanted = json!({"move": "rollback", "seen": seen});
        for origin in ["https://evil.example", "http://127.0.0.1:1", "null"] {
            let (status, told) = move_to(&node, &[("origin", origin)], wanted.clone()).await?;
            ensure!(status == 403 && told["error"]["code"] == "foreign_origin", "{origin}: {told}");
        }
        let (body, text) = (wanted.to_string(), [("content-type", "text/plain")]);
        let simple = node.admin().send_with(Method::POST, "/v1/channel", &text, body.clone()).await?;
        ensure!(simple.status.as_u16() == 400 && simple.text().contains("application/json"), "{}", simple.text());
        let headers = [
            ("host", "evil.example:7071"),
            ("origin", "http://evil.example:7071"),
            ("authorization", "Bearer x"),
            ("content-type", "application/json"),
        ];
        let answer = raw(&node, "POST", "/v1/channel", &headers, &body).await?;
        ensure!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        ensure!(rig.counter().await? == seen, "the channel was moved");

        drop(node.terminate().await?);
        let file = rig.path("keys.jsonl");
        let (_, decides) = crate::keys::create(&rig.cli, &file, "checkout", &["decide"]).await?;
        let (_, admin) = crate::keys::create(&rig.cli, &file, "olga", &["admin"]).await?;
        let mut spec = with_key(&rig).set(format!("http.keys={}", file.display()));
        spec.admin_key = Some(admin);
        let node = Node::start(spec).await?;
        node.runs(&second, LIMIT).await?;
        for (key, expected) in [(None, 401), (Some(decides.as_str()), 403)] {
            let answer = Client::new(node.admin).with_key(key).post("/v1/channel", &wanted).await?;
            ensure!(answer.status.as_u16() == expected, "{}", answer.text());
        }
        ensure!(rig.counter().await? == seen, "the channel was moved");
        let (status, told) = move_to(&node, &[], wanted).await?;
        ensure!(status == 200, "{told}");
        ensure!(node.process.log()?.contains("olga"), "{}", node.process.log_tail());
        Ok(())
    })
}

/// Without the key nothing is moved, and the command is told; a key that nodes would not believe is none to start with.
#[test]
fn without_a_key_that_is_trusted_no_channel_is_moved() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let node = start(&rig).await?;
        ensure!(look(&mut node.admin(), "nodes").await?["operator"].is_null());
        let wanted = json!({"move": "rollback", "seen": rig.counter().await?});
        let command = format!("selvedge rollback --to {CHANNEL} --key FILE --nats {}", rig.nats.url());
        not_moved(&rig, &node, wanted, (409, "no_operator_key", &command)).await?;

        let (stranger, _) = rig.keygen("stranger").await?;
        let spec = rig.spec("edge-2").set(format!("console.operator_key={}", stranger.display()));
        let Err(error) = Node::start(spec).await else { bail!("it starts with a key that is not trusted") };
        let error = format!("{error:#}");
        for part in ["console.operator_key", "stranger.key", "(rig)", "name its public half in node.trust"] {
            ensure!(error.contains(part), "{error}");
        }
        let (folder, setting) =
            (rig.path("first").display().to_string(), format!("console.operator_key={}", rig.key().display()));
        let ran = Cli::offline().run(["dev", &folder, "--set", &setting]).await?;
        ensure!(ran.code == Some(2) && ran.stderr.contains("follows no channel"), "{ran:?}");
        Ok(())
    })
}

/// Every page in Chromium, wide and narrow, light and dark, and of a node without a release: no error, no violation of the policy, none
/// that axe-core finds, nothing wider than the screen, and what a person does works. The pictures are kept beside the build.
#[test]
fn every_page_in_a_browser() -> Result<()> {
    crate::alone(async {
        let Some((program, packages)) = binary::javascript("browser")? else {
            println!("there is no Node.js with a driver of browsers here: `./x test` installs them");
            return Ok(());
        };
        let Some(chromium) = chromium() else {
            println!("there is no Chromium here: `./x test` installs it");
            return Ok(());
        };
        let rig = Rig::start().await?;
        let node = start_as(&rig, with_key(&rig)).await?;
        let second = rig.deploy(shop(&rig, "second", -9.0)?.folder()).await?;
        node.runs(&second, LIMIT).await?;
        let bare = Node::start(rig.spec("edge-2").set("node.channel=nothing")).await?;
        let mut client = node.client();
        wait_for(&node, "samples", |told| (!told["samples"].as_array()?.is_empty()).then_some(())).await?;
        let mut last = String::new();
        for at in 0..60 {
            let placement = ["hero", "tested", "learns"][at % 3];
            let answer =
                decide(&mut client, placement, &format!("u-{at}"), if at % 2 == 0 { "FR" } else { "DE" }).await?;
            let event = json!({"event": if placement == "learns" { "click" } else { "purchase" }, "decision_id": answer["decision_id"]});
            client.post("/v1/events", &event).await?.ok()?;
            if placement == "hero" {
                last = answer["decision_id"].as_str().context("no id")?.to_owned();
            }
        }
        let script = packages.join("console.mjs");
        std::fs::copy(binary::repository().join("tests/javascript/console.mjs"), &script)?;
        let pictures = binary::repository().join("target/screenshots/console");
        let mut command = Command::new(&program);
        command.arg(&script).arg(&chromium).arg(format!("http://{}/console/", node.admin));
        command.arg(format!("http://{}", node.http)).arg(format!("http://{}/console/", bare.admin));
        command.arg(&last).arg(&pictures);
        let (status, stdout, stderr) = process::run("console.mjs", command, 5 * LIMIT).await?;
        ensure!(status.success(), "{stdout}\n{stderr}\n{}", node.process.log_tail());
        Ok(())
    })
}

fn chromium() -> Option<std::path::PathBuf> {
    if let Some(path) = std::env::var_os("SELVEDGE_CHROMIUM") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
}
