//! Where the lake lies: a directory, or a bucket of an S3-compatible store. Owns the three ways an object comes to be: created
//! unless it is there, replaced as long as nobody else did, removed. Must not know what is in an object.

mod http;

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion};
use selvedge_decision::TimeUs;

/// The file that whoever lands into a directory holds locked.
const LOCK: &str = ".lock";

/// A lake's objects, by their path inside it.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    shown: String,
    directory: Option<Arc<FilePath>>,
}

/// An object that is replaced, and the version of it that was read or written last.
#[derive(Debug, Clone)]
pub(super) struct Replaced {
    path: Path,
    version: Option<UpdateVersion>,
}

/// A directory that nobody else lands into, as long as this lives; nothing for a bucket.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not read")] Option<File>);

/// Why the lake's store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a place a lake can lie in.
    #[error("{to:?} is no place for a lake: {why}; expected a directory, or s3://BUCKET/PREFIX")]
    BadPlace {
        /// What was given.
        to: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another process lands into the directory.
    #[error("another process lands into {0}: one is enough, and two would write items twice")]
    InUse(String),
    /// Another process replaced what this one keeps in the store.
    #[error("another process lands into {0} and has taken over: this one stops before it writes items twice")]
    TakenOver(String),
    /// It is away, slow, full, or does not allow it.
    #[error("cannot {what} {path} in {store}: {why}")]
    Failed {
        /// What was asked of it.
        what: &'static str,
        /// Of which object.
        path: String,
        /// Where.
        store: String,
        /// What came back.
        why: String,
    },
}

// === impl Store ===

impl Store {
    /// Opens `to`: a directory, which is made unless it is there, or `s3://BUCKET/PREFIX` with keys, region and endpoint from the
    /// environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, …) or from the machine's role.
    pub fn open(to: &str) -> Result<Self, StoreError> {
        let bad = |why: String| StoreError::BadPlace { to: to.to_owned(), why };
        if let Some(place) = to.strip_prefix("s3://") {
            let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
            if bucket.is_empty() {
                return Err(bad("it names no bucket".to_owned()));
            }
            let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| bad(error.to_string()))?;
            let s3 = AmazonS3Builder::from_env().with_bucket_name(bucket).with_http_connector(http::Connector);
            let s3 = s3.build().map_err(|error| bad(error.to_string()))?;
            let objects = Arc::new(PrefixStore::new(s3, prefix));
            return Ok(Self { objects, shown: to.to_owned(), directory: None });
        }
        if to.contains("://") {
            return Err(bad("of object stores, those that speak S3 are known".to_owned()));
        }
        std::fs::create_dir_all(to).map_err(|error| bad(error.to_string()))?;
        let directory = std::fs::canonicalize(to).map_err(|error| bad(error.to_string()))?;
        let files = LocalFileSystem::new_with_prefix(&directory).map_err(|error| bad(error.to_string()))?;
        // What the lake says it has is on the disk: after that the stream may let it go.
        let objects = Arc::new(files.with_fsync(true).with_automatic_cleanup(true));
        Ok(Self { objects, shown: to.to_owned(), directory: Some(directory.into()) })
    }

    /// Opens a lake that is only read: a directory has to be there.
    pub fn open_existing(from: &str) -> Result<Self, StoreError> {
        if !from.contains("://") && !FilePath::new(from).is_dir() {
            return Err(StoreError::BadPlace { to: from.to_owned(), why: "there is no such directory".to_owned() });
        }
        Self::open(from)
    }

    /// Keeps other processes of this machine from landing into the same directory.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let Some(directory) = &self.directory else { return Ok(Lock(None)) };
        let failed = |error: io::Error| self.failed("lock", &Path::from(LOCK), &error);
        let file = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK));
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(Some(file))),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(self.shown.clone())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Removes what a process that was killed left half written under these folders of a directory; needs its lock.
    pub(super) fn clear_staged(&self, folders: &[&str]) -> Result<(), StoreError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let failed = |error: io::Error| self.failed("remove what is half written in", &Path::default(), &error);
        let mut folders: Vec<_> = folders.iter().map(|folder| directory.join(folder)).collect();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                // The store writes into NAME#NUMBER and renames that.
                let is_staged = entry.file_name().to_string_lossy().contains(".parquet#");
                if entry.file_type().map_err(failed)?.is_dir() {
                    folders.push(entry.path());
                } else if is_staged {
                    std::fs::remove_file(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Creates an object, durably; false when there is one of that name, which stays as it is.
    pub(super) async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<bool, StoreError> {
        let path = Path::from(path);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&path, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed("create", &path, &error)),
        }
    }

    /// Writes an object, whether or not there is one of that name: whoever reads sees the one or the other, whole.
    pub(super) async fn overwrite(&self, path: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let path = Path::from(path);
        let put = self.objects.put(&path, bytes.into()).await;
        put.map(drop).map_err(|error| self.failed("write", &path, &error))
    }

    /// The object at `path` as it is now, to be replaced by whoever read it last.
    pub(super) async fn to_replace(&self, path: &str) -> Result<(Replaced, Option<Bytes>), StoreError> {
        let path = Path::from(path);
        let found = match self.objects.get(&path).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok((Replaced { path, version: None }, None)),
            Err(error) => return Err(self.failed("read", &path, &error)),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(|error| self.failed("read", &path, &error))?;
        Ok((Replaced { path, version: Some(version) }, Some(bytes)))
    }

    /// Replaces an object; refused when somebody else did since. A directory is locked and needs no such check.
    pub(super) async fn replace(&self, object: &mut Replaced, bytes: Vec<u8>) -> Result<(), StoreError> {
        let mode = match (&self.directory, &object.version) {
            (Some(_), _) => PutMode::Overwrite,
            (None, None) => PutMode::Create,
            (None, Some(version)) => PutMode::Update(version.clone()),
        };
        let put = self.objects.put_opts(&object.path, bytes.into(), PutOptions { mode, ..PutOptions::default() }).await;
        match put {
            Ok(put) => {
                object.version = Some(UpdateVersion { e_tag: put.e_tag, version: put.version });
                Ok(())
            }
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                Err(StoreError::TakenOver(self.shown.clone()))
            }
            Err(error) => Err(self.failed("replace", &object.path, &error)),
        }
    }

    /// The bytes of an object; `None` when there is none of that name.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.to_replace(path).await?.1)
    }

    /// The paths and sizes, in bytes, of the objects under a folder, sorted.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let path = Path::from(folder);
        let found = self.objects.list(Some(&path)).map_ok(|object| (object.location.to_string(), object.size));
        let mut found: Vec<_> = found.try_collect().await.map_err(|error| self.failed("list", &path, &error))?;
        found.sort();
        Ok(found)
    }

    /// Those of them that were written before a time.
    pub(super) async fn list_before(&self, folder: &str, time_us: TimeUs) -> Result<Vec<(String, u64)>, StoreError> {
        let path = Path::from(folder);
        let is_older = |object: &ObjectMeta| object.last_modified.timestamp_micros() < time_us;
        let found = self.objects.list(Some(&path)).try_filter(|object| future::ready(is_older(object)));
        let found = found.map_ok(|object| (object.location.to_string(), object.size)).try_collect().await;
        found.map_err(|error| self.failed("list", &path, &error))
    }

    /// The names of the folders in a folder, sorted.
    pub(super) async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = Path::from(folder);
        let found = self.objects.list_with_delimiter(Some(&path)).await;
        let found = found.map_err(|error| self.failed("list", &path, &error))?;
        let names = found.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned));
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Removes objects; one that is gone already is removed.
    pub(super) async fn remove(&self, paths: impl IntoIterator<Item = String>) -> Result<(), StoreError> {
        let paths: Vec<_> = paths.into_iter().map(|path| Ok(Path::from(path))).collect();
        let mut removed = self.objects.delete_stream(futures_util::stream::iter(paths).boxed());
        while let Some(done) = removed.next().await {
            match done {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("remove", &Path::default(), &error)),
            }
        }
        Ok(())
    }

    /// Whether others reach it without being seen by the lock.
    pub(super) fn is_shared(&self) -> bool {
        self.directory.is_none()
    }

    /// As it was given.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn failed(&self, what: &'static str, path: &Path, error: &dyn std::error::Error) -> StoreError {
        let mut why = error.to_string();
        // What a store says of itself often stands only in what lies below.
        let mut below = error.source();
        while let Some(source) = below {
            let text = source.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            below = source.source();
        }
        StoreError::Failed { what, path: path.to_string(), store: self.shown.clone(), why }
    }
}

#[cfg(test)]
mod tests;
