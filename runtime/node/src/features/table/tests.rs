#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;

fn row(width: usize, value: u64) -> Vec<u64> {
    vec![value; width]
}

fn read(table: &Table, entity: &str) -> Option<(TimeUs, Vec<u64>)> {
    let mut cells = row(table.width(), 0);
    let time_us = table.read(table.resolve(entity)?, &mut cells)?;
    Some((time_us, cells))
}

#[test]
fn room_is_made_for_what_is_expected_and_no_more_than_it_may_hold() {
    let table = Table::new(1, Room::entities(10));
    table.expect(1 << 40);
    table.put("a", 1, &[1]).unwrap();
    assert_eq!((table.len(), table.key("a").as_deref(), table.key("b")), (1, Some("a"), None));
}

#[test]
fn a_slot_given_to_another_entity_is_noticed() {
    let table = Table::new(3, Room::entities(10));
    table.put("a", 1, &row(3, 1)).unwrap();
    let old = table.resolve("a").unwrap();
    assert!(table.remove("a"));
    assert_eq!(table.read(old, &mut [0; 3]), None, "gone");
    table.put("b", 2, &row(3, 2)).unwrap();
    let new = table.resolve("b").unwrap();
    assert_eq!(new.index, old.index, "the slot is used again");
    assert_eq!(table.read(old, &mut [0; 3]), None, "and is another's");
    assert_eq!(read(&table, "b"), Some((2, row(3, 2))));
    assert_eq!(table.resolve("a"), None);
}

#[test]
fn a_full_table_takes_updates_but_nobody_new() {
    let table = Table::new(1, Room::entities(2));
    table.put("a", 1, &[1]).unwrap();
    table.put("b", 1, &[1]).unwrap();
    assert_eq!(table.put("c", 1, &[1]), Err(TableFull::Entities { max: 2 }));
    table.put("a", 2, &[2]).unwrap();
    assert!(table.remove("b"));
    table.put("c", 3, &[3]).unwrap();
    assert_eq!(read(&table, "c"), Some((3, vec![3])));
    assert_eq!(table.len(), 2);
}

#[test]
fn a_load_gives_way_to_what_came_since() {
    let table = Table::new(1, Room::entities(10));
    table.begin_load();
    table.put("updated", 5, &[5]).unwrap();
    table.remove("removed");
    for entity in ["updated", "removed", "old"] {
        table.load(entity, 1, &[1]).unwrap();
    }
    table.end_load();
    assert_eq!(read(&table, "updated"), Some((5, vec![5])));
    assert_eq!(read(&table, "removed"), None);
    assert_eq!(read(&table, "old"), Some((1, vec![1])));
}

#[test]
fn a_sweep_takes_whoever_did_not_come_again() {
    let table = Table::new(1, Room::entities(1_000));
    for i in 0..500 {
        table.put(&format!("e{i}"), 1, &[i]).unwrap();
    }
    assert!(table.sweep().is_empty(), "no marks, no sweep");
    table.begin_marks();
    for i in (0..500).step_by(2) {
        table.put(&format!("e{i}"), 2, &[i]).unwrap();
    }
    table.put("new", 2, &[7]).unwrap();
    table.keep("e1");
    table.keep("stranger");
    table.remove("e0");
    let mut swept = table.sweep();
    swept.sort();
    let mut expected: Vec<Arc<str>> = (3..500).step_by(2).map(|i| format!("e{i}").into()).collect();
    expected.sort();
    assert_eq!(swept, expected);
    assert_eq!(table.len(), 251);
    assert_eq!(read(&table, "e1"), Some((1, vec![1])));
}

#[test]
fn readers_never_see_half_a_row() {
    const WIDTH: usize = 97;
    let table = Table::new(WIDTH, Room::entities(4));
    let stop = AtomicBool::new(false);
    let entities = ["a", "b", "c"];
    for entity in entities {
        table.put(entity, 0, &row(WIDTH, 0)).unwrap();
    }
    let seen = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut cells = row(WIDTH, 0);
                    let mut seen = 0u64;
                    while !stop.load(Ordering::Relaxed) {
                        for entity in entities {
                            let Some(slot) = table.resolve(entity) else { continue };
                            let Some(time_us) = table.read(slot, &mut cells) else { continue };
                            assert!(cells.iter().all(|&cell| cell == time_us as u64), "torn: {time_us} {cells:?}");
                            seen += 1;
                        }
                    }
                    seen
                })
            })
            .collect();
        // Long enough for the readers to meet the writer in the middle of rows, also on one core.
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(300);
        let mut value = 0;
        while std::time::Instant::now() < deadline {
            value += 1;
            let entity = entities[value as usize % 3];
            if value % 7 == 0 {
                table.remove(entity);
            }
            table.put(entity, value, &row(WIDTH, value as u64)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert!(seen > 1_000, "the readers read: {seen}");
}

/// A table that evicts, with room for 1 MiB.
fn evicting(width: usize, entities: u32) -> Table {
    Table::new(width, Room { entities, bytes: 1 << 20, evicts: true })
}

fn held(table: &Table) -> Vec<Arc<str>> {
    let mut held: Vec<_> = table.entities().collect();
    held.sort();
    held
}

#[test]
fn who_was_read_gets_a_second_chance() {
    let table = evicting(1, 3);
    let mut gone = Vec::new();
    let mut admit = |entity: &str| {
        gone.clear();
        table.admit(entity, 1, &[1], &mut gone).unwrap();
        gone.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for entity in ["a", "b", "c"] {
        assert!(admit(entity).is_empty(), "{entity} has room");
    }
    read(&table, "a").unwrap();
    assert_eq!(admit("d"), ["b"], "a was read, b was not");
    assert!(admit("d").is_empty(), "an update needs no room");
    read(&table, "d").unwrap();
    assert_eq!(admit("e"), ["c"]);
    assert_eq!(admit("f"), ["a"], "nobody read it since the hand passed");
    assert_eq!(held(&table), ["d".into(), "e".into(), "f".into()]);
    for entity in ["d", "e", "f"] {
        read(&table, entity).unwrap();
    }
    assert_eq!(admit("g").len(), 1, "all were read: somebody goes all the same");
    assert!(table.remove("g"));
    assert!(admit("h").is_empty(), "a row that was removed is room");
    assert_eq!(table.put("i", 1, &[1]), Err(TableFull::Entities { max: 3 }), "only who is admitted makes room");
}

#[test]
fn a_table_never_weighs_more_than_it_may() {
    for (width, name) in [(1, 1), (20, 40), (1_000, 512), (60_000, 8)] {
        let table = evicting(width, u32::MAX);
        let cells = row(width, 7);
        let (mut gone, mut admitted) = (Vec::new(), 0);
        while gone.len() < 200 {
            table.admit(&format!("{admitted:0name$}"), 1, &cells, &mut gone).unwrap();
            admitted += 1;
            assert!(table.bytes() <= 1 << 20, "{width}: {} bytes with {} entities", table.bytes(), table.len());
        }
        assert_eq!(table.len() + gone.len(), admitted, "{width}");
        assert!(table.bytes() > 1 << 19, "{width}: at least half is used, not {}", table.bytes());
        let refuses = Table::new(width, Room { entities: u32::MAX, bytes: 1 << 20, evicts: false });
        let taken = (0..).take_while(|at| refuses.put(&format!("{at:0name$}"), 1, &cells).is_ok()).count();
        assert_eq!(refuses.put("another", 1, &cells), Err(TableFull::Bytes { max: 1 << 20 }), "{width}");
        assert!(refuses.bytes() <= 1 << 20 && taken >= table.len(), "{width}: {taken} and {}", table.len());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u64),
    Remove(u8),
    Load(u8, u64),
    BeginLoad,
    EndLoad,
    BeginMarks,
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..20u8, any::<u64>()).prop_map(|(entity, value)| Step::Put(entity, value)),
        3 => (0..20u8).prop_map(Step::Remove),
        2 => (0..20u8, any::<u64>()).prop_map(|(entity, value)| Step::Load(entity, value)),
        1 => Just(Step::BeginLoad),
        1 => Just(Step::EndLoad),
        1 => Just(Step::BeginMarks),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #[test]
    fn a_table_is_a_map(steps in prop::collection::vec(step(), 0..200), width in 1..40usize) {
        let table = Table::new(width, Room::entities(15));
        let mut model: BTreeMap<u8, u64> = BTreeMap::new();
        let mut touched: Option<Vec<u8>> = None;
        let mut marks: Option<Vec<u8>> = None;
        for step in steps {
            match step {
                Step::Put(entity, value) => {
                    if let Some(touched) = &mut touched { touched.push(entity); }
                    let fits = model.len() < 15 || model.contains_key(&entity);
                    prop_assert_eq!(table.put(&entity.to_string(), 1, &row(width, value)).is_ok(), fits);
                    if fits {
                        model.insert(entity, value);
                        if let Some(marks) = &mut marks { marks.push(entity); }
                    }
                }
                Step::Remove(entity) => {
                    if let Some(touched) = &mut touched { touched.push(entity); }
                    prop_assert_eq!(table.remove(&entity.to_string()), model.remove(&entity).is_some());
                    if let Some(marks) = &mut marks { marks.retain(|marked| *marked != entity); }
                }
                Step::Load(entity, value) => {
                    let gives_way = touched.as_ref().is_some_and(|touched| touched.contains(&entity));
                    let fits = gives_way || model.len() < 15 || model.contains_key(&entity);
                    prop_assert_eq!(table.load(&entity.to_string(), 1, &row(width, value)).is_ok(), fits);
                    if fits && !gives_way { model.insert(entity, value); }
                }
                Step::BeginLoad => { table.begin_load(); touched = Some(Vec::new()); }
                Step::EndLoad => { table.end_load(); touched = None; }
                Step::BeginMarks => { table.begin_marks(); marks = Some(Vec::new()); }
                Step::Sweep => {
                    table.sweep();
                    if let Some(marks) = marks.take() { model.retain(|entity, _| marks.contains(entity)); }
                }
            }
            prop_assert_eq!(table.len(), model.len());
        }
        for entity in 0..20u8 {
            let expected = model.get(&entity).map(|&value| (1, row(width, value)));
            prop_assert_eq!(read(&table, &entity.to_string()), expected);
        }
    }
}
