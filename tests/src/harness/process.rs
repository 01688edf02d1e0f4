//! One child process: its log, its signals, its CPU time and memory. It never outlives the value that owns it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::until;

/// Lines of stdout that wait to be asked for.
const LINES: usize = 1_000;

/// A running child in a process group of its own, so that a Ctrl-C in the terminal reaches it only through us.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    lines: Mutex<mpsc::Receiver<String>>,
    /// How long it may take to end by itself when the value that owns it goes.
    grace: Duration,
}

// === impl Process ===

impl Process {
    /// Starts `command`; what it says on stderr is appended to `log`, what it prints on stdout comes by [`Process::line`].
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let stderr = File::options().create(true).append(true).open(log).with_context(|| format!("opening {log:?}"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}: {:?}", command.get_program()))?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("{name} has no stdout"))?;
        let (sender, lines) = mpsc::sync_channel(LINES);
        // Reads to the end, so that the child never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                // What nobody asks for is let go.
                if matches!(sender.try_send(line), Err(mpsc::TrySendError::Disconnected(_))) {
                    break;
                }
            }
        });
        let (name, log, lines) = (name.to_owned(), log.to_owned(), Mutex::new(lines));
        Ok(Self { name, child, log, lines, grace: Duration::ZERO })
    }

    /// For one that has processes of its own, which it ends when it is asked to end: they would outlive it if it were killed.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line it prints on stdout.
    pub async fn line(&mut self, limit: Duration) -> Result<String> {
        let what = format!("a line from {}", self.name);
        let line =
            until(&what, limit, async || match self.lines.lock().unwrap_or_else(PoisonError::into_inner).try_recv() {
                Ok(line) => Some(Ok(line)),
                Err(mpsc::TryRecvError::Disconnected) => Some(Err(anyhow!("{} ended", self.name))),
                Err(mpsc::TryRecvError::Empty) => None,
            });
        line.await.and_then(|line| line).with_context(|| self.log_tail())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid() as i32).ok_or_else(|| anyhow!("{} has no pid", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Whether every thread of it is stopped: a signal reaches them one after another.
    pub fn stands_still(&self) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid())) else { return false };
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).map(|_| ()).with_context(|| format!("killing {}", self.name))
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM, and waits for its exit status.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let what = format!("{} to end after SIGTERM", self.name);
        until(&what, limit, async || self.child.try_wait().ok().flatten()).await.with_context(|| self.log_tail())
    }

    /// The CPU time its threads have used.
    pub fn cpu(&self) -> Result<Duration> {
        let mut ns = 0u64;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            // A thread may end while we look; its time is then lost, which is why rows measure settled processes.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            ns += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(ns))
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most it ever had resident, in bytes.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find(|line| line.starts_with(key)).with_context(|| format!("no {key}"))?;
        let kib: u64 = line.split_whitespace().nth(1).context("no value")?.parse()?;
        Ok(kib * 1024)
    }

    /// The last lines of its log, for error messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        format!("{} said last:\n{}", self.name, tail.join("\n"))
    }

    /// Its whole log.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.grace.is_zero() && self.running() && self.signal(Signal::TERM).is_ok() {
            let asked = Instant::now();
            while self.running() && asked.elapsed() < self.grace {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if self.running() {
            // Nothing is left to do about a child that cannot be killed.
            drop(self.kill());
        }
    }
}

/// The CPU time of all children that have ended and were waited for; to be compared before and after one.
pub fn cpu_of_ended() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit(')').next().unwrap_or_default();
    // Fields 16 and 17 of proc(5), of which the first two are before the name's end.
    let ticks = rest.split_whitespace().skip(13).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Runs `command` to its end, at most `limit`; its stdout and stderr as text.
pub async fn run(name: &str, command: Command, limit: Duration) -> Result<(ExitStatus, String, String)> {
    let start = Instant::now();
    let output = tokio::process::Command::from(command).kill_on_drop(true).stdin(Stdio::null()).output();
    let Ok(output) = tokio::time::timeout(limit, output).await else {
        bail!("{name} did not end within {:?}", start.elapsed());
    };
    let output = output.with_context(|| format!("running {name}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status, text(output.stdout), text(output.stderr)))
}
