//! The steps of recurrent cells in integers.
//!
//! A layer's words are runs of blocks, and a block has panels ([`crate::rows`]) of four units:
//!
//! | cell | a block's panels |
//! |---|---|
//! | GRU, reset after, over a token table | z, r with [`Record::Token`] and h with [`Record::Candidate`], over the state |
//! | GRU, reset after, over a vector | z, r over the input and the state; h over the state; the candidate's input side over the input |
//! | GRU, reset before, over a token table | z, r with [`Record::Token`]; in a second run h with [`Record::Token`], over the reset state |
//! | GRU, reset before, over a vector | z, r over the input and the state; in a second run h over the input and the reset state |
//! | LSTM, over a token table | i, o, f, c with [`Record::Token`], over the state |
//! | LSTM, over a vector | i, o, f, c over the input and the state |
//! | plain, over a token table | one gate with [`Record::Token`], over the state |
//! | plain, over a vector | one gate over the input and the state |
//!
//! A token's row of the table has the gates of units 0 to 3 in turn, then of units 4 to 7, and so on.
//! The reset gate is *after* when it multiplies the recurrent product.
//!
//! A layer's hidden state has 15 - `shift` fraction bits: states from outside may be larger than 1.

use crate::activation;
use crate::kernel::ROWS;
use crate::rows::{Bits, Columns, Over, Panel, Record};

pub(crate) mod gru;
mod lstm;
mod plain;

pub use gru::{GATES, RECORDS, gates_portable};
pub use lstm::{LSTM_GATES, LSTM_RECORDS, lstm_gates_portable};

/// A recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// GRU whose reset gate multiplies the recurrent product (`linear_before_reset = 1`; PyTorch, Keras `reset_after`).
    GruResetAfter,
    /// GRU whose reset gate multiplies the state (`linear_before_reset = 0`; Keras `reset_after=False`).
    GruResetBefore,
    /// LSTM without peepholes.
    Lstm,
    /// Plain recurrent network with tanh.
    Rnn,
}

impl Cell {
    /// All cells, in the order of the numbers that stand for them in an image.
    pub const ALL: [Self; 4] = [
        Self::GruResetAfter,
        Self::GruResetBefore,
        Self::Lstm,
        Self::Rnn,
    ];

    /// Gates, that is runs of H rows that a token adds to.
    pub const fn gates(self) -> usize {
        match self {
            Self::GruResetAfter | Self::GruResetBefore => 3,
            Self::Lstm => 4,
            Self::Rnn => 1,
        }
    }
}

/// A layer's shape. All lengths are padded.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its cell.
    pub cell: Cell,
    /// Elements of the input vector; 0 over a token table.
    pub inputs: usize,
    /// Units, H.
    pub units: usize,
    /// The hidden state has 15 less this many fraction bits; at most [`MAX_STATE_SHIFT`].
    pub shift: u32,
    /// The width of its weights.
    pub bits: Bits,
}

/// Hidden states are below 2^this.
pub const MAX_STATE_SHIFT: u32 = 8;

impl Shape {
    /// The panels of a block, for each run of blocks, with gates in the order of [`Cell`]'s equations, and last a GRU
    /// candidate's input side that has rows of its own.
    pub fn runs(&self) -> &'static [&'static [Panel]] {
        use Over::{Input, Joint, State};
        use Record::{Candidate, Plain, Token};
        const fn panel(over: Over, gates: &'static [Record]) -> Panel {
            Panel { over, gates }
        }
        match (self.cell, self.inputs > 0) {
            (Cell::GruResetAfter, false) => {
                const { &[&[panel(State, &[Token, Token, Candidate])]] }
            }
            (Cell::GruResetAfter, true) => {
                const {
                    &[&[
                        panel(Joint, &[Plain, Plain]),
                        panel(State, &[Plain]),
                        panel(Input, &[Plain]),
                    ]]
                }
            }
            (Cell::GruResetBefore, false) => {
                const { &[&[panel(State, &[Token, Token])], &[panel(State, &[Token])]] }
            }
            (Cell::GruResetBefore, true) => {
                const { &[&[panel(Joint, &[Plain, Plain])], &[panel(Joint, &[Plain])]] }
            }
            (Cell::Lstm, false) => const { &[&[panel(State, &[Token; 4])]] },
            (Cell::Lstm, true) => const { &[&[panel(Joint, &[Plain; 4])]] },
            (Cell::Rnn, false) => const { &[&[panel(State, &[Token])]] },
            (Cell::Rnn, true) => const { &[&[panel(Joint, &[Plain])]] },
        }
    }

    /// Columns of a panel over `over`.
    pub fn columns(&self, over: Over) -> Columns {
        let parts = match over {
            Over::Input => [self.inputs, 0],
            Over::State => [0, self.units],
            Over::Joint => [self.inputs, self.units],
        };
        let bits = self.bits;
        Columns { bits, parts }
    }

    /// Words of the layer.
    pub fn words(&self) -> usize {
        // What `runs` says, added up.
        let gates = self.cell.gates();
        let records = match (self.cell, self.inputs > 0) {
            (Cell::GruResetAfter, false) => RECORDS,
            (Cell::GruResetAfter, true) => 4 * Record::Plain.words(),
            (_, false) => gates * Record::Token.words(),
            (_, true) => gates * Record::Plain.words(),
        };
        let weights = gates * self.columns(Over::Joint).words();
        (records + weights).saturating_mul(self.units / ROWS)
    }

    /// Elements that [`step`](Self::step) needs beside the joint vector.
    pub fn scratch(&self) -> usize {
        match self.cell {
            Cell::GruResetBefore => 2 * self.units + self.inputs,
            _ => self.units,
        }
    }

    /// Elements of the cell state: H in an LSTM, else none.
    pub fn cell_state(&self) -> usize {
        if self.cell == Cell::Lstm {
            self.units
        } else {
            0
        }
    }

    /// One step, by the cell's equations in [`gru`], [`lstm`] and [`plain`].
    ///
    /// `words` are the layer's; `token` is the token's row of the table, which a layer that reads a vector leaves alone;
    /// `joint` is the input vector, if any, and the hidden state; `cell` is the cell state, Q8.23, and `scratch` has
    /// [`scratch`](Self::scratch) elements. The new state replaces the old one.
    #[inline(never)]
    pub fn step(
        &self,
        words: &[u32],
        token: &[i8],
        joint: &mut [i16],
        cell: &mut [i32],
        scratch: &mut [i16],
    ) {
        let (next, reset) = scratch.split_at_mut_checked(self.units).unwrap_or_default();
        let token = if self.inputs == 0 { token } else { &[] };
        match self.cell {
            Cell::GruResetAfter if self.inputs == 0 => {
                gru::after_table(self, words, token, joint, next);
            }
            Cell::GruResetAfter => gru::after_vector(self, words, joint, next),
            Cell::GruResetBefore => {
                let reset = reset.get_mut(..joint.len()).unwrap_or_default();
                gru::before(self, words, token, joint, next, reset);
            }
            Cell::Lstm => lstm::step(self, words, token, joint, cell, next),
            Cell::Rnn => plain::step(self, words, token, joint, next),
        }
        if let Some(state) = joint.get_mut(self.inputs..) {
            for (state, next) in state.iter_mut().zip(next) {
                *state = *next;
            }
        }
    }
}

/// `value`, Q15, with `shift` bits less, rounded to nearest.
#[inline(always)]
fn shifted(value: i16, shift: u32) -> i16 {
    ((i32::from(value) + (1 << shift >> 1)) >> shift) as i16
}

/// The activations as functions that are called: not every cell is worth a copy of them.
pub(crate) mod small {
    #[inline(never)]
    pub(crate) fn sigmoid(x: i32) -> i16 {
        super::activation::sigmoid(x as i16)
    }

    #[inline(never)]
    pub(crate) fn tanh(x: i32) -> i16 {
        super::activation::tanh(x as i16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_panels() {
        for cell in Cell::ALL {
            for (inputs, bits) in [0, 4, 36]
                .into_iter()
                .flat_map(|n| Bits::ALL.map(|b| (n, b)))
            {
                let shape = Shape {
                    cell,
                    inputs,
                    units: 12,
                    shift: 0,
                    bits,
                };
                let words = |panel: &Panel| {
                    panel.record_words() + panel.gates.len() * shape.columns(panel.over).words()
                };
                let block: usize = shape.runs().iter().copied().flatten().map(words).sum();
                assert_eq!(shape.words(), block * shape.units / ROWS);
            }
        }
    }
}
