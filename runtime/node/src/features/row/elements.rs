//! The elements of lists in a row: components of a vector, and ids. Anything else among them is told, not an error: what
//! follows in the row still counts.

use std::fmt;

use selvedge_decision::layout::id_hash;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

// === one component of a vector ===

/// A finite f32, or something else.
pub(super) struct Component(pub(super) Option<f32>);

impl<'de> serde::Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ComponentVisitor)
    }
}

struct ComponentVisitor;

impl<'de> Visitor<'de> for ComponentVisitor {
    type Value = Component;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Component, E> {
        Ok(Component(Some(number as f32)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Component, E> {
        Ok(Component(Some(number as f32)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Component, E> {
        Ok(Component(Some(number as f32).filter(|number| number.is_finite())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Component, E> {
        Ok(Component(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Component, E> {
        Ok(Component(None))
    }

    fn visit_unit<E>(self) -> Result<Component, E> {
        Ok(Component(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Component, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Component(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Component, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Component(None))
    }
}

// === one id of a list ===

/// The hash of an id, or something else.
pub(super) struct Id(pub(super) Option<u64>);

impl<'de> serde::Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E>(self, id: &str) -> Result<Id, E> {
        Ok(Id(Some(id_hash(id))))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_unit<E>(self) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Id, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Id(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Id, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Id(None))
    }
}
