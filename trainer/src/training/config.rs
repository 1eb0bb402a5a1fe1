//! `config.toml`: every setting that decides the result of a training, in sections.

use super::network::{ModelConfig, Pooling};
use super::ngram_teacher;
use super::presets;
use super::stack::DropoutRates;
use super::stack_config::StackConfig;
use crate::data::examples::ExampleOptions;
use crate::data::features::Features;
use crate::data::split::Split;
use crate::data::task::Task;
use crate::data::tokenizer::{self, Tokenizer, TokenizerKind};
use crate::nn::rnn::{Cells, Kind};
use crate::quantize::Options;
use crate::quantize::formats::{INT4, INT8, INT8_INT4, WeightFormats};
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

/// A setting that was refused.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{name} is {found}: expected {expected}")]
pub struct ConfigError {
    /// The setting, as in `config.toml`.
    name: &'static str,
    found: String,
    expected: &'static str,
}

/// Checks settings one by one.
fn check(
    name: &'static str,
    found: impl ToString,
    good: bool,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if good {
        return Ok(());
    }
    let found = found.to_string();
    Err(ConfigError {
        name,
        found,
        expected,
    })
}

fn fraction(name: &'static str, value: f64) -> Result<(), ConfigError> {
    check(
        name,
        value,
        (0.0..1.0).contains(&value),
        "0 or more, below 1",
    )
}

fn count(
    name: &'static str,
    value: usize,
    most: usize,
    expected: &'static str,
) -> Result<(), ConfigError> {
    check(name, value, (1..=most).contains(&value), expected)
}

impl Config {
    /// Good settings for a language model of `hidden_size` units on a text with `characters` characters to train on.
    pub fn for_text(tokenizer: Tokenizer, hidden_size: usize, characters: usize) -> Self {
        presets::text(tokenizer, Some(hidden_size), characters)
    }

    /// The tables of the file by setting, without their sections: names are different.
    ///
    /// # Panics
    /// Never: a configuration is a table.
    pub fn settings(&self) -> toml::Table {
        let table = toml::Table::try_from(self).expect("a configuration is a table");
        let sections = table.into_iter().filter_map(|(_, section)| match section {
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

    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting, the value found and the values expected.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_data()?;
        self.check_model()?;
        self.check_quantization()?;
        self.check_optimizer()?;
        let distillation = &self.distillation;
        let is_text = self.data.task == Task::LanguageModel;
        check(
            "ngram_order",
            distillation.ngram_order,
            distillation.ngram_order <= ngram_teacher::MAX_ORDER
                && (distillation.ngram_order == 0 || (is_text && distillation.targets.is_empty())),
            "0 (none) to 8 for a language model without other teachers",
        )?;
        fraction("distill_weight", distillation.distill_weight.into())?;
        fraction("synthetic_fraction", distillation.synthetic_fraction.into())
    }

    fn check_data(&self) -> Result<(), ConfigError> {
        let data = &self.data;
        let is_text = data.task == Task::LanguageModel;
        let sized = match is_text {
            true => data.tokenizer.has_vocab_size(),
            false => data.has_open_vocabulary(),
        };
        check(
            "vocab_size",
            data.vocab_size,
            match sized {
                true => (2..tokenizer::MAX_TOKENS - 1).contains(&data.vocab_size),
                false => data.vocab_size == 0,
            },
            "2 to 65533 of words or subwords, 0 of characters, bytes or symbols",
        )?;
        check(
            "line_documents",
            data.line_documents,
            is_text || !data.line_documents,
            "false with this task, whose lines are examples",
        )?;
        check(
            "tokenizer",
            data.tokenizer,
            is_text || data.tokenizer == Tokenizer::default(),
            "none with this task: its lines have --source-tokenizer and --target-tokenizer",
        )?;
        for (name, tokenizer) in [
            ("source_tokenizer", data.source_tokenizer),
            ("target_tokenizer", data.target_tokenizer),
        ] {
            check(
                name,
                tokenizer,
                !matches!(
                    tokenizer.kind(),
                    TokenizerKind::Byte | TokenizerKind::Subword
                ),
                "char, word, whitespace or whitespace-lowercase",
            )?;
        }
        check(
            "features",
            format!("{:?}", data.features.to_string()),
            data.task == Task::ConditionalGenerator || data.features.0.is_empty(),
            "none, but of a conditional generator",
        )
    }

    fn check_model(&self) -> Result<(), ConfigError> {
        let model = &self.model;
        count("hidden_size", model.hidden_size, 4096, "1 to 4096")?;
        count("layers", model.layers, 8, "1 to 8")?;
        count("steps_per_token", model.steps_per_token, 4, "1 to 4")?;
        check(
            "steps_per_token",
            model.steps_per_token,
            model.steps_per_token == 1 || self.data.task != Task::Classifier,
            "1 with a classifier, of whose ONNX file more steps could not be read",
        )?;
        check(
            "embedding_dim",
            model.embedding_dim,
            model.embedding_dim <= 4096,
            "0 (none) to 4096",
        )?;
        let (dim, hidden) = (model.embedding_dim, model.hidden_size);
        check(
            "tie_embeddings",
            format!(
                "{} with embedding_dim {dim} and hidden_size {hidden}",
                model.tie_embeddings
            ),
            !model.tie_embeddings || dim > 0,
            "false, or an embedding",
        )?;
        check(
            "tie_embeddings",
            model.tie_embeddings,
            !model.tie_embeddings || self.data.task != Task::Classifier,
            "false with a classifier, whose outputs are classes and not tokens",
        )?;
        check(
            "cell",
            &model.cell,
            model.cell.stack(model.layers).is_some(),
            "one cell for all layers, or as many as there are layers",
        )?;
        fraction("dropout", model.dropout.into())?;
        fraction("embedding_dropout", model.embedding_dropout.into())
    }

    fn check_quantization(&self) -> Result<(), ConfigError> {
        let q = &self.quantization;
        for (name, bits) in [
            ("weight_bits", q.weight_bits),
            ("output_weight_bits", q.output_weight_bits),
        ] {
            check(name, bits, [4, 8].contains(&bits), "4 or 8")?;
        }
        if let Some(input) = q.input_weight_bits {
            check(
                "input_weight_bits",
                format!("{input} with weight_bits {}", q.weight_bits),
                input == q.weight_bits || q.is_mixed(),
                "8, or 4 beside weight_bits of 4",
            )?;
        }
        let tied = self.model.tie_embeddings;
        check(
            "output_weight_bits",
            format!("{} with tie_embeddings {tied}", q.output_weight_bits),
            !tied || q.output_weight_bits == 8,
            "8, as an embedding has, or tie_embeddings = false",
        )?;
        check(
            "qat_steps",
            q.qat_steps,
            q.qat_steps <= self.optimizer.steps && (q.qat_steps == 0 || q.has_int4()),
            "at most as many as steps, and 0 without 4-bit weights",
        )?;
        fraction("qat_ema_decay", q.qat_ema_decay.into())?;
        let good = q.qat_steps == 0 || q.qat_lr > 0.0 && q.qat_lr <= 1.0;
        check("qat_lr", q.qat_lr, good, "above 0, at most 1")
    }

    fn check_optimizer(&self) -> Result<(), ConfigError> {
        let optimizer = &self.optimizer;
        count("batch_size", optimizer.batch_size, 4096, "1 to 4096")?;
        count("seq_len", optimizer.seq_len, 4096, "1 to 4096")?;
        let (steps, seed) = (optimizer.steps, optimizer.seed);
        check(
            "steps",
            steps,
            (1..=1 << 31).contains(&steps),
            "1 to 2147483648",
        )?;
        // TOML has signed integers.
        let good = i64::try_from(seed).is_ok();
        check("seed", seed, good, "0 to 9223372036854775807")?;
        for (name, value) in [
            ("eval_every", optimizer.eval_every),
            ("warmup_steps", optimizer.warmup_steps),
            ("patience", optimizer.patience),
        ] {
            check(name, value, value <= 1 << 31, "0 to 2147483648")?;
        }
        fraction("ema_decay", optimizer.ema_decay.into())?;
        fraction("weight_decay", optimizer.weight_decay.into())?;
        let (rate, last) = (optimizer.learning_rate, optimizer.min_lr_ratio);
        check(
            "learning_rate",
            rate,
            rate > 0.0 && rate <= 1.0,
            "above 0, at most 1",
        )?;
        check(
            "grad_clip",
            optimizer.grad_clip,
            optimizer.grad_clip > 0.0,
            "above 0",
        )?;
        check("min_lr_ratio", last, (0.0..=1.0).contains(&last), "0 to 1")
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
