//! Compiled code on disk, so that a restart does not compile. Owns the files of `cache_dir` and the one place where their
//! bytes become code.
//!
//! A file is named by its key: SHA-256 over the module's digest and everything that shaped the code (exact version of
//! wasmtime, target, CPU features, every compiler and engine setting). Its bytes are magic, key, SHA-256 of the code, code.
//! A file that is torn, foreign or of another key is compiled anew and replaced. Whoever may write here may run code as the
//! node: the folder is made for the node's user alone.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use selvedge_decision::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::host::LoadError;

const MAGIC: [u8; 16] = *b"selvedge-aot\0\0\0\x01";
const HEADER_BYTES: usize = MAGIC.len() + 2 * size_of::<Digest>();
const ENDING: &str = "aot";
/// No compiled module is larger; a longer file is not read.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The cache; without a folder it compiles every time.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: Option<PathBuf>,
    max_bytes: u64,
    counts: CacheCounts,
    /// Tells apart the temporary files of one process.
    written: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct CacheCounts {
    /// Modules compiled.
    pub(crate) compiled: AtomicU64,
    /// Modules loaded from the cache.
    pub(crate) hits: AtomicU64,
    /// Files that were there and not trusted.
    pub(crate) refused: AtomicU64,
    /// Files removed to stay under the limit.
    pub(crate) evicted: AtomicU64,
}

// === impl Cache ===

impl Cache {
    pub(crate) fn open(folder: Option<&Path>, max_bytes: u64) -> io::Result<Self> {
        if let Some(folder) = folder {
            create_private(folder)?;
        }
        Ok(Self {
            folder: folder.map(Path::to_owned),
            max_bytes,
            counts: CacheCounts::default(),
            written: AtomicU64::new(0),
        })
    }

    pub(crate) fn counts(&self) -> &CacheCounts {
        &self.counts
    }

    /// The module's code: from the cache, else compiled and left there.
    pub(crate) fn component(&self, engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
        let key = key(engine, bytes);
        if let Some(component) = self.read(engine, key) {
            self.counts.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(component);
        }
        let component = Component::new(engine, bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        self.counts.compiled.fetch_add(1, Ordering::Relaxed);
        if let Some(folder) = &self.folder
            && let Err(error) = self.write(folder, key, &component)
        {
            tracing::warn!(folder = %folder.display(), %error, "compiled code not cached; the next start compiles again");
        }
        Ok(component)
    }

    fn read(&self, engine: &Engine, key: Digest) -> Option<Component> {
        let path = path(self.folder.as_ref()?, key);
        let refused = |why: String| {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(file = %path.display(), why, "cached code not trusted: compiling");
            None
        };
        let file = match read_bounded(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return refused(error.to_string()),
        };
        let Some(code) = checked(&file, key) else { return refused("torn, or not written for this key".into()) };
        match deserialize_code_this_node_compiled(engine, code) {
            Ok(component) => Some(component),
            Err(error) => refused(format!("{error:#}")),
        }
    }

    fn write(&self, folder: &Path, key: Digest, component: &Component) -> Result<(), Box<dyn std::error::Error>> {
        let code = component.serialize()?;
        let unique = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("{}-{unique}.tmp", std::process::id()));
        let written = write_private(&temporary, &[&MAGIC, &key.0, &Digest::of(&code).0, &code])
            .and_then(|()| fs::rename(&temporary, path(folder, key)));
        if written.is_err() {
            // The first error is the one to tell.
            drop(fs::remove_file(&temporary));
        }
        written?;
        self.evict(folder, key)?;
        Ok(())
    }

    /// Removes the oldest files until the rest fit, but not the one just written.
    fn evict(&self, folder: &Path, newest: Digest) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
        let newest = path(folder, newest);
        for (_, len, file) in files {
            let ours = file.extension().is_some_and(|ending| ending == ENDING || ending == "tmp");
            if total > self.max_bytes && ours && file != newest {
                fs::remove_file(&file)?;
                total -= len;
                self.counts.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

fn path(folder: &Path, key: Digest) -> PathBuf {
    folder.join(format!("{}.{ENDING}", key.hex()))
}

/// The code of a file that is whole and of this key.
fn checked(file: &[u8], key: Digest) -> Option<&[u8]> {
    let (header, code) = file.split_at_checked(HEADER_BYTES)?;
    let expected = [MAGIC.as_slice(), &key.0, &Digest::of(code).0].concat();
    (header == expected).then_some(code)
}

fn key(engine: &Engine, bytes: &[u8]) -> Digest {
    // Collects what wasmtime says its code depends on: nothing may be folded to 64 bits on the way.
    struct Collect(Vec<u8>);
    impl Hasher for Collect {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut collect = Collect(Digest::of(bytes).0.to_vec());
    engine.precompile_compatibility_hash().hash(&mut collect);
    Digest::of(&collect.0)
}

/// Makes code of bytes. Wasmtime runs them as they are: bytes that somebody else made would be their program inside ours. So
/// this is called on nothing but a file of the node's own cache whose key and checksum were found right.
#[expect(unsafe_code, reason = "the one door through which compiled code comes back from disk")]
fn deserialize_code_this_node_compiled(engine: &Engine, code: &[u8]) -> Result<Component, wasmtime::Error> {
    // SAFETY: `checked` found the bytes to be what `write` wrote for the same module, engine version, target and settings.
    unsafe { Component::deserialize(engine, code) }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{bytes} bytes, at most {MAX_FILE_BYTES}")));
    }
    let mut content = Vec::with_capacity(bytes as usize);
    file.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

fn write_private(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
