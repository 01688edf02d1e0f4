//! The binary form of records and of what pages get: fields in their order without names, as the postcard wire format has them
//! (<https://postcard.jamesmunns.com/wire-format>). Owns what each kind of value looks like in bytes; which fields there are stands beside
//! the types, by [`form!`]. No serde: a page fetches this code, and most of what serde makes of a type no page needs.
//!
//! Reading never stops half-way: what cannot be read is 0 or empty and is noted, and [`read`] gives nothing then.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What has a binary form.
pub(crate) trait Form<'a>: Sized {
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);

    /// The next one.
    fn read(from: &mut Reader<'a>) -> Self;
}

/// Bytes that are read from their beginning.
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    is_bad: bool,
}

/// What `bytes` are the form of: all of them.
pub(crate) fn read<'a, T: Form<'a>>(bytes: &'a [u8]) -> Option<T> {
    let mut from = Reader { left: bytes, is_bad: false };
    let found = T::read(&mut from);
    (!from.is_bad && from.left.is_empty()).then_some(found)
}

/// What they begin with.
pub(crate) fn begins<'a, T: Form<'a>>(bytes: &'a [u8]) -> Option<T> {
    let mut from = Reader { left: bytes, is_bad: false };
    let found = T::read(&mut from);
    (!from.is_bad).then_some(found)
}

/// The form of a value.
pub(crate) fn bytes<'a>(value: &impl Form<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

/// Gives a struct the form of these fields, or an enum that of its variants: their number, then what they hold. `leaves` names what is
/// not in the form, and what it is when it was read.
macro_rules! form {
    (struct $type:ty { $($field:ident),+ $(,)? } $(leaves { $($(#[$when:meta])? $left:ident: $value:expr),+ $(,)? })?) => {
        impl<'a> $crate::form::Form<'a> for $type {
            fn write(&self, out: &mut ::alloc::vec::Vec<u8>) {
                $($crate::form::Form::write(&self.$field, out);)+
            }

            fn read(from: &mut $crate::form::Reader<'a>) -> Self {
                Self { $($field: $crate::form::Form::read(from),)+ $($($(#[$when])? $left: $value),+)? }
            }
        }
    };
    (enum $type:ty {
        $first:ident $(($($of:ident),+))? $({ $($named:ident),+ })?
        $(, $number:literal $name:ident $(($($of_next:ident),+))? $({ $($named_next:ident),+ })?)* $(,)?
    }) => {
        impl<'a> $crate::form::Form<'a> for $type {
            #[allow(unused_variables, reason = "variants without fields write their number alone")]
            fn write(&self, out: &mut ::alloc::vec::Vec<u8>) {
                match self {
                    Self::$first $(($($of),+))? $({ $($named),+ })? => {
                        out.push(0);
                        $($($crate::form::Form::write($of, out);)+)?
                        $($($crate::form::Form::write($named, out);)+)?
                    }
                    $(Self::$name $(($($of_next),+))? $({ $($named_next),+ })? => {
                        out.push($number);
                        $($($crate::form::Form::write($of_next, out);)+)?
                        $($($crate::form::Form::write($named_next, out);)+)?
                    })*
                }
            }

            fn read(from: &mut $crate::form::Reader<'a>) -> Self {
                match from.number(u64::from(u32::MAX)) {
                    $($number => Self::$name $(($({
                        let $of_next = $crate::form::Form::read(from);
                        $of_next
                    }),+))? $({ $($named_next: $crate::form::Form::read(from)),+ })?,)*
                    number => {
                        from.must(number == 0);
                        Self::$first $(($({
                            let $of = $crate::form::Form::read(from);
                            $of
                        }),+))? $({ $($named: $crate::form::Form::read(from)),+ })?
                    }
                }
            }
        }
    };
}
pub(crate) use form;

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Notes that it is no form when something does not hold: there is nothing to read from then on.
    pub(crate) fn must(&mut self, holds: bool) {
        if !holds {
            self.is_bad = true;
            self.left = &[];
        }
    }

    /// An integer from 0 to `most`: seven bits a byte, the lowest first, the highest bit of a byte says that another follows.
    pub(crate) fn number(&mut self, most: u64) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array();
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                // In one way only: no zeros in front, nothing above the highest bit.
                self.must(number <= most && (byte > 0 || shift == 0) && (shift < 63 || byte < 2));
                return number;
            }
        }
        self.must(false);
        0
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        match self.left.split_at_checked(count) {
            Some((taken, left)) => {
                self.left = left;
                taken
            }
            None => {
                self.must(false);
                &[]
            }
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.left.split_first_chunk() {
            Some((taken, left)) => {
                self.left = left;
                *taken
            }
            None => {
                self.must(false);
                [0; N]
            }
        }
    }

    /// How many follow: no more than there are bytes left, as everything has one at least.
    fn count(&mut self) -> usize {
        let count = self.number(u64::from(u32::MAX)) as usize;
        self.must(count <= self.left.len());
        if self.is_bad { 0 } else { count }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let count = self.count();
        self.take(count)
    }

    fn text(&mut self) -> &'a str {
        let text = core::str::from_utf8(self.bytes());
        self.must(text.is_ok());
        text.unwrap_or_default()
    }
}

/// Appends an integer as [`Reader::number`] reads it.
pub(crate) fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

// === the kinds of values ===

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl<'a> Form<'a> for $type {
            fn write(&self, out: &mut Vec<u8>) {
                write_number(*self as u64, out);
            }

            fn read(from: &mut Reader<'a>) -> Self {
                from.number(<$type>::MAX as u64) as $type
            }
        }
    )+};
}

integers!(u16, u32, u64, usize);

/// Zigzag: 0, -1, 1, -2.
impl<'a> Form<'a> for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        write_number((*self << 1 ^ *self >> 63) as u64, out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        let number = from.number(u64::MAX);
        (number >> 1) as i64 ^ -((number & 1) as i64)
    }
}

impl<'a> Form<'a> for i32 {
    fn write(&self, out: &mut Vec<u8>) {
        i64::from(*self).write(out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        let number = i64::read(from);
        from.must(i32::try_from(number).is_ok());
        number as i32
    }
}

impl<'a> Form<'a> for u8 {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        let [byte] = from.array();
        byte
    }
}

impl<'a> Form<'a> for i8 {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        u8::read(from) as i8
    }
}

impl<'a> Form<'a> for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(from: &mut Reader<'a>) -> Self {
        let byte = u8::read(from);
        from.must(byte < 2);
        byte == 1
    }
}

/// By its bits.
impl<'a> Form<'a> for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(from: &mut Reader<'a>) -> Self {
        Self::from_le_bytes(from.array())
    }
}

/// As many bytes as it has.
impl<'a, const N: usize> Form<'a> for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        from.array()
    }
}

impl<'a> Form<'a> for [f64; 2] {
    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|number| number.write(out));
    }

    fn read(from: &mut Reader<'a>) -> Self {
        [f64::read(from), f64::read(from)]
    }
}

impl<'a> Form<'a> for &'a [u8] {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self, out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        from.bytes()
    }
}

impl<'a> Form<'a> for &'a str {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        from.text()
    }
}

impl<'a> Form<'a> for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        Self::from(from.text())
    }
}

impl<'a> Form<'a> for Arc<str> {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }

    fn read(from: &mut Reader<'a>) -> Self {
        Self::from(from.text())
    }
}

impl<'a, T: Form<'a>> Form<'a> for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(from: &mut Reader<'a>) -> Self {
        bool::read(from).then(|| T::read(from))
    }
}

impl<'a, T: Form<'a>> Form<'a> for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        write_number(self.len() as u64, out);
        self.iter().for_each(|value| value.write(out));
    }

    fn read(from: &mut Reader<'a>) -> Self {
        (0..from.count()).map(|_| T::read(from)).collect()
    }
}

macro_rules! tuples {
    ($(($($type:ident $at:tt),+)),+) => {$(
        impl<'a, $($type: Form<'a>),+> Form<'a> for ($($type,)+) {
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$at.write(out);)+
            }

            fn read(from: &mut Reader<'a>) -> Self {
                ($($type::read(from),)+)
            }
        }
    )+};
}

tuples!((A 0, B 1), (A 0, B 1, C 2));
