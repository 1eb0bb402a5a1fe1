//! The sizes of an embedding with recurrent layers above it, and the places of their weights among flat parameters.

use std::ops::Range;

use crate::nn::rnn::Kind;

/// The sizes of a stack. Its parameters are the embedding `[vocab_size][embedding_dim]`, if there is one, then the layers from
/// the first to the last, each as its cell lays it out.
#[derive(Clone, Debug, PartialEq)]
pub struct StackConfig {
    /// Number of different tokens, V.
    pub vocab_size: usize,
    /// Columns of the embedding, E. `None`: the first layer's input weights have a column for each token.
    pub embedding_dim: Option<usize>,
    /// Units of each layer, H.
    pub hidden_size: usize,
    /// The cell of each layer, at least one.
    pub cells: Vec<Kind>,
}

impl StackConfig {
    /// Number of inputs of a layer: V, E or H.
    pub fn input_size(&self, layer: usize) -> usize {
        match layer {
            0 => self.embedding_dim.unwrap_or(self.vocab_size),
            _ => self.hidden_size,
        }
    }

    fn embedding_len(&self) -> usize {
        self.vocab_size * self.embedding_dim.unwrap_or(0)
    }

    /// Lengths of the parameter groups, in order, and whether weight decay applies (to matrices, not to biases).
    pub fn groups(&self) -> impl Iterator<Item = (usize, bool)> {
        let layers = self.cells.iter().enumerate().flat_map(|(layer, cell)| {
            let (matrices, biases) = cell.parameters(self.input_size(layer), self.hidden_size);
            [(matrices, true), (biases, false)]
        });
        [(self.embedding_len(), true)].into_iter().chain(layers)
    }

    /// Number of parameters.
    pub fn num_parameters(&self) -> usize {
        self.groups().map(|(length, _)| length).sum()
    }

    /// The range of the embedding, and of each layer: its matrices `[rows][inputs]` and `[rows][H]`, then its biases.
    pub fn layout(&self) -> (Range<usize>, Vec<Range<usize>>) {
        let embedding = 0..self.embedding_len();
        let mut end = embedding.end;
        let layers = self.cells.iter().enumerate().map(|(layer, cell)| {
            let (matrices, biases) = cell.parameters(self.input_size(layer), self.hidden_size);
            end += matrices + biases;
            end - matrices - biases..end
        });
        let layers = layers.collect();
        (embedding, layers)
    }

    /// Values of a layer's state in one row of the batch: H, of an LSTM 2 H.
    pub fn state_len(&self, layer: usize) -> usize {
        let states = if self.cells[layer] == Kind::Lstm {
            2
        } else {
            1
        };
        states * self.hidden_size
    }

    /// Makes initial weights of random ones, as each cell wants them.
    pub fn initialize(&self, parameters: &mut [f32]) {
        for (layer, range) in self.layout().1.into_iter().enumerate() {
            let inputs = self.input_size(layer);
            self.cells[layer].initialize(&mut parameters[range], inputs, self.hidden_size);
        }
    }
}
