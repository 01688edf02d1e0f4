//! The cache of compiled code: trusted when whole and ours, else compiled anew.

use std::fs;
use std::path::{Path, PathBuf};

use selvedge_build::module;
use selvedge_host::{Counts, Host, HostConfig};
use selvedge_prebuilt::hostile;

use crate::{AMPLE, manifest, sealed, small};

fn config(folder: &Path) -> HostConfig {
    HostConfig { cache_dir: Some(folder.into()), instances: 2, ..HostConfig::default() }
}

/// Loads a module with a host of its own, sees that it works, and says what the cache did.
#[track_caller]
fn load(config: HostConfig) -> Counts {
    let bytes = sealed(hostile::WELL_BEHAVED, &small(), &[]);
    let host = Host::new(config).unwrap();
    let module = host.load(&bytes, &module::open(&bytes).unwrap().manifest).unwrap();
    assert_eq!(module.evaluate(&[0.0], &[1.0], 1, AMPLE), Ok(vec![2.0]));
    host.counts()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

const COMPILED: Counts = Counts { compiled: 1, cache_hits: 0, cache_refused: 0, cache_evicted: 0 };
const HIT: Counts = Counts { compiled: 0, cache_hits: 1, cache_refused: 0, cache_evicted: 0 };
const REFUSED: Counts = Counts { compiled: 1, cache_hits: 0, cache_refused: 1, cache_evicted: 0 };

#[test]
fn a_second_start_does_not_compile() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(config(folder.path())), COMPILED);
    assert_eq!(load(config(folder.path())), HIT);
    assert_eq!(files(folder.path()).len(), 1, "no temporary file stays");
}

#[test]
fn a_torn_or_changed_file_is_compiled_anew_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(config(folder.path())), COMPILED);
    let file = files(folder.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut other_key = whole.clone();
    other_key[20] ^= 1;
    for broken in
        [&whole[..whole.len() - 1], &whole[..40], &[], &flipped, &other_key, &[whole.as_slice(), b"x"].concat()]
    {
        fs::write(&file, broken).unwrap();
        assert_eq!(load(config(folder.path())), REFUSED);
        assert_eq!(fs::read(&file).unwrap(), whole);
        assert_eq!(load(config(folder.path())), HIT);
    }
}

#[test]
fn a_file_of_another_module_is_not_taken_for_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(config(folder.path())).unwrap();
    let other = sealed(hostile::REFUSES, &small(), &[]);
    host.load(&other, &module::open(&other).unwrap().manifest).unwrap();
    let foreign = files(folder.path()).remove(0);
    assert_eq!(load(config(folder.path())), COMPILED);
    let ours = files(folder.path()).into_iter().find(|file| *file != foreign).unwrap();
    fs::copy(&foreign, &ours).unwrap();
    assert_eq!(load(config(folder.path())), REFUSED);
}

#[test]
fn other_settings_are_another_key() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(config(folder.path())), COMPILED);
    // The manifest is part of the module, so other limits make another one too.
    let bytes = sealed(hostile::WELL_BEHAVED, &manifest(1, 1, &["score"], 7), &[]);
    let host = Host::new(config(folder.path())).unwrap();
    host.load(&bytes, &module::open(&bytes).unwrap().manifest).unwrap();
    assert_eq!(host.counts(), COMPILED);
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn the_oldest_goes_when_there_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(HostConfig { max_cache_bytes: 1, ..config(folder.path()) }).unwrap();
    for rows in [1, 2, 3] {
        let bytes = sealed(hostile::WELL_BEHAVED, &manifest(1, 1, &["score"], rows), &[]);
        host.load(&bytes, &module::open(&bytes).unwrap().manifest).unwrap();
    }
    assert_eq!(files(folder.path()).len(), 1, "the newest stays");
    assert_eq!(host.counts().cache_evicted, 2);
}

#[test]
fn a_folder_that_cannot_be_written_costs_a_compilation_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let host = Host::new(config(&cache)).unwrap();
    fs::remove_dir(&cache).unwrap();
    fs::write(&cache, b"a file in the folder's place").unwrap();
    let bytes = sealed(hostile::WELL_BEHAVED, &small(), &[]);
    host.load(&bytes, &module::open(&bytes).unwrap().manifest).unwrap();
    assert_eq!(host.counts().compiled, 1);
}
