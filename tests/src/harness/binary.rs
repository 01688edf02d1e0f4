//! Where the executables are: the ones cargo built in the same profile, and the nats-server that `./x` found.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The binary `name` of this workspace, beside our own; `SELVEDGE_BIN_DIR` names another folder.
pub fn built(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("SELVEDGE_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => profile_folder()?,
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is not built; run: cargo build --workspace --all-targets", path.display());
    }
    Ok(path)
}

/// The nats-server: `SELVEDGE_NATS_SERVER`, else the one that `./x` fetched, else the one on PATH.
pub fn nats_server() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SELVEDGE_NATS_SERVER") {
        return Ok(path.into());
    }
    let fetched = profile_folder()?.parent().map(|target| target.join("tools/nats-server"));
    if let Some(path) = fetched.filter(|path| path.is_file()) {
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .find(|path| path.is_file())
        .context("no nats-server: run `./x test`, which fetches one, or set SELVEDGE_NATS_SERVER")
}

/// The Python with the packages of a name, which `./x` made; none where a test runs without `./x` on a machine that never did.
pub fn python(name: &str) -> Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os(format!("SELVEDGE_PYTHON_{}", name.to_uppercase())) {
        return Ok(Some(path.into()));
    }
    let made = profile_folder()?.parent().map(|target| target.join(format!("tools/python-{name}/bin/python")));
    Ok(made.filter(|path| path.is_file()))
}

/// Node.js and the folder with the npm packages of a name, which `./x` installed; none where a test runs without `./x` on a machine
/// that never did.
pub fn javascript(name: &str) -> Result<Option<(PathBuf, PathBuf)>> {
    let tools = profile_folder()?.parent().map(|target| target.join("tools"));
    let packages = match std::env::var_os(format!("SELVEDGE_JAVASCRIPT_{}", name.to_uppercase())) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => tools.as_ref().map(|tools| tools.join(format!("javascript-{name}"))),
    };
    let program = match std::env::var_os("SELVEDGE_NODEJS") {
        Some(program) => Some(PathBuf::from(program)),
        None => tools.map(|tools| tools.join("nodejs")).filter(|program| program.is_file()),
    };
    Ok(program.zip(packages.filter(|folder| folder.join("node_modules").is_dir())))
}

/// The folder of the browser SDK as `./x` built it, with `dist` in it; none where a test runs without `./x` on a machine that never did.
pub fn sdk() -> Result<Option<PathBuf>> {
    Ok(javascript("sdk")?.map(|(_, folder)| folder).filter(|folder| folder.join("dist").is_dir()))
}

/// The browser called `name`, `chromium` or `firefox`, that `./x` found; none where a test runs without `./x` on a machine that never
/// did.
pub fn browser(name: &str) -> Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os(format!("SELVEDGE_{}", name.to_uppercase())) {
        return Ok(Some(path.into()));
    }
    let found = profile_folder()?.parent().map(|target| target.join("tools").join(name));
    Ok(found.filter(|path| path.exists()))
}

/// Node.js and the folder with the engine of pages and what tests of it run, which `./x` built; none where a test runs without `./x`
/// on a machine that never did.
pub fn engine() -> Result<Option<(PathBuf, PathBuf)>> {
    let Some((program, _)) = javascript("engine")? else { return Ok(None) };
    let tools = profile_folder()?.parent().map(|target| target.join("tools/engine"));
    Ok(tools.filter(|folder| folder.join("in_node.mjs").is_file()).map(|folder| (program, folder)))
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// `target/debug` or `target/release`: our own folder, or its parent when we are a test in `deps`.
fn profile_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding our own executable")?;
    let folder = own.parent().context("our own executable has no folder")?;
    let deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if deps { folder.parent().unwrap_or(folder).to_owned() } else { folder.to_owned() })
}
