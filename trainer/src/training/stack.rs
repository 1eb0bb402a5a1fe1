//! The sizes of an embedding with recurrent layers above it, and where their weights are.

use std::ops::Range;

use crate::network::{self, Matrix};
use crate::nn::rnn::Kind;

/// The sizes that say what each weight of a stack is: the embedding `[V][E]` where there is one, then the layers from the first
/// to the last, each as its cell lays it out.
#[derive(Clone, Debug, PartialEq)]
pub struct StackShape {
    /// Tokens, V.
    pub tokens: usize,
    /// Columns of the embedding, E. None: the first layer has a column of weights for each token.
    pub embedding: Option<usize>,
    /// Units of each layer, H.
    pub hidden: usize,
    /// The cell of each layer, at least one.
    pub cells: Vec<Kind>,
}

impl StackShape {
    /// What a layer reads: V, E or H.
    pub fn inputs(&self, layer: usize) -> usize {
        match layer {
            0 => self.embedding.unwrap_or(self.tokens),
            _ => self.hidden,
        }
    }

    /// Weights of the embedding.
    fn embedded(&self) -> usize {
        self.tokens * self.embedding.unwrap_or(0)
    }

    /// Lengths of the parameters' parts, in order, and whether they decay (matrices do, biases do not).
    pub fn parts(&self) -> impl Iterator<Item = (usize, bool)> {
        let layers = self.cells.iter().enumerate().flat_map(|(layer, cell)| {
            let (matrices, biases) = cell.parameters(self.inputs(layer), self.hidden);
            [(matrices, true), (biases, false)]
        });
        [(self.embedded(), true)].into_iter().chain(layers)
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.parts().map(|(length, _)| length).sum()
    }

    /// Where the embedding is, and each layer: its matrices `[rows][inputs]` and `[rows][H]`, then its biases.
    pub fn places(&self) -> (Range<usize>, Vec<Range<usize>>) {
        let embedding = 0..self.embedded();
        let mut end = embedding.end;
        let layers = self.cells.iter().enumerate().map(|(layer, cell)| {
            let (matrices, biases) = cell.parameters(self.inputs(layer), self.hidden);
            end += matrices + biases;
            end - matrices - biases..end
        });
        let layers = layers.collect();
        (embedding, layers)
    }

    /// Values of a layer's state for one row: of an LSTM two for each unit.
    pub fn state_len(&self, layer: usize) -> usize {
        let states = if self.cells[layer] == Kind::Lstm {
            2
        } else {
            1
        };
        states * self.hidden
    }

    /// What each cell makes of random weights.
    pub fn initialize(&self, parameters: &mut [f32]) {
        for (layer, place) in self.places().1.into_iter().enumerate() {
            self.cells[layer].initialize(&mut parameters[place], self.inputs(layer), self.hidden);
        }
    }

    /// The parameters as parts of the canonical network: the embedding, and the layers.
    pub fn network(&self, parameters: &[f32]) -> (Option<Matrix>, Vec<network::RecurrentCell>) {
        let (table, layers) = self.places();
        let table = self
            .embedding
            .map(|columns| Matrix::new(self.tokens, columns, parameters[table].to_vec()));
        let layer = |(i, place): (usize, Range<usize>)| {
            self.cells[i].layer(&parameters[place], self.inputs(i), self.hidden)
        };
        (table, layers.into_iter().enumerate().map(layer).collect())
    }
}
