//! `trainer teach`: what trained models say of a text, for smaller ones to learn.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::args::open_text;
use super::print::print_out;
use crate::cli::progress;
use crate::data::corpus::Corpus;
use crate::inference::model::Model;
use crate::training::lessons::Lessons;
use crate::training::settings;

/// Lets trained models read a text and make up more of it, and writes what they say of each next token to a file, from which
/// `trainer train --lessons FILE` teaches a smaller model (distillation).
///
/// The teachers read the same first part of the text that they and the student are trained on, never the validation part.
/// Several teachers are averaged, which teaches better than one. The file takes two bytes for each token of the text, and of
/// what is made up, times the size of the vocabulary.
#[derive(Debug, Args)]
pub struct TeachArgs {
    /// The text that teachers and students are trained on
    pub corpus: PathBuf,
    /// A teacher: the model.onnx of a training; several are averaged
    #[arg(long = "teacher", value_name = "MODEL", required = true)]
    pub teachers: Vec<PathBuf>,
    /// Where to write the lessons
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Tokens that the teachers make up; 0: they only read
    #[arg(long, value_name = "TOKENS", default_value_t = IMAGINE)]
    pub imagine: usize,
    /// Part of the text, at its end, that is kept for validation: as in training
    #[arg(long, value_name = "PART")]
    pub validation: Option<f64>,
    /// Seed of what is made up
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads; all cores by default
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// If the text or a teacher is refused, or the file cannot be written.
pub fn run(args: TeachArgs) -> anyhow::Result<()> {
    let first = args.teachers.first().context("no teacher")?;
    let tokenizer = Model::open(first)?.vocabulary()?.tokenizer();
    let corpus = open_text(&args.corpus, tokenizer)?;
    let validation = args
        .validation
        .unwrap_or_else(|| settings::validation(corpus.characters()));
    if !(0.0..1.0).contains(&validation) {
        bail!("--validation {validation}: expected 0 or more, below 1");
    }
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (lessons, loss) = lessons(
        &corpus,
        &args.teachers,
        validation,
        args.imagine,
        args.seed,
        threads.max(1),
    )?;
    lessons.write(&args.out)?;
    print_out(&format!(
        "{}: {} teacher(s), who read {} at {loss:.4} nats/token and made up {} tokens\n",
        args.out.display(),
        args.teachers.len(),
        corpus.name,
        lessons.imagined().len()
    ))
}

/// What the models in `teachers` say of all but the last `validation` of a text, and their mean loss on it in nats per token.
pub(super) fn lessons(
    corpus: &Corpus,
    teachers: &[PathBuf],
    validation: f64,
    imagine: usize,
    seed: u64,
    threads: usize,
) -> anyhow::Result<(Lessons, f64)> {
    let mut networks = Vec::new();
    for path in teachers {
        let Model::Float(network) = Model::open(path)? else {
            bail!(
                "{} is an image: expected the model.onnx that it was made of",
                path.display()
            );
        };
        networks.push((path.display().to_string(), *network));
    }
    let (name, first) = networks.first().context("no teacher")?;
    let vocabulary = first
        .vocabulary
        .clone()
        .with_context(|| format!("{name}: expected a language model with a vocabulary"))?;
    let [part, _] = corpus.parts(validation, vocabulary.line_documents())?;
    let text = vocabulary.encode_part(corpus, part, false)?.tokens;
    if text.len() < 2 {
        bail!("{}: expected at least 2 tokens to read", corpus.name);
    }
    let bar = progress::bar(1000, "teaching");
    let lessons = Lessons::new(
        &networks,
        &vocabulary,
        (&corpus.sha256, &text),
        imagine,
        seed,
        threads,
        &|done| bar.set_position(done),
    )?;
    bar.finish_and_clear();
    let loss = lessons.loss(&text);
    Ok((lessons, loss))
}

/// Tokens that teachers make up where nothing else is said.
pub(super) const IMAGINE: usize = 2_000_000;
