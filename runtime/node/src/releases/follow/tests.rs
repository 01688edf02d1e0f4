//! The release flow against real pointers, real release files and a real journal; the core is away and the files lie in the
//! cache, but for the tests that want them missing.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use selvedge_build::channel::{Canary, Labels};
use selvedge_build::keys::SigningKey;
use selvedge_build::release::{self, Limits, PackedRelease};
use selvedge_decision::{Epoch, NodeId};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::super::{Counts, Earned, Releases, open};
use super::*;
use crate::clock::Clock;
use crate::link::{LocalLink, NatsConfig, NatsLink};

/// What a release becomes here: its name.
#[derive(Debug)]
struct Named(String);

/// `slow` is being staged, and may go on. One test deploys it.
static SLOW_IS_STAGED: Notify = Notify::const_new();
static SLOW_GOES_ON: Notify = Notify::const_new();

/// Stages by name: `bad-module`, `bad-vectors` and `not-yet` fail as they say; `slow` waits.
struct ByName;

impl Stage for ByName {
    type Active = Named;

    async fn stage(&self, release: ReleaseFiles) -> Result<Arc<Named>, StageError> {
        match release.manifest.name.as_str() {
            "bad-module" => Err(StageError::Module("bad".into())),
            "bad-vectors" => Err(StageError::Vectors("bad".into())),
            "slow" => {
                SLOW_IS_STAGED.notify_one();
                SLOW_GOES_ON.notified().await;
                Ok(Arc::new(Named("slow".into())))
            }
            "not-yet" => Err(StageError::NotYet("soon".into())),
            name => Ok(Arc::new(Named(name.to_owned()))),
        }
    }
}

/// A node's data folder, its operator's key, and the node while it runs.
struct Bench {
    dir: TempDir,
    key: SigningKey,
    clock: Clock,
    releases: Releases<Named>,
    follow: Follow<ByName>,
}

/// What a release did: decisions, and those of them with a fault.
fn did(decisions: u64, faults: u64) -> Counts {
    Counts { faults, ..Counts::of(decisions, Duration::from_micros(50)) }
}

/// Writes the smallest folder that is a release.
fn save(dir: &Path, release_toml: &str) {
    fs::create_dir_all(dir.join("placements")).unwrap();
    fs::write(dir.join("release.toml"), release_toml).unwrap();
    fs::create_dir_all(dir.join("modules")).unwrap();
    let placement =
        "context = { cart = \"number\" }\nactions = [{ id = \"a\" }]\nladder = [\"cheap\"]\nfallback = [\"a\"]\n";
    fs::write(dir.join("placements/home.toml"), placement).unwrap();
    let module = "link = \"identity\"\n[[input]]\nname = \"context.cart\"\nscope = \"shared\"\ntype = \"number\"\nweight = 1.0\n";
    fs::write(dir.join("modules/cheap.linear.toml"), module).unwrap();
}

fn pack(name: &str, key: &SigningKey) -> PackedRelease {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &format!("name = \"{name}\"\n[guard]\nmin_decisions = 10\n"));
    release::pack(dir.path(), key).unwrap()
}

async fn start(dir: &Path, clock: &Clock) -> (Releases<Named>, Follow<ByName>) {
    let config = ReleasesConfig {
        dir: dir.join("releases"),
        channel: "prod".into(),
        trust: vec![dir.join("trust.pub")],
        limits: Limits::default(),
        read_every: Duration::from_secs(1),
        fetch_timeout: Duration::from_millis(20),
        keep_files: 8,
        report_every: Duration::from_secs(5),
        labels: [("region".to_owned(), "eu".to_owned())].into(),
        node: NodeId::try_from("edge-1".to_owned()).unwrap(),
        epoch: Epoch::new(1, 1),
    };
    // Nobody listens on port 9 of the loopback.
    let nats =
        NatsConfig { url: "nats://127.0.0.1:9".into(), timeout: Duration::from_millis(20), ..NatsConfig::default() };
    let link = Link::Nats(NatsLink::connect(nats, clock).await.unwrap());
    open(config, link, clock.clone(), ByName, Earned::default()).unwrap()
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate().unwrap();
        fs::write(dir.path().join("trust.pub"), key.public("ops").to_text()).unwrap();
        let clock = Clock::new();
        let (releases, follow) = start(dir.path(), &clock).await;
        Self { dir, key, clock, releases, follow }
    }

    /// The node is killed and started again, with the core away.
    async fn restart(&mut self) {
        (self.releases, self.follow) = start(self.dir.path(), &self.clock).await;
        self.follow.resume().await;
    }

    /// A release as if it had been fetched.
    fn cached(&self, name: &str) -> Digest {
        let packed = pack(name, &self.key);
        self.follow.cache.write(&packed.digest, &packed.bytes).unwrap();
        packed.digest
    }

    fn pointer(&self, release: Digest, counter: u64) -> Pointer {
        Pointer { release, canary: None, counter, expires_us: self.clock.now_us() + 60_000_000 }
    }

    /// The channel now points to `release`.
    async fn point(&mut self, release: Digest, counter: u64) {
        let value = self.pointer(release, counter).sign("prod", &self.key);
        self.follow.follow_value(&value).await;
    }

    /// The channel now points to `release`, and to `name` for half of the subjects on the nodes of a region.
    async fn point_beside(&mut self, release: Digest, name: &str, region: &str, counter: u64) -> Digest {
        let next = self.cached(name);
        let on = Labels::from([("region".to_owned(), region.to_owned())]);
        let canary = Some(Canary { release: next, share_bp: 5_000, salt: "s".into(), on });
        let value = Pointer { canary, ..self.pointer(release, counter) }.sign("prod", &self.key);
        self.follow.follow_value(&value).await;
        next
    }

    /// The release that decides for each of a few subjects, and for nobody.
    fn deciding(&self) -> Vec<String> {
        let units = (0..8).map(|i| format!("u-{i}")).collect::<Vec<_>>();
        let of = |unit: Option<&str>| self.releases.of(unit).unwrap().0.clone();
        units.iter().map(|unit| of(Some(unit))).chain([of(None)]).collect()
    }

    /// Whether `canary` decides for some, as the status says, and `runs` for the others and nobody; or for all without one.
    fn check_beside(&self, runs: &str, canary: Option<&str>, refused: Option<RefusalCode>) {
        self.check(runs, refused);
        let status = self.releases.status();
        assert_eq!(status.canary.as_ref().map(|canary| &*canary.running.name), canary, "{status:?}");
        let deciding = self.deciding();
        let of = |name: &str| deciding.iter().filter(|of| **of == name).count();
        assert_eq!(deciding.last().map(String::as_str), Some(runs));
        match canary {
            Some(canary) => assert!(of(canary) > 0 && of(runs) > 1 && of(canary) + of(runs) == 9, "{deciding:?}"),
            None => assert_eq!(of(runs), 9, "{deciding:?}"),
        }
    }

    async fn deploy(&mut self, name: &str, counter: u64) -> Digest {
        let release = self.cached(name);
        self.point(release, counter).await;
        release
    }

    fn runs(&self) -> Option<String> {
        let active = self.releases.active();
        let status = self.releases.status();
        let name = active.as_ref().map(|active| active.0.clone());
        assert_eq!(name, status.active.as_ref().map(|active| active.name.clone()), "the status says what runs");
        name
    }

    fn refused(&self) -> Option<RefusalCode> {
        self.releases.status().refusal.as_ref().map(|refusal| refusal.code)
    }

    fn check(&self, runs: &str, refused: Option<RefusalCode>) {
        assert_eq!((self.runs().as_deref(), self.refused()), (Some(runs), refused), "{:?}", self.releases.status());
    }

    fn weak(&self) -> Weak<Named> {
        Arc::downgrade(self.releases.active().as_ref().unwrap())
    }

    /// What the follower does when the guard trips.
    async fn trip(&mut self, release: Digest) {
        self.releases.observe(release, &did(100, 90));
        let (release, tripped) = self.follow.trips.get_mut().try_recv().unwrap();
        self.follow.take_back(release, &tripped).await;
        let status = self.releases.status();
        let refusal = status.refusal.as_ref().unwrap();
        assert_eq!(refusal.release, Some(release.to_string()));
        assert!(!refusal.why.contains(&release.to_string()), "the digest stands twice: {refusal:?}");
    }
}

#[tokio::test]
async fn a_release_runs_and_a_rollback_needs_neither_core_nor_staging() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.runs(), None);
    let one = bench.deploy("one", 1).await;
    bench.check("one", None);
    let first = bench.weak();
    bench.deploy("two", 2).await;
    bench.check("two", None);
    assert_eq!(bench.releases.status().previous.as_ref().map(|held| held.name.as_str()), Some("one"));
    bench.follow.cache.remove(&one).unwrap();
    bench.point(one, 3).await;
    bench.check("one", None);
    assert!(first.ptr_eq(&bench.weak()), "the very same that ran before");
    assert_eq!(bench.releases.status().previous.as_ref().map(|held| held.name.as_str()), Some("two"));
}

#[tokio::test]
async fn a_release_is_freed_when_nobody_holds_it() {
    let mut bench = Bench::new().await;
    bench.deploy("one", 1).await;
    let one = bench.weak();
    let request = bench.releases.active().clone();
    bench.deploy("two", 2).await;
    bench.deploy("three", 3).await;
    assert!(one.upgrade().is_some(), "a request still runs with it");
    assert_eq!(request.unwrap().0, "one", "a request sees one release from start to end");
    assert!(one.upgrade().is_none());
}

#[tokio::test]
async fn what_must_not_run_is_refused_and_what_runs_goes_on() {
    let mut bench = Bench::new().await;
    bench.deploy("good", 5).await;
    let good = bench.cached("good");
    let other = bench.cached("other");

    let value = bench.pointer(other, 6).sign("prod-eu", &bench.key);
    bench.follow.follow_value(&value).await;
    bench.check("good", Some(RefusalCode::Pointer));
    let stranger = SigningKey::generate().unwrap();
    let value = bench.pointer(other, 6).sign("prod", &stranger);
    bench.follow.follow_value(&value).await;
    bench.check("good", Some(RefusalCode::Pointer));
    let expired = Pointer { expires_us: bench.clock.now_us() - 1, ..bench.pointer(other, 6) };
    bench.follow.follow_value(&expired.sign("prod", &bench.key)).await;
    bench.check("good", Some(RefusalCode::Expired));
    bench.point(other, 4).await;
    bench.check("good", Some(RefusalCode::PlayedBack));
    bench.point(other, 5).await;
    bench.check("good", Some(RefusalCode::PlayedBack));
    assert_eq!(bench.releases.status().counter, 5, "nothing that was refused counts as seen");

    bench.deploy("bad-module", 10).await;
    bench.check("good", Some(RefusalCode::Module));
    bench.deploy("bad-vectors", 11).await;
    bench.check("good", Some(RefusalCode::Vectors));
    bench.deploy("not-yet", 12).await;
    bench.check("good", Some(RefusalCode::NotYet));
    bench.point(Digest::of(b"nowhere"), 13).await;
    bench.check("good", Some(RefusalCode::Fetch));
    let strange = pack("strange", &stranger);
    bench.follow.cache.write(&strange.digest, &strange.bytes).unwrap();
    bench.point(strange.digest, 14).await;
    bench.check("good", Some(RefusalCode::Signature));
    assert!(bench.releases.status().refused.len() >= 8, "refusals are remembered");

    bench.point(good, 15).await;
    bench.check("good", None);
}

#[tokio::test]
async fn a_tampered_file_on_disk_is_removed_and_asked_for_again() {
    let mut bench = Bench::new().await;
    bench.deploy("good", 1).await;
    let packed = pack("other", &bench.key);
    let mut bytes = packed.bytes.clone();
    let at = bytes.windows(5).rposition(|window| window == b"other").unwrap();
    bytes[at] ^= 1;
    bench.follow.cache.write(&packed.digest, &bytes).unwrap();
    bench.point(packed.digest, 2).await;
    bench.check("good", Some(RefusalCode::Fetch));
    assert_eq!(bench.follow.cache.read(&packed.digest, 1 << 20).unwrap(), None);
    // Another release under its name is no better.
    let other = pack("third", &bench.key);
    bench.follow.cache.write(&packed.digest, &other.bytes).unwrap();
    bench.point(packed.digest, 2).await;
    bench.check("good", Some(RefusalCode::Fetch));
    bench.follow.cache.write(&packed.digest, &packed.bytes).unwrap();
    bench.point(packed.digest, 2).await;
    bench.check("other", None);
}

#[tokio::test]
async fn a_restart_without_the_core_runs_what_ran_and_refuses_what_was_old() {
    let mut bench = Bench::new().await;
    let one = bench.deploy("one", 1).await;
    let two = bench.deploy("two", 7).await;
    bench.restart().await;
    bench.check("two", None);
    assert_eq!(bench.releases.status().counter, 7);
    bench.point(one, 6).await;
    bench.check("two", Some(RefusalCode::PlayedBack));
    bench.point(two, 7).await;
    bench.check("two", None);
    bench.point(one, 8).await;
    bench.check("one", None);

    // The running release's file is damaged while the node is down: the one before it is better than none.
    bench.follow.cache.write(&one, b"torn").unwrap();
    bench.restart().await;
    bench.check("two", Some(RefusalCode::Resume));
    bench.cached("one");
    bench.point(one, 8).await;
    bench.check("one", None);

    // A withdrawn key stops what is new, not what runs.
    fs::write(bench.dir.path().join("trust.pub"), "").unwrap();
    bench.restart().await;
    bench.check("one", None);
    bench.point(two, 9).await;
    bench.check("one", Some(RefusalCode::Pointer));
}

#[tokio::test]
async fn keys_rotate_while_the_node_runs() {
    let mut bench = Bench::new().await;
    bench.deploy("one", 1).await;
    let new = SigningKey::generate().unwrap();
    let two = pack("two", &new);
    bench.follow.cache.write(&two.digest, &two.bytes).unwrap();
    let value = bench.pointer(two.digest, 2).sign("prod", &new);
    bench.follow.follow_value(&value).await;
    bench.check("one", Some(RefusalCode::Pointer));
    let both = format!("{}{}", bench.key.public("ops").to_text(), new.public("new").to_text());
    fs::write(bench.dir.path().join("trust.pub"), both).unwrap();
    bench.follow.follow_value(&value).await;
    bench.check("two", None);
}

#[tokio::test]
async fn a_release_that_faults_is_taken_back_and_stays_away_until_deployed_again() {
    let mut bench = Bench::new().await;
    let good = bench.deploy("good", 1).await;
    let bad = bench.deploy("bad", 2).await;
    bench.releases.observe(good, &did(100, 100));
    assert!(bench.follow.trips.get_mut().try_recv().is_err(), "what the old one did does not count");
    bench.trip(bad).await;
    bench.check("good", Some(RefusalCode::Quarantined));
    bench.point(bad, 2).await;
    bench.check("good", Some(RefusalCode::Quarantined));
    bench.restart().await;
    bench.check("good", None);
    bench.point(bad, 2).await;
    bench.check("good", Some(RefusalCode::Quarantined));
    bench.point(bad, 3).await;
    bench.check("bad", None);
    assert_eq!(bench.releases.status().quarantined, None);
}

#[tokio::test]
async fn a_release_deployed_once_more_before_it_faulted_stays_away_after_a_restart() {
    let mut bench = Bench::new().await;
    bench.deploy("good", 1).await;
    let bad = bench.deploy("bad", 2).await;
    bench.point(bad, 3).await;
    bench.trip(bad).await;
    bench.restart().await;
    bench.point(bad, 3).await;
    bench.check("good", Some(RefusalCode::Quarantined));
    bench.point(bad, 4).await;
    bench.check("bad", None);
}

#[tokio::test]
async fn a_faulting_release_is_taken_back_while_the_next_is_made_ready() {
    let mut bench = Bench::new().await;
    bench.deploy("good", 1).await;
    let bad = bench.deploy("bad", 2).await;
    let slow = bench.cached("slow");
    let value = bench.pointer(slow, 3).sign("prod", &bench.key);
    let releases = bench.releases.clone();
    let mut status = releases.changes();
    let trip = async {
        SLOW_IS_STAGED.notified().await;
        releases.observe(bad, &did(100, 90));
        let is_back = |status: &Arc<Status>| status.active.as_ref().is_some_and(|active| active.name == "good");
        status.wait_for(is_back).await.unwrap();
        // Then the pointer is followed as if nothing had been.
        SLOW_IS_STAGED.notified().await;
        SLOW_GOES_ON.notify_one();
    };
    let both = async { tokio::join!(bench.follow.follow_value(&value), trip) };
    tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    bench.check("slow", None);
    let status = bench.releases.status();
    assert_eq!(status.previous.as_ref().map(|held| held.name.as_str()), Some("good"));
    assert_eq!(status.quarantined.as_ref().map(|held| (held.release, held.counter)), Some((bad, 3)));
}

#[tokio::test]
async fn with_nothing_to_go_back_to_a_faulting_release_runs_on_and_says_so() {
    let mut bench = Bench::new().await;
    let only = bench.deploy("only", 1).await;
    bench.trip(only).await;
    bench.check("only", Some(RefusalCode::Guard));
}

#[tokio::test]
async fn what_the_journal_cannot_say_does_not_run() {
    let mut bench = Bench::new().await;
    bench.deploy("one", 1).await;
    let two = bench.cached("two");
    // A folder stands where the new journal would be written.
    let blocked = bench.follow.config.dir.join("journal.tmp");
    fs::create_dir(&blocked).unwrap();
    bench.point(two, 2).await;
    bench.check("one", Some(RefusalCode::Disk));
    fs::remove_dir(&blocked).unwrap();
    bench.point(two, 2).await;
    bench.check("two", None);
}

#[tokio::test]
async fn a_folder_runs_as_saved_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let shop = dir.path().join("shop");
    let save = |text: &str| save(&shop, text);
    save("name = \"one\"");
    let local = Arc::new(LocalLink::new(shop.clone(), dir.path().join("out"), &clock));
    let config = start(&dir.path().join("unused"), &clock).await.1.config;
    let config = ReleasesConfig { dir: dir.path().join("releases"), ..config };
    let (releases, mut follow) =
        open(config, Link::Local(Arc::clone(&local)), clock, ByName, Earned::default()).unwrap();
    let mut watch = local.watch_release().unwrap();
    let mut counter = 0;
    let mut check = async |name: &str, refused: Option<RefusalCode>| {
        // Two looks: the first sees the change, the second that it settled.
        for _ in 0..2 {
            if let Some(packed) = watch.look() {
                counter += 1;
                let outcome = follow.follow_packed(packed, counter).await;
                follow.conclude(outcome);
            }
        }
        assert!(watch.look().is_none(), "a folder that does not change is not packed again");
        let status = releases.status();
        assert_eq!(status.refusal.as_ref().map(|refusal| refusal.code), refused, "{status:?}");
        assert_eq!(releases.active().as_ref().map(|active| active.0.clone()).as_deref(), Some(name));
    };
    check("one", None).await;
    save("name = \"another\"");
    check("another", None).await;
    save("nam = \"third one\"");
    check("another", Some(RefusalCode::Contents)).await;
    save("name = \"one\"");
    check("one", None).await;
    fs::remove_dir_all(&shop).unwrap();
    check("one", Some(RefusalCode::Contents)).await;
}

#[tokio::test]
async fn a_canary_decides_for_its_share_and_becomes_the_release() {
    let mut bench = Bench::new().await;
    let one = bench.deploy("one", 1).await;
    bench.point_beside(one, "two", "us", 2).await;
    bench.check_beside("one", None, None);
    let two = bench.point_beside(one, "two", "eu", 3).await;
    bench.check_beside("one", Some("two"), None);
    let before = bench.deciding();
    bench.restart().await;
    bench.check_beside("one", Some("two"), None);
    assert_eq!(bench.deciding(), before, "the same subjects after a restart without the core");

    // One that cannot run leaves what runs, and the one before it is not wanted any more.
    bench.point_beside(one, "bad-module", "eu", 4).await;
    bench.check_beside("one", None, Some(RefusalCode::Module));
    bench.point_beside(one, "two", "eu", 5).await;
    bench.check_beside("one", Some("two"), None);
    let canary = Arc::downgrade(&bench.releases.canary().unwrap());
    bench.follow.cache.remove(&two).unwrap();
    bench.point(two, 6).await;
    bench.check_beside("two", None, None);
    assert!(canary.ptr_eq(&bench.weak()), "it was ready");
    assert_eq!(bench.releases.status().previous.as_ref().map(|held| &*held.name), Some("one"));
    bench.cached("two");
    bench.restart().await;
    bench.check_beside("two", None, None);

    // Back to the one before, which is tried once more and then let go of.
    bench.point_beside(two, "one", "eu", 7).await;
    bench.check_beside("two", Some("one"), None);
    bench.point(two, 8).await;
    bench.check_beside("two", None, None);
}

#[tokio::test]
async fn a_canary_that_faults_is_dropped_and_stays_away_until_deployed_again() {
    let mut bench = Bench::new().await;
    let good = bench.deploy("good", 1).await;
    let bad = bench.point_beside(good, "bad", "eu", 2).await;
    bench.releases.observe(good, &did(1_000, 0));
    bench.releases.observe(bad, &did(9, 9));
    assert!(bench.follow.trips.get_mut().try_recv().is_err(), "too few decisions to judge");
    bench.trip(bad).await;
    bench.check_beside("good", None, Some(RefusalCode::Quarantined));
    let why = bench.releases.status().canary_dropped.as_ref().map(|dropped| (dropped.release, dropped.why.clone()));
    assert!(why.as_ref().is_some_and(|(of, why)| *of == bad && why.contains("99 of its 109 decisions")), "{why:?}");
    bench.point_beside(good, "bad", "eu", 2).await;
    bench.check_beside("good", None, Some(RefusalCode::Quarantined));
    bench.restart().await;
    bench.check_beside("good", None, None);
    bench.point_beside(good, "bad", "eu", 2).await;
    bench.check_beside("good", None, Some(RefusalCode::Quarantined));
    bench.point_beside(good, "bad", "eu", 3).await;
    bench.check_beside("good", Some("bad"), None);
    assert_eq!(bench.releases.status().canary_dropped, None);
}

#[tokio::test]
async fn a_release_that_is_taken_back_and_a_dropped_canary_both_stay_away() {
    let mut bench = Bench::new().await;
    bench.deploy("good", 1).await;
    let bad = bench.deploy("bad", 2).await;
    let worse = bench.point_beside(bad, "worse", "eu", 3).await;
    bench.trip(bad).await;
    bench.check_beside("good", Some("worse"), Some(RefusalCode::Quarantined));
    bench.trip(worse).await;
    bench.check_beside("good", None, Some(RefusalCode::Quarantined));
    bench.restart().await;
    bench.check_beside("good", None, None);
    bench.point_beside(bad, "worse", "eu", 3).await;
    bench.check_beside("good", None, Some(RefusalCode::Quarantined));
    bench.point_beside(bad, "worse", "eu", 4).await;
    bench.check_beside("bad", Some("worse"), None);
}

#[tokio::test]
async fn one_counter_has_one_canary() {
    let mut bench = Bench::new().await;
    let one = bench.deploy("one", 1).await;
    bench.point_beside(one, "two", "eu", 2).await;
    bench.point_beside(one, "three", "eu", 2).await;
    bench.check_beside("one", Some("two"), Some(RefusalCode::PlayedBack));
    bench.point(one, 2).await;
    bench.check_beside("one", Some("two"), Some(RefusalCode::PlayedBack));
}
