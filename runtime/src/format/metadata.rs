//! The metadata of a model file: the list of layers and what else the sections are read by.
//!
//! To postcard, all of it is a sequence of unsigned numbers. A derived decoder would do the same in three times the code.

use super::{Field, VarintReader};
use crate::tokenization::Tokenization;
use pipsqueak_kernels::cell::Cell;
use pipsqueak_kernels::dense::Activation;
use pipsqueak_kernels::packed::WeightFormat;
use serde::{Deserialize, Serialize};

/// Maximum number of layers of a model.
pub const MAX_LAYERS: usize = 24;
/// Maximum number of vectors that one layer reads.
pub const MAX_INPUTS: usize = 4;
/// Maximum number of outputs of a model.
pub const MAX_OUTPUTS: usize = 4;
/// Maximum number of steps that the recurrent layers run per token.
pub const MAX_STEPS_PER_TOKEN: u8 = 4;
/// Maximum hidden size, embedding dimension and frame size: 32 bits hold every sum over them.
pub const MAX_DIM: u16 = 16_384;
/// Maximum number of elements, with padding, of the vector that a layer reads or gives.
pub(crate) const MAX_VECTOR: u16 = 65_532;

/// How a network was trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingInfo<'a> {
    /// File name of the corpus.
    pub corpus: &'a str,
    /// Which part of the corpus the network was trained on.
    pub split: &'a str,
    /// Number of optimizer steps.
    pub steps: u32,
    /// Seed of the training.
    pub seed: u64,
    /// Cross-entropy loss on the training part in 1/1000 nats per token.
    pub train_loss: Option<u16>,
    /// Cross-entropy loss on the validation part in 1/1000 nats per token.
    pub validation_loss: Option<u16>,
}

/// When a layer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// For each token or frame of an encoder.
    Source,
    /// Once, before the first source token or before the first step: from conditioning features or the encoder's states to
    /// initial states and constant inputs.
    Begin,
    /// For each token or frame.
    Step,
    /// When outputs are asked for.
    Output,
}

impl Phase {
    /// All phases, in the order of their numbers in a model file.
    pub const ALL: [Self; 4] = [Self::Source, Self::Begin, Self::Step, Self::Output];
}

/// A vector of a model: the result of a layer, or the cell state of an LSTM layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VectorId(u8);

impl VectorId {
    /// The result of layer `layer`.
    pub const fn result(layer: usize) -> Self {
        Self(2 * layer as u8)
    }

    /// The cell state of layer `layer`.
    pub const fn cell_state(layer: usize) -> Self {
        Self(2 * layer as u8 + 1)
    }

    /// The layer, counted from 0 in execution order.
    pub const fn layer(self) -> usize {
        self.0 as usize / 2
    }

    /// Whether it is a cell state.
    pub const fn is_cell_state(self) -> bool {
        self.0 % 2 == 1
    }

    /// From its number in a model file, at most 255.
    const fn from_number(number: u32) -> Self {
        Self(number as u8)
    }
}

/// The vectors that a layer reads, joined in this order: at most [`MAX_INPUTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    ids: [VectorId; MAX_INPUTS],
    len: u8,
}

impl Inputs {
    /// `ids`; `None` if they are more than [`MAX_INPUTS`].
    pub fn new(ids: impl IntoIterator<Item = VectorId>) -> Option<Self> {
        let mut inputs = Self::default();
        for id in ids {
            inputs.push(id)?;
        }
        Some(inputs)
    }

    fn push(&mut self, id: VectorId) -> Option<()> {
        *self.ids.get_mut(usize::from(self.len))? = id;
        self.len += 1;
        Some(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The vectors in order.
    pub fn iter(&self) -> impl Iterator<Item = VectorId> {
        self.ids.into_iter().take(self.len.into())
    }

    /// The vector, if it is only one.
    pub fn single(&self) -> Option<VectorId> {
        let [first, ..] = self.ids;
        (self.len == 1).then_some(first)
    }
}

/// Where the rows of a token layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRowsConfig {
    /// Rows of gate inputs for the recurrent layer that reads them: i8 `[vocab_size][dim]`, `dim` = gates x padded hidden size.
    Gates,
    /// An embedding: i8 `[vocab_size][padded dim]`, Q7 of each column's scale, which the weights of the reader hold.
    Embedding,
    /// A tied embedding: row `token` of the int8 dense layer `layer`, converted to Q15 as
    /// `(weight * multiplier) >> (6 + shift - min_shift)`.
    Tied {
        /// The dense layer, counted from 0 in execution order.
        layer: u8,
        /// The smallest shift of its rows.
        min_shift: u8,
    },
}

/// The vector that a state begins as, converted to the state's format; `None`: zeros, or what the caller sets.
pub type StateInit = Option<VectorId>;

/// From its number in a model file: 0 for none, or that of the vector plus 1.
const fn state_init(number: u32) -> StateInit {
    match number.checked_sub(1) {
        Some(vector) => Some(VectorId::from_number(vector)),
        None => None,
    }
}

/// The configuration of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentLayerConfig {
    /// Its cell.
    pub cell: Cell,
    /// Hidden size, 1 to [`MAX_DIM`].
    pub hidden_size: u16,
    /// The hidden state is Q(shift).(15 - shift); 0 to 8.
    pub state_shift: u8,
    /// Formats of the weights over the input and over the hidden state.
    pub formats: [WeightFormat; 2],
    /// Initial hidden state and initial cell state.
    pub init: [StateInit; 2],
}

impl RecurrentLayerConfig {
    /// A layer with int8 weights, a hidden state in Q15 and zero initial states.
    pub const fn new(cell: Cell, hidden_size: u16) -> Self {
        Self {
            cell,
            hidden_size,
            state_shift: 0,
            formats: [WeightFormat::Int8; 2],
            init: [None; 2],
        }
    }

    /// The same with other weight formats over the input and over the hidden state.
    pub const fn with_formats(self, formats: [WeightFormat; 2]) -> Self {
        Self { formats, ..self }
    }
}

/// The format of constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstantKind {
    /// A vector: i16 with this many fraction bits, 0 to 15.
    Vector {
        /// Fraction bits.
        frac_bits: u8,
    },
    /// A cell state: i32 in Q8.23.
    CellState,
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpConfig {
    /// A row of a table, chosen by a token.
    Token {
        /// Number of tokens.
        vocab_size: u16,
        /// Elements of a row.
        dim: u32,
        /// Where the rows are.
        rows: TokenRowsConfig,
    },
    /// The caller's vector, Q15 of a power of two per channel.
    Frame {
        /// Elements, 1 to [`MAX_DIM`].
        size: u16,
    },
    /// Numbers of the model file.
    Constant {
        /// Elements, 1 to [`MAX_DIM`].
        size: u16,
        /// What they are.
        kind: ConstantKind,
    },
    /// `activation(W [a; b; ...] + b)` of the joined inputs.
    Dense {
        /// Elements of the result, 1 to 65,532.
        output_size: u16,
        /// The activation.
        activation: Activation,
        /// Fraction bits of the result, 0 to 15; 15 after tanh and sigmoid.
        frac_bits: u8,
        /// Format of the weights.
        format: WeightFormat,
    },
    /// A recurrent layer over the joined inputs, or over a row of gate inputs.
    Recurrent(RecurrentLayerConfig),
    /// The sum of the inputs, saturated.
    Sum {
        /// Fraction bits of the result, 0 to 15.
        frac_bits: u8,
    },
    /// The mean of the input over all steps so far.
    Mean,
}

/// One layer of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// When it runs.
    pub phase: Phase,
    /// What it reads.
    pub inputs: Inputs,
    /// What it computes.
    pub op: OpConfig,
}

/// The numbers of each kind of layer in a model file, after its phase and its inputs.
const LAYER_FIELDS: [&[Field]; 9] = {
    use Field as F;
    [
        &[F::VocabSize, F::GateRowLen],
        &[F::VocabSize, F::EmbeddingDim],
        &[F::VocabSize, F::EmbeddingDim, F::TiedLayer, F::MinShift],
        &[F::FrameSize],
        &[F::ConstantSize, F::ConstantFormat],
        &[F::OutputSize, F::Activation, F::FracBits, F::WeightFormat],
        &[
            F::Cell,
            F::HiddenSize,
            F::StateShift,
            F::WeightFormat,
            F::WeightFormat,
            F::InitialState,
            F::InitialState,
        ],
        &[F::FracBits],
        &[],
    ]
};
/// The largest number of them.
const MAX_LAYER_FIELDS: usize = 7;

impl LayerConfig {
    /// Reads a layer, each number within its range.
    #[inline(never)]
    pub(crate) fn read(reader: &mut VarintReader) -> Option<Self> {
        let kind = reader.number(Field::LayerKind)?;
        let phase = reader.number(Field::Phase)?;
        let mut inputs = Inputs::default();
        for _ in 0..reader.number(Field::NumInputs)? {
            inputs.push(VectorId::from_number(reader.number(Field::Vector)?))?;
        }
        let mut numbers = [0; MAX_LAYER_FIELDS];
        reader.numbers(LAYER_FIELDS.get(kind as usize)?, &mut numbers)?;
        let [a, b, c, d, e, f, g] = numbers;
        // The ranges of sizes are those of u16, and the others' those of u8.
        let op = match kind {
            0..=2 => OpConfig::Token {
                vocab_size: a as u16,
                dim: b,
                rows: match kind {
                    0 => TokenRowsConfig::Gates,
                    1 => TokenRowsConfig::Embedding,
                    _ => TokenRowsConfig::Tied {
                        layer: c as u8,
                        min_shift: d as u8,
                    },
                },
            },
            3 => OpConfig::Frame { size: a as u16 },
            4 => OpConfig::Constant {
                size: a as u16,
                kind: match b {
                    16 => ConstantKind::CellState,
                    frac_bits => ConstantKind::Vector {
                        frac_bits: frac_bits as u8,
                    },
                },
            },
            5 => OpConfig::Dense {
                output_size: a as u16,
                activation: choice(&Activation::ALL, b)?,
                frac_bits: c as u8,
                format: choice(&WeightFormat::ALL, d)?,
            },
            6 => OpConfig::Recurrent(RecurrentLayerConfig {
                cell: choice(&Cell::ALL, a)?,
                hidden_size: b as u16,
                state_shift: c as u8,
                formats: [
                    choice(&WeightFormat::ALL, d)?,
                    choice(&WeightFormat::ALL, e)?,
                ],
                init: [state_init(f), state_init(g)],
            }),
            7 => OpConfig::Sum { frac_bits: a as u8 },
            _ => OpConfig::Mean,
        };
        let phase = choice(&Phase::ALL, phase)?;
        Some(Self { phase, inputs, op })
    }
}

/// Value `index` of the list of all values.
fn choice<T: Copy>(all: &[T], index: u32) -> Option<T> {
    all.get(index as usize).copied()
}

/// What an output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Logits of the next token, which the step reads: an autoregressive model.
    Logits,
    /// Logits of classes, or of the tokens of another vocabulary.
    Scores,
    /// Numbers.
    Values,
}

impl Role {
    /// All roles, in the order of their numbers in a model file.
    pub const ALL: [Self; 3] = [Self::Logits, Self::Scores, Self::Values];
}

/// What the original network applied to an output. The model itself gives what comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// Nothing.
    None,
    /// Softmax.
    Softmax,
    /// The logarithm of the softmax.
    LogSoftmax,
    /// The logistic sigmoid of each element.
    Sigmoid,
}

impl Normalization {
    /// All normalizations, in the order of their numbers in a model file.
    pub const ALL: [Self; 4] = [Self::None, Self::Softmax, Self::LogSoftmax, Self::Sigmoid];
}

/// An output of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputConfig {
    /// The vector.
    pub vector: VectorId,
    /// What it means.
    pub role: Role,
    /// Whether it has a value after each step (many-to-many), or one after the last step (many-to-one).
    pub every_step: bool,
    /// What the original network applied to it.
    pub normalization: Normalization,
}

impl OutputConfig {
    fn read(reader: &mut VarintReader) -> Option<Self> {
        use Field as F;
        let mut numbers = [0; 4];
        reader.numbers(
            &[F::Vector, F::Role, F::EveryStep, F::Normalization],
            &mut numbers,
        )?;
        let [vector, role, every_step, normalization] = numbers;
        Some(Self {
            vector: VectorId::from_number(vector),
            role: choice(&Role::ALL, role)?,
            every_step: every_step == 1,
            normalization: choice(&Normalization::ALL, normalization)?,
        })
    }
}

/// Tokens without a text. A tokenizer never returns them except `unk`, and they are never printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text; never sampled.
    pub bos: Option<u16>,
    /// Ends a text.
    pub eos: Option<u16>,
    /// Pads a text; never sampled.
    pub pad: Option<u16>,
    /// Stands for an unknown text; never sampled.
    pub unk: Option<u16>,
}

impl SpecialTokens {
    /// All of them: BOS, EOS, PAD, UNK.
    pub fn all(&self) -> [Option<u16>; 4] {
        [self.bos, self.eos, self.pad, self.unk]
    }

    /// Whether `id` is one of them.
    pub fn contains(&self, id: u16) -> bool {
        self.all().contains(&Some(id))
    }
}

/// The configuration of a vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VocabularyConfig {
    /// How a text becomes tokens.
    pub tokenization: Tokenization,
    /// Number of tokens; 0: there is no vocabulary.
    pub tokens: u16,
    /// Bytes of the texts of all tokens.
    pub text_len: u32,
    /// The token that a text without a prompt begins after.
    pub initial_token: u16,
    /// Tokens without a text.
    pub special_tokens: SpecialTokens,
}

/// Elements of the three sections of a vocabulary.
pub(crate) struct VocabularyLens {
    /// u32
    pub offsets: usize,
    /// u16
    pub sorted: usize,
    /// Bytes.
    pub texts: usize,
}

impl VocabularyConfig {
    /// The lengths of its sections; `None` if it has none.
    pub(crate) fn section_lens(&self) -> Option<VocabularyLens> {
        if self.tokens == 0 || self.tokenization == Tokenization::Byte {
            return None;
        }
        let mut sorted = 0;
        for id in 0..self.tokens {
            sorted += usize::from(!self.special_tokens.contains(id));
        }
        Some(VocabularyLens {
            offsets: usize::from(self.tokens) + 1,
            sorted,
            texts: self.text_len as usize,
        })
    }

    #[inline(never)]
    fn read(reader: &mut VarintReader) -> Option<Self> {
        use Field as F;
        const FIELDS: [Field; 8] = [
            F::Tokenization,
            F::NumTokens,
            F::TextLen,
            F::InitialToken,
            F::SpecialToken,
            F::SpecialToken,
            F::SpecialToken,
            F::SpecialToken,
        ];
        let mut numbers = [0; FIELDS.len()];
        reader.numbers(&FIELDS, &mut numbers)?;
        let [tokenization, tokens, text_len, initial_token, specials @ ..] = numbers;
        // A special token is its number plus 1, or 0 for none.
        let specials = specials.map(|number| number.checked_sub(1));
        if let Some(last) = tokens.checked_sub(1) {
            reader.check(Field::InitialToken, initial_token, 0, last)?;
            for id in specials.into_iter().flatten() {
                reader.check(Field::SpecialToken, id, 0, last)?;
            }
        }
        let [bos, eos, pad, unk] = specials.map(|id| id.map(|id| id as u16));
        Some(Self {
            tokenization: choice(&Tokenization::ALL, tokenization)?,
            tokens: tokens as u16,
            text_len,
            initial_token: initial_token as u16,
            special_tokens: SpecialTokens { bos, eos, pad, unk },
        })
    }
}

/// The metadata without its layers, which follow it: [`LayerConfig`] by [`LayerConfig`], then [`TrainingInfo`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `[source, target]`: of the inputs, where they are something else than the outputs (an encoder's or a classifier's tokens,
    /// names of conditioning features), and of the outputs.
    pub vocabularies: [VocabularyConfig; 2],
    /// Maximum number of tokens of a generated text; 0: no limit.
    pub max_tokens: u16,
    /// Steps of a model whose step reads neither a token nor a frame; 0 for other models.
    pub fixed_steps: u16,
    /// How many steps the recurrent layers run per token, 1 to [`MAX_STEPS_PER_TOKEN`]: of the encoder and of the step.
    pub steps_per_token: [u8; 2],
    /// Bytes of the names of the original network's inputs and outputs.
    pub io_names_len: u32,
    /// The outputs, at least one.
    pub outputs: heapless::Vec<OutputConfig, MAX_OUTPUTS>,
    /// Number of layers.
    pub layers: u8,
}

impl Metadata {
    /// Reads it, each number within its range, and leaves `reader` before the first layer.
    #[inline(never)]
    pub(crate) fn read(reader: &mut VarintReader) -> Option<Self> {
        use Field as F;
        const FIELDS: [Field; 6] = [
            F::MaxTokens,
            F::FixedSteps,
            F::StepsPerToken,
            F::StepsPerToken,
            F::IoNamesLen,
            F::NumOutputs,
        ];
        let mut metadata = Self::default();
        for vocabulary in &mut metadata.vocabularies {
            *vocabulary = VocabularyConfig::read(reader)?;
        }
        let mut numbers = [0; FIELDS.len()];
        reader.numbers(&FIELDS, &mut numbers)?;
        let [
            max_tokens,
            fixed_steps,
            source_steps,
            steps,
            io_names_len,
            num_outputs,
        ] = numbers;
        (metadata.max_tokens, metadata.fixed_steps) = (max_tokens as u16, fixed_steps as u16);
        metadata.steps_per_token = [source_steps as u8, steps as u8];
        metadata.io_names_len = io_names_len;
        for _ in 0..num_outputs {
            let output = OutputConfig::read(reader)?;
            metadata.outputs.push(output).ok()?;
        }
        metadata.layers = reader.number(Field::NumLayers)? as u8;
        Some(metadata)
    }
}
