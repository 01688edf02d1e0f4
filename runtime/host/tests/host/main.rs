//! The host against real guests, hostile ones included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cache;
mod golden;
mod hostile;
mod limits;
mod pipelines;
mod rules;
mod smartcore;
mod speed;

use std::sync::OnceLock;
use std::time::Duration;

use selvedge_build::module;
use selvedge_decision::Manifest;
use selvedge_decision::manifest::{Input, Kind, Limits, MANIFEST_VERSION, Missing, Output, Scope};
use selvedge_decision::vector::Vector;
use selvedge_host::{Host, HostConfig, Module};

/// Enough for every call that ends at all, also on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);

/// One host for the tests: each reserves much address space.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new(HostConfig { instances: 16, ..HostConfig::default() }).unwrap())
}

fn input(name: &str, scope: Scope, len: u32) -> Input {
    let (kind, len) = if len == 1 { (Kind::Number, None) } else { (Kind::Vector, Some(len)) };
    Input { name: name.into(), scope, kind, symbols: vec![], len, missing: Missing::default(), derive: None }
}

fn manifest(shared: u32, candidate: u32, outputs: &[&str], rows: u32) -> Manifest {
    let inputs = [("shared", Scope::Shared, shared), ("candidate", Scope::Candidate, candidate)];
    let output = |name: &&str| {
        let kind = if *name == "eligible" { Kind::Flag } else { Kind::Number };
        Output { name: (*name).into(), kind, symbols: vec![], min: None }
    };
    Manifest {
        manifest: MANIFEST_VERSION,
        name: "test".into(),
        inputs: inputs
            .into_iter()
            .filter(|(_, _, len)| *len > 0)
            .map(|(name, scope, len)| input(name, scope, len))
            .collect(),
        outputs: outputs.iter().map(output).collect(),
        source: None,
        limits: Limits { rows, memory_bytes: 0 },
        browser: false,
    }
}

/// The shape of the hostile guests.
fn small() -> Manifest {
    manifest(1, 1, &["score"], 100)
}

fn sealed(core: &[u8], manifest: &Manifest, vectors: &[Vector]) -> Vec<u8> {
    module::seal(core, manifest, vectors).unwrap()
}

fn load(core: &[u8], manifest: &Manifest) -> Module {
    let bytes = sealed(core, manifest, &[]);
    let file = module::open(&bytes).unwrap();
    host().load(&bytes, &file.manifest).unwrap()
}
