//! What this machine has for a node: keys, kernel, disk, clock, open files.

use std::path::{Path, PathBuf};

use selvedge_build::keys::TrustStore;
use selvedge_decision::TimeUs;
use selvedge_node::clock::Clock;
use selvedge_node::config::{Config, LinkKind};
use selvedge_node::ids::IdsKey;

use super::Check;

/// The first kernel whose page-map scan lets a fresh instance reset only what a call wrote.
const KERNEL: (u32, u32) = (6, 7);

/// 2024-01-01: a clock before that was never set.
const YEAR_2024_US: TimeUs = 1_704_067_200_000_000;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if config.link.kind == LinkKind::Nats {
        checks.push(trust(config));
    }
    checks.push(ids(&config.ids.key));
    checks.push(kernel(&rustix::system::uname().release().to_string_lossy()));
    checks.push(disk(config));
    checks.push(clock());
    checks
}

fn trust(config: &Config) -> Check {
    let store = TrustStore::from_files(config.node.trust.iter().cloned());
    let (keys, problems) = (store.keys(), store.problems());
    let names: Vec<_> = keys.iter().map(|key| format!("{} ({})", key.name(), key.id())).collect();
    if !problems.is_empty() {
        return Check::fail("trust", problems.join("; "), "mend or remove the file in node.trust");
    }
    if names.is_empty() {
        let advice =
            "set node.trust to a .pub file of `selvedge release keygen`; without a key every release is refused";
        return Check::fail("trust", "no key is trusted", advice);
    }
    Check::ok("trust", names.join(", "))
}

fn ids(key: &Path) -> Check {
    if key.as_os_str().is_empty() {
        let advice = "`selvedge ids keygen` and ids.key let only hashes of them in (docs/people.md)";
        return Check { advice: Some(advice.to_owned()), ..Check::ok("ids", "of people are kept as they come") };
    }
    match IdsKey::read(key) {
        Ok(_) => Check::ok("ids", format!("of people are hashed by {}", key.display())),
        Err(bad) => Check::fail("ids", bad.to_string(), "the node does not start without it"),
    }
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    let found = format!("Linux {release}");
    match version {
        Some(version) if version >= KERNEL => Check::ok("kernel", found),
        Some(_) => {
            let advice = "6.7 or newer makes module calls about twice as fast and lets them scale over cores";
            Check::warn("kernel", found, advice)
        }
        None => Check::warn("kernel", found, "the version cannot be read; 6.7 or newer is best"),
    }
}

fn disk(config: &Config) -> Check {
    let dir = &config.node.data;
    let lanes = &config.outbox;
    let outbox =
        [lanes.max_events, lanes.max_decisions, lanes.max_rewards].iter().map(|size| size.bytes() as u64).sum();
    let Some(there) = existing(dir) else {
        return Check::fail("disk", format!("{}: no folder above it exists", dir.display()), "set node.data");
    };
    if let Err(error) = probe(&there) {
        let found = format!("{}: cannot be written: {error}", there.display());
        return Check::fail("disk", found, "give the node's user the right to write there, or set node.data");
    }
    match rustix::fs::statvfs(&there) {
        Ok(fs) => space(dir, fs.f_bavail.saturating_mul(fs.f_frsize), outbox),
        Err(error) => Check::warn("disk", format!("{}: {error}", there.display()), "free space is not known"),
    }
}

fn space(dir: &Path, free: u64, outbox: u64) -> Check {
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let found = format!("{}: {} free, the outbox may take {}", dir.display(), gib(free), gib(outbox));
    if free < outbox / 10 {
        return Check::fail("disk", found, "free some space, or lower outbox.max_*");
    }
    if free < outbox {
        return Check::warn("disk", found, "a long outage would fill the disk before the outbox: lower outbox.max_*");
    }
    Check::ok("disk", found)
}

/// The folder, or the nearest one above it that exists.
fn existing(dir: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(dir).ok()?;
    start.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned)
}

fn probe(dir: &Path) -> std::io::Result<()> {
    let file = dir.join(format!(".selvedge-doctor-{}", std::process::id()));
    std::fs::write(&file, b"")?;
    std::fs::remove_file(&file)
}

fn clock() -> Check {
    let now_us = Clock::new().now_us();
    let found = selvedge_build::channel::time_text(now_us);
    let advice = "set the clock, and keep it with NTP: channel pointers expire by it, and events carry it";
    if now_us < YEAR_2024_US { Check::fail("clock", found, advice) } else { Check::ok("clock", found) }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_kernel_is_told_by_its_version() {
        let check = |release: &str, expected: State| assert_eq!(kernel(release).state, expected, "{release}");
        check("6.7.0", State::Ok);
        check("6.18.44-fc-v669", State::Ok);
        check("7.0", State::Ok);
        check("6.6.99", State::Warn);
        check("5.15.0-91-generic", State::Warn);
        check("strange", State::Warn);
    }

    #[test]
    fn the_disk_should_hold_the_outbox() {
        let check =
            |free: u64, expected: State| assert_eq!(space(Path::new("x"), free, 1000).state, expected, "{free}");
        check(1000, State::Ok);
        check(999, State::Warn);
        check(100, State::Warn);
        check(99, State::Fail);
    }
}
