//! `trainer finetune`: trains a model on from its own weights.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::args::open_corpus;
use super::job::Job;
use super::options::{DistillationOptions, OptimizerOptions, QuantizationOptions, RunOptions};
use super::values::below_one;
use crate::data::split::Split;
use crate::data::tokenizer::Tokenizer;
use crate::training::config::Config;
use crate::training::presets;

const EXAMPLES: &str = "\
Examples:
  trainer finetune model.onnx --data book.txt --weight-bits 4 --output-weight-bits 4 --out models/int4
  trainer finetune model.onnx --data poems.txt --steps 500 --out models/poet
  trainer finetune small.onnx --data book.txt --teacher large.onnx --out models/distilled";

/// Optimizer steps, if none are given.
const STEPS: u64 = 1_500;

/// The highest learning rate, if none is given: low, so that the model keeps what it has learned.
const LEARNING_RATE: f64 = 3e-4;

/// Train a model on from its own weights
///
/// Trains with 4-bit weights (quantization-aware training, which loses far less than quantizing a finished model), with teachers, or on
/// another text. It is `trainer train --init-from MODEL` with settings that are good for a trained model. The model's own vocabulary is
/// used: the data must have no other characters. Imported models are taken if their cells can be trained here.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FinetuneArgs {
    /// Language model to start from: a model.onnx
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Text to train on (UTF-8)
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub data: PathBuf,
    /// Percentages for training, dev and test, by position [default: 80/10/10]
    #[arg(long, value_name = "TRAIN/DEV/TEST", help_heading = "Data")]
    pub split: Option<Split>,
    /// Read CR and CR LF line ends as they are instead of as LF [default: off]
    #[arg(long, help_heading = "Data")]
    pub keep_cr: bool,
    /// Fraction of the layers' outputs that is dropped in training, 0 to below 1 [default: by units]
    #[arg(long, value_name = "FRACTION", value_parser = below_one, help_heading = "Model", allow_negative_numbers = true)]
    pub dropout: Option<f32>,
    /// The optimizer.
    #[command(flatten)]
    pub optimizer: OptimizerOptions,
    /// Weight formats.
    #[command(flatten)]
    pub quantization: QuantizationOptions,
    /// Teachers.
    #[command(flatten)]
    pub distillation: DistillationOptions,
    /// The run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// Runs the command.
///
/// # Errors
/// As `trainer train`.
pub fn run(args: FinetuneArgs) -> anyhow::Result<()> {
    Job::check_folder(&args.run)?;
    // The sizes are the model's.
    let mut sizes = presets::text(Tokenizer::CHAR, None, 0);
    let initial = Job::initial_model(&args.model, &mut sizes)?;
    let is_language_model = sizes.language_model(initial.0.config.stack.vocab_size);
    if initial.0.config != is_language_model {
        bail!(
            "{} is not a language model: train models of other tasks on with `trainer train --task TASK --init-from MODEL`",
            args.model.display()
        );
    }
    let tokenizer = initial.0.vocabularies.input.tokenizer();
    let corpus = open_corpus(&args.data, args.keep_cr, Some(tokenizer))?;
    let config = settings(&args, &sizes)?;
    Job {
        corpus: &corpus,
        config,
        initial: Some(initial),
        distillation: &args.distillation,
        chooses_ngram_teacher: false,
        quantization: &args.quantization,
        time: args.optimizer.time,
        chosen: None,
        resume: None,
        run: &args.run,
    }
    .run()
}

fn settings(args: &FinetuneArgs, sizes: &Config) -> anyhow::Result<Config> {
    let hidden_size = sizes.model.hidden_size;
    let mut config = presets::text(Tokenizer::CHAR, Some(hidden_size), usize::MAX);
    let dropout = args.dropout.unwrap_or(config.model.dropout);
    config.model = sizes.model.clone();
    (config.model.dropout, config.model.embedding_dropout) = (dropout, 0.0);
    config.data = sizes.data.clone();
    config.data.split = args.split.unwrap_or_default();
    let rate = args.optimizer.learning_rate.unwrap_or(LEARNING_RATE);
    config.optimizer.steps = STEPS;
    config.optimizer.learning_rate = rate;
    args.optimizer.apply_to(&mut config);
    args.quantization.apply_to(&mut config)?;
    args.distillation.apply_to(&mut config)?;
    if config.quantization.has_int4() {
        let all = config.optimizer.steps;
        let quantization = &mut config.quantization;
        quantization.qat_steps = args.quantization.qat_steps.unwrap_or(all);
        quantization.qat_lr = args.quantization.qat_lr.unwrap_or(rate);
    }
    Ok(config)
}
