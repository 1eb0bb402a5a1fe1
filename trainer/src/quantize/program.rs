//! Lowers quantized networks to the list of layers of a model file, in execution order.
//!
//! ```text
//! features (begin)
//! of an encoder: begin layers, input (source), recurrent layers (source)
//! begin layers, input (step), recurrent layers (step), mean (step), head (output)
//! ```

use super::QuantizeError;
use super::parts::{InputParts, NetworkParts, RecurrentParts, StartParts, shape};
use crate::network::{self, Reads, StateId};
use pipsqueak::encode::{
    DenseParams, LayerParams, OpParams, RecurrentParams, TokenRows, VocabularyParams,
};
use pipsqueak::format::{
    MAX_LAYERS, Normalization, OutputConfig, Phase, Role, StateInit, VectorId,
};

/// The layers of a model, and what else depends on its networks.
pub(super) struct Program {
    pub layers: Vec<LayerParams>,
    pub output: OutputConfig,
    /// Of the encoder and of the network itself.
    pub steps_per_token: [u8; 2],
    /// Steps of a network that reads its features at each step; 0 for others.
    pub fixed_steps: u16,
}

/// The layers of `network` and of its encoder.
///
/// # Errors
/// If they are more than a model holds, or there is no layer for a part of them.
pub(super) fn lower(
    encoder: Option<NetworkParts>,
    network: NetworkParts,
    vocabularies: &[VocabularyParams; 2],
) -> Result<Program, QuantizeError> {
    let mut builder = Builder::default();
    let all = || encoder.iter().chain([&network]);
    let fixed_steps = all().map(|network| match network.input {
        InputParts::Features { steps } => steps,
        _ => 0,
    });
    let fixed_steps = fixed_steps.max().unwrap_or(0);
    let encoder_steps = encoder
        .as_ref()
        .map_or(1, |encoder| encoder.steps_per_token);
    let steps_per_token = [encoder_steps, network.steps_per_token];
    let role = role(&network, encoder.is_some(), vocabularies);
    let (reads, normalization) = (network.reads, network.normalization);
    if let Some(features) = all().map(|n| &n.features).find(|f| !f.is_empty()) {
        let exponents = features.clone();
        builder.push(Phase::Begin, vec![], OpParams::Frame { exponents });
    }
    if let Some(encoder) = encoder {
        if encoder.layers.is_empty() {
            return shape("an encoder without recurrent layers", "at least one");
        }
        builder.network(encoder, Phase::Source)?;
        builder.encoder = std::mem::take(&mut builder.recurrent);
    }
    let vector = builder.network(network, Phase::Step)?;
    match builder.layers.len() {
        found if found > MAX_LAYERS => Err(QuantizeError::TooLarge {
            what: "layers, dense ones included",
            found,
            limit: MAX_LAYERS,
        }),
        _ => Ok(Program {
            layers: builder.layers,
            output: OutputConfig {
                vector,
                role,
                every_step: reads == Reads::EveryStep,
                normalization: match normalization {
                    network::Normalization::None => Normalization::None,
                    network::Normalization::Softmax => Normalization::Softmax,
                    network::Normalization::LogSoftmax => Normalization::LogSoftmax,
                },
            },
            steps_per_token,
            fixed_steps,
        }),
    }
}

/// What the outputs of `network` mean.
fn role(network: &NetworkParts, has_encoder: bool, vocabularies: &[VocabularyParams; 2]) -> Role {
    let reads_tokens = !matches!(
        network.input,
        InputParts::Vectors(_) | InputParts::Features { .. }
    );
    let outputs = network.head.last().map(|last| last.matrix.bias.len());
    let outputs = outputs.or(network.layers.last().map(|layer| layer.hidden));
    let [source, target] = vocabularies.each_ref().map(|v| !v.tokens.is_empty());
    // Tokens of another vocabulary than the source's are those that the network generates.
    let own = has_encoder || !network.features.is_empty() || !source;
    let every_step = network.reads == Reads::EveryStep;
    if reads_tokens && outputs == Some(network.count) && every_step && own {
        Role::Logits
    } else if target || network.normalization != network::Normalization::None {
        Role::Scores
    } else {
        Role::Values
    }
}

#[derive(Default)]
struct Builder {
    layers: Vec<LayerParams>,
    /// The recurrent layers of the encoder, by their place in the list.
    encoder: Vec<usize>,
    /// The same of the network that is being lowered.
    recurrent: Vec<usize>,
}

/// The conditioning features: the first layer of a model that has any.
const FEATURES: VectorId = VectorId::result(0);

impl Builder {
    /// Adds a layer, and returns its result.
    fn push(&mut self, phase: Phase, inputs: Vec<VectorId>, op: OpParams) -> VectorId {
        self.layers.push(LayerParams { phase, inputs, op });
        VectorId::result(self.layers.len() - 1)
    }

    /// Adds dense layers, each over the result of the one before and the first over `x`; returns the last result.
    fn chain(&mut self, phase: Phase, x: VectorId, list: Vec<DenseParams>) -> VectorId {
        let add = |x, dense| self.push(phase, vec![x], OpParams::Dense(dense));
        list.into_iter().fold(x, add)
    }

    /// Adds the layers of a network that runs in `phase`; returns its output.
    fn network(
        &mut self,
        mut network: NetworkParts,
        phase: Phase,
    ) -> Result<VectorId, QuantizeError> {
        let repeated = match network.input {
            InputParts::Features { .. } => {
                let dense = std::mem::take(&mut network.dense);
                Some(self.chain(Phase::Begin, FEATURES, dense))
            }
            _ => None,
        };
        let layers = network.layers.iter_mut();
        let inits: Vec<[StateInit; 2]> = layers.map(|layer| self.inits(layer)).collect();
        let last = network.head.last();
        let tied_dim = last.map_or(0, |last| last.matrix.format.columns[0]);
        let mut tied = None;
        let mut x = match (repeated, network.input) {
            (Some(x), _) => x,
            (None, InputParts::Features { .. }) => FEATURES,
            (None, InputParts::Vectors(exponents)) => {
                let x = self.push(phase, vec![], OpParams::Frame { exponents });
                self.chain(phase, x, network.dense)
            }
            (None, InputParts::Table(values)) => {
                self.token(phase, network.count, TokenRows::Gates(values))
            }
            (None, InputParts::Embedding { columns, values }) => {
                let dim = columns;
                self.token(phase, network.count, TokenRows::Embedding { dim, values })
            }
            (None, InputParts::Tied { min_shift }) => {
                let rows = TokenRows::Tied {
                    dim: tied_dim,
                    // The output layer, which is known at the end.
                    layer: 0,
                    min_shift,
                };
                let x = self.token(phase, network.count, rows);
                tied = Some(x.layer());
                x
            }
        };
        self.recurrent.clear();
        for (layer, init) in network.layers.into_iter().zip(inits) {
            let op = OpParams::Recurrent(recurrent(layer, init));
            x = self.push(phase, vec![x], op);
            self.recurrent.push(x.layer());
        }
        if phase == Phase::Source {
            return Ok(x);
        }
        let output = self.head(x, network.reads, network.head)?;
        if let Some(token) = tied
            && let OpParams::Token { rows, .. } = &mut self.layers[token].op
            && let TokenRows::Tied { layer, .. } = rows
        {
            *layer = output.layer();
        }
        Ok(output)
    }

    /// Adds a layer that reads tokens.
    fn token(&mut self, phase: Phase, vocab_size: usize, rows: TokenRows) -> VectorId {
        self.push(phase, vec![], OpParams::Token { vocab_size, rows })
    }

    /// Adds the mean over the steps, if the head reads it, and the dense layers of the head; returns the output.
    fn head(
        &mut self,
        mut x: VectorId,
        reads: Reads,
        head: Vec<DenseParams>,
    ) -> Result<VectorId, QuantizeError> {
        if reads == Reads::Mean {
            if matches!(self.layers[x.layer()].op, OpParams::Frame { .. }) {
                return shape(
                    "a mean over the input vectors themselves",
                    "a recurrent or a dense layer before it",
                );
            }
            x = self.push(Phase::Step, vec![x], OpParams::Mean);
        }
        // A model needs a step layer: dense layers over the features alone run in each step.
        let has_step = self.layers.iter().any(|layer| layer.phase == Phase::Step);
        let phase = if has_step { Phase::Output } else { Phase::Step };
        Ok(self.chain(phase, x, head))
    }

    /// Adds the begin layers of the initial states of `layer`; returns the vectors that they begin as.
    fn inits(&mut self, layer: &mut RecurrentParts) -> [StateInit; 2] {
        let starts = std::mem::replace(&mut layer.starts, [StartParts::Zero, StartParts::Zero]);
        let [hidden, cell] = starts;
        [
            self.init(hidden, Some(15 - layer.state_shift)),
            self.init(cell, None),
        ]
    }

    /// Adds the begin layers of one initial state: of a hidden state with these fraction bits, or of a cell state.
    fn init(&mut self, start: StartParts, frac_bits: Option<u8>) -> StateInit {
        match start {
            StartParts::Zero => None,
            StartParts::Constant(values) => {
                let Some(frac_bits) = frac_bits else {
                    let x = self.push(Phase::Begin, vec![], OpParams::ConstantCell { values });
                    return Some(VectorId::cell_state(x.layer()));
                };
                let values = values.into_iter().map(|value| value as i16).collect();
                let op = OpParams::Constant { values, frac_bits };
                Some(self.push(Phase::Begin, vec![], op))
            }
            StartParts::Features(dense) => Some(self.chain(Phase::Begin, FEATURES, dense)),
            StartParts::Encoder { from, dense } => {
                let StateId { layer, cell } = from;
                let layer = self.encoder[layer];
                let state = match cell {
                    true => VectorId::cell_state(layer),
                    false => VectorId::result(layer),
                };
                Some(self.chain(Phase::Begin, state, dense))
            }
        }
    }
}

fn recurrent(layer: RecurrentParts, init: [StateInit; 2]) -> RecurrentParams {
    RecurrentParams {
        cell: layer.cell,
        hidden_size: layer.hidden,
        state_shift: layer.state_shift,
        formats: layer.formats,
        gates: layer.gates,
        token_scales: layer.token_scales,
        candidate_input_bias: layer.candidate_input_bias,
        init,
    }
}
