//! How a step is read: its first key names it, the others are read as they come. Owns only that; a derived reader of tagged
//! enums would hold all of a step in memory in another shape first, and lose the path of what is wrong inside of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{Column, Function, Precision, Step, no_slot, nullable};
use crate::pipeline::trees::Trees;

/// The fields of every step, as [`Step`] has them.
#[derive(Deserialize)]
#[serde(remote = "Step", rename_all = "snake_case", deny_unknown_fields)]
enum Fields {
    Impute {
        columns: Vec<Column>,
        values: Vec<f64>,
    },
    IsMissing {
        columns: Vec<Column>,
    },
    ZeroIsMissing {
        columns: Vec<Column>,
    },
    Scale {
        columns: Vec<Column>,
        #[serde(default)]
        subtract: Vec<f64>,
        #[serde(default)]
        divide: Vec<f64>,
        #[serde(default)]
        multiply: Vec<f64>,
        #[serde(default)]
        add: Vec<f64>,
    },
    Clip {
        columns: Vec<Column>,
        low: f64,
        high: f64,
    },
    Apply {
        columns: Vec<Column>,
        function: Function,
    },
    Products {
        terms: Vec<Vec<Column>>,
    },
    Sums {
        terms: Vec<Vec<Column>>,
    },
    Index {
        column: Column,
        values: Vec<f64>,
    },
    Bins {
        column: Column,
        edges: Vec<f64>,
    },
    OneHot {
        column: Column,
        width: u32,
        slots: Vec<i32>,
        #[serde(default = "no_slot")]
        other: i32,
        #[serde(default = "no_slot")]
        missing: i32,
    },
    Table {
        column: Column,
        width: u32,
        #[serde(with = "nullable")]
        rows: Vec<f64>,
        #[serde(with = "nullable")]
        other: Vec<f64>,
        #[serde(with = "nullable")]
        missing: Vec<f64>,
    },
    Linear {
        columns: Vec<Column>,
        weights: Vec<f64>,
        intercept: Vec<f64>,
        #[serde(default)]
        precision: Precision,
    },
    Softmax {
        columns: Vec<Column>,
        #[serde(default)]
        precision: Precision,
    },
    Normalize {
        columns: Vec<Column>,
    },
    Interpolate {
        columns: Vec<Column>,
        x: Vec<f64>,
        y: Vec<f64>,
    },
    Prior {
        columns: Vec<Column>,
        kept: f64,
    },
    Embedding {
        column: Column,
        columns: Vec<Column>,
        vectors: Vec<f64>,
        #[serde(default)]
        cosine: bool,
    },
    Dot {
        a: Vec<Column>,
        b: Vec<Column>,
    },
    Trees(Trees),
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Step;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose first key is `step`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Step, A::Error> {
        match map.next_key::<Cow<'de, str>>()? {
            Some(key) if key == "step" => {}
            Some(key) => return Err(A::Error::invalid_value(Unexpected::Str(&key), &self)),
            None => return Err(A::Error::missing_field("step")),
        }
        let name: String = map.next_value()?;
        Fields::deserialize(Named { name, map })
    }
}

/// A step's name, and the keys behind it.
struct Named<A> {
    name: String,
    map: A,
}

/// The keys of a step.
struct Rest<A>(A);

// === impl Named ===

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Named<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Named<A> {
    type Error = A::Error;
    type Variant = Rest<A>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Rest<A>), A::Error> {
        let name: StringDeserializer<A::Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Rest(self.map)))
    }
}

// === impl Rest ===

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(A::Error::custom("a step without keys"))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        seed.deserialize(MapAccessDeserializer::new(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("a step without keys"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.0)
    }
}
