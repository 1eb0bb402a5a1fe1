//! Recurrent layers above each other, over whole sequences of tokens: one thread's rows of a padded batch.

use chacha20::ChaCha8Rng;

use crate::nn::embedding;
use crate::nn::random;
use crate::nn::rnn::{Cell, Handed, Input};
use crate::nn::simd::{product, scale};
use crate::nn::tensor::{LANES, Series, grouped};
use crate::training::stack::StackShape;

/// What is read of a series: all of it, or what dropout left.
struct Dropout {
    mask: Series, // 0 or 1 / (1 - dropout)
    output: Series,
}

impl Dropout {
    fn new(of: &Series, dropout: f32, random: &mut ChaCha8Rng) -> Self {
        let (mut mask, mut output) = (of.zeros_alike(), of.zeros_alike());
        let masks = mask.values_mut().as_flattened_mut();
        random::mask(random, dropout, masks);
        let values = output.values_mut().as_flattened_mut();
        product(values, of.values().as_flattened(), masks);
        Self { mask, output }
    }

    fn backward(&self, d: &mut Series) {
        let values = d.values_mut().as_flattened_mut();
        scale(values, self.mask.values().as_flattened());
    }
}

fn read<'a>(all: &'a Series, dropout: &'a Option<Dropout>) -> &'a Series {
    dropout.as_ref().map_or(all, |dropout| &dropout.output)
}

/// A stack's activations, after its forward pass.
pub struct Stack<'a> {
    shape: &'a StackShape,
    parameters: &'a [f32],
    /// `[T][groups]`
    tokens: Vec<[u16; LANES]>,
    steps: usize,
    batch: usize,
    embedded: Option<(Series, Option<Dropout>)>,
    layers: Vec<(Box<dyn Cell>, Option<Dropout>)>,
}

impl<'a> Stack<'a> {
    /// Runs `tokens`, `[T][batch]`, from `starts`, a state `[S][batch]` for each layer, or zeros where there are none. What is
    /// read of the embedding and of each layer is dropped at `dropout`, 0 to below 1; states are not.
    ///
    /// # Panics
    /// If a length does not fit, or a token is not below V.
    pub fn forward(
        shape: &'a StackShape,
        parameters: &'a [f32],
        tokens: &[u16],
        batch: usize,
        starts: &[Vec<f32>],
        dropout: f32,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let steps = tokens.len() / batch;
        let tokens = grouped(tokens, batch, 0);
        let (table, places) = shape.places();
        let mut dropped = |of: &Series| (dropout > 0.0).then(|| Dropout::new(of, dropout, random));
        let embedded = shape.embedding.map(|columns| {
            let mut series = Series::new(columns, steps, batch);
            embedding::forward(&parameters[table], &tokens, &mut series);
            let dropout = dropped(&series);
            (series, dropout)
        });
        let mut stack = Self {
            shape,
            parameters,
            tokens,
            steps,
            batch,
            embedded,
            layers: Vec::new(),
        };
        for (layer, place) in places.into_iter().enumerate() {
            let mut cell = shape.cells[layer].cell(shape.hidden, steps, batch);
            if let Some(start) = starts.get(layer) {
                cell.set_state(start);
            }
            cell.forward(&parameters[place], stack.input(layer));
            let dropout = dropped(cell.output());
            stack.layers.push((cell, dropout));
        }
        stack
    }

    /// What layer `layer` reads.
    fn input(&self, layer: usize) -> Input<'_> {
        match (layer, &self.embedded) {
            (0, None) => Input::Tokens(&self.tokens),
            (0, Some((series, dropout))) => Input::Series(read(series, dropout)),
            _ => {
                let (cell, dropout) = &self.layers[layer - 1];
                Input::Series(read(cell.output(), dropout))
            }
        }
    }

    /// What is read of the last layer, `[H][T][B]`.
    pub fn output(&self) -> &Series {
        let (cell, dropout) = self.layers.last().expect("at least one layer");
        read(cell.output(), dropout)
    }

    /// Each layer's states, each row's after a number of steps of its own: `[S][B]`.
    pub fn states_after(&self, steps: &[usize]) -> Vec<Vec<f32>> {
        self.layers
            .iter()
            .map(|(cell, _)| cell.states_after(steps))
            .collect()
    }

    /// Back-propagation. `above` is the gradient by [`output`](Self::output), none where nothing was read of it; `handed` are
    /// the steps after which the rows' states were taken and the gradients by each layer's. Adds to `gradient`, as the
    /// parameters, and gives the gradients by the states before the first step.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn backward(
        &mut self,
        above: Option<Series>,
        handed: Option<(&[usize], &[Vec<f32>])>,
        gradient: &mut [f32],
    ) -> Vec<Vec<f32>> {
        let (table, places) = self.shape.places();
        let series = |features| Series::new(features, self.steps, self.batch);
        let mut above = above.unwrap_or_else(|| series(self.shape.hidden));
        for (layer, place) in places.into_iter().enumerate().rev() {
            let mut below = match (layer, self.shape.embedding) {
                (0, None) => None,
                (0, Some(columns)) => Some(series(columns)),
                _ => Some(series(self.shape.hidden)),
            };
            if let Some(dropout) = &self.layers[layer].1 {
                dropout.backward(&mut above);
            }
            let handed = handed.map(|(steps, gradients)| Handed {
                steps,
                gradient: &gradients[layer],
            });
            let (lower, upper) = self.layers.split_at_mut(layer);
            let input = match (lower.last(), &self.embedded) {
                (Some((cell, dropout)), _) => Input::Series(read(cell.output(), dropout)),
                (None, Some((series, dropout))) => Input::Series(read(series, dropout)),
                (None, None) => Input::Tokens(&self.tokens),
            };
            upper[0].0.backward(
                &self.parameters[place.clone()],
                input,
                &above,
                handed,
                &mut gradient[place],
                below.as_mut(),
            );
            if let Some(below) = below {
                above = below;
            }
        }
        if let Some((_, dropout)) = &self.embedded {
            if let Some(dropout) = dropout {
                dropout.backward(&mut above);
            }
            embedding::backward(&above, &self.tokens, &mut gradient[table]);
        }
        self.layers
            .iter()
            .map(|(cell, _)| cell.start_gradient())
            .collect()
    }
}
