//! The step of a recurrent layer, whatever its cell.

use super::elman;
use super::gru;
use super::layer::{Cell, RecurrentLayer};
use super::lstm;
use crate::packed::{I16x4, PANEL_ROWS};

impl RecurrentLayer<'_> {
    /// Runs one step: the next hidden state replaces the current one.
    ///
    /// `gate_row` has the token's values, i8 `[num_gates * hidden_size]`, or is ignored if the layer reads a vector.
    /// `xh` is the input vector (Q15, `input_size` elements) and the hidden state (`hidden_size`). `cell` is the cell state, Q8.23
    /// ([`cell_state_len`](RecurrentConfig::cell_state_len)). `scratch` has [`scratch_len`](RecurrentConfig::scratch_len)
    /// elements. With slices of other lengths the result is meaningless; debug builds panic.
    #[inline(never)]
    pub fn step(
        &self,
        gate_row: &[i8],
        xh: &mut [I16x4],
        cell: &mut [[i32; PANEL_ROWS]],
        scratch: &mut [I16x4],
    ) {
        let config = self.config();
        let (input_len, hidden_len) = (
            config.input_size / PANEL_ROWS,
            config.hidden_size / PANEL_ROWS,
        );
        debug_assert_eq!(xh.len(), input_len + hidden_len);
        debug_assert!(
            input_len > 0 || gate_row.len() == config.cell.num_gates() * config.hidden_size
        );
        debug_assert_eq!(PANEL_ROWS * cell.len(), config.cell_state_len());
        debug_assert!(PANEL_ROWS * scratch.len() >= config.scratch_len());
        let (h_next, scratch) = scratch.split_at_mut(hidden_len.min(scratch.len()));
        let gate_row = if input_len == 0 { gate_row } else { &[] };
        let cell_type = config.cell;
        match cell_type {
            // There is no layer with a cell that is not supported: code for it is left out.
            _ if !cell_type.is_supported() => {}
            Cell::GruResetAfter if input_len == 0 => {
                gru::step_reset_after_gate_row(self, gate_row, xh, h_next);
            }
            Cell::GruResetAfter => gru::step_reset_after_vector(self, xh, h_next),
            Cell::GruResetBefore => gru::step_reset_before(self, gate_row, xh, h_next, scratch),
            Cell::Lstm => lstm::step(self, gate_row, xh, cell, h_next),
            Cell::Rnn => elman::step(self, gate_row, xh, h_next),
        }
        let h = xh.iter_mut().skip(input_len);
        h.zip(h_next).for_each(|(h, next)| *h = *next);
    }
}
