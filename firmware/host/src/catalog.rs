//! The boards, as a table.

use std::path::{Path, PathBuf};

/// A board that the firmware runs on. Sizes are in bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Board {
    /// What it is called on the command line: also its folder in `firmware/boards` and the name in its banner.
    pub name: &'static str,
    /// What it is called in a sentence.
    pub title: &'static str,
    /// Its processor's core.
    pub core: &'static str,
    /// The kernel that its firmware runs, as the console's `info` calls it.
    pub kernel: &'static str,
    /// The Rust target of its firmware.
    pub target: &'static str,
    /// All of its flash.
    pub flash_bytes: u32,
    /// The RAM that the firmware uses.
    pub ram_bytes: u32,
    /// Where the model's slot begins.
    pub slot_address: u32,
    /// The model's slot, to the end of the flash.
    pub slot_bytes: u32,
    /// The memory that a model works in, in words of 4 bytes: [`Image::workspace_len`] may not be larger.
    ///
    /// [`Image::workspace_len`]: https://docs.rs/pipsqueak/latest/pipsqueak/struct.Image.html#method.workspace_len
    pub workspace_words: usize,
    /// The clock that it runs at, in Hz.
    pub clock_hz: u32,
    /// What predictions of its speed assume of its memory.
    pub assumption: &'static str,
    /// What probe-rs calls its chip.
    pub probe_rs_chip: &'static str,
    /// What emulates it.
    pub emulator: Emulator,
    /// Where its console is.
    pub uart: &'static str,
    /// The file that it takes by drag and drop.
    pub drop: Option<DropFile>,
}

/// What emulates a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// `qemu-system-arm`.
    Qemu {
        /// QEMU's name for the board.
        machine: &'static str,
        /// The number, from 0, of QEMU's serial port that the console is on.
        serial: usize,
    },
    /// rp2040js under node.
    Rp2040js,
}

/// A kind of file that a board takes by drag and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropFile {
    /// Intel HEX.
    Hex,
    /// UF2.
    Uf2,
}

impl DropFile {
    /// How the name of such a file ends, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Uf2 => "uf2",
        }
    }
}

/// Every board.
pub static BOARDS: [Board; 3] = [
    Board {
        name: "microbit",
        title: "BBC micro:bit v1 (nRF51822)",
        core: "Cortex-M0",
        kernel: "ARMv6-M",
        target: "thumbv6m-none-eabi",
        flash_bytes: 256 * 1024,
        ram_bytes: 16 * 1024,
        slot_address: 0x0000_c000,
        slot_bytes: 208 * 1024,
        workspace_words: 8 * 1024 / 4,
        clock_hz: 16_000_000,
        assumption: "its flash has no wait states",
        probe_rs_chip: "nRF51822_xxAA",
        emulator: Emulator::Qemu {
            machine: "microbit",
            serial: 0,
        },
        uart: "USB, 115200 baud",
        drop: Some(DropFile::Hex),
    },
    Board {
        name: "stm32f405",
        title: "STM32F405RG with an 8 MHz crystal (Olimex STM32-P405)",
        core: "Cortex-M4F",
        kernel: "Cortex-M SMLAD",
        target: "thumbv7em-none-eabihf",
        flash_bytes: 1024 * 1024,
        ram_bytes: 128 * 1024,
        slot_address: 0x0801_0000,
        slot_bytes: 960 * 1024,
        workspace_words: 32 * 1024 / 4,
        clock_hz: 168_000_000,
        assumption: "the ART accelerator hides the 5 wait states of its flash",
        probe_rs_chip: "STM32F405RG",
        emulator: Emulator::Qemu {
            machine: "netduinoplus2",
            serial: 1,
        },
        uart: "USART2, PA2 and PA3, 115200 baud",
        drop: None,
    },
    Board {
        name: "pico",
        title: "Raspberry Pi Pico (RP2040)",
        core: "Cortex-M0+",
        kernel: "ARMv6-M",
        target: "thumbv6m-none-eabi",
        flash_bytes: 2048 * 1024,
        ram_bytes: 256 * 1024,
        slot_address: 0x1002_0000,
        slot_bytes: 1920 * 1024,
        workspace_words: 32 * 1024 / 4,
        clock_hz: 125_000_000,
        assumption: "code is in the XIP cache and the model in RAM; one above 192 KB stays in flash and is slower",
        probe_rs_chip: "RP2040",
        emulator: Emulator::Rp2040js,
        uart: "UART0, GPIO 0 and 1, 115200 baud",
        drop: Some(DropFile::Uf2),
    },
];

impl Board {
    /// The board of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        BOARDS.iter().find(|board| board.name == name)
    }

    /// All names, for a message: `microbit, stm32f405, pico`.
    #[must_use]
    pub fn names() -> String {
        BOARDS.each_ref().map(|board| board.name).join(", ")
    }

    /// Where cargo puts the board's firmware, in a checkout of the repository.
    #[must_use]
    pub fn firmware(&self, repository: &Path) -> PathBuf {
        let name = format!("pipsqueak-{}", self.name);
        repository
            .join("firmware/target")
            .join(self.target)
            .join("release")
            .join(name)
    }

    /// The command that builds the firmware, from the root of the repository.
    #[must_use]
    pub fn build_command(&self) -> String {
        format!("make firmware-{}", self.name)
    }
}
