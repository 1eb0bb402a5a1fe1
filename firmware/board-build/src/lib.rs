//! The build script of every board: `fn main() { pipsqueak_board_build::configure() }`.
//!
//! It writes two files into `OUT_DIR`, both from the board's row in `firmware/host/src/boards.rs`: `memory.x`, which the
//! linker reads, and `board.rs`, the constants that the board's `main.rs` includes.

use std::{env, fs, path::PathBuf};

// The table's own crate is part of the host's workspace and has many dependencies; the table has none.
#[allow(dead_code, missing_docs)]
#[path = "../../host/src/boards.rs"]
mod boards;

use boards::BoardSpec;

/// Writes the files of the board whose package is being built, `pipsqueak-NAME`, and passes the linker's arguments.
///
/// # Panics
/// The table has no such board, or the files cannot be written: cargo reports why.
pub fn configure() {
    let package = env::var("CARGO_PKG_NAME").expect("cargo sets CARGO_PKG_NAME");
    let name = package.strip_prefix("pipsqueak-").unwrap_or(&package);
    let Some(board) = BoardSpec::find(name) else {
        panic!(
            "expected a board of firmware/host/src/boards.rs ({}), found {name}: add a row",
            BoardSpec::names()
        );
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for (file, text) in [
        ("memory.x", board.memory_x()),
        ("board.rs", board.constants()),
    ] {
        fs::write(out.join(file), text).expect("OUT_DIR is writable");
    }
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--icf=all");
    // Sections are not aligned to pages: a board has none.
    println!("cargo:rustc-link-arg-bins=--nmagic");
    // Cargo builds this crate, and so runs the script, again when the table changes.
    println!("cargo:rerun-if-changed=build.rs");
}
