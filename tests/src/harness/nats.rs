//! A real nats-server with JetStream: started, killed, stopped for a while and started again on the same port and folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::{Process, binary, until};

const START: Duration = Duration::from_secs(20);

/// The server and where it keeps its streams.
#[derive(Debug)]
pub struct NatsServer {
    folder: PathBuf,
    /// What is said in a configuration file, if there is one.
    config: Option<String>,
    port: u16,
    process: Option<Process>,
}

// === impl NatsServer ===

impl NatsServer {
    /// Starts one on a free port, with its data, log and ports file under `folder`.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, None).await
    }

    /// As [`NatsServer::start`], with a configuration file.
    pub async fn start_with(folder: &Path, config: Option<&str>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let config = config.map(str::to_owned);
        let mut server = Self { folder: folder.to_owned(), config, port: 0, process: None };
        server.launch().await?;
        Ok(server)
    }

    /// Where clients connect as `user`, whose password is `user`, too.
    pub fn url_of(&self, user: &str) -> String {
        format!("nats://{user}:{user}@127.0.0.1:{}", self.port)
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port it listens on, the same through restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its monitoring port, where its configuration has one.
    pub fn monitor(&self) -> Result<String> {
        let url = ports(&self.folder.join("ports")).and_then(|ports| Some(ports["monitoring"][0].as_str()?.to_owned()));
        let url = url.context("the server has no monitoring port")?;
        Ok(url.trim_start_matches("http://").to_owned())
    }

    /// SIGKILL; [`NatsServer::restart`] brings it back.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Starts it again, on the same port and folder.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.launch().await
    }

    /// SIGSTOP: from here connections stay open and nothing answers, as behind a broken line.
    pub async fn freeze(&self) -> Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        process.signal(Signal::STOP)?;
        until("nats-server to stand still", START, async || process.stands_still().then_some(())).await
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::CONT))
    }

    async fn launch(&mut self) -> Result<()> {
        let ports = self.folder.join("ports");
        fs::create_dir_all(&ports)?;
        for entry in fs::read_dir(&ports)? {
            fs::remove_file(entry?.path())?;
        }
        let mut command = Command::new(binary::nats_server()?);
        // -1 lets the server choose, so no other process can take the port between asking and starting.
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        command.args(["-js", "-a", "127.0.0.1", "-p", &port]);
        if let Some(config) = &self.config {
            let file = self.folder.join("nats.conf");
            fs::write(&file, config)?;
            command.arg("-c").arg(file);
        }
        command.arg("-sd").arg(self.folder.join("data")).arg("--ports_file_dir").arg(&ports);
        let mut process = Process::spawn("nats-server", &mut command, &self.folder.join("log"))?;
        let found = until("nats-server to write its ports file", START, async || {
            if !process.running() {
                return Some(None);
            }
            read_port(&ports).map(Some)
        });
        let found = found.await.with_context(|| process.log_tail())?;
        self.port = found.with_context(|| process.log_tail())?;
        self.process = Some(process);
        Ok(())
    }
}

fn ports(folder: &Path) -> Option<serde_json::Value> {
    let entry = fs::read_dir(folder).ok()?.find_map(Result::ok)?;
    serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()
}

fn read_port(folder: &Path) -> Option<u16> {
    ports(folder)?["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}
