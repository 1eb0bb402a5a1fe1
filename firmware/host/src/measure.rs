//! Instructions, cycles and bytes of the runtime on emulated cores, with those of other libraries.
//!
//! `firmware/bench` has one function per item. QEMU with the plugin `count.c` counts what each takes from its first instruction
//! to its return, with everything it calls. The size is that of the same program.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    thread::{self, ScopedJoinHandle},
};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};
use pipsqueak::encode::{ModelParams, as_bytes, encode};
use pipsqueak::{Cell, GENERATOR_RAM, LAYER_RAM, MODEL_RAM, Model, RecurrentLayerConfig};

use crate::{
    baselines, criterion_results,
    measurement::{MeasureError, Measurement, read},
};

/// A core that the program runs on.
struct Core {
    name: &'static str,
    target: &'static str,
    emulator: Emulator,
    /// The plugin's name of the core: how it reads instructions and which cycles it charges.
    plugin: &'static str,
    /// How its numbers were measured.
    method: &'static str,
}

/// An emulated machine.
struct Emulator {
    program: &'static str,
    machine: &'static [&'static str],
    install: &'static str,
}

const fn arm(machine: &'static [&'static str]) -> Emulator {
    Emulator {
        program: "qemu-system-arm",
        machine,
        install: "firmware/setup.sh qemu",
    }
}

const RISCV: Emulator = Emulator {
    program: "qemu-system-riscv32",
    machine: &["-M", "virt", "-bios", "none"],
    install: "firmware/setup.sh qemu-riscv",
};

/// The cores whose numbers are reported.
static CORES: [Core; 3] = [
    Core {
        name: "cortex-m4",
        target: "thumbv7em-none-eabihf",
        emulator: arm(&["-M", "mps2-an386"]),
        plugin: "cortex-m4",
        method: "QEMU mps2-an386: instructions exact, cycles by the core's manual, no wait states",
    },
    Core {
        name: "cortex-m0plus",
        target: "thumbv6m-none-eabi",
        emulator: arm(&["-M", "mps2-an385"]),
        plugin: "cortex-m0plus",
        method: "QEMU mps2-an385: instructions exact, cycles by the core's manual, no wait states",
    },
    Core {
        name: "rv32imac",
        target: "riscv32imac-unknown-none-elf",
        emulator: RISCV,
        plugin: "riscv",
        method: "QEMU virt: instructions exact",
    },
];

/// Further cores, on which the program must compute the same.
#[rustfmt::skip]
static OTHER_CORES: [Core; 4] = [
    other("cortex-m3", "thumbv7m-none-eabi", arm(&["-M", "mps2-an385"]), "thumb"),
    other("cortex-m33", "thumbv8m.main-none-eabi", arm(&["-M", "mps2-an505"]), "thumb"),
    other("cortex-m33f", "thumbv8m.main-none-eabihf", arm(&["-M", "mps2-an505"]), "thumb"),
    other("rv32imc", "riscv32imc-unknown-none-elf", RISCV, "riscv"),
];

const fn other(
    name: &'static str,
    target: &'static str,
    emulator: Emulator,
    plugin: &'static str,
) -> Core {
    Core {
        name,
        target,
        emulator,
        plugin,
        method: "",
    }
}

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
    "sample_64",
    "whole_character_128",
    "model_parse",
    "selftest_boot",
];
/// The suffix of the name of a product with int4 rows; without it the name is that of the product with int8 rows.
pub const INT4_SUFFIX: &str = "_4bit";
/// How the names of functions begin that make a character of a model of some shape.
const SHAPES: [&str; 2] = ["fitted_", "unseen_"];
/// Called once per byte of stack.
const PEAK_STACK: &str = "peak_stack";
/// Called by a panic.
const FAILURE: &str = "failure";
/// Where the emulator stops.
const FINISH: &str = "finish";

/// What every function of the program took on one core, by name.
pub(crate) struct Run {
    core: &'static Core,
    pub calls: BTreeMap<String, CallStats>,
}

/// What the program that `make bench-programs` has built takes on every core.
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// Runs the program on every core, several at once.
    ///
    /// # Errors
    /// The program or the plugin is not built, an emulator is not installed, or a core computes other bytes than the host.
    pub fn new(repository: &Path) -> Result<Self, MeasureError> {
        run_all(&CORES, repository).map(Self)
    }

    /// The run on the core of this name.
    pub fn on(&self, core: &str) -> &Run {
        let found = self.0.iter().find(|run| run.core.name == core);
        found.unwrap_or_else(|| panic!("expected a core of measure.rs, found {core}"))
    }

    /// The numbers that are reported.
    ///
    /// # Errors
    /// The program is no ELF file.
    pub fn measurements(&self, repository: &Path) -> Result<Vec<Measurement>, MeasureError> {
        let mut measurements = Vec::new();
        for Run { core, calls } in &self.0 {
            let mut push = |what, value, unit| {
                measurements.push(baselines::with_baseline(core.name, what, value, unit))
            };
            for what in ITEMS {
                let calls = &calls[what];
                push(what, calls.mean(calls.instructions), "instructions");
                if calls.cycles > 0 {
                    push(what, calls.mean(calls.cycles), "cycles");
                }
            }
            push(PEAK_STACK, calls[PEAK_STACK].calls, "bytes");
            push("ram", ram(), "bytes");
            let size = code_and_tables(&core.built(repository, "pipsqueak-size"))?;
            push("code_and_tables", size, "bytes");
        }
        Ok(measurements)
    }
}

fn run_all(cores: &'static [Core], repository: &Path) -> Result<Vec<Run>, MeasureError> {
    thread::scope(|scope| {
        let start = |core: &'static Core| scope.spawn(move || core.run(repository));
        let threads: Vec<_> = cores.iter().map(start).collect();
        let finish = |thread: ScopedJoinHandle<_>| thread.join().expect("a run does not panic");
        threads.into_iter().map(finish).collect()
    })
}

/// Measures the program that `make bench-programs` has built on every core whose numbers are reported.
///
/// # Errors
/// The program or the plugin is not built, an emulator is not installed, or a core computes other bytes than the host.
pub fn measure(repository: &Path) -> Result<Vec<Measurement>, MeasureError> {
    Runs::new(repository)?.measurements(repository)
}

/// Runs the same program on further cores: its self test, its texts, and the core's kernels against the generic ones. Returns
/// the cores' names.
///
/// # Errors
/// As for [`measure`].
pub fn verify_other_cores(repository: &Path) -> Result<Vec<&'static str>, MeasureError> {
    let runs = run_all(&OTHER_CORES, repository)?;
    Ok(runs.iter().map(|run| run.core.name).collect())
}

/// What a product with int4 rows takes, relative to int8 rows.
#[derive(Clone, Copy, Debug)]
pub struct Int4Overhead {
    /// The core.
    pub core: &'static str,
    /// The product.
    pub what: &'static str,
    /// Of what: `cycles` where they are known, else `instructions`.
    pub unit: &'static str,
    /// How many times as many.
    pub ratio: f64,
}

/// Compares the products that are measured with int8 and with int4 rows.
pub fn int4_overheads(measurements: &[Measurement]) -> Vec<Int4Overhead> {
    let value = |core, what, unit| {
        let mut all = measurements.iter();
        let count = all.find(|count| (count.core, count.what, count.unit) == (core, what, unit));
        count.map(|count| count.value as f64)
    };
    let four = measurements
        .iter()
        .filter(|count| count.unit == "instructions");
    let compare = |four: &Measurement| {
        let (core, what) = (four.core, four.what.strip_suffix(INT4_SUFFIX)?);
        ["cycles", "instructions"].into_iter().find_map(|unit| {
            let ratio = value(core, four.what, unit)? / value(core, what, unit)?;
            Some(Int4Overhead {
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
    found.map_or(criterion_results::METHOD, |core| core.method)
}

/// What a function took, in all its calls.
#[derive(Default)]
pub(crate) struct CallStats {
    pub calls: u64,
    instructions: u64,
    pub cycles: u64,
    /// Instructions that were not followed by the next one in memory.
    pub jumps: u64,
}

impl CallStats {
    pub fn mean(&self, sum: u64) -> u64 {
        (sum + self.calls / 2) / self.calls.max(1)
    }
}

impl Core {
    /// A program that `make bench-programs` has built for this core.
    fn built(&self, repository: &Path, program: &str) -> PathBuf {
        let target = repository.join("firmware/target").join(self.target);
        target.join("release").join(program)
    }

    /// Runs the program to its end.
    fn run(&'static self, repository: &Path) -> Result<Run, MeasureError> {
        let path = self.built(repository, "pipsqueak-bench");
        let elf = read(&path, "bench-programs")?;
        let symbols = symbols(&elf, &path)?;
        let address = |name| {
            let found = symbols.iter().find(|symbol| symbol.name == name);
            let symbol = found.ok_or_else(|| MeasureError::Symbol {
                path: path.clone(),
                symbol: name,
            })?;
            Ok::<_, MeasureError>(symbol.address)
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
        let plugin = repository.join("target/libcount.so");
        read(&plugin, "bench-programs")?;
        let mut option = OsString::from(plugin);
        option.push(format!(",core={},{}", self.plugin, names.join(",")));
        let Emulator {
            program,
            machine,
            install,
        } = self.emulator;
        let mut command = Command::new(program);
        command.args(machine).arg("-kernel").arg(&path);
        command.args(["-display", "none", "-serial", "none", "-monitor", "none"]);
        command.arg("-plugin").arg(option);
        let start = |error| MeasureError::Start {
            program,
            error,
            install,
        };
        let output = command.output().map_err(start)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().map(parse);
        let taken: Option<BTreeMap<String, CallStats>> = lines.collect();
        match taken {
            Some(taken) if taken.get(FAILURE).is_some_and(|failure| failure.calls > 0) => {
                Err(MeasureError::Panicked { core: self.name })
            }
            Some(taken)
                if ITEMS
                    .iter()
                    .all(|&item| taken.get(item).is_some_and(|item| item.calls > 0)) =>
            {
                Ok(Run {
                    core: self,
                    calls: taken,
                })
            }
            _ => {
                let error = String::from_utf8_lossy(&output.stderr);
                Err(MeasureError::Emulator {
                    program,
                    core: self.name,
                    found: format!("{text}{error}({})", output.status),
                })
            }
        }
    }
}

/// A line of the plugin: name, calls, instructions, cycles, jumps.
fn parse(line: &str) -> Option<(String, CallStats)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    let mut number = || words.next()?.parse().ok();
    let calls = CallStats {
        calls: number()?,
        instructions: number()?,
        cycles: number()?,
        jumps: number()?,
    };
    Some((name, calls))
}

struct Symbol {
    name: String,
    /// Without the bit that says Thumb.
    address: u64,
}

fn symbols(elf: &[u8], path: &Path) -> Result<Vec<Symbol>, MeasureError> {
    let file = object::File::parse(elf).map_err(|error| MeasureError::Elf {
        path: path.to_path_buf(),
        error,
    })?;
    // No instruction of these cores begins at an odd address.
    let symbols = file.symbols().filter_map(|symbol| {
        Some(Symbol {
            name: symbol.name().ok()?.to_owned(),
            address: symbol.address() & !1,
        })
    });
    Ok(symbols.collect())
}

/// Code and tables of the least program that generates text with a GRU: all its `.text` and `.rodata`, memcpy and the like
/// included.
fn code_and_tables(path: &Path) -> Result<u64, MeasureError> {
    let elf = read(path, "bench-programs")?;
    let file = object::File::parse(&*elf).map_err(|error| MeasureError::Elf {
        path: path.to_path_buf(),
        error,
    })?;
    let is_counted =
        |kind: SectionKind| matches!(kind, SectionKind::Text | SectionKind::ReadOnlyData);
    let sections = file.sections().filter(|section| is_counted(section.kind()));
    Ok(sections.map(|section| section.size()).sum())
}

/// Bytes of RAM for a 128-unit model of 64 tokens besides its file: workspace, parsed model, generator.
fn ram() -> u64 {
    let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, 128)];
    let params = ModelParams::random_language_model(1, 64, 0, &layers);
    let words = encode(&params).unwrap_or_default();
    let model = Model::parse(as_bytes(&words));
    let layers = params.layers.len() * LAYER_RAM;
    let workspace = model.map_or(0, |model| 4 * model.workspace_len());
    (workspace + MODEL_RAM + layers + GENERATOR_RAM) as u64
}
