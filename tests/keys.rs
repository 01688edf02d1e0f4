//! Keys: what each opens, how they rotate while a node runs, and that nobody listens to others without any.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use selvedge_decision::definition::Time;
use selvedge_node::keys::{Line, Scope, ServerLine};
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::harness::{Cli, Client, Node, Rig, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const DECIDE: &str = r#"{"placement":"home-hero","subject":"u-1"}"#;
const EVENT: &str = r#"{"event":"view_item","messageId":"m-1","session":"s-1"}"#;

/// Makes a server key: its id and its secret.
pub(crate) async fn create(cli: &Cli, file: &Path, name: &str, scopes: &[&str]) -> Result<(String, String)> {
    let mut args = vec!["keys", "create", name];
    scopes.iter().for_each(|scope| args.extend(["--scope", scope]));
    let path = file.display().to_string();
    args.extend(["--file", &path]);
    made(&cli.json(args).await?)
}

/// Makes a publishable key: its id and the key.
pub(crate) async fn publish(cli: &Cli, file: &Path, name: &str, more: &[&str]) -> Result<(String, String)> {
    let path = file.display().to_string();
    let args = ["keys", "create", name, "--publishable", "--file", &path];
    made(&cli.json(args.iter().chain(more)).await?)
}

fn made(printed: &Value) -> Result<(String, String)> {
    let text = |key: &str| printed[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {printed}"));
    Ok((text("id")?, text("key")?))
}

/// A node of the numbered shop with the keys of a file, one of them for the admin listener.
async fn start(rig: &Rig, file: &Path) -> Result<Node> {
    let release = rig.deploy(Shop::numbered(rig.path("shop"), 1)?.folder()).await?;
    let (_, admin) = create(&rig.cli, file, "ops", &["admin"]).await?;
    let mut spec = rig.spec("edge-1").set(format!("http.keys={}", file.display()));
    spec.admin_key = Some(admin);
    let node = Node::start(spec).await?;
    node.runs(&release, LIMIT).await?;
    Ok(node)
}

async fn ask(client: &mut Client, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let (method, body) = match path {
        "/v1/decide" => (Method::POST, DECIDE),
        "/v1/decide/batch" => (Method::POST, r#"{"placements":[{"placement":"home-hero"}],"subject":"u-1"}"#),
        "/v1/events" => (Method::POST, EVENT),
        path if path.starts_with("/ofrep/v1/evaluate") => (Method::POST, r#"{"context":{"targetingKey":"u-1"}}"#),
        _ => (Method::GET, ""),
    };
    let answer = client.send_with(method, path, headers, body).await?;
    let json = answer.json().unwrap_or_default();
    let code = json["error"]["code"].as_str().or(json["errorCode"].as_str()).unwrap_or_default().to_owned();
    let says_how = answer.headers.contains_key("www-authenticate") || path.starts_with("/ofrep/v1/evaluate");
    ensure!(says_how || answer.status != StatusCode::UNAUTHORIZED, "{path}: {:?}", answer.headers);
    Ok((answer.status.as_u16(), code))
}

#[test]
fn a_key_opens_what_its_scopes_name_and_nothing_else() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let file = rig.path("keys.jsonl");
        let (_, decide) = create(&rig.cli, &file, "checkout", &["decide"]).await?;
        let (_, events) = create(&rig.cli, &file, "tracker", &["events"]).await?;
        let (_, page) = publish(&rig.cli, &file, "web", &["--origin", "*"]).await?;
        let expired = expired(&file)?;
        let node = start(&rig, &file).await?;
        let admin = node.spec.admin_key.clone().context("no key")?;
        let (mut public, mut private) = (node.client(), Client::new(node.admin));
        let one = "/ofrep/v1/evaluate/flags/home-hero";
        for (path, key, expected) in [
            ("/v1/decide", None, (401, "bad_key")),
            ("/v1/decide", Some("sk_wrong"), (401, "bad_key")),
            ("/v1/decide", Some(expired.as_str()), (401, "bad_key")),
            ("/v1/decide", Some(&decide), (200, "")),
            ("/v1/decide", Some(&events), (403, "wrong_scope")),
            ("/v1/decide", Some(&page), (403, "wrong_scope")),
            ("/v1/decide/batch", None, (401, "bad_key")),
            ("/v1/decide/batch", Some(&decide), (200, "")),
            ("/v1/events", None, (401, "bad_key")),
            ("/v1/events", Some(&decide), (403, "wrong_scope")),
            ("/v1/events", Some(&events), (202, "")),
            (one, None, (401, "GENERAL")),
            (one, Some(&events), (403, "GENERAL")),
            (one, Some(&decide), (200, "")),
            ("/ofrep/v1/evaluate/flags", None, (401, "GENERAL")),
            ("/ofrep/v1/evaluate/flags", Some(&decide), (200, "")),
            ("/ofrep/v1/events", None, (401, "bad_key")),
            ("/openapi.json", None, (200, "")),
            ("/nothing", None, (404, "not_found")),
        ] {
            let bearer = key.map(|key| format!("Bearer {key}")).unwrap_or_default();
            for header in [("authorization", bearer.as_str()), ("x-api-key", key.unwrap_or_default())] {
                let headers = if key.is_some() { vec![header] } else { vec![] };
                let found = ask(&mut public, path, &headers).await?;
                ensure!(found == (expected.0, expected.1.to_owned()), "{path} with {headers:?}: {found:?}");
            }
        }
        for (path, key, expected) in [
            ("/livez", None, 200),
            ("/readyz", None, 200),
            ("/metrics", None, 401),
            ("/version", None, 401),
            ("/v1/status", None, 401),
            ("/v1/status", Some(&decide), 403),
            ("/v1/status", Some(&admin), 200),
            ("/metrics", Some(&admin), 200),
        ] {
            let bearer = key.map(|key| format!("Bearer {key}")).unwrap_or_default();
            let headers = if key.is_some() { vec![("authorization", bearer.as_str())] } else { vec![] };
            let (status, _) = ask(&mut private, path, &headers).await?;
            ensure!(status == expected, "{path} with {key:?}: {status}");
        }
        // A query that names no key hides none that a header brings.
        let (bearer, asked) =
            (format!("Bearer {page}"), r#"{"placements":[{"placement":"home-hero"}],"subject":"u-1"}"#);
        let headers = [("authorization", bearer.as_str())];
        let answer = public.send_with(Method::POST, "/v1/browser/decide?key=&v=1", &headers, asked).await?;
        ensure!(answer.status == StatusCode::OK, "{}", answer.text());
        // A body that is refused with its key is read to its end: its sender gets to read why.
        let large = format!("[{}{EVENT}]", format!("{EVENT},").repeat(4_000));
        let answer = public.send(Method::POST, "/v1/events", large).await?;
        ensure!(answer.status == StatusCode::UNAUTHORIZED, "{}", answer.text());
        let flags = public.send_with(Method::POST, "/ofrep/v1/evaluate/flags", &[("x-api-key", &decide)], "{}").await?;
        ensure!(!flags.text().contains("eventStreams"), "a stream takes no header: {}", flags.text());

        let metrics = node.metrics().await?;
        let count = |labels: &[&str]| metrics.sum("selvedge_key_requests_total", labels);
        ensure!(count(&["key=\"tracker\"", "outcome=\"allowed\""]) == 2.0, "events by the tracker");
        ensure!(count(&["key=\"checkout\"", "outcome=\"wrong_scope\""]) == 3.0);
        ensure!(count(&["key=\"old\"", "outcome=\"expired\""]) == 2.0);
        ensure!(count(&["key=\"\"", "outcome=\"bad_key\""]) > 10.0);
        Ok(())
    })
}

/// Adds a key that is none any more; its secret.
fn expired(file: &Path) -> Result<String> {
    let line = ServerLine {
        name: "old".into(),
        sha256: selvedge_decision::Digest([0; 32]),
        scopes: vec![Scope::Decide],
        created: None,
        expires: Some(Time::from_us(1_700_000_000_000_000)),
    };
    let (line, secret) = Line::server(line)?;
    let text = std::fs::read_to_string(file)?;
    std::fs::write(file, format!("# by hand\n{text}{line}\n"))?;
    Ok(secret)
}

#[test]
fn keys_rotate_while_the_node_runs() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let file = rig.path("keys.jsonl");
        let (old_id, old) = create(&rig.cli, &file, "checkout", &["decide"]).await?;
        let node = start(&rig, &file).await?;
        let mut client = node.client();
        let mut answers = async |key: &str, status: u16| {
            let bearer = format!("Bearer {key}");
            until("the keys to be read again", LIMIT, async || {
                let (found, _) = ask(&mut client, "/v1/decide", &[("authorization", &bearer)]).await.ok()?;
                (found == status).then_some(())
            })
            .await
        };
        answers(&old, 200).await?;
        let (_, new) = create(&rig.cli, &file, "checkout", &["decide"]).await?;
        answers(&new, 200).await?;
        answers(&old, 200).await?;
        let path = file.display().to_string();
        let both = rig.cli.run(["keys", "revoke", "checkout", "--file", &path]).await?;
        ensure!(both.code == Some(2) && both.stderr.contains(&old_id), "{both:?}");
        rig.cli.run(["keys", "revoke", &old_id, "--file", &path]).await?.ok()?;
        answers(&old, 401).await?;
        answers(&new, 200).await?;

        // A file that is broken locks nobody out, and the node says so.
        let good = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{good}nonsense\n"))?;
        let ready = node.wait_for("degraded", LIMIT).await?;
        ensure!(ready["reasons"][0]["code"] == "keys" && ready.to_string().contains("line 3: is no key"), "{ready}");
        answers(&new, 200).await?;
        // So does one that lost all of its keys; the command leaves none so.
        std::fs::write(&file, "")?;
        until("the empty file to be told", LIMIT, async || {
            node.readiness().await.ok()?.to_string().contains("has no key any more").then_some(())
        })
        .await?;
        answers(&new, 200).await?;
        let only = rig.path("only.jsonl");
        let (only_id, _) = create(&rig.cli, &only, "only", &["decide"]).await?;
        let only = only.display().to_string();
        let last = rig.cli.run(["keys", "revoke", &only_id, "--file", &only]).await?;
        ensure!(last.code == Some(2) && last.stderr.contains("the only key"), "{last:?}");
        std::fs::write(&file, format!("{good}nonsense\n"))?;
        ensure!(rig.cli.run(["keys", "create", "x", "--scope", "admin", "--file", &path]).await?.code == Some(1));
        std::fs::write(&file, good)?;
        node.wait_for("ready", LIMIT).await?;

        let listed = rig.cli.run(["keys", "list", "--file", &path]).await?.ok()?.stdout.clone();
        ensure!(listed.contains("checkout") && listed.contains("decide") && !listed.contains(&new), "{listed}");
        let text = std::fs::read_to_string(&file)?;
        ensure!(!text.contains(&new) && !text.contains(&new[3..]), "a secret is kept: {text}");
        Ok(())
    })
}

/// What others can reach does not start without keys, and says how to get one.
#[test]
fn no_door_stands_open_by_mistake() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let shop = Shop::numbered(folder.path().join("shop"), 1)?;
        let dir = shop.folder().display().to_string();
        let cli = Cli::offline().in_folder(folder.path());
        for (args, setting, scopes) in [
            (["--http", "0.0.0.0:0", "--admin", "127.0.0.1:0"], "http.listen", "--scope decide --scope events"),
            (["--http", "127.0.0.1:0", "--admin", "[::]:0"], "http.admin", "--scope admin"),
        ] {
            let ran = cli.run(["dev", &dir].iter().chain(&args)).await?;
            let told = [setting, "selvedge keys create", scopes, "http.open = true"]
                .iter()
                .all(|part| ran.stderr.contains(part));
            ensure!(ran.code == Some(2) && told, "{ran:?}");
        }
        let none = PathBuf::from("none.jsonl").display().to_string();
        let ran = cli.run(["dev", &dir, "--set", &format!("http.keys={none}")]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("http.keys: cannot read none.jsonl"), "{ran:?}");

        let rig = Rig::start().await?;
        let spec = rig.spec("edge-1").set("http.listen=0.0.0.0:0").set("http.admin=0.0.0.0:0");
        let open = Node::start(spec.clone().set("http.open=true")).await?;
        let (status, _) = ask(&mut open.client(), "/v1/decide", &[]).await?;
        ensure!(status == 503, "without a release: {status}");
        ensure!(open.admin().get("/v1/status").await?.ok()?["node"] == "edge-1");
        drop(open.terminate().await?);

        let file = rig.path("keys.jsonl");
        let (_, admin) = create(&rig.cli, &file, "ops", &["admin"]).await?;
        let mut spec = spec.set(format!("http.keys={}", file.display()));
        spec.admin_key = Some(admin);
        let keyed = Node::start(spec).await?;
        ensure!(ask(&mut keyed.client(), "/v1/decide", &[]).await?.0 == 401);
        ensure!(Client::new(keyed.admin).get("/v1/status").await?.status == StatusCode::UNAUTHORIZED);
        ensure!(keyed.status().await?["node"] == json!("edge-1"));
        Ok(())
    })
}
