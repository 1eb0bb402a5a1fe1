//! The LSTM, gates in the order i, o, f, g:
//!
//! ```text
//! i, o, f = s(W x + U h + b)    g = tanh(Wg x + Ug h + bg)
//! c' = f c + i g                h' = o tanh(c')
//! ```
//!
//! The cell state is Q8.23 and its addition saturates: it can grow by almost 1 a step, and trained cells reach 20.

use super::layer::{ColumnSpan, RecurrentLayer};
use crate::dispatch;
use crate::gemv::{Rhs, gate_group_outputs};
use crate::generic::lstm::lstm_unit;
use crate::packed::{I16x4, LstmParams, PANEL_ROWS, param_blocks};

const GATES: usize = 4;

#[inline(never)]
pub(super) fn step(
    layer: &RecurrentLayer,
    gate_row: &[i8],
    xh: &[I16x4],
    cell: &mut [[i32; PANEL_ROWS]],
    h_next: &mut [I16x4],
) {
    let x = Rhs::new(xh, layer.config().row_format(ColumnSpan::Concat));
    if dispatch::HAS_LSTM_GATES && layer.config().state_shift == 0 && !gate_row.is_empty() {
        step_gate_row(layer, gate_row, &x, cell, h_next);
    } else {
        step_any(layer, gate_row, &x, cell, h_next);
    }
}

/// Where a core has a kernel for the gates: four units are two calls of kernels.
fn step_gate_row(
    layer: &RecurrentLayer,
    gate_row: &[i8],
    x: &Rhs,
    cell: &mut [[i32; PANEL_ROWS]],
    h_next: &mut [I16x4],
) {
    let mut products = [[0; PANEL_ROWS]; GATES];
    let weights_len = GATES * x.panel_len();
    let blocks = param_blocks::<LstmParams, { LstmParams::LEN }>(layer.words, weights_len);
    let gate_rows = gate_row.as_chunks().0.as_chunks().0.iter();
    let units = gate_rows.zip(cell).zip(h_next);
    for ((params, weights), ((gate_row, cell), next)) in blocks.zip(units) {
        x.gemv(weights, &mut products);
        dispatch::lstm_gates(params, gate_row, &products, cell, next);
    }
}

#[inline(never)]
fn step_any(
    layer: &RecurrentLayer,
    gate_row: &[i8],
    x: &Rhs,
    cell: &mut [[i32; PANEL_ROWS]],
    h_next: &mut [I16x4],
) {
    let (mut words, mut gate_rows) = (layer.words, gate_row.as_chunks().0.chunks(GATES));
    for (cell, next) in cell.iter_mut().zip(h_next) {
        let gate_row = gate_rows.next().unwrap_or(&[]);
        let mut outputs = [[0; PANEL_ROWS]; GATES];
        gate_group_outputs(&mut words, x, gate_row, &mut outputs);
        for (lane, (cell, next)) in cell.iter_mut().zip(&mut next.0).enumerate() {
            let gates = outputs.each_ref().map(|gate| gate[lane]);
            *next = lstm_unit(gates, layer.config().state_shift, cell);
        }
    }
}
