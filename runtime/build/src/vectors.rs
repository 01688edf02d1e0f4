//! Golden vectors: calls with the answers a module must give, bit for bit. Owns their bytes in the custom section
//! `selvedge:vectors`; comparing answers is the host's, who runs modules.
//!
//! All little-endian: version 1 (u32), how many (u32), then for each the lengths of `shared`, `candidates` and `outputs`
//! and the `count` (4 × u32), and the three rows of f64.

use selvedge_decision::Manifest;
use selvedge_decision::vector::Vector;

use crate::module::BadModule;

const VERSION: u32 = 1;

/// Writes the section.
pub(crate) fn encode(vectors: &[Vector]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((vectors.len() as u32).to_le_bytes());
    for vector in vectors {
        let [shared, candidates, outputs] = [&vector.shared, &vector.candidates, &vector.outputs];
        for word in [shared.len() as u32, candidates.len() as u32, outputs.len() as u32, vector.count] {
            bytes.extend(word.to_le_bytes());
        }
        for row in [shared, candidates, outputs] {
            bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    bytes
}

/// Reads the section, all of it. Memory is bounded by the bytes that are there.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Vector>, BadModule> {
    parse(bytes).ok_or(BadModule::VectorBytes)
}

fn parse(mut bytes: &[u8]) -> Option<Vec<Vector>> {
    let rest = &mut bytes;
    if word(rest)? != VERSION {
        return None;
    }
    let vectors = word(rest)?;
    let mut all = Vec::new();
    for _ in 0..vectors {
        let (shared, candidates, outputs, count) = (word(rest)?, word(rest)?, word(rest)?, word(rest)?);
        all.push(Vector {
            shared: row(rest, shared)?,
            candidates: row(rest, candidates)?,
            outputs: row(rest, outputs)?,
            count,
        });
    }
    rest.is_empty().then_some(all)
}

fn word(bytes: &mut &[u8]) -> Option<u32> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*word))
}

fn row(bytes: &mut &[u8], len: u32) -> Option<Vec<f64>> {
    let (row, rest) = bytes.split_at_checked((len as usize).checked_mul(8)?)?;
    *bytes = rest;
    Some(row.as_chunks().0.iter().map(|value| f64::from_le_bytes(*value)).collect())
}

/// Whether the vectors are calls that the manifest allows.
pub(crate) fn check(vectors: &[Vector], manifest: &Manifest) -> Result<(), BadModule> {
    let (shared, candidate) = (manifest.shared_width(), manifest.candidate_width());
    for (index, vector) in vectors.iter().enumerate() {
        let count = vector.count as usize;
        let found = [vector.shared.len(), vector.candidates.len(), vector.outputs.len()];
        let expected = [shared, count * candidate, count * manifest.outputs.len()];
        if found != expected || vector.count > manifest.limits.rows {
            let why = format!(
                "{count} rows with {found:?} shared, candidate and output values; the manifest says at most {} rows \
                 and here {expected:?}",
                manifest.limits.rows
            );
            return Err(BadModule::Vector { index, why });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(prop::num::f64::ANY.prop_filter("comparable", |value| !value.is_nan()), 0..9)
    }

    proptest! {
        #[test]
        fn vectors_read_back_as_written(rows in prop::collection::vec((values(), values(), 0..9u32, values()), 0..5)) {
            let vectors: Vec<Vector> = rows
                .into_iter()
                .map(|(shared, candidates, count, outputs)| Vector { shared, candidates, count, outputs })
                .collect();
            let bytes = encode(&vectors);
            prop_assert_eq!(decode(&bytes).unwrap(), vectors);
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // A result of either kind, in bounded memory, is all that is asked.
            drop(decode(&bytes));
        }
    }
}
