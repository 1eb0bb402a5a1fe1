//! Makes the images and the text that they must give, and hands the memory map to the linker.

use pipsqueak::{Cell, Generator, Image, Layer, Settings, encode};
use std::{env, fs, path::PathBuf};

/// Characters of the text that every core must make.
const CHARACTERS: usize = 16;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let write = |name: &str, bytes: &[u8]| {
        fs::write(out.join(name), bytes).expect("OUT_DIR is writable");
    };
    for hidden in [128, 256] {
        let layer = Layer {
            cell: Cell::GruResetAfter,
            hidden,
        };
        let parts = encode::Parts::random(u64::from(hidden), 64, 0, &[layer]);
        let words = encode::encode(&parts).expect("random parts can be encoded");
        let bytes = encode::bytes(&words);
        write(&format!("{hidden}.pip"), bytes);
        let image = Image::parse(bytes).expect("what was encoded can be parsed");
        let mut workspace = vec![0; image.workspace_len()];
        let generator = Generator::new(&image, &mut workspace, Settings::default());
        let text: String = generator
            .expect("the workspace is large enough")
            .take(CHARACTERS)
            .collect();
        write(&format!("{hidden}.txt"), text.as_bytes());
    }
    let (code, ram) = match env::var("TARGET").expect("cargo sets TARGET").as_str() {
        // The RP2040's flash and RAM.
        "thumbv6m-none-eabi" => ("0x10000000, LENGTH = 2M", "0x20000000, LENGTH = 256K"),
        // QEMU's mps2-an386 and mps2-an385.
        "thumbv7em-none-eabihf" | "thumbv7m-none-eabi" => {
            ("0x00000000, LENGTH = 4M", "0x20000000, LENGTH = 256K")
        }
        // QEMU's mps2-an505.
        "thumbv8m.main-none-eabihf" => ("0x10000000, LENGTH = 4M", "0x38000000, LENGTH = 256K"),
        // QEMU's virt.
        "riscv32imac-unknown-none-elf" => ("0x80000000, LENGTH = 4M", "0x80400000, LENGTH = 256K"),
        target => {
            panic!("expected a target with a memory map in firmware/bench/build.rs, found {target}")
        }
    };
    let memory = format!("MEMORY {{ CODE : ORIGIN = {code}\nRAM : ORIGIN = {ram} }}\n");
    let script = memory + include_str!("link.x");
    write("link.x", script.as_bytes());
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rerun-if-changed=link.x");
}
