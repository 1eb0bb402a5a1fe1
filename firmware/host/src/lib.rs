//! The boards from the host's side: their table, their emulators, a session on an emulated board's console; and measurements
//! and predictions of the runtime's cost on their cores.

mod boards;
mod cost;
mod counts;
mod emulator;
mod firmware;
mod fit;
mod fitted;
mod peers;
mod session;
mod speeds;

pub use boards::{BOARDS, BoardSpec, Emulator, UploadFormat};
// The names before the renaming, for the other crates of this workspace.
pub use boards::{BoardSpec as Board, UploadFormat as DropFile};
pub use cost::{BAUD, Prediction, QUANTITIES, Shape};
pub use counts::{Count, CountError, FOUR_BITS, Widths, counts, method, widths};
pub use emulator::{EmulatorError, EmulatorProcess};
pub use firmware::{Firmware, FirmwareError, Segment};
pub use fit::{Character, Footprint, Measurements};
pub use peers::METHOD as PEERS_METHOD;
pub use session::{Session, SessionError};
pub use speeds::speeds;
