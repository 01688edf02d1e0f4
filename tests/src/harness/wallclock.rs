//! A wall clock that a proof sets: a small library in C, put in front of the C library's in a process that we start.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::binary;

/// The clock of the processes that are started with [`WallClock::environment`].
#[derive(Debug)]
pub struct WallClock {
    seconds: File,
    environment: Vec<(OsString, OsString)>,
}

// === impl WallClock ===

impl WallClock {
    /// Compiles the library into `folder`; the clock is right at first.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let [library, seconds] = ["clock.so", "seconds"].map(|name| folder.join(name));
        let source = binary::repository().join("tests/c/clock.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let output = compile.output().context("running cc")?;
        ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&seconds)?;
        let environment =
            vec![("LD_PRELOAD".into(), library.into()), ("SELVEDGE_TEST_CLOCK".into(), seconds.into_os_string())];
        let clock = Self { seconds: file, environment };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it `seconds` after the right time, or before it.
    pub fn set(&self, seconds: i64) -> Result<()> {
        Ok(self.seconds.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    /// What a process is started with so that this is its clock.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        self.environment.clone()
    }
}
