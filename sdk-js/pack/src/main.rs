//! Builds the engine of the browser SDK. Owns its size: it is told beside its bar, and what is larger does not come out.
//!
//! `selvedge-pack OUT [WASM_OPT...]`: compiles `sdk-js/engine` for wasm32, has wasm-bindgen make its JavaScript, has binaryen make it
//! smaller where `WASM_OPT` is the command that runs it, and writes `engine.js`, `engine.d.ts`, `engine_bg.wasm` to the folder OUT.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "engine";
/// What the engine and its JavaScript together may have, in bytes, gzipped.
const BAR: usize = 45_000;
/// What every browser of the last years has and Node.js 20 too; `--all-features` would emit what they refuse.
const FEATURES: [&str; 5] = [
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-reference-types",
];

/// Small above all, functions that are called once left where they are, which packs better; and the lowest KiB of memory, the far end of
/// the stack, has no address that anything is reckoned from.
const SHRINK: [&str; 7] =
    ["--low-memory-unused", "-ocimfs", "0", "-O2", "-Oz", "--strip-producers", "--strip-target-features"];

fn main() -> Result<()> {
    let mut args = env::args_os().skip(1);
    let out = PathBuf::from(args.next().context("usage: selvedge-pack OUT [WASM_OPT...]")?);
    let wasm_opt: Vec<OsString> = args.collect();
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let out = out.canonicalize()?;

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace")?;
    let target = root.join("target").join("engine");
    compile(root, &target)?;
    let core = target.join(TARGET).join(PROFILE).join("selvedge_engine.wasm");
    let mut bindgen = Bindgen::new();
    bindgen.input_path(&core).out_name("engine").typescript(true).web(true)?.omit_default_module_path(true);
    bindgen.remove_name_section(true).remove_producers_section(true).generate(&out)?;
    let wasm = out.join("engine_bg.wasm");
    match &wasm_opt[..] {
        [program, args @ ..] => shrink(program, args, &wasm)?,
        [] => eprintln!("selvedge-pack: binaryen's wasm-opt was not named: the engine is larger than it need be"),
    }

    let (wasm, glue) = (gzipped(&wasm)?, gzipped(&out.join("engine.js"))?);
    println!("engine {wasm} bytes gzipped, its JavaScript {glue}, together {}; the bar is {BAR}", wasm + glue);
    ensure!(wasm + glue <= BAR, "the engine has grown above {BAR} bytes");
    Ok(())
}

fn compile(root: &Path, target: &Path) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A cdylib alone: beside an rlib, what panics say stays in it though nobody reads it.
    cargo.current_dir(root).args([
        "rustc",
        "--locked",
        "--package",
        "selvedge-engine",
        "--lib",
        "--crate-type",
        "cdylib",
    ]);
    cargo.args(["--target", TARGET, "--profile", PROFILE]).arg("--target-dir").arg(target);
    // What the outer cargo was told about its own target and profile is not meant for the engine.
    for (name, _) in env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("CARGO_PROFILE_") || name == "RUSTFLAGS"))
    {
        cargo.env_remove(name);
    }
    // Nobody who fetches it should read where it was compiled.
    let remap = |folder: &Path, name: &str| format!("--remap-path-prefix={}={name}", folder.display());
    let mut flags = vec![remap(root, "selvedge")];
    let home = env::var_os("CARGO_HOME").or_else(|| env::home_dir().map(|home| home.join(".cargo").into()));
    flags.extend(home.map(|home| remap(Path::new(&home), "cargo")));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    ensure!(cargo.status()?.success(), "the engine did not compile: {cargo:?}");
    Ok(())
}

fn shrink(program: &OsStr, args: &[OsString], wasm: &Path) -> Result<()> {
    let small = wasm.with_extension("small");
    let mut wasm_opt = Command::new(program);
    wasm_opt.args(args).args(SHRINK).args(FEATURES).arg(wasm).arg("-o").arg(&small);
    ensure!(wasm_opt.status().context("wasm-opt")?.success(), "wasm-opt failed: {wasm_opt:?}");
    fs::rename(&small, wasm)?;
    Ok(())
}

fn gzipped(path: &Path) -> Result<usize> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes)?;
    Ok(gzip.finish()?.len())
}
