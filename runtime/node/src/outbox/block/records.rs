//! The columns of decision records. The struct's fields, in order, are the body of such a block; read `block.rs` first.
//!
//! A record comes back with the bits it had, NaN payloads included, because a replay compares canonical bytes.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use selvedge_decision::record::{Inputs, Lot, Rung, RungFault};
use selvedge_decision::{Digest, Fault, Reason, Record};

use super::columns::{RowWriter, TextWriter, delta};
use super::events::halves;

mod decode;

pub(super) use decode::decode;

/// One element a record in every column, but for the elements of lists and what a comment says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Columns {
    /// All texts of the block, each once.
    text: String,
    /// Bytes of each text.
    text_bytes: Vec<u32>,
    /// Lists of candidates, each once: the length of each list.
    list_len: Vec<u32>,
    /// Texts of the candidates' ids, list after list.
    list_text: Vec<u32>,
    /// Rows of numbers, each once (equal bits): the width of each, at least 1.
    row_width: Vec<u32>,
    /// The rows' cells, unless they stand plain behind the columns. Rows of one width stand together, widths in the order
    /// they first occur in `row_width`; inside a width first the first cell of all its rows in order, then the second of
    /// all, and so on.
    row_cells: Vec<f64>,
    /// Releases, each once: their SHA-256 digests.
    releases: Vec<[u8; 32]>,
    /// First 8 bytes of each decision id, big-endian, as delta.
    id_high: Vec<i64>,
    /// Last 8 bytes of each decision id, big-endian, as delta.
    id_low: Vec<i64>,
    /// `time_us`, as delta.
    time_us: Vec<i64>,
    /// The seed, little-endian.
    seed: Vec<[u8; 8]>,
    /// Index into `releases`, from 0.
    release: Vec<u32>,
    /// Version of the decision core.
    core: Vec<u32>,
    /// Text of the placement.
    placement: Vec<u32>,
    /// Text of the subject, 0 for none.
    subject: Vec<u32>,
    /// Text of the session, 0 for none.
    session: Vec<u32>,
    /// Lots of the experiments: how many.
    lot_len: Vec<u32>,
    /// Each lot: 0 out, from 1 on a slot, 99,999 held out, from 100,000 on an arm's index.
    lot: Vec<u32>,
    /// Slots asked for.
    slots: Vec<u32>,
    /// Number of the list of candidates, from 1; 0 is the empty list.
    candidates: Vec<u32>,
    /// Choices: how many.
    choice_len: Vec<u32>,
    /// Of each choice, the index of its candidate.
    choice_candidate: Vec<u32>,
    /// Of each choice, its slot.
    choice_slot: Vec<u32>,
    /// Of each choice, its score.
    choice_score: Vec<f64>,
    /// Of each choice, its propensity.
    choice_propensity: Vec<f64>,
    /// Row of the values of rules and models, 0 for the empty row.
    values: Vec<u32>,
    /// Reason: 0 EMPTY, 1 FALLBACK, 2 EXPLORED, 3 RULED, 4 ASSIGNED, 5 SCORED.
    reason: Vec<u8>,
    /// Text of the arm, 0 for none.
    arm: Vec<u32>,
    /// Faults: how many.
    fault_len: Vec<u32>,
    /// Of each fault, where: 0 a rules module, 1 a scorer, 2 the rules module of an experiment, 3 a scorer that runs beside.
    fault_kind: Vec<u8>,
    /// Of each fault, the index of the rules module, scorer or experiment.
    fault_rung: Vec<u8>,
    /// Of each fault, why: 0 trap, 1 deadline, 2 memory, 3 bad_output, 4 refused, 5 input, 6 open.
    fault_why: Vec<u8>,
    /// The largest lag among the views used.
    max_lag_ms: Vec<u32>,
    /// The last seq applied to the session's aggregates.
    session_seq: Vec<u64>,
    /// 1 where inputs were recorded, else 0; the columns below have one element for each 1.
    inputs: Vec<u8>,
    /// The share of decisions recorded with inputs.
    input_rate: Vec<f64>,
    /// Row of the request's inputs.
    input_shared: Vec<u32>,
    /// Rows of the candidates' inputs: how many.
    input_rows_len: Vec<u32>,
    /// Those rows; one after another they are the row-major inputs of all candidates.
    input_rows: Vec<u32>,
    /// Late views that said `refuse`: how many.
    input_refused_len: Vec<u32>,
    /// Their indices among the placement's views.
    input_refused: Vec<u16>,
    // From here on since version 4, one element a record, choice or record with inputs, as above.
    /// Of each choice, the number of its draw.
    choice_draw: Vec<u32>,
    /// Text of the experiment, 0 for none.
    experiment: Vec<u32>,
    /// Scorers that ran beside: how many.
    shadow_len: Vec<u32>,
    /// Of each, why it did not answer: 0 it did, else the code of a fault plus 1.
    shadow_fault: Vec<u8>,
    /// Of each, the index of the candidate it scored highest.
    shadow_candidate: Vec<u32>,
    /// Of each, that candidate's score.
    shadow_score: Vec<f64>,
    /// Of each, its score of the first choice.
    shadow_chosen: Vec<f64>,
    /// 1 where another than the best could be chosen, else 0.
    input_explores: Vec<u8>,
    /// Row of what was learned of the candidates, two numbers each; 0 for the empty row.
    input_learned: Vec<u32>,
    // From here on since version 5.
    /// What a policy's model saw of the choices: 0 where there is no model, else how many features it saw, plus 1.
    model_len: Vec<u32>,
    /// Which model, one element for each that is not 0 above.
    model: Vec<u32>,
    /// What it saw, one byte a feature, signed.
    model_x: Vec<u8>,
}

/// What a record weighs in memory, in bytes.
pub(super) fn weight(record: &Record) -> usize {
    let optional = |text: Option<&str>| text.map_or(0, str::len);
    let inputs = record.inputs.as_ref().map_or(0, inputs_weight);
    FIXED_WEIGHT
        + record.placement.len()
        + optional(record.subject.as_deref())
        + optional(record.session.as_deref())
        + optional(record.arm.as_deref())
        + optional(record.experiment.as_deref())
        + record.candidates.iter().map(|id| TEXT_WEIGHT + id.len()).sum::<usize>()
        + 28 * record.choices.len()
        + 8 * record.values.len()
        + 4 * (record.lots.len() + record.faults.len())
        + 24 * record.shadows.len()
        + record.model.as_ref().map_or(0, |model| model.x.len())
        + inputs
}

/// The part of [`weight`] that goes when the inputs go.
pub(super) fn inputs_weight(inputs: &Inputs) -> usize {
    8 * (inputs.shared.len() + inputs.candidates.len() + inputs.learned.len()) + 2 * inputs.refused.len()
}

/// The numbers of lots: where slots and arms begin, and one between.
const FIRST_SLOT: u32 = 1;
const HOLDOUT: u32 = 99_999;
const FIRST_ARM: u32 = 100_000;

const FIXED_WEIGHT: usize = 256;
const TEXT_WEIGHT: usize = 24;

/// Appends the columns of `records` to `raw`; where `shrinks` says of a sample of them that they do not, the rows' cells to
/// `plain` instead.
pub(super) fn encode(
    records: &[Record],
    shrinks: impl FnOnce(&[u8]) -> bool,
    raw: &mut Vec<u8>,
    plain: &mut Vec<u8>,
) -> Result<(), postcard::Error> {
    // Some candidates stand in many records: room for all of them would be mostly left empty.
    let named: usize = records.iter().map(|record| record.candidates.len() + 4).sum();
    let mut texts = TextWriter::with_capacity(named.min(1_024));
    let with_inputs = records.iter().filter(|record| record.inputs.is_some());
    let mut rows = RowWriter::with_capacity(with_inputs.map(|record| record.candidates.len() + 1).sum());
    let mut lists: HashMap<&[Arc<str>], u32, FixedState> = HashMap::default();
    let mut c = Columns::default();
    let (mut high, mut low, mut time) = (0, 0, 0);
    for record in records {
        let (id_high, id_low) = halves(record.id);
        c.id_high.push(delta(id_high, &mut high));
        c.id_low.push(delta(id_low, &mut low));
        c.time_us.push(delta(record.time_us as u64, &mut time));
        c.seed.push(record.seed.to_le_bytes());
        c.release.push(release(&mut c.releases, record.release));
        c.core.push(record.core);
        c.placement.push(texts.number(&record.placement));
        c.subject.push(texts.optional(record.subject.as_deref()));
        c.session.push(texts.optional(record.session.as_deref()));
        c.lot_len.push(record.lots.len() as u32);
        c.lot.extend(record.lots.iter().map(|lot| match lot {
            Lot::Out => 0,
            Lot::Holdout => HOLDOUT,
            Lot::Slot(slot) => FIRST_SLOT + u32::from(*slot),
            Lot::Arm(arm) => FIRST_ARM + u32::from(*arm),
        }));
        c.slots.push(record.slots);
        c.candidates.push(if record.candidates.is_empty() {
            0
        } else {
            *lists.entry(&record.candidates).or_insert_with(|| {
                c.list_text.extend(record.candidates.iter().map(|id| texts.number(id)));
                c.list_len.push(record.candidates.len() as u32);
                c.list_len.len() as u32
            })
        });
        c.choice_len.push(record.choices.len() as u32);
        for choice in &record.choices {
            c.choice_candidate.push(choice.candidate);
            c.choice_slot.push(choice.slot);
            c.choice_draw.push(choice.draw);
            c.choice_score.push(choice.score);
            c.choice_propensity.push(choice.propensity);
        }
        c.values.push(rows.number(&record.values));
        c.reason.push(code(&Reason::ALL, record.reason));
        c.experiment.push(texts.optional(record.experiment.as_deref()));
        c.arm.push(texts.optional(record.arm.as_deref()));
        c.fault_len.push(record.faults.len() as u32);
        for RungFault { rung, fault } in &record.faults {
            let (kind, index) = match *rung {
                Rung::Rules(index) => (0, index),
                Rung::Ladder(index) => (1, index),
                Rung::Target(index) => (2, index),
                Rung::Shadow(index) => (3, index),
            };
            c.fault_kind.push(kind);
            c.fault_rung.push(index);
            c.fault_why.push(code(&Fault::ALL, *fault));
        }
        c.max_lag_ms.push(record.max_lag_ms);
        c.session_seq.push(record.session_seq);
        c.shadow_len.push(record.shadows.len() as u32);
        for shadow in &record.shadows {
            c.shadow_fault.push(shadow.fault.map_or(0, |fault| code(&Fault::ALL, fault) + 1));
            c.shadow_candidate.push(shadow.candidate);
            c.shadow_score.push(shadow.score);
            c.shadow_chosen.push(shadow.chosen);
        }
        c.model_len.push(record.model.as_ref().map_or(0, |model| model.x.len() as u32 + 1));
        if let Some(model) = &record.model {
            c.model.push(model.model);
            c.model_x.extend(model.x.iter().map(|step| step.cast_unsigned()));
        }
        c.inputs.push(u8::from(record.inputs.is_some()));
        if let Some(inputs) = &record.inputs {
            encode_inputs(inputs, record.candidates.len(), &mut c, &mut rows);
        }
    }
    c.text = texts.text;
    c.text_bytes = texts.bytes;
    encode_rows(&rows.rows, shrinks, &mut c, plain);
    *raw = postcard::to_extend(&c, std::mem::take(raw))?;
    Ok(())
}

fn encode_inputs<'a>(inputs: &'a Inputs, candidates: usize, c: &mut Columns, rows: &mut RowWriter<'a>) {
    c.input_rate.push(inputs.rate);
    c.input_shared.push(rows.number(&inputs.shared));
    // One row a candidate, so that an item's row goes once a block; what does not divide goes as one row.
    let width = match inputs.candidates.len().checked_rem(candidates) {
        Some(0) => inputs.candidates.len() / candidates,
        _ => inputs.candidates.len(),
    };
    let before = c.input_rows.len();
    c.input_rows.extend(inputs.candidates.chunks(width.max(1)).map(|row| rows.number(row)));
    c.input_rows_len.push((c.input_rows.len() - before) as u32);
    c.input_refused_len.push(inputs.refused.len() as u32);
    c.input_refused.extend(&inputs.refused);
    c.input_explores.push(u8::from(inputs.explores));
    c.input_learned.push(rows.number(&inputs.learned));
}

fn encode_rows(rows: &[&[f64]], shrinks: impl FnOnce(&[u8]) -> bool, c: &mut Columns, plain: &mut Vec<u8>) {
    c.row_width = rows.iter().map(|row| row.len() as u32).collect();
    let cells: usize = rows.iter().map(|row| row.len()).sum();
    if cells >= PLAIN_FROM && !shrinks(&sample(rows)) {
        plain.reserve(8 * cells);
        rows.iter().for_each(|row| plain.extend(row.iter().flat_map(|cell| cell.to_le_bytes())));
        return;
    }
    c.row_cells.reserve(cells);
    for (width, members) in by_width(&c.row_width) {
        c.row_cells.extend((0..width).flat_map(|cell| members.iter().map(move |&row| rows[row][cell])));
    }
}

/// With fewer cells there is nothing to gain from leaving them plain.
const PLAIN_FROM: usize = 2_048;
const SAMPLE_ROWS: usize = 16;
const SAMPLE_CELLS: usize = 32;

/// Some cells of some rows, spread over all of them.
fn sample(rows: &[&[f64]]) -> Vec<u8> {
    let mut sample = Vec::with_capacity(8 * SAMPLE_ROWS * SAMPLE_CELLS);
    for row in rows.iter().step_by(rows.len().div_ceil(SAMPLE_ROWS).max(1)) {
        let cells = row.iter().step_by(row.len().div_ceil(SAMPLE_CELLS).max(1));
        sample.extend(cells.flat_map(|cell| cell.to_le_bytes()));
    }
    sample
}

/// The indices of the rows of each width, widths in the order they first occur.
fn by_width(widths: &[u32]) -> Vec<(usize, Vec<usize>)> {
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut places: HashMap<u32, usize, FixedState> = HashMap::default();
    for (row, &width) in widths.iter().enumerate() {
        let place = *places.entry(width).or_insert_with(|| {
            groups.push((width as usize, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row);
    }
    groups
}

fn release(releases: &mut Vec<[u8; 32]>, digest: Digest) -> u32 {
    // A block sees one release, two around a swap.
    let known = releases.iter().rposition(|known| *known == digest.0);
    known.unwrap_or_else(|| {
        releases.push(digest.0);
        releases.len() - 1
    }) as u32
}

fn code<T: PartialEq>(all: &[T], value: T) -> u8 {
    all.iter().position(|other| *other == value).unwrap_or(all.len()) as u8
}
