//! The console application of every board: prompts in, generated text out, over a serial port.
//!
//! This crate knows no board. A board passes its parts as [`Peripherals`] to [`run`]; a test passes a byte pipe to
//! [`run_until_eof`]. The terminal shows the prompt `> `. A line is input for the model unless its first word is a command;
//! `help` lists the commands.
//!
//! ```text
//! > seed 7
//! seed 7
//! > ROMEO:
//! ROMEO:
//! What say you, sir? ...
//! >
//! ```
//!
//! Every text starts from the initial state and from the seed, so that the same settings and the same prompt give the same
//! bytes. An empty line continues the last text. Lines may be typed ahead; Ctrl-C stops the text and drops the
//! input before it.
//!
//! | module | content |
//! |---|---|
//! | [`receive`] | the queue between the receive interrupt and the console |
//! | `line`, `command` | editing a line; parsing it |
//! | `console`, `classes`, `info` | executing commands |
//! | `model`, `settings` | the model in the slot; the user's settings |
//! | `terminal`, `utf8` | output without `core::fmt`; characters out of bytes |
#![no_std]

mod classes;
mod command;
mod console;
mod info;
mod line;
mod model;
pub mod receive;
mod settings;
mod terminal;
mod utf8;

pub use line::LINE_BYTES;
pub use receive::Input;

use console::{Console, TextOutput};
use embedded_hal::{delay::DelayNs, digital::OutputPin};
use embedded_io::Write;
use model::LoadedModel;
use pipsqueak::Model;
use settings::ConsoleSettings;
use terminal::Terminal;

/// What a board gives to the application.
pub struct Peripherals<'a, I, W, D, L> {
    /// The board's name in the table of boards, e.g. `microbit`.
    pub name: &'static str,
    /// The clock that the core runs at, in Hz.
    pub clock_hz: u32,
    /// The receiving side of the serial port.
    pub input: I,
    /// The sending side of the serial port.
    pub output: W,
    /// The delay behind the setting `pace`.
    pub delay: D,
    /// The activity LED, high while the model computes.
    pub led: L,
    /// The model's slot in flash: 4-byte aligned, longer than the model, or erased.
    pub slot: &'a [u8],
    /// RAM for a copy of the model, 4-byte aligned, where RAM is faster than flash; else empty. A model that does not fit
    /// runs from the slot.
    pub model_copy: &'a mut [u8],
    /// The memory that the model works in.
    pub workspace: &'a mut [u32],
    /// Measures the stack.
    pub stack: fn() -> StackUsage,
}

/// How much of the stack has been used, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackUsage {
    /// The most since the start.
    pub peak: usize,
    /// All of the stack.
    pub size: usize,
}

/// Runs the console forever.
pub fn run<I, W, D, L>(peripherals: Peripherals<'_, I, W, D, L>) -> !
where
    I: Input,
    W: Write,
    D: DelayNs,
    L: OutputPin,
{
    with_console(peripherals, |console| {
        loop {
            console.run_until_eof();
        }
    })
}

/// Runs the console until its input ends, which a board's never does.
pub fn run_until_eof<I, W, D, L>(peripherals: Peripherals<'_, I, W, D, L>)
where
    I: Input,
    W: Write,
    D: DelayNs,
    L: OutputPin,
{
    with_console(peripherals, |console| console.run_until_eof());
}

fn with_console<I, W, D, L, T>(
    peripherals: Peripherals<'_, I, W, D, L>,
    then: impl FnOnce(&mut Console<'_, '_, I, W, D, L>) -> T,
) -> T
where
    I: Input,
    W: Write,
    D: DelayNs,
    L: OutputPin,
{
    let available = peripherals.workspace.len();
    let parsed = Model::parse(model::bytes(peripherals.slot, peripherals.model_copy));
    let model = LoadedModel::load(&parsed, peripherals.workspace, &ConsoleSettings::default());
    let settings = model.default_settings();
    let mut console = Console {
        board: peripherals.name,
        clock_hz: peripherals.clock_hz,
        available,
        stack: peripherals.stack,
        input: peripherals.input,
        terminal: Terminal(peripherals.output),
        delay: peripherals.delay,
        led: peripherals.led,
        model,
        settings,
        text: TextOutput::default(),
    };
    console.print_banner();
    then(&mut console)
}
