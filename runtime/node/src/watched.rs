//! Files that are read again when they change, so that what they hold rotates without a restart: keys, certificates. Owns the look at
//! them once a second, and that files which are gone or broken change nothing but what `/readyz` says.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use selvedge_decision::TimeUs;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The bytes of each file.
type Bytes = Vec<Vec<u8>>;
/// Makes a value of the files' bytes; it is given the value before.
type Make<T> = dyn Fn(&[Vec<u8>], Option<&T>) -> Result<T, String> + Send + Sync;

/// A value made of files.
pub struct Watched<T> {
    setting: &'static str,
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    value: ArcSwap<T>,
    /// What was read last.
    read: Mutex<Result<Bytes, String>>,
    trouble: Mutex<Option<Trouble>>,
}

/// Files that cannot be used, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since_us: TimeUs,
    /// What is wrong; what was read before is still in use.
    pub why: String,
}

// === impl Watched ===

impl<T: Send + Sync + 'static> Watched<T> {
    /// The value that `make` makes of the files named by `setting`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or `make` refuses what they hold: at the start there is nothing to go on with.
    pub fn open(
        setting: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>], Option<&T>) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let named = |why: String| format!("{setting}: {why}");
        let bytes = read_all(&files).map_err(named)?;
        let value = make(&bytes, None).map_err(|why| named(format!("{}: {why}", names(&files))))?;
        Ok(Self {
            setting,
            files,
            make: Box::new(make),
            value: ArcSwap::from_pointee(value),
            read: Mutex::new(Ok(bytes)),
            trouble: Mutex::new(None),
        })
    }

    /// The value as the files have it, or had it last.
    pub fn get(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// What is wrong with the files.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files until `stop`.
    pub async fn run(self: Arc<Self>, clock: Clock, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let (this, now_us) = (Arc::clone(&self), clock.now_us());
            if tokio::task::spawn_blocking(move || this.look(now_us)).await.is_err() {
                tracing::error!(setting = self.setting, "files could not be looked at");
            }
        }
    }

    /// Reads the files, and makes a value of them if they changed.
    fn look(&self, now_us: TimeUs) {
        let found = read_all(&self.files);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *read == found {
            return;
        }
        let made = match &found {
            Ok(bytes) => {
                (self.make)(bytes, Some(&self.value.load())).map_err(|why| format!("{}: {why}", names(&self.files)))
            }
            Err(why) => Err(why.clone()),
        };
        *read = found;
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(value) => {
                self.value.store(Arc::new(value));
                *trouble = None;
                tracing::info!(setting = self.setting, "read again, and in use");
            }
            Err(why) => {
                tracing::error!(setting = self.setting, why, "cannot be used; what was read before stays in use");
                let since_us = trouble.as_ref().map_or(now_us, |trouble| trouble.since_us);
                *trouble = Some(Trouble { since_us, why });
            }
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    /// Says nothing of what the files hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("setting", &self.setting).field("files", &self.files).finish_non_exhaustive()
    }
}

fn names(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn read_all(files: &[PathBuf]) -> Result<Bytes, String> {
    let one = |file: &PathBuf| {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(file).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Err(error) => Err(format!("cannot read {}: {error}", file.display())),
            Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
                Err(format!("{} has more than {MAX_FILE_BYTES} bytes", file.display()))
            }
            Ok(_) => Ok(bytes),
        }
    };
    files.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_broken_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let number = |files: &[Vec<u8>], _: Option<&u32>| {
            let text = String::from_utf8_lossy(&files[0]).into_owned();
            text.trim().parse::<u32>().map_err(|error| error.to_string())
        };
        let open = || Watched::open("a.setting", vec![file.clone()], number);
        assert!(open().unwrap_err().starts_with("a.setting: cannot read "));
        std::fs::write(&file, "one").unwrap();
        assert!(open().unwrap_err().contains("number: invalid digit"));
        std::fs::write(&file, "1").unwrap();
        let watched = open().unwrap();
        let check = |content: Option<&str>, now_us: TimeUs, value: u32, since_us: Option<TimeUs>| {
            match content {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            watched.look(now_us);
            let since = watched.trouble().map(|trouble| trouble.since_us);
            assert_eq!((**watched.get(), since), (value, since_us), "{content:?}");
        };
        check(Some("1"), 1, 1, None);
        check(Some("2"), 2, 2, None);
        check(Some("x"), 3, 2, Some(3));
        check(Some("y"), 4, 2, Some(3));
        check(None, 5, 2, Some(3));
        check(Some("2"), 6, 2, None);
        check(Some(&"1".repeat(2 << 20)), 7, 2, Some(7));
        check(Some("3"), 8, 3, None);
    }
}
