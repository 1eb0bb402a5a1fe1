//! The boards, one row each. Everything about a board that is not code follows from its row: the linker's memory map and the
//! firmware's constants (`firmware/board-build` reads this file), the emulators, the tests, the predictions of speed, and the
//! table in `firmware/README.md`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// A board that the firmware runs on. Sizes are in bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct BoardSpec {
    /// Its name on the command line, of its folder in `firmware/boards`, and in its banner.
    pub name: &'static str,
    /// Its name in a sentence.
    pub title: &'static str,
    /// Its processor's core.
    pub core: &'static str,
    /// The kernel that its firmware runs, as the console's `info` calls it.
    pub kernel: &'static str,
    /// The Rust target of its firmware.
    pub target: &'static str,
    /// All of its flash.
    pub flash_bytes: u32,
    /// The start of the flash that a boot loader in ROM takes for its second stage: the firmware's section `.boot2`. 0: none.
    pub boot_bytes: u32,
    /// Where the RAM begins.
    pub ram_address: u32,
    /// The RAM that the firmware uses.
    pub ram_bytes: u32,
    /// The stack, at the start of the RAM: it grows down, so that an overflow leaves the RAM and faults.
    pub stack_bytes: u32,
    /// Where the model's slot begins. The firmware is before it.
    pub slot_address: u32,
    /// The model's slot, to the end of the flash.
    pub slot_bytes: u32,
    /// The memory that a model works in, in words of 4 bytes: [`ModelView::workspace_len`] may not be larger.
    ///
    /// [`ModelView::workspace_len`]: https://docs.rs/pipsqueak/latest/pipsqueak/struct.ModelView.html#method.workspace_len
    pub workspace_words: usize,
    /// RAM for a copy of the model, in words of 4 bytes. 0: the flash is as fast as RAM.
    pub model_copy_words: usize,
    /// The clock that it runs at, in Hz.
    pub clock_hz: u32,
    /// The clock in the emulator, in Hz.
    pub emulated_clock_hz: u32,
    /// What predictions of its speed assume about its memory.
    pub assumption: &'static str,
    /// probe-rs's name of its chip.
    pub probe_rs_chip: &'static str,
    /// Its emulator.
    pub emulator: Emulator,
    /// The serial port of its console.
    pub uart: &'static str,
    /// The file format that it accepts by drag and drop.
    pub drop: Option<UploadFormat>,
}

/// The program that emulates a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// `qemu-system-arm`.
    Qemu {
        /// QEMU's name of the board.
        machine: &'static str,
        /// The number, from 0, of QEMU's serial port that the console is on.
        serial: usize,
    },
    /// rp2040js under node.
    Rp2040js,
}

/// A file format that a board accepts by drag and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadFormat {
    /// Intel HEX.
    Hex,
    /// UF2.
    Uf2,
}

impl UploadFormat {
    /// The extension of such a file's name, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Uf2 => "uf2",
        }
    }
}

/// Every board.
pub static BOARDS: [BoardSpec; 3] = [
    BoardSpec {
        name: "microbit",
        title: "BBC micro:bit v1 (nRF51822)",
        core: "Cortex-M0",
        kernel: "ARMv6-M",
        target: "thumbv6m-none-eabi",
        flash_bytes: 256 * 1024,
        boot_bytes: 0,
        ram_address: 0x2000_0000,
        ram_bytes: 16 * 1024,
        stack_bytes: 6 * 1024 + 512,
        slot_address: 0x0000_e000,
        slot_bytes: 200 * 1024,
        workspace_words: 8 * 1024 / 4,
        model_copy_words: 0,
        clock_hz: 16_000_000,
        emulated_clock_hz: 16_000_000,
        assumption: "its flash has no wait states",
        probe_rs_chip: "nRF51822_xxAA",
        emulator: Emulator::Qemu {
            machine: "microbit",
            serial: 0,
        },
        uart: "USB, 115200 baud",
        drop: Some(UploadFormat::Hex),
    },
    BoardSpec {
        name: "stm32f405",
        title: "STM32F405RG with an 8 MHz crystal (Olimex STM32-P405)",
        core: "Cortex-M4F",
        kernel: "Cortex-M SMLAD",
        target: "thumbv7em-none-eabihf",
        flash_bytes: 1024 * 1024,
        boot_bytes: 0,
        ram_address: 0x2000_0000,
        ram_bytes: 128 * 1024,
        stack_bytes: 32 * 1024,
        slot_address: 0x0801_0000,
        slot_bytes: 960 * 1024,
        workspace_words: 32 * 1024 / 4,
        model_copy_words: 0,
        clock_hz: 168_000_000,
        // QEMU has no crystal: the firmware stays on the internal oscillator.
        emulated_clock_hz: 16_000_000,
        assumption: "the ART accelerator hides the 5 wait states of its flash",
        probe_rs_chip: "STM32F405RG",
        emulator: Emulator::Qemu {
            machine: "netduinoplus2",
            serial: 1,
        },
        uart: "USART2, PA2 and PA3, 115200 baud",
        drop: None,
    },
    BoardSpec {
        name: "pico",
        title: "Raspberry Pi Pico (RP2040)",
        core: "Cortex-M0+",
        kernel: "ARMv6-M",
        target: "thumbv6m-none-eabi",
        flash_bytes: 2048 * 1024,
        boot_bytes: 0x100,
        ram_address: 0x2000_0000,
        ram_bytes: 256 * 1024,
        stack_bytes: 24 * 1024,
        slot_address: 0x1002_0000,
        slot_bytes: 1920 * 1024,
        workspace_words: 32 * 1024 / 4,
        model_copy_words: 192 * 1024 / 4,
        clock_hz: 125_000_000,
        emulated_clock_hz: 125_000_000,
        assumption: "code is in the XIP cache and the model in RAM; one above 192 KB stays in flash and is slower",
        probe_rs_chip: "RP2040",
        emulator: Emulator::Rp2040js,
        uart: "UART0, GPIO 0 and 1, 115200 baud",
        drop: Some(UploadFormat::Uf2),
    },
];

impl BoardSpec {
    /// The board of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        BOARDS.iter().find(|board| board.name == name)
    }

    /// All names, for a message: `microbit, stm32f405, pico`.
    #[must_use]
    pub fn names() -> String {
        BOARDS.each_ref().map(|board| board.name).join(", ")
    }

    /// The path at which cargo puts the board's firmware, in a checkout of the repository.
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

    /// Where the flash begins.
    #[must_use]
    pub fn flash_address(&self) -> u32 {
        // The slot extends to the end of the flash.
        self.slot_address + self.slot_bytes - self.flash_bytes
    }

    /// The linker script `memory.x`, for cortex-m-rt.
    #[must_use]
    pub fn memory_x(&self) -> String {
        let Self {
            title,
            boot_bytes,
            ram_address,
            ram_bytes,
            stack_bytes,
            slot_address,
            slot_bytes,
            ..
        } = self;
        let flash = self.flash_address();
        let firmware = flash + boot_bytes;
        let mut script = format!(
            "/* {title}. Generated from firmware/host/src/boards.rs. */
MEMORY
{{
  BOOT2 : ORIGIN = {flash:#010x}, LENGTH = {boot_bytes:#x}
  FLASH : ORIGIN = {firmware:#010x}, LENGTH = {:#x}
  MODEL : ORIGIN = {slot_address:#010x}, LENGTH = {slot_bytes:#x}
  STACK : ORIGIN = {ram_address:#010x}, LENGTH = {stack_bytes:#x}
  RAM   : ORIGIN = {:#010x}, LENGTH = {:#x}
}}

/* The stack is below all data: an overflow leaves the RAM and faults, instead of overwriting data. */
_stack_start = ORIGIN(STACK) + LENGTH(STACK);
_stack_end = ORIGIN(STACK);

/* Where the firmware looks for the model. */
_model_start = ORIGIN(MODEL);
_model_end = ORIGIN(MODEL) + LENGTH(MODEL);
",
            slot_address - firmware,
            ram_address + stack_bytes,
            ram_bytes - stack_bytes,
        );
        if *boot_bytes > 0 {
            script += "
/* The boot loader copies the second stage from the start of the flash. */
SECTIONS
{
  .boot2 ORIGIN(BOOT2) : { KEEP(*(.boot2)); } > BOOT2
} INSERT BEFORE .text;
";
        }
        script
    }

    /// Rust source of the constants that the firmware needs.
    #[must_use]
    pub fn constants(&self) -> String {
        let mut source = String::new();
        for (doc, name, value) in [
            (
                "The board's name.",
                "NAME: &str",
                format!("{:?}", self.name),
            ),
            (
                "Words of memory that a model works in.",
                "WORKSPACE_WORDS: usize",
                self.workspace_words.to_string(),
            ),
            (
                "Words of RAM for a copy of the model.",
                "MODEL_COPY_WORDS: usize",
                self.model_copy_words.to_string(),
            ),
        ] {
            // Writing to a string does not fail.
            let _ = writeln!(
                source,
                "/// {doc}\n#[allow(dead_code)]\npub const {name} = {value};"
            );
        }
        source
    }

    /// The board's row of the table in `firmware/README.md`.
    #[must_use]
    pub fn readme_row(&self) -> String {
        let emulator = match self.emulator {
            Emulator::Qemu { machine, .. } => format!("QEMU `{machine}`"),
            Emulator::Rp2040js => "rp2040js".to_owned(),
        };
        let mhz = self.clock_hz / 1_000_000;
        let slot = self.slot_bytes / 1024;
        format!(
            "| `{}` | {} | {}, {mhz} MHz | {slot} KB | {} | {emulator} |",
            self.name, self.title, self.core, self.uart
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_a_row_for_each_board() {
        let readme = include_str!("../../README.md");
        let mut rows = BOARDS.iter().map(BoardSpec::readme_row);
        let missing: Vec<String> = rows.by_ref().filter(|row| !readme.contains(row)).collect();
        assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
        let boards = readme
            .lines()
            .filter(|line| line.starts_with("| `"))
            .count();
        assert_eq!(boards, BOARDS.len(), "rows of boards in firmware/README.md");
    }

    #[test]
    fn the_sizes_add_up() {
        for board in &BOARDS {
            let data = 4 * (board.workspace_words + board.model_copy_words) as u32;
            assert!(data + board.stack_bytes < board.ram_bytes, "{}", board.name);
            let firmware = board.slot_address - board.flash_address();
            assert_eq!(firmware + board.slot_bytes, board.flash_bytes);
            // cortex-m-rt wants the stack aligned to 8 bytes.
            assert_eq!((board.ram_address + board.stack_bytes) % 8, 0);
        }
    }
}
