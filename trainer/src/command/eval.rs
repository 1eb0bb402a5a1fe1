//! `trainer eval`

use super::vocab::VocabArgs;
use super::{TextArgs, print_json, print_out};
use crate::evaluate;
use crate::model::Model;
use crate::progress;
use clap::Args;
use std::path::PathBuf;

/// Measures how well a model predicts a text, read as one stream from a zero state.
#[derive(Debug, Args)]
#[command(mut_arg("text", |text| text.required(true)))]
pub struct EvalArgs {
    /// The model: .onnx runs in float, .pip in integers by the boards' own code
    pub model: PathBuf,
    /// The tokens' texts.
    #[command(flatten)]
    pub vocab: VocabArgs,
    /// What to measure on.
    #[command(flatten)]
    pub text: TextArgs,
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
    let vocabulary = model.vocabulary()?;
    let encoded = args.text.encode(&vocabulary)?;
    let progress = progress::bar(encoded.tokens.len() as u64, "reading");
    let measure = vocabulary.measure(&encoded, 1..encoded.tokens.len());
    let mut evaluation =
        evaluate::model(&model, &encoded.tokens, || progress.inc(1))?.by_character(measure);
    progress.finish_and_clear();
    evaluation.skipped = encoded.skipped;
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
