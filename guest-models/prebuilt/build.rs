//! Compiles the guests of this repository for wasm32 with the cargo that runs this build, in a target folder of their own
//! that every profile shares: the folder of the outer build is locked while this script runs.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "guest";

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for input in ["../sdk", "../linear", "../pipeline", "../../wit", "../../Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-changed=build.rs");

    // target/PROFILE/build/PACKAGE/out
    let target = out.ancestors().nth(4).unwrap_or(&out).join("guests");
    let built = target.join(TARGET).join(PROFILE);
    compile(&here, &target, &["-p", "selvedge-linear", "-p", "selvedge-pipeline", "--lib"])?;
    copy(&built.join("selvedge_linear.wasm"), &out)?;
    copy(&built.join("selvedge_pipeline.wasm"), &out)?;

    if env::var_os("CARGO_FEATURE_TESTS").is_some() {
        for input in ["../hero-rules", "../smartcore", "../bench", "../hostile"] {
            println!("cargo::rerun-if-changed={input}");
        }
        compile(&here, &target, &["-p", "selvedge-hero-rules", "--lib"])?;
        copy(&built.join("selvedge_hero_rules.wasm"), &out)?;
        compile(&here, &target, &["-p", "selvedge-smartcore-guest", "--lib"])?;
        copy(&built.join("selvedge_smartcore_guest.wasm"), &out)?;
        compile(&here, &target, &["-p", "selvedge-bench-guests", "-p", "selvedge-hostile", "--examples"])?;
        for guest in ["bench", "hostile"] {
            for example in examples(&here.join("..").join(guest).join("examples"))? {
                copy(&built.join("examples").join(format!("{example}.wasm")), &out)?;
            }
        }
    }
    Ok(())
}

fn compile(here: &Path, target: &Path, what: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(here).arg("build").args(what).args(["--target", TARGET, "--profile", PROFILE]);
    cargo.arg("--target-dir").arg(target);
    // What the outer cargo was told about its own target, lints and wrappers is not meant for guests.
    for (name, _) in env::vars_os() {
        let outer = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PROFILE_")
                || ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"].contains(&name)
        });
        if outer {
            cargo.env_remove(name);
        }
    }
    // A module's digest must not tell where it was compiled.
    let remap = |folder: &Path, name: &str| format!("--remap-path-prefix={}={name}", folder.display());
    let root = here.ancestors().nth(2).unwrap_or(here);
    let mut flags = vec![remap(root, "selvedge")];
    let home = env::var_os("CARGO_HOME").or_else(|| env::home_dir().map(|home| home.join(".cargo").into()));
    flags.extend(home.map(|home| remap(Path::new(&home), "cargo")));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let advice = if text.contains("can't find crate for `core`") || text.contains("can't find crate for `std`") {
        format!("\nthe target is not installed: rustup target add {TARGET}")
    } else {
        String::new()
    };
    Err(format!("{cargo:?} failed:\n{text}{advice}").into())
}

/// The names of the guests in a folder of examples.
fn examples(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

fn copy(from: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let name = from.file_name().ok_or("a guest without a name")?;
    std::fs::copy(from, out.join(name)).map_err(|error| format!("{}: {error}", from.display()))?;
    Ok(())
}
