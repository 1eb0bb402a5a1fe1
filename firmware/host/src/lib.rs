//! The boards as the host sees them: what they hold, and their emulators; and what the runtime costs on their cores and on
//! the host.

mod baselines;
mod catalog;
mod cost;
mod criterion_results;
mod emulator;
mod firmware;
mod fit;
mod fitted;
mod measure;
mod session;

pub use baselines::METHOD as BASELINES_METHOD;
pub use catalog::{BOARDS, Board, DropFile, Emulator};
pub use cost::{BAUD, Prediction, QUANTITIES, Shape};
pub use criterion_results::criterion_results;
pub use emulator::{EmulatorError, Machine};
pub use firmware::{Firmware, FirmwareError, Segment};
pub use fit::{Character, Footprint, Measurements};
pub use measure::{
    INT4_SUFFIX, Int4Overhead, MeasureError, Measurement, int4_overheads, measure, method,
    verify_other_cores,
};
pub use session::{LINE_BYTES, Session, SessionError};
