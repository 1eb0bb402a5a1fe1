//! A float network whose weights of 4 bits stand on their grids: what any framework runs to the very loss that the grid costs.

use super::grid::{GridRow, group_count};
use super::input::quantize_embedding;
use super::{Options, QuantizeError, quantize_with};
use crate::network::{Grids, Input, Layer, Matrix, Network, TensorGrid};

/// `network` with grids for what `options` give 4 bits, searched, and its weights rounded to them. Exported, it is the same
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
                let joint = grid.scales.len() / grid.units.len().max(1) > group_count(&[units]);
                for (place, row) in rows.clone().enumerate() {
                    if joint {
                        let both = [(&mut *w, &columns[..]), (&mut *r, &[][..])];
                        round_row(grid, place, row, both);
                    } else {
                        round_row(grid, place, row, [(&mut *r, &[][..])]);
                    }
                }
            }
            let name = format!("layer {index} candidate input");
            if let Some(grid) = grids.get(&name).filter(|_| gate == 2) {
                for (place, row) in rows.enumerate() {
                    round_row(grid, place, row, [(&mut *w, &columns[..])]);
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
                round_row(grid, row, row, [(&mut dense.w, &[][..])]);
            }
        }
    }
    network.grids = grids;
}

/// Rounds row `row` of matrices that stand side by side to place `place` of a grid. Each column is multiplied with its scale
/// first, where there are any, and divided by it afterwards.
fn round_row<const N: usize>(
    grid: &TensorGrid,
    place: usize,
    row: usize,
    mut parts: [(&mut Matrix, &[f64]); N],
) {
    let lengths = parts.each_ref().map(|(matrix, _)| matrix.columns);
    let scale = |scales: &[f64], column: usize| scales.get(column).copied().unwrap_or(1.0);
    let mut folded = Vec::new();
    for (matrix, scales) in &parts {
        let row = matrix.row(row).iter().enumerate();
        folded.extend(row.map(|(c, w)| (f64::from(*w) * scale(scales, c)) as f32));
    }
    let groups = group_count(&lengths);
    let own = grid.scales[place * groups..][..groups].to_vec();
    let found = GridRow::round(&folded, &lengths, f64::from(grid.units[place]), own);
    let steps = found.steps(&lengths);
    let mut values = found.weights.iter().zip(steps);
    for (matrix, scales) in &mut parts {
        let columns = matrix.columns;
        let row = &mut matrix.data[row * columns..][..columns];
        for ((c, w), (weight, step)) in row.iter_mut().enumerate().zip(&mut values) {
            *w = (f64::from(*weight) * step / scale(scales, c)) as f32;
        }
    }
}
