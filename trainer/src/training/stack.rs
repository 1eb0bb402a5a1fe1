//! The activations of a stack of recurrent layers over one shard of a batch: forward and backward.

use chacha20::ChaCha8Rng;

use super::stack_config::StackConfig;
use crate::nn::embedding;
use crate::nn::random;
use crate::nn::rnn::{Cell, Handed, Input};
use crate::nn::simd::{product, scale};
use crate::nn::tensor::{LANES, Series};

/// Dropout rates, each 0 to below 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DropoutRates {
    /// Of the layers' outputs.
    pub layers: f32,
    /// Of the embedding's output.
    pub embedding: f32,
}

/// A dropout mask, 0 or `1 / (1 - rate)`, and a series times the mask.
struct Dropout {
    rate: f32,
    mask: Series,
    output: Series,
}

impl Dropout {
    /// `None` without dropout.
    fn new(rate: f32, of: &Series) -> Option<Self> {
        (rate > 0.0).then(|| Self {
            rate,
            mask: of.zeros_alike(),
            output: of.zeros_alike(),
        })
    }

    fn forward(&mut self, input: &Series, random: &mut ChaCha8Rng) {
        let masks = self.mask.values_mut().as_flattened_mut();
        random::mask(random, self.rate, masks);
        let output = self.output.values_mut().as_flattened_mut();
        product(output, input.values().as_flattened(), masks);
    }

    fn backward(&self, gradient: &mut Series) {
        let values = gradient.values_mut().as_flattened_mut();
        scale(values, self.mask.values().as_flattened());
    }
}

/// A layer's output, after its dropout.
fn dropped<'a>(all: &'a Series, dropout: &'a Option<Dropout>) -> &'a Series {
    dropout.as_ref().map_or(all, |dropout| &dropout.output)
}

struct Embedded {
    output: Series, // [E][T][B]
    grad: Series,   // [E][T][B]
    dropout: Option<Dropout>,
}

struct Layer {
    cell: Box<dyn Cell>,
    dropout: Option<Dropout>,
}

impl Layer {
    fn output(&self) -> &Series {
        dropped(self.cell.output(), &self.dropout)
    }
}

/// The activations of a stack over T steps and B rows. They are kept from one batch to the next.
pub(super) struct Stack {
    config: StackConfig,
    batch: usize,
    embedded: Option<Embedded>,
    layers: Vec<Layer>,
    grad_output: Series, // [H][T][B]
    grad_below: Series,  // the same, or nothing for a single layer
}

impl Stack {
    /// Activations for `steps` steps and `batch` rows.
    pub fn new(config: &StackConfig, steps: usize, batch: usize, rates: DropoutRates) -> Self {
        let series = |features| Series::new(features, steps, batch);
        let hidden = config.hidden_size;
        let layers = config.cells.iter().map(|kind| {
            let cell = kind.cell(hidden, steps, batch);
            let dropout = Dropout::new(rates.layers, cell.output());
            Layer { cell, dropout }
        });
        let embedded = config.embedding_dim.map(|columns| {
            let output = series(columns);
            Embedded {
                grad: series(columns),
                dropout: Dropout::new(rates.embedding, &output),
                output,
            }
        });
        Self {
            layers: layers.collect(),
            embedded,
            grad_output: series(hidden),
            grad_below: series(if config.cells.len() > 1 { hidden } else { 0 }),
            config: config.clone(),
            batch,
        }
    }

    /// The lengths of the layers' parts of a flat state, `[state_len(layer)][B]` each.
    fn state_lens(&self) -> impl Iterator<Item = usize> {
        let layers = 0..self.config.cells.len();
        layers.map(|layer| self.config.state_len(layer) * self.batch)
    }

    /// Values of a flat state.
    pub fn state_len(&self) -> usize {
        self.state_lens().sum()
    }

    /// Runs `tokens`, `[T][groups]`, from `state` (of all layers), or from zeros where it is empty.
    ///
    /// # Panics
    /// If a length does not fit, or a token is not below V.
    pub fn forward(
        &mut self,
        parameters: &[f32],
        tokens: &[[u16; LANES]],
        state: &[f32],
        random: &mut ChaCha8Rng,
    ) {
        let (table, ranges) = self.config.layout();
        self.set_state(state);
        if let Some(Embedded {
            output, dropout, ..
        }) = &mut self.embedded
        {
            embedding::forward(&parameters[table], tokens, output);
            if let Some(dropout) = dropout {
                dropout.forward(output, random);
            }
        }
        for (i, range) in ranges.into_iter().enumerate() {
            let (below, layer) = self.layers.split_at_mut(i);
            let input = input(below, self.embedded.as_ref(), tokens);
            let Layer { cell, dropout } = &mut layer[0];
            cell.forward(&parameters[range], input);
            if let Some(dropout) = dropout {
                dropout.forward(cell.output(), random);
            }
        }
    }

    fn set_state(&mut self, state: &[f32]) {
        let lens: Vec<usize> = self.state_lens().collect();
        let mut rest = state;
        for (layer, len) in self.layers.iter_mut().zip(lens) {
            if state.is_empty() {
                layer.cell.reset(0..self.batch);
            } else {
                let (this, others) = rest.split_at(len);
                layer.cell.set_state(this);
                rest = others;
            }
        }
        assert!(rest.is_empty(), "{} values of state too many", rest.len());
    }

    /// The states after the last step, layer by layer, `[state_len(layer)][B]` each; of an LSTM `h`, then `c`.
    pub fn state(&self) -> Vec<f32> {
        let states = self.layers.iter().map(|layer| layer.cell.state());
        states.collect::<Vec<_>>().concat()
    }

    /// The states of each row after its own number of steps, laid out as [`state`](Self::state).
    pub fn states_at_lengths(&self, steps: &[usize]) -> Vec<f32> {
        let states = self.layers.iter();
        let states = states.map(|layer| layer.cell.states_after(steps));
        states.collect::<Vec<_>>().concat()
    }

    /// The last layer's output after dropout, `[H][T][B]`.
    pub fn output(&self) -> &Series {
        self.layers.last().expect("at least one layer").output()
    }

    /// The last layer's output, and the place of the gradient with respect to it.
    pub fn output_and_grad(&mut self) -> (&Series, &mut Series) {
        let output = self.layers.last().expect("at least one layer").output();
        (output, &mut self.grad_output)
    }

    /// Where nothing read the output: its gradient is zero.
    pub fn clear_grad(&mut self) {
        self.grad_output.clear_all();
    }

    /// The range of the last layer's hidden state in a flat state.
    pub fn last_hidden(&self) -> std::ops::Range<usize> {
        let lens: Vec<usize> = self.state_lens().collect();
        let below: usize = lens[..lens.len() - 1].iter().sum();
        below..below + self.config.hidden_size * self.batch
    }

    /// Back-propagation from the gradient that [`output_and_grad`](Self::output_and_grad) gave a place to. `handed`: the steps
    /// after which each row's states were taken, and the gradient with respect to them, laid out as [`state`](Self::state).
    /// Adds to `gradient`, laid out as the parameters, and returns the gradient with respect to the initial states.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn backward(
        &mut self,
        parameters: &[f32],
        tokens: &[[u16; LANES]],
        handed: Option<(&[usize], &[f32])>,
        gradient: &mut [f32],
    ) -> Vec<f32> {
        let (table, ranges) = self.config.layout();
        let mut ends: Vec<usize> = self.state_lens().collect();
        for i in 1..ends.len() {
            ends[i] += ends[i - 1];
        }
        for (i, range) in ranges.into_iter().enumerate().rev() {
            let (below, layer) = self.layers.split_at_mut(i);
            let layer = &mut layer[0];
            if let Some(dropout) = &layer.dropout {
                dropout.backward(&mut self.grad_output);
            }
            let start = if i == 0 { 0 } else { ends[i - 1] };
            let handed = handed.map(|(steps, gradient)| Handed {
                steps,
                gradient: &gradient[start..ends[i]],
            });
            // Two borrows of the embedding: its output is read, its gradient is written.
            let (embedded, grad_embedded) = match &mut self.embedded {
                None => (None, None),
                Some(Embedded {
                    output,
                    grad,
                    dropout,
                }) => (Some(dropped(output, dropout)), Some(grad)),
            };
            let series = below.last().map(Layer::output).or(embedded);
            let input = series.map_or(Input::Tokens(tokens), Input::Series);
            let grad_below = match i {
                0 => grad_embedded,
                _ => Some(&mut self.grad_below),
            };
            layer.cell.backward(
                &parameters[range.clone()],
                input,
                &self.grad_output,
                handed,
                &mut gradient[range],
                grad_below,
            );
            if i > 0 {
                std::mem::swap(&mut self.grad_output, &mut self.grad_below);
            }
        }
        if let Some(Embedded { grad, dropout, .. }) = &mut self.embedded {
            if let Some(dropout) = dropout {
                dropout.backward(grad);
            }
            embedding::backward(grad, tokens, &mut gradient[table]);
        }
        let states = self.layers.iter().map(|layer| layer.cell.start_gradient());
        states.collect::<Vec<_>>().concat()
    }
}

/// What the layer above `below` reads.
fn input<'a>(
    below: &'a [Layer],
    embedded: Option<&'a Embedded>,
    tokens: &'a [[u16; LANES]],
) -> Input<'a> {
    let embedded = embedded.map(
        |Embedded {
             output, dropout, ..
         }| dropped(output, dropout),
    );
    let series = below.last().map(Layer::output).or(embedded);
    series.map_or(Input::Tokens(tokens), Input::Series)
}
