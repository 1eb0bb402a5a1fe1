//! Rows of matrices, four at a time, with what turns their accumulators into outputs.
//!
//! A block has the rows of four units. A panel of it has those rows over one vector, four per gate:
//!
//! | words | what |
//! |---|---|
//! | a [`Record`] per gate | 4 biases, 4 scales and more |
//! | gates x columns | weights of 8 bits, as [`crate::kernel`] orders them |
//! | or, for the input and then for the state, gates x [`grouped_words`] | weights of 4 bits in groups that have scales |
//!
//! Of [`Bits::Mixed`] each gate has over the input a word of four scales, the lowest byte row 0's, and then its weights of
//! 8 bits, as many words as columns. What they add to the accumulators is their product times the scale.

use crate::cell::small;
use crate::fixed::{Scale, requantize};
use crate::kernel::{GROUP, Operand, RANGE, ROWS, grouped_words};

/// How wide weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bits {
    /// 8 bits, -127 to 127.
    #[default]
    Eight,
    /// 4 bits, -8 to 7, times the scale of their group.
    Four,
    /// 8 bits over the input, times a scale of the row; 4 over the state, as [`Four`](Self::Four).
    Mixed,
}

impl Bits {
    /// All of them, in the order of the numbers that stand for them in an image.
    pub const ALL: [Self; 3] = [Self::Eight, Self::Four, Self::Mixed];

    /// Words of four rows over each part of so many columns: the input and the state.
    pub const fn words(self, [input, state]: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Eight => [input, state],
            Self::Four => [grouped_words(input), grouped_words(state)],
            Self::Mixed => [scaled_words(input), grouped_words(state)],
        }
    }
}

/// Words of four rows of 8 bits and their scales.
const fn scaled_words(columns: usize) -> usize {
    match columns {
        0 => 0,
        _ => 1 + columns,
    }
}

/// The least and the largest weight of 8 bits.
pub const WIDE_RANGE: [i8; 2] = [-127, 127];

/// The columns of a panel's rows and how wide their weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        let [input, state] = self.bits.words(self.parts);
        input + state
    }

    /// The runs of a row's columns that have a scale of their own, from the first on: how many columns, and the least and
    /// the largest weight. Rows of 8 bits have none.
    pub fn groups(self) -> impl Iterator<Item = (usize, [i8; 2])> {
        let in_groups = |columns: usize| {
            let group = move |start: usize| (GROUP.min(columns - start), RANGE);
            (0..columns).step_by(GROUP).map(group)
        };
        let [input, state] = self.parts;
        let (wide, grouped) = match self.bits {
            Bits::Eight => (0, [0, 0]),
            Bits::Four => (0, [input, state]),
            Bits::Mixed => (input, [0, state]),
        };
        let wide = (wide > 0).then_some((wide, WIDE_RANGE));
        wide.into_iter()
            .chain(grouped.into_iter().flat_map(in_groups))
    }

    /// The first ones, up to `most`.
    pub fn first(self, most: usize) -> Self {
        let input = self.parts[0].min(most);
        let state = self.parts[1].min(most - input);
        let parts = [input, state];
        Self { parts, ..self }
    }

    /// The rows of gate `gate` of `gates` in a panel's weights: all of [`Bits::Eight`], or those over the input and those over
    /// the state.
    pub fn blocks(self, weights: &[u32], gates: usize, gate: usize) -> [&[u32]; 2] {
        let block = |start: usize, words: usize| {
            let start = start + gate * words;
            weights.get(start..start + words).unwrap_or_default()
        };
        match self.bits {
            Bits::Eight => [block(0, self.count()), &[]],
            Bits::Four | Bits::Mixed => {
                let [input, state] = self.bits.words(self.parts);
                [block(0, input), block(gates * input, state)]
            }
        }
    }
}

/// A vector as the rows of a panel are multiplied with it.
#[derive(Clone, Copy)]
pub enum Factor<'a> {
    /// Rows of 8 bits: all of it at once.
    Whole(Operand<'a>),
    /// Rows of another width: the input, then the state.
    Parts(Bits, [Operand<'a>; 2]),
}

impl<'a> Factor<'a> {
    /// `x` has as many elements as there are `columns`, and is aligned to 4 bytes.
    pub fn new(x: &'a [i16], columns: Columns) -> Self {
        match columns.bits {
            Bits::Eight => Self::Whole(Operand::new(x)),
            bits => {
                let (input, state) = x.split_at_checked(columns.parts[0]).unwrap_or_default();
                Self::Parts(bits, [input, state].map(Operand::new))
            }
        }
    }

    /// Words of a gate's four rows.
    #[inline(always)]
    fn words(&self) -> usize {
        match self {
            Self::Whole(x) => x.columns(),
            Self::Parts(bits, parts) => part_words(*bits, parts),
        }
    }

    /// Writes the accumulators of a panel's gates. Leaves them alone or zero if there are not as many words.
    #[inline(always)]
    pub fn products(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        match self {
            Self::Whole(x) => x.products(weights, accumulators),
            Self::Parts(bits, parts) => by_parts(*bits, parts, weights, accumulators),
        }
    }

    /// The same by the portable kernel, whatever the core.
    pub fn products_portable(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        match self {
            Self::Whole(x) => x.products_portable(weights, accumulators),
            Self::Parts(bits, parts) => {
                let products = Operand::products_portable;
                let add_grouped = Operand::add_grouped_portable;
                add_parts(*bits, parts, weights, accumulators, products, add_grouped);
            }
        }
    }
}

/// Words of a gate's four rows over both parts. A function of its own, beside the usual path, as the next one is.
#[inline(never)]
fn part_words(bits: Bits, parts: &[Operand; 2]) -> usize {
    let [input, state] = bits.words(parts.each_ref().map(Operand::columns));
    input + state
}

#[inline(never)]
pub(crate) fn by_parts(
    bits: Bits,
    parts: &[Operand; 2],
    weights: &[u32],
    accumulators: &mut [[i32; ROWS]],
) {
    let (products, add_grouped) = (Operand::products, Operand::add_grouped);
    add_parts(bits, parts, weights, accumulators, products, add_grouped);
}

/// All gates' blocks over the input, then all over the state. The kernels are what writes products of 8 bits, and what adds
/// those of groups.
#[inline(always)]
fn add_parts<'a>(
    bits: Bits,
    parts: &[Operand<'a>; 2],
    mut weights: &[u32],
    accumulators: &mut [[i32; ROWS]],
    products: impl Fn(&Operand<'a>, &[u32], &mut [[i32; ROWS]]),
    add_grouped: impl Fn(&Operand<'a>, &[u32], &mut [[i32; ROWS]]),
) {
    accumulators.fill([0; ROWS]);
    let words = bits.words(parts.each_ref().map(Operand::columns));
    for (index, (x, words)) in parts.iter().zip(words).enumerate() {
        let own = weights.split_off(..accumulators.len() * words);
        let own = own.unwrap_or_default();
        if bits == Bits::Mixed && index == 0 {
            let blocks = own.chunks_exact(words.max(1));
            for (block, accumulator) in blocks.zip(accumulators.iter_mut()) {
                let Some((scales, block)) = block.split_first() else {
                    return;
                };
                let mut product = [[0; ROWS]];
                products(x, block, &mut product);
                // Exact modulo 2^32, as the product is: the range certificate bounds what it stands for.
                for (row, scale) in scales.to_le_bytes().into_iter().enumerate() {
                    accumulator[row] = product[0][row].wrapping_mul(scale.into());
                }
            }
        } else {
            add_grouped(x, own, accumulators);
        }
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
    let [words, _] = bits.words([columns, 0]);
    (words + Record::Plain.words()).saturating_mul(quads)
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
