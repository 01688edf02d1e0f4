//! A model file on its way to a decision: built by the command, packed with its sidecar, run by a node; and the mistakes that
//! people make on that way.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::harness::{Cli, Client, Process, binary, until, xgboost};
use serde_json::{Value, json};

use crate::modules::{refused, with_files};

const LIMIT: Duration = Duration::from_secs(60);

/// What the trainer called the features, and what the shop does.
const SIDECAR: &str = "output = \"probability\"\nrows = 64\n[inputs]\nValue = { name = \"user.value\" }\n\
    Price = { name = \"item.price\" }\nStock = { name = \"item.stock\", missing = { default = 0.0 } }\n";

const RANK: &str = "candidates = { view = \"item\", from = \"request\" }\nslots = 3\ndeadline = \"1s\"\n\
    ladder = [\"rank\"]\nfallback = []\n";

fn model() -> String {
    xgboost::model(&["Value", "Price", "Stock"], 20, 4, 1)
}

#[test]
fn a_model_with_its_sidecar_decides() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let shop = Shop::new(folder.path().join("shop"), "shop")?;
        shop.file("modules/rank.json", model())?.file("modules/rank.toml", SIDECAR)?;
        shop.placement("plp-rank", RANK)?;
        shop.file("features/user.jsonl", "{\"_key\":\"u-1\",\"value\":35.5}\n")?;
        let items = [("sku-1", 9.5, Some(3.0)), ("sku-2", 59.9, None), ("sku-3", 80.0, Some(70.0))];
        let lines = items.map(|(key, price, stock)| json!({"_key": key, "price": price, "stock": stock}).to_string());
        shop.file("features/item.jsonl", lines.join("\n"))?;

        // It packs.
        let cli = Cli::offline().in_folder(folder.path());
        cli.run(["release", "keygen", "ops"]).await?.ok()?;
        let packed = cli.json(["release", "pack", "shop", "--key", "ops.key", "-o", "shop.release"]).await?;
        ensure!(packed["ok"] == true, "{packed}");
        let told = cli.json(["release", "inspect", "shop.release"]).await?;
        ensure!(told["modules"][0]["name"] == "rank" && told["modules"][0]["rows"] == 64, "{told}");
        ensure!(told["modules"][0]["golden_vectors"] == 32, "{told}");

        // What the command says of the same rows.
        let rows = items.map(|(_, price, stock)| json!({"item.price": price, "item.stock": stock}));
        let row = json!({"shared": {"user.value": 35.5}, "candidates": rows});
        fs::write(folder.path().join("rows.jsonl"), row.to_string())?;
        let evaluated = cli.json(["eval", "shop/modules/rank.json", "--rows", "rows.jsonl", "--explain"]).await?;
        cli.run(["build", "shop/modules/rank.json", "--output", "margin", "-o", "margin.wasm"]).await?.ok()?;
        explained(&evaluated, &cli.json(["eval", "margin.wasm", "--rows", "rows.jsonl"]).await?["scores"])?;

        // A node decides with the same numbers.
        let mut command = Command::new(binary::built("selvedge")?);
        command.arg("dev").arg(shop.folder()).args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let mut dev = Process::spawn("selvedge dev", &mut command, &folder.path().join("log"))?;
        let line: Value = serde_json::from_str(&dev.line(LIMIT).await?)?;
        let mut client = Client::new(line["http"].as_str().context("the address")?.parse()?);
        let request = json!({"placement": "plp-rank", "subject": "u-1", "candidates": ["sku-1", "sku-2", "sku-3"]});
        let scored = until("a scored decision", LIMIT, async || {
            let answer = client.post("/v1/decide", &request).await.ok()?.ok().ok()?;
            // A node's first release does not wait for its views.
            let is_current = answer["max_lag_ms"].as_u64().is_some_and(|lag| lag < 60_000);
            (answer["reason"] == "SCORED" && is_current).then_some(answer)
        });
        let answer = scored.await.with_context(|| dev.log_tail())?;
        let choices = answer["choices"].as_array().context("choices")?;
        ensure!(choices.len() == 3, "{answer}");
        for choice in choices {
            let at = items.iter().position(|(key, ..)| choice["id"] == *key).context("an unknown choice")?;
            ensure!(choice["score"] == evaluated["scores"][at], "{answer} is not {evaluated}");
        }
        ensure!(dev.terminate(LIMIT).await?.success(), "a stop by SIGTERM exits 0");
        Ok(())
    })
}

/// Groups of trees add up to the margin.
fn explained(evaluated: &Value, margins: &Value) -> Result<()> {
    let explained = evaluated["explained"].as_array().context("explained")?;
    ensure!(explained.len() == 3, "{evaluated}");
    for (candidate, margin) in explained.iter().zip(margins.as_array().context("margins")?) {
        let number = |value: &Value| value.as_f64().with_context(|| format!("no number in {candidate}"));
        let told = &candidate[0];
        let groups = told["trees"].as_array().context("groups of trees")?;
        ensure!(groups.len() == 10 && groups[9]["last"] == 19, "{told}");
        let adds: f64 = groups.iter().map(|group| number(&group["adds"])).sum::<Result<f64>>()?;
        ensure!(told["sum"] == *margin, "{told} is not of the margin {margin}");
        let sum = number(margin)?;
        ensure!((number(&told["base"])? + adds - sum).abs() < 1e-5, "{told} does not add up");
    }
    Ok(())
}

#[test]
fn the_command_line_is_over_the_sidecar() -> Result<()> {
    let model = model();
    let files: [(&str, &[u8]); 4] = [
        ("rank.json", model.as_bytes()),
        ("rank.toml", SIDECAR.as_bytes()),
        ("own.toml", b"rows = 8\n"),
        ("names.txt", b"user.v\ncontext.plan [\"free\", \"paid\"]\nitem.s\n"),
    ];
    with_files(&files, async |_, cli| {
        let inputs = |told: &Value| -> Vec<String> {
            let inputs = told["inputs"].as_array().into_iter().flatten();
            inputs.map(|input| format!("{} {}", input["scope"], input["name"]).replace('"', "")).collect()
        };
        let told = cli.json(["build", "rank.json"]).await?;
        ensure!(inputs(&told) == ["shared user.value", "candidate item.price", "candidate item.stock"], "{told}");
        ensure!(told["rows"] == 64 && told["browser"] == true && told["outputs"][0]["min"] == 0.0, "{told}");
        ensure!(told["source"]["kind"] == "xgboost", "{told}");
        let told = cli.json(["build", "rank.json", "--output", "margin", "--rows", "16", "--no-browser"]).await?;
        ensure!(told["rows"] == 16 && told["browser"] == false && told["outputs"][0]["min"].is_null(), "{told}");
        let told =
            cli.json(["build", "rank.json", "--sidecar", "own.toml", "--features", "names.txt", "--name", "x"]).await?;
        ensure!(told["rows"] == 8 && told["module"] == "x", "{told}");
        ensure!(inputs(&told) == ["shared user.v", "shared context.plan", "candidate item.s"], "{told}");
        ensure!(told["inputs"][1]["symbols"] == json!(["free", "paid"]), "{told}");
        let template = cli.run(["build", "rank.json", "--print-sidecar"]).await?.ok()?.stdout.clone();
        ensure!(template.contains("Value = { name = \"Value\" }  # number"), "{template}");
        Ok(())
    })
}

#[test]
fn mistakes_are_told_where_they_are() -> Result<()> {
    let model = model();
    let json = ("rank.json", model.as_bytes());
    let build = ["build", "rank.json"];
    refused(&[], &build, 1, "cannot read rank.json")?;
    refused(&[("rank.json", b"{\"learner\": [")], &build, 1, "rank.json: ")?;
    refused(&[("rank.json", &model.as_bytes()[..model.len() / 2])], &build, 1, "EOF while parsing")?;
    refused(&[("rank.ubj", b"\x80\x04pickle")], &["build", "rank.ubj"], 1, "a Python pickle")?;
    let sidecar = |text: &'static str| [json, ("rank.toml", text.as_bytes())];
    refused(&sidecar("row = 3\n"), &build, 1, "rank.toml:1: row: unknown key")?;
    refused(
        &sidecar("\n[inputs.Prize]\n"),
        &build,
        1,
        "rank.toml:2: inputs.Prize: the model has no input of this name; did you mean \"Price\"?",
    )?;
    refused(&[json], &["build", "rank.json", "--rows", "70000"], 1, "70000 is not between 1 and 65,536")?;
    refused(&[json, ("n.txt", b"a\nb")], &["build", "rank.json", "--features", "n.txt"], 1, "2 feature names")?;
    let rules = ("hero.linear.toml", &b"link = \"identity\"\ninput = []\n"[..]);
    refused(&[rules], &["build", "hero.linear.toml", "--rows", "3"], 2, "--rows is for model files")?;
    refused(
        &[rules],
        &["eval", "hero.linear.toml", "--rows", "-", "--explain"],
        2,
        "--explain needs a model file or a file of rules",
    )
}

#[test]
fn the_nodes_settings_say_how_much_memory_a_model_may_need() -> Result<()> {
    let names: Vec<String> = (0..200).map(|feature| format!("item.f{feature}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let model = xgboost::model(&names, 4, 3, 1);
    let files = [("rank.json", model.as_bytes()), ("rank.toml", &b"rows = 60000\n"[..])];
    let expected = "bytes of memory, the host gives 67108864 (modules.max_memory); build it for fewer rows";
    refused(&files, &["build", "rank.json"], 1, expected)?;
    with_files(&files, async |folder, _| {
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["build", "rank.json"]).current_dir(folder);
        let ran = command.env("SELVEDGE_MODULES_MAX_MEMORY", "128MiB").output()?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        Ok(())
    })
}

#[test]
fn a_sidecar_of_nobody_is_a_finding() -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        let shop = Shop::new(folder.path().join("shop"), "shop")?;
        shop.file("modules/rank.json", model())?.file("modules/rnak.toml", SIDECAR)?.placement("plp-rank", RANK)?;
        let cli = Cli::offline().in_folder(folder.path());
        cli.run(["release", "keygen", "ops"]).await?.ok()?;
        let ran = cli.run(["release", "pack", "shop", "--key", "ops.key"]).await?;
        let expected =
            "modules/rnak.toml: is the sidecar of a source called rnak, and there is none; did you mean rank.toml?";
        ensure!(ran.code == Some(1) && ran.stdout.contains(expected), "{}{}", ran.stdout, ran.stderr);
        Ok(())
    })
}
