//! The layers of a network, and the vectors that they read and compute.

use super::{Dense, Matrix, Normalization, RecurrentCell};
pub use pipsqueak::format::Phase;

/// A vector of a network: the result of a layer, or the cell state of an LSTM layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VectorId {
    /// The layer, counted from 0 in execution order.
    pub layer: usize,
    /// The cell state rather than the result. The result of a recurrent layer is its hidden state.
    pub is_cell_state: bool,
}

impl VectorId {
    /// The result of layer `layer`.
    pub fn result(layer: usize) -> Self {
        Self {
            layer,
            is_cell_state: false,
        }
    }

    /// The cell state of layer `layer`.
    pub fn cell_state(layer: usize) -> Self {
        Self {
            layer,
            is_cell_state: true,
        }
    }
}

/// A layer of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name in reports, errors and group scales.
    pub name: String,
    /// When it runs.
    pub phase: Phase,
    /// The vectors that it reads, joined in this order (of a sum: its terms).
    pub inputs: Vec<VectorId>,
    /// What it computes.
    pub op: Op,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The row of a token in an embedding `[vocab_size][E]`; without an embedding the one-hot vector of the token.
    Token {
        /// V
        vocab_size: usize,
        /// `[V][E]`
        embedding: Option<Matrix>,
    },
    /// A vector that the caller gives.
    Frame {
        /// Number of elements.
        size: usize,
    },
    /// Constants.
    Constant(Vec<f32>),
    /// `activation(W x + b)`
    Dense(Dense),
    /// One step of a recurrent layer: the new hidden state, and the new cell state of an LSTM.
    Recurrent {
        /// Kind and weights.
        cell: RecurrentCell,
        /// The initial hidden state, and the initial cell state: [`InitialState::Zero`] in a layer that has none.
        init: [InitialState; 2],
    },
    /// The sum of the inputs.
    Sum,
    /// The mean of the input over all steps so far.
    Mean,
}

/// A state before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum InitialState {
    /// Zeros.
    #[default]
    Zero,
    /// Given by the caller; zeros where nothing is given.
    External,
    /// A vector of an earlier phase.
    Vector(VectorId),
}

/// An output of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The vector, before the normalization.
    pub vector: VectorId,
    /// Whether it is computed after every step, or after the last one only.
    pub every_step: bool,
    /// What is applied to the vector.
    pub normalization: Normalization,
}

impl Layer {
    /// The recurrent cell, if it is a recurrent layer.
    pub fn cell(&self) -> Option<&RecurrentCell> {
        match &self.op {
            Op::Recurrent { cell, .. } => Some(cell),
            _ => None,
        }
    }

    /// The weights and biases, if it is a dense layer.
    pub fn dense(&self) -> Option<&Dense> {
        match &self.op {
            Op::Dense(dense) => Some(dense),
            _ => None,
        }
    }

    /// Whether it reads what the caller gives: a token or a frame.
    pub fn reads_caller(&self) -> bool {
        matches!(self.op, Op::Token { .. } | Op::Frame { .. })
    }

    /// Every tensor of parameters, row-major.
    pub fn tensors(&self) -> Vec<&[f32]> {
        match &self.op {
            Op::Token { embedding, .. } => embedding.iter().map(|e| &e.data[..]).collect(),
            Op::Constant(values) => vec![values],
            Op::Dense(dense) => vec![&dense.w.data, &dense.b],
            Op::Recurrent { cell, .. } => {
                let (w, r, wb, rb) = cell.weights();
                vec![&w.data, &r.data, wb, rb]
            }
            Op::Frame { .. } | Op::Sum | Op::Mean => vec![],
        }
    }
}
