//! `trainer eval`

use super::args::{TextArgs, open_text};
use super::print::{print_json, print_out};
use super::vocab::VocabArgs;
use crate::cli::progress;
use crate::eval::perplexity;
use crate::eval::tasks;
use crate::inference::integer::IntegerNetwork;
use crate::inference::model::Model;
use crate::training::sequence::{Record, examples};
use anyhow::{Context, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// Measures how well a model predicts a text, read as one stream from a zero state; or, with --lines, how well it does what it
/// was trained for on the lines that its training has held back.
#[derive(Debug, Args)]
#[command(mut_arg("text", |text| text.required_unless_present("lines")))]
pub struct EvalArgs {
    /// The model: .onnx runs in float, .pip in integers by the boards' own code
    pub model: PathBuf,
    /// The tokens' texts.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// What to measure on.
    #[command(flatten)]
    pub text: Option<TextArgs>,
    /// The file of lines of a training with --task
    #[arg(
        long,
        value_name = "FILE",
        requires = "settings",
        conflicts_with = "text",
        required_unless_present = "text"
    )]
    pub lines: Option<PathBuf>,
    /// The train.toml of that training: what was held back, and how lines are cut
    #[arg(long, value_name = "FILE", requires = "lines")]
    pub settings: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the model or the text cannot be read, or the text has characters that the model does not know.
pub fn run(args: EvalArgs) -> anyhow::Result<()> {
    let model = args.vocab.open(&args.model)?;
    let text = match (&args.text, &args.lines, &args.settings) {
        (_, Some(lines), Some(settings)) => return on_lines(&model, lines, settings, args.json),
        (Some(text), ..) => text,
        _ => bail!("expected --text, or --lines and --settings"),
    };
    let vocabulary = model.vocabulary()?;
    let encoded = text.encode(&vocabulary)?;
    let progress = progress::bar(encoded.tokens.len() as u64, "reading");
    let stats = vocabulary.char_stats(&encoded, 1..encoded.tokens.len());
    let mut evaluation =
        perplexity::model(&model, &encoded.tokens, || progress.inc(1))?.per_character(stats);
    progress.finish_and_clear();
    evaluation.skipped = encoded.skipped.characters;
    if args.json {
        return print_json(&evaluation);
    }
    // Where a token is a character, one loss says it all.
    let by_token = match evaluation.tokens == evaluation.characters {
        true => String::new(),
        false => format!(
            "{:.4} nats/token  {} tokens  {} unknown  ",
            evaluation.nats_per_token, evaluation.tokens, evaluation.unknown
        ),
    };
    print_out(&format!(
        "{by_token}{:.4} nats/char  {:.4} bits/char  perplexity {:.3}  {} characters  {} skipped  {:.0} characters/s\n",
        evaluation.nats_per_char,
        evaluation.bits_per_char,
        evaluation.perplexity,
        evaluation.characters,
        evaluation.skipped,
        evaluation.characters_per_second
    ))
}

/// Measures on the lines that were held back.
fn on_lines(model: &Model, lines: &Path, settings: &Path, json: bool) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(settings)
        .with_context(|| format!("cannot read {}", settings.display()))?;
    let record: Record = toml::from_str(&text).with_context(|| {
        format!(
            "{} is no train.toml of a training with --task",
            settings.display()
        )
    })?;
    let settings = record.settings;
    let corpus = open_text(lines, settings.source)?;
    if corpus.sha256 != record.data.sha256 {
        bail!(
            "{} is not the file of that training: its SHA-256 is {}, the settings' {}; give the lines that it was trained on",
            lines.display(),
            corpus.sha256,
            record.data.sha256
        );
    }
    let data = examples(&corpus, &settings)?;
    let outputs = match model {
        Model::Float(network) => network.output_width(),
        Model::Integer(bytes) => bytes.image().output().map_or(0, |output| output.len()),
    };
    if outputs != data.target.len() {
        bail!(
            "the model gives {outputs} outputs, but the lines have {} classes or tokens: give the lines that it was trained on",
            data.target.len()
        );
    }
    let threads = settings.train.threads;
    let measures = match model {
        Model::Float(network) => tasks::measure(&**network, settings.task, &data, threads),
        Model::Integer(bytes) => {
            let image = bytes.image();
            let network = IntegerNetwork::new(&image)?;
            tasks::measure(&network, settings.task, &data, threads)
        }
    };
    let measures = measures.context("no line is held back")?;
    if json {
        return print_json(&measures);
    }
    let percent = |part: f64| format!("{:.2} %", 100.0 * part);
    let mut said = format!(
        "{} examples held back  {:.4} nats  {:.4} bits a prediction",
        measures.examples, measures.loss, measures.bits
    );
    if let Some(accuracy) = measures.accuracy {
        said += &format!("  {} right", percent(accuracy));
    }
    if let (Some(errors), Some(right)) = (measures.token_error, measures.whole_right) {
        said += &format!(
            "  token error {}  {} wholly right",
            percent(errors),
            percent(right)
        );
    }
    if let Some(chain) = measures.markov {
        let (order, bits) = (chain.order, chain.bits);
        said += &format!("  best Markov chain {bits:.4} bits (order {order})");
    }
    print_out(&(said + "\n"))
}
