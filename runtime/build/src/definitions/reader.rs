//! Reads TOML text into any serde type and keeps the place of what is wrong. Owns positions and paths, and that a list has no more than
//! is read of it; knows no file of ours.

use std::fmt;

use selvedge_decision::definition::FeatureSpec;
use selvedge_decision::layout::FeatureKind;
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::words::{UNTAGGED, in_words};
use super::{BadFile, nearest};

/// Reads `text`, calling it `file` in errors. Unknown keys are errors when `T` says `deny_unknown_fields`.
pub fn read<T: for<'de> Deserialize<'de>>(file: &str, text: &str) -> Result<T, BadFile> {
    let root = parse(file, text)?;
    T::deserialize(Node(&root)).map_err(|wrong| wrong.into_bad_file(file, text))
}

/// An error at the key `path` of `text`, or at the nearest table around it that is written.
pub fn at(file: &str, text: &str, path: &[&str], message: &str) -> BadFile {
    let mut offset = 0;
    if let Ok(root) = DeTable::parse(text) {
        let mut table = Some(root.get_ref());
        for key in path {
            let Some((written, value)) = table.and_then(|table| table.iter().find(|(name, _)| name.get_ref() == key))
            else {
                break;
            };
            offset = written.span().start;
            table = value.get_ref().as_table();
        }
    }
    let wrong = Wrong {
        offset: Some(offset),
        path: path.iter().rev().map(|s| (*s).to_owned()).collect(),
        ..Wrong::new(message)
    };
    wrong.into_bad_file(file, text)
}

fn parse<'t>(file: &str, text: &'t str) -> Result<Spanned<DeValue<'t>>, BadFile> {
    let root = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map(|span| span.start);
        // The parser says where a key stands twice, not which.
        let key = error.span().filter(|_| error.message() == "duplicate key").and_then(|span| text.get(span));
        let path = key.map(str::to_owned).into_iter().collect();
        Wrong { offset, path, ..Wrong::new(error.message()) }.into_bad_file(file, text)
    })?;
    let span = root.span();
    Ok(Spanned::new(span, DeValue::Table(root.into_inner())))
}

/// What is wrong; the place is filled in on the way out.
#[derive(Debug)]
struct Wrong {
    message: String,
    nearest: Option<String>,
    /// Where, in bytes.
    offset: Option<usize>,
    /// The keys to it, innermost first.
    path: Vec<String>,
}

/// A value to read from.
#[derive(Clone, Copy)]
struct Node<'a, 't>(&'a Spanned<DeValue<'t>>);

struct Entries<'a, 't> {
    entries: std::vec::IntoIter<(&'a Spanned<std::borrow::Cow<'t, str>>, &'a Spanned<DeValue<'t>>)>,
    value: Option<(&'a str, &'a Spanned<DeValue<'t>>)>,
}

struct Elements<'a, 't> {
    elements: std::iter::Enumerate<std::slice::Iter<'a, Spanned<DeValue<'t>>>>,
}

// === impl Wrong ===

impl Wrong {
    fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), nearest: None, offset: None, path: Vec::new() }
    }

    fn unknown(what: &str, word: &str, known: &'static [&'static str]) -> Self {
        let mut message = what.to_owned();
        if !known.is_empty() {
            message.push_str("; known here: ");
            message.push_str(&known.join(", "));
        }
        let nearest = nearest(word, known.iter().copied()).map(str::to_owned);
        Self { nearest, ..Self::new(message) }
    }

    fn within(mut self, key: &str, offset: usize) -> Self {
        self.offset.get_or_insert(offset);
        self.path.push(key.to_owned());
        self
    }

    fn into_bad_file(self, file: &str, text: &str) -> BadFile {
        let before = text.as_bytes().iter().take(self.offset.unwrap_or(0));
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let mut key = String::new();
        for part in self.path.iter().rev() {
            if !key.is_empty() && !part.starts_with('[') {
                key.push('.');
            }
            key.push_str(part);
        }
        BadFile { file: file.to_owned(), line, key, message: self.message, nearest: self.nearest }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("unknown key", field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown(&format!("unknown word {variant:?}"), variant, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format_args!("the key {field:?} is missing"))
    }
}

// === impl Node ===

impl<'de, 'a: 'de, 't> Node<'a, 't> {
    /// What serde says, said again so that it helps.
    fn explain(self, wrong: Wrong) -> Wrong {
        let shape = wrong.message.strip_prefix(UNTAGGED);
        if shape == Some("FeatureDef") {
            let inner = match self.0.get_ref() {
                DeValue::Table(_) => FeatureSpec::deserialize(self).err(),
                DeValue::String(_) => FeatureKind::deserialize(self).err(),
                _ => None,
            };
            if let Some(inner) = inner {
                return inner;
            }
        }
        match in_words(&wrong.message) {
            Some(message) => Wrong { message, ..wrong },
            None => wrong,
        }
    }

    fn read_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Wrong> {
        seed.deserialize(self).map_err(|wrong| self.explain(wrong))
    }
}

impl<'de, 'a: 'de, 't> Deserializer<'de> for Node<'a, 't> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Boolean(flag) => visitor.visit_bool(*flag),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => visitor.visit_i64(integer),
                Err(_) => Err(Wrong::new("a whole number beyond 64 bits")),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(float) => visitor.visit_f64(float),
                Err(error) => Err(Wrong::new(error)),
            },
            DeValue::Datetime(_) => Err(Wrong::new("a date cannot stand here; write it as text in quotes")),
            DeValue::Array(array) => {
                let mut elements = Elements { elements: array.iter().enumerate() };
                let value = visitor.visit_seq(&mut elements)?;
                // Serde reads as many as the type has and leaves the others.
                match elements.elements.len() {
                    0 => Ok(value),
                    left => {
                        let read = format!("an array of length {}", array.len() - left);
                        Err(Wrong::invalid_length(array.len(), &read.as_str()))
                    }
                }
            }
            DeValue::Table(table) => {
                // In the order of writing, so that of several errors the first in the file is told.
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| key.span().start);
                visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.0.get_ref() {
            DeValue::String(word) => visitor.visit_enum(StrDeserializer::new(word)),
            other => Err(Wrong::new(format_args!(
                "found {}, but one of {} was expected",
                other.type_str(),
                known.join(", ")
            ))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl<'de, 'a: 'de, 't> IntoDeserializer<'de, Wrong> for Node<'a, 't> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

// === impl Entries ===

impl<'de, 'a: 'de, 't> MapAccess<'de> for Entries<'a, 't> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let name: &'a str = key.get_ref();
        self.value = Some((name, value));
        let read = seed.deserialize(BorrowedStrDeserializer::new(name));
        read.map(Some).map_err(|wrong: Wrong| wrong.within(name, key.span().start))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let Some((name, value)) = self.value.take() else { return Err(Wrong::new("a key without a value")) };
        Node(value).read_seed(seed).map_err(|wrong| wrong.within(name, value.span().start))
    }
}

// === impl Elements ===

impl<'de, 'a: 'de, 't> SeqAccess<'de> for Elements<'a, 't> {
    type Error = Wrong;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let Some((i, value)) = self.elements.next() else { return Ok(None) };
        let read = Node(value).read_seed(seed);
        read.map(Some).map_err(|wrong| wrong.within(&format!("[{i}]"), value.span().start))
    }
}
