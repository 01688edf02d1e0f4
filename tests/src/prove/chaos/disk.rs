//! The disk: files of outbox and store damaged, the outbox and the disk full.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Ground, LIMIT};
use crate::harness::{Answer, Client, Line, Node, NodeSpec, Random, until};

/// Batches that fill an outbox of [`SMALL`].
const BATCHES: usize = 2_000;
const SMALL: &str = "1MiB";
/// The small file system.
const DISK: &str = "48m";

impl Ground {
    /// Segments that the core has acknowledged: nothing may be lost, and nothing be told twice.
    pub(super) async fn damage_sent(&mut self) -> Result<()> {
        let traffic = Arc::clone(&self.traffic);
        let quiet = traffic.quiet().await;
        self.drained().await?;
        let spec = self.take_down()?;
        let damaged = damage(&mut self.random, &files(&spec.data().join("outbox"), ".seg")?, 3, true)?;
        ensure!(damaged > 0, "there was no segment to damage");
        self.bring_back(spec).await?;
        drop(quiet);
        Ok(())
    }

    /// Segments that nobody else has: what is lost is told.
    pub(super) async fn damage_unsent(&mut self) -> Result<()> {
        let traffic = Arc::clone(&self.traffic);
        self.proxy.set(Line::Cut);
        self.decisions_go_on(200).await?;
        let quiet = traffic.quiet().await;
        let spec = self.take_down()?;
        let mut segments = files(&spec.data().join("outbox"), ".seg")?;
        segments.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("events-")));
        damage(&mut self.random, &segments, 1, false)?;
        self.bring_back(spec).await?;
        self.mend_line();
        self.node()?.wait_for("ready", LIMIT).await?;
        self.drained().await?;
        self.take();
        let mut arrived = self.pending.len();
        // All that will come is in the stream.
        loop {
            self.read_on().await;
            if self.pending.len() == arrived {
                break;
            }
            arrived = self.pending.len();
        }
        let lost_bytes = self.node()?.metrics().await?.sum("selvedge_outbox_lost_bytes_total", &[]);
        let lost = self.pending.len() as u64;
        let turn = self.turn;
        self.findings.check(lost == 0 || lost_bytes > 0.0, || {
            format!("fault {turn}: {lost} events were lost with a damaged segment and the node does not say so")
        });
        self.row.lost += lost;
        self.pending.clear();
        drop(quiet);
        Ok(())
    }

    /// Any file of the features' store.
    pub(super) async fn damage_store(&mut self) -> Result<()> {
        let spec = self.take_down()?;
        let files = files(&spec.data().join("features"), "")?;
        let damaged = damage(&mut self.random, &files, 1 + self.turn % 8, true)?;
        ensure!(damaged > 0, "there was no file to damage");
        self.bring_back(spec).await
    }

    /// Another node with a small outbox and no core: it refuses events when it is full, tells when to come again, and decides.
    pub(super) async fn fill_outbox(&mut self) -> Result<()> {
        let name = format!("small-{}", self.turn);
        let spec = NodeSpec { nats: self.proxy.url(), ..self.rig.spec(&name) };
        let node = Node::start(spec.set(format!("outbox.max_events={SMALL}"))).await?;
        node.wait_for("ready", LIMIT).await?;
        self.proxy.set(Line::Cut);
        let full = self.pour(&node, &name).await?;
        self.findings.check(full, || format!("{name}: an outbox of {SMALL} took everything"));
        self.mend_line();
        self.takes_again(&node, &name).await?;
        drop(node.terminate().await?);
        self.events_arrive().await
    }

    /// Another node on a small file system that somebody else fills.
    pub(super) async fn fill_disk(&mut self) -> Result<bool> {
        let name = format!("disk-{}", self.turn);
        let mut spec = NodeSpec { nats: self.proxy.url(), ..self.rig.spec(&name) };
        let data = spec.data();
        fs::create_dir_all(&data)?;
        let mount = format!("mount -t tmpfs -o size={DISK} tmpfs \"$0\" && exec \"$@\"");
        spec.around =
            ["unshare", "-rm", "sh", "-c", &mount].iter().map(Into::into).chain([data.clone().into()]).collect();
        let mut trial = Command::new(&spec.around[0]);
        if !trial.args(&spec.around[1..]).arg("true").output().is_ok_and(|output| output.status.success()) {
            self.findings
                .note(format!("{name}: no file system can be mounted here (unshare -rm), so no disk was full"));
            return Ok(false);
        }
        let node = Node::start(spec).await?;
        node.wait_for("ready", LIMIT).await?;
        // Its mount is seen through the process alone.
        let inside =
            PathBuf::from(format!("/proc/{}/root", node.process.pid())).join(data.strip_prefix("/").unwrap_or(&data));
        let filler = inside.join("filler");
        fill(&filler)?;
        let full = self.pour(&node, &name).await?;
        self.findings.check(full, || format!("{name}: a disk of {DISK} that is full took everything"));
        fs::remove_file(&filler)?;
        self.takes_again(&node, &name).await?;
        drop(node.terminate().await?);
        self.events_arrive().await?;
        Ok(true)
    }

    /// Sends events until some are refused. Whether any were.
    async fn pour(&mut self, node: &Node, name: &str) -> Result<bool> {
        let mut client = node.client();
        for batch in 0..BATCHES {
            let ids: Vec<String> = (0..50).map(|at| format!("{name}-{}", batch * 50 + at)).collect();
            let answer = send(&mut client, &ids, &mut self.random).await?;
            let decision = client.post("/v1/decide", &json!({"placement": "home-hero"})).await?;
            self.row.decisions += 1;
            self.findings.check(decision.status == 200, || format!("{name}: a decision of a full node: {decision:?}"));
            if answer.status == 202 {
                self.row.accepted += ids.len() as u64;
                self.pending.extend(ids);
                continue;
            }
            self.row.refused += ids.len() as u64;
            let told = answer.status == 503 && answer.headers.contains_key("retry-after");
            self.findings.check(told, || format!("{name}: refused with {} {}", answer.status, answer.text()));
            return Ok(true);
        }
        Ok(false)
    }

    /// Events are taken again.
    async fn takes_again(&mut self, node: &Node, name: &str) -> Result<()> {
        let mut client = node.client();
        let ids: Vec<String> = (0..50).map(|at| format!("{name}-{}", BATCHES * 50 + at)).collect();
        let random = &mut self.random;
        until("events to be taken again", LIMIT, async || {
            let answer = send(&mut client, &ids, random).await.ok()?;
            (answer.status == 202).then_some(())
        })
        .await
        .with_context(|| node.process.log_tail())?;
        self.row.accepted += ids.len() as u64;
        self.pending.extend(ids);
        until("the outbox to be empty", LIMIT, async || {
            let metrics = node.metrics().await.ok()?;
            (metrics.sum("selvedge_outbox_backlog_bytes", &[]) == 0.0).then_some(())
        })
        .await
    }
}

/// Events that do not compress.
async fn send(client: &mut Client, ids: &[String], random: &mut Random) -> Result<Answer> {
    let batch: Vec<Value> = ids
        .iter()
        .map(|id| {
            let text: String = (0..64).map(|_| format!("{:016x}", random.bits())).collect();
            json!({"event": "view_item", "messageId": id, "properties": {"text": text}})
        })
        .collect();
    client.post("/v1/events", &json!({ "batch": batch })).await
}

/// Writes a file until there is no more room.
fn fill(path: &Path) -> Result<()> {
    let file = File::create(path)?;
    let piece = vec![0x5a; 64 << 10];
    let mut at = 0;
    for size in [piece.len(), 512] {
        while file.write_all_at(&piece[..size], at).is_ok() {
            at += size as u64;
        }
    }
    Ok(())
}

/// The files below `folder` whose names end in `ending`, in order.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Turns bits around in some of `files`, or cuts them off; how often.
fn damage(random: &mut Random, files: &[PathBuf], times: usize, cut: bool) -> Result<usize> {
    let files: Vec<&PathBuf> =
        files.iter().filter(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0)).collect();
    if files.is_empty() {
        return Ok(0);
    }
    for _ in 0..times {
        let path = random.pick(&files);
        let file = File::options().read(true).write(true).open(path)?;
        let at = random.below(file.metadata()?.len().max(1));
        if cut && random.below(2) == 0 {
            file.set_len(at)?;
            continue;
        }
        let mut byte = [0];
        if file.read_at(&mut byte, at)? == 1 {
            file.write_all_at(&[byte[0] ^ 1 << random.below(8)], at)?;
        }
    }
    Ok(times)
}
