//! Runs a board's firmware in an emulator: connects its console to this terminal, or prints one text and exits.

use std::{
    error::Error,
    io::{Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use pipsqueak::{Model, Task, encode};
use pipsqueak_boards::{BoardSpec, EmulatorProcess, Session};

/// Run a board's firmware in an emulator.
///
/// With --prompt, types the settings and the prompt into the board's console, prints the text as it arrives, and exits.
/// Without, connects the console to this terminal; Ctrl-A X ends the emulator.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The board's name.
    #[arg(long, value_parser = find_board)]
    board: &'static BoardSpec,
    /// The board's firmware, an ELF file [default: as built by `make firmware`].
    #[arg(long, value_name = "ELF", conflicts_with = "elf")]
    firmware: Option<PathBuf>,
    /// The same without the flag, as cargo calls a runner.
    #[arg(hide = true)]
    elf: Option<PathBuf>,
    /// The model for the board's slot [default: the slot is empty].
    #[arg(long, value_name = "PIP")]
    model: Option<PathBuf>,
    /// The model's input: a text to continue, map or classify, or features.
    #[arg(long, requires = "model")]
    prompt: Option<String>,
    /// Seed of the random number generator.
    #[arg(long, default_value_t = 42, requires = "prompt")]
    seed: u64,
    /// Sampling temperature; 0 is greedy [default: 0.8, or 0 for sequence-to-sequence models].
    #[arg(long, requires = "prompt")]
    temperature: Option<String>,
    /// Characters to generate.
    #[arg(long, default_value_t = 400, requires = "prompt")]
    length: u32,
    /// Sample among this many of the most likely tokens; 0: all.
    #[arg(long, default_value_t = 0, requires = "prompt")]
    top_k: u16,
}

fn find_board(name: &str) -> Result<&'static BoardSpec, String> {
    BoardSpec::find(name).ok_or_else(|| format!("expected one of {}", BoardSpec::names()))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let board = arguments.board;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = || board.firmware(&repository);
    let firmware = arguments.firmware.or(arguments.elf).unwrap_or_else(built);
    let model = arguments.model.as_deref();

    let Some(prompt) = arguments.prompt else {
        eprintln!("{}. Ctrl-A X ends the emulator.", board.title);
        return Ok(EmulatorProcess::new(board, &firmware, model)?.run()?);
    };
    let (mut session, banner) = Session::start(board, &firmware, model)?;
    eprintln!("{}", banner.trim().replace('\r', ""));
    if let Some(temperature) = &arguments.temperature {
        session.command(&format!("temperature {temperature}"))?;
    }
    for setting in [
        format!("seed {}", arguments.seed),
        format!("length {}", arguments.length),
        format!("top-k {}", arguments.top_k),
    ] {
        session.command(&setting)?;
    }
    if !is_endless(model)? {
        println!("{}", session.query(&prompt)?);
        return Ok(());
    }
    let mut failure = Ok(());
    session.generate(&prompt, arguments.length as usize, |character| {
        let mut stdout = stdout();
        let written = write!(stdout, "{character}").and_then(|()| stdout.flush());
        failure = std::mem::replace(&mut failure, Ok(())).and(written);
    })?;
    println!();
    Ok(failure?)
}

/// Whether the model continues a text without an end, so that only `length` ends it.
fn is_endless(model: Option<&Path>) -> Result<bool, Box<dyn Error>> {
    let Some(path) = model else {
        return Ok(true);
    };
    let words = encode::to_words(&std::fs::read(path)?);
    // The board reports what is wrong with an invalid model.
    let endless = Model::parse(encode::as_bytes(&words)).map_or(true, |model| {
        let eos = model.vocabulary().special_tokens().eos;
        let ends = eos.is_some() || model.max_tokens() > 0;
        model.task() == Task::LanguageModel && !ends
    });
    Ok(endless)
}
