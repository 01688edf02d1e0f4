#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::write_behind::{Behind, WriteBehind, WriteBehindLimits};
use super::*;

const CACHE_BYTES: u64 = 1 << 20;

fn open(dir: &Path) -> (Disk, Option<PathBuf>) {
    // The store that was there before lets go of its lock a moment after it is dropped.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Disk::open(dir, CACHE_BYTES, 42) {
            Err(OpenError::InUse { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn put(time_us: TimeUs, json: &str) -> Change {
    Some(StoredRow { time_us, row: Bytes::from(json.to_owned()) })
}

fn rows(view: &DiskView) -> BTreeMap<String, (TimeUs, String)> {
    let found = Mutex::new(BTreeMap::new());
    let count = view
        .load(|| {
            |entity: &str, time_us, json: &[u8]| {
                let json = String::from_utf8(json.to_vec()).unwrap();
                found.lock().unwrap().insert(entity.to_owned(), (time_us, json));
            }
        })
        .unwrap();
    let found = found.into_inner().unwrap();
    assert!(count >= found.len() as u64);
    found
}

fn checkpoint(last_seq: u64) -> Checkpoint {
    Checkpoint { created_us: -5, last_seq, proven_us: 77, refused_by: None }
}

#[test]
fn rows_and_checkpoint_are_there_after_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (disk, aside) = open(dir.path());
        assert_eq!(aside, None);
        let view = disk.view("user", false).unwrap();
        assert_eq!(view.checkpoint().unwrap(), None);
        view.apply([("a", &put(1, "{}")), ("b\0c", &put(2, "{\"x\":1}"))], Some(checkpoint(9))).unwrap();
        view.apply([("a", &None), ("d", &put(-3, "{}"))], Some(checkpoint(11))).unwrap();
        disk.view("item", false).unwrap().apply([("a", &put(9, "{}"))], None).unwrap();
        disk.flush().unwrap();
    }
    let (disk, aside) = open(dir.path());
    assert_eq!(aside, None);
    let view = disk.view("user", false).unwrap();
    assert_eq!(view.checkpoint().unwrap(), Some(checkpoint(11)));
    let expected = [("b\0c".to_owned(), (2, "{\"x\":1}".to_owned())), ("d".to_owned(), (-3, "{}".to_owned()))];
    assert_eq!(rows(&view), BTreeMap::from(expected));
    view.forget_checkpoint().unwrap();
    assert_eq!(view.checkpoint().unwrap(), None);
    assert_eq!(rows(&view).len(), 2);
}

#[test]
fn a_load_reads_every_row_whatever_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = open(dir.path());
    for count in [0, 1, 255, 256, 257, 512, 513, 5_000] {
        let view = disk.view(&format!("v{count}"), false).unwrap();
        let names: Vec<String> = (0..count).map(|i| format!("entity-{i}")).collect();
        let row = put(1, "{}");
        view.apply(names.iter().map(|name| (name.as_str(), &row)), Some(checkpoint(1))).unwrap();
        assert_eq!(rows(&view).len(), count);
    }
}

#[test]
fn a_store_that_will_not_open_is_moved_aside_and_not_deleted() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("features");
    {
        let (disk, _) = open(&dir);
        disk.view("user", false).unwrap().apply([("a", &put(1, "{}"))], None).unwrap();
        disk.flush().unwrap();
    }
    // As after a disk that lost its mind: sled reads its settings first.
    let settings = dir.join("conf");
    assert!(settings.exists());
    std::fs::write(&settings, b"no such settings, by no version of the store").unwrap();
    let (disk, aside) = open(&dir);
    let aside = aside.expect("moved aside");
    assert!(aside.join("db").exists(), "kept for whoever wants to look");
    assert!(rows(&disk.view("user", false).unwrap()).is_empty());
}

#[test]
fn a_store_that_failed_while_open_is_moved_aside_by_the_next_opening() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("features");
    {
        let (disk, _) = open(&dir);
        disk.view("user", false).unwrap().apply([("a", &put(1, "{}"))], None).unwrap();
        disk.leave_mark("a page was lost").unwrap();
        assert!(matches!(Disk::open(&dir, CACHE_BYTES, 0), Err(OpenError::InUse { .. })), "not while it is in use");
    }
    let (disk, aside) = open(&dir);
    assert!(aside.expect("moved aside").join("db").exists());
    assert!(rows(&disk.view("user", false).unwrap()).is_empty());
    drop(disk);
    assert_eq!(open(&dir).1, None, "once");
}

#[test]
fn of_many_stores_moved_aside_the_last_stay() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("features");
    for now_us in [1, 2, 3, 10] {
        std::fs::create_dir_all(&dir).unwrap();
        move_aside(&dir, now_us).unwrap();
    }
    let mut left: Vec<_> = std::fs::read_dir(parent.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["features", "features.broken-00000000000000000003", "features.broken-00000000000000000010"]);
}

#[test]
fn a_store_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (_disk, _) = open(dir.path());
    assert!(matches!(Disk::open(dir.path(), CACHE_BYTES, 0), Err(OpenError::InUse { .. })));
}

#[test]
fn a_checkpoint_of_another_version_does_not_count() {
    let bytes = checkpoint(3).to_bytes();
    assert_eq!(Checkpoint::from_bytes(&bytes), Some(checkpoint(3)));
    let refused_by =
        Some(RowLimits { max_entities: 7, max_row_bytes: 1 << 40, max_bytes: 1 << 50, schema: SchemaHash([7; 8]) });
    let limited = Checkpoint { refused_by, ..checkpoint(3) };
    assert_eq!(Checkpoint::from_bytes(&limited.to_bytes()), Some(limited));
    // The version before had no limit on bytes: what it refused may have room now.
    let before = [&[CHECKPOINT_WITHOUT_BYTES], &limited.to_bytes()[1..38]].concat();
    let without_schema = [&[CHECKPOINT_WITHOUT_SCHEMA], &limited.to_bytes()[1..46]].concat();
    let refused_by = refused_by.map(|limits| RowLimits { schema: SchemaHash::default(), ..limits });
    assert_eq!(Checkpoint::from_bytes(&without_schema), Some(Checkpoint { refused_by, ..limited }));
    let refused_by = refused_by.map(|limits| RowLimits { max_bytes: u64::MAX, ..limits });
    assert_eq!(Checkpoint::from_bytes(&before), Some(Checkpoint { refused_by, ..limited }));
    let mut other = bytes;
    other[0] = CHECKPOINT_VERSION + 1;
    assert_eq!(Checkpoint::from_bytes(&other), None);
    assert_eq!(Checkpoint::from_bytes(&bytes[..25]), None);
    assert_eq!(Checkpoint::from_bytes(&[]), None);
}

fn write_behind(disk: &Disk, view: &DiskView, rows: usize) -> Arc<WriteBehind> {
    spilling(disk, view, rows, 0)
}

fn spilling(disk: &Disk, view: &DiskView, rows: usize, scratch_bytes: u64) -> Arc<WriteBehind> {
    let limits = WriteBehindLimits { every: Duration::from_millis(5), rows, bytes: 1 << 20, scratch_bytes };
    Arc::new(WriteBehind::new(disk.clone(), view.clone(), limits))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checkpoint_is_never_ahead_of_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = open(dir.path());
    let view = disk.view("user", false).unwrap();
    let behind = write_behind(&disk, &view, 500);
    let (stop, stopped) = watch::channel(false);
    let writing = tokio::spawn(Arc::clone(&behind).run(stopped, |error| panic!("{error}")));
    // Change `seq` sets entity `seq % 40` to `seq`. Whoever looks at the disk at any time must find, for every entity, a
    // value at least as new as the checkpoint says. The checkpoint is read first: it can only grow until the rows are.
    let looking = {
        let (view, behind) = (view.clone(), Arc::clone(&behind));
        tokio::task::spawn_blocking(move || {
            let mut looks = 0;
            let mut last = 0;
            while last < 20_000 && !behind.has_failed() {
                last = view.checkpoint().unwrap().map_or(0, |at| at.last_seq);
                let rows = rows(&view);
                for entity in 0..40u64.min(last) {
                    let wanted = last - (last + 40 - entity) % 40;
                    let found: u64 = rows.get(&entity.to_string()).map_or(0, |(_, json)| json.parse().unwrap());
                    assert!(found >= wanted, "entity {entity} has {found}, the checkpoint says {last}");
                }
                looks += 1;
            }
            looks
        })
    };
    for seq in 1..=20_000u64 {
        behind.push((seq % 40).to_string(), put(0, &seq.to_string()));
        behind.reached(checkpoint(seq));
        if seq % 50 == 0 {
            behind.room().await;
            tokio::task::yield_now().await;
        }
    }
    assert!(behind.flush().await);
    assert_eq!(view.checkpoint().unwrap(), Some(checkpoint(20_000)));
    assert!(looking.await.unwrap() > 1);
    stop.send(true).unwrap();
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_much_waits_as_may_and_the_rest_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = open(dir.path());
    let view = disk.view("user", false).unwrap();
    let behind = write_behind(&disk, &view, 3);
    for entity in ["a", "b", "a", "a"] {
        behind.push(entity, put(1, "{}"));
    }
    assert!(!behind.is_full(), "changes of one entity are one");
    behind.push("c", None);
    assert!(behind.is_full());
    let (stop, stopped) = watch::channel(false);
    let writing = tokio::spawn(Arc::clone(&behind).run(stopped, |error| panic!("{error}")));
    tokio::time::timeout(Duration::from_secs(10), behind.room()).await.expect("room after writing");
    assert!(!behind.is_full());
    behind.push("d", put(1, "{}"));
    behind.reached(checkpoint(4));
    drop(stop);
    writing.await.unwrap();
    assert_eq!(rows(&view).len(), 3, "what was left is written at the end");
    assert_eq!(view.checkpoint().unwrap(), Some(checkpoint(4)));
    assert!(behind.flush().await, "and nobody waits for it in vain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_in_memory_waits_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = open(dir.path());
    let view = disk.view("user", false).unwrap();
    let behind = spilling(&disk, &view, 2, 400);
    behind.push("a", put(1, "\"first\""));
    behind.push("b", put(1, "\"here\""));
    behind.push("c", put(3, "\"there\""));
    // The later one of an entity counts, wherever the two wait.
    behind.push("a", put(2, "\"second\""));
    behind.push("d", put(4, "\"goes\""));
    behind.push("d", None);
    assert!(!behind.is_full());
    assert_eq!(behind.behind().changes, 4);
    (0..3).for_each(|at| behind.push("e", put(at, "\"last\"")));
    assert!(behind.is_full(), "the file has a bound, and rows that do not count any more lie in it, too");
    behind.reached(checkpoint(9));
    let (stop, stopped) = watch::channel(false);
    let writing = tokio::spawn(Arc::clone(&behind).run(stopped, |error| panic!("{error}")));
    assert!(behind.flush().await);
    let wanted = [("a", 2, "\"second\""), ("b", 1, "\"here\""), ("c", 3, "\"there\""), ("e", 2, "\"last\"")];
    let wanted = wanted.map(|(entity, time, row)| (entity.to_owned(), (time, row.to_owned())));
    assert_eq!(rows(&view), BTreeMap::from(wanted));
    assert_eq!(view.checkpoint().unwrap(), Some(checkpoint(9)));
    assert_eq!(behind.behind(), Behind::default());
    drop(stop);
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_read_again_rest_until_they_are_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = open(dir.path());
    let view = disk.view("user", false).unwrap();
    view.apply([("a", &put(1, "{}"))], Some(checkpoint(4))).unwrap();
    let behind = spilling(&disk, &view, 3, 1 << 20);
    let (stop, stopped) = watch::channel(false);
    let writing = tokio::spawn(Arc::clone(&behind).run(stopped, |error| panic!("{error}")));
    behind.forget();
    assert!(behind.flush().await);
    assert_eq!(view.checkpoint().unwrap(), None);
    for at in 0..6_000 {
        behind.push(at.to_string(), put(1, "{}"));
        behind.room().await;
    }
    assert_eq!((behind.behind().changes, rows(&view).len()), (6_000, 1));
    // A stop does not wait for more than memory holds: without a checkpoint, the next start reads all again.
    drop(stop);
    writing.await.unwrap();
    assert_eq!((view.checkpoint().unwrap(), rows(&view).len()), (None, 1));

    let behind = spilling(&disk, &view, 3, 1 << 20);
    behind.forget();
    (0..6_000).for_each(|at| behind.push(at.to_string(), put(1, "{}")));
    behind.reached(checkpoint(9));
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(Arc::clone(&behind).run(stopped, |error| panic!("{error}")));
    assert!(behind.flush().await);
    assert_eq!((view.checkpoint().unwrap(), rows(&view).len()), (Some(checkpoint(9)), 6_001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_the_checkpoint_comes_before_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = open(dir.path());
    let view = disk.view("user", false).unwrap();
    view.apply([("a", &put(1, "{}"))], Some(checkpoint(4))).unwrap();
    let behind = write_behind(&disk, &view, 100);
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(Arc::clone(&behind).run(stopped, |error| panic!("{error}")));
    behind.forget();
    behind.push("b", put(1, "{}"));
    assert!(behind.flush().await);
    assert_eq!(view.checkpoint().unwrap(), None);
    behind.reached(checkpoint(9));
    assert!(behind.flush().await);
    assert_eq!(view.checkpoint().unwrap(), Some(checkpoint(9)));
}
