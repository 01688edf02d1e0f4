#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use selvedge_decision::layout::{FeatureKind, RowLayout};

use super::*;
use crate::features::disk::write_behind::WriteBehindLimits;
use crate::features::disk::{Disk, OpenError};
use crate::features::metrics::Metrics;
use crate::features::row::binary::{BinaryWriter, SchemaHash};
use crate::features::symbols::Symbols;
use crate::features::table::Room;

mod on_demand;

/// A source with its store, and the writer that serves it.
struct Rig {
    handle: Arc<SourceHandle>,
    symbols: Arc<Symbols>,
    room: Room,
    _unheld: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    writing: tokio::task::JoinHandle<()>,
}

async fn rig(dir: &Path) -> Rig {
    limited(dir, 100).await
}

async fn limited(dir: &Path, max_entities: u32) -> Rig {
    opened(dir, Room::entities(max_entities), None).await
}

async fn opened(dir: &Path, room: Room, sights: Option<Sights>) -> Rig {
    let deadline = Instant::now() + Duration::from_secs(10);
    let disk = loop {
        match Disk::open(dir, 1 << 20, 0) {
            Ok((disk, _)) => break disk,
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let rows = disk.view("item", sights.is_some()).unwrap();
    let checkpoint = rows.checkpoint().unwrap();
    let limits =
        WriteBehindLimits { every: Duration::from_millis(5), rows: 1_000, bytes: 1 << 20, scratch_bytes: 1 << 20 };
    let write_behind = Arc::new(WriteBehind::new(disk, rows, limits));
    let (stop, stopped) = watch::channel(false);
    let writing = tokio::spawn(Arc::clone(&write_behind).run(stopped, |error| panic!("{error}")));
    let metrics = Metrics::new().view("item");
    let limits = RowLimits {
        max_entities: room.entities,
        max_row_bytes: 1_000,
        max_bytes: room.bytes,
        schema: SchemaHash::of(&layout(&["price"])),
    };
    let source = Source::new("item", metrics, Clock::new(), limits, Some((write_behind, checkpoint)), sights);
    let (handle, unheld) = SourceHandle::new(Arc::new(source));
    Rig { handle: Arc::new(handle), symbols: Arc::default(), room, _unheld: unheld, stop, writing }
}

/// Numbers of these names.
fn layout(features: &[&str]) -> RowLayout {
    RowLayout::new(features.iter().map(|name| ((*name).to_owned(), FeatureKind::Number, 1)))
}

impl Rig {
    async fn view(&self, features: &[&str]) -> Arc<Shard> {
        let view = Arc::new(Shard::new("item", Arc::new(layout(features)), self.room, Arc::clone(&self.handle)));
        self.handle.attach(&view, &self.symbols);
        assert!(self.handle.fill(&view, &self.symbols).await);
        view
    }

    fn put(&self, entity: &str, json: &str) {
        self.handle.apply(entity, Update::Put { row: Bytes::from(json.to_owned()) }, 7);
    }

    fn delete(&self, entity: &str) {
        self.handle.apply(entity, Update::Delete, 7);
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.writing.await.unwrap();
    }
}

fn at(seq: u64) -> Position {
    Position { created_us: 1, seq }
}

/// The values of one feature by entity.
fn values(view: &Shard, feature: &str) -> BTreeMap<String, f64> {
    let cell = view.layout().field(feature).unwrap().cell as usize;
    let value = |slot| {
        let mut cells = vec![0; view.table.width()];
        view.table.read(slot, &mut cells).map(|_| f64::from_bits(cells[cell]))
    };
    view.table.entries().filter_map(|(entity, slot)| Some((entity.to_string(), value(slot)?))).collect()
}

fn map(expected: &[(&str, f64)]) -> BTreeMap<String, f64> {
    expected.iter().map(|(entity, value)| ((*entity).to_owned(), *value)).collect()
}

#[tokio::test]
async fn another_schema_is_filled_from_rows_on_disk_and_pending_alike() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path()).await;
    let old = rig.view(&["price"]).await;
    rig.put("a", r#"{"price":1,"stock":10}"#);
    rig.put("b", r#"{"price":2,"stock":20}"#);
    assert!(rig.handle.flush().await);
    rig.put("b", r#"{"price":3,"stock":30}"#);
    rig.put("c", r#"{"price":4}"#);
    rig.delete("a");
    let new = rig.view(&["price", "stock"]).await;
    assert_eq!(values(&new, "price"), map(&[("b", 3.0), ("c", 4.0)]));
    assert_eq!(values(&new, "stock")["b"].to_bits(), 30f64.to_bits());
    assert!(values(&new, "stock")["c"].is_nan());
    rig.put("d", r#"{"price":5,"stock":50}"#);
    assert_eq!(values(&old, "price"), values(&new, "price"));
    assert!(Arc::ptr_eq(&rig.handle.shard_at(old.layout(), rig.room).unwrap(), &old));
    rig.stop().await;
}

#[tokio::test]
async fn a_compact_row_reaches_the_tables_of_its_schema_alone() {
    let compact = |features: &[&str], json: &str| Update::Put {
        row: BinaryWriter::new(Arc::new(layout(features))).write(json.as_bytes()).unwrap().into(),
    };
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path()).await;
    let old = rig.view(&["price"]).await;
    rig.handle.apply("a", compact(&["price"], r#"{"price":1}"#), 7);
    rig.put("b", r#"{"price":2}"#);
    assert_eq!(rig.handle.apply("a", compact(&["price", "stock"], r#"{"price":3}"#), 7), None, "refused");
    assert_eq!(values(&old, "price"), map(&[("a", 1.0), ("b", 2.0)]));
    rig.handle.reached(at(3));
    assert_eq!(rig.handle.standing(), Standing::At(Some(at(3))));
    // A table of another schema: what is compact on disk cannot fill it, and what was refused has to come again.
    let new = rig.view(&["price", "stock"]).await;
    assert_eq!(values(&new, "price"), map(&[("b", 2.0)]));
    assert_eq!(rig.handle.standing(), Standing::MustResync(ResyncCause::Limits));
    // Both are kept: each takes the rows of its schema, and what one takes is on disk.
    assert_eq!(rig.handle.apply("a", compact(&["price", "stock"], r#"{"price":4}"#), 9), Some(9));
    assert_eq!((values(&old, "price")["a"], values(&new, "price")["a"]), (1.0, 4.0));
    let third = rig.view(&["price", "stock"]).await;
    assert_eq!(values(&third, "price"), map(&[("a", 4.0), ("b", 2.0)]));
    // Once as it came, and once for each of the two threads that read so few rows from the disk, each of them all.
    assert_eq!(rig.handle.metrics.refused_schema.get(), 3);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_while_a_table_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path()).await;
    let old = rig.view(&["price"]).await;
    for round in 0..20 {
        for entity in 0..50 {
            rig.put(&format!("e{entity}"), &format!("{{\"price\":{round}}}"));
        }
        let updating = {
            let handle = Arc::clone(&rig.handle);
            tokio::spawn(async move {
                for entity in (0..50).step_by(3) {
                    let row = Bytes::from(format!("{{\"price\":{}}}", round + 1_000));
                    handle.apply(&format!("e{entity}"), Update::Put { row }, 7);
                    handle.apply(&format!("e{}", entity + 1), Update::Delete, 7);
                    tokio::task::yield_now().await;
                }
            })
        };
        let new = rig.view(&["price", &format!("extra{round}")]).await;
        updating.await.unwrap();
        assert_eq!(values(&new, "price"), values(&old, "price"), "round {round}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn rows_that_come_when_the_last_view_is_gone_reach_the_disk() {
    // The feed notices a little later than the last view goes. What it applies in between has no table to go to, but it
    // moves the position on: without the row on disk, the next start would resume behind a row it never had.
    let dir = tempfile::tempdir().unwrap();
    let rig_before = rig(dir.path()).await;
    drop(rig_before.view(&["price"]).await);
    rig_before.put("a", r#"{"price":1}"#);
    rig_before.handle.reached(at(5));
    rig_before.stop().await;
    let rig = rig(dir.path()).await;
    assert_eq!(rig.handle.standing(), Standing::At(Some(at(5))));
    assert_eq!(values(&*rig.view(&["price"]).await, "price"), map(&[("a", 1.0)]));
    rig.stop().await;
}

#[tokio::test]
async fn a_resync_takes_what_did_not_come_again_from_memory_and_disk() {
    let dir = tempfile::tempdir().unwrap();
    let before = rig(dir.path()).await;
    let view = before.view(&["price"]).await;
    for entity in ["a", "b", "c"] {
        before.put(entity, r#"{"price":1}"#);
    }
    before.handle.reached(at(3));
    before.handle.begin_resync(ResyncCause::Recreated, 0);
    assert_eq!(before.handle.standing(), Standing::MustResync(ResyncCause::Recreated), "nothing came yet");
    before.put("a", r#"{"price":2}"#);
    before.put("b", "nonsense");
    assert_eq!(view.table.len(), 3, "the old rows stay until all came");
    before.handle.reached(at(5));
    assert_eq!(before.handle.standing(), Standing::Resyncing(ResyncCause::Recreated, at(5)), "it can go on there");
    assert!(before.handle.end_resync(at(9)).await);
    let expected = map(&[("a", 2.0), ("b", 1.0)]);
    assert_eq!(values(&view, "price"), expected, "a refused row keeps the old one, and the core has its key");
    assert_eq!(before.handle.standing(), Standing::At(Some(at(9))));
    assert!(before.handle.end_resync(at(9)).await, "a second time there is nothing to do");
    drop(view);
    before.stop().await;
    let after = rig(dir.path()).await;
    assert_eq!(after.handle.standing(), Standing::At(Some(at(9))));
    assert_eq!(values(&*after.view(&["price"]).await, "price"), expected);
    after.stop().await;
}

#[tokio::test]
async fn a_table_attached_during_a_resync_makes_it_start_again() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path()).await;
    let old = rig.view(&["price"]).await;
    rig.put("stale", r#"{"price":1}"#);
    rig.handle.begin_resync(ResyncCause::Trimmed, 0);
    rig.put("a", r#"{"price":1}"#);
    let new = rig.view(&["price", "stock"]).await;
    assert!(!rig.handle.end_resync(at(9)).await, "it would leave the stale row in the new table");
    tokio::time::timeout(Duration::from_secs(10), rig.handle.again()).await.expect("the feed is told");
    rig.handle.reached(at(4));
    assert_eq!(
        rig.handle.standing(),
        Standing::MustResync(ResyncCause::Trimmed),
        "from the start, for the same reason"
    );
    rig.handle.begin_resync(ResyncCause::Trimmed, 0);
    rig.put("a", r#"{"price":1}"#);
    assert!(rig.handle.end_resync(at(9)).await);
    for view in [old, new] {
        assert_eq!(values(&view, "price"), map(&[("a", 1.0)]));
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_resync_that_was_cut_off_leaves_no_position_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let before = rig(dir.path()).await;
    let view = before.view(&["price"]).await;
    before.put("a", r#"{"price":1}"#);
    before.handle.reached(at(3));
    assert!(before.handle.flush().await);
    before.handle.begin_resync(ResyncCause::Away, 0);
    before.put("b", r#"{"price":1}"#);
    before.handle.reached(at(7));
    drop(view);
    before.stop().await;
    let after = rig(dir.path()).await;
    assert_eq!(after.handle.standing(), Standing::At(None));
    assert!(!after.handle.is_synced());
    assert_eq!(after.view(&["price"]).await.table.len(), 2, "what came is used all the same");
    after.stop().await;
}

#[tokio::test]
async fn how_late_a_view_is_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = rig(dir.path()).await;
    let view = before.view(&["price"]).await;
    assert_eq!((view.lag_us(1_000_000_000), view.is_synced()), (i64::MAX, false));
    before.handle.reached(at(3));
    before.handle.proven(1_000_000_000);
    assert_eq!((view.lag_us(1_000_000_700), view.lag_us(0), view.is_synced()), (700, 0, true));
    drop(view);
    before.stop().await;
    let after = rig(dir.path()).await;
    let view = after.view(&["price"]).await;
    assert_eq!((view.lag_us(1_000_000_700), view.is_synced()), (700, true));
    after.stop().await;
}

#[tokio::test]
async fn rows_beyond_a_limit_are_refused_and_the_old_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path()).await;
    let view = rig.view(&["price"]).await;
    rig.put("a", r#"{"price":1}"#);
    rig.put("a", &format!("{{\"price\":2,\"x\":\"{}\"}}", "y".repeat(1_000)));
    assert_eq!(values(&view, "price"), map(&[("a", 1.0)]));
    assert_eq!(rig.handle.metrics.refused_size.get(), 1);
    for entity in 0..150 {
        rig.put(&format!("e{entity}"), r#"{"price":1,"unknown":1,"price2":"x"}"#);
    }
    assert_eq!((view.table.len(), rig.handle.metrics.refused_full.get()), (100, 51));
    assert_eq!(rig.handle.metrics.values_unknown.get(), 300);
    rig.stop().await;
}

#[tokio::test]
async fn a_table_is_synced_when_it_has_the_rows_itself() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(dir.path()).await;
    let old = rig.view(&["price"]).await;
    rig.put("a", r#"{"price":1,"stock":10}"#);
    rig.handle.reached(at(1));
    rig.handle.proven(7);
    assert!(old.synced(Duration::from_secs(10)).await);
    // As when the copy on disk cannot fill it: it is empty, however complete the source is.
    let layout = RowLayout::new([("stock".to_owned(), FeatureKind::Number, 1)]);
    let new = Arc::new(Shard::new("item", Arc::new(layout), rig.room, Arc::clone(&rig.handle)));
    rig.handle.attach(&new, &rig.symbols);
    new.table.end_load();
    rig.handle.resync(ResyncCause::Schema);
    rig.handle.proven(8);
    rig.handle.proven_empty(9);
    assert_eq!((old.is_synced(), new.is_synced()), (true, false));
    assert!(!new.synced(Duration::ZERO).await);
    let waiting = tokio::spawn({
        let new = Arc::clone(&new);
        async move { new.synced(Duration::from_secs(10)).await }
    });
    rig.handle.begin_resync(ResyncCause::Schema, 0);
    rig.put("a", r#"{"price":1,"stock":10}"#);
    assert!(!new.is_synced());
    assert!(rig.handle.end_resync(at(2)).await);
    assert!(waiting.await.unwrap() && new.is_synced());
    rig.stop().await;
}

#[tokio::test]
async fn rows_refused_for_a_limit_come_again_when_the_limit_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let before = limited(dir.path(), 1).await;
    let view = before.view(&["price"]).await;
    before.put("a", r#"{"price":1}"#);
    before.put("b", r#"{"price":2}"#);
    before.handle.reached(at(2));
    drop(view);
    before.stop().await;
    let check = async |max_entities, expected| {
        let rig = limited(dir.path(), max_entities).await;
        assert_eq!((rig.handle.standing(), rig.handle.is_synced()), (expected, true), "{max_entities}");
        rig.stop().await;
    };
    check(1, Standing::At(Some(at(2)))).await;
    check(2, Standing::MustResync(ResyncCause::Limits)).await;
    // Once all rows were read within the new limits, nothing is missing.
    let raised = limited(dir.path(), 2).await;
    let view = raised.view(&["price"]).await;
    raised.handle.begin_resync(ResyncCause::Limits, 0);
    raised.put("a", r#"{"price":1}"#);
    raised.put("b", r#"{"price":2}"#);
    assert!(raised.handle.end_resync(at(2)).await);
    assert_eq!(values(&view, "price"), map(&[("a", 1.0), ("b", 2.0)]));
    drop(view);
    raised.stop().await;
    check(3, Standing::At(Some(at(2)))).await;
}
