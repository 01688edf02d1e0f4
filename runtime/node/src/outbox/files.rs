//! The file layer: the only calls that touch segment files. Owns the failure model of the tests: faults are a small list
//! beside the directory, so that a failing fdatasync, a short write or a full disk happens on command.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::log::Done;

/// How many damaged segments are kept for whoever can read more of them; the oldest go first.
pub(super) const MAX_DAMAGED_FILES: usize = 8;
/// What the name of a damaged segment that is done ends with.
const DAMAGED: &str = ".damaged";

/// The directory of the segments.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    dir: PathBuf,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// A segment's file, open for writing.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    #[cfg(test)]
    faults: Faults,
}

/// What the next calls do instead of working, in order of the calls they concern.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(std::sync::Arc<std::sync::Mutex<Vec<FileFault>>>);

/// One call that goes wrong.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFault {
    /// An fdatasync fails, and what was written since the last one may or may not be on disk.
    Sync,
    /// A write stops after so many bytes, as if the disk were full.
    WriteStopsAfter(usize),
    /// A write takes only so many bytes and says so: no error, the rest has to be written again.
    ShortWrite(usize),
    /// A file cannot be created.
    Create,
    /// A file cannot be cut.
    Truncate,
}

// === impl Disk ===

impl Disk {
    /// The directory, made durably if it is not there.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|place| !place.exists()).collect();
        std::fs::create_dir_all(dir)?;
        for parent in missing.iter().filter_map(|made| made.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Creates a file whose entry in the directory is durable when this returns.
    pub(super) fn create(&self, name: &str) -> io::Result<DiskFile> {
        #[cfg(test)]
        if self.faults.take(|fault| *fault == FileFault::Create).is_some() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new().write(true).create_new(true).open(self.path(name))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(DiskFile {
            file,
            #[cfg(test)]
            faults: self.faults.clone(),
        })
    }

    /// Deletes a file. That it is gone need not be durable: whoever finds it again sends it again, under the same ids.
    pub(super) fn delete(&self, path: &Path) {
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %path.display(), %error, "cannot delete a segment that is done; it will be sent again");
        }
    }

    /// Lets a segment of which nothing is left to send go: deletes it, or renames it if it is damaged.
    pub(super) fn discard(&self, done: &Done) {
        if !done.damaged {
            return self.delete(&done.path);
        }
        if let Err(error) = self.set_aside(&done.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %done.path.display(), %error, "cannot rename a damaged segment; it will be sent again");
        }
    }

    fn set_aside(&self, path: &Path) -> io::Result<()> {
        let mut kept: Vec<_> = self
            .names()?
            .into_iter()
            .filter(|name| name.ends_with(DAMAGED))
            .map(|name| self.path(&name))
            .map(|path| (std::fs::metadata(&path).and_then(|file| file.modified()).ok(), path))
            .collect();
        kept.sort();
        for (_, oldest) in kept.iter().take((kept.len() + 1).saturating_sub(MAX_DAMAGED_FILES)) {
            tracing::warn!(file = %oldest.display(), MAX_DAMAGED_FILES, "deleted the oldest damaged segment");
            self.delete(oldest);
        }
        let mut name = path.as_os_str().to_owned();
        name.push(DAMAGED);
        std::fs::rename(path, &name)?;
        tracing::error!(file = %Path::new(&name).display(), "kept a damaged segment; what could be read of it was sent");
        Ok(())
    }

    /// The names in the directory.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.dir)?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

// === impl DiskFile ===

impl DiskFile {
    /// Writes all of `bytes` at `offset`.
    pub(super) fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        #[cfg(test)]
        match self.faults.take(|fault| matches!(fault, FileFault::WriteStopsAfter(_) | FileFault::ShortWrite(_))) {
            Some(FileFault::WriteStopsAfter(count)) => {
                self.file.write_all_at(&bytes[..count.min(bytes.len())], offset)?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(FileFault::ShortWrite(count)) => return self.file.write_at(&bytes[..count.min(bytes.len())], offset),
            _ => {}
        }
        self.file.write_at(bytes, offset)
    }

    /// Waits until all that was written is on disk (fdatasync).
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.take(|fault| *fault == FileFault::Sync).is_some() {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.sync_data()
    }

    /// Cuts the file to `length` bytes.
    pub(super) fn truncate(&self, length: u64) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.take(|fault| *fault == FileFault::Truncate).is_some() {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.set_len(length)
    }
}

// === impl Faults ===

#[cfg(test)]
impl Faults {
    /// Adds a fault for the next call it concerns.
    pub(super) fn add(&self, fault: FileFault) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(fault);
    }

    fn take(&self, concerns: impl Fn(&FileFault) -> bool) -> Option<FileFault> {
        let mut faults = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = faults.iter().position(concerns)?;
        Some(faults.remove(place))
    }
}
