//! What the sections of an image are read by.

use super::ImageError;
use crate::Level;
use crate::bits::Bits;
use pipsqueak_kernels::cell::{Cell, MAX_STATE_SHIFT};
use pipsqueak_kernels::dense::Activation;
use pipsqueak_kernels::fixed::MAX_SHIFT;

/// The most recurrent layers of an image, an encoder's among them.
pub const MAX_LAYERS: usize = 8;
/// The most dense layers of an image.
pub const MAX_DENSE: usize = 10;
/// The most networks of an image: one, or an encoder and a decoder.
pub const MAX_NETWORKS: usize = 2;
/// The most steps that all layers take for a token.
pub const MAX_STEPS_PER_TOKEN: u8 = 4;
/// The most units of a layer and the largest embedding: 32 bits hold every sum over them.
pub const MAX_UNITS: u16 = 16_384;

/// The shape of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its cell.
    pub cell: Cell,
    /// The width of its weights.
    pub bits: Bits,
    /// Units, H: 1 to [`MAX_UNITS`].
    pub hidden: u16,
}

impl Layer {
    /// A layer of `hidden` units with weights of 8 bits.
    pub const fn new(cell: Cell, hidden: u16) -> Self {
        let bits = Bits::Eight;
        Self { cell, bits, hidden }
    }

    /// The same with weights of another width.
    pub const fn with_bits(self, bits: Bits) -> Self {
        Self { bits, ..self }
    }
}

/// Where a state is before the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// Zeros, or what the caller sets.
    Zero,
    /// Numbers of the image.
    Constant,
    /// The feature vector.
    Features,
    /// The last state of a layer of the encoder: its cell state if so said, else its hidden state.
    Encoder {
        /// The layer, from 0.
        layer: usize,
        /// Whether it is the cell state.
        cell: bool,
    },
}

/// Where a state is before the first step, and the dense layers on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// 0 zero, 1 constant, 2 features, 3 + 2 layer + (1 for a cell state) the encoder's.
    from: u8,
    /// Dense layers between; the image's list has them in order.
    pub dense: u8,
}

impl Start {
    /// A start from `from` through so many dense layers.
    pub fn new(from: StartFrom, dense: u8) -> Self {
        let from = match from {
            StartFrom::Zero => 0,
            StartFrom::Constant => 1,
            StartFrom::Features => 2,
            StartFrom::Encoder { layer, cell } => (3 + 2 * layer + usize::from(cell)) as u8,
        };
        Self { from, dense }
    }

    /// Where it is from.
    pub fn from(self) -> StartFrom {
        match self.from {
            0 => StartFrom::Zero,
            1 => StartFrom::Constant,
            2 => StartFrom::Features,
            n => StartFrom::Encoder {
                layer: usize::from(n - 3) / 2,
                cell: n.is_multiple_of(2),
            },
        }
    }
}

/// A recurrent layer and where its states begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurrent {
    /// Cell and units.
    pub layer: Layer,
    /// The hidden state has 15 less this many fraction bits.
    pub shift: u8,
    /// The hidden state's and the cell state's.
    pub starts: [Start; 2],
}

/// A dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Outputs: 1 to 65,535.
    pub outputs: u16,
    /// What they go through.
    pub activation: Activation,
    /// Fraction bits of an output and, in the two highest bits, the width of the weights: a byte, for the RAM of boards.
    format: u8,
}

/// Where the width stands in [`Dense::format`], and what [`Bits::Four`] and [`Bits::Mixed`] are there.
const WIDTH: u8 = 3 << 6;
const FOUR: u8 = 1 << 6;
const MIXED: u8 = 2 << 6;

impl Dense {
    /// A dense layer with weights of this width, 8 or 4 bits, and so many fraction bits of an output, at most 15; before
    /// [`Activation::Tanh`] and [`Activation::Sigmoid`] 11, after them 15.
    pub const fn new(outputs: u16, activation: Activation, fraction: u8, bits: Bits) -> Self {
        // Too many stay too many, and are refused.
        let fraction = if fraction < FOUR { fraction } else { FOUR - 1 };
        Self {
            outputs,
            activation,
            format: match bits {
                Bits::Eight => fraction,
                Bits::Four => fraction | FOUR,
                Bits::Mixed => fraction | MIXED,
            },
        }
    }

    /// The same with weights of another width.
    pub const fn with_bits(self, bits: Bits) -> Self {
        Self::new(self.outputs, self.activation, self.fraction(), bits)
    }

    /// Fraction bits of an output.
    pub const fn fraction(self) -> u8 {
        self.format & !WIDTH
    }

    /// The width of its weights.
    pub const fn bits(self) -> Bits {
        match self.format & WIDTH {
            0 => Bits::Eight,
            FOUR => Bits::Four,
            _ => Bits::Mixed,
        }
    }
}

/// What a network is fed at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A token, by a table of what it adds to the first layer's gates.
    Table,
    /// A token, by an embedding of so many elements.
    Embedding(u16),
    /// A token, by its row of the head's last dense layer: weights times multiplier, and this much right of it where
    /// the row's shift is this small.
    Tied {
        /// The smallest shift of a row.
        shift: u8,
    },
    /// A vector.
    Vectors,
    /// The same vector at each of so many steps, made of the feature vector at the start.
    Features {
        /// How many steps there are.
        steps: u16,
    },
}

/// At which steps the head is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// At each.
    EveryStep,
    /// At the last one.
    LastStep,
    /// It reads the mean over all steps.
    Mean,
}

/// What the outputs go through in the file that the image comes from. The image itself gives logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// Nothing.
    None,
    /// To probabilities.
    Softmax,
    /// To logarithms of probabilities.
    LogSoftmax,
}

/// A network: its input, so many of the image's layers and dense layers, and its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// What it is fed.
    pub input: Input,
    /// Tokens, V, or elements of a vector: 1 to 65,535.
    pub count: u16,
    /// Elements of the feature vector, or 0 where there is none.
    pub features: u16,
    /// Dense layers that an input vector goes through.
    pub dense: u8,
    /// Recurrent layers.
    pub layers: u8,
    /// How often all of them step for a token, 1 to [`MAX_STEPS_PER_TOKEN`]; 1 where it reads no tokens.
    pub steps_per_token: u8,
    /// Dense layers of the head.
    pub head: u8,
    /// At which steps the head is read.
    pub reads: Reads,
    /// What its outputs go through afterwards.
    pub normalization: Normalization,
}

/// A vocabulary's sizes and the tokens that mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VocabularyShape {
    /// What its tokens are.
    pub level: Level,
    /// How many there are; 0: there is no vocabulary.
    pub tokens: u16,
    /// Bytes of all tokens' texts.
    pub text_len: u32,
    /// The token that a text without a prompt begins after.
    pub start: u16,
    /// See [`Specials`].
    pub specials: Specials,
}

/// Tokens that stand for no text. They are never found in a text and never printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Specials {
    /// What only begins a text; never drawn.
    pub start: Option<u16>,
    /// What ends a text.
    pub eos: Option<u16>,
    /// What only fills room; never drawn.
    pub pad: Option<u16>,
    /// What stands for any unknown text; not drawn.
    pub unk: Option<u16>,
}

impl Specials {
    /// All of them.
    pub fn all(&self) -> [Option<u16>; 4] {
        [self.start, self.eos, self.pad, self.unk]
    }

    /// Whether `id` is one of them.
    pub fn is(&self, id: u16) -> bool {
        self.all().contains(&Some(id))
    }
}

/// The metadata of an image, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Of what goes in, where that is something else than what comes out; and of what comes out.
    pub vocabularies: [VocabularyShape; 2],
    /// The most tokens of a text; 0: no limit.
    pub limit: u16,
    /// Bytes of the names of the graph's arrays.
    pub interface_len: u32,
    /// The network, or an encoder and its decoder.
    pub networks: heapless::Vec<Network, MAX_NETWORKS>,
    /// The recurrent layers of all networks, from the input on.
    pub layers: heapless::Vec<Recurrent, MAX_LAYERS>,
    /// The dense layers of all networks: each network's input's, its starts', its head's.
    pub dense: heapless::Vec<Dense, MAX_DENSE>,
}

/// The place of `value` in a list of all values.
#[cfg(any(test, feature = "encode"))]
fn place<T: PartialEq>(all: &[T], value: T) -> u32 {
    all.iter().position(|other| *other == value).unwrap_or(0) as u32
}

const READS: [Reads; 3] = [Reads::EveryStep, Reads::LastStep, Reads::Mean];
const NORMALIZATIONS: [Normalization; 3] = [
    Normalization::None,
    Normalization::Softmax,
    Normalization::LogSoftmax,
];

impl Metadata {
    /// The numbers that postcard makes the metadata of: what [`decode`](Self::decode) reads.
    #[cfg(any(test, feature = "encode"))]
    pub fn numbers(&self) -> alloc::vec::Vec<u32> {
        let mut out = alloc::vec::Vec::new();
        for v in &self.vocabularies {
            out.extend([place(&Level::ALL, v.level), v.tokens.into(), v.text_len]);
            out.push(v.start.into());
            out.extend(
                v.specials
                    .all()
                    .map(|id| id.map_or(0, |id| u32::from(id) + 1)),
            );
        }
        out.extend([self.limit.into(), self.interface_len]);
        out.push(self.networks.len() as u32);
        for n in &self.networks {
            let (kind, size) = match n.input {
                Input::Table => (0, 0),
                Input::Embedding(columns) => (1, columns.into()),
                Input::Tied { shift } => (2, shift.into()),
                Input::Vectors => (3, 0),
                Input::Features { steps } => (4, steps.into()),
            };
            out.extend([kind, size, n.count.into(), n.features.into()]);
            out.extend([n.dense, n.layers, n.steps_per_token, n.head].map(u32::from));
            out.push(place(&READS, n.reads));
            out.push(place(&NORMALIZATIONS, n.normalization));
        }
        out.push(self.layers.len() as u32);
        for l in &self.layers {
            out.extend([
                place(&Cell::ALL, l.layer.cell),
                place(&Bits::ALL, l.layer.bits),
                l.layer.hidden.into(),
                l.shift.into(),
            ]);
            out.extend(
                l.starts
                    .iter()
                    .flat_map(|s| [s.from, s.dense].map(u32::from)),
            );
        }
        out.push(self.dense.len() as u32);
        for d in &self.dense {
            out.extend([
                d.outputs.into(),
                place(&Activation::ALL, d.activation),
                d.fraction().into(),
                place(&Bits::ALL, d.bits()),
            ]);
        }
        out
    }

    /// What postcard makes of `bytes`, and the bytes after it.
    ///
    /// A derived decoder does the same in three times the code: to postcard all of this is a row of numbers.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut numbers = Numbers(bytes);
        let mut metadata = Self::default();
        for vocabulary in &mut metadata.vocabularies {
            *vocabulary = VocabularyShape {
                level: numbers.of(&Level::ALL)?,
                tokens: numbers.half()?,
                text_len: numbers.next()?,
                start: numbers.half()?,
                specials: Specials {
                    start: numbers.id()?,
                    eos: numbers.id()?,
                    pad: numbers.id()?,
                    unk: numbers.id()?,
                },
            };
        }
        metadata.limit = numbers.half()?;
        metadata.interface_len = numbers.next()?;
        for _ in 0..numbers.next()? {
            let (kind, size) = (numbers.next()?, numbers.half()?);
            let input = match kind {
                0 => Input::Table,
                1 => Input::Embedding(size),
                2 => Input::Tied {
                    shift: u8::try_from(size).ok()?,
                },
                3 => Input::Vectors,
                4 => Input::Features { steps: size },
                _ => return None,
            };
            let network = Network {
                input,
                count: numbers.half()?,
                features: numbers.half()?,
                dense: numbers.byte()?,
                layers: numbers.byte()?,
                steps_per_token: numbers.byte()?,
                head: numbers.byte()?,
                reads: numbers.of(&READS)?,
                normalization: numbers.of(&NORMALIZATIONS)?,
            };
            metadata.networks.push(network).ok()?;
        }
        for _ in 0..numbers.next()? {
            let layer = Layer {
                cell: numbers.of(&Cell::ALL)?,
                bits: numbers.of(&Bits::ALL)?,
                hidden: numbers.half()?,
            };
            let shift = numbers.byte()?;
            let mut start = || {
                let (from, dense) = (numbers.byte()?, numbers.byte()?);
                Some(Start { from, dense })
            };
            let starts = [start()?, start()?];
            metadata
                .layers
                .push(Recurrent {
                    layer,
                    shift,
                    starts,
                })
                .ok()?;
        }
        for _ in 0..numbers.next()? {
            let (outputs, activation) = (numbers.half()?, numbers.of(&Activation::ALL)?);
            let (fraction, bits) = (numbers.byte()?, numbers.of(&Bits::ALL)?);
            let dense = Dense::new(outputs, activation, fraction, bits);
            metadata.dense.push(dense).ok()?;
        }
        Some((metadata, numbers.0))
    }

    /// That every number by itself is within its bounds; how they fit together is seen where the sections are walked.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        within(
            "number of networks",
            self.networks.len() as u32,
            1,
            MAX_NETWORKS as u32,
        )?;
        for vocabulary in &self.vocabularies {
            let VocabularyShape {
                tokens,
                start,
                specials,
                ..
            } = vocabulary;
            if *tokens > 0 {
                let last = u32::from(*tokens) - 1;
                within("start token (0 or more)", (*start).into(), 0, last)?;
                for id in specials.all().into_iter().flatten() {
                    within("special token (0 or more)", id.into(), 0, last)?;
                }
            }
        }
        for network in &self.networks {
            within(
                "inputs of a network",
                network.count.into(),
                1,
                u16::MAX.into(),
            )?;
            match network.input {
                Input::Embedding(columns) => {
                    within("embedding", columns.into(), 1, MAX_UNITS.into())?;
                }
                Input::Tied { shift } => {
                    within(
                        "shift of an embedding (0 or more)",
                        shift.into(),
                        0,
                        MAX_SHIFT,
                    )?;
                }
                Input::Vectors | Input::Features { .. } => {
                    within(
                        "inputs of a network",
                        network.count.into(),
                        1,
                        MAX_UNITS.into(),
                    )?;
                }
                Input::Table => {}
            }
            let steps = match network.reads_tokens() {
                true => MAX_STEPS_PER_TOKEN,
                false => 1,
            };
            within(
                "steps per token",
                network.steps_per_token.into(),
                1,
                steps.into(),
            )?;
            within(
                "features (0 or more)",
                network.features.into(),
                0,
                MAX_UNITS.into(),
            )?;
        }
        for recurrent in &self.layers {
            within(
                "units of a layer",
                recurrent.layer.hidden.into(),
                1,
                MAX_UNITS.into(),
            )?;
            within(
                "shift of a state (0 or more)",
                recurrent.shift.into(),
                0,
                MAX_STATE_SHIFT,
            )?;
        }
        for dense in &self.dense {
            within(
                "outputs of a dense layer",
                dense.outputs.into(),
                1,
                u16::MAX.into(),
            )?;
            within(
                "fraction bits of an output (0 or more)",
                dense.fraction().into(),
                0,
                15,
            )?;
            // It has one part, which nothing else would name.
            let width = dense.format >> WIDTH.trailing_zeros();
            within("width of a dense layer (0 or more)", width.into(), 0, 1)?;
        }
        Ok(())
    }
}

fn within(what: &'static str, found: u32, least: u32, expected: u32) -> Result<(), ImageError> {
    match found {
        n if n < least || n > expected => Err(ImageError::Bounds {
            what,
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

/// The numbers that postcard makes of bytes.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    #[inline(never)]
    fn next(&mut self) -> Option<u32> {
        let (number, rest) = postcard::take_from_bytes::<u32>(self.0).ok()?;
        self.0 = rest;
        Some(number)
    }

    fn half(&mut self) -> Option<u16> {
        u16::try_from(self.next()?).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        u8::try_from(self.next()?).ok()
    }

    /// A value by its place in the list of all.
    fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.next()? as usize).copied()
    }

    /// A token, or none.
    #[allow(clippy::option_option, reason = "none may be read, or nothing")]
    fn id(&mut self) -> Option<Option<u16>> {
        match self.next()? {
            0 => Some(None),
            n => u16::try_from(n - 1).ok().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_it_was_written() {
        let shape = VocabularyShape {
            level: Level::SpacedLower,
            tokens: 65_535,
            text_len: u32::MAX,
            start: 300,
            specials: Specials {
                start: Some(0),
                eos: Some(65_534),
                pad: None,
                unk: Some(1),
            },
        };
        let network = |input, reads| Network {
            input,
            count: 300,
            features: 7,
            dense: 1,
            layers: 1,
            steps_per_token: 3,
            head: 2,
            reads,
            normalization: Normalization::LogSoftmax,
        };
        let layer = |cell, bits, from| Recurrent {
            layer: Layer::new(cell, 65_535).with_bits(bits),
            shift: 3,
            starts: [Start::new(from, 2), Start::default()],
        };
        let encoder = StartFrom::Encoder {
            layer: 6,
            cell: true,
        };
        let metadata = Metadata {
            vocabularies: [VocabularyShape::default(), shape],
            limit: 20,
            interface_len: 1000,
            networks: heapless::Vec::from_array([
                network(Input::Embedding(16_384), Reads::Mean),
                network(Input::Features { steps: 9 }, Reads::LastStep),
            ]),
            layers: heapless::Vec::from_array([
                layer(Cell::GruResetBefore, Bits::Mixed, StartFrom::Constant),
                layer(Cell::Lstm, Bits::Four, encoder),
            ]),
            dense: heapless::Vec::from_array(
                Bits::ALL.map(|bits| Dense::new(1, Activation::Sigmoid, 15, bits)),
            ),
        };
        assert_eq!(metadata.layers[1].starts[0].from(), encoder);
        let mut bytes = alloc::vec::Vec::new();
        for number in metadata.numbers() {
            bytes.extend(postcard::to_slice(&number, &mut [0; 8]).unwrap().iter());
        }
        bytes.push(7);
        let decoded = Metadata::decode(&bytes);
        assert_eq!(decoded, Some((metadata, &[7u8][..])));
        for length in 0..bytes.len() - 1 {
            assert_eq!(Metadata::decode(&bytes[..length]), None);
        }
    }
}
