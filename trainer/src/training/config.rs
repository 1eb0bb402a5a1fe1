//! `config.toml`: every setting that decides the result of a training, in sections.

use super::model_config::{ModelConfig, Pooling};
use super::stack::DropoutRates;
use super::stack_config::StackConfig;
use crate::data::examples::ExampleOptions;
use crate::data::features::Features;
use crate::data::split::Split;
use crate::data::task::Task;
use crate::data::tokenizer::{Tokenizer, TokenizerKind};
use crate::network::formats::{INT4, INT8, INT8_INT4, WeightFormats};
use crate::nn::rnn::{Cells, Kind};
use crate::quantize::Options;
use pipsqueak::WeightFormat;

/// All settings. The same settings and data give the same bytes, on any number of threads.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is learned, from what.
    pub data: DataConfig,
    /// Sizes of the network.
    pub model: ModelSection,
    /// The optimizer and the batches.
    pub optimizer: OptimizerConfig,
    /// Weight formats of the model file, and quantization-aware training.
    #[serde(default)]
    pub quantization: QuantizationConfig,
    /// Knowledge distillation.
    #[serde(default)]
    pub distillation: DistillationConfig,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// What is learned.
    #[serde(default)]
    pub task: Task,
    /// Text to tokens, of a language model.
    #[serde(default)]
    pub tokenizer: Tokenizer,
    /// Words or subwords of the vocabulary; 0 where it has all characters, bytes or symbols.
    #[serde(default)]
    pub vocab_size: usize,
    /// Of a language model: whether each line is a document that ends in `<eos>`.
    #[serde(default)]
    pub line_documents: bool,
    /// Of a task on lines: how a source is cut into tokens.
    #[serde(default)]
    pub source_tokenizer: Tokenizer,
    /// Of a task on lines: how a target is cut into tokens.
    #[serde(default)]
    pub target_tokenizer: Tokenizer,
    /// Of a conditional generator: features that are computed from each line.
    #[serde(default)]
    pub features: Features,
    /// Percentages for training, dev and test.
    #[serde(default)]
    pub split: Split,
    /// The parts that are trained on.
    #[serde(default)]
    pub train_on: TrainOn,
}

impl DataConfig {
    /// Whether sources or targets are words of an open set, of which the vocabulary holds the most frequent ones.
    pub fn has_open_vocabulary(&self) -> bool {
        let is_open = |tokenizer: Tokenizer| {
            tokenizer.kind() == TokenizerKind::Word && tokenizer != Tokenizer::WHITESPACE
        };
        is_open(self.source_tokenizer) || is_open(self.target_tokenizer)
    }
}

/// The parts of the data that are trained on.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum TrainOn {
    /// The training part. The best step on dev is kept.
    #[default]
    #[serde(rename = "train")]
    Train,
    /// Training and dev part, for a given number of steps; nothing is chosen on dev then.
    #[serde(rename = "train+dev")]
    #[value(name = "train+dev")]
    TrainAndDev,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// The recurrent cell: one for all layers, or one for each.
    pub cell: Cells,
    /// Columns of the embedding. 0: none, the first layer's input weights have a column for each token.
    #[serde(default)]
    pub embedding_dim: usize,
    /// Whether the embedding is the output layer's weights too.
    #[serde(default)]
    pub tie_embeddings: bool,
    /// Units of each layer.
    pub hidden_size: usize,
    /// Number of recurrent layers.
    pub layers: usize,
    /// How often the recurrent layers run for each token, with tied weights.
    #[serde(default = "one")]
    pub steps_per_token: usize,
    /// Fraction of each layer's outputs that is dropped in training, 0 to below 1.
    pub dropout: f32,
    /// The same of the embedding's output.
    #[serde(default)]
    pub embedding_dropout: f32,
    /// SHA-256 of the model file that the initial weights are from; empty: random ones.
    #[serde(default)]
    pub init_from: String,
}

/// `[optimizer]`
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Seed of the initial weights, the order of the batches and dropout.
    pub seed: u64,
    /// Optimizer steps, quantization-aware ones among them.
    pub steps: u64,
    /// Rows of a batch: sequences or examples.
    pub batch_size: usize,
    /// Tokens of a sequence: how far back in time gradients go (truncated BPTT). Of a task on lines, the longest line.
    pub seq_len: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The last learning rate, as a fraction of the highest.
    pub min_lr_ratio: f64,
    /// Steps until the learning rate is at its highest.
    pub warmup_steps: u64,
    /// Decoupled weight decay of AdamW, on matrices only.
    pub weight_decay: f32,
    /// The largest norm of the gradient.
    pub grad_clip: f64,
    /// Decay of the moving average of the weights, which is what the model gets. 0: the last weights.
    pub ema_decay: f32,
    /// Steps between two evaluations on dev; 0: a fortieth of all steps.
    #[serde(default)]
    pub eval_every: u64,
    /// Evaluations without an improvement on dev after which the training stops; 0: it does all steps.
    #[serde(default)]
    pub patience: u64,
}

/// `[quantization]`
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuantizationConfig {
    /// Bits of the recurrent layers' weights in the model file: 8 or 4.
    pub weight_bits: u8,
    /// Bits of the first layer's weights over its input, such as an embedding; by default `weight_bits`. With 8 beside
    /// `weight_bits = 4` they are trained without quantization. Over a token table they make no difference.
    pub input_weight_bits: Option<u8>,
    /// Bits of the output layer's weights in the model file: 8 or 4.
    pub output_weight_bits: u8,
    /// Final steps in which 4-bit weights are quantized in the forward pass (QAT). They have their own learning rate schedule and
    /// start from the best weights so far.
    pub qat_steps: u64,
    /// The highest learning rate of these steps.
    pub qat_lr: f64,
    /// Decay of the moving average of the weights in these steps.
    pub qat_ema_decay: f32,
}

impl Default for QuantizationConfig {
    fn default() -> Self {
        Self {
            weight_bits: 8,
            input_weight_bits: None,
            output_weight_bits: 8,
            qat_steps: 0,
            qat_lr: 3e-4,
            qat_ema_decay: 0.995,
        }
    }
}

impl QuantizationConfig {
    /// Whether 4-bit weights are asked for.
    pub fn has_int4(&self) -> bool {
        self.weight_bits == 4 || self.output_weight_bits == 4
    }

    /// Whether the first layer has 8-bit weights over its input and 4-bit ones over its state.
    pub fn is_mixed(&self) -> bool {
        (self.input_weight_bits, self.weight_bits) == (Some(8), 4)
    }
}

/// `[distillation]`
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillationConfig {
    /// SHA-256 of the teachers' probabilities; empty: no teacher.
    pub targets: String,
    /// Order of the n-gram model of the training part that is the teacher; 0: none.
    pub ngram_order: usize,
    /// Weight of the distillation loss in the mixture with the data loss, 0 to below 1.
    pub distill_weight: f32,
    /// Fraction of each batch that is text which the teachers generated.
    pub synthetic_fraction: f32,
}

impl Default for DistillationConfig {
    fn default() -> Self {
        Self {
            targets: String::new(),
            ngram_order: 0,
            distill_weight: 0.8,
            synthetic_fraction: 0.4,
        }
    }
}

fn one() -> usize {
    1
}

impl Config {
    /// The sections as they are in the file, where numbers of 32 bits have the digits of such.
    ///
    /// # Panics
    /// Never: a configuration is a table.
    pub fn table(&self) -> toml::Table {
        let text = toml::to_string(self).expect("settings can be written as TOML");
        toml::from_str(&text).expect("what was written can be read")
    }

    /// The settings by name, without their sections: names are different.
    pub fn settings(&self) -> toml::Table {
        let sections = self
            .table()
            .into_iter()
            .filter_map(|(_, section)| match section {
                toml::Value::Table(section) => Some(section),
                _ => None,
            });
        sections.flatten().collect()
    }

    /// The settings that differ, as `name = this, not other`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.settings(), other.settings());
        let show =
            |value: Option<&toml::Value>| value.map_or("not set".to_owned(), ToString::to_string);
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort();
        names.dedup();
        let differs = |name: &&&String| ours.get(**name) != theirs.get(**name);
        let line = |name: &String| {
            let (this, other) = (show(ours.get(name)), show(theirs.get(name)));
            format!("{name} = {this}, not {other}")
        };
        names
            .iter()
            .filter(differs)
            .map(|name| line(name))
            .collect()
    }

    /// How the examples of a task on lines are read.
    pub fn example_options(&self) -> ExampleOptions<'_> {
        ExampleOptions {
            task: self.data.task,
            source: self.data.source_tokenizer,
            target: self.data.target_tokenizer,
            vocab_size: self.data.vocab_size,
            features: &self.data.features,
            max_len: self.optimizer.seq_len,
            split: self.data.split,
            trains_on_dev: self.data.train_on == TrainOn::TrainAndDev,
        }
    }

    /// The dropout rates.
    pub fn dropout(&self) -> DropoutRates {
        DropoutRates {
            layers: self.model.dropout,
            embedding: self.model.embedding_dropout,
        }
    }

    /// The steps between two evaluations.
    pub fn eval_interval(&self) -> u64 {
        match self.optimizer.eval_every {
            0 => self.optimizer.steps.div_ceil(40),
            every => every,
        }
    }

    /// The sizes of the network: with `source_size` tokens of an encoder or a classifier, `output_size` tokens or classes, and
    /// `num_features` features. A language model has no source.
    ///
    /// # Panics
    /// If there are not as many cells as layers, which [`check`](Self::check) refuses.
    pub fn model(
        &self,
        source_size: usize,
        output_size: usize,
        num_features: usize,
    ) -> ModelConfig {
        let model = &self.model;
        let stack = |vocab_size| StackConfig {
            vocab_size,
            embedding_dim: (model.embedding_dim > 0).then_some(model.embedding_dim),
            hidden_size: model.hidden_size,
            cells: model.cell.stack(model.layers).expect("checked settings"),
        };
        let task = self.data.task;
        let is_classifier = task == Task::Classifier;
        ModelConfig {
            encoder: (task == Task::SequenceToSequence).then(|| stack(source_size)),
            num_features,
            stack: stack(if is_classifier {
                source_size
            } else {
                output_size
            }),
            output_size,
            pooling: if is_classifier {
                Pooling::LastStep
            } else {
                Pooling::EveryStep
            },
            tie_embeddings: model.tie_embeddings,
            steps_per_token: model.steps_per_token,
        }
    }

    /// The sizes of a language model with `vocab_size` tokens.
    ///
    /// # Panics
    /// As [`model`](Self::model).
    pub fn language_model(&self, vocab_size: usize) -> ModelConfig {
        self.model(0, vocab_size, 0)
    }

    /// The weight formats of the model file: of each layer (an encoder's layers first), and of the output layer.
    pub fn weight_formats(&self) -> Options<'static> {
        let quantization = &self.quantization;
        let own = |layer: usize| match quantization.weight_bits {
            4 if layer == 0 && quantization.is_mixed() => INT8_INT4,
            4 => INT4,
            _ => INT8,
        };
        let layers: Vec<WeightFormats> = (0..self.model.layers).map(own).collect();
        let stacks = match self.data.task {
            Task::SequenceToSequence => 2,
            _ => 1,
        };
        let head = match quantization.output_weight_bits {
            4 => WeightFormat::Int4,
            _ => WeightFormat::Int8,
        };
        Options {
            layers: layers.repeat(stacks),
            head: Some(head),
            ..Options::default()
        }
    }

    /// Memory that a training needs, bytes, about: the activations of `shards` shards of `tokens` tokens on `threads` threads,
    /// gradients, and the optimizer's moments.
    pub fn memory(&self, model: &ModelConfig, shards: usize, tokens: usize, threads: usize) -> u64 {
        let weights = model.num_parameters() as u64;
        let (hidden, layers) = (model.stack.hidden_size as u64, self.model.layers as u64);
        let embedding = 2 * self.model.embedding_dim as u64;
        // Values that a GRU keeps for a unit and a step; an LSTM keeps about as many, an RNN fewer.
        let of_token = 9 * hidden * layers * model.steps_per_token as u64
            + 2 * hidden
            + embedding
            + model.output_size as u64;
        let threads = threads.min(shards).max(1) as u64;
        // Each shard has a gradient; each thread has its sums, and the weights packed in two ways.
        let parameters = (5 + shards as u64 + 3 * threads) * weights;
        4 * (threads * tokens as u64 * of_token + parameters)
    }
}

/// A GRU for every layer, where nothing else is asked for.
pub(super) fn default_cells() -> Cells {
    Kind::Gru.into()
}
