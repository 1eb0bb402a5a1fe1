//! The trainable network: sizes, the layout of its flat parameters, and forward and backward over one shard of a batch.
//!
//! ```text
//! source tokens -> [encoder] -> its last states ─┐
//! features -> [tanh(W x + b)] -> initial states ─┴─> embedding -> recurrent layers -> pooling -> [projection] -> output layer
//! ```
//!
//! Parts in brackets are optional. Decoders are given the right tokens in training (teacher forcing).

use std::ops::Range;

use chacha20::ChaCha8Rng;

use super::initial_states;
use super::stack::{DropoutRates, Stack};
use super::stack_config::StackConfig;
use crate::nn::random;
use crate::nn::simd::{product, scale};
use crate::nn::softmax::{self, Head, IGNORE_INDEX, Soft};
use crate::nn::tensor::{LANES, Series, grouped};

/// The steps whose output the output layer reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pooling {
    /// Every step: a prediction for each token.
    EveryStep,
    /// The last step: one prediction for each row.
    LastStep,
}

/// The sizes of a network. They decide the meaning of every value of its flat parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Reads the source first; its last states are the initial states of `stack`. The layers are those of `stack`.
    pub encoder: Option<StackConfig>,
    /// Length of the feature vector, F, from which the initial states are computed; 0: none.
    pub num_features: usize,
    /// The recurrent layers that the output layer reads.
    pub stack: StackConfig,
    /// Outputs of the output layer, C: tokens or classes.
    pub output_size: usize,
    /// The steps that the output layer reads.
    pub pooling: Pooling,
    /// Whether the embedding is the output layer's weights too. If E is not H, a projection `[E][H]` is between:
    /// `logits = embedding (projection h) + b`.
    pub tie_embeddings: bool,
    /// How often the recurrent layers of `stack` run for each token, with the same input and tied weights; the output is read
    /// after the last run.
    pub steps_per_token: usize,
}

/// The ranges of the parts among the flat parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParamLayout {
    pub encoder: Range<usize>,
    /// Of each layer of `stack`: weights `[S][F]` and biases `[S]`; empty without features.
    pub initial_states: Vec<(Range<usize>, Range<usize>)>,
    pub stack: Range<usize>,
    /// `[E][H]`; empty where there is none.
    pub projection: Range<usize>,
    /// `[C][H]`, or `[C][E]` where it is the embedding.
    pub output: Range<usize>,
    /// `[C]`
    pub output_bias: Range<usize>,
}

impl ModelConfig {
    /// Number of inputs of the output layer: E where it is the embedding, else H.
    pub fn output_inputs(&self) -> usize {
        let tied = self.stack.embedding_dim.filter(|_| self.tie_embeddings);
        tied.unwrap_or(self.stack.hidden_size)
    }

    fn projection_len(&self) -> usize {
        match self.output_inputs() {
            columns if columns == self.stack.hidden_size => 0,
            columns => columns * self.stack.hidden_size,
        }
    }

    /// Weights that only the output layer has.
    fn untied_len(&self) -> usize {
        if self.tie_embeddings {
            0
        } else {
            self.output_size * self.stack.hidden_size
        }
    }

    /// Values of each layer's state that are computed from features, S; none without features.
    fn initial_state_lens(&self) -> impl Iterator<Item = usize> {
        let layers = match self.num_features {
            0 => 0,
            _ => self.stack.cells.len(),
        };
        (0..layers).map(|layer| self.stack.state_len(layer))
    }

    /// Lengths of the parameter groups, in order, and whether weight decay applies (to matrices, not to biases).
    pub fn groups(&self) -> impl Iterator<Item = (usize, bool)> {
        let initial_states = self
            .initial_state_lens()
            .flat_map(|state| [(state * self.num_features, true), (state, false)]);
        let output = [
            (self.projection_len(), true),
            (self.untied_len(), true),
            (self.output_size, false),
        ];
        self.encoder
            .iter()
            .flat_map(StackConfig::groups)
            .chain(initial_states)
            .chain(self.stack.groups())
            .chain(output)
    }

    /// Number of parameters.
    pub fn num_parameters(&self) -> usize {
        self.groups().map(|(length, _)| length).sum()
    }

    pub(super) fn layout(&self) -> ParamLayout {
        let mut end = 0;
        let mut next = |length| {
            end += length;
            end - length..end
        };
        let encoder = self.encoder.as_ref();
        let encoder = next(encoder.map_or(0, StackConfig::num_parameters));
        let initial_states = self
            .initial_state_lens()
            .map(|state| (next(state * self.num_features), next(state)))
            .collect();
        let stack = next(self.stack.num_parameters());
        let projection = next(self.projection_len());
        let own = next(self.untied_len());
        let embedding = self.stack.layout().0;
        ParamLayout {
            output_bias: next(self.output_size),
            output: match self.tie_embeddings {
                true => stack.start + embedding.start..stack.start + embedding.end,
                false => own,
            },
            encoder,
            initial_states,
            stack,
            projection,
        }
    }

    /// Random parameters: uniform within `1 / sqrt(H)`, then as each cell wants them.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let bound = 1.0 / (self.stack.hidden_size as f32).sqrt();
        let mut random = random::stream(seed, random::Purpose::Weights, 0, 0);
        let mut parameters: Vec<f32> = (0..self.num_parameters())
            .map(|_| bound * (2.0 * random::unit(&mut random) - 1.0))
            .collect();
        let layout = self.layout();
        if let Some(encoder) = &self.encoder {
            encoder.initialize(&mut parameters[layout.encoder]);
        }
        self.stack.initialize(&mut parameters[layout.stack]);
        parameters
    }
}

/// Token rows side by side, padded to one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequences {
    /// `[T][B]`
    pub tokens: Vec<u16>,
    /// Tokens of each row, `[B]`.
    pub lengths: Vec<usize>,
}

impl Sequences {
    /// Number of steps, T.
    fn steps(&self) -> usize {
        self.tokens
            .len()
            .checked_div(self.lengths.len())
            .unwrap_or(0)
    }
}

/// One shard of a batch: B rows.
#[derive(Clone, Debug, Default)]
pub struct Batch<'a> {
    /// What the encoder reads; empty without an encoder.
    pub source: Sequences,
    /// `[F][B]`
    pub features: Vec<f32>,
    /// What the layers below the output layer read.
    pub inputs: Sequences,
    /// Right predictions, `[T][B]`, or `[B]` with [`Pooling::LastStep`]; [`IGNORE_INDEX`] where there is no prediction.
    pub targets: Vec<u16>,
    /// Soft targets of teachers for the same predictions.
    pub soft: Option<Soft<'a>>,
}

impl Batch<'_> {
    /// Number of rows, B.
    pub fn rows(&self) -> usize {
        self.inputs.lengths.len()
    }

    /// Number of predictions.
    pub fn predictions(&self) -> usize {
        let is_prediction = |target: &&u16| **target != IGNORE_INDEX;
        self.targets.iter().filter(is_prediction).count()
    }
}

/// The sizes that activations depend on: B, S, T.
type BatchShape = [usize; 3];

/// The last hidden state of each row as the output layer reads it, one step, with its own dropout.
struct LastState {
    mask: Vec<f32>,
    read: Series, // [H][1][B]
    grad: Series,
}

struct Projection {
    dense: Head,
    output: Series, // [E][T][B]
    grad: Series,
}

/// The activations of a network for batches of one shape.
struct Activations {
    shape: BatchShape,
    encoder: Option<Stack>,
    stack: Stack,
    last: Option<LastState>,
    projection: Option<Projection>,
    output: Head,
    /// `[C][T][B]`; after the loss, the gradient with respect to them.
    logits: Series,
}

impl Activations {
    fn new(config: &ModelConfig, rates: DropoutRates, shape: BatchShape) -> Self {
        let [batch, source_steps, steps] = shape;
        let hidden = config.stack.hidden_size;
        let stack = |config, steps: usize| Stack::new(config, steps, batch, rates);
        let outputs = match config.pooling {
            Pooling::EveryStep => steps,
            Pooling::LastStep => 1,
        };
        let columns = config.output_inputs();
        let series = |features| Series::new(features, outputs, batch);
        Self {
            shape,
            encoder: config.encoder.as_ref().map(|e| stack(e, source_steps)),
            stack: stack(&config.stack, steps * config.steps_per_token),
            last: (config.pooling == Pooling::LastStep).then(|| LastState {
                mask: Vec::new(),
                read: series(hidden),
                grad: series(hidden),
            }),
            projection: (config.projection_len() > 0).then(|| Projection {
                dense: Head::new(columns, hidden),
                output: series(columns),
                grad: series(columns),
            }),
            output: Head::new(config.output_size, columns),
            logits: series(config.output_size),
        }
    }
}

/// Tokens as the recurrent layers read them, `[T * steps_per_token][groups]`, and the rows' lengths in these steps.
struct Steps {
    tokens: Vec<[u16; LANES]>,
    lengths: Vec<usize>,
}

impl Steps {
    fn new(sequences: &Sequences, runs: usize) -> Self {
        let Sequences { tokens, lengths } = sequences;
        let batch = lengths.len().max(1);
        let tokens = grouped(tokens, batch, 0);
        let tokens = match runs {
            1 => tokens,
            runs => tokens
                .chunks_exact(batch.div_ceil(LANES))
                .flat_map(|step| std::iter::repeat_n(step, runs))
                .flatten()
                .copied()
                .collect(),
        };
        let lengths = lengths.iter().map(|length| length * runs).collect();
        Self { tokens, lengths }
    }
}

/// What the forward pass leaves for the backward pass, besides the activations.
struct Forward {
    source: Steps,
    inputs: Steps,
    /// Initial states that were computed from features; empty otherwise.
    initial_states: Vec<f32>,
}

/// A network in training: one thread's activations.
pub struct TrainableNetwork {
    config: ModelConfig,
    layout: ParamLayout,
    rates: DropoutRates,
    activations: Option<Activations>,
}

impl TrainableNetwork {
    /// A network of these sizes with these dropout rates.
    pub fn new(config: ModelConfig, rates: DropoutRates) -> Self {
        Self {
            layout: config.layout(),
            config,
            rates,
            activations: None,
        }
    }

    /// Forward and backward over one batch. Returns the sum of the losses of all predictions, in nats, and sets `gradient`, laid
    /// out as the parameters. With soft targets, the gradient is that of the mixture, the loss that of the plain targets.
    ///
    /// `state`: if given, the states that the layers start from (empty: zeros); it becomes their last states. `random` gives the
    /// dropout masks.
    ///
    /// # Panics
    /// If a length does not fit, or a token is out of range.
    pub fn loss_and_gradient(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        state: Option<&mut Vec<f32>>,
        random: &mut ChaCha8Rng,
        gradient: &mut [f32],
    ) -> f64 {
        gradient.fill(0.0);
        if batch.rows() == 0 {
            return 0.0;
        }
        let forward = self.forward(parameters, batch, state, random);
        let activations = self.activations.as_mut().expect("a forward pass");
        let targets = grouped(&batch.targets, batch.rows(), IGNORE_INDEX);
        let loss = softmax::loss(&mut activations.logits, &targets);
        if let Some(soft) = &batch.soft {
            softmax::soften(&mut activations.logits, &batch.targets, soft);
        }
        self.backward(parameters, batch, forward, gradient);
        loss
    }

    /// The sum of the losses of all predictions, in nats. The network must have no dropout.
    ///
    /// # Panics
    /// As [`loss_and_gradient`](Self::loss_and_gradient).
    pub fn loss(&mut self, parameters: &[f32], batch: &Batch, state: Option<&mut Vec<f32>>) -> f64 {
        self.logits(parameters, batch, state);
        let activations = self.activations.as_mut().expect("a forward pass");
        let targets = grouped(&batch.targets, batch.rows(), IGNORE_INDEX);
        softmax::loss(&mut activations.logits, &targets)
    }

    /// The logits, `[C][T][B]`. The network must have no dropout.
    ///
    /// # Panics
    /// As [`loss_and_gradient`](Self::loss_and_gradient), or with dropout.
    pub fn logits(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        state: Option<&mut Vec<f32>>,
    ) -> &Series {
        assert_eq!(self.rates, DropoutRates::default(), "dropout");
        let mut unused = random::stream(0, random::Purpose::Dropout, 0, 0);
        self.forward(parameters, batch, state, &mut unused);
        &self.activations.as_ref().expect("a forward pass").logits
    }

    /// Fills `logits`.
    fn forward(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        state: Option<&mut Vec<f32>>,
        random: &mut ChaCha8Rng,
    ) -> Forward {
        let Self {
            config,
            layout,
            rates,
            activations,
        } = self;
        let shape = [batch.rows(), batch.source.steps(), batch.inputs.steps()];
        if activations.as_ref().is_none_or(|old| old.shape != shape) {
            // The old ones are freed first.
            *activations = None;
        }
        let Activations {
            encoder,
            stack,
            last,
            projection,
            output,
            logits,
            ..
        } = activations.get_or_insert_with(|| Activations::new(config, *rates, shape));

        let source = Steps::new(&batch.source, 1);
        let inputs = Steps::new(&batch.inputs, config.steps_per_token);
        let mut initial_states = Vec::new();
        if let Some(encoder) = encoder {
            let weights = &parameters[layout.encoder.clone()];
            encoder.forward(weights, &source.tokens, &[], random);
            initial_states = encoder.states_at_lengths(&source.lengths);
        }
        for (w, b) in &layout.initial_states {
            let (w, b) = (&parameters[w.clone()], &parameters[b.clone()]);
            initial_states.extend(initial_states::forward(w, b, &batch.features, shape[0]));
        }
        let weights = &parameters[layout.stack.clone()];
        let start = state.as_deref().unwrap_or(&initial_states);
        stack.forward(weights, &inputs.tokens, start, random);
        if let Some(state) = state {
            *state = stack.state();
        }

        let read = match last {
            None => stack.output(),
            Some(last) => {
                let states = stack.states_at_lengths(&inputs.lengths);
                last.forward(&states[stack.last_hidden()], rates.layers, random);
                &last.read
            }
        };
        let read = match projection {
            None => read,
            Some(Projection { dense, output, .. }) => {
                dense.forward(&parameters[layout.projection.clone()], &[], read, output);
                output
            }
        };
        let (w, b) = (layout.output.clone(), layout.output_bias.clone());
        output.forward(&parameters[w], &parameters[b], read, logits);
        Forward {
            source,
            inputs,
            initial_states,
        }
    }

    /// From the gradient in `logits`.
    fn backward(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        forward: Forward,
        gradient: &mut [f32],
    ) {
        let Self {
            layout,
            activations,
            ..
        } = self;
        let Activations {
            encoder,
            stack,
            last,
            projection,
            output,
            logits,
            ..
        } = activations.as_mut().expect("a forward pass");
        let ParamLayout {
            output: w,
            output_bias: b,
            projection: p,
            ..
        } = &*layout;
        let [dw, db, dp] = gradient
            .get_disjoint_mut([w.clone(), b.clone(), p.clone()])
            .expect("parts do not overlap");
        let weights = &parameters[w.clone()];
        if last.is_some() {
            // Only the last states were read.
            stack.clear_grad();
        }
        let (read, grad) = match last {
            None => stack.output_and_grad(),
            Some(LastState { read, grad, .. }) => (&*read, grad),
        };
        match projection {
            None => output.backward(weights, read, logits, (dw, db), grad),
            Some(Projection {
                dense,
                output: projected,
                grad: grad_projected,
            }) => {
                output.backward(weights, projected, logits, (dw, db), grad_projected);
                let weights = &parameters[p.clone()];
                dense.backward(weights, read, grad_projected, (dp, &mut []), grad);
            }
        }
        let handed = last.as_ref().map(|last| {
            let mut handed = vec![0.0; stack.state_len()];
            last.backward(&mut handed[stack.last_hidden()]);
            (&*forward.inputs.lengths, handed)
        });
        let handed = handed.as_ref().map(|(steps, handed)| (*steps, &**handed));
        let grad_states = stack.backward(
            &parameters[layout.stack.clone()],
            &forward.inputs.tokens,
            handed,
            &mut gradient[layout.stack.clone()],
        );
        if let Some(encoder) = encoder {
            encoder.clear_grad();
            encoder.backward(
                &parameters[layout.encoder.clone()],
                &forward.source.tokens,
                Some((&forward.source.lengths, &grad_states)),
                &mut gradient[layout.encoder.clone()],
            );
            return;
        }
        let (mut states, mut grads) = (&forward.initial_states[..], grad_states);
        let mut grads = &mut grads[..];
        for (w, b) in &layout.initial_states {
            let len = b.len() * batch.rows();
            let (state, rest) = states.split_at(len);
            let (grad, rest_of_grads) = grads.split_at_mut(len);
            let (dw, db) = gradient[w.start..b.end].split_at_mut(w.len());
            initial_states::backward(state, grad, &batch.features, dw, db);
            (states, grads) = (rest, rest_of_grads);
        }
    }
}

impl LastState {
    /// `state`: `[H][B]`.
    fn forward(&mut self, state: &[f32], dropout: f32, random: &mut ChaCha8Rng) {
        self.mask.clear();
        if dropout == 0.0 {
            return self.read.set_slot(1, state);
        }
        self.mask.resize(state.len(), 0.0);
        random::mask(random, dropout, &mut self.mask);
        let mut kept = vec![0.0; state.len()];
        product(&mut kept, state, &self.mask);
        self.read.set_slot(1, &kept);
    }

    /// Sets `to`, the gradient with respect to the state.
    fn backward(&self, to: &mut [f32]) {
        to.copy_from_slice(&self.grad.slot(1));
        if !self.mask.is_empty() {
            scale(to, &self.mask);
        }
    }
}
