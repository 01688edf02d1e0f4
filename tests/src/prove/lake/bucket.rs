//! The same stream into a bucket of a store that speaks S3 (moto's server): landed once, not twice from an older position, and taken over
//! from whoever landed before.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::{LIMIT, PYTHON};
use crate::harness::stream::Stream;
use crate::harness::{Answer, Client, Node, Process, Rig, binary, process, until};
use crate::prove::Findings;

const BUCKET: &str = "/shop-lake";
const POSITION: &str = "/shop-lake/a/b/position.json";
const PLACE: &str = "s3://shop-lake/a/b";

pub(super) async fn run(rig: &Rig, node: &Node, stream: &Stream, findings: &mut Findings) -> Result<()> {
    let server = Server::start(&rig.path("moto.log")).await?;
    server.ask(Method::PUT, BUCKET, String::new()).await?;
    let all = (stream.events.len() as u64, stream.records.len() as u64);
    let said = server.once(rig).await?;
    findings.check(counts(&said) == all, || format!("{all:?} into a bucket: {said}"));
    let mut back = server.position().await?;
    back["sequence"] = 0.into();
    server.ask(Method::PUT, POSITION, back.to_string()).await?;
    let said = server.once(rig).await?;
    findings.check(said["parts"] == 0 && said["again"] == all.0 + all.1, || format!("landed again: {said}"));

    // Whoever starts later takes over: the earlier one stops before its next part.
    let log = rig.path("bucket.log");
    let before = server.position().await?["by"].clone();
    let mut earlier = server.command(rig)?;
    let mut earlier = Process::spawn("selvedge core lake", earlier.args(["--every", "100ms"]), &log)?;
    until("the earlier to have it", LIMIT, async || (server.position().await.ok()?["by"] != before).then_some(()))
        .await?;
    server.once(rig).await?;
    node.client().post("/v1/events", &json!({"event": "view_item"})).await?.ok()?;
    until("the earlier to end", LIMIT, async || (!earlier.running()).then_some(())).await?;
    let told = earlier.log()?;
    findings.check(told.contains("has taken over"), || told.clone());
    let said = until("the last event", LIMIT, async || {
        let said = server.once(rig).await.ok()?;
        (said["events"] == 1).then_some(said)
    });
    findings.works(said.await.map(drop));
    Ok(())
}

/// Events with rewards, and decisions.
fn counts(said: &Value) -> (u64, u64) {
    let number = |name: &str| said[name].as_u64().unwrap_or(0);
    (number("events") + number("rewards"), number("decisions"))
}

/// A store that speaks S3.
struct Server {
    address: SocketAddr,
    _process: Process,
}

// === impl Server ===

impl Server {
    async fn start(log: &Path) -> Result<Self> {
        // It says nowhere which port it chose: this one was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let python = std::env::var_os(PYTHON).with_context(|| format!("{PYTHON} is not set"))?;
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let process = Process::spawn("moto", &mut command, log)?;
        until("moto to answer", LIMIT, async || Client::new(address).get("/").await.ok()).await?;
        Ok(Self { address, _process: process })
    }

    /// `selvedge core lake --to` the bucket.
    fn command(&self, rig: &Rig) -> Result<Command> {
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["core", "lake", "--to", PLACE, "--nats", &rig.nats.url()]);
        let endpoint = format!("http://{}", self.address);
        let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")];
        command.envs(keys).envs([("AWS_ENDPOINT", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true")]);
        Ok(command)
    }

    /// Asks it for something.
    async fn ask(&self, method: Method, path: &str, body: String) -> Result<Answer> {
        // Somebody has to sign; it does not look who.
        let signed = [("authorization", "AWS key:signature")];
        let answer = Client::new(self.address).send_with(method, path, &signed, body).await?;
        ensure!(answer.status.is_success(), "{path}: {}: {}", answer.status, answer.text());
        Ok(answer)
    }

    /// What the position says.
    async fn position(&self) -> Result<Value> {
        self.ask(Method::GET, POSITION, String::new()).await?.json()
    }

    async fn once(&self, rig: &Rig) -> Result<Value> {
        let mut command = self.command(rig)?;
        command.args(["--once", "--json"]);
        let (status, stdout, stderr) = process::run("selvedge core lake", command, LIMIT).await?;
        ensure!(status.success(), "{status}: {stderr}");
        serde_json::from_str(&stdout).with_context(|| stdout.clone())
    }
}
