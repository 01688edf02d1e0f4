//! `selvedge core init`: the stream and the buckets, made once with settings that were thought about, and a word on what an
//! acknowledgement of this server is worth.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use selvedge_decision::definition::{ByteSize, FeaturesDef, Span};
use selvedge_node::features::entity::bucket_names;
use selvedge_node::link::nats::setup::{Found, Part, Setup};
use serde_json::{Value, json};

use super::{counted, features_of};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

/// How long the server's monitoring port may take.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_ANSWER: u64 = 4 << 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nodes make what they find missing, with the defaults and one replica; run this before the first of them \
    where that is not what you want. What is there already is not touched without --update."
)]
pub(crate) struct Args {
    #[command(flatten)]
    core: CoreArgs,
    /// A release folder: the buckets of its views are made, too.
    #[arg(long, value_name = "DIR")]
    release: Option<PathBuf>,
    /// Servers that keep each message: 1, or 3 or 5 in a cluster.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = replicas)]
    replicas: u8,
    /// How long the core keeps events, such as 30d; "0" for ever. What reads them, the lake for instance, must be faster.
    #[arg(long, default_value = "30d", value_name = "SPAN", value_parser = span)]
    events_age: Bound<Span>,
    /// How much of them, such as 50GiB; "0" for no bound.
    #[arg(long, default_value = "0", value_name = "SIZE", value_parser = size)]
    events_size: Bound<u64>,
    /// How long a session is kept that no node writes any more: as `sessions.keep` of the nodes.
    #[arg(long, default_value = "24h", value_name = "SPAN", value_parser = span)]
    sessions_keep: Bound<Span>,
    /// Change settings that differ.
    #[arg(long)]
    update: bool,
    /// The server's monitoring port, such as 127.0.0.1:8222: says how durable an acknowledgement is.
    #[arg(long, value_name = "HOST:PORT")]
    monitor: Option<String>,
}

/// A bound, or none where 0 is said.
#[derive(Debug, Clone, Copy)]
struct Bound<T>(Option<T>);

fn replicas(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(replicas @ (1 | 3 | 5)) => Ok(replicas),
        Ok(2 | 4) => {
            Err("an even number survives no more servers than one less, because more than half of them must answer: \
                          1, 3 or 5"
                .to_owned())
        }
        _ => Err("expected 1, 3 or 5".to_owned()),
    }
}

fn span(text: &str) -> Result<Bound<Span>, String> {
    let bound = if text == "0" { None } else { Some(Span::try_from(text.to_owned())?) };
    Ok(Bound(bound))
}

fn size(text: &str) -> Result<Bound<u64>, String> {
    let bound = if text == "0" { None } else { Some(ByteSize::try_from(text.to_owned())?.bytes()) };
    Ok(Bound(bound))
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let duration = |bound: Bound<Span>| bound.0.map(|span| Duration::from_micros(span.us().unsigned_abs()));
        let features = self.release.as_deref().map(features_of).transpose()?;
        let setup = Setup {
            replicas: usize::from(self.replicas),
            events_bytes: self.events_size.0,
            events_age: duration(self.events_age),
            sessions_keep: duration(self.sessions_keep).unwrap_or_default(),
            views: features.as_ref().map(rows).unwrap_or_default(),
            counted: features.as_ref().map(counted).unwrap_or_default(),
        };
        let parts = block_on(1, async {
            let nats = self.core.connect().await?;
            Ok(nats.set_up(&setup, self.update).await?)
        })?;
        let mut all_well = true;
        for part in &parts {
            all_well &= !matches!(part.found, Found::Differs(_));
            tell(part, output)?;
        }
        let (state, found) = durability(self.replicas, self.monitor.as_deref());
        output.data(&json!({ "ack": state, "found": found }), format_args!("ack      {found}"))?;
        if !all_well {
            output.talk("settings that differ were left as they are; --update changes them");
        }
        Ok(Outcome::of(all_well))
    }
}

fn tell(part: &Part, output: &Output) -> anyhow::Result<()> {
    let (state, differs) = match &part.found {
        Found::Made => ("made", &[][..]),
        Found::There => ("there", &[][..]),
        Found::Differs(differs) => ("differs", &differs[..]),
        Found::Updated(differs) => ("updated", &differs[..]),
    };
    let value = json!({ "state": state, "kind": part.kind, "name": part.name, "differs": differs });
    let told = if differs.is_empty() { String::new() } else { format!(": {}", differs.join("; ")) };
    output.data(&value, format_args!("{state:<8} {} {}{told}", part.kind, part.name))
}

/// The buckets of a release's views of rows.
fn rows(features: &FeaturesDef) -> Vec<String> {
    let views = features.view.iter().filter(|(_, def)| def.aggregates.is_empty());
    views.flat_map(|(view, def)| bucket_names(view, def.shards)).collect()
}

/// What an acknowledgement is worth: a word for programs, and a sentence.
fn durability(replicas: u8, monitor: Option<&str>) -> (&'static str, String) {
    if replicas >= 3 {
        let most = replicas / 2 + 1;
        return ("replicated", format!("an event that the core acknowledged is on {most} of {replicas} servers"));
    }
    let Some(monitor) = monitor else {
        let why = "with one replica an acknowledged event is durable only if the server syncs at once (jetstream { sync_interval: \
                   always }); --monitor HOST:8222 asks it";
        return ("unknown", why.to_owned());
    };
    match sync_interval(monitor) {
        Ok(None) => ("durable", format!("{monitor} syncs at once: what it acknowledged survives a power cut")),
        Ok(Some(interval)) => (
            "not-durable",
            format!(
                "{monitor} syncs every {} s: a power cut loses what it acknowledged since the last time, and nodes have deleted \
                 it by then. Set jetstream {{ sync_interval: always }}, or use 3 replicas",
                interval.as_secs()
            ),
        ),
        Err(error) => ("unknown", format!("{monitor} does not say how it syncs: {error:#}")),
    }
}

/// How often the server syncs; `None` for at once.
fn sync_interval(monitor: &str) -> anyhow::Result<Option<Duration>> {
    let host = monitor.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(MONITOR_TIMEOUT))?;
    stream.set_write_timeout(Some(MONITOR_TIMEOUT))?;
    // HTTP/1.0: the answer comes in one piece and ends with the connection.
    write!(stream, "GET /varz HTTP/1.0\r\nhost: {host}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    let varz: Value = serde_json::from_str(body).context("no JSON")?;
    let config = &varz["jetstream"]["config"];
    anyhow::ensure!(config.is_object(), "JetStream is not on");
    if config["sync_always"] == true {
        return Ok(None);
    }
    let nanos = config["sync_interval"].as_u64().context("no jetstream.config.sync_interval in /varz")?;
    Ok(Some(Duration::from_nanos(nanos)))
}
