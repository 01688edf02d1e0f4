//! A row in the compact form, as JSON for people. Owns how its values are written.

use selvedge_decision::layout::RowLayout;
use serde_json::Value as Json;

use super::{Pieces, SchemaHash, Value, components, in_order};
use crate::features::row::{BadRow, TIME_NAME};

/// The row as a flat JSON object by feature name; times in whole microseconds since 1970, what is no number as null.
pub fn to_json(row: &[u8], layout: &RowLayout) -> Result<String, BadRow> {
    let (pieces, time_us) = Pieces::of(row, SchemaHash::of(layout))?;
    let fields = in_order(layout);
    let mut json = serde_json::Map::new();
    if let Some(time_us) = time_us {
        json.insert(TIME_NAME.into(), time_us.into());
    }
    let each = |at: usize, pieces: &mut Pieces<'_>| {
        let field = fields[at];
        let value = match pieces.value(field)? {
            Value::Number(number) => number.into(),
            Value::F32(number) => single(number),
            Value::Flag(0) => false.into(),
            Value::Flag(1) => true.into(),
            Value::Flag(_) => Json::Null,
            Value::Time(time_us) => time_us.into(),
            Value::Text(text) => text.into(),
            Value::Vector(bytes) => components(bytes).map(single).collect(),
            Value::Ids(ids) => ids.collect(),
        };
        json.insert(field.name.clone(), value);
        Ok(())
    };
    pieces.values(fields.len(), each).map_err(BadRow::Binary)?;
    Ok(Json::Object(json).to_string())
}

/// As short as it can be said: 0.1, not 0.10000000149011612.
fn single(number: f32) -> Json {
    number.to_string().parse::<f64>().map_or(Json::Null, Json::from)
}
