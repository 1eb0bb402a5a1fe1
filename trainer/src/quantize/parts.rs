//! A quantized network part by part, before it becomes a list of layers.

use super::QuantizeError;
use crate::network::{Normalization, Reads, StateId};
use crate::quantize::formats::WeightFormats;
use pipsqueak::Cell;
use pipsqueak::encode::{DenseParams, QuantizedMatrix};

/// A network: an input, recurrent layers, and dense layers over them.
#[derive(Clone, Debug)]
pub(super) struct NetworkParts {
    pub input: InputParts,
    /// Number of tokens, or elements of an input vector.
    pub count: usize,
    /// Exponents of the conditioning features; empty if there are none.
    pub features: Vec<i8>,
    /// Dense layers that an input vector goes through.
    pub dense: Vec<DenseParams>,
    /// The recurrent layers, from the input on.
    pub layers: Vec<RecurrentParts>,
    /// Dense layers of the head; none if the last hidden state itself is the output.
    pub head: Vec<DenseParams>,
    /// How often the recurrent layers run per token; 1 without tokens.
    pub steps_per_token: u8,
    pub reads: Reads,
    pub normalization: Normalization,
}

/// The input of a network.
#[derive(Clone, Debug)]
pub(super) enum InputParts {
    /// `[V][gates][H]`: what a token adds to each gate, in units of the layer's token scales.
    Table(Vec<i8>),
    /// `[V][E]`, Q7 of each column's scale.
    Embedding { columns: usize, values: Vec<i8> },
    /// A token's row of the last dense layer of the head, whose smallest shift this is.
    Tied { min_shift: u8 },
    /// A vector: element i is Q15 of 2^exponent i.
    Vectors(Vec<i8>),
    /// The conditioning features after the dense layers, at each of so many steps.
    Features { steps: u16 },
}

/// A recurrent layer; see [`pipsqueak::encode::RecurrentParams`].
#[derive(Clone, Debug)]
pub(super) struct RecurrentParts {
    pub cell: Cell,
    pub hidden: usize,
    pub state_shift: u8,
    pub formats: WeightFormats,
    pub gates: Vec<QuantizedMatrix>,
    pub token_scales: Vec<i32>,
    pub candidate_input_bias: Vec<i32>,
    /// Initial hidden state and initial cell state.
    pub starts: [StartParts; 2],
}

/// An initial state.
#[derive(Clone, Debug)]
pub(super) enum StartParts {
    /// Zeros, or what the caller sets.
    Zero,
    /// `[H]`: a hidden state with 15 - shift fraction bits, a cell state in Q8.23.
    Constant(Vec<i32>),
    /// What dense layers, at least one, make of the conditioning features.
    Features(Vec<DenseParams>),
    /// A last state of the encoder, through dense layers if there are any.
    Encoder {
        from: StateId,
        dense: Vec<DenseParams>,
    },
}

/// An error for a shape that a model file cannot hold.
pub(super) fn shape<T>(found: &'static str, expected: &'static str) -> Result<T, QuantizeError> {
    Err(QuantizeError::Shape { found, expected })
}
