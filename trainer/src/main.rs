//! The `trainer` command.

use clap::Parser;
use std::io::ErrorKind;
use std::process::ExitCode;
use trainer::cli::run::ModelRejected;
use trainer::cli::{Cli, signals};

fn main() -> ExitCode {
    let result = signals::install()
        .map_err(anyhow::Error::from)
        .and_then(|()| Cli::parse().run());
    let Err(error) = result else {
        return signals::exit_code();
    };
    let closed = |cause: &std::io::Error| cause.kind() == ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(closed) {
        // The reader of our output, such as `head`, has closed it: not an error.
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    if error.is::<ModelRejected>() {
        // A script distinguishes a rejected model from other errors.
        return ExitCode::from(2);
    }
    ExitCode::FAILURE
}
