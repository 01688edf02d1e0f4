//! The storefront example: a shopper in a real browser, on pages that two nodes decide.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::{Process, binary, folder, process};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// The decision tables of the shop do what their tests say, and the release has nothing doubtful in it.
#[test]
fn shop() -> Result<()> {
    crate::alone(async {
        let shop = binary::repository().join("examples/storefront/shop");
        for command in ["check", "test"] {
            let mut selvedge = Command::new(binary::built("selvedge")?);
            selvedge.arg(command).arg(&shop);
            let (status, stdout, stderr) = process::run("selvedge", selvedge, LIMIT).await?;
            ensure!(status.success(), "selvedge {command}: {status}\n{stdout}\n{stderr}");
        }
        Ok(())
    })
}

/// `./x demo storefront`, and a shopper. Screenshots stay under `target/screenshots/storefront`.
#[test]
fn shopper() -> Result<()> {
    crate::alone(async {
        let (Some((nodejs, packages)), Some(chromium)) = (binary::javascript("browser")?, binary::browser("chromium")?)
        else {
            println!("there is no Chromium with its driver here: `./x test` installs them");
            return Ok(());
        };
        let folder = tempfile::tempdir()?;
        let shop = folder.path().join("shop");
        folder::copy(&binary::repository().join("examples/storefront/shop"), &shop)?;
        let mut command = Command::new(binary::built("storefront")?);
        command.args(["--listen", "127.0.0.1:0", "--rate", "20", "--json", "--shop"]).arg(&shop);
        let mut storefront = Process::spawn("storefront", &mut command, &folder.path().join("log"))?.with_grace(LIMIT);
        let line: Value = serde_json::from_str(&storefront.line(LIMIT).await?)?;
        let address = line["shop"].as_str().context("the shop's address")?;

        let screenshots = binary::repository().join("target/screenshots/storefront");
        fs::create_dir_all(&screenshots)?;
        // Packages are found beside the script, so it runs where they are.
        let copied = packages.join("storefront.mjs");
        fs::copy(binary::repository().join("tests/javascript/storefront.mjs"), &copied)?;
        let mut script = Command::new(nodejs);
        script.arg(copied).arg(chromium).arg(format!("http://{address}")).arg(&shop).arg(&screenshots);
        let (status, stdout, stderr) = process::run("storefront.mjs", script, 4 * LIMIT).await?;
        ensure!(status.success(), "{status}\n{stdout}\n{stderr}\n{}", storefront.log_tail());
        println!("{stdout}");
        ensure!(storefront.terminate(LIMIT).await?.success(), "a stop by SIGTERM exits 0");
        Ok(())
    })
}
