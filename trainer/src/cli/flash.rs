//! `trainer flash`: writes a model into a board's slot.

use super::args::{self, OutputArgs};
use super::print::{RecordType, print_json};
use crate::deploy::flash::{
    FileKind, check_model, find_firmware, flash_with_probe_rs, merge_firmware,
};
use crate::fs::{read_at_most, write_atomically};
use anyhow::Context;
use pipsqueak_boards::BoardSpec;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The largest model or firmware file that is read: larger than the flash of any board.
const MAX_BYTES: u64 = 64 << 20;

const EXAMPLES: &str = "\
Examples:
  trainer flash model.pip --board microbit                  through a debug probe, with probe-rs
  trainer flash model.pip --board pico --out pico.uf2       a file to copy to the board's drive
  trainer flash model.pip --board stm32f405 --out all.elf   a file for a debugger or an emulator";

/// Write a model into the flash of a board
///
/// Writes through a debug probe; with --out, writes the firmware and the model as one file instead.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct FlashArgs {
    /// Model file from `trainer export`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Board: microbit, stm32f405 or pico
    #[arg(long, value_name = "BOARD", value_parser = args::board, help_heading = "Board")]
    pub board: &'static BoardSpec,
    /// File for firmware and model: .hex or .elf for microbit and stm32f405, .uf2 or .elf for pico
    /// [default: none, flash through a probe]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// ELF file of the firmware [default: where `make firmware` builds it]
    #[arg(
        long,
        value_name = "FILE.elf",
        requires = "out",
        help_heading = "Board"
    )]
    pub firmware: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What was written.
#[derive(Serialize)]
struct Flashed<'a> {
    model: &'a Path,
    board: &'static str,
    /// Bytes of the model.
    bytes: usize,
    slot_address: u32,
    slot_bytes: u32,
    /// The file; none if the board itself was flashed.
    out: Option<&'a Path>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the model is malformed or does not fit, the firmware or the probe is missing, or the file cannot be written.
pub fn run(args: FlashArgs) -> anyhow::Result<()> {
    let FlashArgs {
        model,
        board,
        out,
        firmware,
        output,
    } = args;
    // Check the extension before reading anything.
    let kind = out
        .as_deref()
        .map(|out| FileKind::of(out, board))
        .transpose()?;
    let bytes = read(&model)?;
    check_model(board, &bytes).with_context(|| model.display().to_string())?;
    let record = Flashed {
        model: &model,
        board: board.name,
        bytes: bytes.len(),
        slot_address: board.slot_address,
        slot_bytes: board.slot_bytes,
        out: out.as_deref(),
    };
    let written = match (&out, kind) {
        (Some(out), Some(kind)) => {
            let firmware = match firmware {
                Some(path) => path,
                None => find_firmware(
                    board,
                    &std::env::current_dir().context("cannot get the current folder")?,
                )?,
            };
            let file = merge_firmware(kind, board, &read(&firmware)?, &bytes)
                .with_context(|| firmware.display().to_string())?;
            write_atomically(out, &file)?;
            format!(
                "{}: firmware, and {} bytes of model at {:#010x}, for {}",
                out.display(),
                bytes.len(),
                board.slot_address,
                board.title
            )
        }
        _ => {
            flash_with_probe_rs(Path::new("probe-rs"), board, &model)?;
            format!(
                "{}: {} bytes in the slot of {}",
                model.display(),
                bytes.len(),
                board.title
            )
        }
    };
    output.message(&written);
    if output.json {
        print_json(RecordType::Flash, &record)?;
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_at_most(path, MAX_BYTES).with_context(|| format!("cannot read {}", path.display()))
}
