//! Rows of matrices, four at a time, with what turns their accumulators into outputs.
//!
//! A block has the rows of four units. A panel of it has those rows over one vector, four per gate:
//!
//! | words | what |
//! |---|---|
//! | a [`Record`] per gate | 4 biases, 4 scales and more |
//! | gates x columns | weights of 8 bits, as [`crate::kernel`] orders them |
//! | or, for the input and then for the state, gates x [`grouped_words`] | weights of 4 bits in groups that have scales |

use crate::cell::small;
use crate::fixed::{Scale, requantize};
use crate::kernel::{Operand, ROWS, grouped_words};

/// How wide weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bits {
    /// 8 bits, -127 to 127.
    #[default]
    Eight,
    /// 4 bits, -8 to 7, times the scale of their group.
    Four,
}

impl Bits {
    /// Both, in the order of the numbers that stand for them in an image.
    pub const ALL: [Self; 2] = [Self::Eight, Self::Four];

    /// Words of four rows over so many columns.
    pub const fn words(self, columns: usize) -> usize {
        match self {
            Self::Eight => columns,
            Self::Four => grouped_words(columns),
        }
    }
}

/// The columns of a panel's rows and how wide their weights are.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The width of the weights.
    pub bits: Bits,
    /// Columns over the input and over the state; 0 where there is none of them.
    pub parts: [usize; 2],
}

impl Columns {
    /// All of them.
    pub const fn count(self) -> usize {
        self.parts[0] + self.parts[1]
    }

    /// Words of four rows.
    pub const fn words(self) -> usize {
        self.bits.words(self.parts[0]) + self.bits.words(self.parts[1])
    }

    /// The first ones, up to `most`.
    pub fn first(self, most: usize) -> Self {
        let input = self.parts[0].min(most);
        let state = self.parts[1].min(most - input);
        let parts = [input, state];
        Self { parts, ..self }
    }

    /// The rows of gate `gate` of `gates` in a panel's weights: all of 8 bits, or those over the input and those over the state.
    pub fn blocks<'w>(self, weights: &'w [u32], gates: usize, gate: usize) -> [&'w [u32]; 2] {
        let block = |start: usize, words: usize| {
            let start = start + gate * words;
            weights.get(start..start + words).unwrap_or_default()
        };
        match self.bits {
            Bits::Eight => [block(0, self.count()), &[]],
            Bits::Four => {
                let [input, state] = self.parts.map(grouped_words);
                [block(0, input), block(gates * input, state)]
            }
        }
    }
}

/// A vector as the rows of a panel are multiplied with it.
#[derive(Clone, Copy)]
pub enum Factor<'a> {
    /// Rows of 8 bits: all of it at once.
    Eight(Operand<'a>),
    /// Rows of 4 bits: the input, then the state.
    Four([Operand<'a>; 2]),
}

impl<'a> Factor<'a> {
    /// `x` has as many elements as there are `columns`, and is aligned to 4 bytes.
    pub fn new(x: &'a [i16], columns: Columns) -> Self {
        match columns.bits {
            Bits::Eight => Self::Eight(Operand::new(x)),
            Bits::Four => {
                let (input, state) = x.split_at_checked(columns.parts[0]).unwrap_or_default();
                Self::Four([input, state].map(Operand::new))
            }
        }
    }

    /// Words of a gate's four rows.
    #[inline(always)]
    fn words(&self) -> usize {
        match self {
            Self::Eight(x) => x.columns(),
            Self::Four(parts) => parts.iter().map(|x| grouped_words(x.columns())).sum(),
        }
    }

    /// Writes the accumulators of a panel's gates. Leaves them alone or zero if there are not as many words.
    #[inline(always)]
    pub fn products(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        match self {
            Self::Eight(x) => x.products(weights, accumulators),
            Self::Four(parts) => grouped(parts, weights, accumulators),
        }
    }

    /// The same by the portable kernel, whatever the core.
    pub fn products_portable(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        match self {
            Self::Eight(x) => x.products_portable(weights, accumulators),
            Self::Four(parts) => add_parts(parts, weights, accumulators, |x, weights, sums| {
                x.add_grouped_portable(weights, sums);
            }),
        }
    }
}

/// A function of its own, beside the usual path.
#[inline(never)]
pub(crate) fn grouped(parts: &[Operand; 2], weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
    add_parts(parts, weights, accumulators, |x, weights, sums| {
        x.add_grouped(weights, sums);
    });
}

/// All gates' blocks over the input, then all over the state.
#[inline(always)]
fn add_parts(
    parts: &[Operand; 2],
    mut weights: &[u32],
    accumulators: &mut [[i32; ROWS]],
    add: impl Fn(&Operand, &[u32], &mut [[i32; ROWS]]),
) {
    accumulators.fill([0; ROWS]);
    for x in parts {
        let words = accumulators.len() * grouped_words(x.columns());
        let own = weights.split_off(..words).unwrap_or_default();
        add(x, own, accumulators);
    }
}

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
pub(crate) fn outputs(block: &mut &[u32], x: &Factor, token: &[i8], values: &mut [[i32; ROWS]]) {
    let record = if token.is_empty() {
        Record::Plain
    } else {
        Record::Token
    };
    let weights = values.len() * x.words();
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
pub fn dense_words(quads: usize, columns: usize, bits: Bits) -> usize {
    (bits.words(columns) + Record::Plain.words()).saturating_mul(quads)
}

/// A dense layer: `words` has a panel over `x` for each 16 of `out`, and one for what is left.
pub fn dense(mut words: &[u32], x: &[i16], bits: Bits, activation: Activation, out: &mut [i16]) {
    let parts = [x.len(), 0];
    let x = Factor::new(x, Columns { bits, parts });
    let mut values = [[0; ROWS]; DENSE_QUADS];
    for out in out.chunks_mut(ROWS * DENSE_QUADS) {
        let values = values.get_mut(..out.len() / ROWS).unwrap_or_default();
        outputs(&mut words, &x, &[], values);
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
