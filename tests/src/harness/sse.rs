//! A stream of server-sent events as bytes, to look into.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(60);

/// One open stream.
#[derive(Debug)]
pub struct Sse {
    socket: TcpStream,
    /// All that came, the answer's head first.
    pub text: String,
}

// === impl Sse ===

impl Sse {
    /// Opens `path` with these headers, which must be answered with events.
    pub async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n").as_bytes()).await?;
        let mut stream = Self { socket, text: String::new() };
        stream.says(&["200 OK", "text/event-stream", "\r\n\r\n"]).await?;
        Ok(stream)
    }

    /// Reads until all of it was said.
    pub async fn says(&mut self, parts: &[&str]) -> Result<()> {
        let read = async {
            while !parts.iter().all(|part| self.text.contains(part)) {
                ensure!(self.more().await, "the stream ended: {}", self.text);
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT, read).await.with_context(|| format!("{parts:?} was not said"))?
    }

    /// Whether it comes to its end.
    pub async fn ends(&mut self) -> bool {
        tokio::time::timeout(LIMIT, async { while self.more().await {} }).await.is_ok()
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes).await {
            Ok(count) if count > 0 => {
                self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
                true
            }
            _ => false,
        }
    }
}
