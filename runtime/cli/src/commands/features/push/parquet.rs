//! Rows as Parquet: a column a feature. Owns which columns can be features, and what their values are in a row.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use selvedge_node::features::entity::entity;
use selvedge_node::features::lines::{DELETE_NAME, KEY_NAME};
use selvedge_node::features::row::{TIME_NAME, parse_rfc3339};
use serde_json::{Map, Value};

use super::rows::{BadRow, FileRow, key};
use crate::commands::features::schema::Schema;

/// The columns of a file.
pub(super) struct Parquet {
    bytes: Bytes,
    columns: Vec<Kind>,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Float,
    Flag,
    Time(Unit),
    /// A list of integers or floats.
    Numbers,
    /// A list of texts.
    Texts,
}

/// What a time counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// The rows of a file, up to the first that cannot be read.
struct Rows<'f> {
    file: &'f Parquet,
    rows: Option<RowIter<'static>>,
    number: usize,
}

const EXPECTED: &str = "expected strings, integers, floats, booleans, timestamps, lists of numbers or lists of strings";

// === impl Parquet ===

impl Parquet {
    /// Looks at the columns: every one has to be a feature, or `_key`, `_time` or `_delete`.
    pub(super) fn new(bytes: Bytes, schema: Option<&Schema>) -> Result<Self, String> {
        let mut columns = Vec::new();
        let mut has_key = false;
        let reader = reader(bytes.clone())?;
        let metadata = reader.metadata();
        packed(metadata)?;
        for column in metadata.file_metadata().schema().get_fields() {
            let (name, described) = (column.name(), described(column));
            let kind = kind(column);
            let kind =
                kind.ok_or_else(|| format!("column {name:?} is {described}; {EXPECTED}: cast it, or leave it out"))?;
            let expected = match (name, kind) {
                (KEY_NAME, Kind::Text | Kind::Texts)
                | (DELETE_NAME, Kind::Flag)
                | (TIME_NAME, Kind::Time(_) | Kind::Integer | Kind::Text) => None,
                (KEY_NAME, _) => Some("strings, or lists of two strings"),
                (DELETE_NAME, _) => Some("booleans"),
                (TIME_NAME, _) => Some("timestamps, or whole microseconds since 1970"),
                _ if name.starts_with('_') => {
                    // What pandas calls an index that has no name.
                    let is_index = name.starts_with("__index_level_");
                    let hint = if is_index { " (pandas: to_parquet(…, index=False))" } else { "" };
                    return Err(format!(
                        "column {name:?}: of names with `_` only {KEY_NAME}, {TIME_NAME} and {DELETE_NAME} mean \
                         something{hint}"
                    ));
                }
                _ => {
                    let known = schema.map_or(Ok(()), |schema| schema.knows(name));
                    known.map_err(|why| format!("column {name:?}: {why}"))?;
                    None
                }
            };
            if let Some(expected) = expected {
                return Err(format!("column {name:?} is {described}; expected {expected}"));
            }
            has_key |= name == KEY_NAME;
            columns.push(kind);
        }
        if !has_key {
            return Err(format!("no column {KEY_NAME} says whom a row is about"));
        }
        Ok(Self { bytes, columns })
    }

    /// Its rows, from the first on.
    pub(super) fn rows(&self) -> Result<impl Iterator<Item = Result<FileRow, BadRow>> + '_, String> {
        let rows = RowIter::from_file_into(Box::new(reader(self.bytes.clone())?));
        Ok(Rows { file: self, rows: Some(rows), number: 0 })
    }

    fn row(&self, number: usize, row: Row) -> Result<FileRow, String> {
        let mut json = Map::new();
        let (mut whom, mut is_deleted) = (None, false);
        for ((name, field), kind) in row.into_columns().into_iter().zip(&self.columns) {
            let value = value(*kind, field).map_err(|why| format!("{name}: {why}"))?;
            match (name.as_str(), value) {
                (KEY_NAME, value) => whom = value,
                (DELETE_NAME, value) => is_deleted = value == Some(Value::Bool(true)),
                (_, None) => {}
                (TIME_NAME, Some(Value::String(text))) if parse_rfc3339(&text).is_none() => {
                    return Err(format!("{name}: {text:?} is no time; expected RFC 3339"));
                }
                (_, Some(value)) => {
                    json.insert(name, value);
                }
            }
        }
        let entity = match &whom {
            Some(Value::String(text)) => key(text),
            Some(Value::Array(parts)) => entity(parts.iter().filter_map(Value::as_str)),
            _ => return Err(format!("{KEY_NAME}: it is null")),
        };
        let entity = entity.map_err(|error| format!("{KEY_NAME}: {error}"))?;
        let json = (!is_deleted).then(|| Value::Object(json).to_string().into());
        Ok(FileRow { number, entity, json })
    }
}

/// That every part of the file is written in a way that can be read here.
fn packed(metadata: &ParquetMetaData) -> Result<(), String> {
    for chunk in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let with = match chunk.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => continue,
            Compression::GZIP(_) => "gzip",
            Compression::BROTLI(_) => "Brotli",
            Compression::LZ4 | Compression::LZ4_RAW => "LZ4",
            Compression::LZO => "LZO",
        };
        return Err(format!(
            "it is compressed with {with}, which is not read; write it with compression=\"zstd\" or \"snappy\""
        ));
    }
    Ok(())
}

fn reader(bytes: Bytes) -> Result<SerializedFileReader<Bytes>, String> {
    let open = || SerializedFileReader::new(bytes);
    guarded(open)?.map_err(|error| format!("not a Parquet file that can be read: {error}"))
}

/// The reader panics about some broken files, where it should say what is wrong.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "the file is broken, or of a form that cannot be read".to_owned())
}

// === impl Rows ===

impl Iterator for Rows<'_> {
    type Item = Result<FileRow, BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        self.number += 1;
        let bad = |why| BadRow { place: format!("row {}", self.number), why };
        let read = match guarded(|| rows.next()) {
            Ok(None) => return None,
            Ok(Some(Ok(row))) => return Some(self.file.row(self.number, row).map_err(bad)),
            Ok(Some(Err(error))) => error.to_string(),
            Err(why) => why,
        };
        let bad = bad(format!("this row and all behind it cannot be read: {read}"));
        self.rows = None;
        Some(Err(bad))
    }
}

// === columns ===

/// What a column's values are; none when they can be no feature's.
fn kind(column: &Type) -> Option<Kind> {
    let info = column.get_basic_info();
    if column.is_group() {
        let is_list =
            info.logical_type_ref() == Some(&LogicalType::List) || info.converted_type() == ConvertedType::LIST;
        let [list] = column.get_fields() else { return None };
        if !is_list || list.get_basic_info().repetition() != Repetition::REPEATED {
            return None;
        }
        // Three levels as everybody writes them now, or two as some did.
        let element = match list.get_fields_of_group() {
            Some([element]) => kind(element)?,
            Some(_) => return None,
            None => primitive(list)?,
        };
        return match element {
            Kind::Float | Kind::Integer => Some(Kind::Numbers),
            Kind::Text => Some(Kind::Texts),
            Kind::Flag | Kind::Time(_) | Kind::Numbers | Kind::Texts => None,
        };
    }
    if info.repetition() == Repetition::REPEATED { None } else { primitive(column) }
}

fn primitive(column: &Type) -> Option<Kind> {
    let info = column.get_basic_info();
    let (logical, converted) = (info.logical_type_ref(), info.converted_type());
    match (column.get_physical_type(), logical) {
        (Physical::BYTE_ARRAY, Some(LogicalType::String | LogicalType::Enum | LogicalType::Json)) => Some(Kind::Text),
        (Physical::BYTE_ARRAY, None) => {
            matches!(converted, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON).then_some(Kind::Text)
        }
        (Physical::BOOLEAN, _) => Some(Kind::Flag),
        (Physical::FLOAT | Physical::DOUBLE, None) => Some(Kind::Float),
        (Physical::INT96, _) => Some(Kind::Time(Unit::Millis)),
        (Physical::INT64, Some(LogicalType::Timestamp(time))) => Some(Kind::Time(match time.unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        })),
        (Physical::INT32 | Physical::INT64, Some(LogicalType::Integer(_))) => Some(Kind::Integer),
        (Physical::INT32 | Physical::INT64, None) => match converted {
            ConvertedType::TIMESTAMP_MILLIS => Some(Kind::Time(Unit::Millis)),
            ConvertedType::TIMESTAMP_MICROS => Some(Kind::Time(Unit::Micros)),
            ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64
            | ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Some(Kind::Integer),
            _ => None,
        },
        _ => None,
    }
}

/// A column's type, for people.
fn described(column: &Type) -> String {
    let info = column.get_basic_info();
    let logical = match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => Some("a decimal"),
        (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => Some("a date"),
        (Some(LogicalType::Time(_)), _) | (None, ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS) => {
            Some("a time of day")
        }
        (None, ConvertedType::INTERVAL) => Some("an interval"),
        (Some(LogicalType::Map), _) | (None, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => Some("a map"),
        (Some(LogicalType::List), _) | (None, ConvertedType::LIST) => Some("a list"),
        (Some(LogicalType::String), _) | (None, ConvertedType::UTF8) => Some("a string"),
        (Some(LogicalType::Timestamp(_)), _) => Some("a timestamp"),
        (Some(LogicalType::Float16), _) => Some("a float16"),
        (Some(LogicalType::Uuid), _) => Some("a UUID"),
        _ => None,
    };
    if let Some(logical) = logical {
        let fields = column.get_fields_of_group().unwrap_or_default();
        return match (logical, fields.first().and_then(|list| list.get_fields_of_group()?.first())) {
            ("a list", Some(element)) => format!("a list of which each element is {}", described(element)),
            _ => logical.to_owned(),
        };
    }
    if column.is_group() {
        return "a struct".to_owned();
    }
    match column.get_physical_type() {
        Physical::BOOLEAN => "a boolean",
        Physical::INT32 | Physical::INT64 => "an integer",
        Physical::INT96 => "a timestamp",
        Physical::FLOAT | Physical::DOUBLE => "a float",
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => "binary",
    }
    .to_owned()
}

/// The fields of a group; none of what is no group.
trait Group {
    fn get_fields_of_group(&self) -> Option<&[std::sync::Arc<Type>]>;
}

impl Group for Type {
    fn get_fields_of_group(&self) -> Option<&[std::sync::Arc<Type>]> {
        self.is_group().then(|| self.get_fields())
    }
}

// === values ===

/// A value in a row; none for null, and for a float that is NaN.
fn value(kind: Kind, field: Field) -> Result<Option<Value>, String> {
    if field == Field::Null {
        return Ok(None);
    }
    match (kind, field) {
        (Kind::Numbers, Field::ListInternal(list)) => {
            let number = |element: &Field| number(element)?.ok_or_else(|| "a list with NaN or null in it".to_owned());
            list.elements().iter().map(number).collect::<Result<_, _>>().map(Some)
        }
        (Kind::Texts, Field::ListInternal(list)) => {
            let text = |element: &Field| text(element.clone()).ok_or_else(|| "a list with null in it".to_owned());
            list.elements().iter().map(text).collect::<Result<_, _>>().map(Some)
        }
        (Kind::Text, field) => text(field).map(Some).ok_or_else(|| "it is no UTF-8".to_owned()),
        (Kind::Flag, Field::Bool(flag)) => Ok(Some(flag.into())),
        (Kind::Integer | Kind::Float, field) => number(&field),
        (Kind::Time(unit), field) => time_us(unit, &field).map(|time_us| Some(time_us.into())),
        (_, field) => Err(format!("{field:?} is not what the column says of itself")),
    }
}

fn text(field: Field) -> Option<Value> {
    match field {
        Field::Str(text) => Some(text.into()),
        Field::Bytes(bytes) => Some(std::str::from_utf8(bytes.data()).ok()?.into()),
        _ => None,
    }
}

fn number(field: &Field) -> Result<Option<Value>, String> {
    let float = |number: f64| match Value::from(number) {
        Value::Null if number.is_nan() => Ok(None),
        Value::Null => Err(format!("{number} is no number that a row can hold")),
        number => Ok(Some(number)),
    };
    match field {
        Field::Byte(number) => Ok(Some((*number).into())),
        Field::Short(number) => Ok(Some((*number).into())),
        Field::Int(number) => Ok(Some((*number).into())),
        Field::Long(number) => Ok(Some((*number).into())),
        Field::UByte(number) => Ok(Some((*number).into())),
        Field::UShort(number) => Ok(Some((*number).into())),
        Field::UInt(number) => Ok(Some((*number).into())),
        Field::ULong(number) => Ok(Some((*number).into())),
        Field::Float(number) => float(f64::from(*number)),
        Field::Double(number) => float(*number),
        Field::Null => Ok(None),
        other => Err(format!("{other:?} is no number")),
    }
}

/// Microseconds since 1970; what is finer is cut off.
fn time_us(unit: Unit, field: &Field) -> Result<i64, String> {
    let time_us = match (field, unit) {
        (Field::TimestampMicros(us), _) => Some(*us),
        (Field::TimestampMillis(ms), _) => ms.checked_mul(1_000),
        (Field::Long(us), Unit::Micros) => Some(*us),
        (Field::Long(ms), Unit::Millis) => ms.checked_mul(1_000),
        (Field::Long(ns), Unit::Nanos) => Some(ns.div_euclid(1_000)),
        _ => None,
    };
    // Not by `Display`, which panics about times that its calendar does not have.
    time_us.ok_or_else(|| format!("{field:?} is no time in microseconds since 1970"))
}

#[cfg(test)]
mod tests;
