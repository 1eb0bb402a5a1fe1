//! The Elman network: `h' = tanh(W x + U h + b)`.

use super::layer::{ColumnSpan, RecurrentLayer};
use crate::activation::outlined::tanh;
use crate::fixed::rounding_shift_right;
use crate::gemv::{Rhs, gate_group_outputs};
use crate::packed::{I16x4, PANEL_ROWS};

#[inline(never)]
pub(super) fn step(layer: &RecurrentLayer, gate_row: &[i8], xh: &[I16x4], h_next: &mut [I16x4]) {
    let state_shift = layer.config().state_shift;
    let x = Rhs::new(xh, layer.config().row_format(ColumnSpan::Concat));
    let (mut words, mut gate_rows) = (layer.words, gate_row.as_chunks().0.chunks(1));
    for next in h_next {
        let gate_row = gate_rows.next().unwrap_or(&[]);
        let mut outputs = [[0; PANEL_ROWS]];
        gate_group_outputs(&mut words, &x, gate_row, &mut outputs);
        let [outputs] = outputs;
        next.0 = outputs.map(|sum| rounding_shift_right(tanh(sum), state_shift));
    }
}
