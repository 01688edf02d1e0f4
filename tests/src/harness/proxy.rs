//! A line between a node and its core, on the loopback, that a proof can cut, slow down and leave half-open, and on which
//! messages come twice and in another order. It knows NATS's protocol as far as frames go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Random;

/// How long a message is kept back for the next one to overtake it.
const OVERTAKEN: Duration = Duration::from_millis(5);
const CHUNK: usize = 64 << 10;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// All goes through.
    Whole,
    /// Connections break, and new ones too.
    Cut,
    /// What goes through takes so long, each piece after the other.
    Slow(Duration),
    /// Connections stay open and nothing goes through. Those that saw this are dead for good.
    HalfOpen,
    /// Some blocks on their way to the core, and some rows on their way back, come twice or after the next one.
    Untidy,
}

/// The line.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    untidy: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// One direction of one connection.
struct Way {
    line: watch::Receiver<Line>,
    random: Random,
    untidy: Arc<AtomicU64>,
    /// What may come twice or late has this in its subject.
    subject: &'static str,
}

// === impl Proxy ===

impl Proxy {
    /// A whole line to the server that listens on `port` of the loopback.
    pub async fn start(port: u16, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let line = Arc::new(watch::Sender::new(Line::Whole));
        let untidy = Arc::new(AtomicU64::new(0));
        let (sender, count) = (Arc::clone(&line), Arc::clone(&untidy));
        let task = tokio::spawn(async move {
            // In here, so that they end with the proxy.
            let mut connections = tokio::task::JoinSet::new();
            let mut random = Random::new(seed);
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                let way = |subject, seed| Way {
                    line: sender.subscribe(),
                    random: Random::new(seed),
                    untidy: Arc::clone(&count),
                    subject,
                };
                let (up, down) = (way(".events.", random.bits()), way("$KV.features_", random.bits()));
                connections.spawn(connection(client, port, up, down));
            }
        });
        Ok(Self { address, line, untidy, task })
    }

    /// Where a node connects.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Changes how the line is.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Messages so far that came twice, or after the next one.
    pub fn untidy(&self) -> u64 {
        self.untidy.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(client: TcpStream, port: u16, up: Way, down: Way) {
    if *up.line.borrow() == Line::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let nodelay = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    if nodelay.is_err() {
        return;
    }
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    // When one side is gone, so is the connection.
    tokio::select! {
        _ = up.carry(client_in, server_out) => {}
        _ = down.carry(server_in, client_out) => {}
    }
}

// === impl Way ===

impl Way {
    async fn carry(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
        let (mut frames, mut chunk) = (Frames::default(), vec![0; CHUNK]);
        let mut late: Option<Vec<u8>> = None;
        let mut dead = *self.line.borrow() == Line::HalfOpen;
        loop {
            let read = tokio::select! {
                changed = self.line.changed() => {
                    changed?;
                    let line = *self.line.borrow_and_update();
                    if line == Line::Cut {
                        return Ok(());
                    }
                    dead |= line == Line::HalfOpen;
                    continue;
                }
                () = tokio::time::sleep(OVERTAKEN), if late.is_some() => {
                    // Nothing overtook it.
                    to.write_all(&late.take().unwrap_or_default()).await?;
                    continue;
                }
                read = from.read(&mut chunk) => read?,
            };
            if read == 0 {
                return Ok(());
            }
            if dead {
                continue;
            }
            frames.bytes.extend_from_slice(&chunk[..read]);
            let line = *self.line.borrow();
            if let Line::Slow(delay) = line {
                tokio::time::sleep(delay).await;
            }
            while let Some(frame) = frames.next() {
                let draw = if line == Line::Untidy && frame.is_about(self.subject) { self.random.below(5) } else { 5 };
                self.untidy.fetch_add(u64::from(draw < 2), Ordering::Relaxed);
                match draw {
                    0 if late.is_none() => {
                        late = Some(frame.bytes);
                        continue;
                    }
                    1 => {
                        to.write_all(&frame.bytes).await?;
                        to.write_all(&frame.bytes).await?;
                    }
                    _ => to.write_all(&frame.bytes).await?,
                }
                if let Some(late) = late.take() {
                    to.write_all(&late).await?;
                }
            }
        }
    }
}

/// Cuts a stream of bytes into NATS's frames: a line, and for messages the bytes it announces.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
}

/// One of them.
#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    /// Where its line ends.
    line: usize,
}

// === impl Frames ===

impl Frames {
    fn next(&mut self) -> Option<Frame> {
        let line = self.bytes.windows(2).position(|two| two == b"\r\n")? + 2;
        let text = String::from_utf8_lossy(&self.bytes[..line]);
        let mut words = text.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        let payload = match verb.as_str() {
            // The last word is the size of what follows.
            "PUB" | "HPUB" | "MSG" | "HMSG" => words.last().and_then(|word| word.parse::<usize>().ok())? + 2,
            _ => 0,
        };
        if self.bytes.len() < line + payload {
            return None;
        }
        let rest = self.bytes.split_off(line + payload);
        Some(Frame { bytes: std::mem::replace(&mut self.bytes, rest), line })
    }
}

// === impl Frame ===

impl Frame {
    /// Whether it is a message with `part` in its subject.
    fn is_about(&self, part: &str) -> bool {
        let line = String::from_utf8_lossy(&self.bytes[..self.line]);
        let mut words = line.split_ascii_whitespace();
        let message = words.next().is_some_and(|verb| matches!(verb, "PUB" | "HPUB" | "MSG" | "HMSG"));
        message && words.next().is_some_and(|subject| subject.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        let whole = b"PING\r\nHPUB a.events.b _INBOX.1 12 16\r\nNATS/1.0\r\n\r\nab\r\n\r\nPUB x 0\r\n\r\n+OK\r\n";
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for byte in whole {
            frames.bytes.push(*byte);
            found.extend(frames.next());
        }
        let texts: Vec<_> = found.iter().map(|frame| String::from_utf8_lossy(&frame.bytes).into_owned()).collect();
        let expected =
            ["PING\r\n", "HPUB a.events.b _INBOX.1 12 16\r\nNATS/1.0\r\n\r\nab\r\n\r\n", "PUB x 0\r\n\r\n", "+OK\r\n"];
        assert_eq!(texts, expected);
        let about: Vec<_> = found.iter().map(|frame| frame.is_about(".events.")).collect();
        assert_eq!(about, [false, true, false, false]);
    }
}
