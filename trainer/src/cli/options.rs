//! Options of `train`, `finetune` and `distill`, in groups, and what they change in a configuration.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use pipsqueak_boards::BoardSpec;

use super::args::{self, whole};
use super::values::{below_one, bits, positive, rate, ratio, size, speed, threads, time};
use crate::data::features::Features;
use crate::data::split::Split;
use crate::data::task::Task;
use crate::data::tokenizer::Tokenizer;
use crate::nn::rnn::Cells;
use crate::training::config::{Config, TrainOn};
use crate::training::{ngram_teacher, presets};

/// Sets a setting to the value of an option, if it was given.
fn set<T: Clone>(setting: &mut T, option: &Option<T>) {
    if let Some(value) = option {
        setting.clone_from(value);
    }
}

/// What is learned, and from what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataOptions {
    /// What to learn: language-model, or from lines: classifier (class TAB text), sequence-to-sequence (source TAB target),
    /// conditional-generator (features TAB text) [default: language-model]
    #[arg(long, value_name = "TASK", hide_possible_values = true)]
    pub task: Option<Task>,
    /// Language model: what a token is: char, byte (any text), word (rare words are unknown) or subword [default: char]
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub tokenizer: Option<Tokenizer>,
    /// Number of words or subwords in the vocabulary [default: 4000; 0 (all) with char and byte]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<usize>(0..=65533), allow_negative_numbers = true)]
    pub vocab_size: Option<usize>,
    /// Language model: each line is a document, such as a title or a name; generated text ends where a line would [default: off]
    #[arg(long)]
    pub line_documents: bool,
    /// Tasks on lines: the tokenizer of a source: char, word, whitespace or whitespace-lowercase [default: whitespace-lowercase for classifier, else char]
    #[arg(
        long,
        value_name = "KIND",
        requires = "task",
        hide_possible_values = true
    )]
    pub source_tokenizer: Option<Tokenizer>,
    /// Tasks on lines: the tokenizer of a target: char, word, whitespace or whitespace-lowercase [default: whitespace if the lines have few different words, else char]
    #[arg(
        long,
        value_name = "KIND",
        requires = "task",
        hide_possible_values = true
    )]
    pub target_tokenizer: Option<Tokenizer>,
    /// Conditional generator: features to compute from plain lines: length (in tens of characters), first-letter
    /// [default: none, the lines have them]
    #[arg(long, value_name = "FEATURES", requires = "task")]
    pub features: Option<Features>,
    /// Percentages for training, dev and test: a text is cut by position, lines by a hash of their source [default: 80/10/10]
    #[arg(long, value_name = "TRAIN/DEV/TEST")]
    pub split: Option<Split>,
    /// Read CR and CR LF line ends as they are instead of as LF [default: off]
    #[arg(long)]
    pub keep_cr: bool,
    /// Parts to train on: train, or train+dev for a final model: with --steps or --config, nothing is chosen on dev then
    /// [default: train]
    #[arg(long, value_name = "PARTS", hide_possible_values = true)]
    pub train_on: Option<TrainOn>,
}

impl DataOptions {
    /// Changes the settings of the options that were given.
    pub(super) fn apply_to(&self, config: &mut Config) -> anyhow::Result<()> {
        let data = &mut config.data;
        let is_text = data.task == Task::LanguageModel;
        if is_text && (self.source_tokenizer.is_some() || self.target_tokenizer.is_some()) {
            bail!(
                "--source-tokenizer and --target-tokenizer are for tasks on lines: a language model has --tokenizer"
            );
        }
        if !is_text && (self.tokenizer.is_some() || self.line_documents) {
            bail!(
                "--tokenizer and --line-documents are for a language model: this task has --source-tokenizer and --target-tokenizer"
            );
        }
        set(&mut data.tokenizer, &self.tokenizer);
        set(&mut data.vocab_size, &self.vocab_size);
        data.line_documents |= self.line_documents;
        set(&mut data.source_tokenizer, &self.source_tokenizer);
        set(&mut data.target_tokenizer, &self.target_tokenizer);
        set(&mut data.features, &self.features);
        set(&mut data.split, &self.split);
        set(&mut data.train_on, &self.train_on);
        let has_words = data.has_open_vocabulary();
        if !is_text && self.vocab_size.is_none() {
            data.vocab_size = match (has_words, data.vocab_size) {
                (false, _) => 0,
                (true, 0) => presets::VOCAB_SIZE,
                (true, size) => size,
            };
        }
        Ok(())
    }
}

/// Sizes of the network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelOptions {
    /// Recurrent cell: gru, lstm or rnn; or one for each layer, the lowest first, such as lstm,gru [default: gru]
    #[arg(long, value_name = "CELLS")]
    pub cell: Option<Cells>,
    /// Units of each layer: more units learn more, and take more flash, time on the board and training time; 128 make a model file of
    /// about 87 KB [default: 128]
    #[arg(long, value_name = "UNITS", value_parser = whole::<usize>(1..=4096), allow_negative_numbers = true)]
    pub hidden_size: Option<usize>,
    /// Number of recurrent layers [default: 1]
    #[arg(long, value_name = "LAYERS", value_parser = whole::<usize>(1..=8), allow_negative_numbers = true)]
    pub layers: Option<usize>,
    /// Columns of the embedding; 0: none, a table of tokens [default: 0; the units with word and subword]
    #[arg(long, value_name = "COLUMNS", value_parser = whole::<usize>(0..=4096), allow_negative_numbers = true)]
    pub embedding_dim: Option<usize>,
    /// Use the embedding as the output layer's weights too, which halves the model file of a large vocabulary
    /// [default: true with word and subword, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub tie_embeddings: Option<bool>,
    /// Times that the recurrent layers run for each token: 2 gives a better model of the same size, in twice the time [default: 1]
    #[arg(long, value_name = "TIMES", value_parser = whole::<usize>(1..=4), allow_negative_numbers = true)]
    pub steps_per_token: Option<usize>,
    /// Fraction of the layers' outputs that is dropped in training, 0 to below 1 [default: by units and length of the text]
    #[arg(long, value_name = "FRACTION", value_parser = below_one, allow_negative_numbers = true)]
    pub dropout: Option<f32>,
    /// The same of the embedding [default: 0; as --dropout in tasks on lines]
    #[arg(long, value_name = "FRACTION", value_parser = below_one, allow_negative_numbers = true)]
    pub embedding_dropout: Option<f32>,
}

impl ModelOptions {
    /// Changes the settings of the options that were given.
    pub(super) fn apply_to(&self, config: &mut Config) {
        let model = &mut config.model;
        if let Some(cells) = &self.cell {
            model.cell = cells.clone();
            if cells.len() > 1 {
                model.layers = cells.len();
            }
        }
        if let (Some(size), true) = (self.hidden_size, config.data.tokenizer.has_vocab_size())
            && model.embedding_dim == model.hidden_size
        {
            model.embedding_dim = size;
        }
        set(&mut model.hidden_size, &self.hidden_size);
        set(&mut model.layers, &self.layers);
        set(&mut model.embedding_dim, &self.embedding_dim);
        set(&mut model.tie_embeddings, &self.tie_embeddings);
        set(&mut model.steps_per_token, &self.steps_per_token);
        let was_same = model.embedding_dropout == model.dropout;
        set(&mut model.dropout, &self.dropout);
        if was_same && config.data.task != Task::LanguageModel {
            model.embedding_dropout = model.dropout;
        }
        set(&mut model.embedding_dropout, &self.embedding_dropout);
        if model.embedding_dim == 0 && self.embedding_dropout.is_none() {
            model.embedding_dropout = 0.0;
        }
    }
}

/// The optimizer and the batches.
#[derive(Debug, Args)]
#[command(next_help_heading = "Optimizer")]
pub struct OptimizerOptions {
    /// Optimizer steps, each over batch-size x seq-len tokens [default: by the length of the text, 300 to 40000; finetune: 1500]
    #[arg(long, value_name = "STEPS", conflicts_with = "time", value_parser = whole::<u64>(1..=1 << 31), allow_negative_numbers = true)]
    pub steps: Option<u64>,
    /// Instead of --steps: as many as this machine does in about this time, such as 7m or 90s, counted before the first
    /// [default: none; 7m with --fit]
    #[arg(long, value_name = "TIME", value_parser = time, allow_negative_numbers = true)]
    pub time: Option<Duration>,
    /// Rows of a batch [default: 32; 64 for tasks on lines that generate]
    #[arg(long, value_name = "ROWS", value_parser = whole::<usize>(1..=4096), allow_negative_numbers = true)]
    pub batch_size: Option<usize>,
    /// Truncated-BPTT length in tokens; the state carries over between sequences. Of lines: the longest one
    /// [default: 64; 32 with word and subword, 512 for lines]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<usize>(1..=4096), allow_negative_numbers = true)]
    pub seq_len: Option<usize>,
    /// Highest learning rate, after a warm-up; a cosine leads down from it [default: 0.003 to 0.008 by units; finetune: 0.0003]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// Last learning rate as a fraction of the highest [default: 0.02]
    #[arg(long, value_name = "RATIO", value_parser = ratio, allow_negative_numbers = true)]
    pub min_lr_ratio: Option<f64>,
    /// Steps until the learning rate is at its highest [default: 100]
    #[arg(long, value_name = "STEPS", value_parser = whole::<u64>(0..=1 << 31), allow_negative_numbers = true)]
    pub warmup_steps: Option<u64>,
    /// Weight decay of AdamW, against memorising [default: by units and length of the text]
    #[arg(long, value_name = "DECAY", value_parser = below_one, allow_negative_numbers = true)]
    pub weight_decay: Option<f32>,
    /// Largest norm of the gradient [default: 1]
    #[arg(long, value_name = "NORM", value_parser = positive, allow_negative_numbers = true)]
    pub grad_clip: Option<f64>,
    /// Decay of the moving average of the weights, which is what the model gets; 0: the last weights [default: 0.999]
    #[arg(long, value_name = "DECAY", value_parser = below_one, allow_negative_numbers = true)]
    pub ema_decay: Option<f32>,
    /// Seed of the initial weights, the order of the batches and dropout [default: 1]
    #[arg(long, value_name = "SEED", value_parser = whole::<u64>(0..=i64::MAX as u64), allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Steps between two evaluations on dev, each with a sample; 0: a fortieth of all steps [default: 0]
    #[arg(long, value_name = "STEPS", value_parser = whole::<u64>(0..=1 << 31), allow_negative_numbers = true)]
    pub eval_every: Option<u64>,
    /// Evaluations without an improvement on dev after which training stops; 0: it does all steps [default: 10]
    #[arg(long, value_name = "EVALUATIONS", value_parser = whole::<u64>(0..=1 << 31), allow_negative_numbers = true)]
    pub patience: Option<u64>,
}

impl OptimizerOptions {
    /// Changes the settings of the options that were given.
    pub(super) fn apply_to(&self, config: &mut Config) {
        let optimizer = &mut config.optimizer;
        set(&mut optimizer.steps, &self.steps);
        set(&mut optimizer.batch_size, &self.batch_size);
        set(&mut optimizer.seq_len, &self.seq_len);
        set(&mut optimizer.learning_rate, &self.learning_rate);
        set(&mut optimizer.min_lr_ratio, &self.min_lr_ratio);
        set(&mut optimizer.warmup_steps, &self.warmup_steps);
        set(&mut optimizer.weight_decay, &self.weight_decay);
        set(&mut optimizer.grad_clip, &self.grad_clip);
        set(&mut optimizer.ema_decay, &self.ema_decay);
        set(&mut optimizer.seed, &self.seed);
        set(&mut optimizer.eval_every, &self.eval_every);
        set(&mut optimizer.patience, &self.patience);
    }
}

/// Of all steps this part is quantization-aware, if nothing else is given.
const QAT_PART: u64 = 5;

/// Weight formats of the model file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Quantization")]
pub struct QuantizationOptions {
    /// Bits of the recurrent layers' weights in the model file, 8 or 4; token tables and embeddings always have 8 [default: 8]
    #[arg(long, value_name = "BITS", value_parser = bits, allow_negative_numbers = true)]
    pub weight_bits: Option<u8>,
    /// Bits of the first layer's weights over its input: 8 with --weight-bits 4 is good with an embedding [default: as --weight-bits]
    #[arg(long, value_name = "BITS", value_parser = bits, allow_negative_numbers = true)]
    pub input_weight_bits: Option<u8>,
    /// Bits of the output layer's weights in the model file, 8 or 4 [default: 8]
    #[arg(long, value_name = "BITS", value_parser = bits, allow_negative_numbers = true)]
    pub output_weight_bits: Option<u8>,
    /// Number of final steps trained with 4-bit fake quantization [default: steps / 5 with 4-bit weights; finetune: all]
    #[arg(long, value_name = "STEPS", value_parser = whole::<u64>(0..=1 << 31), allow_negative_numbers = true)]
    pub qat_steps: Option<u64>,
    /// Highest learning rate of these steps [default: 0.0003]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    pub qat_lr: Option<f64>,
    /// Decay of the moving average of the weights in these steps [default: 0.995]
    #[arg(long, value_name = "DECAY", value_parser = below_one, allow_negative_numbers = true)]
    pub qat_ema_decay: Option<f32>,
}

impl QuantizationOptions {
    /// Changes the settings of the options that were given.
    pub(super) fn apply_to(&self, config: &mut Config) -> anyhow::Result<()> {
        let quantization = &mut config.quantization;
        set(&mut quantization.weight_bits, &self.weight_bits);
        let input = self.input_weight_bits;
        quantization.input_weight_bits = input.or(quantization.input_weight_bits);
        set(
            &mut quantization.output_weight_bits,
            &self.output_weight_bits,
        );
        set(&mut quantization.qat_steps, &self.qat_steps);
        set(&mut quantization.qat_lr, &self.qat_lr);
        set(&mut quantization.qat_ema_decay, &self.qat_ema_decay);
        let given = self.qat_lr.is_some() || self.qat_ema_decay.is_some();
        if given && !quantization.has_int4() {
            bail!(
                "--qat-lr and --qat-ema-decay need 4-bit weights: give --weight-bits 4 or --output-weight-bits 4"
            );
        }
        Ok(())
    }

    /// Sets the number of quantization-aware steps, if none is given. The number of all steps must be known.
    pub(super) fn default_qat_steps(&self, config: &mut Config) {
        let quantization = &mut config.quantization;
        let unknown = quantization.qat_steps == 0 && self.qat_steps.is_none();
        if quantization.has_int4() && unknown {
            quantization.qat_steps = config.optimizer.steps / QAT_PART;
        }
    }
}

/// Knowledge distillation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Distillation")]
pub struct DistillationOptions {
    /// Distill from a larger model.onnx with the same vocabulary, on the data and on text that it generates; several are averaged
    /// [default: none]
    #[arg(
        long = "teacher",
        value_name = "MODEL",
        conflicts_with = "distillation"
    )]
    pub teachers: Vec<PathBuf>,
    /// The same from a file of `trainer distill` [default: none]
    #[arg(long, value_name = "FILE")]
    pub distillation: Option<PathBuf>,
    /// Order of the n-gram model that is the teacher of a small text, 0 to 8; 0: none [default: the best one on dev for up to 300,000
    /// characters of text, else 0]
    #[arg(long, value_name = "ORDER", value_parser = whole::<usize>(0..=8), conflicts_with_all = ["teachers", "distillation"], allow_negative_numbers = true)]
    pub ngram_order: Option<usize>,
    /// Weight of the distillation loss relative to the data loss, 0 to below 1 [default: 0.8]
    #[arg(long, value_name = "WEIGHT", value_parser = below_one, allow_negative_numbers = true)]
    pub distill_weight: Option<f32>,
    /// Fraction of each batch that is text generated by the teachers, 0 to below 1 [default: 0.4; tasks on lines: none]
    #[arg(long, value_name = "FRACTION", value_parser = below_one, allow_negative_numbers = true)]
    pub synthetic_fraction: Option<f32>,
}

impl DistillationOptions {
    /// Whether a teacher is given.
    pub(super) fn is_given(&self) -> bool {
        !self.teachers.is_empty() || self.distillation.is_some()
    }

    /// Changes the settings of the options that were given.
    pub(super) fn apply_to(&self, config: &mut Config) -> anyhow::Result<()> {
        let distillation = &mut config.distillation;
        let changed = self.distill_weight.is_some() || self.synthetic_fraction.is_some();
        if let Some(order) = self.ngram_order {
            distillation.ngram_order = order;
            if order > 0 {
                (distillation.distill_weight, distillation.synthetic_fraction) =
                    ngram_teacher::WEIGHTS;
            }
        }
        let has_teacher =
            self.is_given() || !distillation.targets.is_empty() || distillation.ngram_order > 0;
        if changed && !has_teacher {
            bail!(
                "--distill-weight and --synthetic-fraction need a teacher: give --teacher MODEL, --distillation FILE or --ngram-order ORDER"
            );
        }
        set(&mut distillation.distill_weight, &self.distill_weight);
        set(
            &mut distillation.synthetic_fraction,
            &self.synthetic_fraction,
        );
        if config.data.task != Task::LanguageModel {
            if self
                .synthetic_fraction
                .is_some_and(|fraction| fraction > 0.0)
            {
                bail!(
                    "--synthetic-fraction is for language models: teachers of this task generate no text; leave it out"
                );
            }
            distillation.synthetic_fraction = 0.0;
        }
        Ok(())
    }
}

/// Where results go, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunOptions {
    /// Folder for model.onnx (best step on dev), last.onnx, config.toml, metrics.json, loss.csv, samples.jsonl, checkpoint.bin
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Replace a training that is in the folder [default: off]
    #[arg(long)]
    pub overwrite: bool,
    /// Number of threads; it does not change the result. Shards of 16 rows are distributed: more threads than shards do not help
    /// [default: all cores]
    #[arg(long, value_name = "THREADS", value_parser = threads, allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Seconds between two checkpoints, from which --resume continues after a crash [default: 60]
    #[arg(long, value_name = "SECONDS", default_value_t = 60, hide_default_value = true, value_parser = whole::<u64>(0..=1 << 31), allow_negative_numbers = true)]
    pub checkpoint_every: u64,
    /// Print only the result [default: off]
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    /// Print one JSON object for each evaluation and for the result (trainer/JSON.md) [default: off]
    #[arg(long)]
    pub json: bool,
}

impl RunOptions {
    /// The number of threads.
    pub(super) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(all_cores)
    }
}

/// All cores of this machine.
pub(super) fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A budget that the network is chosen to fit.
#[derive(Debug, Args)]
#[command(next_help_heading = "Size and speed")]
pub struct SizeOptions {
    /// Choose cell, units, layers and weight formats so that the model file fits --max-size or --board, train (7m, if neither --time
    /// nor --steps is given) and export model.pip [default: off]
    #[arg(long, conflicts_with_all = FITTED)]
    pub fit: bool,
    /// Board to fit: its slot, its RAM and --min-speed: microbit, stm32f405 or pico [default: none]
    #[arg(long, value_name = "BOARD", value_parser = args::board, requires = "fit")]
    pub board: Option<&'static BoardSpec>,
    /// Largest model file, in bytes, such as 64K [default: the board's slot]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "fit", allow_negative_numbers = true)]
    pub max_size: Option<usize>,
    /// Tokens per second on the board, at least [default: 10]
    #[arg(long, value_name = "TOKENS", value_parser = speed, requires = "board", allow_negative_numbers = true)]
    pub min_speed: Option<f64>,
}

/// Options that `--fit` chooses, or that cannot go with it.
const FITTED: [&str; 13] = [
    "hidden_size",
    "layers",
    "cell",
    "embedding_dim",
    "tie_embeddings",
    "steps_per_token",
    "weight_bits",
    "input_weight_bits",
    "output_weight_bits",
    "task",
    "init_from",
    "resume",
    "config",
];

impl SizeOptions {
    /// The budget, if there is one.
    pub(super) fn budget(&self) -> anyhow::Result<Option<crate::deploy::fit::Budget>> {
        if !self.fit {
            return Ok(None);
        }
        let slot = self.board.map(|board| board.slot_bytes as usize);
        let flash = [slot, self.max_size].into_iter().flatten().min();
        let flash = flash.context("--fit needs --max-size SIZE, such as 64K, or --board BOARD")?;
        Ok(Some(crate::deploy::fit::Budget {
            flash,
            board: self.board,
            speed: self.min_speed.unwrap_or(10.0),
        }))
    }
}
