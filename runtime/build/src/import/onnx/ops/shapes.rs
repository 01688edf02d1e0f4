//! Operators that give a tensor another shape, which never reaches over the batch; and computations with shapes, by which
//! exporters write a batch of any size.

use super::super::graph::Walk;
use super::super::model::Node;
use super::super::value::{BATCH, Constant, Rows, Value, size};
use super::axis;
use crate::pipeline::MAX_COLUMNS;
use crate::pipeline::step::Column;

pub(super) fn reshape(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let target = ints(walk, node, 1)?;
    let keeps_zero = node.int("allowzero").unwrap_or(0) != 0;
    match walk.value(node, 0)? {
        Value::Rows(rows) => {
            let Some((first, rest)) = target.split_first() else { return Err("a shape without the batch".into()) };
            let is_batch = match *first {
                BATCH => true,
                -1 => !rest.contains(&-1),
                0 => !keeps_zero,
                first => Some(first) == walk.batch,
            };
            if !is_batch {
                return Err(format!("the shape {} does not keep the batch first", text(&target)));
            }
            let dims = resolved(rest, &rows.dims, keeps_zero, rows.columns.len());
            let dims = dims.ok_or_else(|| {
                format!("the shape {} does not keep one row's {:?} together", text(&target), rows.dims)
            })?;
            Ok(Value::Rows(rows.shaped(dims)))
        }
        Value::Floats(constant) => constant_shaped(&constant, &target, keeps_zero).map(Value::Floats),
        Value::Ints(constant) => constant_shaped(&constant, &target, keeps_zero).map(Value::Ints),
    }
}

fn constant_shaped<T: Copy>(constant: &Constant<T>, target: &[i64], keeps_zero: bool) -> Result<Constant<T>, String> {
    let dims = resolved(target, &constant.dims, keeps_zero, constant.data.len());
    let dims = dims.ok_or_else(|| format!("the shape {} for {:?}", text(target), constant.dims))?;
    Ok(Constant { dims, data: constant.data.clone() })
}

/// The dimensions a shape means: 0 is that of `from`, one -1 is what remains of `total`.
fn resolved(target: &[i64], from: &[usize], keeps_zero: bool, total: usize) -> Option<Vec<usize>> {
    let mut open = None;
    let mut dims = Vec::with_capacity(target.len());
    for (i, dim) in target.iter().enumerate() {
        dims.push(match dim {
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0 if !keeps_zero => *from.get(i)?,
            dim => usize::try_from(*dim).ok()?,
        });
    }
    let known = size(&dims)?;
    if let Some(open) = open {
        dims[open] = total.checked_div(known)?;
    }
    (size(&dims)? == total && dims.len() < 8).then_some(dims)
}

fn text(shape: &[i64]) -> String {
    let dims: Vec<String> =
        shape.iter().take(9).map(|dim| if *dim == BATCH { "batch".to_owned() } else { dim.to_string() }).collect();
    format!("[{}]", dims.join(", "))
}

/// All dimensions of a row into one.
pub(super) fn flatten(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let rows = rows(walk, node)?;
    // An axis may stand behind the last dimension.
    match axis(node.int("axis").unwrap_or(1), rows.rank()) {
        Ok(1) => Ok(Value::Rows(rows.shaped(vec![rows.columns.len()]))),
        Ok(axis) => Err(format!("axis {axis} does not keep the rows of a batch apart; 1 does")),
        Err(why) => Err(why),
    }
}

pub(super) fn squeeze(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let axes = axes(walk, node)?;
    let rows = match walk.value(node, 0)? {
        Value::Rows(rows) => rows,
        Value::Ints(constant) => return Ok(Value::Ints(squeezed(&constant, axes.as_deref())?)),
        Value::Floats(constant) => return Ok(Value::Floats(squeezed(&constant, axes.as_deref())?)),
    };
    let Some(axes) = axes else {
        if walk.batch == Some(1) {
            return Err("it would remove the batch too; name the axes, or export with a dynamic batch".into());
        }
        let dims = rows.dims.iter().copied().filter(|dim| *dim != 1).collect();
        return Ok(Value::Rows(rows.shaped(dims)));
    };
    let mut keep = vec![true; rows.dims.len()];
    for given in axes {
        match axis(given, rows.rank())? {
            0 => return Err("it removes the batch".into()),
            axis if rows.dims[axis - 1] != 1 => return Err(format!("axis {axis} has {} numbers", rows.dims[axis - 1])),
            axis => keep[axis - 1] = false,
        }
    }
    let dims = rows.dims.iter().zip(keep).filter(|(_, keep)| *keep).map(|(dim, _)| *dim).collect();
    Ok(Value::Rows(rows.shaped(dims)))
}

fn squeezed<T: Copy>(constant: &Constant<T>, axes: Option<&[i64]>) -> Result<Constant<T>, String> {
    let mut keep: Vec<bool> = constant.dims.iter().map(|dim| axes.is_some() || *dim != 1).collect();
    for given in axes.unwrap_or_default() {
        let axis = axis(*given, constant.dims.len())?;
        if constant.dims[axis] != 1 {
            return Err(format!("axis {axis} has {} numbers", constant.dims[axis]));
        }
        keep[axis] = false;
    }
    let dims = constant.dims.iter().zip(keep).filter(|(_, keep)| *keep).map(|(dim, _)| *dim).collect();
    Ok(Constant { dims, data: constant.data.clone() })
}

pub(super) fn unsqueeze(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let axes = axes(walk, node)?.ok_or("it has no axes")?;
    match walk.value(node, 0)? {
        Value::Rows(rows) => {
            let whole = widened(&[&[0], rows.dims.as_slice()].concat(), &axes)?;
            // The batch went in as 0, which no dimension of a row is.
            match whole.split_first() {
                Some((0, dims)) => Ok(Value::Rows(rows.shaped(dims.to_vec()))),
                _ => Err("it puts a dimension before the batch".into()),
            }
        }
        Value::Ints(Constant { dims, data }) => Ok(Value::Ints(Constant { dims: widened(&dims, &axes)?, data })),
        Value::Floats(Constant { dims, data }) => Ok(Value::Floats(Constant { dims: widened(&dims, &axes)?, data })),
    }
}

/// With a dimension of 1 at each of `axes`, which count in the result.
fn widened(dims: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = dims.len() + axes.len();
    if rank > 8 {
        return Err(format!("{rank} dimensions, at most 8"));
    }
    let new = axes.iter().map(|given| axis(*given, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut old = dims.iter();
    let widened: Vec<usize> =
        (0..rank).filter_map(|axis| if new.contains(&axis) { Some(1) } else { old.next().copied() }).collect();
    if widened.len() == rank { Ok(widened) } else { Err("an axis stands twice".into()) }
}

/// Side by side along one of a row's dimensions; shapes one after the other.
pub(super) fn concat(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let given = node.int("axis").ok_or("it has no axis")?;
    let values = (0..node.inputs.len()).map(|index| walk.value(node, index)).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::with_capacity(values.len());
    let mut numbers = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::Rows(one) => rows.push(one),
            Value::Ints(constant) if constant.dims.len() == 1 => numbers.extend_from_slice(&constant.data),
            Value::Ints(_) | Value::Floats(_) => return Err(format!("its input {index} is a constant")),
        }
        walk.spend(numbers.len())?;
    }
    let Some(first) = rows.first() else { return Ok(Value::Ints(Constant::list(numbers))) };
    if !numbers.is_empty() {
        return Err("shapes and numbers side by side".into());
    }
    let at = match axis(given, first.rank())? {
        0 => return Err("it joins the rows of batches".into()),
        axis => axis - 1,
    };
    let mut dims = first.dims.clone();
    dims[at] = 0;
    for one in &rows {
        let fits = one.dims.len() == dims.len() && (0..dims.len()).all(|i| i == at || one.dims[i] == dims[i]);
        if !fits {
            return Err(format!("the shapes {:?} and {:?} do not fit side by side", first.dims, one.dims));
        }
        dims[at] += one.dims[at];
    }
    let total = size(&dims).filter(|total| *total <= MAX_COLUMNS);
    let total = total.ok_or_else(|| format!("the shape {dims:?} has more than {MAX_COLUMNS} numbers"))?;
    walk.spend(total)?;
    let outer = size(&dims[..at]).unwrap_or(0);
    let columns: Vec<Column> = (0..outer)
        .flat_map(|block| {
            rows.iter().flat_map(move |one| {
                let len = one.columns.len() / outer;
                one.columns[block * len..][..len].iter().copied()
            })
        })
        .collect();
    Ok(Value::Rows(Rows::new(dims, columns)))
}

pub(super) fn transpose(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let order = |rank: usize| {
        let order: Vec<usize> = match node.ints("perm") {
            None => (0..rank).rev().collect(),
            Some(given) => given.iter().map(|given| axis(*given, rank)).collect::<Result<_, _>>()?,
        };
        let is_order = order.len() == rank && (0..rank).all(|axis| order.contains(&axis));
        if is_order { Ok(order) } else { Err(format!("{order:?} is no order of {rank} dimensions")) }
    };
    match walk.value(node, 0)? {
        Value::Floats(constant) => {
            walk.spend(constant.data.len())?;
            Ok(Value::Floats(constant.transposed(&order(constant.dims.len())?)))
        }
        Value::Ints(_) | Value::Rows(_) => Err("only constants can be transposed".into()),
    }
}

/// The shape of a tensor, with the batch left open.
pub(super) fn shape(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let rows = rows(walk, node)?;
    let dims: Vec<i64> = std::iter::once(BATCH).chain(rows.dims.iter().map(|dim| *dim as i64)).collect();
    let len = dims.len() as i64;
    let bound = |name: &str, default: i64| {
        let at = node.int(name).unwrap_or(default);
        (if at < 0 { at.saturating_add(len) } else { at }).clamp(0, len) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", len));
    Ok(Value::Ints(Constant::list(dims.get(start..end).unwrap_or_default().to_vec())))
}

/// Numbers of a shape.
pub(super) fn gather(walk: &mut Walk<'_>, node: &Node<'_>) -> Result<Value, String> {
    let Value::Ints(from) = walk.value(node, 0)? else {
        return Err("only numbers of a shape can be gathered; embeddings have a format of their own".into());
    };
    let Value::Ints(Constant { dims, data }) = walk.value(node, 1)? else {
        return Err("its indices are no constant".into());
    };
    if from.dims.len() != 1 || node.int("axis").unwrap_or(0) != 0 {
        return Err("only numbers of a shape can be gathered".into());
    }
    walk.spend(data.len())?;
    let data = data.iter().map(|index| Ok(from.data[axis(*index, from.data.len())?])).collect::<Result<_, String>>()?;
    Ok(Value::Ints(Constant { dims, data }))
}

/// A node's first input, which depends on the graph's.
fn rows(walk: &Walk<'_>, node: &Node<'_>) -> Result<Rows, String> {
    match walk.value(node, 0)? {
        Value::Rows(rows) => Ok(rows),
        Value::Floats(_) | Value::Ints(_) => Err("its input is a constant".into()),
    }
}

/// A node's input of integers.
fn ints(walk: &Walk<'_>, node: &Node<'_>, index: usize) -> Result<Vec<i64>, String> {
    match walk.value(node, index)? {
        Value::Ints(constant) => Ok(constant.data.to_vec()),
        Value::Floats(_) | Value::Rows(_) => Err(format!("its input {index} is no constant list of integers")),
    }
}

/// The axes: an attribute before opset 13, else an input; `None` when they are left out.
fn axes(walk: &Walk<'_>, node: &Node<'_>) -> Result<Option<Vec<i64>>, String> {
    if let Some(axes) = node.ints("axes") {
        return Ok(Some(axes.to_vec()));
    }
    match walk.optional(node, 1)? {
        None => Ok(None),
        Some(_) => ints(walk, node, 1).map(Some),
    }
}
