//! What a page gets of a release and of rows from a real node: what it decides by and nothing else, how that is kept, and what comes in
//! one answer.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use selvedge_suite::harness::wait::pass;
use selvedge_suite::harness::{Rig, until};
use serde_json::{Value, json};

use crate::pages::{FEATURES, HERO, gets, holds, start, start_as, start_with};

const LIMIT: Duration = Duration::from_secs(60);

/// What a first decision needs besides the release, as bytes: rows, then modules.
fn told(inline: &Value) -> Result<Vec<Vec<u8>>> {
    let rows = inline["rows"].as_array().with_context(|| format!("no rows in {inline}"))?;
    let modules = inline["modules"].as_object().context("modules")?;
    let texts = rows.iter().chain(modules.values()).map(|text| text.as_str().context("a text"));
    texts.map(|text| Ok(STANDARD.decode(text?)?)).collect()
}

#[test]
fn a_page_gets_what_it_decides_by_and_nothing_else() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, _) = start(&rig).await?;
        let body = gets(&node, "/v1/browser/release?v=1").await?;
        let release: Value = serde_json::from_slice(&body)?;
        let plan = STANDARD.decode(release["plan"].as_str().context("a plan")?)?;
        let shared = gets(&node, "/v1/browser/features?v=1").await?;
        let own = gets(&node, "/v1/browser/features?v=1&subject=u-1&session=s-1").await?;

        // What a page needs is there, so that what is missing is not missing because nothing is.
        for word in ["shoes", "vip", "DE", "plp-rank", "home-hero", "order"] {
            ensure!(holds(&plan, word), "{word:?} is not in the plan");
        }
        ensure!(holds(&shared, "sku-3") && holds(&shared, "socks") && holds(&own, "u-1") && holds(&own, "s-1"));
        ensure!(own.windows(8).any(|at| at == 17.5f64.to_le_bytes()), "the value of the person's row");
        let names = |key: &str| release[key].as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
        ensure!(names("placements").context("placements")? == ["home-hero", "plp-rank"], "{release}");
        ensure!(release["remote"] == json!(["remote-rank"]), "{release}");
        let checked = rig.cli.run(["check", "-v", &rig.path("pages").display().to_string()]).await?;
        let why = "remote-rank.toml: pages ask a node for it and do not decide it themselves: its view \"hidden_view\"";
        ensure!(checked.ok()?.stdout.contains(why), "{}", checked.stdout);
        let modules = release["modules"].as_array().context("modules")?;
        let mut named: Vec<&str> = modules.iter().filter_map(|module| module["name"].as_str()).collect();
        named.sort_unstable();
        ensure!(named == ["dear", "hero", "rank"], "{named:?}");

        let whole = gets(&node, "/v1/browser/release?v=1&subject=u-1&session=s-1&inline=1").await?;
        let inline: Value = serde_json::from_slice::<Value>(&whole)?["inline"].clone();
        let inline = told(&inline)?;

        let all = [("release", body), ("plan", plan), ("rows", shared), ("own", own), ("whole", whole)];
        for (what, bytes) in all.into_iter().chain(inline.into_iter().map(|bytes| ("inline", bytes))) {
            ensure!(!holds(&bytes, "hidden"), "{what}: {}", String::from_utf8_lossy(&bytes));
            for secret in [99.0f64, 0.123_456] {
                ensure!(!bytes.windows(8).any(|at| at == secret.to_le_bytes()), "{what} holds {secret}");
            }
        }
        for module in modules {
            let digest = module["digest"].as_str().context("a digest")?;
            let core = gets(&node, &format!("/v1/browser/modules/{digest}")).await?;
            ensure!(selvedge_decision::Digest::of(&core).to_string() == digest && core.starts_with(b"\0asm"));
        }
        // Asked again it costs nothing.
        let mut client = node.client();
        let first = client.get("/v1/browser/release?v=1").await?;
        let tag = first.headers.get("etag").context("a tag")?.to_str()?.to_owned();
        ensure!(first.headers["x-selvedge-release"] == release["release"].as_str().unwrap_or_default());
        let headers = [("if-none-match", tag.as_str())];
        let again = client.send_with(Method::GET, "/v1/browser/release?v=1", &headers, "").await?;
        ensure!(again.status == 304 && again.body.is_empty(), "{}", again.status);
        Ok(())
    })
}

/// Everybody's rows say when they were read, and are the same to a page as long as nothing else of them changes.
#[test]
fn everybodys_rows_are_sent_again_when_they_are_others() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (node, _) = start(&rig).await?;
        let mut client = node.client();
        let path = "/v1/browser/features?v=1&all=1&subject=u-1";
        let same = until("rows that stay the same for longer than they are kept unread", LIMIT, async || {
            let plain = client.get(path).await.ok()?;
            let tag = plain.headers.get("etag")?.to_str().ok()?.to_owned();
            pass(Duration::from_millis(1_500)).await;
            let again = client.send_with(Method::GET, path, &[("if-none-match", &tag)], "").await.ok()?;
            let packed = client.send_with(Method::GET, path, &[("accept-encoding", "gzip")], "").await.ok()?;
            (again.status == 304 && again.body.is_empty()).then_some((tag, plain, packed))
        });
        let (tag, plain, packed) = same.await?;
        ensure!(plain.headers["cache-control"] == "no-cache", "{:?}", plain.headers);
        ensure!(packed.headers["content-encoding"] == "gzip", "{:?}", packed.headers);
        ensure!(packed.headers["etag"] != tag.as_str(), "other bytes under one tag: {tag}");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked)?;
        ensure!(unpacked == plain.body, "packed they are others");

        rig.put("item", "sku-3", &json!({"price": 99.0, "category": "shoes"})).await?;
        let changed = until("the changed row", LIMIT, async || {
            let again = client.send_with(Method::GET, path, &[("if-none-match", &tag)], "").await.ok()?;
            (again.status == 200).then_some(again)
        });
        let changed = changed.await?.body;
        ensure!(changed.windows(8).any(|at| at == 99.0f64.to_le_bytes()), "the price of the row");
        let own = client.get("/v1/browser/features?v=1&subject=u-1&session=s-1").await?;
        ensure!(own.headers["cache-control"] == "no-store" && !own.headers.contains_key("etag"), "{:?}", own.headers);
        Ok(())
    })
}

/// Everybody has the key of a shop's pages: with it nobody must learn what a node with keyed ids calls anybody.
#[test]
fn where_ids_are_hashed_a_page_decides_nothing_and_learns_no_hash() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let key = rig.path("ids.key");
        rig.cli.run(["ids".as_ref(), "keygen".as_ref(), key.as_os_str()]).await?.ok()?;
        let hash = rig.cli.json(["ids", "hash", "u-1", "--key", &key.display().to_string()]).await?;
        let hash = hash["id"].as_str().context("a hash")?.to_owned();
        let (node, _) = start_as(&rig, rig.spec("edge-1").set(format!("ids.key={}", key.display()))).await?;

        let body = gets(&node, "/v1/browser/release?v=1&subject=u-1&session=s-1&inline=1").await?;
        let release: Value = serde_json::from_slice(&body)?;
        ensure!(release["remote"] == json!(["home-hero", "plp-rank", "remote-rank"]), "{release}");
        ensure!(release["placements"] == json!({}) && release["modules"] == json!([]), "{release}");
        ensure!(release["inline"] == Value::Null, "{release}");
        let plan = STANDARD.decode(release["plan"].as_str().context("a plan")?)?;
        let shared = gets(&node, "/v1/browser/features?v=1").await?;
        let mut client = node.client();
        let mut told = vec![body, plan, shared];
        for who in ["subject=u-1", "session=s-1", "subject=u-1&session=s-1", "subject=u-1&all=1"] {
            let answer = client.get(&format!("/v1/browser/features?v=1&{who}")).await?;
            let said = answer.json()?;
            ensure!(answer.status == 403 && said["error"]["code"] == "keyed_ids", "{who}: {} {said}", answer.status);
            ensure!(said["error"]["message"].as_str().is_some_and(|why| why.contains("/v1/browser/decide")), "{said}");
            told.push(answer.body.to_vec());
        }
        let asked = json!({"subject": "u-1", "session": "s-1", "placements": [{"placement": "home-hero"}]});
        let answer = client.post("/v1/browser/decide?v=1", &asked).await?;
        ensure!(answer.ok()?["decisions"][0]["choices"].is_array(), "{}", answer.text());
        told.push(answer.body.to_vec());
        for bytes in told {
            ensure!(!holds(&bytes, &hash) && !holds(&bytes, "sku-3"), "{}", String::from_utf8_lossy(&bytes));
        }
        Ok(())
    })
}

/// A page's first decision waits for release, rows and modules: what is little comes in one answer.
#[test]
fn a_page_begins_with_one_answer_where_all_of_it_is_little() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let features = FEATURES.replace("by = \"subject\"\n", "by = \"subject\"\nsync = \"on-demand\"\n");
        let (node, _) = start_with(&rig, rig.spec("edge-1"), &features).await?;
        // A table is small; the models are not.
        std::fs::write(rig.path("pages/modules/table.csv"), "candidate.id: symbol,> boost: number\nvip,1.0\n")?;
        std::fs::write(rig.path("pages/placements/home-hero.toml"), format!("{HERO}rules = [\"table\"]\n"))?;
        node.runs(&rig.deploy(&rig.path("pages")).await?, LIMIT).await?;
        let mut client = node.client();
        let (path, who) = ("/v1/browser/release?v=1", "&subject=u-1&session=s-1");
        let plain = client.get(&format!("{path}{who}")).await?;
        let (etag, plain) = (plain.headers["etag"].clone(), plain.json()?);

        // Nobody asked for the visitor yet: what has to be fetched first is not waited for, and is here soon.
        let rows = |answer: &Value| answer["inline"]["rows"].as_array().map(Vec::len);
        let first = client.get(&format!("{path}{who}&inline=1")).await?.json()?;
        ensure!(rows(&first) == Some(1), "everybody's alone: {first}");
        let whole = until("the visitor's row", LIMIT, async || {
            let answer = client.get(&format!("{path}{who}&inline=1")).await.ok()?;
            (rows(&answer.json().ok()?) == Some(2)).then_some(answer)
        });
        let whole = whole.await?;
        ensure!(
            whole.headers["cache-control"] == "no-store" && !whole.headers.contains_key("etag"),
            "{:?}",
            whole.headers
        );
        let mut release = whole.json()?;
        let inline = release["inline"].take();
        ensure!(
            release.as_object_mut().and_then(|release| release.remove("inline")).is_some() && release == plain,
            "{release}"
        );
        let bytes = told(&inline)?;
        let is_of_visitor = |bytes: &[u8]| bytes.windows(8).any(|at| at == 17.5f64.to_le_bytes());
        ensure!(holds(&bytes[0], "sku-3") && !is_of_visitor(&bytes[0]), "everybody's first");
        ensure!(is_of_visitor(&bytes[1]) && !holds(&bytes[1], "sku-3"), "then the visitor's");
        // Modules of at most 4 KiB are in it, the larger ones are not.
        let (mut here, mut apart) = (0, 0);
        for module in release["modules"].as_array().context("modules")? {
            let digest = module["digest"].as_str().context("a digest")?;
            let alone = gets(&node, &format!("/v1/browser/modules/{digest}")).await?;
            let text = inline["modules"][module["index"].to_string()].as_str();
            ensure!(text.is_some() == (alone.len() <= 4 << 10), "{module}: {} bytes", alone.len());
            ensure!(text.is_none_or(|text| STANDARD.decode(text).is_ok_and(|bytes| bytes == alone)), "{module}");
            *(if text.is_some() { &mut here } else { &mut apart }) += 1;
        }
        ensure!(here > 0 && apart > 0 && bytes.len() == 2 + here, "{here} here, {apart} apart");
        // A page that names nobody gets nobody's.
        let nobody = client.get(&format!("{path}&inline=1")).await?.json()?;
        ensure!(nobody["inline"]["rows"].as_array().map(Vec::len) == Some(1), "{nobody}");

        // More rows than one answer is for: they are asked for apart, and kept by their tag.
        let items = (0..600).map(|at| json!({"_key": format!("sku-{at}"), "price": 1.0, "category": "shoes"}));
        rig.push("item", items.collect::<Vec<_>>()).await?;
        let apart = until("a release without rows", LIMIT, async || {
            let answer = client.get(&format!("{path}{who}&inline=1")).await.ok()?;
            (answer.json().ok()? == plain).then_some(answer)
        });
        ensure!(apart.await?.headers["etag"] == etag);
        Ok(())
    })
}
