//! Starts a board's emulator.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::NamedTempFile;
use thiserror::Error;

use crate::{BoardSpec, Emulator, Firmware, FirmwareError};

/// Why a board cannot be emulated.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// The firmware cannot be used.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The firmware is for another board, or of another version.
    #[error(
        "expected a firmware for {}, with the slot at {:#x}, found one with the slot at {found:#x}",
        board.name, board.slot_address
    )]
    OtherBoard {
        /// The board.
        board: &'static BoardSpec,
        /// The address at which the firmware looks for its model.
        found: u32,
    },
    /// The model cannot be read.
    #[error("cannot read the model {}: {error}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The model is larger than the slot.
    #[error(
        "{}: expected at most {} bytes (the slot of {}), found {found}",
        path.display(), board.slot_bytes, board.name
    )]
    TooLarge {
        /// The model.
        path: PathBuf,
        /// The board.
        board: &'static BoardSpec,
        /// Bytes of the model.
        found: usize,
    },
    /// The emulator is not installed.
    #[error("cannot start {program}: {error}; to install it: {install}")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        error: io::Error,
        /// A command.
        install: &'static str,
    },
    /// The emulator's temporary files cannot be written.
    #[error("cannot write a temporary file: {0}")]
    Temporary(io::Error),
}

/// An emulated board, not started yet.
pub struct EmulatorProcess {
    pub(crate) command: Command,
    program: &'static str,
    /// The file that holds the flash, if the emulator reads one.
    _flash: Option<NamedTempFile>,
    /// The file that the emulator writes memory to on request.
    pub(crate) memory: NamedTempFile,
    /// The addresses of the firmware's stack.
    pub(crate) stack: Range<u32>,
}

impl EmulatorProcess {
    /// The board with its firmware, and a model in the slot or an empty slot.
    ///
    /// On a terminal the console is the user's, and Ctrl-A X ends the emulator.
    ///
    /// # Errors
    /// A file is missing, does not fit the board, or the emulator's parts are not installed.
    pub fn new(
        board: &'static BoardSpec,
        firmware: &Path,
        model: Option<&Path>,
    ) -> Result<Self, EmulatorError> {
        let program = Firmware::read(firmware)?;
        if program.slot.start != board.slot_address {
            let found = program.slot.start;
            return Err(EmulatorError::OtherBoard { board, found });
        }
        let bytes = model.map_or(Ok(Vec::new()), |path| read_model(path, board))?;
        let memory = NamedTempFile::new().map_err(EmulatorError::Temporary)?;
        let stack = program.stack.clone();
        match board.emulator {
            Emulator::Qemu { machine, serial } => {
                let mut command = Command::new(QEMU);
                command.args(["-M", machine, "-display", "none"]);
                command.arg("-kernel").arg(firmware);
                if let Some(path) = model {
                    command.arg("-device").arg(loader(path, board.slot_address));
                }
                for _ in 0..serial {
                    command.args(["-serial", "null"]);
                }
                // Ctrl-A C goes to QEMU's monitor.
                command.args(["-serial", "mon:stdio"]);
                Ok(Self {
                    command,
                    program: QEMU,
                    _flash: None,
                    memory,
                    stack,
                })
            }
            Emulator::Rp2040js => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rp2040");
                if !script.join("node_modules/rp2040js").exists() {
                    let error = io::ErrorKind::NotFound.into();
                    return Err(missing("rp2040js", error));
                }
                let mut flash = NamedTempFile::new().map_err(EmulatorError::Temporary)?;
                flash
                    .write_all(&program.flash(RP2040_FLASH, &bytes))
                    .map_err(EmulatorError::Temporary)?;
                let mut command = Command::new(NODE);
                command.arg(script.join("rp2040.mjs")).arg(flash.path());
                command.arg(memory.path());
                Ok(Self {
                    command,
                    program: NODE,
                    _flash: Some(flash),
                    memory,
                    stack,
                })
            }
        }
    }

    /// Connects this terminal to the board until the emulator ends.
    ///
    /// # Errors
    /// The emulator is not installed.
    pub fn run(mut self) -> Result<(), EmulatorError> {
        // The user ends it, in any way.
        let status = self.command.status();
        status
            .map(|_| ())
            .map_err(|error| missing(self.program, error))
    }

    pub(crate) fn spawn(&mut self) -> Result<std::process::Child, EmulatorError> {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| missing(self.program, error))
    }
}

const QEMU: &str = "qemu-system-arm";
const NODE: &str = "node";
/// The address of the RP2040's flash.
pub(crate) const RP2040_FLASH: u32 = 0x1000_0000;
/// The address of its RAM.
pub(crate) const RP2040_RAM: u32 = 0x2000_0000;

fn missing(program: &'static str, error: io::Error) -> EmulatorError {
    let install = match program {
        QEMU => "firmware/setup.sh qemu",
        _ => "firmware/setup.sh node",
    };
    EmulatorError::Start {
        program,
        error,
        install,
    }
}

fn read_model(path: &Path, board: &'static BoardSpec) -> Result<Vec<u8>, EmulatorError> {
    let bytes = fs::read(path).map_err(|error| EmulatorError::Model {
        path: path.to_path_buf(),
        error,
    })?;
    if bytes.len() > board.slot_bytes as usize {
        return Err(EmulatorError::TooLarge {
            path: path.to_path_buf(),
            board,
            found: bytes.len(),
        });
    }
    Ok(bytes)
}

/// QEMU's option that loads a file to an address. Commas in the name are doubled.
fn loader(path: &Path, address: u32) -> OsString {
    let mut option = OsString::from("loader,file=");
    match path.to_str() {
        Some(path) => option.push(path.replace(',', ",,")),
        None => option.push(path),
    }
    option.push(format!(",addr={address:#x},force-raw=on"));
    option
}
