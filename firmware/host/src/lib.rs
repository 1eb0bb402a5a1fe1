//! The boards as the host sees them: what they hold, and their emulators; and what the runtime costs on their cores and on
//! the host.

mod catalog;
mod cost;
mod counts;
mod emulator;
mod firmware;
mod fit;
mod fitted;
mod peers;
mod session;
mod speeds;

pub use catalog::{BOARDS, Board, DropFile, Emulator};
pub use cost::{BAUD, GENERATOR_RAM, Prediction, QUANTITIES, Shape, model_ram};
pub use counts::{Count, CountError, FOUR_BITS, Widths, counts, method, widths};
pub use emulator::{EmulatorError, Machine};
pub use firmware::{Firmware, FirmwareError, Segment};
pub use fit::{Character, Footprint, Measurements};
pub use peers::METHOD as PEERS_METHOD;
pub use session::{LINE_BYTES, Session, SessionError};
pub use speeds::speeds;
