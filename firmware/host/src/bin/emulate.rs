//! Runs a board's firmware in an emulator: its console on this terminal, or one text and out.

use std::{
    error::Error,
    io::{Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use pipsqueak::{Model, Task, encode};
use pipsqueak_boards::{Board, Machine, Session};

/// Run a board's firmware in an emulator.
///
/// With --prompt it types the settings and the prompt into the board's console, streams the text that comes back, and
/// ends. Without, the console is yours: Ctrl-A X ends the emulator.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Which board: microbit, stm32f405 or pico.
    #[arg(long, value_parser = find_board)]
    board: &'static Board,
    /// The board's firmware, an ELF file; the one that `make firmware` built if left out.
    #[arg(long, value_name = "ELF", conflicts_with = "elf")]
    firmware: Option<PathBuf>,
    /// The same without the flag, as cargo calls a runner.
    #[arg(hide = true)]
    elf: Option<PathBuf>,
    /// The image for the board's model slot; the slot stays empty if left out.
    #[arg(long, value_name = "PIP")]
    model: Option<PathBuf>,
    /// The text to continue, translate or classify, or the features to describe, as the model does.
    #[arg(long, requires = "model")]
    prompt: Option<String>,
    /// The seed of the random numbers.
    #[arg(long, default_value_t = 42, requires = "prompt")]
    seed: u64,
    /// How freely to draw: 0 is greedy. If left out, 0.8, or 0 where the model translates.
    #[arg(long, requires = "prompt")]
    temperature: Option<String>,
    /// Characters to generate.
    #[arg(long, default_value_t = 400, requires = "prompt")]
    length: u32,
    /// Draw among so many of the likeliest tokens; 0: among all.
    #[arg(long, default_value_t = 0, requires = "prompt")]
    top_k: u16,
}

fn find_board(name: &str) -> Result<&'static Board, String> {
    Board::find(name).ok_or_else(|| format!("expected one of {}", Board::names()))
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
        return Ok(Machine::new(board, &firmware, model)?.run()?);
    };
    let (mut session, banner) = Session::start(board, &firmware, model)?;
    // The micro:bit primes its transmitter with a NUL.
    eprintln!(
        "{}",
        banner.trim_matches(['\0', '\r', '\n']).replace('\r', "")
    );
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
    if !goes_on(model)? {
        println!("{}", session.ask(&prompt)?);
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

/// Whether the model goes on with a text for as long as it is asked to, so that its length alone says where it ends.
fn goes_on(model: Option<&Path>) -> Result<bool, Box<dyn Error>> {
    let Some(path) = model else {
        return Ok(true);
    };
    let words = encode::to_words(&std::fs::read(path)?);
    // The board says what is wrong with what is no image.
    let goes_on = Model::parse(encode::as_bytes(&words)).map_or(true, |model| {
        let ends = model.vocabulary().special_tokens().eos.is_some() || model.max_tokens() > 0;
        model.task() == Task::LanguageModel && !ends
    });
    Ok(goes_on)
}
