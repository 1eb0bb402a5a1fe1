//! The whole network over one thread's rows of the batch: loss and gradient of a sequence.

use std::ops::Range;

use chacha20::ChaCha8Rng;

use crate::cell::{Cell, Input, Kind, embedding};
use crate::math::{product, scale};
use crate::network::{Dense, Matrix, Network, Provenance};
use crate::series::Series;
use crate::train::{head, random};
use crate::vocab::Vocabulary;

/// The sizes that say what each weight of the flat parameters is: the embedding `[V][E]` where there is one, the layers from
/// the first to the last, each as its cell lays it out, the head's weights `[V][H]` where they are not tied, its biases `[V]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Tokens, V.
    pub tokens: usize,
    /// Columns of the embedding, E. None: the first layer has a column of weights for each token.
    pub embedding: Option<usize>,
    /// Whether the embedding is the head's weights too. Needs an embedding with E = H.
    pub tied: bool,
    /// Units of each layer, H.
    pub hidden: usize,
    /// The cell of each layer, at least one.
    pub layers: Vec<Kind>,
}

/// Where the parts are in the flat parameters.
struct Places {
    embedding: Range<usize>,
    layers: Vec<Range<usize>>,
    head: Range<usize>,
    biases: Range<usize>,
}

impl Shape {
    fn inputs(&self, layer: usize) -> usize {
        match layer {
            0 => self.embedding.unwrap_or(self.tokens),
            _ => self.hidden,
        }
    }

    /// Weights of the embedding.
    fn embedded(&self) -> usize {
        self.tokens * self.embedding.unwrap_or(0)
    }

    /// Weights that are the head's alone.
    fn untied(&self) -> usize {
        if self.tied {
            0
        } else {
            self.tokens * self.hidden
        }
    }

    /// Lengths of the parameters' parts, in order, and whether they decay (matrices do, biases do not).
    pub fn parts(&self) -> impl Iterator<Item = (usize, bool)> {
        let layers = self.layers.iter().enumerate().flat_map(|(layer, cell)| {
            let (matrices, biases) = cell.parameters(self.inputs(layer), self.hidden);
            [(matrices, true), (biases, false)]
        });
        [(self.embedded(), true)]
            .into_iter()
            .chain(layers)
            .chain([(self.untied(), true), (self.tokens, false)])
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.parts().map(|(length, _)| length).sum()
    }

    /// Where each part is.
    fn places(&self) -> Places {
        let mut end = 0;
        let mut next = |length| {
            end += length;
            end - length..end
        };
        let embedding = next(self.embedded());
        let layers = self.layers.iter().enumerate().map(|(layer, cell)| {
            let (matrices, biases) = cell.parameters(self.inputs(layer), self.hidden);
            next(matrices + biases)
        });
        let layers = layers.collect();
        let own = next(self.untied());
        Places {
            head: if self.tied { embedding.clone() } else { own },
            embedding,
            layers,
            biases: next(self.tokens),
        }
    }

    /// Random parameters, uniform within `1 / sqrt(H)`, and what each cell makes of them.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let bound = 1.0 / (self.hidden as f32).sqrt();
        let mut random = random::stream(seed, random::Purpose::Weights, 0, 0);
        let mut parameters: Vec<f32> = (0..self.parameters())
            .map(|_| bound * (2.0 * random::unit(&mut random) - 1.0))
            .collect();
        for (i, range) in self.places().layers.into_iter().enumerate() {
            self.layers[i].initialize(&mut parameters[range], self.inputs(i), self.hidden);
        }
        parameters
    }

    /// The parameters as the canonical network.
    ///
    /// # Panics
    /// If there are not as many parameters as [`parameters`](Self::parameters) says, or tokens in the vocabulary.
    pub fn network(
        &self,
        parameters: &[f32],
        vocabulary: &Vocabulary,
        provenance: Provenance,
    ) -> Network {
        assert_eq!(
            (parameters.len(), vocabulary.len()),
            (self.parameters(), self.tokens)
        );
        let places = self.places();
        let table = |range: Range<usize>, columns| {
            Matrix::new(self.tokens, columns, parameters[range].to_vec())
        };
        let layers = places.layers.into_iter().enumerate();
        let layers = layers
            .map(|(i, range)| self.layers[i].layer(&parameters[range], self.inputs(i), self.hidden))
            .collect();
        let head = Dense::linear(
            table(places.head, self.hidden),
            parameters[places.biases].to_vec(),
        );
        let embedding = self
            .embedding
            .map(|columns| table(places.embedding, columns));
        Network::language_model(vocabulary.clone(), embedding, layers, head, provenance)
    }
}

/// A layer and what comes out of it.
struct Layer {
    weights: Range<usize>,
    cell: Box<dyn Cell>,
    /// 0 or `1 / (1 - dropout)`, and the output times that; without dropout there is neither.
    dropped: Option<Dropped>,
}

struct Dropped {
    mask: Series,   // [H][T][B]
    output: Series, // [H][T][B]
}

impl Layer {
    fn output(&self) -> &Series {
        self.dropped
            .as_ref()
            .map_or(self.cell.output(), |dropped| &dropped.output)
    }
}

/// The network over B rows of the batch and T steps: states, activations, and the gradient.
pub struct Model {
    shape: Shape,
    batch: usize,
    dropout: f32,
    places: Places,
    embedded: Option<Series>,   // [E][T][B]
    d_embedded: Option<Series>, // [E][T][B]
    layers: Vec<Layer>,
    logits: Series,     // [V][T][B]; then the loss's gradient by them
    d_output: Series,   // [H][T][B]
    d_below: Series,    // [H][T][B]
    gradient: Vec<f32>, // as the parameters
}

impl Model {
    /// A model with states of zeros for sequences of `steps` steps, `batch` rows. Both at least 1; `0 <= dropout < 1`.
    pub fn new(shape: Shape, steps: usize, batch: usize, dropout: f32) -> Self {
        let series = |features| Series::new(features, steps, batch);
        let places = shape.places();
        let layers = places.layers.iter().enumerate().map(|(i, weights)| Layer {
            weights: weights.clone(),
            cell: shape.layers[i].cell(shape.inputs(i), shape.hidden, steps, batch),
            dropped: (dropout > 0.0).then(|| Dropped {
                mask: series(shape.hidden),
                output: series(shape.hidden),
            }),
        });
        Self {
            layers: layers.collect(),
            places,
            embedded: shape.embedding.map(series),
            d_embedded: shape.embedding.map(series),
            logits: series(shape.tokens),
            d_output: series(shape.hidden),
            d_below: series(if shape.layers.len() > 1 {
                shape.hidden
            } else {
                0
            }),
            gradient: vec![0.0; shape.parameters()],
            shape,
            batch,
            dropout,
        }
    }

    /// The rows of the batch, B.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Gradient of the last [`train`](Self::train)'s loss, as the parameters.
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }

    /// The states of the layers, one after the other, each `[H][B]`, of an LSTM `[2H][B]`: `h`, then `c`.
    pub fn state(&self) -> Vec<f32> {
        self.layers
            .iter()
            .flat_map(|layer| layer.cell.state())
            .copied()
            .collect()
    }

    /// Sets the states of the layers to what [`state`](Self::state) gave.
    ///
    /// # Panics
    /// If the length is another.
    pub fn set_state(&mut self, state: &[f32]) {
        let mut rest = state;
        for layer in &mut self.layers {
            let (this, others) = rest.split_at(layer.cell.state().len());
            layer.cell.state_mut().copy_from_slice(this);
            rest = others;
        }
        assert!(rest.is_empty(), "{} values of state too many", rest.len());
    }

    /// Sets all states to zero.
    pub fn reset(&mut self) {
        for layer in &mut self.layers {
            layer.cell.state_mut().fill(0.0);
        }
    }

    /// Forward and backward over one sequence, from the states that the one before left. Gives the sum of the losses of all
    /// predictions, in nats; its gradient is then in [`gradient`](Self::gradient).
    ///
    /// `inputs` and `targets` are `[steps][batch]`, `random` gives the dropout masks.
    ///
    /// # Panics
    /// If a length does not fit, or a token is not below V.
    pub fn train(
        &mut self,
        parameters: &[f32],
        inputs: &[u16],
        targets: &[u16],
        random: &mut ChaCha8Rng,
    ) -> f64 {
        self.forward(parameters, inputs, random);
        let loss = head::loss(&mut self.logits, targets);
        self.backward(parameters, inputs);
        loss
    }

    /// Fills `logits`, biases not yet added.
    fn forward(&mut self, parameters: &[f32], tokens: &[u16], random: &mut ChaCha8Rng) {
        if let Some(embedded) = &mut self.embedded {
            let table = &parameters[self.places.embedding.clone()];
            embedding::forward(table, tokens, embedded);
        }
        for i in 0..self.layers.len() {
            let (below, layer) = self.layers.split_at_mut(i);
            let input = input(below, self.embedded.as_ref(), tokens);
            let layer = &mut layer[0];
            layer
                .cell
                .forward(&parameters[layer.weights.clone()], input);
            if let Some(Dropped { mask, output }) = &mut layer.dropped {
                for j in 0..self.shape.hidden {
                    random::mask(random, self.dropout, mask.row_mut(j));
                    product(output.row_mut(j), layer.cell.output().row(j), mask.row(j));
                }
            }
        }
        let top = self.layers.last().expect("at least one layer").output();
        let w = &parameters[self.places.head.clone()];
        head::forward(
            w,
            &parameters[self.places.biases.clone()],
            top,
            &mut self.logits,
        );
    }

    fn backward(&mut self, parameters: &[f32], tokens: &[u16]) {
        self.gradient.fill(0.0);
        let hidden = self.shape.hidden;
        let top = self.layers.last().expect("at least one layer").output();
        let (w, b) = (self.places.head.clone(), self.places.biases.clone());
        head::weights_backward(&self.logits, top, &mut self.gradient[w.clone()]);
        head::biases_backward(&self.logits, &mut self.gradient[b]);
        head::input_backward(&parameters[w], &self.logits, &mut self.d_output);
        for i in (0..self.layers.len()).rev() {
            let (below, layer) = self.layers.split_at_mut(i);
            let layer = &mut layer[0];
            if let Some(Dropped { mask, .. }) = &layer.dropped {
                for j in 0..hidden {
                    scale(self.d_output.row_mut(j), mask.row(j));
                }
            }
            let weights = &parameters[layer.weights.clone()];
            let gradient = &mut self.gradient[layer.weights.clone()];
            let from = input(below, self.embedded.as_ref(), tokens);
            let from_below = match i {
                0 => self.d_embedded.as_mut(),
                _ => Some(&mut self.d_below),
            };
            layer
                .cell
                .backward(weights, from, &self.d_output, None, gradient, from_below);
            if i > 0 {
                std::mem::swap(&mut self.d_output, &mut self.d_below);
            }
        }
        if let Some(d) = &self.d_embedded {
            let table = &mut self.gradient[self.places.embedding.clone()];
            embedding::backward(d, tokens, table);
        }
    }
}

/// What the layer above `below` reads.
fn input<'a>(below: &'a [Layer], embedded: Option<&'a Series>, tokens: &'a [u16]) -> Input<'a> {
    let series = below.last().map(Layer::output).or(embedded);
    series.map_or(Input::Tokens(tokens), Input::Series)
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
