//! `trainer distill`: writes the probabilities of trained models on the training data, for smaller models to learn from.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::args::{OutputArgs, open_corpus, whole};
use super::options::{DataOptions, all_cores};
use super::print::{RecordType, print_json, print_out};
use super::teachers::{SYNTHETIC_TOKENS, soft_targets};
use super::values::threads;
use crate::data::task::Task;
use crate::training::config::Config;
use crate::training::{Data, InitialModel, presets};

const EXAMPLES: &str = "\
Examples:
  trainer distill book.txt --teacher models/large/model.onnx --out large.bin
  trainer distill book.txt --teacher a/model.onnx --teacher b/model.onnx --out both.bin
  trainer train book.txt --hidden-size 128 --distillation both.bin --out models/small";

/// Write soft targets of larger models, to train smaller ones from
///
/// The teachers read the training part of the data, never dev or test, and generate more text; their probabilities of each next token
/// are written to a file, from which `trainer train --distillation FILE` distills a smaller model. Several teachers are averaged, which
/// is better than one. The file has two bytes for each token that is read or generated, times the size of the vocabulary. With
/// --config, the teachers are of the task on lines that the file describes; they generate nothing then.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DistillArgs {
    /// Data that teachers and students are trained on
    #[arg(value_name = "FILE")]
    pub corpus: PathBuf,
    /// Teacher: the model.onnx of a training; several are averaged
    #[arg(
        long = "teacher",
        value_name = "MODEL",
        required = true,
        help_heading = "Distillation"
    )]
    pub teachers: Vec<PathBuf>,
    /// Number of tokens that the teachers generate; 0: they only read [default: 2000000; tasks on lines: 0]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<usize>(0..=1 << 31), help_heading = "Distillation", allow_negative_numbers = true)]
    pub synthetic_tokens: Option<usize>,
    /// Seed of the generated text
    #[arg(long, value_name = "SEED", default_value_t = 1, value_parser = whole::<u64>(0..=i64::MAX as u64), help_heading = "Distillation", allow_negative_numbers = true)]
    pub seed: u64,
    /// What is learned.
    #[command(flatten)]
    pub data: DataOptions,
    /// The config.toml of a training of the teacher or the student: its task, tokenizers and split [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub config: Option<PathBuf>,
    /// Where to write the soft targets
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub out: PathBuf,
    /// Number of threads; it does not change the result [default: all cores]
    #[arg(long, value_name = "THREADS", value_parser = threads, help_heading = "Output", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What was written.
#[derive(Serialize)]
struct Written<'a> {
    out: &'a PathBuf,
    teachers: usize,
    /// Tokens that were generated.
    synthetic_tokens: usize,
    /// The teachers' loss on the training part of a text, nats per token.
    train_loss: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the data or a teacher is refused, or the file cannot be written.
pub fn run(args: DistillArgs) -> anyhow::Result<()> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => presets::text(args.data.tokenizer.unwrap_or_default(), None, usize::MAX),
    };
    if args.config.is_none()
        && args
            .data
            .task
            .is_some_and(|task| task != Task::LanguageModel)
    {
        bail!(
            "--task needs the settings of the teacher's training: give its config.toml with --config"
        );
    }
    config.data.task = args.data.task.unwrap_or(config.data.task);
    args.data.apply_to(&mut config)?;
    config.optimizer.seed = args.seed;
    let threads = args.threads.unwrap_or_else(all_cores);
    let initial = first_teacher(&args, &mut config)?;
    let tokenizer = match &initial {
        Some(initial) => initial.vocabularies.input.tokenizer(),
        None => config.data.tokenizer,
    };
    let corpus = open_corpus(&args.corpus, args.data.keep_cr, Some(tokenizer))?;
    let data = Data::new(&corpus, &config, initial.as_ref(), threads)?;
    let synthetic = match (args.synthetic_tokens, config.data.task) {
        (tokens, Task::LanguageModel) => tokens.unwrap_or(SYNTHETIC_TOKENS),
        (None | Some(0), _) => 0,
        _ => bail!(
            "--synthetic-tokens is for language models: teachers of this task generate no text; leave it out"
        ),
    };
    let shows = !args.output.quiet && !args.output.json;
    let soft = soft_targets(
        &corpus,
        &data,
        &config,
        &args.teachers,
        synthetic,
        threads,
        shows,
    )?;
    soft.write(&args.out)?;
    let written = Written {
        out: &args.out,
        teachers: args.teachers.len(),
        synthetic_tokens: soft.synthetic().len(),
        train_loss: match &data {
            Data::Text(text) => Some(soft.loss(&text.train_ids())),
            Data::Lines(_) => None,
        },
    };
    if args.output.json {
        return print_json(RecordType::Distillation, &written);
    }
    let loss = written.train_loss;
    let loss = loss.map_or(String::new(), |loss| {
        format!(", {loss:.4} nats/token on the training part")
    });
    print_out(&format!(
        "{}: {} teacher(s){loss}, {} generated tokens\n",
        args.out.display(),
        written.teachers,
        written.synthetic_tokens
    ))
}

/// A language model's vocabulary is that of its teachers.
fn first_teacher(args: &DistillArgs, config: &mut Config) -> anyhow::Result<Option<InitialModel>> {
    if config.data.task != Task::LanguageModel || args.config.is_some() {
        return Ok(None);
    }
    let (initial, _) = super::job::Job::initial_model(&args.teachers[0], config)?;
    Ok(Some(initial))
}
