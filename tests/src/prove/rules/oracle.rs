//! The process that asks zen-engine. Owns its pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::generate::Case;
use crate::harness::binary;

/// The interpreter that has zen-engine; `./x prove` makes it and says where.
const PYTHON: &str = "SELVEDGE_PYTHON_RULES";

pub(super) struct Oracle {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

// === impl Oracle ===

impl Oracle {
    pub(super) fn start() -> Result<Self> {
        let python = std::env::var_os(PYTHON).with_context(|| {
            format!("{PYTHON} is not set: run this as `./x prove rules`, which installs zen-engine")
        })?;
        let mut child = Command::new(python)
            .arg(binary::repository().join("tests/python/zen_oracle.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the Python of zen-engine")?;
        let to = child.stdin.take().context("no standard input")?;
        let from = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, to, from })
    }

    /// zen's answer for every context of a case.
    pub(super) fn ask(&mut self, case: &Case) -> Result<Vec<Value>> {
        let mut line = serde_json::to_string(case)?;
        line.push('\n');
        self.to.write_all(line.as_bytes())?;
        self.to.flush()?;
        line.clear();
        self.from.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("zen-engine answered {line:?}"))
    }

    pub(super) fn finish(self) -> Result<()> {
        let Self { mut child, to, .. } = self;
        drop(to);
        let status = child.wait()?;
        ensure!(status.success(), "the Python of zen-engine ended with {status}");
        Ok(())
    }
}
