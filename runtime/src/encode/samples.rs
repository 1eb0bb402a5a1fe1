//! Small configurations of every kind, for tests.

use super::ModelConfig;
use crate::format::{
    ConstantKind, Inputs, LayerConfig, Metadata, Normalization, OpConfig, OutputConfig, Phase,
    RecurrentLayerConfig, Role, SpecialTokens, TokenRowsConfig, VectorId, VocabularyConfig,
};
use crate::tokenization::Tokenization;
use alloc::vec;
use alloc::vec::Vec;
use pipsqueak_kernels::cell::Cell;
use pipsqueak_kernels::dense::Activation;
use pipsqueak_kernels::packed::{WeightFormat, round_up};

const INT4: [WeightFormat; 2] = [WeightFormat::Int4; 2];
const INT8_INT4: [WeightFormat; 2] = [WeightFormat::Int8Scaled, WeightFormat::Int4];

/// A language model of one step per token, whose output layer has int8 weights. `embedding_dim` 0: tokens are rows of gate inputs.
///
/// # Panics
/// If there is no layer.
pub fn language_model(
    vocab_size: usize,
    embedding_dim: usize,
    layers: &[RecurrentLayerConfig],
) -> ModelConfig {
    let mut builder = Builder::default();
    let rows = match embedding_dim {
        0 => None,
        dim => Some((TokenRowsConfig::Embedding, dim)),
    };
    builder.token(Phase::Step, vocab_size, rows, &layers[0]);
    for layer in layers {
        builder.recurrent(Phase::Step, *layer);
    }
    builder.dense(Phase::Output, linear(vocab_size as u16));
    builder.logits();
    builder.vocabulary(1, plain(vocab_size as u16))
}

/// A vocabulary without special tokens.
fn plain(tokens: u16) -> VocabularyConfig {
    VocabularyConfig {
        tokens,
        ..VocabularyConfig::default()
    }
}

pub(super) fn dense(output_size: u16, activation: Activation, format: WeightFormat) -> OpConfig {
    OpConfig::Dense {
        output_size,
        activation,
        frac_bits: match activation {
            Activation::Tanh | Activation::Sigmoid => 15,
            Activation::Linear | Activation::Relu => 9,
        },
        format,
    }
}

fn linear(output_size: u16) -> OpConfig {
    dense(output_size, Activation::Linear, WeightFormat::Int8)
}

/// Adds layers that each read the one before.
pub(super) struct Builder {
    pub config: ModelConfig,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            config: ModelConfig {
                metadata: Metadata {
                    steps_per_token: [1; 2],
                    ..Metadata::default()
                },
                layers: Vec::new(),
            },
        }
    }
}

impl Builder {
    /// Adds a layer and returns its index.
    pub fn layer(&mut self, phase: Phase, inputs: &[VectorId], op: OpConfig) -> usize {
        let inputs = Inputs::new(inputs.iter().copied()).expect("few inputs");
        self.config.layers.push(LayerConfig { phase, inputs, op });
        self.config.layers.len() - 1
    }

    /// Tokens by rows of gate inputs of `reader`, or by others of some elements.
    fn token(
        &mut self,
        phase: Phase,
        vocab_size: usize,
        rows: Option<(TokenRowsConfig, usize)>,
        reader: &RecurrentLayerConfig,
    ) -> usize {
        let gates = reader.cell.num_gates() * round_up(reader.hidden_size.into());
        let (rows, dim) = rows.unwrap_or((TokenRowsConfig::Gates, gates));
        let op = OpConfig::Token {
            vocab_size: vocab_size as u16,
            dim: dim as u32,
            rows,
        };
        self.layer(phase, &[], op)
    }

    fn last(&self) -> VectorId {
        VectorId::result(self.config.layers.len() - 1)
    }

    fn recurrent(&mut self, phase: Phase, config: RecurrentLayerConfig) -> usize {
        self.layer(phase, &[self.last()], OpConfig::Recurrent(config))
    }

    fn dense(&mut self, phase: Phase, op: OpConfig) -> usize {
        self.layer(phase, &[self.last()], op)
    }

    fn output(&mut self, role: Role, every_step: bool) {
        let output = OutputConfig {
            vector: self.last(),
            role,
            every_step,
            normalization: Normalization::None,
        };
        let pushed = self.config.metadata.outputs.push(output);
        pushed.expect("few outputs");
    }

    fn logits(&mut self) {
        self.output(Role::Logits, true);
    }

    fn vocabulary(mut self, index: usize, vocabulary: VocabularyConfig) -> ModelConfig {
        self.config.metadata.vocabularies[index] = vocabulary;
        self.config
    }
}

/// Small configurations by name: each cell, kind of input, initial state, output and weight format, several steps per token, an
/// encoder with its decoder, joined inputs, a sum and two outputs.
pub fn sample_configs() -> Vec<(&'static str, ModelConfig)> {
    let layer = RecurrentLayerConfig::new;
    vec![
        ("lstm", language_model(31, 0, &[layer(Cell::Lstm, 14)])),
        (
            "lstm-rnn",
            language_model(26, 6, &[layer(Cell::Lstm, 9), layer(Cell::Rnn, 7)]),
        ),
        ("rnn", constant_start()),
        ("words", words()),
        ("translator", translator()),
        ("features", features()),
        ("sensors", sensors()),
        ("four", int4()),
        ("mixed", mixed()),
        ("wide-input", int8_input()),
        ("joined", joined()),
    ]
}

/// A hidden state that begins as a constant.
fn constant_start() -> ModelConfig {
    let mut builder = Builder::default();
    let constant = OpConfig::Constant {
        size: 11,
        kind: ConstantKind::Vector { frac_bits: 15 },
    };
    let start = builder.layer(Phase::Begin, &[], constant);
    let rnn = RecurrentLayerConfig {
        init: [Some(VectorId::result(start)), None],
        ..RecurrentLayerConfig::new(Cell::Rnn, 11)
    };
    builder.token(Phase::Step, 23, None, &rnn);
    builder.recurrent(Phase::Step, rnn);
    builder.dense(Phase::Output, linear(23));
    builder.logits();
    builder.vocabulary(1, plain(23))
}

/// Words, with a tied embedding.
fn words() -> ModelConfig {
    let mut builder = Builder::default();
    let gru = RecurrentLayerConfig::new(Cell::GruResetAfter, 10);
    let tied = TokenRowsConfig::Tied {
        layer: 2,
        min_shift: 0,
    };
    builder.token(Phase::Step, 30, Some((tied, 10)), &gru);
    builder.recurrent(Phase::Step, gru);
    builder.dense(Phase::Output, linear(30));
    builder.logits();
    let vocabulary = VocabularyConfig {
        tokenization: Tokenization::SpacedWord { lowercase: true },
        initial_token: 3,
        special_tokens: SpecialTokens {
            bos: Some(3),
            eos: Some(1),
            pad: Some(0),
            unk: Some(29),
        },
        ..plain(30)
    };
    builder.vocabulary(1, vocabulary)
}

/// An encoder and a decoder, with dense layers between their states.
fn translator() -> ModelConfig {
    let mut builder = Builder::default();
    let encoder = RecurrentLayerConfig::new(Cell::Lstm, 13);
    let embedding = Some((TokenRowsConfig::Embedding, 5));
    builder.token(Phase::Source, 29, embedding, &encoder);
    let states = builder.recurrent(Phase::Source, encoder);
    let hidden = dense(8, Activation::Tanh, WeightFormat::Int8);
    let hidden = builder.layer(Phase::Begin, &[VectorId::result(states)], hidden);
    let cell = builder.layer(Phase::Begin, &[VectorId::cell_state(states)], linear(8));
    let decoder = RecurrentLayerConfig {
        init: [hidden, cell].map(|layer| Some(VectorId::result(layer))),
        ..RecurrentLayerConfig::new(Cell::Lstm, 8)
    };
    builder.token(Phase::Step, 26, None, &decoder);
    builder.recurrent(Phase::Step, decoder);
    builder.dense(Phase::Output, linear(26));
    builder.logits();
    builder.config.metadata.max_tokens = 20;
    builder.config.metadata.vocabularies[0] = VocabularyConfig {
        special_tokens: SpecialTokens {
            bos: None,
            eos: Some(26),
            pad: Some(27),
            unk: Some(28),
        },
        ..plain(29)
    };
    let target = VocabularyConfig {
        initial_token: 24,
        special_tokens: SpecialTokens {
            bos: Some(24),
            eos: Some(25),
            ..SpecialTokens::default()
        },
        ..plain(26)
    };
    builder.vocabulary(1, target)
}

/// Conditioning features that are the input of each step and the initial states.
fn features() -> ModelConfig {
    let mut builder = Builder::default();
    let tanh = |size| dense(size, Activation::Tanh, WeightFormat::Int8);
    let frame = builder.layer(Phase::Begin, &[], OpConfig::Frame { size: 5 });
    let frame = [VectorId::result(frame)];
    let input = builder.layer(Phase::Begin, &frame, tanh(7));
    let hidden = builder.layer(Phase::Begin, &frame, tanh(10));
    let cell = builder.layer(Phase::Begin, &frame, linear(10));
    let lstm = RecurrentLayerConfig {
        init: [hidden, cell].map(|layer| Some(VectorId::result(layer))),
        ..RecurrentLayerConfig::new(Cell::Lstm, 10)
    };
    builder.layer(
        Phase::Step,
        &[VectorId::result(input)],
        OpConfig::Recurrent(lstm),
    );
    builder.dense(Phase::Output, linear(6));
    builder.output(Role::Values, true);
    builder.config.metadata.fixed_steps = 9;
    builder.vocabulary(0, plain(5))
}

/// Frames, and dense layers over the mean of all steps.
fn sensors() -> ModelConfig {
    let mut builder = Builder::default();
    builder.layer(Phase::Step, &[], OpConfig::Frame { size: 3 });
    let gru = RecurrentLayerConfig::new(Cell::GruResetBefore, 9);
    builder.recurrent(Phase::Step, gru);
    builder.layer(Phase::Step, &[builder.last()], OpConfig::Mean);
    builder.dense(
        Phase::Output,
        dense(10, Activation::Relu, WeightFormat::Int8),
    );
    builder.dense(
        Phase::Output,
        dense(6, Activation::Sigmoid, WeightFormat::Int8),
    );
    builder.dense(Phase::Output, linear(4));
    builder.output(Role::Scores, false);
    builder.vocabulary(1, plain(4))
}

/// Int4 weights, two steps per token.
fn int4() -> ModelConfig {
    let gru = RecurrentLayerConfig::new(Cell::GruResetAfter, 35).with_formats(INT4);
    let mut config = language_model(28, 0, &[gru]);
    config.layers[2].op = dense(28, Activation::Linear, WeightFormat::Int4);
    config.metadata.steps_per_token[1] = 2;
    config
}

/// Layers of int4 and of int8 weights, three steps per token, and the mean of all steps.
fn mixed() -> ModelConfig {
    let mut builder = Builder::default();
    let layers = [
        RecurrentLayerConfig::new(Cell::Lstm, 9).with_formats(INT4),
        RecurrentLayerConfig::new(Cell::GruResetBefore, 7),
        RecurrentLayerConfig::new(Cell::GruResetAfter, 5).with_formats(INT4),
    ];
    let embedding = Some((TokenRowsConfig::Embedding, 6));
    builder.token(Phase::Step, 27, embedding, &layers[0]);
    for layer in layers {
        builder.recurrent(Phase::Step, layer);
    }
    builder.layer(Phase::Step, &[builder.last()], OpConfig::Mean);
    builder.dense(
        Phase::Output,
        dense(6, Activation::Tanh, WeightFormat::Int4),
    );
    builder.dense(Phase::Output, linear(4));
    builder.output(Role::Scores, false);
    builder.config.metadata.steps_per_token[1] = 3;
    builder.vocabulary(0, plain(27))
}

/// Each cell with int8 weights over the input and int4 weights over the hidden state.
fn int8_input() -> ModelConfig {
    let layer = |cell, size| RecurrentLayerConfig::new(cell, size).with_formats(INT8_INT4);
    let layers = [
        layer(Cell::Rnn, 35),
        layer(Cell::GruResetAfter, 9),
        layer(Cell::Lstm, 6),
        layer(Cell::GruResetBefore, 5),
    ];
    let mut config = language_model(25, 6, &layers);
    config.layers[5].op = dense(25, Activation::Linear, WeightFormat::Int4);
    config.metadata.steps_per_token[1] = 2;
    config
}

/// What only a list of layers can say: a recurrent layer that reads the frame, a dense layer and conditioning features joined,
/// a sum that skips a layer, and two outputs.
fn joined() -> ModelConfig {
    let mut builder = Builder::default();
    let features = builder.layer(Phase::Begin, &[], OpConfig::Frame { size: 3 });
    let frame = builder.layer(Phase::Step, &[], OpConfig::Frame { size: 5 });
    let relu = builder.dense(Phase::Step, dense(6, Activation::Relu, WeightFormat::Int8));
    let all = [frame, relu, features].map(VectorId::result);
    let gru = OpConfig::Recurrent(RecurrentLayerConfig::new(Cell::GruResetAfter, 7));
    let first = builder.layer(Phase::Step, &all, gru);
    let lstm = OpConfig::Recurrent(
        RecurrentLayerConfig::new(Cell::Lstm, 7)
            .with_formats([WeightFormat::Int4, WeightFormat::Int8]),
    );
    let between = builder.dense(Phase::Step, dense(5, Activation::Tanh, WeightFormat::Int8));
    let both = [first, between].map(VectorId::result);
    let second = builder.layer(Phase::Step, &both, lstm);
    let skip = [first, second].map(VectorId::result);
    let sum = builder.layer(Phase::Step, &skip, OpConfig::Sum { frac_bits: 14 });
    builder.layer(Phase::Output, &[VectorId::result(sum)], linear(4));
    builder.output(Role::Scores, true);
    let cell = [VectorId::result(sum), VectorId::cell_state(second)];
    builder.layer(Phase::Output, &cell, linear(3));
    builder.output(Role::Values, true);
    builder.config
}
