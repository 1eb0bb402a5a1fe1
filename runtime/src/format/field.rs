//! The numbers of the metadata: what they mean and their ranges.

use super::metadata::{
    MAX_DIM, MAX_INPUTS, MAX_LAYERS, MAX_OUTPUTS, MAX_STEPS_PER_TOKEN, MAX_VECTOR,
};
use pipsqueak_kernels::fixed::MAX_SHIFT;

/// A number of a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// How a text is split into tokens.
    Tokenization,
    /// Number of tokens of a vocabulary, 0 if there is none.
    NumTokens,
    /// Bytes of the texts of a vocabulary.
    TextLen,
    /// The token that a text without a prompt begins after.
    InitialToken,
    /// BOS, EOS, PAD or UNK.
    SpecialToken,
    /// Maximum number of tokens of a generated text.
    MaxTokens,
    /// Number of steps of a model whose step reads nothing.
    FixedSteps,
    /// Steps per token.
    StepsPerToken,
    /// Bytes of the names of inputs and outputs.
    IoNamesLen,
    /// Number of outputs.
    NumOutputs,
    /// A vector.
    Vector,
    /// What an output means.
    Role,
    /// Whether an output has a value after each step.
    EveryStep,
    /// What the original network applied to an output.
    Normalization,
    /// Number of layers.
    NumLayers,
    /// What a layer computes.
    LayerKind,
    /// When a layer runs.
    Phase,
    /// Number of vectors that a layer reads.
    NumInputs,
    /// Number of tokens that a layer reads.
    VocabSize,
    /// Elements of a row of gate inputs.
    GateRowLen,
    /// Elements of an embedding.
    EmbeddingDim,
    /// The dense layer of a tied embedding.
    TiedLayer,
    /// The smallest shift of a tied embedding's rows.
    MinShift,
    /// Elements of a frame.
    FrameSize,
    /// Elements of a constant.
    ConstantSize,
    /// Fraction bits of a constant, or 16 for a cell state.
    ConstantFormat,
    /// Elements of the result of a dense layer.
    OutputSize,
    /// The activation of a dense layer.
    Activation,
    /// Fraction bits of a result.
    FracBits,
    /// The format of weights.
    WeightFormat,
    /// The cell of a recurrent layer.
    Cell,
    /// Hidden size of a recurrent layer.
    HiddenSize,
    /// Shift of the hidden state.
    StateShift,
    /// The vector that a state begins as.
    InitialState,
    /// Bytes of the workspace.
    Workspace,
}

impl Field {
    /// Minimum and maximum.
    pub(crate) const fn range(self) -> (u32, u32) {
        let max = match self {
            Self::EveryStep => 1,
            Self::Role | Self::WeightFormat => 2,
            Self::Normalization | Self::Phase | Self::Activation | Self::Cell => 3,
            Self::Tokenization => 4,
            Self::FracBits => 15,
            Self::ConstantFormat => 16,
            Self::StepsPerToken => MAX_STEPS_PER_TOKEN as u32,
            Self::NumOutputs => MAX_OUTPUTS as u32,
            Self::NumInputs => MAX_INPUTS as u32,
            Self::NumLayers => MAX_LAYERS as u32,
            Self::LayerKind | Self::StateShift => 8,
            Self::MinShift => MAX_SHIFT,
            Self::Vector | Self::TiedLayer => u8::MAX as u32,
            Self::InitialState => 1 + u8::MAX as u32,
            Self::FrameSize | Self::ConstantSize | Self::EmbeddingDim | Self::HiddenSize => {
                MAX_DIM as u32
            }
            Self::OutputSize => MAX_VECTOR as u32,
            Self::NumTokens | Self::InitialToken | Self::VocabSize => u16::MAX as u32,
            Self::MaxTokens | Self::FixedSteps => u16::MAX as u32,
            Self::SpecialToken => 1 + u16::MAX as u32,
            Self::TextLen | Self::IoNamesLen | Self::GateRowLen | Self::Workspace => u32::MAX,
        };
        (if self.is_positive() { 1 } else { 0 }, max)
    }

    /// Whether the minimum is 1 instead of 0.
    const fn is_positive(self) -> bool {
        matches!(
            self,
            Self::StepsPerToken
                | Self::NumOutputs
                | Self::NumLayers
                | Self::VocabSize
                | Self::GateRowLen
                | Self::EmbeddingDim
                | Self::FrameSize
                | Self::ConstantSize
                | Self::OutputSize
                | Self::HiddenSize
        )
    }

    /// The name, as messages print it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tokenization => "tokenization (0 or more)",
            Self::NumTokens => "number of tokens (0 or more)",
            Self::TextLen => "length of texts (0 or more)",
            Self::InitialToken => "initial token (0 or more)",
            Self::SpecialToken => "special token (0 or more)",
            Self::MaxTokens => "maximum number of tokens (0 or more)",
            Self::FixedSteps => "fixed number of steps (0 or more)",
            Self::StepsPerToken => "steps per token",
            Self::IoNamesLen => "length of names (0 or more)",
            Self::NumOutputs => "number of outputs",
            Self::Vector => "vector (0 or more)",
            Self::Role => "role of an output (0 or more)",
            Self::EveryStep => "whether an output is of every step (0 or more)",
            Self::Normalization => "normalization (0 or more)",
            Self::NumLayers => "number of layers",
            Self::LayerKind => "kind of a layer (0 or more)",
            Self::Phase => "phase (0 or more)",
            Self::NumInputs => "number of inputs (0 or more)",
            Self::VocabSize => "vocabulary size",
            Self::GateRowLen => "length of gate inputs",
            Self::EmbeddingDim => "embedding dimension",
            Self::TiedLayer => "layer of a tied embedding (0 or more)",
            Self::MinShift => "shift (0 or more)",
            Self::FrameSize => "frame size",
            Self::ConstantSize => "size of a constant",
            Self::ConstantFormat => "format of a constant (0 or more)",
            Self::OutputSize => "size of a dense layer",
            Self::Activation => "activation (0 or more)",
            Self::FracBits => "fraction bits (0 or more)",
            Self::WeightFormat => "weight format (0 or more)",
            Self::Cell => "cell (0 or more)",
            Self::HiddenSize => "hidden size",
            Self::StateShift => "shift of a state (0 or more)",
            Self::InitialState => "initial state (0 or more)",
            Self::Workspace => "bytes of workspace",
        }
    }
}
