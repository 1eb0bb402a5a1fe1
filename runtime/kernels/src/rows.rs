//! Rows of matrices, four at a time, with what turns their accumulators into outputs.
//!
//! A block has the rows of four units. A panel of it has those rows over one vector, four per gate:
//!
//! | words | what |
//! |---|---|
//! | a [`Record`] per gate | 4 biases, 4 scales and more |
//! | gates x columns | weights, as [`crate::kernel`] orders them |

use crate::cell::small;
use crate::fixed::{Scale, requantize};
use crate::kernel::{Operand, ROWS};

/// What stands beside the weights of a gate's four rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Biases and scales.
    Plain,
    /// Biases, scales, and factors of what a token adds to the accumulators.
    Token,
    /// Biases, scales, and of a GRU candidate's input side its biases, Q5.26, and factors of what a token adds to them.
    Candidate,
}

impl Record {
    /// Its words.
    pub const fn words(self) -> usize {
        match self {
            Self::Plain => 2 * ROWS,
            Self::Token => 3 * ROWS,
            Self::Candidate => 4 * ROWS,
        }
    }
}

/// What the rows of a panel are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The layer's input.
    Input,
    /// Its state.
    State,
    /// The input and the state after it.
    Joint,
}

/// The rows of a block over one vector.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// The vector.
    pub over: Over,
    /// The record of each gate: the layer's next gates in their order.
    pub gates: &'static [Record],
}

impl Panel {
    /// Words of the records.
    pub fn record_words(&self) -> usize {
        self.gates.iter().map(|record| record.words()).sum()
    }
}

/// `requantize(product + bias + added)`
#[inline(always)]
pub(crate) fn output(product: i32, bias: u32, scale: u32, added: i32) -> i32 {
    requantize(product + bias as i32 + added, Scale(scale)).into()
}

/// The outputs of the panel that `block` begins with, all of whose gates have a [`Record::Plain`], or a [`Record::Token`]
/// if there is a `token`: four values per gate. `block` goes on after the panel.
#[inline(never)]
pub(crate) fn outputs(block: &mut &[u32], x: Operand, token: &[i8], values: &mut [[i32; ROWS]]) {
    let record = if token.is_empty() {
        Record::Plain
    } else {
        Record::Token
    };
    let weights = values.len() * x.columns();
    let records = block.split_at_checked(values.len() * record.words());
    let Some((records, rest)) = records else {
        return;
    };
    let Some((weights, rest)) = rest.split_at_checked(weights) else {
        return;
    };
    *block = rest;
    x.products(weights, values);
    let records = records.as_chunks::<ROWS>().0;
    if token.is_empty() {
        for (values, [bias, scale]) in values.iter_mut().zip(records.as_chunks().0) {
            for (i, value) in values.iter_mut().enumerate() {
                *value = output(*value, bias[i], scale[i], 0);
            }
        }
    } else {
        let rows = values.iter_mut().zip(records.as_chunks().0);
        for ((values, [bias, scale, factor]), token) in rows.zip(token.as_chunks::<ROWS>().0) {
            for (i, value) in values.iter_mut().enumerate() {
                let added = i32::from(token[i]) * factor[i] as i32;
                *value = output(*value, bias[i], scale[i], added);
            }
        }
    }
}

/// The most gates of a panel.
pub const MOST_GATES: usize = 4;
/// Runs of four rows in a panel of [`dense`].
pub const DENSE_QUADS: usize = MOST_GATES;

/// A panel of [`dense`] with `quads` runs of four rows, at most [`DENSE_QUADS`].
pub fn dense_panel(quads: usize) -> Panel {
    const GATES: &[Record] = &[Record::Plain; DENSE_QUADS];
    Panel {
        over: Over::Input,
        gates: GATES.get(..quads).unwrap_or_default(),
    }
}

/// What the outputs of a dense layer go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// Nothing below 0.
    Relu,
    /// From Q4.11 to Q15.
    Tanh,
    /// From Q4.11 to Q15.
    Sigmoid,
}

impl Activation {
    /// All of them, in the order of the numbers that stand for them in an image.
    pub const ALL: [Self; 4] = [Self::Linear, Self::Relu, Self::Tanh, Self::Sigmoid];
}

/// Words of a dense layer of `quads` runs of four rows.
pub fn dense_words(quads: usize, columns: usize) -> usize {
    (columns + Record::Plain.words()).saturating_mul(quads)
}

/// A dense layer: `words` has a panel over `x` for each 16 of `out`, and one for what is left.
pub fn dense(mut words: &[u32], x: &[i16], activation: Activation, out: &mut [i16]) {
    let x = Operand::new(x);
    let mut values = [[0; ROWS]; DENSE_QUADS];
    for out in out.chunks_mut(ROWS * DENSE_QUADS) {
        let values = values.get_mut(..out.len() / ROWS).unwrap_or_default();
        outputs(&mut words, x, &[], values);
        for (out, value) in out.iter_mut().zip(values.as_flattened()) {
            *out = *value as i16;
        }
    }
    if activation != Activation::Linear {
        for out in out {
            *out = match activation {
                Activation::Tanh => small::tanh((*out).into()),
                Activation::Sigmoid => small::sigmoid((*out).into()),
                _ => (*out).max(0),
            };
        }
    }
}
