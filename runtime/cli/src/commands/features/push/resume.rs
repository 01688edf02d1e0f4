//! Where a push stands, in a file beside the one it reads, so that the next one can go on there. Owns that file: it tells which
//! rows of which file went into which buckets, and one about anything else is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use selvedge_decision::{Digest, TimeUs};
use serde::{Deserialize, Serialize};

use crate::files::{read_file, write_file};
use crate::output::Output;

/// How often it is written while rows go: as much at most goes again after a crash.
const KEPT_EVERY: Duration = Duration::from_secs(1);
const MAX_BYTES: u64 = 1 << 20;
const VERSION: u32 = 1;

/// Where a push stands.
pub(super) struct Resume {
    path: PathBuf,
    state: State,
    kept: Instant,
    is_there: bool,
    /// It could not be written; said once.
    is_broken: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    /// Of the file with the rows: sha256.
    file: Digest,
    view: String,
    /// When each bucket was made, in microseconds since 1970.
    buckets: BTreeMap<String, TimeUs>,
    /// How many rows, from the first on, the core has acknowledged.
    acknowledged: u64,
}

// === impl Resume ===

impl Resume {
    /// Nothing written yet, of `bytes` at `file`, into these buckets.
    pub(super) fn new(file: &Path, view: &str, bytes: &[u8], buckets: Vec<(String, TimeUs)>) -> Self {
        let mut path = file.as_os_str().to_owned();
        path.push(format!(".{view}.push"));
        let state = State {
            version: VERSION,
            file: Digest::of(bytes),
            view: view.to_owned(),
            buckets: buckets.into_iter().collect(),
            acknowledged: 0,
        };
        let path = PathBuf::from(path);
        Self { is_there: path.exists(), path, state, kept: Instant::now(), is_broken: false }
    }

    /// How many rows need not be sent, because the push before did. Refuses where that cannot be known.
    pub(super) fn go_on(&mut self, output: &Output) -> anyhow::Result<u64> {
        let at = self.path.display();
        if !self.is_there {
            output.talk(format_args!(
                "{at} is not there: no push of this file was stopped, so it begins with the first row"
            ));
            return Ok(0);
        }
        let anew = "push it from the first row on, without --resume";
        let bytes = read_file(&self.path, MAX_BYTES)?;
        let then: State = serde_json::from_slice(&bytes).with_context(|| format!("{at} cannot be read; {anew}"))?;
        ensure!(then.version == VERSION, "{at} was written by another version of selvedge; {anew}");
        ensure!(then.view == self.state.view, "{at} is about view {:?}; {anew}", then.view);
        ensure!(
            then.file == self.state.file,
            "the file was changed since the push that was stopped behind row {}; {anew}",
            then.acknowledged
        );
        let shards = self.state.buckets.len();
        ensure!(
            then.buckets.len() == shards,
            "{} buckets then, {shards} now: the shards differ; {anew}",
            then.buckets.len()
        );
        for (bucket, made_us) in &self.state.buckets {
            if then.buckets.get(bucket) != Some(made_us) {
                bail!("the bucket of {bucket} is not the one that the rows before went to; {anew}");
            }
        }
        self.state.acknowledged = then.acknowledged;
        output.talk(format_args!("goes on behind row {}, as {at} says", then.acknowledged));
        Ok(then.acknowledged)
    }

    /// Begins with the first row.
    pub(super) fn begin_anew(&self, output: &Output) -> u64 {
        if self.is_there {
            let at = self.path.display();
            output
                .talk(format_args!("{at} tells of a push that was stopped; begins anew (--resume would go on there)"));
        }
        0
    }

    /// So many rows are acknowledged; written down now and then.
    pub(super) fn reached(&mut self, acknowledged: u64, output: &Output) {
        self.state.acknowledged = acknowledged;
        if self.kept.elapsed() >= KEPT_EVERY {
            self.keep(output);
        }
    }

    /// It ends here, before the last row.
    pub(super) fn stopped(&mut self, acknowledged: u64, output: &Output) {
        self.state.acknowledged = acknowledged;
        self.keep(output);
    }

    /// All rows are acknowledged: there is nothing to go on with.
    pub(super) fn is_done(&self, output: &Output) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound && self.is_there => {
                output.talk(format_args!("cannot remove {}: {error}", self.path.display()));
            }
            _ => {}
        }
    }

    fn keep(&mut self, output: &Output) {
        self.kept = Instant::now();
        let written =
            serde_json::to_vec(&self.state).map_err(Into::into).and_then(|json| write_file(&self.path, &json));
        match written {
            Ok(()) => self.is_there = true,
            Err(_) if self.is_broken => {}
            Err(error) => {
                self.is_broken = true;
                output.talk(format_args!("{error:#}; a push that is stopped cannot be resumed"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn resume(folder: &Path, bytes: &[u8], buckets: &[(&str, TimeUs)]) -> Resume {
        let buckets = buckets.iter().map(|(name, made_us)| ((*name).to_owned(), *made_us)).collect();
        Resume::new(&folder.join("rows.csv"), "user", bytes, buckets)
    }

    #[test]
    fn a_push_goes_on_where_the_one_before_was_stopped() {
        let output = Output::new(false);
        let folder = tempfile::tempdir().unwrap();
        let bucket = [("user", 7)];
        assert_eq!(resume(folder.path(), b"rows", &bucket).go_on(&output).unwrap(), 0, "nothing was stopped");
        resume(folder.path(), b"rows", &bucket).stopped(41, &output);
        let mut again = resume(folder.path(), b"rows", &bucket);
        assert_eq!(again.go_on(&output).unwrap(), 41);
        again.reached(50, &output);
        let refused = |mut resume: Resume| resume.go_on(&output).unwrap_err().to_string();
        for (resume, expected) in [
            (resume(folder.path(), b"other", &bucket), "changed"),
            (resume(folder.path(), b"rows", &[("user", 8)]), "is not the one"),
            (resume(folder.path(), b"rows", &[("user_0", 7)]), "is not the one"),
            (resume(folder.path(), b"rows", &[("user_0", 7), ("user_1", 7)]), "shards differ"),
        ] {
            let told = refused(resume);
            assert!(told.contains(expected) && told.contains("without --resume"), "{told}");
        }
        fs::write(folder.path().join("rows.csv.user.push"), "{").unwrap();
        assert!(refused(resume(folder.path(), b"rows", &bucket)).contains("cannot be read"));
        again.is_done(&output);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of it");
    }
}
