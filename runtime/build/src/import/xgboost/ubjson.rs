//! UBJSON (draft 12), as XGBoost writes it, for serde. Owns the notation, with typed and counted arrays and objects; texts are
//! borrowed from the file, nothing is allocated by a count that the file only claims.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep values may be nested.
const MAX_DEPTH: u32 = 64;

/// Reads one value after the other.
#[derive(Debug)]
pub(super) struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
    depth: u32,
    /// The type of the values of the typed array that is being read.
    typed: Option<u8>,
}

/// What is wrong, and at which byte.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Error(String);

/// The values of an array or the pairs of an object.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// The marker of every value, when the container has one.
    marker: Option<u8>,
    /// How many are left, when the container says so.
    left: Option<u64>,
    close: u8,
}

// === impl Error ===

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

// === impl Reader ===

impl<'de> Reader<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, typed: None }
    }

    /// Checks that nothing follows.
    pub(super) fn end(&self) -> Result<(), Error> {
        if self.at == self.bytes.len() { Ok(()) } else { self.bad("bytes after the end of the model") }
    }

    fn bad<T>(&self, why: impl std::fmt::Display) -> Result<T, Error> {
        Err(Error(format!("{why} (byte {})", self.at)))
    }

    fn take(&mut self, len: u64) -> Result<&'de [u8], Error> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(len).ok().filter(|len| *len <= rest.len()) {
            Some(len) => {
                self.at += len;
                Ok(&rest[..len])
            }
            None => self.bad(format!("the file ends, {len} bytes are missing or cut off")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn marker(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// An integer that follows its marker.
    fn integer(&mut self, marker: u8) -> Result<i64, Error> {
        Ok(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.array()?)),
            b'U' => i64::from(u8::from_be_bytes(self.array()?)),
            b'I' => i64::from(i16::from_be_bytes(self.array()?)),
            b'l' => i64::from(i32::from_be_bytes(self.array()?)),
            b'L' => i64::from_be_bytes(self.array()?),
            _ => return self.bad(format!("{:?} is not the type of an integer", char::from(marker))),
        })
    }

    /// A length with its marker.
    fn length(&mut self) -> Result<u64, Error> {
        let marker = self.marker()?;
        let length = self.integer(marker)?;
        u64::try_from(length).or_else(|_| self.bad(format!("the length {length}")))
    }

    fn text(&mut self) -> Result<&'de str, Error> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).or_else(|_| self.bad("a text that is not UTF-8"))
    }

    /// What stands between the opening of a container and its first value.
    fn open(&mut self, close: u8) -> Result<Items<'_, 'de>, Error> {
        if self.depth == MAX_DEPTH {
            return self.bad(format!("nested deeper than {MAX_DEPTH}"));
        }
        let marker = if self.peek() == Some(b'$') {
            self.at += 1;
            Some(self.marker()?)
        } else {
            None
        };
        let left = if self.peek() == Some(b'#') {
            self.at += 1;
            Some(self.length()?)
        } else {
            None
        };
        match (marker, left) {
            (Some(_), None) => self.bad("a type without a count"),
            (Some(b'Z' | b'N' | b'T' | b'F'), _) => self.bad("values of a type that takes no bytes"),
            // Every value takes at least a byte.
            (_, Some(left)) if left > (self.bytes.len() - self.at) as u64 => {
                self.bad(format!("{left} values, but only {} bytes follow", self.bytes.len() - self.at))
            }
            _ => Ok(Items { reader: self, marker, left, close }),
        }
    }

    fn value<V: Visitor<'de>>(&mut self, marker: u8, visitor: V) -> Result<V::Value, Error> {
        match marker {
            b'i' | b'U' | b'I' | b'l' | b'L' => {
                let integer = self.integer(marker)?;
                match u64::try_from(integer) {
                    Ok(unsigned) => visitor.visit_u64(unsigned),
                    Err(_) => visitor.visit_i64(integer),
                }
            }
            b'd' => visitor.visit_f32(f32::from_be_bytes(self.array()?)),
            b'D' => visitor.visit_f64(f64::from_be_bytes(self.array()?)),
            b'S' => visitor.visit_borrowed_str(self.text()?),
            b'C' => visitor.visit_char(char::from(self.marker()?)),
            b'T' => visitor.visit_bool(true),
            b'F' => visitor.visit_bool(false),
            b'Z' => visitor.visit_unit(),
            b'[' => {
                let mut items = self.open(b']')?;
                items.reader.depth += 1;
                let value = visitor.visit_seq(&mut items)?;
                items.finish()?;
                self.depth -= 1;
                Ok(value)
            }
            b'{' => {
                let mut items = self.open(b'}')?;
                items.reader.depth += 1;
                let value = visitor.visit_map(&mut items)?;
                items.finish()?;
                self.depth -= 1;
                Ok(value)
            }
            _ => self.bad(format!("{:?} is not the type of a value", char::from(marker))),
        }
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let marker = match self.typed.take() {
            Some(marker) => marker,
            None => self.marker()?,
        };
        self.value(marker, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.typed.is_none() && self.peek() == Some(b'Z') {
            self.at += 1;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

// === impl Items ===

impl<'de> Items<'_, 'de> {
    /// Whether another value follows; takes the closing bracket when none does.
    fn more(&mut self) -> Result<bool, Error> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.reader.peek() == Some(self.close) => {
                self.reader.at += 1;
                self.left = Some(0);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn item<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.reader.typed = self.marker;
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.typed = None;
        Ok(value)
    }

    /// A reader of fewer values than there are is told so.
    fn finish(&mut self) -> Result<(), Error> {
        if self.more()? { self.reader.bad("more values than are expected here") } else { Ok(()) }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.more()? { self.item(seed).map(Some) } else { Ok(None) }
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.more()? {
            return Ok(None);
        }
        let key = self.reader.text()?;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.item(seed)
    }
}
