//! Connections: what a client keeps that does nothing with it, and a stop while it does.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::{Node, Rig, until};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(60);
/// Requests of one connection whose answers are more than all buffers between two ends hold.
const MANY: usize = 1_000;

/// Whoever asks and reads no answer keeps neither the answers nor the connection.
#[test]
fn a_client_that_reads_nothing_is_let_go() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let spec = rig.spec("edge-1").set("http.client_timeout=1s").set("http.max_connections=2");
        let node = Node::start(spec).await?;
        let mut deaf = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(node.http).await?;
            socket.write_all("GET /openapi.json HTTP/1.1\r\nhost: here\r\n\r\n".repeat(MANY).as_bytes()).await?;
            deaf.push(socket);
        }
        // Both places are taken: a third client waits for one of them.
        let answer = node.client().get("/openapi.json").await?;
        ensure!(answer.status == 200, "{}", answer.status);
        drop(deaf);
        Ok(())
    })
}

/// With every place taken by a request that does not end, a stop keeps time for what was answered before.
#[test]
fn a_stop_keeps_time_for_what_was_answered() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let release = rig.deploy(Shop::numbered(rig.path("shop"), 1)?.folder()).await?;
        let spec = rig.spec("edge-1").set("http.max_connections=2").set("node.stop_within=12s");
        let node = Node::start(spec).await?;
        node.runs(&release, LIMIT).await?;
        let mut client = node.client();
        let event = json!({"event": "view_item", "messageId": "m-1", "session": "s-1"});
        ensure!(client.post("/v1/events", &event).await?.status == 202);
        drop(client);
        // Bodies that do not come, of requests that are under way: the node says that it waits for them.
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(node.http).await?;
            let head = "POST /v1/decide HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
            socket.write_all(head.as_bytes()).await?;
            let mut said = [0; 12];
            tokio::time::timeout(LIMIT, socket.read_exact(&mut said)).await??;
            ensure!(&said == b"HTTP/1.1 100", "{}", String::from_utf8_lossy(&said));
            held.push(socket);
        }
        let log = node.spec.folder.join("log");
        let begun = Instant::now();
        let (_, status) = node.terminate().await?;
        ensure!(status.success() && begun.elapsed() < Duration::from_secs(10), "{status} after {:?}", begun.elapsed());
        let log = std::fs::read_to_string(log)?;
        ensure!(log.contains("some connections did not finish in time"), "the requests were to last: {log}");
        ensure!(!log.contains("not finished in the time a stop may take"), "{log}");
        let mut stream = Stream::open(&rig.nats.url()).await?;
        let arrived = until("the event to be at the core", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.events.len() == 1).then_some(())
        });
        arrived.await?;
        drop(held);
        Ok(())
    })
}
