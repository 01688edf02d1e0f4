//! A source that holds only whom decisions asked for: fetches and the feed in every order, and what is left on disk.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::*;
use crate::features::source::sights::{Sight, SightLimits};
use crate::link::LinkState;
use crate::link::nats::features::fetch::Fetched;
use crate::link::nats::features::follow::Operation;

/// A rig whose link can be cut, and whom it wants to have fetched.
struct Seen {
    rig: Rig,
    link: watch::Sender<LinkState>,
    wanted: mpsc::Receiver<Arc<str>>,
}

const LIMITS: SightLimits = SightLimits { fetches: 2, absent: 3, absent_us: 1_000 };

async fn seen(dir: &Path, entities: u32) -> Seen {
    let (link, state) = watch::channel(LinkState::Connected { since_us: 0 });
    let (sights, wanted) = Sights::new(LIMITS, Metrics::new().sights("item"), state);
    let room = Room { entities, bytes: 1 << 20, evicts: true };
    Seen { rig: opened(dir, room, Some(sights)).await, link, wanted }
}

fn row(price: u32, seq: u64) -> Option<Fetched> {
    let json = Bytes::from(format!("{{\"price\":{price}}}"));
    Some(Fetched { operation: Operation::Put(json), seq, stored_us: 7 })
}

impl Seen {
    fn sights(&self) -> &Sights {
        self.rig.handle.sights().unwrap()
    }

    /// Somebody asks for an entity that is not held; whether it is fetched because of that.
    fn ask(&mut self, entity: &str) -> bool {
        let sight = self.sights().sight(entity, 0);
        let asked = self.wanted.try_recv().is_ok_and(|wanted| &*wanted == entity);
        assert!(!asked || matches!(sight, Sight::Fetching(_)), "{entity}: {sight:?}");
        asked
    }

    /// The core answers a fetch.
    fn answer(&self, entity: &str, answer: Option<Fetched>) {
        assert!(!self.rig.handle.fetched(entity, Ok(answer)), "{entity} need not be fetched again");
        self.sights().done(entity);
    }

    /// Asks and is answered.
    fn fetch(&mut self, entity: &str, price: u32, seq: u64) {
        assert!(self.ask(entity), "{entity}");
        self.answer(entity, row(price, seq));
    }

    fn put(&self, entity: &str, price: u32, seq: u64) {
        let row = Bytes::from(format!("{{\"price\":{price}}}"));
        self.rig.handle.change(entity, Update::Put { row }, seq, 7);
    }

    fn delete(&self, entity: &str, seq: u64) {
        self.rig.handle.change(entity, Update::Delete, seq, 7);
    }

    async fn view(&self, features: &[&str]) -> Arc<Shard> {
        self.rig.view(features).await
    }

    async fn stop(self) {
        self.rig.stop().await;
    }
}

/// Whom a restart finds on disk, and their prices.
async fn on_disk(dir: &Path) -> BTreeMap<String, f64> {
    let after = seen(dir, 100).await;
    let found = values(&*after.view(&["price"]).await, "price");
    after.stop().await;
    found
}

#[tokio::test]
async fn only_whom_somebody_asked_for_is_held_and_kept_fresh() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 100).await;
    let view = seen.view(&["price"]).await;
    assert!(view.is_synced(), "there is nothing to wait for");
    seen.put("a", 1, 1);
    assert!(view.table.is_empty());
    seen.fetch("a", 1, 1);
    assert_eq!(values(&view, "price"), map(&[("a", 1.0)]));
    seen.put("a", 2, 2);
    seen.put("b", 9, 3);
    assert_eq!(values(&view, "price"), map(&[("a", 2.0)]));
    seen.delete("a", 4);
    assert!(view.table.is_empty());
    assert!(!seen.ask("a"), "the feed said that there is none");
    seen.put("a", 5, 5);
    assert_eq!(values(&view, "price"), map(&[("a", 5.0)]), "and then that there is one");
    let metrics = &seen.sights().metrics;
    assert_eq!((metrics.passed_by.get(), metrics.fetched_row.get()), (2, 1));
    seen.rig.handle.reached(at(5));
    drop(view);
    seen.stop().await;
    assert_eq!(on_disk(dir.path()).await, map(&[("a", 5.0)]));
}

#[tokio::test]
async fn a_row_fetched_is_never_older_than_what_the_feed_brought() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 100).await;
    let view = seen.view(&["price"]).await;
    assert!(seen.ask("a"));
    seen.put("a", 7, 7);
    assert_eq!(values(&view, "price"), map(&[("a", 7.0)]), "whoever waits for it need not wait for the answer");
    seen.answer("a", row(5, 5));
    assert_eq!(values(&view, "price"), map(&[("a", 7.0)]), "the answer was on its way for longer");
    assert!(seen.ask("b"));
    seen.put("b", 8, 8);
    seen.answer("b", row(10, 10));
    assert_eq!(values(&view, "price")["b"].to_bits(), 10f64.to_bits(), "the answer is from after");
    assert!(seen.ask("c"));
    seen.put("c", 1, 11);
    seen.delete("c", 12);
    seen.answer("c", row(1, 11));
    assert!(!view.table.holds("c"), "what was deleted does not come back");
    assert!(seen.ask("d"));
    seen.put("d", 13, 13);
    seen.answer("d", None);
    assert!(view.table.holds("d"), "there was none, but now there is");
    seen.stop().await;
}

#[tokio::test]
async fn one_fetch_serves_all_who_ask() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 100).await;
    let view = seen.view(&["price"]).await;
    assert!(seen.ask("a"));
    assert!(!seen.ask("a"), "it is on its way");
    let Sight::Fetching(mut over) = seen.sights().sight("a", 0) else { panic!("not fetching") };
    assert!(!over.has_changed().unwrap());
    assert!(seen.ask("b"));
    assert!(matches!(seen.sights().sight("c", 0), Sight::Busy), "two at once is the limit");
    seen.answer("a", row(1, 1));
    assert!(over.changed().await.is_err(), "told when it is over");
    assert!(view.table.holds("a"));
    assert!(seen.ask("c"));
    seen.link.send_replace(LinkState::Down { since_us: 0, why: "cut".into() });
    assert!(matches!(seen.sights().sight("d", 0), Sight::Unreachable));
    assert!(seen.wanted.try_recv().is_err(), "a dead link is not asked");
    seen.stop().await;
}

#[tokio::test]
async fn who_is_absent_is_remembered_for_a_while_and_not_without_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 100).await;
    let view = seen.view(&["price"]).await;
    let now_us = seen.rig.handle.clock.now_us();
    let is_absent =
        |seen: &Seen, entity: &str, at_us| matches!(seen.sights().known(entity, at_us), Some(Sight::Absent));
    for entity in ["a", "b", "c", "d"] {
        assert!(seen.ask(entity));
        seen.answer(entity, None);
    }
    assert!(is_absent(&seen, "d", now_us));
    assert!(!is_absent(&seen, "d", now_us + 60_000_000), "for a while");
    assert!(!is_absent(&seen, "a", now_us), "three is the limit: the oldest is forgotten");
    assert_eq!(seen.sights().absent(), 3);
    seen.put("d", 4, 4);
    assert!(view.table.holds("d"), "a put makes it positive at once");
    assert_eq!(seen.sights().absent(), 2);
    assert!(seen.ask("e"));
    seen.rig.handle.begin_resync(ResyncCause::Recreated, 0);
    assert_eq!(seen.sights().absent(), 0, "another bucket may have it");
    assert!(seen.rig.handle.fetched("e", Ok(None)), "the answer may be from before: it is fetched again");
    assert!(!seen.rig.handle.fetched("e", Ok(row(5, 5))));
    assert!(view.table.holds("e"));
    for bad in ["", "a\0", "a\0b\0c"] {
        assert!(matches!(seen.sights().sight(bad, 0), Sight::Absent), "{bad:?} can have no row");
    }
    seen.stop().await;
}

#[tokio::test]
async fn who_makes_room_goes_from_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 3).await;
    let view = seen.view(&["price"]).await;
    for (seq, entity) in (1..).zip(["a", "b", "c", "d", "e"]) {
        seen.fetch(entity, seq as u32, seq);
    }
    let held: BTreeSet<String> = view.table.entities().map(|entity| entity.to_string()).collect();
    assert_eq!((held.len(), seen.sights().metrics.evictions.get()), (3, 2));
    seen.put("a", 99, 9);
    seen.rig.handle.reached(at(9));
    drop(view);
    seen.stop().await;
    let found: BTreeSet<String> = on_disk(dir.path()).await.into_keys().collect();
    assert_eq!(found, held);
}

#[tokio::test]
async fn rows_on_disk_without_room_in_memory_do_not_come_back_stale() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = seen(dir.path(), 5).await;
    let view = before.view(&["price"]).await;
    for (seq, entity) in (1..).zip(["a", "b", "c", "d", "e"]) {
        before.fetch(entity, 1, seq);
    }
    before.rig.handle.reached(at(5));
    drop(view);
    before.stop().await;
    let smaller = seen(dir.path(), 2).await;
    let view = smaller.view(&["price"]).await;
    let held: BTreeSet<String> = view.table.entities().map(|entity| entity.to_string()).collect();
    assert_eq!(held.len(), 2);
    for (seq, entity) in (6..).zip(["a", "b", "c", "d", "e"]) {
        smaller.put(entity, 2, seq);
    }
    smaller.rig.handle.reached(at(10));
    drop(view);
    smaller.stop().await;
    let found = on_disk(dir.path()).await;
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), held);
    assert!(found.values().all(|price| *price == 2.0), "{found:?}");
}

#[tokio::test]
async fn a_table_that_goes_takes_from_disk_what_only_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 2).await;
    let old = seen.view(&["price"]).await;
    seen.fetch("a", 1, 1);
    seen.fetch("b", 2, 2);
    let new = seen.view(&["price", "stock"]).await;
    assert_eq!(new.table.len(), 2, "filled from disk");
    // Both are read in the old table only, so the new one lets go of others than the old one does.
    for entity in ["a", "b"] {
        assert!(old.read(entity, &mut [0], 0).is_some());
    }
    seen.fetch("c", 3, 3);
    assert!(seen.rig.handle.flush().await);
    let only_old: Vec<String> =
        old.table.entities().filter(|entity| !new.table.holds(entity)).map(|entity| entity.to_string()).collect();
    drop(old);
    for entity in &only_old {
        seen.put(entity, 99, 4);
    }
    seen.rig.handle.reached(at(4));
    let held: BTreeSet<String> = new.table.entities().map(|entity| entity.to_string()).collect();
    drop(new);
    seen.stop().await;
    assert_eq!(on_disk(dir.path()).await.into_keys().collect::<BTreeSet<_>>(), held, "{only_old:?}");
}

#[tokio::test]
async fn a_change_is_not_undone_by_the_row_on_disk_that_fills_another_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 100).await;
    let old = seen.view(&["price"]).await;
    seen.fetch("a", 1, 1);
    let layout =
        RowLayout::new([("price".to_owned(), FeatureKind::Number, 1), ("x".to_owned(), FeatureKind::Number, 1)]);
    let new = Arc::new(Shard::new("item", Arc::new(layout), seen.rig.room, Arc::clone(&seen.rig.handle)));
    seen.rig.handle.attach(&new, &seen.rig.symbols);
    seen.put("a", 2, 2);
    // As when the disk was read a moment before.
    new.table.load("a", 7, &[1f64.to_bits(), f64::NAN.to_bits()]).unwrap();
    new.table.end_load();
    assert_eq!((values(&old, "price"), values(&new, "price")), (map(&[("a", 2.0)]), map(&[("a", 2.0)])));
    seen.put("b", 3, 3);
    assert_eq!(new.table.len(), 1, "whom nobody asked for passes by");
    seen.stop().await;
}

#[tokio::test]
async fn changes_that_pass_by_without_a_table_do_not_move_the_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = seen(dir.path(), 5).await;
    let view = before.view(&["price"]).await;
    before.fetch("a", 1, 1);
    before.rig.handle.reached(at(1));
    drop(view);
    // The feed notices a little later that nobody holds the view.
    before.put("a", 2, 2);
    before.rig.handle.reached(at(2));
    before.stop().await;
    let after = seen(dir.path(), 5).await;
    assert_eq!(after.rig.handle.standing(), Standing::At(Some(at(1))), "the change will be read again");
    after.stop().await;
}

#[tokio::test]
async fn fetching_everything_again_takes_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = seen(dir.path(), 100).await;
    let view = seen.view(&["price"]).await;
    for (seq, entity) in (1..).zip(["a", "b", "c"]) {
        seen.fetch(entity, 1, seq);
    }
    seen.rig.handle.begin_resync(ResyncCause::Behind, 0);
    let held: BTreeSet<Arc<str>> = seen.rig.handle.held().into_iter().collect();
    assert_eq!(held.len(), 3);
    for entity in held {
        assert!(seen.rig.handle.fetch_again(&entity));
        assert!(!seen.rig.handle.fetch_again(&entity), "once is enough");
        let answer = if &*entity == "b" { None } else { row(2, 9) };
        assert_eq!(view.table.len(), if &*entity == "c" { 2 } else { 3 }, "the others stay meanwhile");
        seen.answer(&entity, answer);
    }
    assert!(seen.rig.handle.end_resync(at(9)).await);
    assert_eq!(values(&view, "price"), map(&[("a", 2.0), ("c", 2.0)]));
    assert_eq!(seen.rig.handle.standing(), Standing::At(Some(at(9))));
    seen.stop().await;
}
