//! Recurrent layers for training: float forward and back-propagation through time, on one thread's rows of the batch.
//!
//! A layer's weights, and their gradient, are one flat slice, so that the optimizer and checkpoints need to know nothing
//! of cells. A further kind of cell is a file beside `gru.rs`, a variant of [`Kind`] and of [`network::Layer`].

pub mod gru;

use crate::network;
use crate::series::Series;

/// Which recurrent cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Gated recurrent unit, the reset gate after the recurrent product.
    #[default]
    Gru,
}

/// What a layer reads at each step, for all steps of a sequence.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// One-hot tokens, `[steps][batch]`: the input weights are a table with a column for each token.
    Tokens(&'a [u16]),
    /// The layer below, `[inputs][steps][batch]`.
    Series(&'a Series),
}

/// One recurrent layer over its part of the batch: its state and what the backward pass must remember.
pub trait Cell: Send {
    /// Runs all steps from the current state, and leaves the last state there.
    ///
    /// # Panics
    /// If `weights` or `input` have other shapes than the cell was made for.
    fn forward(&mut self, weights: &[f32], input: Input);

    /// What the last forward pass gave, `[units][steps][batch]`.
    fn output(&self) -> &Series;

    /// Back-propagation through the last forward pass; the state before its first step counts as constant.
    ///
    /// `above` is the loss's gradient by the output, `[units][steps][batch]`. That by the weights is added to `gradient`;
    /// that by the input replaces `below`, `[inputs][steps][batch]`, where given.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn backward(
        &mut self,
        weights: &[f32],
        input: Input,
        above: &Series,
        gradient: &mut [f32],
        below: Option<&mut Series>,
    );

    /// The state that the next forward pass starts from.
    fn state(&self) -> &[f32];

    /// The state that the next forward pass starts from.
    fn state_mut(&mut self) -> &mut [f32];
}

impl Kind {
    /// A cell with a state of zeros.
    pub fn cell(self, inputs: usize, units: usize, steps: usize, batch: usize) -> Box<dyn Cell> {
        match self {
            Kind::Gru => Box::new(gru::Gru::new(inputs, units, steps, batch)),
        }
    }

    /// How many weights a layer has: first the matrices, which decay, then the biases, which do not.
    pub fn parameters(self, inputs: usize, units: usize) -> (usize, usize) {
        match self {
            Kind::Gru => gru::parameters(inputs, units),
        }
    }

    /// The weights as a layer of the canonical network.
    ///
    /// # Panics
    /// If there are not as many weights as [`parameters`](Self::parameters) says.
    pub fn layer(self, weights: &[f32], inputs: usize, units: usize) -> network::Layer {
        match self {
            Kind::Gru => network::Layer::Gru(gru::layer(weights, inputs, units)),
        }
    }
}
