//! The quantized parameters of a model, not yet packed.

use super::QuantizedMatrix;
use crate::format::{OutputConfig, Phase, SpecialTokens, StateInit, TrainingInfo, VectorId};
use crate::tokenization::Tokenization;
use alloc::string::String;
use alloc::vec::Vec;
use pipsqueak_kernels::cell::Cell;
use pipsqueak_kernels::dense::Activation;
use pipsqueak_kernels::packed::WeightFormat;

/// All that a model file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelParams<'a> {
    /// `[source, target]`: of the inputs, where they are something else than the outputs, and of the outputs.
    pub vocabularies: [VocabularyParams; 2],
    /// Maximum number of tokens of a generated text; 0: no limit.
    pub max_tokens: u16,
    /// Steps of a model whose step reads neither a token nor a frame; 0 for other models.
    pub fixed_steps: u16,
    /// How many steps the recurrent layers run per token: of the encoder and of the step.
    pub steps_per_token: [u8; 2],
    /// The layers in execution order.
    pub layers: Vec<LayerParams>,
    /// The outputs, at least one.
    pub outputs: Vec<OutputConfig>,
    /// Names of the original network's inputs and outputs, for the host.
    pub io_names: Vec<u8>,
    /// How the network was trained.
    pub training: TrainingInfo<'a>,
}

/// The values of a vocabulary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VocabularyParams {
    /// How a text becomes tokens.
    pub tokenization: Tokenization,
    /// The texts of the tokens, and names of special ones. Empty if there is no vocabulary; with [`Tokenization::Byte`] only their
    /// number counts.
    pub tokens: Vec<String>,
    /// The token that a text without a prompt begins after.
    pub initial_token: u16,
    /// Tokens without a text.
    pub special_tokens: SpecialTokens,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerParams {
    /// When it runs.
    pub phase: Phase,
    /// The vectors that it reads, joined.
    pub inputs: Vec<VectorId>,
    /// What it computes.
    pub op: OpParams,
}

/// What a layer computes, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum OpParams {
    /// A row of a table, chosen by a token.
    Token {
        /// Number of tokens.
        vocab_size: usize,
        /// The table.
        rows: TokenRows,
    },
    /// The caller's vector; an element is Q15 of 2^exponent.
    Frame {
        /// `[size]`
        exponents: Vec<i8>,
    },
    /// A vector of constants.
    Constant {
        /// `[size]`
        values: Vec<i16>,
        /// Fraction bits.
        frac_bits: u8,
    },
    /// A cell state of constants, Q8.23.
    ConstantCell {
        /// `[size]`
        values: Vec<i32>,
    },
    /// A dense layer.
    Dense(DenseParams),
    /// A recurrent layer.
    Recurrent(RecurrentParams),
    /// The sum of the inputs, saturated.
    Sum {
        /// Fraction bits of the result.
        frac_bits: u8,
    },
    /// The mean of the input over all steps.
    Mean,
}

/// The table of a token layer.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenRows {
    /// `[vocab_size][gates][hidden_size]` of the recurrent layer that reads it: what a token adds to each gate, times the layer's
    /// token scales.
    Gates(Vec<i8>),
    /// `[vocab_size][dim]`, Q7 of each column's scale.
    Embedding {
        /// Elements of a row.
        dim: usize,
        /// The values.
        values: Vec<i8>,
    },
    /// A token's row of the int8 dense layer `layer`, see [`crate::format::TokenRowsConfig::Tied`].
    Tied {
        /// Elements of a row.
        dim: usize,
        /// The dense layer, counted from 0 in execution order.
        layer: usize,
        /// The smallest shift of its rows.
        min_shift: u8,
    },
}

/// A dense layer's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseParams {
    /// Rows `[output_size][joined inputs]`; before tanh and sigmoid their outputs are Q4.11.
    pub matrix: QuantizedMatrix,
    /// The activation.
    pub activation: Activation,
    /// Fraction bits of the result: 15 after tanh and sigmoid.
    pub frac_bits: u8,
}

/// A recurrent layer's parameters. Gates are in the order `z, r, h` of a GRU and `i, o, f, c` of an LSTM.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentParams {
    /// The cell.
    pub cell: Cell,
    /// Hidden size, H.
    pub hidden_size: usize,
    /// The hidden state is Q(shift).(15 - shift).
    pub state_shift: u8,
    /// Formats of the weights over the input and over the hidden state.
    pub formats: [WeightFormat; 2],
    /// Rows `[H][joined inputs, H]` of each gate. The candidate of a GRU with the reset gate after has rows over the hidden state
    /// only; over vectors its rows over the input, `[H][joined inputs]`, are one gate more.
    pub gates: Vec<QuantizedMatrix>,
    /// Over gate inputs, `[gates][H]`: what a token's values are multiplied with.
    pub token_scales: Vec<i32>,
    /// The candidate's input-side bias, `[H]` in Q5.26: over gate inputs, of a GRU with the reset gate after.
    pub candidate_input_bias: Vec<i32>,
    /// The vectors that the hidden state and the cell state begin as.
    pub init: [StateInit; 2],
}
