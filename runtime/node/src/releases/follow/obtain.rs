//! A release's files by digest: from the node's disk or from the core. Owns their verification: bytes count only when
//! `release.json` has the digest asked for, every file is what it says, and a trusted key signed it.

use std::sync::Arc;

use selvedge_build::release::{self, BadRelease, ReleaseFiles};
use selvedge_decision::Digest;

use super::{Follow, Refused};
use crate::link::Link;
use crate::releases::Stage;
use crate::releases::journal::blocking;
use crate::releases::status::RefusalCode;

impl<S: Stage> Follow<S> {
    /// The files of `release`, verified. A file on disk that is not what it should be is fetched again.
    pub(super) async fn obtain(&self, release: &Digest) -> Result<ReleaseFiles, Refused> {
        let files = match self.kept(release).await {
            Ok(files) => files,
            Err(_) => self.fetch(release).await?,
        };
        let signer = files.verify(&self.trust);
        let signer = signer.map_err(|bad| refused(RefusalCode::Signature, release, bad))?;
        tracing::info!(%release, signer, "release verified");
        Ok(files)
    }

    /// The files of `release` as they are kept on disk: complete and with this digest, whoever signed them.
    pub(super) async fn kept(&self, release: &Digest) -> Result<ReleaseFiles, Refused> {
        let (cache, limit, wanted) = (self.cache.clone(), self.config.limits.max_total_bytes, *release);
        let bytes = blocking(move || cache.read(&wanted, limit)).await;
        match bytes.map_err(|error| refused(RefusalCode::Disk, release, error))? {
            Some(bytes) => {
                let files = self.unpack(release, bytes).await;
                if let Err(bad) = &files {
                    tracing::warn!(%release, why = bad.why, "the release file on disk is damaged; it is removed");
                    let cache = self.cache.clone();
                    if let Err(error) = blocking(move || cache.remove(&wanted)).await {
                        tracing::warn!(%release, %error, "the damaged release file cannot be removed");
                    }
                }
                files
            }
            None => {
                let why = format!("{release} is not on this node's disk");
                Err(Refused { code: RefusalCode::Fetch, release: Some(*release), why })
            }
        }
    }

    async fn fetch(&self, release: &Digest) -> Result<ReleaseFiles, Refused> {
        let Link::Nats(nats) = &self.link else {
            return Err(refused(RefusalCode::Fetch, release, "the local link has no object store"));
        };
        let limit = self.config.limits.max_total_bytes;
        let bytes = nats.fetch_release(release, limit, self.config.fetch_timeout).await;
        let bytes: Arc<[u8]> = bytes.map_err(|error| refused(RefusalCode::Fetch, release, error))?.into();
        let files = self.unpack(release, Arc::clone(&bytes)).await?;
        // Only what verifies is kept: the disk is not for strangers to fill.
        files.verify(&self.trust).map_err(|bad| refused(RefusalCode::Signature, release, bad))?;
        let (cache, wanted) = (self.cache.clone(), *release);
        let written = blocking(move || cache.write(&wanted, &bytes)).await;
        written.map_err(|error| refused(RefusalCode::Disk, release, error))?;
        Ok(files)
    }

    /// Opens bytes that claim to be `release`.
    async fn unpack<B>(&self, release: &Digest, bytes: B) -> Result<ReleaseFiles, Refused>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let limits = self.config.limits;
        let opened = blocking(move || Ok(release::open(bytes.as_ref(), &limits))).await;
        let opened = opened.map_err(|error| refused(RefusalCode::Disk, release, error))?;
        let files = opened.map_err(|bad: BadRelease| refused(RefusalCode::Release, release, bad))?;
        if files.digest != *release {
            let why = format!("asked for {release}, got {}", files.digest);
            return Err(refused(RefusalCode::Release, release, why));
        }
        Ok(files)
    }

    /// Keeps what runs, what ran before and the canary on disk, and a few more.
    pub(super) async fn prune(&self) {
        let held = [&self.active, &self.previous].into_iter().flatten().map(|held| held.ran.release);
        let keep: Vec<_> = held.chain(self.beside()).collect();
        let (cache, count) = (self.cache.clone(), self.config.keep_files);
        if let Err(error) = blocking(move || cache.prune(&keep, count)).await {
            tracing::warn!(%error, dir = %self.config.dir.display(), "old release files cannot be removed");
        }
    }
}

fn refused(code: RefusalCode, release: &Digest, why: impl ToString) -> Refused {
    Refused { code, release: Some(*release), why: why.to_string() }
}
