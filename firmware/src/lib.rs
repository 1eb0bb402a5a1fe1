//! The app of every board: a console on a serial port that continues the texts typed into it.
//!
//! There is no board in it. A board crate hands over what it has as a [`Board`] and calls [`run`]; a test hands over a
//! pipe and calls [`serve`]. The terminal sees a prompt `> `; a line typed there is a prompt whose text is continued,
//! unless its first word is a command: `help` lists them.
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
//! Every text starts afresh, with the state at zero and the generator seeded anew, so that the same settings and the same
//! prompt give the same bytes. An empty line continues the last text. What is typed while a text is made is dropped,
//! except for Ctrl-C, which stops the text.
#![no_std]

mod command;
mod console;
mod line;
mod model;
mod settings;
mod terminal;

pub use line::LINE_BYTES;

use console::Console;
use embedded_hal::{delay::DelayNs, digital::OutputPin};
use embedded_io::{Read, ReadReady, Write};
use line::Line;
use model::Model;
use pipsqueak::Image;
use settings::Settings;
use terminal::Terminal;

/// What a board gives to the app.
pub struct Board<'a, S, D, L> {
    /// The board's name in the catalogue of boards, e.g. `microbit`.
    pub name: &'static str,
    /// The clock that the core really runs at, in Hz.
    pub clock_hz: u32,
    /// The serial port of the console. `read` waits for a byte.
    pub serial: S,
    /// The delay behind the typing pace.
    pub delay: D,
    /// The activity LED, high while the model computes.
    pub led: L,
    /// The model's slot: 4-byte aligned, longer than the image or erased.
    pub slot: &'a [u8],
    /// The memory that the model works in.
    pub workspace: &'a mut [u32],
}

/// Runs the console for ever.
pub fn run<S, D, L>(board: Board<'_, S, D, L>) -> !
where
    S: Read + ReadReady + Write,
    D: DelayNs,
    L: OutputPin,
{
    with_console(board, |console| {
        loop {
            console.serve();
        }
    })
}

/// Runs the console until its input ends, which a board's never does.
pub fn serve<S, D, L>(board: Board<'_, S, D, L>)
where
    S: Read + ReadReady + Write,
    D: DelayNs,
    L: OutputPin,
{
    with_console(board, |console| console.serve());
}

fn with_console<S, D, L, T>(
    board: Board<'_, S, D, L>,
    then: impl FnOnce(&mut Console<'_, '_, S, D, L>) -> T,
) -> T
where
    S: Read + ReadReady + Write,
    D: DelayNs,
    L: OutputPin,
{
    let Board {
        name,
        clock_hz,
        serial,
        delay,
        led,
        slot,
        workspace,
    } = board;
    let available = workspace.len();
    let image = Image::parse(slot);
    let model = Model::load(&image, workspace, Settings::default().generator());
    let settings = model.settings();
    let mut console = Console {
        board: name,
        clock_hz,
        available,
        terminal: Terminal(serial),
        delay,
        led,
        model,
        settings,
        line: Line::default(),
        at_start: true,
        rest: &[],
    };
    console.greet();
    then(&mut console)
}
