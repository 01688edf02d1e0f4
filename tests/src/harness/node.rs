//! One node as a real process: its configuration, its start, its listeners, its metrics, its end.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Client, Process, binary, until};

/// The channel that nodes follow.
pub const CHANNEL: &str = "prod";

const START: Duration = Duration::from_secs(30);

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name, unique at its core.
    pub name: String,
    /// Its folder: configuration, log and data.
    pub folder: PathBuf,
    /// The core's address.
    pub nats: String,
    /// The public keys it trusts.
    pub trust: Vec<PathBuf>,
    /// More settings, each `section.key=value` as `--set` takes them.
    pub settings: Vec<String>,
    /// More of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The key that its admin listener wants.
    pub admin_key: Option<String>,
    /// A command that starts the rest of its command line, such as one that limits it; empty for none.
    pub around: Vec<OsString>,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// What it was started with.
    pub spec: NodeSpec,
    /// Its public listener.
    pub http: SocketAddr,
    /// Its admin listener.
    pub admin: SocketAddr,
    /// Its epoch, as 16 hex digits.
    pub epoch: String,
    /// The process.
    pub process: Process,
}

// === impl NodeSpec ===

impl NodeSpec {
    /// A node in `folder` on free ports of the loopback.
    pub fn new(name: &str, folder: &Path, nats: &str, trust: &Path) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            nats: nats.to_owned(),
            trust: vec![trust.to_owned()],
            // What a test drives shares the machine with the test: a node that shed scorers for it would answer otherwise than the test
            // expects. One that is about shedding says so itself.
            settings: vec!["modules.shed_above=0s".to_owned()],
            environment: Vec::new(),
            admin_key: None,
            around: Vec::new(),
        }
    }

    /// The same with one more setting.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Writes its `selvedge.toml`.
    pub(super) fn write_config(&self) -> Result<PathBuf> {
        let file = self.folder.join("selvedge.toml");
        fs::write(&file, self.config())?;
        Ok(file)
    }

    fn config(&self) -> String {
        let quote = |path: &Path| Value::from(path.display().to_string()).to_string();
        let trust: Vec<String> = self.trust.iter().map(|path| quote(path)).collect();
        format!(
            "[node]\nname = {:?}\ndata = {}\nchannel = {CHANNEL:?}\ntrust = [{}]\n\n\
             [http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\n\
             [link]\nkind = \"nats\"\n\n[link.nats]\nurl = {:?}\n\n\
             [releases]\npoll_every = \"500ms\"\n",
            self.name,
            quote(&self.data()),
            trust.join(", "),
            self.nats,
        )
    }
}

// === impl Node ===

impl Node {
    /// Starts it and waits until it listens; it need not be ready.
    pub async fn start(spec: NodeSpec) -> Result<Self> {
        fs::create_dir_all(&spec.folder)?;
        let config = spec.write_config()?;
        let mut words = spec.around.clone();
        words.push(binary::built("selvedge")?.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(spec.environment.iter().cloned());
        command.arg("node").arg("--config").arg(&config).current_dir(&spec.folder);
        for setting in &spec.settings {
            command.arg("--set").arg(setting);
        }
        let mut process = Process::spawn(&spec.name, &mut command, &spec.folder.join("log"))?;
        let line = process.line(START).await?;
        let line: Value = serde_json::from_str(&line).with_context(|| format!("{} printed {line:?}", spec.name))?;
        let text = |key: &str| line[key].as_str().with_context(|| format!("no {key:?} in {line}"));
        let (http, admin, epoch) = (text("http")?.parse()?, text("admin")?.parse()?, text("epoch")?.to_owned());
        Ok(Self { spec, http, admin, epoch, process })
    }

    /// A connection to the public listener.
    pub fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// A connection to the admin listener.
    pub fn admin(&self) -> Client {
        Client::new(self.admin).with_key(self.spec.admin_key.as_deref())
    }

    /// What `/readyz` says.
    pub async fn readiness(&self) -> Result<Value> {
        self.admin().get("/readyz").await?.json()
    }

    /// Waits until `/readyz` says `status`.
    pub async fn wait_for(&self, status: &str, limit: Duration) -> Result<Value> {
        let mut last = Value::Null;
        let what = format!("{} to be {status}", self.spec.name);
        let found = until(&what, limit, async || {
            last = self.readiness().await.unwrap_or_default();
            (last["status"] == status).then_some(())
        });
        found.await.with_context(|| format!("/readyz says {last}")).with_context(|| self.process.log_tail())?;
        Ok(last)
    }

    /// Waits until `/readyz` is not ready, and `code` among its reasons.
    pub async fn not_ready(&self, code: &str, limit: Duration) -> Result<()> {
        let mut last = Value::Null;
        let what = format!("{} not to be ready because of {code}", self.spec.name);
        let found = until(&what, limit, async || {
            last = self.readiness().await.unwrap_or_default();
            let named = last["reasons"].as_array().into_iter().flatten().any(|reason| reason["code"] == code);
            (last["status"] == "not_ready" && named).then_some(())
        });
        found.await.with_context(|| format!("/readyz says {last}")).with_context(|| self.process.log_tail())
    }

    /// Waits until it runs `release`.
    pub async fn runs(&self, release: &str, limit: Duration) -> Result<()> {
        let what = format!("{} to run {release}", self.spec.name);
        let mut admin = self.admin();
        let found = until(&what, limit, async || {
            let status = admin.get("/v1/status").await.ok()?.json().ok()?;
            (status["releases"]["active"]["release"] == release).then_some(())
        });
        found.await.with_context(|| self.process.log_tail())
    }

    /// What `/v1/status` says.
    pub async fn status(&self) -> Result<Value> {
        self.admin().get("/v1/status").await?.ok()
    }

    /// What `/v1/status` says of one view; an error when the node does not hold it.
    pub async fn view(&self, name: &str) -> Result<Value> {
        let status = self.status().await?;
        let views = status["features"].as_array().context("no views")?;
        let found = views.iter().find(|view| view["view"] == name);
        found.cloned().with_context(|| format!("the node does not hold view {name:?}"))
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Result<Metrics> {
        let answer = self.admin().get("/metrics").await?;
        if !answer.status.is_success() {
            bail!("/metrics: {}", answer.status);
        }
        Ok(Metrics { text: answer.text() })
    }

    /// SIGKILL; the folder stays for the next start.
    pub fn kill(mut self) -> Result<NodeSpec> {
        self.process.kill()?;
        Ok(self.spec)
    }

    /// SIGTERM; its exit status and the folder for the next start.
    pub async fn terminate(mut self) -> Result<(NodeSpec, ExitStatus)> {
        let status = self.process.terminate(Duration::from_secs(30)).await?;
        Ok((self.spec, status))
    }
}

/// A scrape of `/metrics`, in the Prometheus text format.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

// === impl Metrics ===

impl Metrics {
    /// The sum of the samples of `name` whose labels contain each of `labels`, written `key="value"`; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.samples(name)
            .filter(|(found, _)| labels.iter().all(|label| found.contains(label)))
            .map(|(_, value)| value)
            .sum()
    }

    /// An upper bound of quantile `q` of histogram `name` over all its labels, in its unit: the bound of the bucket it falls
    /// into.
    pub fn quantile(&self, name: &str, q: f64) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, count) in self.samples(&format!("{name}_bucket")) {
            let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        let total = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
        let found = buckets.iter().filter(|(_, count)| *count >= q * total).map(|(bound, _)| *bound);
        (total > 0.0).then(|| found.fold(f64::INFINITY, f64::min))
    }

    fn samples<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None => ("", rest),
            };
            (labels.is_empty() == rest.starts_with(' ')).then_some(())?;
            Some((labels, value.trim().split(' ').next()?.parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_by_name_and_labels() {
        let metrics = Metrics {
            text: "# TYPE faults counter\nfaults_total{kind=\"trap\",rung=\"0\"} 2\nfaults_total{kind=\"memory\"} 3\n\
                   faults_total_other 9\nage_bucket{le=\"1.0\"} 50\nage_bucket{le=\"5.0\"} 99\nage_bucket{le=\"+Inf\"} 100\nup 1\n"
                .into(),
        };
        assert_eq!(metrics.sum("faults_total", &[]), 5.0);
        assert_eq!(metrics.sum("faults_total", &["kind=\"trap\""]), 2.0);
        assert_eq!(metrics.sum("up", &[]), 1.0);
        assert_eq!(metrics.sum("absent", &[]), 0.0);
        assert_eq!(metrics.quantile("age", 0.5), Some(1.0));
        assert_eq!(metrics.quantile("age", 0.99), Some(5.0));
        assert_eq!(metrics.quantile("age", 1.0), Some(f64::INFINITY));
    }
}
