//! The whole network over one thread's rows of the batch: loss and gradient of a sequence.

use std::ops::Range;

use chacha20::ChaCha8Rng;

use crate::data::vocab::Vocabulary;
use crate::network::{Dense, Matrix, Network, Phase, Provenance};
use crate::nn::embedding;
use crate::nn::random;
use crate::nn::rnn::{Cell, Input, Kind};
use crate::nn::simd::{product, scale};
use crate::nn::softmax::{self, Head, NO_TARGET, Soft};
use crate::nn::tensor::{LANES, Series, grouped};
use crate::training::rounder::Rounder;
use crate::training::settings::TrainSettings;
use crate::training::stack::StackShape;

/// The sizes that say what each weight of the flat parameters is: the embedding and the layers, the head's factor `[E][H]` where
/// it has one, its weights `[V][H]` where they are not tied, its biases `[V]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The embedding, where there is one, and the recurrent layers.
    pub stack: StackShape,
    /// Whether the embedding is the head's weights too. Where E is not H, a factor is between: `logits = embedding (F h) + b`.
    pub tied: bool,
    /// Recurrent steps that each token is fed for; what comes out is read after the last.
    pub steps_per_token: usize,
}

/// Where the parts are in the flat parameters.
struct Places {
    embedding: Range<usize>,
    layers: Vec<Range<usize>>,
    factor: Range<usize>,
    head: Range<usize>,
    biases: Range<usize>,
}

impl Shape {
    /// Columns of what the head's weights read: those of a tied embedding, else the units.
    fn head_columns(&self) -> usize {
        let tied = self.stack.embedding.filter(|_| self.tied);
        tied.unwrap_or(self.stack.hidden)
    }

    /// Weights of the head's factor: 0 where there is none.
    fn factor(&self) -> usize {
        match self.head_columns() {
            columns if columns == self.stack.hidden => 0,
            columns => columns * self.stack.hidden,
        }
    }

    /// Weights that are the head's alone.
    fn untied(&self) -> usize {
        if self.tied {
            0
        } else {
            self.stack.tokens * self.stack.hidden
        }
    }

    /// Lengths of the parameters' parts, in order, and whether they decay.
    pub fn parts(&self) -> impl Iterator<Item = (usize, bool)> {
        self.stack.parts().chain([
            (self.factor(), true),
            (self.untied(), true),
            (self.stack.tokens, false),
        ])
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.parts().map(|(length, _)| length).sum()
    }

    /// Where each part is.
    fn places(&self) -> Places {
        let (embedding, layers) = self.stack.places();
        let factor = self.stack.parameters()..self.stack.parameters() + self.factor();
        let own = factor.end..factor.end + self.untied();
        Places {
            factor,
            biases: own.end..own.end + self.stack.tokens,
            head: if self.tied { embedding.clone() } else { own },
            embedding,
            layers,
        }
    }

    /// What rounds the weights that have 4 bits by `settings`. Those of a tied head are the embedding's, which stay as they are.
    pub fn rounder(&self, settings: &TrainSettings) -> Rounder {
        let head = (!self.tied).then(|| self.places().head);
        Rounder::new(settings, &[(0, &self.stack)], head)
    }

    /// Random parameters, uniform within `1 / sqrt(H)`, and what each cell makes of them.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let bound = 1.0 / (self.stack.hidden as f32).sqrt();
        let mut random = random::stream(seed, random::Purpose::Weights, 0, 0);
        let mut parameters: Vec<f32> = (0..self.parameters())
            .map(|_| bound * (2.0 * random::unit(&mut random) - 1.0))
            .collect();
        self.stack
            .initialize(&mut parameters[..self.stack.parameters()]);
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
            (self.parameters(), self.stack.tokens)
        );
        let places = self.places();
        let (embedding, layers) = self.stack.network(&parameters[..self.stack.parameters()]);
        let columns = self.head_columns();
        let dense = |w: Range<usize>, columns, b| {
            let w = Matrix::new(w.len() / columns, columns, parameters[w].to_vec());
            Dense::linear(w, b)
        };
        let biases = parameters[places.biases].to_vec();
        let mut head = vec![dense(places.head, columns, biases)];
        if !places.factor.is_empty() {
            head.insert(
                0,
                dense(places.factor, self.stack.hidden, vec![0.0; columns]),
            );
        }
        let network = Network::language_model(
            vocabulary.clone(),
            embedding,
            layers,
            self.steps_per_token,
            head,
            provenance,
        );
        network.expect("the lengths are those of the shape")
    }

    /// The shape and the parameters of a language model that could have been trained here, or what stands in the way.
    ///
    /// # Errors
    /// If the network is no language model, its layers have different units, or a cell is not one that is trained.
    pub fn of(network: &Network) -> Result<(Self, Vec<f32>), String> {
        let model = network.as_language_model().map_err(|e| e.to_string())?;
        let hidden = model.layers[0].hidden();
        let (tokens, embedding) = (model.vocabulary.len(), model.embedding);
        let tied = embedding.is_some_and(|embedding| *embedding == model.output.w);
        if let Some(factor) = model.projection {
            if !tied || factor.w.rows == hidden {
                return Err(
                    "a head of two layers: expected one, or an embedding that is the second's weights too and has not as many columns as there are units"
                        .into(),
                );
            }
            if factor.b.iter().any(|b| *b != 0.0) {
                return Err("biases in the first of the head's two layers: expected none".into());
            }
        }
        let mut parameters = embedding.map_or(vec![], |embedding| embedding.data.clone());
        let mut kinds = Vec::new();
        for (index, layer) in model.layers.iter().copied().enumerate() {
            if layer.hidden() != hidden {
                return Err(format!(
                    "layer {index} has {} units and the first {hidden}: expected as many in every layer",
                    layer.hidden()
                ));
            }
            let (kind, weights) = Kind::of(layer)
                .ok_or_else(|| format!("layer {index} has a cell that is not trained here: expected a GRU that resets after, an LSTM or an RNN with tanh"))?;
            kinds.push(kind);
            parameters.extend(weights);
        }
        parameters.extend(model.projection.iter().flat_map(|factor| &factor.w.data));
        if !tied {
            parameters.extend(&model.output.w.data);
        }
        parameters.extend(&model.output.b);
        let stack = StackShape {
            tokens,
            embedding: embedding.map(|embedding| embedding.columns),
            hidden,
            cells: kinds,
        };
        let shape = Self {
            stack,
            tied,
            steps_per_token: network.steps_per_token(Phase::Step),
        };
        Ok((shape, parameters))
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

/// The head's factor and what comes out of it: `z = F h`.
struct Factor {
    dense: Head,
    z: Series,  // [E][tokens][B]
    dz: Series, // [E][tokens][B]
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
    factor: Option<Factor>,
    head: Head,
    logits: Series,     // [V][tokens][B]; then the loss's gradient by them
    d_output: Series,   // [H][T][B]
    d_below: Series,    // [H][T][B]
    gradient: Vec<f32>, // as the parameters
}

impl Model {
    /// A model with states of zeros for sequences of `steps` steps, `batch` rows. Both at least 1; `0 <= dropout < 1`.
    pub fn new(shape: Shape, steps: usize, batch: usize, dropout: f32) -> Self {
        let stack = &shape.stack;
        let (places, columns) = (shape.places(), shape.head_columns());
        let logits = Series::new(stack.tokens, steps, batch);
        let factor = (!places.factor.is_empty()).then(|| Factor {
            dense: Head::new(columns, stack.hidden),
            z: Series::new(columns, steps, batch),
            dz: Series::new(columns, steps, batch),
        });
        let steps = steps * shape.steps_per_token;
        let series = |features| Series::new(features, steps, batch);
        let layers = places.layers.iter().enumerate().map(|(i, weights)| Layer {
            weights: weights.clone(),
            cell: stack.cells[i].cell(stack.hidden, steps, batch),
            dropped: (dropout > 0.0).then(|| Dropped {
                mask: series(stack.hidden),
                output: series(stack.hidden),
            }),
        });
        Self {
            layers: layers.collect(),
            places,
            embedded: stack.embedding.map(series),
            d_embedded: stack.embedding.map(series),
            head: Head::new(stack.tokens, columns),
            factor,
            logits,
            d_output: series(stack.hidden),
            d_below: series(if stack.cells.len() > 1 {
                stack.hidden
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
            layer.cell.set_state(this);
            rest = others;
        }
        assert!(rest.is_empty(), "{} values of state too many", rest.len());
    }

    /// Sets the states of these rows of the batch to zero.
    pub fn reset(&mut self, rows: Range<usize>) {
        for layer in &mut self.layers {
            layer.cell.reset(rows.clone());
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
        self.train_by(parameters, inputs, targets, None, random)
    }

    /// The same with soft targets beside the plain ones, as far as they are given: the gradient is that of the mixture, the
    /// loss that of the plain targets.
    ///
    /// # Panics
    /// As [`train`](Self::train).
    pub fn train_by(
        &mut self,
        parameters: &[f32],
        inputs: &[u16],
        targets: &[u16],
        soft: Option<&Soft>,
        random: &mut ChaCha8Rng,
    ) -> f64 {
        let tokens = self.repeated(inputs);
        self.forward(parameters, &tokens, random);
        let loss = softmax::loss(&mut self.logits, &grouped(targets, self.batch, NO_TARGET));
        if let Some(soft) = soft {
            softmax::soften(&mut self.logits, targets, soft);
        }
        self.backward(parameters, &tokens);
        loss
    }

    /// The logits after one sequence without dropout, from the states that the one before left: `[V][steps][batch]`.
    ///
    /// # Panics
    /// If the length does not fit, a token is not below V, or the model was made with dropout.
    pub fn logits(&mut self, parameters: &[f32], inputs: &[u16]) -> &Series {
        assert_eq!(self.dropout, 0.0, "dropout");
        let tokens = self.repeated(inputs);
        let mut none = random::stream(0, random::Purpose::Dropout, 0, 0);
        self.forward(parameters, &tokens, &mut none);
        &self.logits
    }

    /// The tokens by groups, each as often as it has steps.
    fn repeated(&self, tokens: &[u16]) -> Vec<[u16; LANES]> {
        let groups = grouped(tokens, self.batch, 0);
        match self.shape.steps_per_token {
            1 => groups,
            repeat => groups
                .chunks_exact(self.logits.groups())
                .flat_map(|step| std::iter::repeat_n(step, repeat))
                .flatten()
                .copied()
                .collect(),
        }
    }

    /// Fills `logits`.
    fn forward(&mut self, parameters: &[f32], tokens: &[[u16; LANES]], random: &mut ChaCha8Rng) {
        if let Some(embedded) = &mut self.embedded {
            let table = &parameters[self.places.embedding.clone()];
            embedding::forward(table, tokens, embedded);
        }
        for i in 0..self.layers.len() {
            let (below, layer) = self.layers.split_at_mut(i);
            let input = input(below, self.embedded.as_ref(), tokens);
            let Layer {
                weights,
                cell,
                dropped,
            } = &mut layer[0];
            cell.forward(&parameters[weights.clone()], input);
            if let Some(Dropped { mask, output }) = dropped {
                let masks = mask.values_mut().as_flattened_mut();
                random::mask(random, self.dropout, masks);
                let values = output.values_mut().as_flattened_mut();
                product(values, cell.output().values().as_flattened(), masks);
            }
        }
        let top = self.layers.last().expect("at least one layer").output();
        let (w, b) = (self.places.head.clone(), self.places.biases.clone());
        let (w, b) = (&parameters[w], &parameters[b]);
        let below = match &mut self.factor {
            None => top,
            Some(Factor { dense, z, .. }) => {
                dense.forward(&parameters[self.places.factor.clone()], &[], top, z);
                z
            }
        };
        self.head.forward(w, b, below, &mut self.logits);
    }

    fn backward(&mut self, parameters: &[f32], tokens: &[[u16; LANES]]) {
        self.gradient.fill(0.0);
        let top = self.layers.last().expect("at least one layer").output();
        let (w, b) = (self.places.head.clone(), self.places.biases.clone());
        let f = self.places.factor.clone();
        let [dw, db, df] = self
            .gradient
            .get_disjoint_mut([w.clone(), b, f.clone()])
            .expect("weights and biases apart");
        let (w, d_output) = (&parameters[w], &mut self.d_output);
        match &mut self.factor {
            None => self.head.backward(w, top, &self.logits, (dw, db), d_output),
            Some(Factor { dense, z, dz }) => {
                self.head.backward(w, z, &self.logits, (dw, db), dz);
                dense.backward(&parameters[f], top, dz, (df, &mut []), d_output);
            }
        }
        for i in (0..self.layers.len()).rev() {
            let (below, layer) = self.layers.split_at_mut(i);
            let layer = &mut layer[0];
            if let Some(Dropped { mask, .. }) = &layer.dropped {
                let values = self.d_output.values_mut().as_flattened_mut();
                scale(values, mask.values().as_flattened());
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
fn input<'a>(
    below: &'a [Layer],
    embedded: Option<&'a Series>,
    tokens: &'a [[u16; LANES]],
) -> Input<'a> {
    let series = below.last().map(Layer::output).or(embedded);
    series.map_or(Input::Tokens(tokens), Input::Series)
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
