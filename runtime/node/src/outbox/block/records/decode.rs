//! Records out of their columns. Trusts no number: every index is looked up, every length is checked against what is there,
//! and what repeated rows and texts grow to is counted before it is copied.

use std::sync::Arc;

use selvedge_decision::record::{ChoiceRecord, Inputs, Lot, ModelInputs, Rung, RungFault, ShadowRecord};
use selvedge_decision::{Digest, Fault, Reason, Record};

use super::super::BadBlock;
use super::super::columns::{Budget, Column, Texts, read, undelta};
use super::super::events::join;
use super::{Columns, FIRST_ARM, FIRST_SLOT, FIXED_WEIGHT, HOLDOUT, TEXT_WEIGHT, by_width};

/// The rows of a block by number.
struct Rows {
    cells: Vec<f64>,
    ends: Vec<usize>,
}

/// The `count` records of a body, with the plain cells beside its columns.
pub(in crate::outbox::block) fn decode(
    bytes: &[u8],
    plain: &[u8],
    count: usize,
    version: u8,
) -> Result<Vec<Record>, BadBlock> {
    let c = columns(bytes, version)?;
    let mut budget = Budget::new();
    budget.take(count.saturating_mul(FIXED_WEIGHT))?;
    let mut texts = Texts::new(&c.text, &c.text_bytes)?;
    let rows = if plain.is_empty() {
        Rows::new(&c.row_width, &c.row_cells)?
    } else {
        Rows::plain(&c.row_width, &c.row_cells, plain)?
    };
    let lists = Lists::new(c.list_len, c.list_text)?;
    let releases: Vec<Digest> = c.releases.into_iter().map(Digest).collect();
    let mut id_high = Column::new("id_high", c.id_high);
    let mut id_low = Column::new("id_low", c.id_low);
    let mut time_us = Column::new("time_us", c.time_us);
    let mut seed = Column::new("seed", c.seed);
    let mut release = Column::new("release", c.release);
    let mut core = Column::new("core", c.core);
    let mut placement = Column::new("placement", c.placement);
    let mut subject = Column::new("subject", c.subject);
    let mut session = Column::new("session", c.session);
    let mut lot_len = Column::new("lot_len", c.lot_len);
    let mut lot = Column::new("lot", c.lot);
    let mut slots = Column::new("slots", c.slots);
    let mut candidates = Column::new("candidates", c.candidates);
    let mut choices = Choices {
        len: Column::new("choice_len", c.choice_len),
        candidate: Column::new("choice_candidate", c.choice_candidate),
        slot: Column::new("choice_slot", c.choice_slot),
        draw: Column::new("choice_draw", c.choice_draw),
        score: Column::new("choice_score", c.choice_score),
        propensity: Column::new("choice_propensity", c.choice_propensity),
    };
    let mut values = Column::new("values", c.values);
    let mut reason = Column::new("reason", c.reason);
    let mut experiment = Column::new("experiment", c.experiment);
    let mut arm = Column::new("arm", c.arm);
    let mut faults = Faults {
        len: Column::new("fault_len", c.fault_len),
        kind: Column::new("fault_kind", c.fault_kind),
        rung: Column::new("fault_rung", c.fault_rung),
        why: Column::new("fault_why", c.fault_why),
    };
    let mut max_lag_ms = Column::new("max_lag_ms", c.max_lag_ms);
    let mut session_seq = Column::new("session_seq", c.session_seq);
    let mut shadows = Shadows {
        len: Column::new("shadow_len", c.shadow_len),
        fault: Column::new("shadow_fault", c.shadow_fault),
        candidate: Column::new("shadow_candidate", c.shadow_candidate),
        score: Column::new("shadow_score", c.shadow_score),
        chosen: Column::new("shadow_chosen", c.shadow_chosen),
    };
    let mut models = Models {
        len: Column::new("model_len", c.model_len),
        model: Column::new("model", c.model),
        x: Column::new("model_x", c.model_x),
    };
    let mut has_inputs = Column::new("inputs", c.inputs);
    let mut inputs = InputColumns {
        rate: Column::new("input_rate", c.input_rate),
        shared: Column::new("input_shared", c.input_shared),
        rows_len: Column::new("input_rows_len", c.input_rows_len),
        rows: Column::new("input_rows", c.input_rows),
        refused_len: Column::new("input_refused_len", c.input_refused_len),
        refused: Column::new("input_refused", c.input_refused),
        explores: Column::new("input_explores", c.input_explores),
        learned: Column::new("input_learned", c.input_learned),
    };
    let (mut high, mut low, mut time) = (0, 0, 0);
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(Record {
            id: join(undelta(id_high.one()?, &mut high), undelta(id_low.one()?, &mut low)),
            time_us: undelta(time_us.one()?, &mut time) as i64,
            seed: u64::from_le_bytes(seed.one()?),
            release: *releases.get(release.one()? as usize).ok_or_else(|| bad("there is no such release"))?,
            core: core.one()?,
            placement: texts.shared(placement.one()?, &mut budget)?,
            subject: texts.optional(subject.one()?, &mut budget)?,
            session: texts.optional(session.one()?, &mut budget)?,
            lots: {
                let length = lot_len.one()?;
                budget.take(4 * length as usize)?;
                lot.many(length)?.map(decode_lot).collect::<Result<_, _>>()?
            },
            slots: slots.one()?,
            candidates: lists.take(candidates.one()?, &mut texts, &mut budget)?,
            choices: choices.next(&mut budget)?,
            values: rows.take(values.one()?, &mut budget)?.to_vec(),
            reason: *Reason::ALL.get(usize::from(reason.one()?)).ok_or_else(|| bad("there is no such reason"))?,
            experiment: texts.shared_optional(experiment.one()?, &mut budget)?,
            arm: texts.shared_optional(arm.one()?, &mut budget)?,
            faults: faults.next(&mut budget)?,
            max_lag_ms: max_lag_ms.one()?,
            session_seq: session_seq.one()?,
            shadows: shadows.next(&mut budget)?,
            model: models.next(&mut budget)?,
            inputs: if flag(has_inputs.one()?)? { Some(inputs.next(&rows, &mut budget)?) } else { None },
        });
    }
    id_high.end()?;
    id_low.end()?;
    time_us.end()?;
    seed.end()?;
    release.end()?;
    core.end()?;
    placement.end()?;
    subject.end()?;
    session.end()?;
    lot_len.end()?;
    lot.end()?;
    slots.end()?;
    candidates.end()?;
    choices.end()?;
    values.end()?;
    reason.end()?;
    experiment.end()?;
    arm.end()?;
    faults.end()?;
    max_lag_ms.end()?;
    session_seq.end()?;
    shadows.end()?;
    models.end()?;
    has_inputs.end()?;
    inputs.end()?;
    Ok(records)
}

/// The columns, those that a body of an older version does not have as they would have been.
fn columns(bytes: &[u8], version: u8) -> Result<Columns, BadBlock> {
    if version >= WITH_MODELS {
        return read(bytes);
    }
    // It ends where the lengths of the missing columns, all 0, would stand.
    let missing = if version >= WITH_EXPERIMENTS { MODEL_COLUMNS } else { MODEL_COLUMNS + EXPERIMENT_COLUMNS };
    let mut c: Columns = read(&[bytes, &vec![0; missing]].concat())?;
    c.model_len = vec![0; c.arm.len()];
    if version >= WITH_EXPERIMENTS {
        return Ok(c);
    }
    c.choice_draw.clone_from(&c.choice_slot);
    c.experiment = vec![0; c.arm.len()];
    c.shadow_len = vec![0; c.arm.len()];
    c.input_explores = vec![1; c.input_rate.len()];
    c.input_learned = vec![0; c.input_rate.len()];
    Ok(c)
}

/// The first version with experiments, draws, scorers that run beside and what was learned.
const WITH_EXPERIMENTS: u8 = 4;
/// How many columns those are.
const EXPERIMENT_COLUMNS: usize = 9;
/// The first version with what models saw.
const WITH_MODELS: u8 = 5;
/// How many columns that is.
const MODEL_COLUMNS: usize = 3;

fn bad(why: &str) -> BadBlock {
    BadBlock::Columns(why.to_owned())
}

fn flag(value: u8) -> Result<bool, BadBlock> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(bad("a flag is neither 0 nor 1")),
    }
}

fn decode_lot(value: u32) -> Result<Lot, BadBlock> {
    let number = |from: u32| u16::try_from(value - from).map_err(|_| bad("a lot is out of bounds"));
    match value {
        0 => Ok(Lot::Out),
        HOLDOUT => Ok(Lot::Holdout),
        FIRST_ARM.. => number(FIRST_ARM).map(Lot::Arm),
        _ => number(FIRST_SLOT).map(Lot::Slot),
    }
}

fn decode_fault(code: u8) -> Result<Fault, BadBlock> {
    Fault::ALL.get(usize::from(code)).copied().ok_or_else(|| bad("there is no such fault"))
}

// === impl Rows ===

impl Rows {
    /// Takes the cells as they stand, row by row.
    fn plain(widths: &[u32], columns: &[f64], plain: &[u8]) -> Result<Self, BadBlock> {
        let (cells, rest) = plain.as_chunks();
        let ends = Self::ends(widths, cells.len())?;
        if !columns.is_empty() || !rest.is_empty() {
            return Err(bad("cells stand in two places, or the last is cut"));
        }
        Ok(Self { cells: cells.iter().map(|cell| f64::from_le_bytes(*cell)).collect(), ends })
    }

    /// Puts the cells back row by row.
    fn new(widths: &[u32], columns: &[f64]) -> Result<Self, BadBlock> {
        let ends = Self::ends(widths, columns.len())?;
        let mut cells = vec![0.0; columns.len()];
        let mut next = columns.iter();
        for (width, members) in by_width(widths) {
            for cell in 0..width {
                for (&row, &value) in members.iter().zip(&mut next) {
                    cells[ends[row] - width + cell] = value;
                }
            }
        }
        Ok(Self { cells, ends })
    }

    /// Where each row ends among `cells` cells.
    fn ends(widths: &[u32], cells: usize) -> Result<Vec<usize>, BadBlock> {
        let mut end = 0usize;
        let mut ends = Vec::with_capacity(widths.len());
        for &width in widths {
            end = end.checked_add(width as usize).filter(|_| width > 0).ok_or_else(|| bad("a row has no width"))?;
            ends.push(end);
        }
        if end == cells { Ok(ends) } else { Err(bad("there are not the cells that row_width says")) }
    }

    /// Row `number`; the caller copies it.
    fn take(&self, number: u32, budget: &mut Budget) -> Result<&[f64], BadBlock> {
        let Some(index) = (number as usize).checked_sub(1) else { return Ok(&[]) };
        let end = *self.ends.get(index).ok_or_else(|| bad("there is no such row"))?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        budget.take(8 * (end - start))?;
        Ok(&self.cells[start..end])
    }
}

/// The lists of candidates of a block by number.
struct Lists {
    texts: Vec<u32>,
    ends: Vec<usize>,
}

// === impl Lists ===

impl Lists {
    fn new(lengths: Vec<u32>, texts: Vec<u32>) -> Result<Self, BadBlock> {
        let mut end = 0usize;
        let ends = lengths.into_iter().map(|length| {
            end = end.saturating_add(length as usize);
            end
        });
        let ends: Vec<usize> = ends.collect();
        if end == texts.len() {
            Ok(Self { texts, ends })
        } else {
            Err(bad("list_text does not have what list_len says"))
        }
    }

    fn take(&self, number: u32, texts: &mut Texts<'_>, budget: &mut Budget) -> Result<Vec<Arc<str>>, BadBlock> {
        let Some(index) = (number as usize).checked_sub(1) else { return Ok(Vec::new()) };
        let end = *self.ends.get(index).ok_or_else(|| bad("there is no such list"))?;
        let list = &self.texts[index.checked_sub(1).map_or(0, |before| self.ends[before])..end];
        budget.take(TEXT_WEIGHT * list.len())?;
        list.iter().map(|&number| texts.shared(number, budget)).collect()
    }
}

/// The columns of choices.
struct Choices {
    len: Column<u32>,
    candidate: Column<u32>,
    slot: Column<u32>,
    draw: Column<u32>,
    score: Column<f64>,
    propensity: Column<f64>,
}

// === impl Choices ===

impl Choices {
    fn next(&mut self, budget: &mut Budget) -> Result<Vec<ChoiceRecord>, BadBlock> {
        let count = self.len.one()?;
        budget.take(28 * count as usize)?;
        let choices = self.candidate.many(count)?.zip(self.slot.many(count)?).zip(self.draw.many(count)?);
        let scores = self.score.many(count)?.zip(self.propensity.many(count)?);
        let choices = choices.zip(scores).map(|(((candidate, slot), draw), (score, propensity))| ChoiceRecord {
            candidate,
            slot,
            draw,
            score,
            propensity,
        });
        Ok(choices.collect())
    }

    fn end(self) -> Result<(), BadBlock> {
        self.len.end()?;
        self.candidate.end()?;
        self.slot.end()?;
        self.draw.end()?;
        self.score.end()?;
        self.propensity.end()
    }
}

/// The columns of faults.
struct Faults {
    len: Column<u32>,
    kind: Column<u8>,
    rung: Column<u8>,
    why: Column<u8>,
}

// === impl Faults ===

impl Faults {
    fn next(&mut self, budget: &mut Budget) -> Result<Vec<RungFault>, BadBlock> {
        let count = self.len.one()?;
        budget.take(4 * count as usize)?;
        let faults = self.kind.many(count)?.zip(self.rung.many(count)?).zip(self.why.many(count)?);
        let faults = faults.map(|((kind, index), why)| {
            let rung = match kind {
                0 => Rung::Rules(index),
                1 => Rung::Ladder(index),
                2 => Rung::Target(index),
                3 => Rung::Shadow(index),
                _ => return Err(bad("there is no such rung")),
            };
            Ok(RungFault { rung, fault: decode_fault(why)? })
        });
        faults.collect()
    }

    fn end(self) -> Result<(), BadBlock> {
        self.len.end()?;
        self.kind.end()?;
        self.rung.end()?;
        self.why.end()
    }
}

/// The columns of scorers that ran beside.
struct Shadows {
    len: Column<u32>,
    fault: Column<u8>,
    candidate: Column<u32>,
    score: Column<f64>,
    chosen: Column<f64>,
}

// === impl Shadows ===

impl Shadows {
    fn next(&mut self, budget: &mut Budget) -> Result<Vec<ShadowRecord>, BadBlock> {
        let count = self.len.one()?;
        budget.take(24 * count as usize)?;
        let who = self.fault.many(count)?.zip(self.candidate.many(count)?);
        let scores = self.score.many(count)?.zip(self.chosen.many(count)?);
        let shadows = who.zip(scores).map(|((fault, candidate), (score, chosen))| {
            let fault = fault.checked_sub(1).map(decode_fault).transpose()?;
            Ok(ShadowRecord { fault, candidate, score, chosen })
        });
        shadows.collect()
    }

    fn end(self) -> Result<(), BadBlock> {
        self.len.end()?;
        self.fault.end()?;
        self.candidate.end()?;
        self.score.end()?;
        self.chosen.end()
    }
}

/// The columns of what models saw.
struct Models {
    len: Column<u32>,
    model: Column<u32>,
    x: Column<u8>,
}

// === impl Models ===

impl Models {
    fn next(&mut self, budget: &mut Budget) -> Result<Option<ModelInputs>, BadBlock> {
        let Some(count) = self.len.one()?.checked_sub(1) else { return Ok(None) };
        budget.take(count as usize)?;
        let x = self.x.many(count)?.map(u8::cast_signed).collect();
        Ok(Some(ModelInputs { model: self.model.one()?, x }))
    }

    fn end(self) -> Result<(), BadBlock> {
        self.len.end()?;
        self.model.end()?;
        self.x.end()
    }
}

/// The columns of inputs.
struct InputColumns {
    rate: Column<f64>,
    shared: Column<u32>,
    rows_len: Column<u32>,
    rows: Column<u32>,
    refused_len: Column<u32>,
    refused: Column<u16>,
    explores: Column<u8>,
    learned: Column<u32>,
}

// === impl InputColumns ===

impl InputColumns {
    fn next(&mut self, rows: &Rows, budget: &mut Budget) -> Result<Inputs, BadBlock> {
        let rate = self.rate.one()?;
        let shared = rows.take(self.shared.one()?, budget)?.to_vec();
        let mut candidates = Vec::new();
        for number in self.rows.many(self.rows_len.one()?)? {
            candidates.extend_from_slice(rows.take(number, budget)?);
        }
        let refused_len = self.refused_len.one()?;
        budget.take(2 * refused_len as usize)?;
        let refused = self.refused.many(refused_len)?.collect();
        let explores = flag(self.explores.one()?)?;
        let learned = rows.take(self.learned.one()?, budget)?.to_vec();
        Ok(Inputs { rate, shared, candidates, refused, explores, learned })
    }

    fn end(self) -> Result<(), BadBlock> {
        self.rate.end()?;
        self.shared.end()?;
        self.rows_len.end()?;
        self.rows.end()?;
        self.refused_len.end()?;
        self.refused.end()?;
        self.explores.end()?;
        self.learned.end()
    }
}
