//! No panic can be reached in the runtime. `program` calls its whole public API, and its panic handler calls a function that
//! does not exist: it links only if the linker has removed every panic. It is linked for each target at each opt-level, because
//! a user chooses both. Where that fails, it is linked again without that function, and the calls in it are listed.

use addr2line::gimli;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

const TARGETS: [&str; 4] = [
    "thumbv6m-none-eabi",
    "thumbv7em-none-eabihf",
    "thumbv8m.main-none-eabihf",
    "riscv32imac-unknown-none-elf",
];
const OPT_LEVELS: [&str; 3] = ["s", "z", "3"];

#[test]
fn no_panic_can_be_reached() {
    let mut failures = Vec::new();
    for opt_level in OPT_LEVELS {
        if let Err(found) = link("no-panic", opt_level, &TARGETS) {
            failures.push(found);
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Tests the check: it accepts a program that cannot panic, and names the function in one that can.
#[test]
fn a_panic_is_found_and_named() {
    for target in [TARGETS[0], TARGETS[3]] {
        link("panics_nowhere", "s", &[target]).unwrap();
        let found = link("panics", "s", &[target]).unwrap_err();
        for part in [target, "panics::out_of_bounds", "src/bin/panics.rs:"] {
            assert!(found.contains(part), "expected {part} in: {found}");
        }
    }
}

/// Links `program` for all `targets` at once.
///
/// # Errors
/// Which functions may panic, for each target.
fn link(program: &str, opt_level: &str, targets: &[&str]) -> Result<(), String> {
    let cargo = |command: &str, targets: &[&str], more: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([command, "--release", "--keep-going"]);
        cargo.args(["--bin", program]);
        cargo.args(targets.iter().flat_map(|target| ["--target", target]));
        cargo.args(more);
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/program"));
        cargo.env("CARGO_TARGET_DIR", target_dir());
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level);
        let output = cargo.output().expect("cargo starts");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    };
    let Err(message) = cargo("build", targets, &[]) else {
        return Ok(());
    };
    // The linker names only `core`'s own functions. The relocations of the whole program say who calls them.
    let relocations = [
        "--",
        "-Clink-arg=--unresolved-symbols=ignore-all",
        "-Clink-arg=--emit-relocs",
    ];
    let mut found = String::new();
    for target in targets {
        cargo("rustc", &[target], &relocations)?;
        for call in panics(&target_dir().join(target).join("release").join(program)) {
            found += &format!("{target}, opt-level {opt_level}: {call}\n");
        }
    }
    // Another reason, such as a program that does not compile.
    Err(if found.is_empty() { message } else { found })
}

fn target_dir() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/no-panic"
    ))
}

/// The calls by which a program reaches its panic handler, each with its place in the source.
fn panics(path: &PathBuf) -> BTreeSet<String> {
    let bytes = std::fs::read(path).expect("cargo has linked the program");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let functions: BTreeMap<u64, (u64, String)> = file
        .symbols()
        .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.size() > 0)
        .map(|symbol| {
            let name = rustc_demangle::demangle(symbol.name().unwrap_or_default());
            // The lowest bit of an address says Thumb.
            let start = symbol.address() & !1;
            (start, (start + symbol.size(), format!("{name:#}")))
        })
        .collect();
    let function = |address: u64| {
        let (_, (end, name)) = functions.range(..=address).next_back()?;
        (address < *end).then_some(name.as_str())
    };
    let mut calls = Vec::new();
    for section in file
        .sections()
        .filter(|s| s.kind() == object::SectionKind::Text)
    {
        for (address, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                continue;
            };
            let callee = file.symbol_by_index(index).ok();
            let callee = callee.and_then(|symbol| function(symbol.address() & !1));
            if let (Some(caller), Some(callee)) = (function(address), callee) {
                calls.push((address, caller, callee));
            }
        }
    }
    // From the handler upwards through the functions of `core`, to the first that is not `core`'s.
    let is_core = |name: &str| name.starts_with("core::") || name.starts_with("<core::");
    let names = functions.values().map(|(_, name)| name.as_str());
    let mut reached: BTreeSet<&str> = names
        .filter(|name| name.ends_with("rust_begin_unwind"))
        .collect();
    loop {
        let before = reached.len();
        for (_, caller, callee) in &calls {
            if reached.contains(callee) && is_core(caller) {
                reached.insert(caller);
            }
        }
        if reached.len() == before {
            break;
        }
    }
    let lines = line_tables(&file);
    calls
        .iter()
        .filter(|(_, caller, callee)| reached.contains(callee) && !reached.contains(caller))
        .map(|&(address, caller, callee)| {
            let place = place(&lines, address).unwrap_or_default();
            format!("{caller} calls {callee}{place}")
        })
        .collect()
}

type Dwarf<'a> = addr2line::Context<gimli::EndianSlice<'a, gimli::LittleEndian>>;

/// Reads the debug sections as they were linked: the relocations that the file keeps have been applied to them.
fn line_tables<'a>(file: &object::File<'a>) -> Dwarf<'a> {
    let section = |id: gimli::SectionId| {
        let section = file.section_by_name(id.name());
        let bytes = section.and_then(|section| section.data().ok());
        Ok::<_, gimli::Error>(gimli::EndianSlice::new(
            bytes.unwrap_or_default(),
            gimli::LittleEndian,
        ))
    };
    let dwarf = gimli::Dwarf::load(section).expect("debug sections");
    addr2line::Context::from_dwarf(dwarf).expect("line tables")
}

/// The innermost place in the source that is not in `core`.
fn place(lines: &Dwarf, address: u64) -> Option<String> {
    let mut frames = lines.find_frames(address).skip_all_loads().ok()?;
    while let Some(frame) = frames.next().ok()? {
        if let Some((file, line)) = frame.location.and_then(|at| Some((at.file?, at.line?)))
            && !file.contains("/library/core/")
        {
            return Some(format!(" ({file}:{line})"));
        }
    }
    None
}
