//! A float network whose weights stand on their grids: what any framework runs to the very loss that the grid costs.

use super::dense::link_name;
use super::grid::GridRow;
use super::{Options, QuantizeError, Scales, quantize_with};
use crate::network::{Grids, Layer, Matrix, Network, TensorGrid};
use pipsqueak::RowFormat;

/// `network` with grids for what `options` give another width than 8 bits, searched, and its weights rounded to them. Exported, it is the same
/// image, and nothing is searched.
///
/// # Errors
/// As [`quantize_with`].
pub fn rounded(network: &Network, options: &Options) -> Result<Network, QuantizeError> {
    let found = quantize_with(network, options)?;
    let mut grids = found.grids.into_iter().zip(found.scales);
    let mut rounded = network.clone();
    if let Some(encoder) = &mut rounded.encoder
        && let Some((grids, scales)) = grids.next()
    {
        on_grids(encoder, grids, &scales);
    }
    if let Some((grids, scales)) = grids.next() {
        on_grids(&mut rounded, grids, &scales);
    }
    Ok(rounded)
}

/// Rounds a network's own weights.
fn on_grids(network: &mut Network, grids: Grids, scales: &Scales) {
    for (index, (layer, (input, state))) in
        network.layers.iter_mut().zip(&scales.layers).enumerate()
    {
        let (w, r, letters) = match layer {
            Layer::Gru(gru) => (&mut gru.w, &mut gru.r, &["z", "r", "h"][..]),
            Layer::Lstm(lstm) => (&mut lstm.w, &mut lstm.r, &["i", "o", "f", "c"][..]),
            Layer::Rnn(rnn) => (&mut rnn.w, &mut rnn.r, &["h"][..]),
        };
        let units = r.columns;
        let state = vec![*state; units];
        for (gate, letter) in letters.iter().enumerate() {
            let rows = gate * units..(gate + 1) * units;
            let name = format!("layer {index} gate {letter}");
            if let Some(grid) = grids.get(&name) {
                let joint = grid.is_joint(units);
                for (place, row) in rows.clone().enumerate() {
                    let input = joint.then_some((&mut *w, &input[..]));
                    round_row(grid, place, row, [input, Some((&mut *r, &state))]);
                }
            }
            let name = format!("layer {index} candidate input");
            if let Some(grid) = grids.get(&name).filter(|_| gate == 2) {
                for (place, row) in rows.enumerate() {
                    round_row(grid, place, row, [Some((&mut *w, input)), None]);
                }
            }
        }
    }
    let count = network.head.dense.len();
    for (index, (dense, read)) in network.head.dense.iter_mut().zip(&scales.head).enumerate() {
        if let Some(grid) = grids.get(&link_name("head", index, count)) {
            for row in 0..dense.w.rows {
                round_row(grid, row, row, [Some((&mut dense.w, read)), None]);
            }
        }
    }
    network.grids = grids;
}

/// So many columns over the input and the state of a tensor that `grid` is of.
fn columns_of(grid: &TensorGrid, columns: [usize; 2]) -> RowFormat {
    let formats = grid.formats();
    RowFormat { formats, columns }
}

/// Rounds row `row` of the matrices over the input and over the state, where the tensor has them, to place `place` of a grid.
/// Each column is multiplied with its scale first, and divided by it afterwards.
fn round_row(
    grid: &TensorGrid,
    place: usize,
    row: usize,
    parts: [Option<(&mut Matrix, &[f64])>; 2],
) {
    let lengths = parts.each_ref().map(|part| {
        let columns = part.as_ref().map(|(matrix, _)| matrix.columns);
        columns.unwrap_or(0)
    });
    let columns = columns_of(grid, lengths);
    let mut folded = Vec::new();
    for (matrix, scales) in parts.iter().flatten() {
        let pairs = matrix.row(row).iter().zip(*scales);
        folded.extend(pairs.map(|(w, scale)| (f64::from(*w) * scale) as f32));
    }
    let groups = columns.scale_groups().count();
    let own = grid.scales[place * groups..][..groups].to_vec();
    let found = GridRow::round(&folded, columns, f64::from(grid.units[place]), own);
    let steps = found.steps(columns);
    let mut values = found.weights.iter().zip(steps);
    for (matrix, scales) in parts.into_iter().flatten() {
        let columns = matrix.columns;
        let row = &mut matrix.data[row * columns..][..columns];
        for ((w, scale), (weight, step)) in row.iter_mut().zip(scales).zip(&mut values) {
            *w = (f64::from(*weight) * step / scale) as f32;
        }
    }
}
