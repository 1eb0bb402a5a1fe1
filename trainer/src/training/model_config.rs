//! The sizes of a trainable network, and the places of its weights among flat parameters.

use std::ops::Range;

use super::stack_config::StackConfig;
use crate::nn::random;

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

    pub(super) fn projection_len(&self) -> usize {
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
