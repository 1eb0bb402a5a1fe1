//! The step of recurrent layers.
//!
//! A layer's words are one or two passes over its units, four at a time; for each four units a pass has gate groups
//! ([`crate::packed`]):
//!
//! | cell | gate groups of four units |
//! |---|---|
//! | GRU, reset after, reads a gate row | z, r with [`TokenScale`](RowParams::TokenScale), n with [`CandidateTokenScale`](RowParams::CandidateTokenScale), over h |
//! | GRU, reset after, reads a vector | z, r over `[x; h]`; the recurrent side of n over h; the input side of n over x |
//! | GRU, reset before, reads a gate row | z, r with [`TokenScale`](RowParams::TokenScale); in a second pass n with [`TokenScale`](RowParams::TokenScale), over the reset state |
//! | GRU, reset before, reads a vector | z, r over `[x; h]`; in a second pass n over x and the reset state |
//! | LSTM, reads a gate row | i, o, f, g with [`TokenScale`](RowParams::TokenScale), over h |
//! | LSTM, reads a vector | i, o, f, g over `[x; h]` |
//! | Elman, reads a gate row | one gate with [`TokenScale`](RowParams::TokenScale), over h |
//! | Elman, reads a vector | one gate over `[x; h]` |
//!
//! Parameters are [`BiasScale`](RowParams::BiasScale) where the table names none.
//! A gate row has the token's values of all gates of units 0 to 3, gate by gate, then of units 4 to 7, and so on.
//! The reset gate is *after* if it multiplies the recurrent product, *before* if it multiplies the hidden state.
//!
//! A layer's hidden state has `15 - state_shift` fraction bits: an initial state from outside may be larger than 1.

mod elman;
mod gru;
mod lstm;

use crate::packed::{GateGroup, I16x4, PANEL_ROWS, RowFormat, RowParams, WeightFormat};

/// A recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// GRU whose reset gate multiplies the recurrent product (ONNX `linear_before_reset = 1`; PyTorch; Keras `reset_after`).
    GruResetAfter,
    /// GRU whose reset gate multiplies the hidden state (ONNX `linear_before_reset = 0`; Keras `reset_after=False`).
    GruResetBefore,
    /// LSTM without peepholes.
    Lstm,
    /// Elman network with tanh (PyTorch and ONNX `RNN`, Keras `SimpleRNN`).
    Rnn,
}

impl Cell {
    /// All cells, in the order of their numbers in a model file.
    pub const ALL: [Self; 4] = [
        Self::GruResetAfter,
        Self::GruResetBefore,
        Self::Lstm,
        Self::Rnn,
    ];

    /// The number of gates, the candidate included.
    pub const fn num_gates(self) -> usize {
        match self {
            Self::GruResetAfter | Self::GruResetBefore => 3,
            Self::Lstm => 4,
            Self::Rnn => 1,
        }
    }

    /// Whether this build has the cell: features `gru`, `lstm`, `rnn`.
    pub const fn is_supported(self) -> bool {
        match self {
            Self::GruResetAfter | Self::GruResetBefore => cfg!(feature = "gru"),
            Self::Lstm => cfg!(feature = "lstm"),
            Self::Rnn => cfg!(feature = "rnn"),
        }
    }
}

/// What the rows of a gate group are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnSpan {
    /// The layer's input x.
    Input,
    /// Its hidden state h.
    Hidden,
    /// Both, `[x; h]`.
    Concat,
}

/// A gate group of each four units.
#[derive(Clone, Copy, Debug)]
pub struct GateGroupConfig {
    /// The vector.
    pub span: ColumnSpan,
    /// The parameters of each gate.
    pub params: &'static [RowParams],
}

/// The shape of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentConfig {
    /// The cell.
    pub cell: Cell,
    /// Elements of the input vector, a multiple of 4; 0 if the layer reads a gate row.
    pub input_size: usize,
    /// Units, a multiple of 4.
    pub hidden_size: usize,
    /// The hidden state has `15 - state_shift` fraction bits; at most [`MAX_STATE_SHIFT`].
    pub state_shift: u32,
    /// The formats of the weights over the input and over the hidden state.
    pub formats: [WeightFormat; 2],
}

/// The largest `state_shift`: hidden states are below 2^8. Without the feature `state-shift` below 1.
pub const MAX_STATE_SHIFT: u32 = if cfg!(feature = "state-shift") { 8 } else { 0 };

impl RecurrentConfig {
    /// The gate groups of each four units, for each pass over the units. Gates are in the order of the cell's equations, except
    /// that the input side of a GRU candidate that has rows of its own is the last group.
    pub fn passes(&self) -> &'static [&'static [GateGroupConfig]] {
        use ColumnSpan::{Concat, Hidden, Input};
        use RowParams::{BiasScale as B, CandidateTokenScale as C, TokenScale as T};
        const fn group(span: ColumnSpan, params: &'static [RowParams]) -> GateGroupConfig {
            GateGroupConfig { span, params }
        }
        match (self.cell, self.input_size > 0) {
            (Cell::GruResetAfter, false) => const { &[&[group(Hidden, &[T, T, C])]] },
            (Cell::GruResetAfter, true) => {
                const {
                    &[&[
                        group(Concat, &[B, B]),
                        group(Hidden, &[B]),
                        group(Input, &[B]),
                    ]]
                }
            }
            (Cell::GruResetBefore, false) => {
                const { &[&[group(Hidden, &[T, T])], &[group(Hidden, &[T])]] }
            }
            (Cell::GruResetBefore, true) => {
                const { &[&[group(Concat, &[B, B])], &[group(Concat, &[B])]] }
            }
            (Cell::Lstm, false) => const { &[&[group(Hidden, &[T; 4])]] },
            (Cell::Lstm, true) => const { &[&[group(Concat, &[B; 4])]] },
            (Cell::Rnn, false) => const { &[&[group(Hidden, &[T])]] },
            (Cell::Rnn, true) => const { &[&[group(Concat, &[B])]] },
        }
    }

    /// The columns of the rows of a gate group over `span`.
    pub fn row_format(&self, span: ColumnSpan) -> RowFormat {
        let columns = match span {
            ColumnSpan::Input => [self.input_size, 0],
            ColumnSpan::Hidden => [0, self.hidden_size],
            ColumnSpan::Concat => [self.input_size, self.hidden_size],
        };
        RowFormat {
            formats: self.formats,
            columns,
        }
    }

    /// Length in words of the layer.
    pub fn weights_len(&self) -> usize {
        let len = |group: &GateGroupConfig| -> usize {
            let panel_len = self.row_format(group.span).panel_len();
            group.params.iter().map(|kind| kind.len() + panel_len).sum()
        };
        let groups = self.passes().iter().copied().flatten();
        let len: usize = groups.map(len).sum();
        len.saturating_mul(self.hidden_size / PANEL_ROWS)
    }

    /// Elements of scratch memory that a [step](RecurrentLayer::step) needs.
    pub fn scratch_len(&self) -> usize {
        match self.cell {
            Cell::GruResetBefore => self.hidden_size + self.input_size + self.hidden_size,
            _ => self.hidden_size,
        }
    }

    /// Elements of the cell state: `hidden_size` for an LSTM, else 0.
    pub fn cell_state_len(&self) -> usize {
        match self.cell {
            Cell::Lstm => self.hidden_size,
            _ => 0,
        }
    }

    /// The layer with these words; `None` if they have another length than [`weights_len`](Self::weights_len), a size is no
    /// multiple of 4, `state_shift` is too large or this build does not support the cell or a format.
    pub fn layer<'a>(&self, words: &'a [u32]) -> Option<RecurrentLayer<'a>> {
        let is_valid = self.cell.is_supported()
            && self.formats.iter().all(|format| format.is_supported())
            && self.input_size.is_multiple_of(PANEL_ROWS)
            && self.hidden_size.is_multiple_of(PANEL_ROWS)
            && self.state_shift <= MAX_STATE_SHIFT
            && words.len() == self.weights_len();
        if !is_valid {
            return None;
        }
        Some(RecurrentLayer {
            cell: self.cell,
            input_size: self.input_size.try_into().ok()?,
            hidden_size: self.hidden_size.try_into().ok()?,
            state_shift: self.state_shift as u8,
            formats: self.formats,
            words,
        })
    }
}

/// A recurrent layer whose words have been counted.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentLayer<'a> {
    // A `RecurrentConfig` in half the memory.
    cell: Cell,
    state_shift: u8,
    formats: [WeightFormat; 2],
    input_size: u16,
    hidden_size: u16,
    words: &'a [u32],
}

impl<'a> RecurrentLayer<'a> {
    /// The shape.
    #[inline]
    pub fn config(&self) -> RecurrentConfig {
        RecurrentConfig {
            cell: self.cell,
            input_size: self.input_size.into(),
            hidden_size: self.hidden_size.into(),
            state_shift: u32::from(self.state_shift).min(MAX_STATE_SHIFT),
            formats: self.formats,
        }
    }

    /// Its gate groups in the order of the words.
    pub fn gate_groups(&self) -> impl Iterator<Item = GateGroup<'a>> + use<'a> {
        let (config, mut words) = (self.config(), self.words);
        let blocks = config.hidden_size / PANEL_ROWS;
        let (mut pass, mut block, mut group) = (0, 0, 0);
        core::iter::from_fn(move || {
            loop {
                let groups = config.passes().get(pass)?;
                if let Some(next) = groups.get(group) {
                    group += 1;
                    let format = config.row_format(next.span);
                    return GateGroup::split_from(&mut words, format, next.params);
                }
                (group, block) = (0, block + 1);
                if block == blocks {
                    (block, pass) = (0, pass + 1);
                }
            }
        })
    }

    /// Runs one step: the next hidden state replaces the current one.
    ///
    /// `gate_row` has the token's values, i8 `[num_gates * hidden_size]`, or is ignored if the layer reads a vector.
    /// `xh` is the input vector (Q15, `input_size` elements) and the hidden state (`hidden_size`). `cell` is the cell state, Q8.23
    /// ([`cell_state_len`](RecurrentConfig::cell_state_len)). `scratch` has [`scratch_len`](RecurrentConfig::scratch_len)
    /// elements. Units for which one of them is too short keep their state.
    #[inline(never)]
    pub fn step(
        &self,
        gate_row: &[i8],
        xh: &mut [I16x4],
        cell: &mut [[i32; PANEL_ROWS]],
        scratch: &mut [I16x4],
    ) {
        let (input_len, hidden_len) = (
            usize::from(self.input_size) / PANEL_ROWS,
            usize::from(self.hidden_size) / PANEL_ROWS,
        );
        let (h_next, scratch) = scratch.split_at_mut(hidden_len.min(scratch.len()));
        let gate_row = if input_len == 0 { gate_row } else { &[] };
        let cell_type = self.cell;
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
