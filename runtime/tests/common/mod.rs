//! Lists of layers in few words.

#![allow(dead_code, reason = "no test uses all of it")]

use pipsqueak::encode::{ModelConfig, ModelParams, as_bytes, encode, sample_configs};
use pipsqueak::format::{
    Inputs, LayerConfig, Metadata, Normalization, OpConfig, OutputConfig, Phase, Role,
    TokenRowsConfig, VectorId,
};
use pipsqueak::{Activation, RecurrentLayerConfig, WeightFormat, round_up};

/// A configuration to which layers are added.
pub struct Network {
    pub config: ModelConfig,
}

impl Network {
    pub fn new() -> Self {
        Self {
            config: ModelConfig {
                metadata: Metadata {
                    steps_per_token: [1; 2],
                    ..Metadata::default()
                },
                layers: vec![],
            },
        }
    }

    /// Adds a layer and returns its result.
    pub fn add(&mut self, phase: Phase, inputs: &[VectorId], op: OpConfig) -> VectorId {
        let inputs = Inputs::new(inputs.iter().copied()).expect("few inputs");
        self.config.layers.push(LayerConfig { phase, inputs, op });
        self.last()
    }

    /// Adds a layer that reads the one before.
    pub fn then(&mut self, phase: Phase, op: OpConfig) -> VectorId {
        self.add(phase, &[self.last()], op)
    }

    /// The result of the last layer.
    pub fn last(&self) -> VectorId {
        VectorId::result(self.config.layers.len() - 1)
    }

    pub fn output(&mut self, vector: VectorId, role: Role, every_step: bool) {
        let output = OutputConfig {
            vector,
            role,
            every_step,
            normalization: Normalization::None,
        };
        let pushed = self.config.metadata.outputs.push(output);
        pushed.expect("few outputs");
    }

    /// The last layer is the logits.
    pub fn logits(mut self) -> ModelConfig {
        self.output(self.last(), Role::Logits, true);
        self.config
    }

    /// The last layer is an output of values.
    pub fn values(mut self) -> ModelConfig {
        self.output(self.last(), Role::Values, true);
        self.config
    }
}

pub fn dense_of(output_size: u16, activation: Activation, format: WeightFormat) -> OpConfig {
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

pub fn dense(output_size: u16, activation: Activation) -> OpConfig {
    dense_of(output_size, activation, WeightFormat::Int8)
}

pub fn linear(output_size: u16) -> OpConfig {
    dense(output_size, Activation::Linear)
}

pub fn embedding(vocab_size: u16, dim: u32) -> OpConfig {
    OpConfig::Token {
        vocab_size,
        dim,
        rows: TokenRowsConfig::Embedding,
    }
}

pub fn tied(vocab_size: u16, dim: u32, layer: u8) -> OpConfig {
    OpConfig::Token {
        vocab_size,
        dim,
        rows: TokenRowsConfig::Tied {
            layer,
            min_shift: 0,
        },
    }
}

/// Rows of gate inputs for `reader`.
pub fn gate_rows(vocab_size: u16, reader: &RecurrentLayerConfig) -> OpConfig {
    OpConfig::Token {
        vocab_size,
        dim: (reader.cell.num_gates() * round_up(reader.hidden_size.into())) as u32,
        rows: TokenRowsConfig::Gates,
    }
}

/// The sample configuration `name`.
pub fn sample(name: &str) -> ModelConfig {
    let mut all = sample_configs().into_iter();
    let found = all.find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("no sample {name}")).1
}

/// The model file of random parameters for `config`.
pub fn model_file(seed: u64, config: &ModelConfig) -> Vec<u8> {
    let words = encode(&ModelParams::random(seed, config)).expect("a valid configuration");
    as_bytes(&words).to_vec()
}
