//! What a command says: data on standard output, as text or with `--json` as JSON, talk on standard error. Owns the two
//! channels and the outcomes; decides nothing.

use std::fmt;
use std::io::{self, Write as _};

use serde::Serialize;

/// How a command ended, when it could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Ok,
    /// Something was found that needs attention.
    Findings,
}

/// A mistake in how a command was called.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

// === impl Output ===

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether data is wanted as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One piece of data: `text` for people, or `value` as one line of JSON.
    pub(crate) fn data(&self, value: &impl Serialize, text: impl fmt::Display) -> anyhow::Result<()> {
        if self.json { self.json_line(value) } else { self.text_line(text) }
    }

    /// One line of JSON, asked for or not.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.write(&line)
    }

    /// One line of text as data.
    pub(crate) fn text_line(&self, text: impl fmt::Display) -> anyhow::Result<()> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// A word to the person who called.
    pub(crate) fn talk(&self, text: impl fmt::Display) {
        // When standard error is gone there is nobody left to tell.
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    /// Data that is lines already.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        if bytes.is_empty() { Ok(()) } else { self.write(bytes) }
    }

    fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }
}

impl Outcome {
    /// Findings when there are any.
    pub(crate) fn of(is_ok: bool) -> Self {
        if is_ok { Self::Ok } else { Self::Findings }
    }
}
