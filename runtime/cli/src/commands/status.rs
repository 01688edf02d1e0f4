//! `selvedge status`: where the channels point, and what every node runs or refuses.

use selvedge_build::channel::{Canary, Pointer, labels_text, time_text};
use selvedge_node::clock::Clock;
use selvedge_node::releases::NodeReport;
use serde::Serialize;

use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};
use crate::table::{Table, ago, short};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Findings are nodes that refuse what their channel points to, and channels that expired or cannot be \
    read."
)]
pub(crate) struct Args {
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    channels: Vec<Channel>,
    nodes: Vec<NodeReport>,
}

#[derive(Debug, Serialize)]
struct Channel {
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<Canary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let now_us = Clock::new().now_us();
        let report = block_on(0, async {
            let nats = self.core.connect().await?;
            let values = nats.channels().await?;
            let channels = values.iter().map(|(name, value)| channel(name, &value.bytes, now_us)).collect();
            anyhow::Ok(Report { channels, nodes: NodeReport::read_all(&nats).await? })
        })?;
        output.data(&report, text(&report, now_us))?;
        let troubled = report.nodes.iter().any(|node| node.refused.is_some());
        Ok(Outcome::of(!troubled && report.channels.iter().all(|channel| channel.problem.is_none())))
    }
}

fn channel(name: &str, value: &[u8], now_us: i64) -> Channel {
    let (release, canary, counter, expires, problem) = (None, None, None, None, None);
    let channel = Channel { channel: name.to_owned(), release, canary, counter, expires, problem };
    match Pointer::read(name, value) {
        Ok(pointer) => Channel {
            release: Some(pointer.release.to_string()),
            canary: pointer.canary,
            counter: Some(pointer.counter),
            expires: Some(time_text(pointer.expires_us)),
            problem: (pointer.expires_us <= now_us).then(|| "expired; deploy again".to_owned()),
            ..channel
        },
        Err(bad) => Channel { problem: Some(bad.to_string()), ..channel },
    }
}

/// A canary in few words: the release, its share, and where.
fn canary_text(canary: &Canary) -> String {
    let on = if canary.on.is_empty() { String::new() } else { format!(" where {}", canary.labels_text()) };
    format!("{} {}{on}", short(&canary.release.to_string()), canary.share_text())
}

fn text(report: &Report, now_us: i64) -> String {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let mut channels = Table::new(&["channel", "release", "canary", "counter", "expires", "problem"]);
    for channel in &report.channels {
        let counter = channel.counter.map_or("-".to_owned(), |counter| counter.to_string());
        let release = channel.release.as_deref().map_or("-".to_owned(), short);
        let (expires, problem) = (or_dash(channel.expires.as_deref()), or_dash(channel.problem.as_deref()));
        let canary = channel.canary.as_ref().map_or("-".to_owned(), canary_text);
        channels.row([channel.channel.clone(), release, canary, counter, expires, problem]);
    }
    let head = ["node", "labels", "channel", "runs", "name", "canary", "counter", "version", "reported", "refuses"];
    let mut nodes = Table::new(&head);
    for node in &report.nodes {
        let refuses = node.refused.as_ref().map_or("-".to_owned(), |refused| {
            let release = refused.release.as_deref().map_or(String::new(), |release| format!("{} ", short(release)));
            format!("{release}{}: {}", refused.code, refused.why)
        });
        let runs = node.release.as_deref().map_or("-".to_owned(), short);
        let (name, counter) = (or_dash(node.name.as_deref()), node.counter.to_string());
        let (version, reported) = (node.versions.runtime.clone(), ago(now_us, node.time_us));
        let labels = Some(labels_text(&node.labels)).filter(|labels| !labels.is_empty());
        let canary = match (&node.canary, &node.canary_dropped) {
            (Some(canary), _) => short(canary),
            (None, Some(dropped)) => format!("dropped {}", short(&dropped.release)),
            (None, None) => "-".to_owned(),
        };
        let (node, channel, labels) = (node.node.to_string(), node.channel.clone(), or_dash(labels.as_deref()));
        nodes.row([node, labels, channel, runs, name, canary, counter, version, reported, refuses]);
    }
    let channels = if report.channels.is_empty() { "no channel yet".to_owned() } else { channels.to_string() };
    let nodes = if report.nodes.is_empty() { "no node has reported yet".to_owned() } else { nodes.to_string() };
    format!("{channels}\n\n{nodes}")
}
