//! The operators that only move elements about, as views.

use super::array::{Array, View, axis};
use super::fault::{AGAIN, Fault};
use super::node::Node;
use super::tensor::Tensor;
use std::rc::Rc;

/// The views of the node's results on its first operand of shape `shape`; none where the operator is another.
///
/// `known` are the node's operands as far as they are constants.
pub fn views(
    node: &Node,
    shape: &[usize],
    known: &[Option<Rc<Tensor>>],
) -> Result<Option<Vec<View>>, Fault> {
    let rank = shape.len();
    let integers = |index: usize| -> Result<Option<Vec<i64>>, Fault> {
        match known.get(index) {
            Some(Some(tensor)) => Ok(Some(tensor.integers()?.data.clone())),
            _ if node
                .proto
                .input
                .get(index)
                .is_some_and(|name| !name.is_empty()) =>
            {
                Err(Fault::new(
                    format!("operand {index} that depends on what comes in"),
                    "a constant",
                    AGAIN,
                ))
            }
            _ => Ok(None),
        }
    };
    let needed = |index: usize| {
        integers(index)?
            .ok_or_else(|| Fault::new(format!("no operand {index}"), "a constant", AGAIN))
    };
    // Before opset 13 axes are an attribute.
    let axes = |index: usize, name: &str| -> Result<Option<Vec<usize>>, Fault> {
        let axes = match node.ints(name)? {
            Some(axes) => Some(axes.to_vec()),
            None => integers(index)?,
        };
        axes.map(|axes| axes.iter().map(|&a| axis(a, rank)).collect())
            .transpose()
    };
    let one = |view: Result<View, Fault>| Ok(Some(vec![view?]));
    let same = || View::reshape(shape, &sizes(shape), true);
    match &*node.proto.op_type {
        "Identity" => one(same()),
        "Dropout" => {
            if let Some(Some(training)) = known.get(2)
                && training.scalar()? != 0.0
            {
                return Err(Fault::new(
                    "a dropout that trains",
                    "one at rest",
                    "export the model for inference, with eval()",
                ));
            }
            one(same())
        }
        "Transpose" => {
            node.only(&["perm"])?;
            let perm = match node.ints("perm")? {
                Some(perm) => perm
                    .iter()
                    .map(|&p| axis(p, rank))
                    .collect::<Result<_, _>>()?,
                None => (0..rank).rev().collect::<Vec<_>>(),
            };
            one(View::transpose(shape, &perm))
        }
        "Reshape" => {
            node.only(&["allowzero", "shape"])?;
            let to = match node.ints("shape")? {
                Some(shape) => shape.to_vec(),
                None => needed(1)?,
            };
            one(View::reshape(
                shape,
                &to,
                node.int("allowzero")?.unwrap_or(0) != 0,
            ))
        }
        "Flatten" => {
            let at = match node.int("axis")?.unwrap_or(1) {
                at if at == rank as i64 => rank,
                at => axis(at, rank)?,
            };
            let [before, after] =
                [&shape[..at], &shape[at..]].map(|part| part.iter().product::<usize>() as i64);
            one(View::reshape(shape, &[before, after], true))
        }
        "Squeeze" => {
            node.only(&["axes"])?;
            let axes = match axes(1, "axes")? {
                Some(axes) => axes,
                None => (0..rank).filter(|&dim| shape[dim] == 1).collect(),
            };
            if axes.iter().any(|&axis| shape[axis] != 1) {
                return Err(Fault::new(
                    format!("axes {axes:?} of {shape:?}"),
                    "axes of size 1",
                    AGAIN,
                ));
            }
            let rest: Vec<usize> = (0..rank)
                .filter(|dim| !axes.contains(dim))
                .map(|dim| shape[dim])
                .collect();
            one(View::reshape(shape, &sizes(&rest), true))
        }
        "Unsqueeze" => {
            node.only(&["axes"])?;
            let axes = match node.ints("axes")? {
                Some(axes) => axes.to_vec(),
                None => needed(1)?,
            };
            let full = rank + axes.len();
            let axes: Vec<usize> = axes
                .iter()
                .map(|&a| axis(a, full))
                .collect::<Result<_, _>>()?;
            let mut rest = shape.iter();
            let to: Option<Vec<usize>> = (0..full)
                .map(|dim| {
                    if axes.contains(&dim) {
                        Some(1)
                    } else {
                        rest.next().copied()
                    }
                })
                .collect();
            let to =
                to.ok_or_else(|| Fault::new(format!("axes {axes:?}"), "different axes", AGAIN))?;
            one(View::reshape(shape, &sizes(&to), true))
        }
        "Slice" => {
            node.only(&["starts", "ends", "axes"])?;
            let (starts, ends) = match (node.ints("starts")?, node.ints("ends")?) {
                (Some(starts), Some(ends)) => (starts.to_vec(), ends.to_vec()),
                _ => (needed(1)?, needed(2)?),
            };
            let axes = axes(3, "axes")?.unwrap_or_else(|| (0..starts.len()).collect());
            let steps = integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
            if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || starts.len() > rank {
                return Err(Fault::new(
                    format!("{} starts and {} ends", starts.len(), ends.len()),
                    "one for each axis",
                    AGAIN,
                ));
            }
            let mut view = same()?;
            for (i, &axis) in axes.iter().enumerate() {
                let (start, step, length) = span(starts[i], ends[i], steps[i], view.shape[axis])?;
                let next = View::slice(&view.shape, axis, start, step, length)?;
                let from = next.from.iter().map(|&at| view.from[at as usize]).collect();
                view = View {
                    shape: next.shape,
                    from,
                };
            }
            one(Ok(view))
        }
        "Gather" => {
            node.only(&["axis"])?;
            let Some(Some(index)) = known.get(1) else {
                return Ok(None);
            };
            let along = axis(node.int("axis")?.unwrap_or(0), rank)?;
            one(View::gather(shape, along, index.integers()?))
        }
        "Split" => {
            node.only(&["axis", "split", "num_outputs"])?;
            let along = axis(node.int("axis")?.unwrap_or(0), rank)?;
            let size = shape[along];
            let lengths = match (node.ints("split")?, integers(1)?) {
                (Some(lengths), _) => lengths.to_vec(),
                (None, Some(lengths)) => lengths,
                (None, None) => {
                    let parts = node.proto.output.len().max(1);
                    let each = size.div_ceil(parts);
                    (0..parts)
                        .map(|i| size.saturating_sub(i * each).min(each) as i64)
                        .collect()
                }
            };
            let mut start = 0usize;
            let mut all = Vec::new();
            for length in lengths {
                let length = usize::try_from(length).ok().filter(|&l| l <= size - start);
                let length = length.ok_or_else(|| {
                    Fault::new(
                        "parts that are too long",
                        format!("{size} elements in all"),
                        AGAIN,
                    )
                })?;
                all.push(View::slice(shape, along, start, 1, length)?);
                start += length;
            }
            if start != size || all.len() < node.proto.output.len() {
                return Err(Fault::new(
                    format!("parts of {start} elements"),
                    format!("{size} elements in all"),
                    AGAIN,
                ));
            }
            Ok(Some(all))
        }
        "Expand" => {
            node.only(&[])?;
            let to = needed(1)?;
            let to: Option<Vec<usize>> = to.iter().map(|&d| usize::try_from(d).ok()).collect();
            let to = to.ok_or_else(|| Fault::new("a negative size", "sizes", AGAIN))?;
            let both = super::array::common(shape, &to)?;
            one(View::broadcast(shape, &both))
        }
        "Tile" => {
            node.only(&[])?;
            let times = needed(1)?;
            let refused = || {
                Fault::new(
                    format!("repeats {times:?}"),
                    format!("{rank} of them, each at least 1"),
                    AGAIN,
                )
            };
            let mut view = same()?;
            if times.len() != rank {
                return Err(refused());
            }
            for (along, &times) in times.iter().enumerate() {
                let times = usize::try_from(times)
                    .ok()
                    .filter(|&t| t > 0)
                    .ok_or_else(refused)?;
                let size = view.shape[along];
                super::array::count(&[size, times])?;
                let data = (0..size * times)
                    .map(|i| (i % size.max(1)) as i64)
                    .collect();
                let next = View::gather(
                    &view.shape,
                    along,
                    &Array {
                        shape: vec![size * times],
                        data,
                    },
                )?;
                let from = next.from.iter().map(|&at| view.from[at as usize]).collect();
                view = View {
                    shape: next.shape,
                    from,
                };
            }
            one(Ok(view))
        }
        _ => Ok(None),
    }
}

fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| size as i64).collect()
}

/// First index, step and length of a slice, as numpy has them.
fn span(start: i64, end: i64, step: i64, size: usize) -> Result<(usize, isize, usize), Fault> {
    let refused = || Fault::new(format!("step {step}"), "another step", AGAIN);
    let size = size as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (low, high) = if step < 0 { (-1, size - 1) } else { (0, size) };
    let (start, end) = (
        from_start(start).clamp(low.max(0), high.max(0)),
        from_start(end).clamp(low, high),
    );
    let distance = if step < 0 { start - end } else { end - start };
    let stride = step.checked_abs().filter(|&s| s > 0).ok_or_else(refused)?;
    let length = if distance > 0 && size > 0 {
        (distance - 1) / stride + 1
    } else {
        0
    };
    // A stride beyond the size reaches one element only.
    let step = step.clamp(-size.max(1), size.max(1));
    Ok((start as usize, step as isize, length as usize))
}
