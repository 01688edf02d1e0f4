//! What a page asks its engine for. Owns the form, which the page's JavaScript writes; what of it is refused is the core's to say.

use alloc::vec::Vec;

use crate::form::{self, form};
use crate::gather::ContextValue;

/// What a page asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask<'a> {
    /// The placement.
    pub placement: &'a str,
    /// The context's values in the placement's order.
    pub context: Vec<ContextValue<'a>>,
    /// The items or actions to choose from.
    pub candidates: Option<Vec<&'a str>>,
    /// Ids that are chosen elsewhere on the page.
    pub taken: Vec<&'a str>,
    /// How many choices.
    pub slots: Option<u32>,
    /// The page's offset from UTC, in minutes.
    pub tz_offset_min: i32,
}

form!(struct Ask<'a> { placement, context, candidates, taken, slots, tz_offset_min });
form!(enum ContextValue<'a> { Missing, 1 Number(number), 2 Flag(flag), 3 Symbol(text) });

// === impl Ask ===

impl<'a> Ask<'a> {
    /// Its binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        form::bytes(self)
    }

    /// Reads what [`Ask::to_bytes`] wrote; nothing when it is something else.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        form::read(bytes)
    }
}
