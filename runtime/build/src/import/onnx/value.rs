//! What flows through a graph: constants, and tensors that have one row a call. Owns shapes and how they broadcast; a row's
//! own dimensions are those behind the batch.

use std::rc::Rc;

use super::model::{BOOL, FLOAT, INT32, INT64, TensorProto};
use crate::pipeline::MAX_COLUMNS;
use crate::pipeline::step::Column;

/// The size of the batch among known numbers, in a computed shape.
pub(super) const BATCH: i64 = i64::MIN;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// The most numbers of a constant.
const MAX_NUMBERS: usize = 16_000_000;

/// A tensor.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Known when the module is built.
    Floats(Constant<f64>),
    /// Known, and used as a shape, an axis or an index.
    Ints(Constant<i64>),
    /// Columns of the tape.
    Rows(Rows),
}

/// Numbers known when the module is built, row-major.
#[derive(Debug, Clone)]
pub(super) struct Constant<T> {
    pub(super) dims: Vec<usize>,
    pub(super) data: Rc<[T]>,
}

/// One row of a tensor whose first dimension is the batch.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    /// The dimensions behind the batch.
    pub(super) dims: Vec<usize>,
    /// Row-major.
    pub(super) columns: Rc<[Column]>,
    /// The columns before the link, when these are probabilities.
    pub(super) margins: Option<Rc<[Column]>>,
}

// === impl Value ===

impl Value {
    /// The constant that a file holds.
    pub(super) fn read(tensor: &TensorProto<'_>) -> Result<Self, String> {
        if let Some(file) = tensor.external {
            return Err(format!(
                "its numbers stand in {file}, outside of the model file; put them inside: \
                 torch.onnx.export(…, external_data=False), or onnx.save(onnx.load(\"model.onnx\"), \"whole.onnx\")"
            ));
        }
        let dims = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<Vec<_>>>();
        let dims = dims.filter(|dims| dims.len() <= MAX_RANK).ok_or_else(|| format!("the shape {:?}", tensor.dims))?;
        let count = size(&dims).filter(|count| *count <= MAX_NUMBERS);
        let count = count.ok_or_else(|| format!("the shape {dims:?} has more than {MAX_NUMBERS} numbers"))?;
        match tensor.data_type {
            FLOAT => {
                let data: Rc<[f64]> = match tensor.raw {
                    Some(raw) => whole(raw)?.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
                    None => tensor.floats.iter().map(|value| f64::from(*value)).collect(),
                };
                if let Some(i) = data.iter().position(|value| !value.is_finite()) {
                    return Err(format!("number {i} is {}, which is not finite", data[i]));
                }
                Constant::new(dims, data, count).map(Self::Floats)
            }
            INT32 | INT64 | BOOL => {
                let data: Rc<[i64]> = match (tensor.raw, tensor.data_type) {
                    (None, _) => tensor.ints.iter().copied().collect(),
                    (Some(raw), INT64) => whole(raw)?.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
                    (Some(raw), INT32) => {
                        whole(raw)?.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect()
                    }
                    (Some(raw), _) => raw.iter().map(|byte| i64::from(*byte)).collect(),
                };
                Constant::new(dims, data, count).map(Self::Ints)
            }
            other => Err(format!("the type {}; only float (32 bits) is supported for weights", type_name(other))),
        }
    }
}

/// The name of a `TensorProto.DataType`.
pub(super) fn type_name(data_type: i64) -> String {
    const NAMES: [&str; 17] = [
        "undefined",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
    ];
    let name = usize::try_from(data_type).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("number {data_type}"), |name| (*name).to_owned())
}

fn whole<const BYTES: usize>(raw: &[u8]) -> Result<&[[u8; BYTES]], String> {
    let (numbers, rest) = raw.as_chunks();
    if rest.is_empty() { Ok(numbers) } else { Err(format!("{} bytes in numbers of {BYTES}", raw.len())) }
}

// === impl Constant ===

impl<T: Copy> Constant<T> {
    fn new(dims: Vec<usize>, data: Rc<[T]>, count: usize) -> Result<Self, String> {
        if data.len() == count {
            return Ok(Self { dims, data });
        }
        Err(format!("{} numbers, but the shape {dims:?} has {count}", data.len()))
    }

    /// A list of numbers.
    pub(super) fn list(data: Vec<T>) -> Self {
        Self { dims: vec![data.len()], data: data.into() }
    }

    /// With its dimensions in another order.
    pub(super) fn transposed(&self, order: &[usize]) -> Self {
        let dims: Vec<usize> = order.iter().map(|axis| self.dims[*axis]).collect();
        let mut strides = vec![1; self.dims.len()];
        for axis in (1..self.dims.len()).rev() {
            strides[axis - 1] = strides[axis] * self.dims[axis];
        }
        let strides: Vec<usize> = order.iter().map(|axis| strides[*axis]).collect();
        let data = (0..self.data.len()).map(|place| self.data[offset(place, &dims, &strides)]).collect();
        Self { dims, data }
    }
}

// === impl Rows ===

impl Rows {
    pub(super) fn new(dims: Vec<usize>, columns: impl Into<Rc<[Column]>>) -> Self {
        Self { dims, columns: columns.into(), margins: None }
    }

    /// The same numbers in another shape.
    pub(super) fn shaped(&self, dims: Vec<usize>) -> Self {
        Self { dims, ..self.clone() }
    }

    /// How many dimensions the whole tensor has.
    pub(super) fn rank(&self) -> usize {
        self.dims.len() + 1
    }
}

/// How many numbers a shape has.
pub(super) fn size(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |size, dim| size.checked_mul(*dim))
}

/// The shape that two shapes have together: aligned at their ends, a dimension of 1 is repeated.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    let dims = (0..rank).map(|axis| match (dim(a, axis), dim(b, axis)) {
        (a, b) if a == b => Ok(a),
        (1, dim) | (dim, 1) => Ok(dim),
        (..) => Err(format!("the shapes {a:?} and {b:?} do not fit")),
    });
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    match size(&dims) {
        Some(size) if size <= MAX_COLUMNS => Ok(dims),
        Some(_) | None => Err(format!("the shape {dims:?} has more than {MAX_COLUMNS} numbers")),
    }
}

/// For every place of the shape `to`, row-major, the place in `from` that is repeated there.
pub(super) fn places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; to.len()];
    let mut stride = 1;
    for (axis, dim) in from.iter().enumerate().rev() {
        strides[axis + to.len() - from.len()] = if *dim == 1 { 0 } else { stride };
        stride *= dim;
    }
    (0..size(to).unwrap_or(0)).map(|place| offset(place, to, &strides)).collect()
}

fn offset(mut place: usize, dims: &[usize], strides: &[usize]) -> usize {
    let mut offset = 0;
    for (dim, stride) in dims.iter().zip(strides).rev() {
        offset += place % dim * stride;
        place /= dim;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_from_their_ends() {
        assert_eq!(broadcast(&[2, 3], &[3]), Ok(vec![2, 3]));
        assert_eq!(broadcast(&[2, 1], &[1, 4]), Ok(vec![2, 4]));
        assert!(broadcast(&[2], &[3]).is_err());
        assert!(broadcast(&[1_000, 1], &[1, 1_001]).is_err());
        assert_eq!(places(&[2, 1], &[2, 3]), [0, 0, 0, 1, 1, 1]);
        assert_eq!(places(&[3], &[2, 3]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(places(&[], &[2]), [0, 0]);
    }

    #[test]
    fn a_constant_is_transposed() {
        let constant = Constant { dims: vec![2, 3], data: Rc::from([1, 2, 3, 4, 5, 6]) };
        let transposed = constant.transposed(&[1, 0]);
        assert_eq!((transposed.dims.as_slice(), &*transposed.data), (&[3, 2][..], &[1, 4, 2, 5, 3, 6][..]));
    }
}
