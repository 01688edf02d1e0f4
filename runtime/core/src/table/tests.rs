#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn columns() -> Vec<Spec> {
    let kinds = [Kind::Text, Kind::Json, Kind::Time, Kind::Whole, Kind::Unsigned, Kind::Number];
    let shapes = [Shape::One, Shape::Maybe, Shape::List, Shape::MaybeList];
    let each = kinds.iter().flat_map(|kind| shapes.iter().map(|shape| (*kind, *shape)));
    each.map(|(kind, shape)| Spec::new(format!("{kind:?} {shape:?}"), kind, shape)).collect()
}

fn value(kind: Kind, at: i64) -> Cell {
    match kind {
        Kind::Text => Cell::text(format!("ü{at}")),
        Kind::Json => Cell::text(format!("{{\"at\":{at}}}")),
        Kind::Time | Kind::Whole => Cell::Whole(i64::MIN + at),
        Kind::Unsigned => Cell::Whole(-1 - at),
        Kind::Number => Cell::Number(0.1 * at as f64),
    }
}

/// A row in which everything is there, empty, null, or has a hole.
fn row(columns: &[Spec], at: i64) -> Vec<Cell> {
    let cell = |spec: &Spec| match (spec.shape, at % 4) {
        (Shape::Maybe | Shape::MaybeList, 1) => Cell::Null,
        (Shape::One | Shape::Maybe, _) => value(spec.kind, at),
        (_, 2) => Cell::List(vec![]),
        (_, 3) => Cell::List(vec![value(spec.kind, at), Cell::Null, value(spec.kind, at + 1)]),
        _ => Cell::List(vec![value(spec.kind, at)]),
    };
    columns.iter().map(cell).collect()
}

fn file(columns: &[Spec], rows: impl IntoIterator<Item = Vec<Cell>>) -> Vec<u8> {
    let mut writing = Writing::new(Vec::new(), columns).unwrap();
    rows.into_iter().for_each(|row| writing.push(row).unwrap());
    writing.finish().unwrap()
}

#[test]
fn every_cell_reads_back_as_it_was_written() {
    let columns = columns();
    let rows: Vec<_> = (0..9).map(|at| row(&columns, at)).collect();
    let back: Vec<_> = read(file(&columns, rows.clone()).into(), &columns).unwrap().map(Result::unwrap).collect();
    assert_eq!(back, rows);
}

#[test]
fn numbers_keep_their_bits() {
    let columns = [Spec::new("inputs", Kind::Number, Shape::MaybeList)];
    let odd = [f64::from_bits(0x7ff8_0000_0000_0001), -0.0, f64::INFINITY, f64::MIN_POSITIVE / 2.0];
    let file = file(&columns, [vec![Cell::list(odd.map(Cell::Number))]]);
    let back = read(file.into(), &columns).unwrap().next().unwrap().unwrap();
    let bits: Vec<_> = back[0].elements().iter().map(|cell| cell.as_number().unwrap().to_bits()).collect();
    assert_eq!(bits, odd.map(f64::to_bits));
}

#[test]
fn other_columns_are_left_and_missing_ones_are_null() {
    let columns = columns();
    let file = file(&columns, [row(&columns, 0)]);
    let wanted = [columns[4].clone(), Spec::new("new", Kind::Text, Shape::Maybe), columns[0].clone()];
    let back = read(file.into(), &wanted).unwrap().next().unwrap().unwrap();
    assert_eq!(back, [value(Kind::Json, 0), Cell::Null, value(Kind::Text, 0)]);
}

#[test]
fn what_does_not_fit_a_column_is_told() {
    let columns = [Spec::new("seq", Kind::Whole, Shape::One)];
    let mut writing = Writing::new(Vec::new(), &columns).unwrap();
    assert!(writing.push([Cell::text("x")]).unwrap_err().to_string().contains("column seq"));
    assert!(writing.push([Cell::Null]).unwrap_err().to_string().contains("is missing"));
}

#[test]
fn a_broken_file_is_told_and_breaks_nothing() {
    let columns = columns();
    let whole = file(&columns, (0..50).map(|at| row(&columns, at)));
    for at in (0..whole.len()).step_by(17) {
        assert!(read(whole[..at].to_vec().into(), &columns).is_err(), "cut at {at}");
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        if let Ok(rows) = read(bytes.into(), &columns) {
            assert!(rows.take(1_000).count() < 1_000, "changed at {at}");
        }
    }
}

#[test]
fn long_rows_are_written_a_group_at_a_time() {
    let columns = [Spec::new("seq", Kind::Whole, Shape::One), Spec::new("inputs", Kind::Number, Shape::List)];
    let long = Cell::List(vec![Cell::Number(0.5); GROUP_CELLS / 3]);
    let mut writing = Writing::new(Vec::new(), &columns).unwrap();
    for seq in 0..7 {
        writing.push([Cell::Whole(seq), long.clone()]).unwrap();
    }
    assert_eq!(writing.file.flushed_row_groups().len(), 2);
    let back = read(writing.finish().unwrap().into(), &columns[..1]).unwrap();
    assert_eq!(back.map(|row| row.unwrap()[0].as_whole().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
}
