//! Rows back from a file. Owns which columns of it are wanted: what a file does not have is null, what it has besides is left.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::{Cell, Kind, Spec, TableError};

/// The rows of a file, each with a cell for every wanted column.
pub(crate) struct Reading {
    rows: RowIter<'static>,
    /// For each wanted column, where it stands in the file.
    places: Vec<Option<usize>>,
    kinds: Vec<Kind>,
    failed: bool,
}

/// Begins to read `columns` of a file.
pub(crate) fn read(bytes: Bytes, columns: &[Spec]) -> Result<Reading, TableError> {
    let reader = guarded(|| SerializedFileReader::new(bytes))??;
    let schema = reader.metadata().file_metadata().schema();
    let wanted: Vec<_> = schema
        .get_fields()
        .iter()
        .filter(|field| columns.iter().any(|column| column.name == field.name()))
        .cloned()
        .collect();
    let places = columns.iter().map(|column| wanted.iter().position(|field| field.name() == column.name)).collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build()?;
    let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection))?;
    Ok(Reading { rows, places, kinds: columns.iter().map(|column| column.kind).collect(), failed: false })
}

/// The library panics about some broken files, where it should say what is wrong.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, TableError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| TableError("the file is broken".to_owned()))
}

// === impl Reading ===

impl Iterator for Reading {
    type Item = Result<Vec<Cell>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = match guarded(|| self.rows.next()) {
            Ok(None) => return None,
            Ok(Some(Ok(row))) => row,
            Ok(Some(Err(error))) => {
                self.failed = true;
                return Some(Err(error.into()));
            }
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        let mut fields: Vec<Option<Field>> = row.into_columns().into_iter().map(|(_, field)| Some(field)).collect();
        let cells = self.places.iter().zip(&self.kinds).map(|(place, kind)| {
            let field = place.and_then(|place| fields.get_mut(place)?.take());
            field.map_or(Ok(Cell::Null), |field| cell(field, *kind))
        });
        Some(cells.collect())
    }
}

fn cell(field: Field, kind: Kind) -> Result<Cell, TableError> {
    Ok(match (field, kind) {
        (Field::Null, _) => Cell::Null,
        (Field::ListInternal(list), kind) => {
            let elements = list.elements().iter().map(|element| cell(element.clone(), kind));
            Cell::List(elements.collect::<Result<_, _>>()?)
        }
        (Field::Str(text), Kind::Text | Kind::Json) => Cell::text(text),
        (Field::Bytes(bytes), Kind::Text | Kind::Json) => Cell::Text(bytes),
        (Field::Long(whole), Kind::Whole) | (Field::TimestampMicros(whole), Kind::Time) => Cell::Whole(whole),
        (Field::ULong(whole), Kind::Unsigned) => Cell::Whole(whole.cast_signed()),
        (Field::Double(number), Kind::Number) => Cell::Number(number),
        (other, _) => return Err(TableError(format!("{other:?} where {kind:?} belongs"))),
    })
}
