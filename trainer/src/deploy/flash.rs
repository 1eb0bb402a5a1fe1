//! Writes a model into a board's model slot: through a debug probe, or as one file with the firmware.
//!
//! The firmware never changes. It looks for a model at the slot's address, so a file for the board is the
//! firmware's bytes and the model's bytes, each at its address.

mod elf;
mod hex;
mod uf2;

use pipsqueak::{Model, ModelError, encode};
use pipsqueak_boards::{BoardSpec, UploadFormat};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Bytes at an address of the board's flash.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Address of the first byte.
    pub address: u32,
    /// The bytes, at least one.
    pub bytes: Vec<u8>,
}

/// A file that holds firmware and model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FileKind {
    /// For debuggers and emulators; every board.
    Elf,
    /// Intel HEX, for the micro:bit's drive and most flash tools.
    Hex,
    /// For the drive of a Raspberry Pi Pico.
    Uf2,
}

/// Why a model was not written to a board.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The bytes are not a model file.
    #[error("{0}; expected a model file from `trainer export model.onnx --out model.pip`")]
    Model(ModelError),
    /// Bytes follow the end of the model.
    #[error("the file has {found} bytes, its model {expected}: export it again")]
    Trailing {
        /// Bytes of the file.
        found: usize,
        /// Bytes of the model.
        expected: usize,
    },
    /// The slot is too small.
    #[error(
        "the model does not fit: it has {model} bytes, the slot of {board} holds {slot}; train a smaller network, such as by `trainer train --fit {board}`"
    )]
    Slot {
        /// The board's name.
        board: &'static str,
        /// Bytes of the model.
        model: usize,
        /// Bytes of the slot.
        slot: u32,
    },
    /// The board's memory is too small.
    #[error(
        "the model does not fit: it needs {needed} words of workspace, the firmware of {board} has {available}; train a smaller network, such as by `trainer train --fit {board}`"
    )]
    Workspace {
        /// The board's name.
        board: &'static str,
        /// Words of 4 bytes that the model needs.
        needed: usize,
        /// Words of 4 bytes that there are.
        available: usize,
    },
    /// An extension that says nothing, or a kind of file that the board does not take.
    #[error("cannot make {}: {board} takes {expected}", path.display())]
    Kind {
        /// The path as given.
        path: PathBuf,
        /// The board's name.
        board: &'static str,
        /// Which extensions it takes.
        expected: String,
    },
    /// No firmware at hand.
    #[error("no firmware for {board}: looked for {} here and in the folders above; run `{build}` in the repository, or name the file with --firmware", path.display())]
    NoFirmware {
        /// The board's name.
        board: &'static str,
        /// The path in the repository.
        path: PathBuf,
        /// What builds it.
        build: String,
    },
    /// A firmware file that cannot be used.
    #[error("the firmware is refused: {0}; build it with `make firmware`")]
    Firmware(String),
    /// probe-rs is not there.
    #[error(
        "probe-rs is not installed: run `cargo install probe-rs-tools --locked`, or write a file with --out {example} and copy it to the board"
    )]
    NoProbe {
        /// A file name that suits the board.
        example: String,
    },
    /// probe-rs cannot be started.
    #[error("cannot start probe-rs: {0}")]
    Probe(io::Error),
    /// probe-rs ended with an error, which it has printed.
    #[error("probe-rs {command} failed ({status}): is the board connected?")]
    ProbeFailed {
        /// Its command.
        command: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Checks that `bytes` are exactly one model file, and that it fits `board`.
///
/// # Errors
/// If it does not parse, has bytes after its end, or needs more flash or RAM than the board has.
pub fn check_model(board: &BoardSpec, bytes: &[u8]) -> Result<(), FlashError> {
    // A model is read as words: copy the bytes to aligned memory.
    let words = encode::to_words(bytes);
    let aligned = &encode::as_bytes(&words)[..bytes.len()];
    let model = Model::parse(aligned).map_err(FlashError::Model)?;
    if model.len() != bytes.len() {
        return Err(FlashError::Trailing {
            found: bytes.len(),
            expected: model.len(),
        });
    }
    if model.len() > board.slot_bytes as usize {
        return Err(FlashError::Slot {
            board: board.name,
            model: model.len(),
            slot: board.slot_bytes,
        });
    }
    let (needed, available) = (model.workspace_len(), board.workspace_words);
    if needed > available {
        return Err(FlashError::Workspace {
            board: board.name,
            needed,
            available,
        });
    }
    Ok(())
}

impl FileKind {
    /// The kind of file that the extension of `path` names, if `board` takes it.
    ///
    /// # Errors
    /// If the extension is another one, or belongs to other boards.
    ///
    /// ```
    /// use pipsqueak_boards::BoardSpec;
    /// use trainer::deploy::flash::FileKind;
    /// let pico = BoardSpec::find("pico").unwrap();
    /// assert_eq!(FileKind::of("pico.uf2".as_ref(), pico).unwrap(), FileKind::Uf2);
    /// let error = FileKind::of("pico.hex".as_ref(), pico).unwrap_err();
    /// assert_eq!(error.to_string(), "cannot make pico.hex: pico takes .elf or .uf2");
    /// ```
    pub fn of(path: &Path, board: &BoardSpec) -> Result<Self, FlashError> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        // A board with a UF2 drive has no other way in but the probe; the others' tools take HEX.
        let takes = match board.drop {
            Some(UploadFormat::Uf2) => [("elf", Self::Elf), ("uf2", Self::Uf2)],
            Some(UploadFormat::Hex) | None => [("elf", Self::Elf), ("hex", Self::Hex)],
        };
        let found = takes
            .iter()
            .find(|(name, _)| extension.as_deref() == Some(name));
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| FlashError::Kind {
                path: path.into(),
                board: board.name,
                expected: takes.map(|(name, _)| format!(".{name}")).join(" or "),
            })
    }
}

/// Returns a file with firmware and model, each at its address. `firmware` is an ELF file.
///
/// # Errors
/// If the firmware is no ELF file for an ARM microcontroller, or has bytes outside its part of the board's flash.
pub fn merge_firmware(
    kind: FileKind,
    board: &BoardSpec,
    firmware: &[u8],
    model: &[u8],
) -> Result<Vec<u8>, FlashError> {
    let mut segments = elf::segments(firmware)?;
    check_layout(board, &segments)?;
    let model = Segment {
        address: board.slot_address,
        bytes: model.to_vec(),
    };
    Ok(match kind {
        FileKind::Elf => elf::append_model_segment(firmware, &model)?,
        FileKind::Hex => {
            segments.push(model);
            hex::write(&segments).into_bytes()
        }
        FileKind::Uf2 => {
            segments.push(model);
            uf2::write(&segments)
        }
    })
}

/// Checks that the firmware is between the start of the flash and the slot.
fn check_layout(board: &BoardSpec, segments: &[Segment]) -> Result<(), FlashError> {
    // The slot goes to the end of the flash.
    let start =
        u64::from(board.slot_address) + u64::from(board.slot_bytes) - u64::from(board.flash_bytes);
    for segment in segments {
        let first = u64::from(segment.address);
        let end = first + segment.bytes.len() as u64;
        if first < start || end > u64::from(board.slot_address) {
            return Err(FlashError::Firmware(format!(
                "it has bytes at {first:#x}..{end:#x}, the firmware of {} belongs into {start:#x}..{:#x}",
                board.name, board.slot_address
            )));
        }
    }
    Ok(())
}

/// The board's built firmware, in the repository that `folder` is in.
///
/// # Errors
/// If there is none in `folder` or above.
pub fn find_firmware(board: &BoardSpec, folder: &Path) -> Result<PathBuf, FlashError> {
    let built = folder
        .ancestors()
        .map(|repository| board.firmware(repository))
        .find(|path| path.is_file());
    built.ok_or_else(|| FlashError::NoFirmware {
        board: board.name,
        path: board.firmware(Path::new("")),
        build: board.build_command(),
    })
}

/// Writes the model file at `path` into the slot of a connected board with the program `probe_rs`, and restarts the board.
///
/// # Errors
/// If the program is missing or fails; it prints its own reason.
pub fn flash_with_probe_rs(
    probe_rs: &Path,
    board: &BoardSpec,
    path: &Path,
) -> Result<(), FlashError> {
    let run = |command: &'static str, arguments: &[&str], file: Option<&Path>| {
        let mut process = Command::new(probe_rs);
        process
            .args([command, "--chip", board.probe_rs_chip])
            .args(arguments);
        if let Some(file) = file {
            process.arg("--").arg(file);
        }
        match process.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(FlashError::ProbeFailed { command, status }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let extension = board.drop.map_or("elf", UploadFormat::extension);
                Err(FlashError::NoProbe {
                    example: format!("{}.{extension}", board.name),
                })
            }
            Err(error) => Err(FlashError::Probe(error)),
        }
    };
    let address = format!("{:#010x}", board.slot_address);
    run(
        "download",
        &["--binary-format", "bin", "--base-address", &address],
        Some(path),
    )?;
    run("reset", &[], None)
}

#[cfg(test)]
mod tests;
