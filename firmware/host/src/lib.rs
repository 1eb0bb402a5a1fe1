//! The boards from the host's side: their table, their emulators, a session on an emulated board's console; and measurements
//! and predictions of the runtime's cost on their cores.

mod baselines;
mod boards;
mod cost;
mod criterion_results;
mod emulator;
mod firmware;
mod fit;
mod fitted;
mod measure;
mod measurement;
mod quantities;
mod session;

pub use baselines::METHOD as BASELINES_METHOD;
pub use boards::{BOARDS, BoardSpec, Emulator, UploadFormat};
pub use cost::{BAUD, Prediction, Shape};
pub use criterion_results::criterion_results;
pub use emulator::{EmulatorError, EmulatorProcess};
pub use firmware::{Firmware, FirmwareError, Segment};
pub use fit::{Character, Measurements};
pub use measure::{INT4_SUFFIX, Int4Overhead, int4_overheads, measure, method, verify_other_cores};
pub use measurement::{MeasureError, Measurement};
pub use quantities::{Footprint, QUANTITIES};
pub use session::{Session, SessionError};
