//! The core: prepared by one command, and a user for each node that can be no other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_node::clock::Clock;
use selvedge_node::link::{NatsConfig, NatsLink};
use selvedge_suite::harness::node::CHANNEL;
use selvedge_suite::harness::shop::{FEATURES, Shop, hero};
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::{Cli, Client, NatsServer, Node, NodeSpec, Process, binary, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A word for each part that `core init` tells of, by its name.
async fn init(cli: &Cli, more: &[&str]) -> Result<(Option<i32>, Vec<(String, String)>)> {
    let ran = cli.run(["--json", "core", "init"].iter().chain(more)).await?;
    let lines = ran.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let told = lines.iter().map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        if line["ack"].is_string() { ("ack".to_owned(), text("ack")) } else { (text("name"), text("state")) }
    });
    ensure!(!lines.is_empty(), "{}", ran.stderr);
    Ok((ran.code, told.collect()))
}

#[test]
fn a_core_is_prepared_once_and_what_differs_is_told() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let nats = NatsServer::start_with(&folder.path().join("nats"), Some("http: 127.0.0.1:-1\n")).await?;
        let cli = Cli::new(nats.url());
        let shop = Shop::new(folder.path().join("shop"), "shop")?;
        let rows = FEATURES.replacen("sync = \"all\"", "sync = \"all\"\nshards = 2", 1);
        shop.file("features.toml", format!("{rows}{SESSION}{PERSON}"))?;
        let release = shop.folder().display().to_string();
        let names = [
            "EVENTS",
            "channels",
            "nodes",
            "sessions",
            "erased",
            "bandits",
            "releases",
            "features_item",
            "features_user_0",
            "features_user_1",
            "features_person_agg",
        ];
        let all = |state: &str| -> Vec<(String, String)> {
            let parts = names.iter().map(|name| ((*name).to_owned(), state.to_owned()));
            parts.chain([("ack".to_owned(), "unknown".to_owned())]).collect()
        };
        for even in ["2", "4"] {
            let ran = cli.run(["core", "init", "--replicas", even]).await?;
            ensure!(ran.code == Some(2) && ran.stderr.contains("more than half of them must answer"), "{ran:?}");
        }
        ensure!(init(&cli, &["--release", &release]).await? == (Some(0), all("made")));
        ensure!(init(&cli, &["--release", &release]).await? == (Some(0), all("there")));

        // Other settings are told, and changed when that is said.
        let more = ["--release", &release, "--events-age", "7d", "--sessions-keep", "1h"];
        let differ = |state: &str| -> Vec<(String, String)> {
            let mut parts = all("there");
            for part in &mut parts {
                if ["EVENTS", "sessions"].contains(&part.0.as_str()) {
                    state.clone_into(&mut part.1);
                }
            }
            parts
        };
        ensure!(init(&cli, &more).await? == (Some(1), differ("differs")));
        let told = cli.run(["core", "init"].iter().chain(&more)).await?;
        ensure!(told.stdout.contains("max_age is 2592000 s, 604800 s wanted"), "{}", told.stdout);
        ensure!(init(&cli, &[&more[..], &["--update"]].concat()).await? == (Some(0), differ("updated")));
        ensure!(init(&cli, &more).await? == (Some(0), all("there")));
        Ok(())
    })
}

#[test]
fn a_core_says_what_its_acknowledgement_is_worth() -> Result<()> {
    crate::alone(async {
        for (sync, expected) in [("always", "durable"), ("\"2m\"", "not-durable")] {
            let folder = tempfile::tempdir()?;
            // The monitoring port is chosen by the server, and stands in its ports file.
            let config = format!("http: \"127.0.0.1:-1\"\njetstream {{ sync_interval: {sync} }}\n");
            let nats = NatsServer::start_with(&folder.path().join("nats"), Some(&config)).await?;
            let monitor = nats.monitor()?;
            let (code, told) = init(&Cli::new(nats.url()), &["--monitor", &monitor]).await?;
            ensure!(code == Some(0) && told.last().is_some_and(|(_, word)| word == expected), "{told:?}");
        }
        Ok(())
    })
}

#[test]
fn a_node_s_user_can_do_what_its_node_does_and_no_more() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let permissions = Cli::offline().run(["core", "permissions", "edge-1"]).await?.ok()?.stdout.clone();
        let user = permissions.replacen("user: \"edge-1\"", "user: \"edge-1\", password: \"edge-1\"", 1);
        let shop = Shop::new(folder.path().join("shop"), "shop")?;
        shop.file("features.toml", format!("{FEATURES}{SESSION}{PERSON}"))?;
        shop.placement("home-hero", &hero(1, "[\"views\"]"))?;
        shop.model("views", VIEWS)?;
        let release = shop.folder().display().to_string();
        let counts = Cli::offline().run(["core", "permissions", "--features", &release]).await?.ok()?.stdout.clone();
        let counts =
            counts.replacen("user: \"core-features\"", "user: \"core-features\", password: \"core-features\"", 1);
        let config = format!("authorization {{ users: [ {{ user: root, password: root }}\n{user}\n{counts} ] }}\n");
        let nats = NatsServer::start_with(&folder.path().join("nats"), Some(&config)).await?;
        let cli = Cli::new(nats.url_of("root"));
        ensure!(init(&cli, &["--release", &release]).await?.0 == Some(0));
        let (key, public) = keygen(&cli, folder.path()).await?;
        let deployed = deploy(&cli, &shop, &key).await?;
        cli.run(["features", "put", "user", "u-1", "{\"segment\":\"vip\"}"]).await?.ok()?;

        // All that a node does.
        let spec = NodeSpec::new("edge-1", &folder.path().join("edge-1"), &nats.url_of("edge-1"), &public)
            .set(format!("console.operator_key={}", key.display()));
        let node = Node::start(spec).await?;
        node.wait_for("ready", LIMIT).await?;
        let answer =
            node.client().post("/v1/decide", &json!({"placement": "home-hero", "subject": "u-1"})).await?.ok()?;
        ensure!(answer["choices"][0]["score"] == 1.0, "{answer}");
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["core", "features", "--json", "--nats", &nats.url_of("core-features"), "--channel", CHANNEL]);
        let core = Process::spawn("core", &mut command, &folder.path().join("core.log"))?;
        let event = json!({"event": "view_item", "subject": "u-1", "session": "s-1", "messageId": "m-1"});
        node.client().post("/v1/events", &event).await?.ok()?;
        let mut stream = Stream::open(&nats.url_of("root")).await?;
        until("the event to be in the stream", LIMIT, async || {
            stream.read_on().await.ok()?;
            stream.times_by_message_id().contains_key("m-1").then_some(())
        })
        .await?;
        until("the session to be in its bucket", LIMIT, async || {
            (node.metrics().await.ok()?.sum("selvedge_session_slots_sent_total", &[]) >= 1.0).then_some(())
        })
        .await?;
        until("what the core counted to be used", LIMIT, async || {
            let body = json!({"placement": "home-hero", "subject": "u-1"});
            let answer = node.client().post("/v1/decide", &body).await.ok()?.ok().ok()?;
            (answer["choices"][0]["score"] == 2.0).then_some(())
        })
        .await
        .with_context(|| core.log_tail())?;
        ensure!(node.readiness().await?["status"] == "ready", "{}", node.process.log()?);

        // And nothing else, also where it has the operator's key.
        let seen = node.status().await?["releases"]["counter"].clone();
        let wanted = json!({"move": "release", "release": deployed, "seen": seen});
        let moved = node.admin().post("/v1/channel", &wanted).await?;
        let (status, text) = (moved.status.as_u16(), moved.text());
        ensure!(
            status == 502 && text.contains("core_refused") && text.contains("$KV.channels.prod"),
            "{status} {text}"
        );
        let link = link_of(&nats, "edge-1").await?;
        ensure!(link.put_feature("user", "u-1", "{}".into()).await.is_err(), "it wrote a row");
        ensure!(link.write_channel("prod", b"x".to_vec(), 1).await.is_err(), "it moved a channel");
        ensure!(link.write_report(&"edge-2".parse()?, b"{}".to_vec()).await.is_err(), "it spoke for another node");
        ensure!(link.blocks(Default::default()).await?.next().await.is_err(), "it read events of others");
        ensure!(link.put_feature("person_agg", "u-1", "{}".into()).await.is_err(), "it wrote what the core counts");
        let asked = link.jetstream().get_stream("EVENTS").await?;
        ensure!(asked.delete_consumer("lake").await.is_err(), "it removed a consumer of others");
        let others = link.client().subscribe("_INBOX.>").await?;
        until("the server to refuse answers to others", LIMIT, async || {
            link.refused().is_some_and(|refused| refused.why.contains("_INBOX.>")).then_some(())
        })
        .await?;
        drop(others);
        let link = link_of(&nats, "core-features").await?;
        ensure!(link.put_feature("user", "u-1", "{}".into()).await.is_err(), "it wrote a row");
        ensure!(link.write_channel("prod", b"x".to_vec(), 1).await.is_err(), "it moved a channel");
        ensure!(link.write_report(&"edge-2".parse()?, b"{}".to_vec()).await.is_err(), "it spoke for a node");
        Ok(())
    })
}

#[test]
fn a_node_connects_with_tls_and_a_key_of_its_own() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let tls = binary::repository().join("tests/cases/tls");
        let file = |name: &str| tls.join(name).display().to_string();
        let config = format!(
            "tls {{ cert_file: {:?}, key_file: {:?} }}\nauthorization {{ users: [ {{ nkey: {PUBLIC_KEY} }} ] }}\n",
            file("server.pem"),
            file("server.key")
        );
        let nats = NatsServer::start_with(&folder.path().join("nats"), Some(&config)).await?;
        let seed = folder.path().join("edge-1.nk");
        std::fs::write(&seed, format!("{SEED}\n"))?;
        let cli = Cli::new(format!("tls://127.0.0.1:{}", nats.port()));
        let (seed, ca) = (seed.display().to_string(), file("ca.pem"));
        ensure!(init(&cli, &["--creds", &seed, "--ca", &ca]).await?.0 == Some(0));
        let refused = |more: Vec<&str>| {
            let (cli, more) = (&cli, more.into_iter().map(str::to_owned).collect::<Vec<_>>());
            async move {
                let args = ["core", "init"].into_iter().map(str::to_owned).chain(more);
                anyhow::Ok(cli.run(args).await?)
            }
        };
        // Whose certificate is it, and who are you?
        let unknown = refused(vec!["--creds", &seed]).await?;
        ensure!(unknown.code != Some(0) && unknown.stderr.contains("certificate"), "{}", unknown.stderr);
        let nobody = refused(vec!["--ca", &ca]).await?;
        ensure!(nobody.code != Some(0) && nobody.stderr.contains("uthoriz"), "{}", nobody.stderr);
        let wrong = refused(vec!["--ca", &seed]).await?;
        ensure!(wrong.stderr.contains("it holds no certificate"), "{}", wrong.stderr);

        let (_, public) = keygen(&Cli::offline(), folder.path()).await?;
        let url = format!("tls://127.0.0.1:{}", nats.port());
        let spec = NodeSpec::new("edge-1", &folder.path().join("edge-1"), &url, &public)
            .set(format!("link.nats.credentials={seed}"))
            .set(format!("link.nats.ca={ca}"));
        let node = Node::start(spec).await?;
        until("the link to be there", LIMIT, async || {
            let status = node.status().await.ok()?;
            (status["link"]["connected"] == true).then_some(())
        })
        .await
        .with_context(|| node.process.log_tail())
    })
}

#[test]
fn a_node_behind_a_leaf_node_knows_tells_and_survives_a_cut_line() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let hub =
            "server_name: hub\nhttp: 127.0.0.1:-1\njetstream { domain: hub }\nleafnodes { listen: \"127.0.0.1:-1\" }\n";
        let hub = NatsServer::start_with(&folder.path().join("hub"), Some(hub)).await?;
        let varz = Client::new(hub.monitor()?.parse()?).get("/varz").await?.ok()?;
        let remote = format!("nats://127.0.0.1:{}", varz["leaf"]["port"]);
        let leaf = format!(
            "server_name: leaf\njetstream {{ domain: leaf }}\nleafnodes {{ remotes: [ {{ url: {remote:?} }} ], reconnect: 1s }}\n"
        );
        let mut leaf = NatsServer::start_with(&folder.path().join("leaf"), Some(&leaf)).await?;
        let cli = Cli::new(hub.url());
        ensure!(init(&cli, &[]).await?.0 == Some(0));

        let (private, public) = keygen(&cli, folder.path()).await?;
        let shop = Shop::priced(folder.path().join("shop"), 1)?;
        let release = deploy(&cli, &shop, &private).await?;
        let spec = NodeSpec::new("edge-1", &folder.path().join("edge-1"), &leaf.url(), &public);
        let node = Node::start(spec.set("link.nats.domain=hub")).await?;
        node.runs(&release, LIMIT).await?;
        // A command reaches the core through the leaf, too.
        let behind = Cli::new(leaf.url());
        let row = json!({"price": 7.0, "stock": 1.0}).to_string();
        behind.run(["features", "put", "item", "sku-1", &row, "--domain", "hub"]).await?.ok()?;
        priced(&node, 7.0).await?;
        tell(&node, "one").await?;
        told(&hub, &["one"]).await?;

        leaf.kill()?;
        node.wait_for("degraded", LIMIT).await?;
        priced(&node, 7.0).await?;
        tell(&node, "two").await?;
        cli.run(["features", "put", "item", "sku-1", &json!({"price": 8.0, "stock": 1.0}).to_string()]).await?.ok()?;
        leaf.restart().await?;
        priced(&node, 8.0).await?;
        node.wait_for("ready", LIMIT).await?;
        told(&hub, &["one", "two"]).await?;

        // Without the domain the leaf's own JetStream is asked, which knows nothing.
        let status = behind.run(["status"]).await?;
        ensure!(!status.stdout.contains("edge-1"), "{}", status.stdout);
        let status = behind.run(["status", "--domain", "hub"]).await?;
        ensure!(status.stdout.contains("edge-1"), "{} {}", status.stdout, status.stderr);
        Ok(())
    })
}

/// Waits until a decision knows this price.
async fn priced(node: &Node, price: f64) -> Result<()> {
    let mut last = Value::Null;
    let request = json!({"placement": "plp-rank", "candidates": ["sku-1"], "slots": 1});
    let known = until("the price", LIMIT, async || {
        last = node.client().post("/v1/decide", &request).await.ok()?.ok().ok()?;
        (last["choices"][0]["score"].as_f64() == Some(price)).then_some(())
    });
    known.await.with_context(|| format!("{price}: {last}"))
}

async fn tell(node: &Node, id: &str) -> Result<()> {
    node.client().post("/v1/events", &json!({"event": "view_item", "messageId": id})).await?.ok().map(drop)
}

/// Waits until the core has exactly these events, each once.
async fn told(core: &NatsServer, ids: &[&str]) -> Result<()> {
    let mut stream = Stream::open(&core.url()).await?;
    until("the events", LIMIT, async || {
        stream.read_on().await.ok()?;
        let times = stream.times_by_message_id();
        (times.len() == ids.len() && ids.iter().all(|id| times.get(id) == Some(&1))).then_some(())
    })
    .await
}

/// A key for tests, of the bytes 0 to 31.
const SEED: &str = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
const PUBLIC_KEY: &str = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK";

async fn keygen(cli: &Cli, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let keys = folder.join("keys");
    std::fs::create_dir_all(&keys)?;
    cli.run(["release".as_ref(), "keygen".as_ref(), "k".as_ref(), "--dir".as_ref(), keys.as_os_str()]).await?.ok()?;
    Ok((keys.join("k.key"), keys.join("k.pub")))
}

async fn deploy(cli: &Cli, shop: &Shop, key: &Path) -> Result<String> {
    let (folder, key) = (shop.folder().as_os_str(), key.as_os_str());
    let args = ["deploy".as_ref(), folder, "--to".as_ref(), CHANNEL.as_ref(), "--key".as_ref(), key];
    let printed = cli.json(args).await?;
    printed["release"].as_str().map(str::to_owned).with_context(|| printed.to_string())
}

/// A connection as this user, whose password is its name.
async fn link_of(nats: &NatsServer, user: &str) -> Result<Arc<NatsLink>> {
    let (url, name) = (nats.url_of(user), user.to_owned());
    let config = NatsConfig { url, name, timeout: Duration::from_secs(1), ..NatsConfig::default() };
    let link = NatsLink::connect(config, &Clock::new()).await?;
    ensure!(link.connected(LIMIT).await, "{user} cannot connect");
    Ok(link)
}

const PERSON: &str = r#"
[view.person]
by = "subject"
[view.person.aggregates]
views = { count = "view_item" }
"#;
const VIEWS: &str = r#"
link = "identity"
intercept = 1.0
[[input]]
name = "person.views"
scope = "shared"
type = "number"
weight = 1.0
"#;
const SESSION: &str = r#"
[view.session]
by = "session"
[view.session.aggregates]
views = { count = "view_item" }
"#;
