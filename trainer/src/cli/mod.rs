//! The command line: one file for each command, with its arguments and one function.

use clap::{CommandFactory, Parser, Subcommand};

mod args;
pub mod classify;
pub mod completions;
pub mod distill;
pub mod eval;
pub mod export;
pub mod finetune;
pub mod flash;
pub mod generate;
pub mod inputs;
pub mod inspect;
mod job;
pub mod ngram;
pub mod options;
pub mod print;
pub mod progress;
pub mod report;
pub mod run;
mod samples;
pub mod signals;
mod summary;
mod teachers;
pub mod train;
pub mod translate;
mod values;
mod view;
pub mod vocab;

const HELP: &str = "\
Examples:
  trainer train book.txt --out models/mine              train a language model
  trainer export models/mine/model.onnx                 quantize it: models/mine/model.pip
  trainer generate models/mine/model.pip --prompt Once  generate text as a board would
  trainer flash models/mine/model.pip --board microbit  write it to a board

Exit codes: 0 success; 1 error; 2 wrong usage, or a model that `run` rejects; 130 stopped by Ctrl-C.
With --json, results are printed as one JSON object per line; trainer/JSON.md describes their types.
`trainer COMMAND --help` explains each command.";

/// Train small recurrent networks, quantize them, and run them on microcontrollers
#[derive(Debug, Parser)]
#[command(name = "trainer", version, propagate_version = true, after_help = HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Distill(distill::DistillArgs),
    Finetune(Box<finetune::FinetuneArgs>),
    Export(export::ExportArgs),
    Flash(flash::FlashArgs),
    Generate(generate::GenerateArgs),
    Translate(translate::TranslateArgs),
    Classify(classify::ClassifyArgs),
    Eval(eval::EvalArgs),
    Run(run::RunArgs),
    Ngram(ngram::NgramArgs),
    Inspect(inspect::InspectArgs),
    Report(report::ReportArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Man(completions::ManArgs),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Returns the error of the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(args) => train::run(*args),
            Command::Distill(args) => distill::run(args),
            Command::Finetune(args) => finetune::run(*args),
            Command::Export(args) => export::run(args),
            Command::Flash(args) => flash::run(args),
            Command::Generate(args) => generate::run(args),
            Command::Translate(args) => translate::run(args),
            Command::Classify(args) => classify::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Run(args) => run::run(args),
            Command::Ngram(args) => ngram::run(args),
            Command::Inspect(args) => inspect::run(args),
            Command::Report(args) => report::run(args),
            Command::Completions(args) => completions::run(args, Self::command()),
            Command::Man(args) => completions::man(args, Self::command()),
        }
    }
}
