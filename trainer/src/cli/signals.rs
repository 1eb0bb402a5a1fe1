//! Ctrl-C: it ends every command with exit code 130, a command that asks for it in an orderly way.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code after Ctrl-C: 128 + SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;

/// Whether Ctrl-C was pressed.
static STOP: AtomicBool = AtomicBool::new(false);

/// Whether the command stops by itself when [`STOP`] is set.
static ORDERLY: AtomicBool = AtomicBool::new(false);

/// Installs the handler of the process.
///
/// # Errors
/// Returns an error if the system refuses it, or the process has a handler.
pub fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        let again = STOP.swap(true, Ordering::Relaxed);
        if again || !ORDERLY.load(Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })
}

/// From now on the first Ctrl-C sets this flag instead of ending the process: the caller stops soon and returns. A second one ends
/// the process at once.
pub fn stop_flag() -> &'static AtomicBool {
    ORDERLY.store(true, Ordering::Relaxed);
    &STOP
}

/// The exit code of a command that returned without an error: 0, or 130 if Ctrl-C stopped it.
pub fn exit_code() -> ExitCode {
    match STOP.load(Ordering::Relaxed) {
        true => ExitCode::from(INTERRUPTED),
        false => ExitCode::SUCCESS,
    }
}
