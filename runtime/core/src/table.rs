//! Rows and columns as Parquet. Owns how a column is described, once: its name, its type in the file, how a cell is written and
//! how it reads back. Must not know what the rows are about.

mod read;

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

pub(crate) use read::{Reading, read};

/// The most bytes of one page; the writer's own bound, made explicit because lists of inputs are long.
const PAGE_BYTES: usize = 1 << 20;
/// Cells of a group of rows, about: they are in memory until it is written.
const GROUP_CELLS: usize = 4_000_000;

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A UTF-8 text.
    Text,
    /// A text that is JSON.
    Json,
    /// Microseconds since 1970 in UTC, as a timestamp.
    Time,
    /// A whole number of 64 bits.
    Whole,
    /// A whole number of 64 bits without a sign.
    Unsigned,
    /// A 64-bit float.
    Number,
}

/// What a row has in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One cell.
    One,
    /// One cell or null.
    Maybe,
    /// A list of cells, each of which may be null.
    List,
    /// Such a list, or null.
    MaybeList,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Its name.
    pub(crate) name: String,
    /// What its cells are.
    pub(crate) kind: Kind,
    /// How many a row has.
    pub(crate) shape: Shape,
}

/// A cell, or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(ByteArray),
    Whole(i64),
    Number(f64),
    List(Vec<Cell>),
}

/// Rows that are not written yet, column by column.
struct Table {
    columns: Vec<Filled>,
    cells: usize,
}

struct Filled {
    spec: Spec,
    values: Values,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Whole(Vec<i64>),
    Number(Vec<f64>),
}

/// A file that is being written, a group of rows at a time.
pub(crate) struct Writing<W: std::io::Write + Send> {
    file: SerializedFileWriter<W>,
    specs: Vec<Spec>,
    table: Table,
}

/// A table cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TableError(pub(crate) String);

// === impl Spec ===

impl Spec {
    /// A column.
    pub(crate) fn new(name: impl Into<String>, kind: Kind, shape: Shape) -> Self {
        Self { name: name.into(), kind, shape }
    }

    fn schema(&self) -> Result<TypePtr, ParquetError> {
        let leaf = |name: &str, repetition| {
            let (physical, logical) = self.kind.types();
            let leaf = Type::primitive_type_builder(name, physical).with_repetition(repetition);
            leaf.with_logical_type(logical).build().map(Arc::new)
        };
        let list = |repetition| {
            let element = leaf("element", Repetition::OPTIONAL)?;
            let repeated = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
            let repeated = Arc::new(repeated.with_fields(vec![element]).build()?);
            let list = Type::group_type_builder(&self.name).with_repetition(repetition);
            list.with_logical_type(Some(LogicalType::List)).with_fields(vec![repeated]).build().map(Arc::new)
        };
        match self.shape {
            Shape::One => leaf(&self.name, Repetition::REQUIRED),
            Shape::Maybe => leaf(&self.name, Repetition::OPTIONAL),
            Shape::List => list(Repetition::REQUIRED),
            Shape::MaybeList => list(Repetition::OPTIONAL),
        }
    }
}

// === impl Kind ===

impl Kind {
    fn types(self) -> (Physical, Option<LogicalType>) {
        match self {
            Self::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Self::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Self::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
            Self::Whole => (Physical::INT64, None),
            Self::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Self::Number => (Physical::DOUBLE, None),
        }
    }
}

// === impl Cell ===

impl Cell {
    /// A text.
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(ByteArray::from(text.as_ref()))
    }

    /// A text, or null.
    pub(crate) fn maybe(text: Option<impl AsRef<str>>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    /// A number; null when it is none.
    pub(crate) fn number(number: f64) -> Self {
        if number.is_nan() { Self::Null } else { Self::Number(number) }
    }

    /// A list.
    pub(crate) fn list(cells: impl IntoIterator<Item = Self>) -> Self {
        Self::List(cells.into_iter().collect())
    }

    /// Its text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes.data()).ok(),
            _ => None,
        }
    }

    /// Its whole number.
    pub(crate) fn as_whole(&self) -> Option<i64> {
        if let Self::Whole(whole) = self { Some(*whole) } else { None }
    }

    /// Its number.
    pub(crate) fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// Its elements; none when it is no list.
    pub(crate) fn elements(&self) -> &[Self] {
        if let Self::List(cells) = self { cells } else { &[] }
    }
}

// === impl Table ===

impl Table {
    fn new(columns: &[Spec]) -> Self {
        let filled = |spec: &Spec| Filled {
            values: match spec.kind {
                Kind::Text | Kind::Json => Values::Text(Vec::new()),
                Kind::Time | Kind::Whole | Kind::Unsigned => Values::Whole(Vec::new()),
                Kind::Number => Values::Number(Vec::new()),
            },
            spec: spec.clone(),
            definition: Vec::new(),
            repetition: Vec::new(),
        };
        Self { columns: columns.iter().map(filled).collect(), cells: 0 }
    }

    fn push(&mut self, row: impl IntoIterator<Item = Cell>) -> Result<(), TableError> {
        let mut row = row.into_iter();
        for column in &mut self.columns {
            let cell = row.next().unwrap_or(Cell::Null);
            self.cells += cell.elements().len().max(1);
            column.push(cell)?;
        }
        Ok(())
    }
}

// === impl Filled ===

impl Filled {
    fn push(&mut self, cell: Cell) -> Result<(), TableError> {
        // Definition levels count what of the path to a value is there; repetition 1 goes on with the row's list.
        match (self.spec.shape, cell) {
            (Shape::One, Cell::Null) => {
                return Err(TableError(format!("column {}: a cell is missing", self.spec.name)));
            }
            (Shape::One, cell) => self.value(cell)?,
            (Shape::Maybe, Cell::Null) => self.definition.push(0),
            (Shape::Maybe, cell) => {
                self.definition.push(1);
                self.value(cell)?;
            }
            (Shape::MaybeList, Cell::Null) => {
                self.definition.push(0);
                self.repetition.push(0);
            }
            (Shape::List | Shape::MaybeList, Cell::List(cells)) => {
                let there = i16::from(self.spec.shape == Shape::MaybeList);
                if cells.is_empty() {
                    self.definition.push(there);
                    self.repetition.push(0);
                }
                for (at, cell) in cells.into_iter().enumerate() {
                    self.repetition.push(i16::from(at > 0));
                    if cell == Cell::Null {
                        self.definition.push(there + 1);
                    } else {
                        self.definition.push(there + 2);
                        self.value(cell)?;
                    }
                }
            }
            (Shape::List, Cell::Null) => {
                self.definition.push(0);
                self.repetition.push(0);
            }
            (Shape::List | Shape::MaybeList, other) => return Err(self.wrong(&other)),
        }
        Ok(())
    }

    fn value(&mut self, cell: Cell) -> Result<(), TableError> {
        match (&mut self.values, cell) {
            (Values::Text(values), Cell::Text(text)) => values.push(text),
            (Values::Whole(values), Cell::Whole(whole)) => values.push(whole),
            (Values::Number(values), Cell::Number(number)) => values.push(number),
            (_, other) => return Err(self.wrong(&other)),
        }
        Ok(())
    }

    fn wrong(&self, cell: &Cell) -> TableError {
        TableError(format!("column {}: {cell:?} is not what the column holds", self.spec.name))
    }

    fn write<W: std::io::Write + Send>(&self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), ParquetError> {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General("the file has fewer columns than the rows".to_owned()));
        };
        let definition = (self.spec.shape != Shape::One).then_some(&self.definition[..]);
        let is_list = matches!(self.spec.shape, Shape::List | Shape::MaybeList);
        let repetition = is_list.then_some(&self.repetition[..]);
        match &self.values {
            Values::Text(values) => column.typed::<ByteArrayType>().write_batch(values, definition, repetition)?,
            Values::Whole(values) => column.typed::<Int64Type>().write_batch(values, definition, repetition)?,
            Values::Number(values) => column.typed::<DoubleType>().write_batch(values, definition, repetition)?,
        };
        column.close()
    }
}

// === impl Writing ===

impl<W: std::io::Write + Send> Writing<W> {
    /// Begins a file of these columns.
    pub(crate) fn new(to: W, columns: &[Spec]) -> Result<Self, TableError> {
        let fields = columns.iter().map(Spec::schema).collect::<Result<_, _>>()?;
        let schema = Arc::new(Type::group_type_builder("row").with_fields(fields).build()?);
        let file = SerializedFileWriter::new(to, schema, properties())?;
        Ok(Self { file, specs: columns.to_vec(), table: Table::new(columns) })
    }

    /// Adds a row: a cell for each column, in their order.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = Cell>) -> Result<(), TableError> {
        self.table.push(row)?;
        if self.table.cells >= GROUP_CELLS { self.write_group() } else { Ok(()) }
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<W, TableError> {
        if self.table.cells > 0 {
            self.write_group()?;
        }
        Ok(self.file.into_inner()?)
    }

    fn write_group(&mut self) -> Result<(), TableError> {
        let table = std::mem::replace(&mut self.table, Table::new(&self.specs));
        let mut group = self.file.next_row_group()?;
        for column in &table.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        Ok(())
    }
}

fn properties() -> WriterPropertiesPtr {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(zstd).set_data_page_size_limit(PAGE_BYTES);
    Arc::new(properties.set_created_by(concat!("selvedge ", env!("CARGO_PKG_VERSION")).to_owned()).build())
}

impl From<ParquetError> for TableError {
    fn from(error: ParquetError) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests;
