//! The command line: a command in each file, its arguments and one function.

use clap::{Parser, Subcommand};

mod args;
pub mod baseline;
pub mod classify;
pub mod eval;
pub mod export;
pub mod finetune;
pub mod flash;
pub mod generate;
pub mod inspect;
pub mod lines;
mod print;
pub mod progress;
pub mod report;
pub mod run;
pub mod teach;
pub mod train;
mod train_lines;
pub mod translate;
mod view;
pub mod vocab;

/// Trains a small recurrent network on a text and makes a microcontroller speak it.
///
/// The road: `trainer train book.txt --out models/mine`, `trainer export models/mine/model.onnx`,
/// `trainer generate models/mine/model.pip --prompt "Once"`, `trainer flash models/mine/model.pip --board microbit`.
#[derive(Debug, Parser)]
#[command(name = "trainer", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Teach(teach::TeachArgs),
    Finetune(finetune::FinetuneArgs),
    Export(export::ExportArgs),
    Flash(flash::FlashArgs),
    Generate(generate::GenerateArgs),
    Translate(translate::TranslateArgs),
    Classify(classify::ClassifyArgs),
    Eval(eval::EvalArgs),
    Run(run::RunArgs),
    Baseline(baseline::BaselineArgs),
    Inspect(inspect::InspectArgs),
    Report(report::ReportArgs),
}

impl Cli {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// As the command says.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(args) => train::run(*args),
            Command::Teach(args) => teach::run(args),
            Command::Finetune(args) => finetune::run(args),
            Command::Export(args) => export::run(args),
            Command::Flash(args) => flash::run(args),
            Command::Generate(args) => generate::run(args),
            Command::Translate(args) => translate::run(args),
            Command::Classify(args) => classify::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Run(args) => run::run(args),
            Command::Baseline(args) => baseline::run(args),
            Command::Inspect(args) => inspect::run(args),
            Command::Report(args) => report::run(args),
        }
    }
}
