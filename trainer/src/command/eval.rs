//! `trainer eval`

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
    let model = Model::open(&args.model)?;
    let encoded = args.text.encode(&model.vocabulary()?)?;
    let progress = progress::bar(encoded.tokens.len() as u64, "reading");
    let mut evaluation = evaluate::model(&model, &encoded.tokens, || progress.inc(1))?;
    progress.finish_and_clear();
    evaluation.skipped = encoded.skipped;
    if args.json {
        return print_json(&evaluation);
    }
    print_out(&format!(
        "{:.4} nats/char  {:.4} bits/char  perplexity {:.3}  {} characters  {} skipped  {:.0} characters/s\n",
        evaluation.nats_per_char,
        evaluation.bits_per_char,
        evaluation.perplexity,
        evaluation.characters,
        evaluation.skipped,
        evaluation.characters_per_second
    ))
}
