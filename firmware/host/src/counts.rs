//! Instructions, cycles and bytes of the runtime on emulated cores, beside its peers'.
//!
//! `firmware/bench` has one function per item. QEMU with the plugin `count.c`, and rp2040js, count what each takes from its
//! first instruction to its return, with all that it calls. The size is that of the same program.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object as _, ObjectSymbol as _};
use pipsqueak::encode::{ModelParams, as_bytes, encode};
use pipsqueak::{Cell, Model, RecurrentLayerConfig};
use serde::Serialize;
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::cost::{GENERATOR_RAM, model_ram};
use crate::{FirmwareError, SessionError, emulator::RP2040_FLASH, firmware, peers, speeds};

/// One number about one core, or about this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Count {
    /// Which core; `host` for this machine.
    pub core: &'static str,
    /// Which item.
    pub what: &'static str,
    /// The number: a mean over calls, rounded; of times the median.
    pub value: u64,
    /// `instructions`, `cycles`, `bytes` or `tokens_per_second`: how many tokens the item allows, done once for each.
    pub unit: &'static str,
    /// The best peer's name where there is one; [`crate::PEERS_METHOD`] is how it was measured.
    pub peer: Option<&'static str>,
    /// The peer's number.
    pub peer_value: Option<u64>,
}

/// Why nothing was counted.
#[derive(Debug, Error)]
pub enum CountError {
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
    /// The emulator is not there.
    #[error("cannot start {program}: {error}; to install it: {install}")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        error: io::Error,
        /// A command.
        install: &'static str,
    },
    /// The emulator ended otherwise than by the program's end.
    #[error("{program} for {core}: expected counts, found {found}")]
    Emulator {
        /// The emulator.
        program: &'static str,
        /// The core.
        core: &'static str,
        /// What it said.
        found: String,
    },
    /// A benchmark has left no time.
    #[error("{}: expected criterion's median in nanoseconds, found none; measure it anew: make bench", path.display())]
    Time {
        /// The file.
        path: PathBuf,
    },
    /// The program found a text other than the host's.
    #[error("{core}: the program panicked: its text is not the host's, or the runtime is broken")]
    Panicked {
        /// The core.
        core: &'static str,
    },
    /// A temporary file cannot be written.
    #[error("cannot write a temporary file: {0}")]
    Temporary(#[from] io::Error),
    /// A board's firmware cannot be used.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// A board does not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A core that is counted on.
struct Core {
    name: &'static str,
    target: &'static str,
    emulator: Emulator,
    /// How its numbers were found.
    method: &'static str,
}

enum Emulator {
    Qemu {
        program: &'static str,
        machine: &'static [&'static str],
        install: &'static str,
    },
    Rp2040js,
}

static CORES: [Core; 3] = [
    Core {
        name: "cortex-m4",
        target: "thumbv7em-none-eabihf",
        emulator: Emulator::Qemu {
            program: "qemu-system-arm",
            machine: &["-M", "mps2-an386"],
            install: "firmware/setup.sh qemu",
        },
        method: "QEMU mps2-an386: instructions exact, cycles by the core's manual, no wait states",
    },
    Core {
        name: "cortex-m0plus",
        target: "thumbv6m-none-eabi",
        emulator: Emulator::Rp2040js,
        method: "rp2040js: instructions exact, cycles by the core's manual, stalls of the flash not modelled",
    },
    Core {
        name: "rv32imac",
        target: "riscv32imac-unknown-none-elf",
        emulator: Emulator::Qemu {
            program: "qemu-system-riscv32",
            machine: &["-M", "virt", "-bios", "none"],
            install: "firmware/setup.sh qemu-riscv",
        },
        method: "QEMU virt: instructions exact",
    },
];

/// What the program has a function for.
const ITEMS: [&str; 15] = [
    "matvec_384x128",
    "matvec_768x256",
    "matvec_1056x352",
    "matvec_1536x512",
    "matvec_384x128_4bit",
    "matvec_768x256_4bit",
    "matvec_1056x352_4bit",
    "gru_step_128",
    "gru_step_256",
    "lstm_step_128",
    "logits_64x128",
    "draw_64",
    "whole_character_128",
    "image_parse",
    "selftest_boot",
];
/// How the name of a product with rows of 4 bits ends that there is with rows of 8 bits too.
pub const FOUR_BITS: &str = "_4bit";
/// How the names of functions begin that make a character of an image of some shape.
const SHAPES: [&str; 2] = ["fitted_", "unseen_"];
/// Called once per byte of stack.
const PEAK_STACK: &str = "peak_stack";
/// Called by a panic.
const FAILURE: &str = "failure";
/// Where the emulator stops.
const FINISH: &str = "finish";

/// Counts on every core, by what `make bench-programs` has built in a checkout of the repository.
///
/// # Errors
/// Something is not built or not installed, or a core makes another text than the host.
pub fn counts(repository: &Path) -> Result<Vec<Count>, CountError> {
    let mut counts = Vec::new();
    for core in &CORES {
        let mut push = |what, value, unit| counts.push(peers::beside(core.name, what, value, unit));
        let taken = core.run(repository)?;
        for what in ITEMS {
            let calls = &taken[what];
            push(what, calls.mean(calls.instructions), "instructions");
            if calls.cycles > 0 {
                push(what, calls.mean(calls.cycles), "cycles");
            }
        }
        push(PEAK_STACK, taken[PEAK_STACK].calls, "bytes");
        push("ram", ram(), "bytes");
        let size = code_and_tables(&core.program(repository))?;
        push("code_and_tables", size, "bytes");
    }
    Ok(counts)
}

/// What a product takes with rows of 4 bits beside rows of 8.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    /// The core.
    pub core: &'static str,
    /// The product.
    pub what: &'static str,
    /// Of what: `cycles` where they are known, else `instructions`.
    pub unit: &'static str,
    /// How many times as many.
    pub ratio: f64,
}

/// Compares the products among `counts` that are counted with rows of both widths.
pub fn widths(counts: &[Count]) -> Vec<Widths> {
    let value = |core, what, unit| {
        let mut all = counts.iter();
        let count = all.find(|count| (count.core, count.what, count.unit) == (core, what, unit));
        count.map(|count| count.value as f64)
    };
    let four = counts.iter().filter(|count| count.unit == "instructions");
    let compare = |four: &Count| {
        let (core, what) = (four.core, four.what.strip_suffix(FOUR_BITS)?);
        ["cycles", "instructions"].into_iter().find_map(|unit| {
            let ratio = value(core, four.what, unit)? / value(core, what, unit)?;
            Some(Widths {
                core,
                what,
                unit,
                ratio,
            })
        })
    };
    four.filter_map(compare).collect()
}

/// How the numbers of `core` were found.
pub fn method(core: &str) -> &'static str {
    let found = CORES.iter().find(|known| known.name == core);
    found.map_or(speeds::METHOD, |core| core.method)
}

/// What every function of the program took on `core`, by name.
pub(crate) fn taken(core: &str, repository: &Path) -> Result<BTreeMap<String, Calls>, CountError> {
    let found = CORES.iter().find(|found| found.name == core);
    found.map_or(Ok(BTreeMap::new()), |core| core.run(repository))
}

/// What a function took, in all its calls.
#[derive(Default)]
pub(crate) struct Calls {
    pub calls: u64,
    instructions: u64,
    pub cycles: u64,
    /// Instructions after which another than the next one was executed; counted where `cycles` are those of a Cortex-M0+.
    pub jumps: u64,
}

impl Calls {
    pub fn mean(&self, sum: u64) -> u64 {
        (sum + self.calls / 2) / self.calls.max(1)
    }
}

impl Core {
    fn program(&self, repository: &Path) -> PathBuf {
        let target = repository.join("firmware/target").join(self.target);
        target.join("release/pipsqueak-bench")
    }

    /// Runs the program to its end.
    fn run(&self, repository: &Path) -> Result<BTreeMap<String, Calls>, CountError> {
        let path = self.program(repository);
        let elf = read(&path, "bench-programs")?;
        let symbols = symbols(&elf, &path)?;
        let address = |name| {
            let found = symbols.iter().find(|symbol| symbol.name == name);
            let symbol = found.ok_or_else(|| CountError::Symbol {
                path: path.clone(),
                symbol: name,
            })?;
            Ok::<_, CountError>(symbol.address)
        };
        let mut names = Vec::new();
        for name in ITEMS.into_iter().chain([PEAK_STACK, FAILURE, FINISH]) {
            names.push(format!("{name}={:#x}", address(name)?));
        }
        for symbol in &symbols {
            if SHAPES.iter().any(|shape| symbol.name.starts_with(shape)) {
                names.push(format!("{}={:#x}", symbol.name, symbol.address));
            }
        }
        let (output, program) = match self.emulator {
            Emulator::Qemu {
                program,
                machine,
                install,
            } => {
                let plugin = repository.join("target/libcount.so");
                read(&plugin, "bench-programs")?;
                let mut option = OsString::from(plugin);
                let m4 = if self.name == "cortex-m4" {
                    "on"
                } else {
                    "off"
                };
                option.push(format!(",m4={m4},{}", names.join(",")));
                let mut command = Command::new(program);
                command.args(machine).arg("-kernel").arg(&path);
                command.args(["-display", "none", "-serial", "none", "-monitor", "none"]);
                command.arg("-plugin").arg(option);
                let start = |error| CountError::Start {
                    program,
                    error,
                    install,
                };
                (command.output().map_err(start)?, program)
            }
            Emulator::Rp2040js => {
                let (program, install) = ("node", "firmware/setup.sh node");
                let start = |error| CountError::Start {
                    program,
                    error,
                    install,
                };
                let script = repository.join("firmware/host/rp2040");
                if !script.join("node_modules/rp2040js").exists() {
                    return Err(start(io::ErrorKind::NotFound.into()));
                }
                let segments = firmware::segments(&elf).map_err(|error| CountError::Elf {
                    path: path.clone(),
                    error,
                })?;
                let file = NamedTempFile::new()?;
                fs::write(&file, firmware::flash(&segments, RP2040_FLASH, None))?;
                let mut command = Command::new(program);
                command.arg(script.join("count.mjs")).arg(file.path());
                command.arg(format!("{:#x}", address("start")?)).args(names);
                (command.output().map_err(start)?, program)
            }
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().map(parse);
        let taken: Option<BTreeMap<String, Calls>> = lines.collect();
        match taken {
            Some(taken) if taken.get(FAILURE).is_some_and(|failure| failure.calls > 0) => {
                Err(CountError::Panicked { core: self.name })
            }
            Some(taken)
                if ITEMS
                    .iter()
                    .all(|&item| taken.get(item).is_some_and(|item| item.calls > 0)) =>
            {
                Ok(taken)
            }
            _ => {
                let error = String::from_utf8_lossy(&output.stderr);
                Err(CountError::Emulator {
                    program,
                    core: self.name,
                    found: format!("{text}{error}({})", output.status),
                })
            }
        }
    }
}

/// A line of an emulator: name, calls, instructions, cycles, and perhaps jumps.
fn parse(line: &str) -> Option<(String, Calls)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    let mut number = || words.next()?.parse().ok();
    let calls = Calls {
        calls: number()?,
        instructions: number()?,
        cycles: number()?,
        jumps: number().unwrap_or_default(),
    };
    Some((name, calls))
}

pub(crate) fn read(path: &Path, target: &str) -> Result<Vec<u8>, CountError> {
    fs::read(path).map_err(|error| CountError::NotBuilt {
        path: path.to_path_buf(),
        error,
        target: target.to_owned(),
    })
}

struct Symbol {
    name: String,
    /// Without the bit that says Thumb.
    address: u64,
    bytes: u64,
}

fn symbols(elf: &[u8], path: &Path) -> Result<Vec<Symbol>, CountError> {
    let file = object::File::parse(elf).map_err(|error| CountError::Elf {
        path: path.to_path_buf(),
        error,
    })?;
    // No instruction of these cores begins at an odd address.
    let symbols = file.symbols().filter_map(|symbol| {
        Some(Symbol {
            name: symbol.name().ok()?.to_owned(),
            address: symbol.address() & !1,
            bytes: symbol.size(),
        })
    });
    Ok(symbols.collect())
}

/// Bytes of what a 128-unit image needs to run from its bytes on, in the program that is counted: all functions and tables
/// but the program's own, the self test, and memcpy and the like, which every firmware has. Constants without a name do
/// not count.
fn code_and_tables(path: &Path) -> Result<u64, CountError> {
    let elf = read(path, "bench-programs")?;
    let counts = |symbol: &Symbol| {
        let name = format!("{:#}", rustc_demangle::demangle(&symbol.name));
        let others = [
            "pipsqueak_bench::",
            "pipsqueak::selftest::",
            "pipsqueak_kernels::generic::",
            "compiler_builtins::mem::",
            "core::str::<impl str>::strip_prefix",
            "__aeabi_mem",
        ];
        // The program's items and its start have plain names.
        let mangled = name.contains("::") || name.starts_with("__") || name.starts_with("OUTLINED");
        mangled && !others.iter().any(|start| name.starts_with(start))
    };
    // The linker may give two names to one place.
    let counted: BTreeMap<u64, u64> = symbols(&elf, path)?
        .iter()
        .filter(|symbol| counts(symbol))
        .map(|symbol| (symbol.address, symbol.bytes))
        .collect();
    Ok(counted.values().sum())
}

/// Bytes of RAM beside a 128-unit image of 64 tokens: workspace, parsed image, generator.
fn ram() -> u64 {
    let layer = RecurrentLayerConfig::new(Cell::GruResetAfter, 128);
    let params = ModelParams::random_language_model(1, 64, 0, &[layer]);
    let words = encode(&params).unwrap_or_default();
    let workspace = Model::parse(as_bytes(&words)).map_or(0, |model| 4 * model.workspace_len());
    (workspace + model_ram(params.layers.len()) + GENERATOR_RAM) as u64
}
