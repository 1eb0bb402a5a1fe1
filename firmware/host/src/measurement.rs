//! A measured number, and the errors of measuring.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use thiserror::Error;

use crate::{FirmwareError, SessionError};

/// One number about one core, or about this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Which core; `host` for this machine.
    pub core: &'static str,
    /// Which item.
    pub what: &'static str,
    /// The number: a mean over calls, rounded; of times the median.
    pub value: u64,
    /// `instructions`, `cycles`, `bytes` or `tokens_per_second`: how many tokens the item allows, done once for each.
    pub unit: &'static str,
    /// The name of the best other library, if one was measured; [`crate::BASELINES_METHOD`] says how.
    pub baseline: Option<&'static str>,
    /// The other library's number.
    pub baseline_value: Option<u64>,
}

/// Why nothing was counted.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// A program or the plugin has not been built.
    #[error("cannot read {}: {error}; build it first: make {target}", path.display())]
    NotBuilt {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
        /// What makes it.
        target: String,
    },
    /// It is no ELF file.
    #[error("{}: expected an ELF file with symbols: {error}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// Why.
        error: object::Error,
    },
    /// The program lacks an item.
    #[error("{}: expected the symbol {symbol}, found none", path.display())]
    Symbol {
        /// The file.
        path: PathBuf,
        /// The item.
        symbol: &'static str,
    },
    /// The emulator cannot be started.
    #[error("cannot start {program}: {error}; to install it: {install}")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        error: io::Error,
        /// A command.
        install: &'static str,
    },
    /// The emulator ended before the program did.
    #[error("{program} for {core}: expected counts, found {found}")]
    Emulator {
        /// The emulator.
        program: &'static str,
        /// The core.
        core: &'static str,
        /// Its output.
        found: String,
    },
    /// The result of a benchmark has no time.
    #[error("{}: expected criterion's median in nanoseconds, found none; run make bench to measure it", path.display())]
    Time {
        /// The file.
        path: PathBuf,
    },
    /// The program generated another text than the host, or a kernel differs from the generic one.
    #[error("{core}: the program panicked: its text is not the host's, or the runtime is broken")]
    Panicked {
        /// The core.
        core: &'static str,
    },
    /// A board's firmware cannot be used.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// A board does not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
}

pub(crate) fn read(path: &Path, target: &str) -> Result<Vec<u8>, MeasureError> {
    fs::read(path).map_err(|error| MeasureError::NotBuilt {
        path: path.to_path_buf(),
        error,
        target: target.to_owned(),
    })
}
