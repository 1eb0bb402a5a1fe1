//! `trainer finetune`: goes on with a trained model, such as to round its weights to 4 bits.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser};

use super::train::{self, TrainArgs};

/// Trains a model on from its own weights: with weights of 4 bits, with teachers, or on another text.
///
/// `trainer finetune model.onnx --text book.txt --bits 4 --out smaller` rounds the weights in every step, so that each makes up
/// for the others, which loses far less than to round a finished model. It is `trainer train --from`, with settings that are
/// good for a model that is trained already. A model of another framework is taken too, where its cells and its vocabulary are
/// such as are trained here.
#[derive(Debug, Args)]
pub struct FinetuneArgs {
    /// The model.onnx to go on from
    pub model: PathBuf,
    /// The text to train on
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Folder for the new model.onnx and what comes with it
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Bits of the layers' weights in the image, 8 or 4
    #[arg(long, default_value_t = 8)]
    pub bits: u8,
    /// Bits of the first layer's weights over its input: 8 beside --bits 4 are good for an embedding [default: as --bits]
    #[arg(long, value_name = "BITS")]
    pub input_bits: Option<u8>,
    /// Bits of the head's weights in the image, 8 or 4
    #[arg(long, value_name = "BITS", default_value_t = 8)]
    pub head_bits: u8,
    /// Optimizer steps
    #[arg(long, default_value_t = 1_500)]
    pub steps: u64,
    /// The highest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 3e-4)]
    pub learning_rate: f64,
    /// Part of the layers' outputs that is dropped while training
    #[arg(long, value_name = "PART")]
    pub dropout: Option<f32>,
    /// Learn what a larger model says beside the text; several are averaged
    #[arg(long = "teacher", value_name = "MODEL", conflicts_with = "lessons")]
    pub teachers: Vec<PathBuf>,
    /// The same from a file of `trainer teach`
    #[arg(long, value_name = "FILE")]
    pub lessons: Option<PathBuf>,
    /// Part of the text, at its end, that is kept for validation
    #[arg(long, value_name = "PART")]
    pub validation: Option<f64>,
    /// Seed of the batches and of dropout
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads; all cores by default
    #[arg(long)]
    pub threads: Option<usize>,
    /// Start anew in a folder that has a training already
    #[arg(long)]
    pub overwrite: bool,
    /// Say only the result
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    /// Print a line of JSON for each report, and one for the result
    #[arg(long)]
    pub json: bool,
}

/// The options of `trainer train` as they are where nothing is said.
#[derive(Parser)]
struct Train {
    #[command(flatten)]
    args: TrainArgs,
}

/// Runs the command.
///
/// # Errors
/// As `trainer train`.
pub fn run(args: FinetuneArgs) -> anyhow::Result<()> {
    let given = [
        OsString::from("train"),
        args.text.into(),
        "--out".into(),
        args.out.into(),
    ];
    let rounds = args.bits == 4 || args.head_bits == 4;
    train::run(TrainArgs {
        from: Some(args.model),
        bits: Some(args.bits),
        input_bits: args.input_bits,
        head_bits: Some(args.head_bits),
        steps: Some(args.steps),
        rounded_steps: Some(if rounds { args.steps } else { 0 }),
        learning_rate: Some(args.learning_rate),
        rounded_rate: Some(args.learning_rate),
        dropout: args.dropout,
        teachers: args.teachers,
        lessons: args.lessons,
        validation: args.validation,
        seed: args.seed,
        threads: args.threads,
        overwrite: args.overwrite,
        quiet: args.quiet,
        json: args.json,
        ..Train::try_parse_from(given)?.args
    })
}
