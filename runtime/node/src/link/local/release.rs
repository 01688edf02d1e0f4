//! The local link's release: the folder itself, packed in memory when it changes. Owns noticing the change; the key is made
//! at start and trusted by nobody else.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use selvedge_build::keys::{BadKey, SigningKey, TrustStore};
use selvedge_build::release::{self, PackError, PackedRelease};

use super::LocalLink;

/// A folder that is packed whenever it changed and settled.
#[derive(Debug)]
pub struct ReleaseWatch {
    dir: PathBuf,
    key: Arc<SigningKey>,
    /// The folder at the last look.
    seen: Option<Stamps>,
    /// The folder as it was packed last.
    packed: Option<Stamps>,
}

/// What changes when a file does; `None` for a folder that cannot be listed.
type Stamps = Option<BTreeMap<PathBuf, (Option<SystemTime>, u64, u64)>>;

// === impl LocalLink ===

impl LocalLink {
    /// Starts to watch the folder.
    pub fn watch_release(&self) -> Result<ReleaseWatch, BadKey> {
        let key = Arc::new(SigningKey::generate()?);
        Ok(ReleaseWatch { dir: self.dir().to_owned(), key, seen: None, packed: None })
    }
}

// === impl ReleaseWatch ===

impl ReleaseWatch {
    /// Looks at the folder, and packs it when it differs from what was packed last and from no look before: an editor that
    /// writes several files is waited for. Reads files and builds modules, so it does not belong on an async thread.
    pub fn look(&mut self) -> Option<Result<PackedRelease, PackError>> {
        let now = self.stamps();
        let first = self.seen.is_none();
        let settled = self.seen.as_ref() == Some(&now);
        self.seen = Some(now.clone());
        if self.packed.as_ref() == Some(&now) || !(settled || first) {
            return None;
        }
        let packed = release::pack(&self.dir, &self.key);
        self.packed = Some(now);
        Some(packed)
    }

    /// Packs again at the next look, changed or not.
    pub fn pack_again(&mut self) {
        self.packed = None;
    }

    /// The one key that signs here.
    pub fn trust(&self) -> TrustStore {
        TrustStore::of([self.key.public("local")])
    }

    fn stamps(&self) -> Stamps {
        use std::os::unix::fs::MetadataExt as _;
        let stamp = |path: PathBuf| {
            let meta = fs::metadata(&path).ok();
            let stamp = meta.map_or((None, 0, 0), |meta| (meta.modified().ok(), meta.len(), meta.ino()));
            (path, stamp)
        };
        Some(release::sources(&self.dir).ok()?.into_iter().map(stamp).collect())
    }
}
