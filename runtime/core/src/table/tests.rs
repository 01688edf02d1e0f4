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

#[test]
fn every_cell_reads_back_as_it_was_written() {
    let columns = columns();
    let mut table = Table::new(&columns);
    let rows: Vec<_> = (0..9).map(|at| row(&columns, at)).collect();
    for row in &rows {
        table.push(row.clone()).unwrap();
    }
    let file = table.into_file(&columns).unwrap();
    let back: Vec<_> = read(file.into(), &columns).unwrap().map(Result::unwrap).collect();
    assert_eq!(back, rows);
}

#[test]
fn numbers_keep_their_bits() {
    let columns = [Spec::new("inputs", Kind::Number, Shape::MaybeList)];
    let odd = [f64::from_bits(0x7ff8_0000_0000_0001), -0.0, f64::INFINITY, f64::MIN_POSITIVE / 2.0];
    let mut table = Table::new(&columns);
    table.push([Cell::list(odd.map(Cell::Number))]).unwrap();
    let back = read(table.into_file(&columns).unwrap().into(), &columns).unwrap().next().unwrap().unwrap();
    let bits: Vec<_> = back[0].elements().iter().map(|cell| cell.as_number().unwrap().to_bits()).collect();
    assert_eq!(bits, odd.map(f64::to_bits));
}

#[test]
fn other_columns_are_left_and_missing_ones_are_null() {
    let columns = columns();
    let mut table = Table::new(&columns);
    table.push(row(&columns, 0)).unwrap();
    let wanted = [columns[4].clone(), Spec::new("new", Kind::Text, Shape::Maybe), columns[0].clone()];
    let back = read(table.into_file(&columns).unwrap().into(), &wanted).unwrap().next().unwrap().unwrap();
    assert_eq!(back, [value(Kind::Json, 0), Cell::Null, value(Kind::Text, 0)]);
}

#[test]
fn what_does_not_fit_a_column_is_told() {
    let columns = [Spec::new("seq", Kind::Whole, Shape::One)];
    let mut table = Table::new(&columns);
    assert!(table.push([Cell::text("x")]).unwrap_err().to_string().contains("column seq"));
    assert!(table.push([Cell::Null]).unwrap_err().to_string().contains("is missing"));
}

#[test]
fn a_broken_file_is_told_and_breaks_nothing() {
    let columns = columns();
    let mut table = Table::new(&columns);
    (0..50).for_each(|at| table.push(row(&columns, at)).unwrap());
    let whole = table.into_file(&columns).unwrap();
    for at in (0..whole.len()).step_by(17) {
        assert!(read(whole[..at].to_vec().into(), &columns).is_err(), "cut at {at}");
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        if let Ok(rows) = read(bytes.into(), &columns) {
            assert!(rows.take(1_000).count() < 1_000, "changed at {at}");
        }
    }
}
