//! The steps that compute columns from columns, all but the sums. Owns their evaluation; the builder's reference says what each
//! means.

use crate::exp::exp;
use crate::program::{Op, Reader};

/// What LightGBM takes for zero.
const ZERO: f64 = 1e-35_f32 as f64;
/// No slot of a one-hot step.
const NO_SLOT: usize = u32::MAX as usize;

pub(crate) fn run(op: Op, fields: &mut Reader<'_>, tape: &mut [f64]) -> Option<()> {
    match op {
        Op::Products => return terms(fields, tape, 1.0, |a, x| a * x),
        Op::Sums => return terms(fields, tape, 0.0, |a, x| a + x),
        Op::Index | Op::Bins => return search(op, fields, tape),
        Op::OneHot => return one_hot(fields, tape),
        Op::Table => return table(fields, tape),
        Op::Negate => {
            let (n, first, from) = (fields.word()?, fields.word()?, fields.word()?);
            let (columns, copies) = tape.split_at_mut_checked(first)?;
            let columns = columns.get(from..from.checked_add(n)?)?;
            negate(columns, copies.get_mut(..n)?);
            return Some(());
        }
        Op::Constant => {
            let (n, first) = (fields.word()?, fields.word()?);
            return write(tape.get_mut(first..first.checked_add(n)?)?, fields.numbers(n)?);
        }
        _ => {}
    }
    let (n, first) = (fields.word()?, fields.word()?);
    let each = Each { places: fields.words(n)?, first };
    match op {
        Op::Copy => each.map(tape, |_, x| x),
        Op::Impute => {
            let values = fields.numbers(n)?;
            each.map(tape, |i, x| if x.is_nan() { number(values, i) } else { x })
        }
        Op::IsMissing => each.map(tape, |_, x| f64::from(u8::from(x.is_nan()))),
        Op::ZeroIsMissing => each.map(tape, |_, x| if x.abs() <= ZERO { f64::NAN } else { x }),
        Op::Scale => scale(each, fields, tape),
        Op::Clip => {
            let (low, high) = (fields.number()?, fields.number()?);
            each.map(tape, |_, x| {
                if x < low {
                    low
                } else if x > high {
                    high
                } else {
                    x
                }
            })
        }
        Op::Apply => {
            let function = fields.word()?;
            each.map(tape, |_, x| apply(function, x))
        }
        Op::Softmax => softmax(each, fields.word()? == 1, tape),
        Op::Normalize => {
            each.map(tape, |_, x| x)?;
            normalize(tape.get_mut(first..first + n)?);
            Some(())
        }
        Op::Interpolate => {
            let points = fields.word()?;
            let (x, y) = (fields.numbers(points)?, fields.numbers(points)?);
            each.map(tape, |_, value| interpolate(value, x, y))
        }
        Op::Prior => {
            let kept = fields.number()?;
            each.map(tape, |_, p| p / (p + (1.0 - p) / kept))
        }
        _ => None,
    }
}

/// Columns that become as many.
#[derive(Clone, Copy)]
struct Each<'a> {
    places: &'a [[u8; 4]],
    first: usize,
}

// === impl Each ===

impl Each<'_> {
    #[inline]
    fn map(self, tape: &mut [f64], f: impl Fn(usize, f64) -> f64) -> Option<()> {
        for (i, place) in self.places.iter().enumerate() {
            let x = *tape.get(u32::from_le_bytes(*place) as usize)?;
            *tape.get_mut(self.first + i)? = f(i, x);
        }
        Some(())
    }
}

fn number(numbers: &[[u8; 8]], i: usize) -> f64 {
    numbers.get(i).map_or(f64::NAN, |number| f64::from_le_bytes(*number))
}

fn write(to: &mut [f64], numbers: &[[u8; 8]]) -> Option<()> {
    to.iter_mut().zip(numbers).for_each(|(to, number)| *to = f64::from_le_bytes(*number));
    Some(())
}

/// Two at once in a module.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn negate(columns: &[f64], copies: &mut [f64]) {
    let ((columns, columns_left), (copies, copies_left)) = (columns.as_chunks::<32>(), copies.as_chunks_mut::<32>());
    for (copies, columns) in copies.iter_mut().zip(columns) {
        for (copy, x) in copies.iter_mut().zip(columns) {
            *copy = -x;
        }
    }
    for (copy, x) in copies_left.iter_mut().zip(columns_left) {
        *copy = -x;
    }
}

/// One operation after the other over all columns: each rounds, so the order of columns does not matter.
fn scale(each: Each<'_>, fields: &mut Reader<'_>, tape: &mut [f64]) -> Option<()> {
    let which = fields.word()?;
    each.map(tape, |_, x| x)?;
    let own = each.first..each.first + each.places.len();
    for (bit, f) in [
        (1, (|x, value| x - value) as fn(f64, f64) -> f64),
        (2, |x, value| x / value),
        (4, |x, value| x * value),
        (8, |x, value| x + value),
    ] {
        if which & bit != 0 {
            let values = fields.numbers(each.places.len())?;
            let columns = tape.get_mut(own.clone())?;
            columns.iter_mut().zip(values).for_each(|(x, value)| *x = f(*x, f64::from_le_bytes(*value)));
        }
    }
    Some(())
}

/// Numbered as the builder's `Function` lists them.
fn apply(function: usize, x: f64) -> f64 {
    match function {
        0 => libm::log(x),
        1 => libm::log2(x),
        2 => libm::log10(x),
        3 => libm::log1p(x),
        4 => exp(x),
        5 => libm::expm1(x),
        6 => x.sqrt(),
        7 => x * x,
        8 => x.abs(),
        9 => -x,
        10 => 1.0 / x,
        11 => 1.0 / (1.0 + exp(-x)),
        12 => libm::tanh(x),
        13 if x > 0.0 || x.is_nan() => x,
        13 => 0.0,
        14 => f64::from(x as f32),
        15 => x.trunc(),
        _ => f64::NAN,
    }
}

fn terms(fields: &mut Reader<'_>, tape: &mut [f64], start: f64, f: impl Fn(f64, f64) -> f64) -> Option<()> {
    let (n, first) = (fields.word()?, fields.word()?);
    for i in 0..n {
        let len = fields.word()?;
        let mut total = start;
        for place in fields.words(len)? {
            total = f(total, *tape.get(u32::from_le_bytes(*place) as usize)?);
        }
        *tape.get_mut(first + i)? = total;
    }
    Some(())
}

fn search(op: Op, fields: &mut Reader<'_>, tape: &mut [f64]) -> Option<()> {
    let (place, first, n) = (fields.word()?, fields.word()?, fields.word()?);
    let (x, values) = (*tape.get(place)?, fields.numbers(n)?);
    *tape.get_mut(first)? = if x.is_nan() {
        x
    } else if op == Op::Bins {
        values.partition_point(|edge| f64::from_le_bytes(*edge) <= x) as f64
    } else {
        let before = values.partition_point(|value| f64::from_le_bytes(*value) < x);
        if values.get(before).is_some_and(|value| f64::from_le_bytes(*value) == x) { before as f64 } else { -1.0 }
    };
    Some(())
}

/// The index of a symbol of which there are `count`; `None` for another text.
pub(crate) fn symbol(x: f64, count: usize) -> Option<usize> {
    // A negative value would saturate to 0 on its way to usize.
    let index = if x >= 0.0 { x as usize } else { return None };
    (index < count).then_some(index)
}

fn one_hot(fields: &mut Reader<'_>, tape: &mut [f64]) -> Option<()> {
    let (place, first, width) = (fields.word()?, fields.word()?, fields.word()?);
    let (other, missing, n) = (fields.word()?, fields.word()?, fields.word()?);
    let (x, slots) = (*tape.get(place)?, fields.words(n)?);
    let slot = match symbol(x, n) {
        Some(index) => u32::from_le_bytes(*slots.get(index)?) as usize,
        None if x.is_nan() => missing,
        None => other,
    };
    tape.get_mut(first..first.checked_add(width)?)?.fill(0.0);
    if slot != NO_SLOT {
        *tape.get_mut(first + slot)? = 1.0;
    }
    Some(())
}

fn table(fields: &mut Reader<'_>, tape: &mut [f64]) -> Option<()> {
    let (place, first, width, n) = (fields.word()?, fields.word()?, fields.word()?, fields.word()?);
    let x = *tape.get(place)?;
    let row = match symbol(x, n) {
        Some(index) => index,
        None if x.is_nan() => n + 1,
        None => n,
    };
    let rows = fields.numbers((n + 2).checked_mul(width)?)?;
    write(tape.get_mut(first..first.checked_add(width)?)?, rows.get(row * width..)?)
}

fn softmax(each: Each<'_>, single: bool, tape: &mut [f64]) -> Option<()> {
    each.map(tape, |_, x| x)?;
    let columns = tape.get_mut(each.first..each.first + each.places.len())?;
    let round = |value: f64| if single { f64::from(value as f32) } else { value };
    let mut max = f64::NEG_INFINITY;
    for x in &*columns {
        max = if *x > max { *x } else { max };
    }
    let mut sum = 0.0;
    for x in &mut *columns {
        *x = round(exp(round(*x - max)));
        sum += *x;
    }
    let sum = round(sum);
    columns.iter_mut().for_each(|x| *x = round(*x / sum));
    Some(())
}

fn normalize(columns: &mut [f64]) {
    let share = 1.0 / columns.len() as f64;
    let sum = columns.iter().fold(0.0, |sum, x| sum + x);
    columns.iter_mut().for_each(|x| *x = if sum == 0.0 { share } else { *x / sum });
}

fn interpolate(value: f64, x: &[[u8; 8]], y: &[[u8; 8]]) -> f64 {
    if value.is_nan() {
        return value;
    }
    let right = x.partition_point(|x| f64::from_le_bytes(*x) <= value);
    if right == 0 || right == x.len() {
        return number(y, right.saturating_sub(1));
    }
    let (left_x, left_y) = (number(x, right - 1), number(y, right - 1));
    (number(y, right) - left_y) / (number(x, right) - left_x) * (value - left_x) + left_y
}
