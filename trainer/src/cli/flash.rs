//! `trainer flash`: a model into a board's slot.

use crate::deploy::flash::{FileKind, check_image, combine, download, find_firmware};
use crate::fs::write_atomically;
use anyhow::Context;
use pipsqueak_boards::BoardSpec;
use std::fs;
use std::path::{Path, PathBuf};

/// Puts an image into the model slot of a board: through a debug probe, or as one file with the firmware.
#[derive(clap::Args, Debug)]
pub struct FlashArgs {
    /// The image to flash, from `trainer export`
    model: PathBuf,

    /// The board it is for
    #[arg(long, value_parser = parse_board)]
    board: &'static BoardSpec,

    /// Write firmware and model as one file instead of using a probe: .hex for a micro:bit, .uf2 for a Pico
    /// (copy it to the board's drive), .elf for any board
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The firmware's ELF file, if it is not where `make firmware` puts it
    #[arg(long, value_name = "ELF", requires = "out")]
    firmware: Option<PathBuf>,
}

/// A board by its name.
pub(super) fn parse_board(name: &str) -> Result<&'static BoardSpec, String> {
    BoardSpec::find(name).ok_or_else(|| format!("expected one of {}", BoardSpec::names()))
}

/// Flashes the model, or writes the file.
///
/// # Errors
/// If the image does not parse or fit, the firmware or the probe is missing, or the file cannot be written.
pub fn run(args: FlashArgs) -> anyhow::Result<()> {
    let FlashArgs {
        model,
        board,
        out,
        firmware,
    } = args;
    // What the file would be is said before anything is read.
    let kind = out
        .as_deref()
        .map(|out| FileKind::of(out, board))
        .transpose()?;
    let image = read(&model)?;
    check_image(board, &image).with_context(|| model.display().to_string())?;
    let (Some(out), Some(kind)) = (out, kind) else {
        download(Path::new("probe-rs"), board, &model)?;
        eprintln!(
            "{}: {} bytes in the slot of {}",
            model.display(),
            image.len(),
            board.title
        );
        return Ok(());
    };
    let firmware = match firmware {
        Some(path) => path,
        None => find_firmware(
            board,
            &std::env::current_dir().context("cannot tell the current folder")?,
        )?,
    };
    let bytes = combine(kind, board, &read(&firmware)?, &image)
        .with_context(|| firmware.display().to_string())?;
    write_atomically(&out, &bytes)?;
    eprintln!(
        "{}: firmware and {} bytes of model at {:#010x} for {}",
        out.display(),
        image.len(),
        board.slot_address,
        board.title
    );
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
