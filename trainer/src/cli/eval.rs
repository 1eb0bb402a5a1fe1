//! `trainer eval`

use super::args::{DataArgs, OutputArgs, PartChoice, open_corpus};
use super::options::all_cores;
use super::print::{RecordType, print_json, print_out};
use super::vocab::VocabArgs;
use crate::data::examples::ExampleSet;
use crate::data::split::Part;
use crate::data::task::Task;
use crate::eval::perplexity::{self, Evaluation};
use crate::eval::tasks::{self, Measures};
use crate::inference::integer::IntegerNetwork;
use crate::inference::model::Model;
use crate::report::text::task_name;
use crate::training::artifacts::{METRICS, Metrics};
use crate::training::config::Config;
use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  trainer eval models/mine/model.pip --data book.txt --split test
  trainer eval models/mine/model.onnx --data other.txt --skip-unknown --json
  trainer eval models/g2p/model.pip --data cmudict.tsv --config models/g2p/config.toml";

/// Measure the loss of a model on data
///
/// A language model reads the text once, from the zero state; the result is its cross-entropy loss per token and per character. A
/// model of another task is measured on the validation lines of its training: give the lines and the config.toml.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("data", |data| data.required(true)))]
pub struct EvalArgs {
    /// Model: .pip runs in integers as on a board, .onnx in float
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The vocabulary.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// What to measure on.
    #[command(flatten)]
    pub data: DataArgs,
    /// The config.toml of a training with --task: its task, tokenizers and validation split; --data is its file of lines
    /// [default: none, the split in the model file]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub config: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A result as JSON.
#[derive(Serialize)]
struct EvaluationRecord<'a, T> {
    task: &'static str,
    model: &'a Path,
    data: &'a Path,
    #[serde(flatten)]
    result: T,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the model or the data cannot be read, the model has another task, or the text has characters outside of its
/// vocabulary.
pub fn run(args: EvalArgs) -> anyhow::Result<()> {
    let model = args.vocab.open(&args.model)?;
    let config = args.config.as_deref().map(Config::read).transpose()?;
    let text = match (&config, &args.config) {
        (Some(config), Some(path)) if config.data.task != Task::LanguageModel => {
            let measures = measure_task(&model, &args, config, path)?;
            let task = match config.data.task {
                Task::LanguageModel => pipsqueak::Task::LanguageModel,
                Task::Classifier => pipsqueak::Task::Classifier,
                Task::SequenceToSequence => pipsqueak::Task::SequenceToSequence,
                Task::ConditionalGenerator => pipsqueak::Task::ConditionalGenerator,
            };
            if args.output.json {
                return print_record(&args, task, &measures);
            }
            describe_measures(&measures)
        }
        _ => {
            let evaluation = measure_text(&model, &args, config.as_ref())?;
            if args.output.json {
                return print_record(&args, pipsqueak::Task::LanguageModel, &evaluation);
            }
            describe_evaluation(&evaluation)
        }
    };
    print_out(&text)
}

fn print_record(
    args: &EvalArgs,
    task: pipsqueak::Task,
    result: &impl Serialize,
) -> anyhow::Result<()> {
    let record = EvaluationRecord {
        task: task_name(task),
        model: &args.model,
        data: &args.data.data,
        result,
    };
    print_json(RecordType::Evaluation, &record)
}

/// The loss of a language model on the text.
fn measure_text(
    model: &Model,
    args: &EvalArgs,
    config: Option<&Config>,
) -> anyhow::Result<Evaluation> {
    let vocabulary = model
        .vocabulary()
        .with_context(|| args.model.display().to_string())?;
    if model.takes_features() {
        bail!(
            "{}: the model is a conditional generator: give its lines with --data and its config.toml with --config",
            args.model.display()
        );
    }
    let encoded = args.data.encode(
        &vocabulary,
        config.map(|config| config.data.split).or(model.split()),
    )?;
    let progress = args.output.progress(encoded.tokens.len(), "evaluating");
    let measure = vocabulary.char_stats(&encoded, 1..encoded.tokens.len());
    let evaluation = perplexity::model(model, &encoded.tokens, || progress.inc(1))?;
    let mut evaluation = evaluation.per_character(measure);
    progress.finish_and_clear();
    evaluation.skipped = encoded.skipped.characters;
    Ok(evaluation)
}

fn describe_evaluation(evaluation: &Evaluation) -> String {
    // If each token is a character, the loss per token is the loss per character.
    let per_token = match evaluation.tokens == evaluation.characters {
        true => String::new(),
        false => format!(
            "{:.4} nats/token  {} tokens  {} unknown  ",
            evaluation.nats_per_token, evaluation.tokens, evaluation.unknown
        ),
    };
    format!(
        "{per_token}{:.4} nats/char  {:.4} bits/char  perplexity {:.3}  {} characters  {} skipped  {:.0} characters/s\n",
        evaluation.nats_per_char,
        evaluation.bits_per_char,
        evaluation.perplexity,
        evaluation.characters,
        evaluation.skipped,
        evaluation.characters_per_second
    )
}

/// The results of a model on a part of the lines of its training.
fn measure_task(
    model: &Model,
    args: &EvalArgs,
    config: &Config,
    path: &Path,
) -> anyhow::Result<Measures> {
    let lines = &args.data.data;
    let corpus = open_corpus(lines, false, None)?;
    let metrics = Metrics::read(&path.with_file_name(METRICS))?;
    if corpus.sha256 != metrics.sha256 {
        bail!(
            "{} is not the data of {}: expected SHA-256 {}, found {}; give the file that the model was trained on",
            lines.display(),
            path.display(),
            metrics.sha256,
            corpus.sha256
        );
    }
    config.check()?;
    let data = ExampleSet::read(&corpus, &config.example_options())?;
    let part = match args.data.split.and_then(PartChoice::part) {
        Some(Part::Train) => &data.train,
        Some(Part::Test) => &data.test,
        Some(Part::Dev) => &data.dev,
        None if args.data.split.is_none() => &data.dev,
        None => bail!("--split all: a task on lines is measured on train, dev or test"),
    };
    let outputs = match model {
        Model::Float(network) => network.output_width(),
        Model::Integer(bytes) => bytes.model().output().map_or(0, |output| output.len()),
    };
    if outputs != data.target.len() {
        bail!(
            "the model has {outputs} outputs, the data has {} classes or tokens: expected a model that was trained on {}",
            data.target.len(),
            lines.display()
        );
    }
    let (task, threads) = (config.data.task, all_cores());
    let measures = match model {
        Model::Float(network) => tasks::measure(&**network, task, &data, part, threads),
        Model::Integer(bytes) => {
            let model = bytes.model();
            let network = IntegerNetwork::new(&model)?;
            tasks::measure(&network, task, &data, part, threads)
        }
    };
    measures.context("no line is in that part of the split")
}

fn describe_measures(measures: &Measures) -> String {
    let percent = |part: f64| format!("{:.2} %", 100.0 * part);
    let mut text = format!(
        "{} examples  {:.4} nats/prediction  {:.4} bits/prediction",
        measures.examples, measures.loss, measures.bits
    );
    if let Some(accuracy) = measures.accuracy {
        text += &format!("  accuracy {}", percent(accuracy));
    }
    if let (Some(errors), Some(exact)) = (measures.token_error, measures.whole_right) {
        text += &format!(
            "  token error rate {}  exact match {}",
            percent(errors),
            percent(exact)
        );
    }
    if let Some(ngram) = measures.ngram_without_features {
        text += &format!(
            "  order-{} n-gram model without the features {:.4} bits (not comparable)",
            ngram.order, ngram.bits
        );
    }
    if let Some(ngram) = measures.ngram_given_first_letter {
        text += &format!(
            "  order-{} n-gram model given the first letter {:.4} bits",
            ngram.order, ngram.bits
        );
    }
    text + "\n"
}
