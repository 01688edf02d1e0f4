//! Hostile bytes for every parser: the kept inputs of `fuzz/corpus`, and random changes of them. An error is fine, a panic is
//! not.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};

use super::{Findings, Scale};
use crate::fuzz::{self, Target};
use crate::harness::{Random, binary};

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let changes = scale.pick(500_000, 10_000);
    let mut findings = Findings::default();
    for target in fuzz::ALL {
        let kept = kept(target)?;
        for (name, bytes) in &kept {
            findings.check(survives(target, bytes), || format!("{}: a panic with the kept input {name}", target.name));
        }
        let mut random = Random::new(scale.seed ^ target.name.len() as u64);
        for turn in 0..changes {
            let (_, from) = random.pick(&kept);
            let (_, other) = random.pick(&kept);
            let bytes = changed(&mut random, from, other);
            findings.check(survives(target, &bytes), || {
                format!("{}: a panic at change {turn} of seed {}: {:02x?}", target.name, scale.seed, bytes)
            });
        }
    }
    Ok(findings)
}

fn survives(target: Target, bytes: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.feed)(bytes))).is_ok()
}

fn kept(target: Target) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = binary::repository().join("fuzz/corpus").join(target.name);
    let mut kept = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        kept.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    anyhow::ensure!(!kept.is_empty(), "{} is empty", folder.display());
    // The order of a folder is nobody's promise, and a seed must give the same run again.
    kept.sort();
    Ok(kept)
}

/// One to eight changes: bits, bytes that mean something, pieces cut out, doubled or taken from another input.
fn changed(random: &mut Random, from: &[u8], other: &[u8]) -> Vec<u8> {
    const TELLING: [&[u8]; 12] = [
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\x80",
        b"\x7f",
        b"{",
        b"[",
        b"\"",
        b"1e999",
        b"-1",
        b"null",
        b"\xed\xa0\x80",
    ];
    let mut bytes = from.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = at + random.below((bytes.len() - at) as u64 + 1).min(64) as usize;
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            3 => drop(bytes.splice(at..end, random.pick(&TELLING).iter().copied())),
            4 => {
                let start = random.below(other.len() as u64 + 1) as usize;
                let stop = (start + random.below(256) as usize).min(other.len());
                drop(bytes.splice(at..at, other[start..stop].iter().copied()));
            }
            5 if at < bytes.len() => bytes[at] = random.bits() as u8,
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    bytes
}
