//! The boards as the host sees them: what they hold, and their emulators.

mod catalog;
mod emulator;
mod firmware;
mod session;

pub use catalog::{BOARDS, Board, DropFile, Emulator};
pub use emulator::{EmulatorError, Machine};
pub use firmware::{Firmware, FirmwareError, Segment};
pub use session::{LINE_BYTES, Session, SessionError};
