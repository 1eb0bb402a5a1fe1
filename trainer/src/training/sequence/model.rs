//! A network over whole sequences: one thread's rows of a padded batch, loss and gradient.

use std::ops::Range;

use chacha20::ChaCha8Rng;

use super::stack::Stack;
use crate::network::{Activation, Dense, Matrix};
use crate::nn::gemm::{Outer, Packed};
use crate::nn::random;
use crate::nn::simd::{product, products, scale};
use crate::nn::softmax::{self, Head, NO_TARGET};
use crate::nn::tensor::{Series, grouped};
use crate::training::rounder::Rounder;
use crate::training::settings::TrainSettings;
use crate::training::stack::StackShape;

/// The sizes that say what each weight of the flat parameters is: the encoder, the starts (of each layer `[S][F]` and then
/// `[S]`), the recurrent layers, the head's weights `[C][H]` and biases `[C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// What reads the source first and hands its last states over; its layers are as those of `stack`.
    pub encoder: Option<StackShape>,
    /// Values of the feature vector, F, from which the first states are made; 0: none.
    pub features: usize,
    /// The recurrent layers that the head reads.
    pub stack: StackShape,
    /// Outputs of the head, C.
    pub outputs: usize,
    /// Whether the head reads the last state only: one output a sequence.
    pub reads_last: bool,
}

/// Where the parts are in the flat parameters.
struct Places {
    encoder: Range<usize>,
    starts: Vec<(Range<usize>, Range<usize>)>,
    stack: Range<usize>,
    w: Range<usize>,
    b: Range<usize>,
}

impl Shape {
    fn hidden(&self) -> usize {
        self.stack.hidden
    }

    /// Values of each layer's state that are made of features, S; none without features.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let layers = if self.features > 0 {
            self.stack.cells.len()
        } else {
            0
        };
        (0..layers).map(|layer| self.stack.state_len(layer))
    }

    /// Lengths of the parameters' parts, in order, and whether they decay.
    pub fn parts(&self) -> impl Iterator<Item = (usize, bool)> {
        let starts = self
            .starts()
            .flat_map(|state| [(state * self.features, true), (state, false)]);
        let head = [(self.outputs * self.hidden(), true), (self.outputs, false)];
        self.encoder
            .iter()
            .flat_map(StackShape::parts)
            .chain(starts)
            .chain(self.stack.parts())
            .chain(head)
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.parts().map(|(length, _)| length).sum()
    }

    fn places(&self) -> Places {
        let mut end = 0;
        let mut next = |length| {
            end += length;
            end - length..end
        };
        Places {
            encoder: next(self.encoder.as_ref().map_or(0, StackShape::parameters)),
            starts: self
                .starts()
                .map(|state| (next(state * self.features), next(state)))
                .collect(),
            stack: next(self.stack.parameters()),
            w: next(self.outputs * self.hidden()),
            b: next(self.outputs),
        }
    }

    /// What rounds the weights that have 4 bits by `settings`: of the layers, an encoder's too, and of the head. Starts have 8.
    pub fn rounder(&self, settings: &TrainSettings) -> Rounder {
        let places = self.places();
        let encoder = self.encoder.as_ref();
        let encoder = encoder.map(|encoder| (places.encoder.start, encoder));
        let own = (places.stack.start, &self.stack);
        let stacks: Vec<_> = encoder.into_iter().chain([own]).collect();
        Rounder::new(settings, &stacks, Some(places.w))
    }

    /// Random parameters, uniform within `1 / sqrt(H)`, and what each cell makes of them.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let bound = 1.0 / (self.hidden() as f32).sqrt();
        let mut random = random::stream(seed, random::Purpose::Weights, 0, 0);
        let mut parameters: Vec<f32> = (0..self.parameters())
            .map(|_| bound * (2.0 * random::unit(&mut random) - 1.0))
            .collect();
        let places = self.places();
        if let Some(encoder) = &self.encoder {
            encoder.initialize(&mut parameters[places.encoder]);
        }
        self.stack.initialize(&mut parameters[places.stack]);
        parameters
    }

    /// The parts of the canonical network that `parameters` are.
    ///
    /// # Panics
    /// If there are not as many parameters as [`parameters`](Self::parameters) says.
    pub fn network(&self, parameters: &[f32]) -> Parts {
        assert_eq!(parameters.len(), self.parameters(), "parameters");
        let places = self.places();
        let matrix = |rows, columns, place: Range<usize>| {
            Matrix::new(rows, columns, parameters[place].to_vec())
        };
        let hidden = self.hidden();
        // A layer's states are one behind the other: of each `hidden` rows of the weights.
        let starts = places.starts.iter().map(|(w, b)| {
            let states = b.len() / hidden;
            (0..states)
                .map(|state| {
                    let w = w.start + state * hidden * self.features;
                    let b = b.start + state * hidden;
                    Dense {
                        w: matrix(hidden, self.features, w..w + hidden * self.features),
                        b: parameters[b..b + hidden].to_vec(),
                        activation: Activation::Tanh,
                    }
                })
                .collect()
        });
        Parts {
            encoder: self
                .encoder
                .as_ref()
                .map(|encoder| encoder.network(&parameters[places.encoder.clone()])),
            starts: starts.collect(),
            stack: self.stack.network(&parameters[places.stack.clone()]),
            head: Dense::linear(
                matrix(self.outputs, hidden, places.w.clone()),
                parameters[places.b.clone()].to_vec(),
            ),
        }
    }
}

/// An embedding, where there is one, and recurrent layers.
pub type StackParts = (Option<Matrix>, Vec<crate::network::RecurrentCell>);

/// The parts of a canonical network.
pub struct Parts {
    /// Where there is an encoder.
    pub encoder: Option<StackParts>,
    /// Of each layer what makes its hidden state, and an LSTM's cell state, of the features; empty without features.
    pub starts: Vec<Vec<Dense>>,
    /// What the head reads.
    pub stack: StackParts,
    /// The head.
    pub head: Dense,
}

/// One thread's rows of a padded batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// B
    pub batch: usize,
    /// What the encoder reads, `[S][B]`, and how much of each row it is.
    pub source: (Vec<u16>, Vec<usize>),
    /// `[F][B]`
    pub features: Vec<f32>,
    /// What the layers under the head read, `[T][B]`, and how much of each row it is.
    pub tokens: (Vec<u16>, Vec<usize>),
    /// What the head shall say, `[T][B]`, or `[B]` where it reads the last state only; [`NO_TARGET`] where nothing.
    pub targets: Vec<u16>,
}

/// A network in training, and its gradient.
pub struct Model {
    shape: Shape,
    places: Places,
    dropout: f32,
    gradient: Vec<f32>,
}

impl Model {
    /// Of this shape, with `dropout`, 0 to below 1.
    pub fn new(shape: Shape, dropout: f32) -> Self {
        Self {
            places: shape.places(),
            gradient: vec![0.0; shape.parameters()],
            shape,
            dropout,
        }
    }

    /// Gradient of the last [`train`](Self::train)'s loss, as the parameters.
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }

    /// Forward and backward over one batch, whose activations live no longer: each batch has lengths of its own. Gives the sum of
    /// the losses of all predictions, in nats; its gradient is then in [`gradient`](Self::gradient).
    ///
    /// # Panics
    /// If a length does not fit, or a token is out of range.
    pub fn train(&mut self, parameters: &[f32], rows: &Rows, random: &mut ChaCha8Rng) -> f64 {
        let Self {
            shape,
            places,
            dropout,
            gradient,
        } = self;
        gradient.fill(0.0);
        let batch = rows.batch;
        if batch == 0 {
            return 0.0;
        }

        let (source, source_lengths) = &rows.source;
        let mut encoder = shape.encoder.as_ref().map(|shape| {
            let weights = &parameters[places.encoder.clone()];
            Stack::forward(shape, weights, source, batch, &[], *dropout, random)
        });
        let starts: Vec<Vec<f32>> = match &encoder {
            Some(encoder) => encoder.states_after(source_lengths),
            None => {
                let start = |(w, b): &(Range<usize>, Range<usize>)| {
                    start(
                        &parameters[w.clone()],
                        &parameters[b.clone()],
                        &rows.features,
                        batch,
                    )
                };
                places.starts.iter().map(start).collect()
            }
        };
        let (tokens, lengths) = &rows.tokens;
        let weights = &parameters[places.stack.clone()];
        let mut stack = Stack::forward(
            &shape.stack,
            weights,
            tokens,
            batch,
            &starts,
            *dropout,
            random,
        );

        let last = shape.reads_last.then(|| {
            let states = stack.states_after(lengths);
            let top = states.last().expect("at least one layer");
            Last::new(&top[..shape.hidden() * batch], batch, *dropout, random)
        });
        let read = last.as_ref().map_or(stack.output(), |last| &last.read);
        let mut logits = Series::new(shape.outputs, rows.targets.len() / batch, batch);
        let (w, b) = (places.w.clone(), places.b.clone());
        let mut head = Head::new(shape.outputs, shape.hidden());
        head.forward(
            &parameters[w.clone()],
            &parameters[b.clone()],
            read,
            &mut logits,
        );
        let loss = softmax::loss(&mut logits, &grouped(&rows.targets, batch, NO_TARGET));

        let mut d_read = read.zeros_alike();
        let (dw, db) = gradient[w.start..b.end].split_at_mut(w.len());
        head.backward(&parameters[w], read, &logits, (dw, db), &mut d_read);
        let stack_gradient = &mut gradient[places.stack.clone()];
        let d_starts = match last {
            None => stack.backward(Some(d_read), None, stack_gradient),
            Some(last) => {
                // Only the last layer's hidden state was read.
                let layers = shape.stack.cells.len();
                let zeros = |layer| vec![0.0; shape.stack.state_len(layer) * batch];
                let mut handed: Vec<Vec<f32>> = (0..layers).map(zeros).collect();
                last.backward(&d_read, &mut handed[layers - 1]);
                stack.backward(None, Some((lengths, &handed)), stack_gradient)
            }
        };
        if let Some(encoder) = &mut encoder {
            let gradient = &mut gradient[places.encoder.clone()];
            encoder.backward(None, Some((source_lengths, &d_starts)), gradient);
        } else {
            for (((w, b), start), mut d) in places.starts.iter().zip(&starts).zip(d_starts) {
                let (dw, db) = gradient[w.start..b.end].split_at_mut(w.len());
                start_backward(start, &mut d, &rows.features, dw, db);
            }
        }
        loss
    }
}

/// The last hidden state as the head reads it, `[H]` of a single step.
struct Last {
    mask: Option<Vec<f32>>,
    read: Series,
}

impl Last {
    fn new(state: &[f32], batch: usize, dropout: f32, random: &mut ChaCha8Rng) -> Self {
        let mut read = Series::new(state.len() / batch, 1, batch);
        let mask = (dropout > 0.0).then(|| {
            let mut mask = vec![0.0; state.len()];
            random::mask(random, dropout, &mut mask);
            mask
        });
        match &mask {
            None => read.set_slot(1, state),
            Some(mask) => {
                let mut kept = vec![0.0; state.len()];
                product(&mut kept, state, mask);
                read.set_slot(1, &kept);
            }
        }
        Self { mask, read }
    }

    /// The gradient by the state, to the first rows of `to`.
    fn backward(&self, d: &Series, to: &mut [f32]) {
        let d = d.slot(1);
        let to = &mut to[..d.len()];
        to.copy_from_slice(&d);
        if let Some(mask) = &self.mask {
            scale(to, mask);
        }
    }
}

/// `x`, `[F][B]`, as one step.
fn one_step(x: &[f32], batch: usize) -> Series {
    let mut series = Series::new(x.len() / batch, 0, batch);
    series.set_slot(0, x);
    series
}

/// `tanh(w x + b)`: `w [S][F]`, `b [S]`, `x [F][B]`, the result `[S][B]`.
fn start(w: &[f32], b: &[f32], x: &[f32], batch: usize) -> Vec<f32> {
    let x = one_step(x, batch);
    let mut state = Series::new(b.len(), 0, batch);
    let mut packed = Packed::default();
    packed.pack_rows(w, x.features());
    products(
        x.is_narrow(),
        #[inline(always)]
        |float| {
            for group in 0..x.groups() {
                let state = state.block_mut(0, group);
                packed.multiply(float, x.block(0, group), state);
                for (lanes, b) in state.iter_mut().zip(b) {
                    lanes
                        .iter_mut()
                        .for_each(|value| *value = float.tanh(*value + b));
                }
            }
        },
    );
    state.slot(0)
}

/// Adds the gradients by `w` and `b` of [`start`] from `d`, that by the state.
fn start_backward(state: &[f32], d: &mut [f32], x: &[f32], dw: &mut [f32], db: &mut [f32]) {
    let batch = state.len() / db.len();
    for (d, state) in d.iter_mut().zip(state) {
        *d *= 1.0 - state * state;
    }
    for (row, db) in d.chunks_exact(batch).zip(&mut *db) {
        *db += row.iter().sum::<f32>();
    }
    let (d, x) = (one_step(d, batch), one_step(x, batch));
    let mut sum = Outer::new(d.features(), x.features());
    let groups = (0..x.groups()).map(|group| (d.block(0, group), x.block(0, group)));
    let blocks: Vec<_> = groups.collect();
    products(
        x.is_narrow(),
        #[inline(always)]
        |float| sum.add(float, &blocks),
    );
    sum.drain_to(dw);
}
