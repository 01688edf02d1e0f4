//! The floor of HTTP: a bare axum server that says hello, in a process of its own as the node is.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use hyper::Method;

use super::load::Ask;
use crate::harness::{Process, binary};

/// A running hello.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) process: Process,
    pub(super) ask: Ask,
    // Holds its log.
    _folder: tempfile::TempDir,
}

/// Serves hello until it is killed; prints its address.
pub async fn serve() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let app = Router::new().route("/", post(|_body: Bytes| async { "hello" }));
    axum::serve(listener, app).await.context("serving hello")
}

// === impl Hello ===

impl Hello {
    /// Starts it, to be asked with `bodies`.
    pub(super) async fn start(bodies: Vec<Bytes>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(binary::built("bench")?);
        command.arg("--serve-hello");
        let mut process = Process::spawn("hello", &mut command, &folder.path().join("log"))?;
        let address = process.line(Duration::from_secs(10)).await?.parse()?;
        let ask = Ask { address, method: Method::POST, path: "/", bodies: Arc::new(bodies) };
        Ok(Self { process, ask, _folder: folder })
    }
}
