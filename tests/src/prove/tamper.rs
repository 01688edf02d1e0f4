//! Releases and pointers that must not be followed: tampered, unsigned, misnamed, failing their golden vectors, played back,
//! expired. Each is refused with its own reason, and the running release stays.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_build::channel::Pointer;
use selvedge_build::keys::SigningKey;
use selvedge_build::module;
use selvedge_decision::Digest;
use selvedge_node::clock::Clock;
use serde_json::{Value, json};

use super::{Findings, Scale};
use crate::harness::forge::{self, Forged};
use crate::harness::node::CHANNEL;
use crate::harness::shop::Shop;
use crate::harness::{Node, Rig, until};

const LIMIT: Duration = Duration::from_secs(30);
const HOUR_US: i64 = 3_600_000_000;

/// A node that runs a good release, and the means to serve it bad ones.
struct Stage {
    rig: Rig,
    node: Node,
    running: String,
    counter: u64,
    key: SigningKey,
    foreign: SigningKey,
}

pub(super) async fn run(_scale: Scale) -> Result<Findings> {
    let mut stage = Stage::start().await?;
    let mut findings = Findings::default();
    releases(&mut stage, &mut findings).await?;
    pointers(&mut stage, &mut findings).await?;

    // After all of it a good release still gets through.
    let good = stage.rig.deploy(stage.shop(90)?.folder()).await?;
    findings.works(stage.node.runs(&good, LIMIT).await.context("a good release after the bad ones"));
    Ok(findings)
}

async fn releases(stage: &mut Stage, findings: &mut Findings) -> Result<()> {
    let good = stage.packed(10).await?;
    let bytes = flip(&good.bytes, b"number = 10");
    stage.serve(good.digest, &bytes).await?;
    stage.refused("a tampered file", "release", findings).await;

    let good = stage.packed(11).await?;
    let bytes = flip(&good.bytes, b"\"number-11\"");
    stage.serve(good.digest, &bytes).await?;
    stage.refused("a tampered release.json", "release", findings).await;

    let good = stage.packed(12).await?;
    stage.serve(good.digest, &good.bytes[..good.bytes.len() / 2]).await?;
    stage.refused("a release cut off", "release", findings).await;

    let good = stage.packed(13).await?;
    stage.serve(Digest::of(b"another"), &good.bytes).await?;
    stage.refused("a release under another digest", "release", findings).await;

    let good = stage.packed(14).await?;
    let files = forge::opened(&good.bytes)?;
    let forged = forge::release(&files.manifest.name, &files.files, &stage.foreign)?;
    stage.serve(forged.digest, &forged.bytes).await?;
    stage.refused("a release signed by an unknown key", "signature", findings).await;

    let good = stage.packed(15).await?;
    let forged = stage.with_wrong_vector(&good)?;
    stage.serve(forged.digest, &forged.bytes).await?;
    stage.refused("a golden vector that does not come out", "vectors", findings).await;

    stage.counter += 1;
    stage.point(stage.pointer(Digest::of(b"nowhere")), &stage.key, CHANNEL).await?;
    stage.refused("a release that is not there", "fetch", findings).await;
    Ok(())
}

async fn pointers(stage: &mut Stage, findings: &mut Findings) -> Result<()> {
    let good = stage.packed(20).await?;
    stage.rig.link().await?.put_release(&good.digest, &good.bytes).await?;

    stage.counter += 1;
    stage.point(stage.pointer(good.digest), &stage.foreign, CHANNEL).await?;
    stage.refused("a pointer signed by an unknown key", "pointer", findings).await;

    stage.counter += 1;
    stage.point(stage.pointer(good.digest), &stage.key, "other").await?;
    stage.refused("a pointer signed for another channel", "pointer", findings).await;

    stage.write(b"{\"release\":\"sha256:00\"}").await?;
    stage.refused("a pointer that is none", "pointer", findings).await;

    stage.counter += 1;
    let expired = Pointer { expires_us: Clock::new().now_us() - HOUR_US, ..stage.pointer(good.digest) };
    stage.point(expired, &stage.key, CHANNEL).await?;
    stage.refused("an expired pointer", "expired", findings).await;

    let old = Pointer { counter: 1, ..stage.pointer(good.digest) };
    stage.point(old, &stage.key, CHANNEL).await?;
    stage.refused("a pointer played back", "played_back", findings).await;
    Ok(())
}

// === impl Stage ===

impl Stage {
    async fn start() -> Result<Self> {
        let rig = Rig::start().await?;
        let node = rig.node("edge-1").await?;
        let (foreign, _) = rig.keygen("foreign").await?;
        let (key, foreign) = (rig.signing_key()?, SigningKey::read(&foreign)?);
        let shop = Shop::numbered(rig.path("number-1"), 1)?;
        let running = rig.deploy(shop.folder()).await?;
        node.runs(&running, LIMIT).await?;
        let counter = rig.counter().await?;
        Ok(Self { rig, node, running, counter, key, foreign })
    }

    fn shop(&self, number: u32) -> Result<Shop> {
        Shop::numbered(self.rig.path(&format!("number-{number}")), number)
    }

    /// A good release, packed by the command.
    async fn packed(&self, number: u32) -> Result<Forged> {
        let file = self.rig.pack(&self.shop(number)?).await?;
        let bytes = std::fs::read(Path::new(&file))?;
        Ok(Forged { digest: forge::opened(&bytes)?.digest, bytes })
    }

    /// The same release with a module whose golden vector expects another answer.
    fn with_wrong_vector(&self, good: &Forged) -> Result<Forged> {
        let mut files = forge::opened(&good.bytes)?.files;
        let bytes = files.get_mut("modules/hero.wasm").context("a release of the shop has modules/hero.wasm")?;
        let mut opened = module::open(bytes)?;
        let output =
            opened.vectors.iter_mut().find_map(|vector| vector.outputs.first_mut()).context("no golden vector")?;
        *output += 1.0;
        *bytes = module::seal(module::lift(bytes)?, &opened.manifest, &opened.vectors)?;
        forge::release("forged", &files, &self.key)
    }

    fn pointer(&self, release: Digest) -> Pointer {
        Pointer { release, canary: None, counter: self.counter, expires_us: Clock::new().now_us() + HOUR_US }
    }

    /// Puts `bytes` into the store under `digest` and points the channel there, signed as it should be.
    async fn serve(&mut self, digest: Digest, bytes: &[u8]) -> Result<()> {
        self.rig.link().await?.put_release(&digest, bytes).await?;
        self.counter += 1;
        self.point(self.pointer(digest), &self.key, CHANNEL).await
    }

    async fn point(&self, pointer: Pointer, key: &SigningKey, channel: &str) -> Result<()> {
        self.write(&pointer.sign(channel, key)).await
    }

    async fn write(&self, value: &[u8]) -> Result<()> {
        self.rig.write_pointer(&*self.rig.link().await?, value).await
    }

    /// The node refuses what the channel now points to, says why, and goes on with what ran.
    async fn refused(&self, what: &str, code: &str, findings: &mut Findings) {
        let mut last = Value::Null;
        let waiting = format!("{what} to be refused as {code:?}");
        let told = until(&waiting, LIMIT, async || {
            last = self.node.admin().get("/v1/status").await.ok()?.json().ok()?;
            let refusal = &last["releases"]["refusal"];
            (refusal["code"] == code && refusal["why"].is_string()).then_some(())
        });
        findings.works(told.await.with_context(|| format!("/v1/status says {}", last["releases"])));
        let answer = self
            .node
            .client()
            .post("/v1/decide", &json!({"placement": "home-hero"}))
            .await
            .and_then(|answer| answer.ok());
        if let Some(answer) = findings.works(answer.with_context(|| format!("a decision after {what}"))) {
            findings.check(answer["release"] == self.running.as_str(), || format!("{what} runs: {answer}"));
        }
    }
}

/// The same bytes with one bit changed in the middle of the first `place`.
fn flip(bytes: &[u8], place: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(at) = bytes.windows(place.len()).position(|window| window == place) {
        bytes[at + place.len() - 1] ^= 1;
    }
    bytes
}
