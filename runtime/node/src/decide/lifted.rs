//! Modules as browsers run them: the core module out of the component. Owns which there are: those of releases that are held, running or
//! kept warm, and no others; they go with the last release that has them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use selvedge_decision::Digest;

/// The modules that browsers may have, by what their bytes hash to. Cheap to clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Shelf(Arc<Mutex<BTreeMap<Digest, Weak<Lifted>>>>);

/// One of them.
#[derive(Debug)]
pub struct Lifted {
    /// Its bytes.
    pub bytes: Bytes,
    /// What they hash to.
    pub digest: Digest,
    packed: OnceLock<Option<Bytes>>,
}

// === impl Shelf ===

impl Shelf {
    /// The module of these bytes; two releases that have the same one share it.
    pub(super) fn put(&self, bytes: &[u8]) -> Arc<Lifted> {
        let digest = Digest::of(bytes);
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.retain(|_, module| module.strong_count() > 0);
        if let Some(known) = shelf.get(&digest).and_then(Weak::upgrade) {
            return known;
        }
        let lifted = Arc::new(Lifted { bytes: Bytes::copy_from_slice(bytes), digest, packed: OnceLock::new() });
        shelf.insert(digest, Arc::downgrade(&lifted));
        lifted
    }

    /// The module of that digest, if a release has it.
    pub fn get(&self, digest: &Digest) -> Option<Arc<Lifted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest)?.upgrade()
    }
}

// === impl Lifted ===

impl Lifted {
    /// Its bytes as `pack` packs them, which is done once; `None` when they do not get fewer.
    pub fn packed(&self, pack: impl FnOnce(&[u8]) -> Option<Bytes>) -> Option<Bytes> {
        self.packed.get_or_init(|| pack(&self.bytes)).clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_module_is_there_as_long_as_a_release_has_it() {
        let shelf = Shelf::default();
        let (first, second) = (shelf.put(b"one"), shelf.put(b"one"));
        assert!(Arc::ptr_eq(&first, &second));
        let digest = first.digest;
        drop(first);
        assert_eq!(shelf.get(&digest).unwrap().bytes, b"one"[..]);
        drop(second);
        assert!(shelf.get(&digest).is_none());
        let other = shelf.put(b"two");
        assert_eq!(shelf.0.lock().unwrap().len(), 1, "what is gone leaves nothing behind");
        drop(other);
    }
}
