//! The GRU, gates in the order z, r, n:
//!
//! ```text
//! z = s(Wz x + Uz h + bz)    r = s(Wr x + Ur h + br)
//! n = tanh(Wn x + bn + r (Un h + cn))    reset after
//! n = tanh(Wn x + bn + Un (r h))         reset before
//! h' = n + z (h - n)
//! ```

use super::layer::{ColumnSpan, RecurrentLayer};
use crate::activation::outlined::{sigmoid, tanh};
use crate::dispatch;
use crate::fixed::{CANDIDATE_FRAC_BITS, PRE_ACTIVATION_FRAC_BITS, rounding_shift_right};
use crate::gemv::{Rhs, gate_group_outputs};
use crate::generic::gru::{candidate_sum, lerp};
use crate::packed::{GruParams, I16x4, PANEL_ROWS, WeightFormat, param_blocks};

const GATES: usize = 3;

/// The cell of most language models: four units are two calls of kernels.
// A function for each cell, so that a loop has the registers for itself.
#[inline(never)]
pub(super) fn step_reset_after_gate_row(
    layer: &RecurrentLayer,
    gate_row: &[i8],
    h: &[I16x4],
    h_next: &mut [I16x4],
) {
    let x = Rhs::new(h, layer.config().row_format(ColumnSpan::Hidden));
    let panel_len = x.panel_len();
    match &x {
        // A copy of the loop for each: the one for int8 is as short as it can be.
        Rhs::Concat(x) => {
            step_gate_row(layer, gate_row, h, h_next, panel_len, |words, products| {
                dispatch::gemv_int8(words, x, products)
            })
        }
        x if WeightFormat::Int4.is_supported() => {
            step_gate_row(layer, gate_row, h, h_next, panel_len, |words, products| {
                x.gemv(words, products)
            });
        }
        Rhs::Parts(..) => {}
    }
}

#[inline(always)]
fn step_gate_row(
    layer: &RecurrentLayer,
    gate_row: &[i8],
    h: &[I16x4],
    h_next: &mut [I16x4],
    panel_len: usize,
    gemv: impl Fn(&[u32], &mut [[i32; PANEL_ROWS]]),
) {
    let state_shift = layer.config().state_shift;
    let mut products = [[0; PANEL_ROWS]; GATES];
    let blocks = param_blocks::<GruParams, { GruParams::LEN }>(layer.words, GATES * panel_len);
    let gate_rows = gate_row.as_chunks().0.as_chunks().0.iter();
    let units = gate_rows.zip(h).zip(h_next);
    for ((params, weights), ((gate_row, h), next)) in blocks.zip(units) {
        gemv(weights, &mut products);
        match state_shift {
            0 => dispatch::gru_gates(params, gate_row, &products, h, next),
            _ => dispatch::gru_gates_shifted(params, gate_row, &products, h, next, state_shift),
        }
    }
}

#[inline(never)]
pub(super) fn step_reset_after_vector(layer: &RecurrentLayer, xh: &[I16x4], h_next: &mut [I16x4]) {
    let config = &layer.config();
    let (input, hidden) = xh.split_at((config.input_size / PANEL_ROWS).min(xh.len()));
    let concat_rhs = Rhs::new(xh, config.row_format(ColumnSpan::Concat));
    let hidden_rhs = Rhs::new(hidden, config.row_format(ColumnSpan::Hidden));
    let input_rhs = Rhs::new(input, config.row_format(ColumnSpan::Input));
    let mut words = layer.words;
    for (h, next) in hidden.iter().zip(h_next) {
        let mut gates = [[0; PANEL_ROWS]; 2];
        let mut recurrent = [[0; PANEL_ROWS]];
        let mut input = [[0; PANEL_ROWS]];
        gate_group_outputs(&mut words, &concat_rhs, &[], &mut gates);
        gate_group_outputs(&mut words, &hidden_rhs, &[], &mut recurrent);
        gate_group_outputs(&mut words, &input_rhs, &[], &mut input);
        let ([z, r], [recurrent], [input]) = (gates, recurrent, input);
        for i in 0..PANEL_ROWS {
            let input = input[i] << (CANDIDATE_FRAC_BITS - PRE_ACTIVATION_FRAC_BITS);
            let n = tanh(candidate_sum(input, sigmoid(r[i]), recurrent[i]));
            let n = rounding_shift_right(n, config.state_shift);
            next.0[i] = lerp(sigmoid(z[i]), h.0[i], n);
        }
    }
}

/// `scratch` has room for as many elements as `xh`: the input, and `r h`.
#[inline(never)]
pub(super) fn step_reset_before(
    layer: &RecurrentLayer,
    gate_row: &[i8],
    xh: &[I16x4],
    h_next: &mut [I16x4],
    scratch: &mut [I16x4],
) {
    let (reset_xh, _) = scratch.split_at_mut(xh.len().min(scratch.len()));
    let config = &layer.config();
    let input_len = config.input_size / PANEL_ROWS;
    let format = config.row_format(ColumnSpan::Concat);
    let gate_rows = || gate_row.as_chunks().0.chunks(GATES);
    let xh_rhs = Rhs::new(xh, format);
    let mut words = layer.words;

    let mut pairs = reset_xh.iter_mut().zip(xh);
    pairs
        .by_ref()
        .take(input_len)
        .for_each(|(reset, x)| *reset = *x);
    let mut rows = gate_rows();
    for ((reset, h), z) in pairs.zip(h_next.iter_mut()) {
        let gate_row = rows.next().and_then(|row| row.get(..2)).unwrap_or(&[]);
        let mut gates = [[0; PANEL_ROWS]; 2];
        gate_group_outputs(&mut words, &xh_rhs, gate_row, &mut gates);
        let [z_sums, r_sums] = gates;
        for i in 0..PANEL_ROWS {
            // `h_next` holds the update gate until r h is complete for all units.
            z.0[i] = sigmoid(z_sums[i]);
            let r = i32::from(sigmoid(r_sums[i]));
            reset.0[i] = ((r * i32::from(h.0[i]) + (1 << 14)) >> 15) as i16;
        }
    }

    let reset_rhs = Rhs::new(reset_xh, format);
    let mut rows = gate_rows();
    for (h, next) in xh.iter().skip(input_len).zip(h_next) {
        let gate_row = rows.next().and_then(|row| row.get(2..)).unwrap_or(&[]);
        let mut sums = [[0; PANEL_ROWS]];
        gate_group_outputs(&mut words, &reset_rhs, gate_row, &mut sums);
        for ((next, h), sum) in next.0.iter_mut().zip(h.0).zip(sums.as_flattened()) {
            let n = rounding_shift_right(tanh(*sum), config.state_shift);
            *next = lerp(*next, h, n);
        }
    }
}
