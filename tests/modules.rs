//! Modules on the command line: what `build`, `eval` and `bench` do with files as people have them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use selvedge_suite::guests;
use selvedge_suite::harness::Cli;
use serde_json::Value;

/// A linear model of one number a candidate.
const LINEAR: &str = "link = \"logistic\"\nintercept = 0.5\n[[input]]\nname = \"item.price\"\nscope = \"candidate\"\n\
    type = \"number\"\nweight = -0.25\n";

/// Runs `test` in a fresh folder with the files.
pub(crate) fn with_files(files: &[(&str, &[u8])], test: impl AsyncFnOnce(&Path, Cli) -> Result<()>) -> Result<()> {
    crate::alone(async {
        let folder = tempfile::tempdir()?;
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes)?;
        }
        test(folder.path(), Cli::offline().in_folder(folder.path())).await
    })
}

/// Whatever is wrong is told in words that help, and nothing is written.
pub(crate) fn refused(files: &[(&str, &[u8])], args: &[&str], code: i32, expected: &str) -> Result<()> {
    with_files(files, async |folder, cli| {
        let before = names(folder)?;
        let ran = cli.run(args).await?;
        ensure!(ran.code == Some(code), "exit {:?}, not {code}: {}{}", ran.code, ran.stdout, ran.stderr);
        ensure!(ran.stderr.contains(expected), "{:?} does not say {expected:?}", ran.stderr);
        ensure!(names(folder)? == before, "something was written");
        Ok(())
    })
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[test]
fn a_source_is_built_evaluated_and_measured() -> Result<()> {
    let rows = b"{\"candidates\":[{\"item.price\":2},{\"item.price\":null}]}\n{\"item.price\":-2}\n";
    with_files(&[("hero.linear.toml", LINEAR.as_bytes()), ("rows.jsonl", rows)], async |folder, cli| {
        let told = cli.json(["build", "hero.linear.toml"]).await?;
        ensure!(told["file"] == "hero.wasm" && told["golden_vectors"].as_u64() > Some(0), "{told}");
        ensure!(told["inputs"][0]["name"] == "item.price" && told["outputs"][0]["name"] == "score", "{told}");
        let bytes = fs::read(folder.join("hero.wasm"))?;
        ensure!(told["bytes"].as_u64() == Some(bytes.len() as u64), "{told}");

        // The module and its source answer alike.
        let of_module = cli.run(["eval", "hero.wasm", "--rows", "rows.jsonl"]).await?.ok()?.stdout.clone();
        let of_source = cli.run(["eval", "hero.linear.toml", "--rows", "rows.jsonl"]).await?.ok()?.stdout.clone();
        ensure!(of_module == of_source, "{of_module}{of_source}");
        let lines: Vec<Value> = of_module.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(lines[0]["scores"][0] == 0.5, "{of_module}");
        ensure!(lines[1]["scores"].as_array().is_some_and(|scores| scores.len() == 1), "{of_module}");

        // Built again elsewhere it is the same file.
        let again = cli.json(["build", "hero.linear.toml", "-o", "again.wasm"]).await?;
        ensure!(again["digest"] == told["digest"] && fs::read(folder.join("again.wasm"))? == bytes, "{again}");
        ensure!(names(folder)? == ["again.wasm", "hero.linear.toml", "hero.wasm", "rows.jsonl"], "{:?}", names(folder));

        for args in [&["bench", "hero.wasm", "--rows", "rows.jsonl"][..], &["bench", "hero.wasm", "--candidates", "9"]]
        {
            let told = cli.json(args).await?;
            ensure!(told["digest"] == again["digest"], "{told}");
            for time in ["/compile_ms", "/cached_ms", "/call_us/p50", "/call_us/p99"] {
                ensure!(told.pointer(time).and_then(Value::as_f64).context("a time")? > 0.0, "{time} of {told}");
            }
            ensure!(told["calls"].as_u64() > Some(0) && told["row_us"].is_number(), "{told}");
        }
        Ok(())
    })
}

#[test]
fn a_guest_is_sealed() -> Result<()> {
    with_files(&[("hero-rules.wasm", guests::HERO_RULES)], async |folder, cli| {
        let told = cli.json(["build", "hero-rules.wasm", "-o", "sealed.wasm"]).await?;
        ensure!(told["source"]["kind"].is_string() || told["source"].is_null(), "{told}");
        ensure!(folder.join("sealed.wasm").exists());
        let kept = cli.run(["build", "hero-rules.wasm"]).await?;
        ensure!(kept.code == Some(2) && kept.stderr.contains("would be replaced"), "{}", kept.stderr);
        ensure!(fs::read(folder.join("hero-rules.wasm"))? == guests::HERO_RULES, "the source stays");
        Ok(())
    })
}

#[test]
fn mistakes_are_told_and_nothing_is_written() -> Result<()> {
    let linear = ("hero.linear.toml", LINEAR.as_bytes());
    refused(&[], &["build", "hero.linear.toml"], 1, "cannot read hero.linear.toml: No such file")?;
    refused(&[], &["build", "."], 1, "cannot read .: Is a directory")?;
    refused(&[("hero.onx", b"")], &["build", "hero.onx"], 1, "hero.onx: nothing builds such a file; known endings: ")?;
    refused(&[("hero.wasm", b"\0asm")], &["build", "hero.wasm"], 1, "hero.wasm: not valid WebAssembly")?;
    refused(&[linear], &["build", "hero.linear.toml", "-o", "none/hero.wasm"], 1, "cannot write none/hero.wasm")?;
    let wide = LINEAR.replace("link", "rows = 70000\nlink");
    let wide = ("hero.linear.toml", wide.as_bytes());
    refused(&[wide], &["build", "hero.linear.toml"], 1, "limits.rows: 70000 is not between 1 and 65,536")?;
    let weights = vec!["0.5"; 200].join(", ");
    let vector = format!("type = \"vector\"\nweights = [{weights}]\n");
    let large = LINEAR.replace("link", "rows = 60000\nlink").replace("type = \"number\"\nweight = -0.25\n", &vector);
    let large = ("hero.linear.toml", large.as_bytes());
    refused(
        &[large],
        &["build", "hero.linear.toml"],
        1,
        "bytes of memory, the host gives 67108864 (modules.max_memory)",
    )?;
    refused(&[linear], &["bench", "hero.linear.toml", "--candidates", "2000"], 2, "at most 1024 rows (limits.rows)")?;
    let rows = ("rows.jsonl", &b"{\"item.price\":1}\n{\"item.price\":\"1\"}\n"[..]);
    let args = ["bench", "hero.linear.toml", "--rows", "rows.jsonl"];
    refused(&[linear, rows], &args, 1, "rows.jsonl:2: \"item.price\": \"1\" is no number")?;
    refused(&[linear, ("rows.jsonl", b"\n")], &args, 2, "the file has no rows")
}

#[test]
fn shells_get_completions() -> Result<()> {
    with_files(&[], async |_, cli| {
        for shell in ["bash", "zsh", "fish"] {
            let ran = cli.run(["completions", shell]).await?;
            ensure!(ran.ok()?.stdout.contains("selvedge"), "{shell}: {}", ran.stdout);
        }
        Ok(())
    })
}
