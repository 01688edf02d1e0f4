//! The wire format of protocol buffers, as much as a model file needs: fields one after the other, borrowed from the file.
//! Knows nothing of messages; every read is bounded by the bytes there are.

/// One field's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// An integer of any kind.
    Varint(u64),
    /// Four bytes: a float.
    Fixed32(u32),
    /// Eight bytes.
    Fixed64,
    /// A text, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message, by number.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u64, Field<'a>), String> {
        let key = varint(&mut self.rest)?;
        let value = match key & 7 {
            0 => Field::Varint(varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Field::Fixed64)?,
            2 => {
                let len = varint(&mut self.rest)?;
                Field::Bytes(self.take(len)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Field::Fixed32(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
            }
            kind => return Err(format!("field {} has the wire type {kind}, which no model has", key >> 3)),
        };
        if key >> 3 == 0 { Err("a field has the number 0".into()) } else { Ok((key >> 3, value)) }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let (taken, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len))
            .ok_or_else(|| format!("cut off: {len} bytes are announced, {} are there", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            // What follows a mistake means nothing.
            self.rest = &[];
        }
        Some(field)
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn int(self) -> Result<i64, String> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            other => Err(format!("an integer is expected, not {}", other.kind())),
        }
    }

    pub(super) fn float(self) -> Result<f32, String> {
        match self {
            Self::Fixed32(bits) => Ok(f32::from_bits(bits)),
            other => Err(format!("a float is expected, not {}", other.kind())),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("a text or message is expected, not {}", other.kind())),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|error| format!("a text that is not UTF-8: {error}"))
    }

    /// Appends integers, packed or one by one.
    pub(super) fn ints(self, list: &mut Vec<i64>) -> Result<(), String> {
        let Self::Bytes(mut packed) = self else {
            list.push(self.int()?);
            return Ok(());
        };
        while !packed.is_empty() {
            list.push(varint(&mut packed)? as i64);
        }
        Ok(())
    }

    /// Appends floats, packed or one by one.
    pub(super) fn floats(self, list: &mut Vec<f32>) -> Result<(), String> {
        let Self::Bytes(packed) = self else {
            list.push(self.float()?);
            return Ok(());
        };
        let (floats, rest) = packed.as_chunks();
        list.extend(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes are no list of floats", packed.len())) }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Varint(_) => "an integer",
            Self::Fixed32(_) => "four bytes",
            Self::Fixed64 => "eight bytes",
            Self::Bytes(_) => "a text or message",
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else { return Err("cut off in the middle of an integer".into()) };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("an integer of more than 64 bits".into())
}
