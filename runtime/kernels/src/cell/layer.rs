//! Recurrent layers: their cells, shapes and words.

use crate::packed::{GateGroup, PANEL_ROWS, RowFormat, RowParams, WeightFormat};

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
    /// The gate groups of each four units, for each pass over the units. Gates are in the order of the cell's equations. If
    /// the input and hidden rows of a GRU candidate are separate, the input rows are the last group.
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
        // Every gate has one row per unit over x and h, whether in one gate group or in two.
        let gates = self.cell.num_gates() * self.row_format(ColumnSpan::Concat).panel_len();
        let groups = self.passes().iter().copied().flatten();
        let params: usize = groups
            .flat_map(|group| group.params)
            .map(|kind| kind.len())
            .sum();
        (params + gates).saturating_mul(self.hidden_size / PANEL_ROWS)
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
            state_shift: self.state_shift as u8,
            formats: self.formats,
            input_size: self.input_size.try_into().ok()?,
            hidden_size: self.hidden_size.try_into().ok()?,
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
    pub(super) words: &'a [u32],
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn gate_groups_are_all_words_of_a_layer() {
        for cell in Cell::ALL {
            for input_size in [0, 4, 36] {
                for input in WeightFormat::ALL {
                    for hidden in WeightFormat::ALL {
                        let config = RecurrentConfig {
                            cell,
                            input_size,
                            hidden_size: 12,
                            state_shift: 0,
                            formats: [input, hidden],
                        };
                        let words = vec![0; config.weights_len()];
                        let layer = config.layer(&words).unwrap();
                        let lens = layer
                            .gate_groups()
                            .map(|g| g.params().len() + g.weights().len());
                        assert_eq!(lens.sum::<usize>(), words.len(), "{config:?}");
                        assert!(config.layer(&words[1..]).is_none());
                    }
                }
            }
        }
    }
}
