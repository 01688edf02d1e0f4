//! What arrived in the core, counted from the stream itself, and whether every record replays to the same bytes.

use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::until;

use crate::releases::Releases;
use crate::site::Site;
use crate::traffic::Tally;

const LIMIT: Duration = Duration::from_secs(30);

/// What the stream holds, each (node, epoch, lane, seq) once.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) events: u64,
    pub(crate) records: u64,
}

/// What `selvedge replay` says.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) replayed: u64,
    pub(crate) different: u64,
}

/// Waits until the node has nothing left to send, then counts. What is missing then is missing.
pub(crate) async fn drain(site: &Site, tally: &Tally) -> Result<Counted> {
    let mut counted = Counted { events: 0, records: 0 };
    let mut stream = Stream::open(&site.rig.nats.url()).await?;
    let all = until("everything to arrive in the stream", LIMIT, async || {
        stream.read_on().await.ok()?;
        counted = Counted { events: stream.events.len() as u64, records: stream.records.len() as u64 };
        (counted.events >= tally.events_accepted && counted.records >= tally.decisions).then_some(())
    });
    // The report says what is missing, and fails for it.
    drop(all.await);
    Ok(counted)
}

/// Replays every decision record of the stream with the release it was decided with.
pub(crate) async fn replay(site: &Site, releases: &Releases) -> Result<Replayed> {
    let args = ["replay".as_ref(), "nats".as_ref(), "--release".as_ref(), releases.first.as_os_str()];
    let ran = site.rig.cli.run(args.into_iter().chain([
        "--release".as_ref(),
        releases.second.as_os_str(),
        "--json".as_ref(),
    ]));
    let ran = ran.await?;
    let value: serde_json::Value = serde_json::from_str(ran.stdout.trim())
        .with_context(|| format!("selvedge replay: {}{}", ran.stdout, ran.stderr))?;
    let number = |key: &str| value[key].as_u64().with_context(|| format!("no {key:?} in {value}"));
    Ok(Replayed { replayed: number("replayed")?, different: number("different")? })
}
