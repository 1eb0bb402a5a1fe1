//! What each kind of layer does when it runs.

use super::convert::{CELL_VECTOR_FRAC_BITS, cell_to_vector, convert_frac_bits, vector_to_cell};
use super::memory::Memory;
use crate::feature::{Graph, Source};
use crate::format::VectorId;
use crate::model::{Layer, ModelView, Op, Place, Recurrent};
use pipsqueak_kernels::dense::DenseLayer;
use pipsqueak_kernels::fixed::saturate_i16;
use pipsqueak_kernels::packed::{I16x4, elements, elements_mut};

/// Layer `index`.
fn layer<'m>(model: &'m ModelView<'m>, index: usize) -> Option<&'m Layer<'m>> {
    model.layer(index)
}

/// Runs layer `index`. Token layers read `token`; a token layer with gate inputs sets `gate_row`, and the recurrent layer that
/// reads them takes them from there. The caller has set the vectors of frames.
pub(super) fn run<'m>(
    model: &'m ModelView<'m>,
    memory: &mut Memory,
    index: usize,
    token: u16,
    gate_row: &mut &'m [i8],
) -> Option<()> {
    let layer = layer(model, index)?;
    let result = (layer.result, layer.quads());
    if layer.gather {
        Graph::AVAILABLE?;
        gather(model, memory, layer)?;
    }
    match &layer.op {
        Op::GateRows { rows, dim } => *gate_row = row(rows, token, *dim as usize)?,
        Op::Embedding { rows } => {
            let out = elements_mut(memory.vector(result.0, result.1)?);
            // Q7 to Q15.
            for (out, value) in out.iter_mut().zip(row(rows, token, 4 * result.1)?) {
                *out = i16::from(*value) << 8;
            }
        }
        Op::TiedEmbedding {
            table, min_shift, ..
        } => {
            let Op::Dense { layer: table, .. } = &self::layer(model, usize::from(*table))?.op
            else {
                return None;
            };
            let out = elements_mut(memory.vector(result.0, result.1)?);
            tied_embedding(table, token, (*min_shift).into(), out)?;
        }
        Op::Frame { .. } | Op::Constant { .. } | Op::ConstantCell { .. } => {}
        Op::Dense { layer: dense, .. } => {
            let operand = (layer.operand, dense.config().input_size / 4);
            let (x, out) = memory.two(operand, result)?;
            dense.forward(x, out);
        }
        Op::Recurrent(recurrent) => {
            let config = recurrent.layer.config();
            let quads = (config.input_size + config.hidden_size) / 4;
            let (xh, cell, scratch) = memory.recurrent(
                (layer.operand, quads),
                (recurrent.cell, config.cell_state_len() / 4),
                (recurrent.scratch, config.scratch_len() / 4),
            )?;
            recurrent.layer.step(gate_row, xh, cell, scratch);
        }
        Op::Sum { frac_bits, .. } => sum(model, memory, layer, (*frac_bits).into())?,
        Op::Mean { sums, .. } => accumulate(model, memory, layer, *sums)?,
    }
    Some(())
}

/// Row `token` of rows of `dim` values.
fn row(rows: &[i8], token: u16, dim: usize) -> Option<&[i8]> {
    let start = usize::from(token).checked_mul(dim);
    start.and_then(|start| rows.get(start..start.checked_add(dim)?))
}

/// Row `token` of the output layer as an embedding in Q15: a multiplier has 14 bits and a weight 7, so 6 bits less than their
/// product leave 15.
fn tied_embedding(table: &DenseLayer, token: u16, min_shift: u32, out: &mut [i16]) -> Option<()> {
    let (scale, weights) = table.row(token.into())?;
    let shift = (6 + scale.shift().saturating_sub(min_shift)).min(31);
    for (out, weight) in out.iter_mut().zip(weights) {
        let product = i32::from(weight) * (scale.multiplier() & 0x3fff) as i32;
        *out = saturate_i16((product + (1 << shift >> 1)) >> shift);
    }
    Some(())
}

/// Copies the inputs of `layer` to its operand, one after another.
fn gather(model: &ModelView, memory: &mut Memory, layer: &Layer) -> Option<()> {
    let mut to = layer.operand;
    for id in layer.inputs.iter() {
        copy(model, memory, id, to)?;
        let quads = self::layer(model, id.layer())?.quads();
        to = to.offset(quads);
    }
    Some(())
}

/// A vector where it is.
enum Location<'m> {
    Place(Place),
    Constant(&'m [I16x4], Source),
    Cell(u16, Graph),
    ConstantCell(&'m [[i32; 4]], Source),
}

/// Where the vector `id` is, and the units of four elements that it has.
fn locate<'m>(
    model: &'m ModelView<'m>,
    id: VectorId,
) -> Option<(Location<'m>, usize, &'m Layer<'m>)> {
    let layer = layer(model, id.layer())?;
    let location = match &layer.op {
        Op::Constant {
            values, _feature, ..
        } => Location::Constant(values, *_feature),
        Op::ConstantCell { values, _feature } => Location::ConstantCell(values, *_feature),
        Op::Recurrent(recurrent) if id.is_cell_state() => {
            Location::Cell(recurrent.cell, Graph::AVAILABLE?)
        }
        _ => Location::Place(layer.result),
    };
    Some((location, layer.quads(), layer))
}

/// Copies the vector `id` to `to`; a cell state becomes Q5.10.
pub(super) fn copy(model: &ModelView, memory: &mut Memory, id: VectorId, to: Place) -> Option<()> {
    let (location, quads, _) = locate(model, id)?;
    let narrow = |cells: &[[i32; 4]], out: &mut [I16x4]| {
        for (out, cell) in elements_mut(out).iter_mut().zip(cells.as_flattened()) {
            *out = cell_to_vector(*cell);
        }
    };
    match location {
        Location::Place(from) => {
            let (from, out) = memory.two((from, quads), (to, quads))?;
            out.iter_mut()
                .zip(from)
                .for_each(|(out, from)| *out = *from);
        }
        Location::Constant(values, _) => {
            let out = memory.vector(to, quads)?;
            out.iter_mut()
                .zip(values)
                .for_each(|(out, from)| *out = *from);
        }
        Location::ConstantCell(cells, _) => narrow(cells, memory.vector(to, quads)?),
        Location::Cell(from, _) => {
            let (cells, out) = memory.wide_and_vector((from, quads), (to, quads))?;
            narrow(cells, out);
        }
    }
    Some(())
}

/// Sets the initial states of layer `index`, if it is recurrent and they are vectors.
pub(super) fn initialize(model: &ModelView, memory: &mut Memory, index: usize) -> Option<()> {
    let layer = layer(model, index)?;
    let Op::Recurrent(recurrent) = &layer.op else {
        return Some(());
    };
    let [hidden, cell] = recurrent.init;
    if let Some(id) = hidden {
        // First as it is, then in the format of the hidden state.
        copy(model, memory, id, layer.result)?;
        let from = frac_bits(model, id)?;
        let to = layer.frac_bits()?;
        for value in elements_mut(memory.vector(layer.result, layer.quads())?) {
            *value = convert_frac_bits((*value).into(), from, to);
        }
    }
    match cell {
        Some(id) => initialize_cell(model, memory, id, recurrent),
        None => Some(()),
    }
}

/// Fraction bits of the vector `id`, as [`copy`] copies it.
fn frac_bits(model: &ModelView, id: VectorId) -> Option<u32> {
    if id.is_cell_state() {
        return Some(CELL_VECTOR_FRAC_BITS);
    }
    layer(model, id.layer())?.frac_bits()
}

fn initialize_cell(
    model: &ModelView,
    memory: &mut Memory,
    id: VectorId,
    recurrent: &Recurrent,
) -> Option<()> {
    let (location, quads, _) = locate(model, id)?;
    let frac_bits = frac_bits(model, id)?;
    let widen = |values: &[I16x4], cells: &mut [[i32; 4]]| {
        for (cell, value) in cells.as_flattened_mut().iter_mut().zip(elements(values)) {
            *cell = vector_to_cell(*value, frac_bits);
        }
    };
    let to = recurrent.cell;
    match location {
        Location::Cell(from, _) => memory.copy_wide(from, to, quads)?,
        Location::ConstantCell(cells, _) => {
            let out = memory.wide(to, quads)?;
            out.iter_mut()
                .zip(cells)
                .for_each(|(out, from)| *out = *from);
        }
        Location::Constant(values, _) => widen(values, memory.wide(to, quads)?),
        Location::Place(from) => {
            let (cells, values) = memory.wide_and_vector((to, quads), (from, quads))?;
            widen(values, cells);
        }
    }
    Some(())
}

/// The sum of the inputs of `layer`.
fn sum(model: &ModelView, memory: &mut Memory, layer: &Layer, to: u32) -> Option<()> {
    for quad in 0..layer.quads() {
        let mut sums = [0; 4];
        for id in layer.inputs.iter() {
            let (location, quads, input) = locate(model, id)?;
            let from = input.frac_bits()?;
            let values = match location {
                Location::Place(place) => &*memory.vector(place, quads)?,
                Location::Constant(values, _) => values,
                _ => return None,
            };
            let I16x4(values) = *values.get(quad)?;
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += i32::from(convert_frac_bits(value.into(), from, to));
            }
        }
        let out = memory.vector(layer.result, layer.quads())?;
        *out.get_mut(quad)? = I16x4(sums.map(saturate_i16));
    }
    Some(())
}

/// Adds the input of a mean to its sums, and counts the step.
fn accumulate(model: &ModelView, memory: &mut Memory, layer: &Layer, sums: u16) -> Option<()> {
    let id = layer.inputs.single()?;
    let quads = layer.quads();
    let (sums, from) = match locate(model, id)? {
        (Location::Place(place), ..) => {
            let (sums, from) = memory.wide_and_vector((sums, quads + 1), (place, quads))?;
            (sums, &*from)
        }
        (Location::Constant(values, _), ..) => (memory.wide(sums, quads + 1)?, values),
        _ => return None,
    };
    let (steps, sums) = sums.split_last_mut()?;
    for (sum, value) in sums.as_flattened_mut().iter_mut().zip(elements(from)) {
        *sum = sum.saturating_add((*value).into());
    }
    let [steps, ..] = steps;
    *steps = steps.saturating_add(1);
    Some(())
}

/// Computes the result of a mean: the sums divided by the number of steps, rounded to nearest, ties away from zero.
pub(super) fn finish(model: &ModelView, memory: &mut Memory, index: usize) -> Option<()> {
    let layer = layer(model, index)?;
    let Op::Mean { sums, .. } = layer.op else {
        return Some(());
    };
    let quads = layer.quads();
    let (sums, out) = memory.wide_and_vector((sums, quads + 1), (layer.result, quads))?;
    let ([steps, ..], sums) = sums.split_last()?;
    let steps = (*steps).max(1);
    for (out, sum) in elements_mut(out).iter_mut().zip(sums.as_flattened()) {
        let half = if *sum < 0 { -(steps / 2) } else { steps / 2 };
        // Neither 0 nor -1, so the division cannot fail.
        *out = saturate_i16(sum.saturating_add(half).checked_div(steps).unwrap_or(0));
    }
    Some(())
}
