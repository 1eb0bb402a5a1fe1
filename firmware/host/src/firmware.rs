//! A board's firmware: an ELF file.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use object::{
    LittleEndian as LE, Object as _, ObjectSymbol as _,
    elf::{FileHeader32, PT_LOAD},
    read::elf::{ElfFile32, FileHeader as _, ProgramHeader as _},
};
use thiserror::Error;

/// The content of a board's flash without the model.
#[derive(Debug)]
pub struct Firmware {
    /// The bytes to write.
    pub segments: Vec<Segment>,
    /// The addresses of the model's slot, by the program's symbols.
    pub slot: Range<u32>,
    /// The addresses of the stack, which grows from the end to the start.
    pub stack: Range<u32>,
    /// The addresses of the variables, `.data` to the end of `.bss`.
    pub data: Range<u32>,
}

/// Bytes at an address of the flash.
#[derive(Debug)]
pub struct Segment {
    /// The address of the first byte.
    pub address: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why a firmware cannot be used.
#[derive(Debug, Error)]
pub enum FirmwareError {
    /// The file cannot be read.
    #[error("cannot read the firmware {}: {error}; build it first: make firmware", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not an ELF file for a microcontroller.
    #[error("{}: expected a firmware (32-bit ELF), found another file: {error}", path.display())]
    NotFirmware {
        /// The file.
        path: PathBuf,
        /// Why.
        error: object::Error,
    },
    /// It has no slot for a model.
    #[error("{}: expected a firmware of Pipsqueak, found one without the symbol {symbol}", path.display())]
    NoSlot {
        /// The file.
        path: PathBuf,
        /// The missing symbol.
        symbol: &'static str,
    },
}

impl Firmware {
    /// Reads the file that cargo built.
    ///
    /// # Errors
    /// The file cannot be read, or is not a firmware of Pipsqueak.
    pub fn read(path: &Path) -> Result<Self, FirmwareError> {
        let path_buf = || path.to_path_buf();
        let elf = fs::read(path).map_err(|error| FirmwareError::Read {
            path: path_buf(),
            error,
        })?;
        let (segments, symbol) = parse(&elf).map_err(|error| FirmwareError::NotFirmware {
            path: path_buf(),
            error,
        })?;
        let symbol = |name| {
            symbol(name).ok_or(FirmwareError::NoSlot {
                path: path_buf(),
                symbol: name,
            })
        };
        let slot = symbol("_model_start")?..symbol("_model_end")?;
        let stack = symbol("_stack_end")?..symbol("_stack_start")?;
        let data = symbol("__sdata")?..symbol("__ebss")?;
        Ok(Self {
            segments,
            slot,
            stack,
            data,
        })
    }

    /// The content of the flash from `start` on: the firmware, `model` in its slot, and 0xff elsewhere, as after erasing.
    #[must_use]
    pub fn flash(&self, start: u32, model: &[u8]) -> Vec<u8> {
        flash(&self.segments, start, Some((self.slot.start, model)))
    }
}

/// The content of the flash from `start` on: the segments, bytes at one more address, and 0xff elsewhere.
pub(crate) fn flash(segments: &[Segment], start: u32, more: Option<(u32, &[u8])>) -> Vec<u8> {
    let segments = segments
        .iter()
        .map(|segment| (segment.address, &segment.bytes[..]));
    let mut flash = Vec::new();
    for (address, bytes) in segments.chain(more) {
        let offset = address.saturating_sub(start) as usize;
        let end = offset + bytes.len();
        flash.resize(flash.len().max(end), 0xff);
        flash[offset..end].copy_from_slice(bytes);
    }
    flash
}

/// The segments to load, and a look-up of symbols' addresses.
fn parse(elf: &[u8]) -> object::Result<(Vec<Segment>, impl Fn(&str) -> Option<u32>)> {
    let file = ElfFile32::<LE>::parse(elf)?;
    let symbol = move |name: &str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
        u32::try_from(symbol.address()).ok()
    };
    Ok((segments(elf)?, symbol))
}

/// The segments to load.
pub(crate) fn segments(elf: &[u8]) -> object::Result<Vec<Segment>> {
    let header = FileHeader32::<LE>::parse(elf)?;
    let mut segments = Vec::new();
    for program in header.program_headers(LE, elf)? {
        let bytes = program.data(LE, elf).unwrap_or_default();
        if program.p_type(LE) == PT_LOAD && !bytes.is_empty() {
            let address = program.p_paddr(LE);
            let bytes = bytes.to_vec();
            segments.push(Segment { address, bytes });
        }
    }
    Ok(segments)
}
