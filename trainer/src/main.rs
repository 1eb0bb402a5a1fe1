//! The `trainer` command.

use clap::Parser;
use std::io::ErrorKind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(error) = trainer::cli::Cli::parse().run() else {
        return ExitCode::SUCCESS;
    };
    let gone = |cause: &std::io::Error| cause.kind() == ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(gone) {
        // Whoever read our output has had enough of it.
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    if error.is::<trainer::cli::run::Refused>() {
        // So that a script can tell a model that is refused from a mistake of its own.
        return ExitCode::from(2);
    }
    ExitCode::FAILURE
}
