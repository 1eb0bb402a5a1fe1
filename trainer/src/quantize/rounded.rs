//! A float network whose weights stand on their grids: what any framework runs to the very loss that the grid costs.

use super::grid::GridRow;
use super::input::quantize_embedding;
use super::{Options, QuantizeError, quantize_with};
use crate::network::{Grids, Input, Layer, Matrix, Network, TensorGrid};
use pipsqueak::image::Columns;

/// `network` with grids for what `options` give another width than 8 bits, searched, and its weights rounded to them. Exported, it is the same
/// image, and nothing is searched.
///
/// # Errors
/// As [`quantize_with`].
pub fn rounded(network: &Network, options: &Options) -> Result<Network, QuantizeError> {
    let grids = quantize_with(network, options)?.grids;
    let mut rounded = network.clone();
    if let (Some(encoder), [first, _]) = (&mut rounded.encoder, &grids[..]) {
        on_grids(encoder, first.clone());
    }
    if let Some(own) = grids.last() {
        on_grids(&mut rounded, own.clone());
    }
    Ok(rounded)
}

/// Rounds a network's own weights.
fn on_grids(network: &mut Network, grids: Grids) {
    // What integers multiply each element of the input with, where it is an embedding of their own.
    let scales = match &network.input {
        Input::Tokens {
            embedding: Some(table),
            ..
        } => quantize_embedding(String::new(), table).1.scales,
        _ => Vec::new(),
    };
    for (index, layer) in network.layers.iter_mut().enumerate() {
        let inputs = layer.inputs();
        let columns = match index {
            0 if scales.len() == inputs => scales.clone(),
            _ => vec![1.0; inputs],
        };
        let (w, r, letters) = match layer {
            Layer::Gru(gru) => (&mut gru.w, &mut gru.r, &["z", "r", "h"][..]),
            Layer::Lstm(lstm) => (&mut lstm.w, &mut lstm.r, &["i", "o", "f", "c"][..]),
            Layer::Rnn(rnn) => (&mut rnn.w, &mut rnn.r, &["h"][..]),
        };
        let units = r.columns;
        for (gate, letter) in letters.iter().enumerate() {
            let rows = gate * units..(gate + 1) * units;
            let name = format!("layer {index} gate {letter}");
            if let Some(grid) = grids.get(&name) {
                let state = columns_of(grid, [0, units]).groups().count();
                let joint = grid.scales.len() / grid.units.len().max(1) > state;
                for (place, row) in rows.clone().enumerate() {
                    let input = joint.then_some((&mut *w, &columns[..]));
                    round_row(grid, place, row, [input, Some((&mut *r, &[]))]);
                }
            }
            let name = format!("layer {index} candidate input");
            if let Some(grid) = grids.get(&name).filter(|_| gate == 2) {
                for (place, row) in rows.enumerate() {
                    round_row(grid, place, row, [Some((&mut *w, &columns[..])), None]);
                }
            }
        }
    }
    for (index, dense) in network.head.dense.iter_mut().enumerate() {
        let name = match index {
            0 => "head".to_owned(),
            _ => format!("head {index}"),
        };
        if let Some(grid) = grids.get(&name) {
            for row in 0..dense.w.rows {
                round_row(grid, row, row, [Some((&mut dense.w, &[])), None]);
            }
        }
    }
    network.grids = grids;
}

/// So many columns over the input and the state of a tensor that `grid` is of.
fn columns_of(grid: &TensorGrid, parts: [usize; 2]) -> Columns {
    let bits = grid.bits();
    Columns { bits, parts }
}

/// Rounds row `row` of the matrices over the input and over the state, where the tensor has them, to place `place` of a grid.
/// Each column is multiplied with its scale first, where there are any, and divided by it afterwards.
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
    let scale = |scales: &[f64], column: usize| scales.get(column).copied().unwrap_or(1.0);
    let mut folded = Vec::new();
    for (matrix, scales) in parts.iter().flatten() {
        let row = matrix.row(row).iter().enumerate();
        folded.extend(row.map(|(c, w)| (f64::from(*w) * scale(scales, c)) as f32));
    }
    let groups = columns.groups().count();
    let own = grid.scales[place * groups..][..groups].to_vec();
    let found = GridRow::round(&folded, columns, f64::from(grid.units[place]), own);
    let steps = found.steps(columns);
    let mut values = found.weights.iter().zip(steps);
    for (matrix, scales) in parts.into_iter().flatten() {
        let columns = matrix.columns;
        let row = &mut matrix.data[row * columns..][..columns];
        for ((c, w), (weight, step)) in row.iter_mut().enumerate().zip(&mut values) {
            *w = (f64::from(*weight) * step / scale(scales, c)) as f32;
        }
    }
}
