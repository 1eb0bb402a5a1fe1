//! Makes the images and the text that they must give, and hands the memory map to the linker.

use pipsqueak::{Cell, Generator, Image, Layer, Settings, encode};
use std::{env, fs, path::PathBuf};

/// Characters of the text that every core must make.
const CHARACTERS: usize = 16;

/// Shapes whose characters are counted, as the names of their functions say them: tokens, embedding (0 for a token table)
/// and the units of each layer, a GRU's by where its reset gate is. The prediction of what a character costs is fitted to the
/// first ones and tried on the others.
const SHAPES: [&str; 22] = [
    "fitted_v64_e0_after32",
    "fitted_v64_e0_after128",
    "fitted_v64_e0_after256",
    "fitted_v96_e0_after64",
    "fitted_v160_e0_after32",
    "fitted_v64_e0_after64_after64",
    "fitted_v32_e0_after48_after112_after64",
    "fitted_v64_e32_after128",
    "fitted_v128_e16_after64",
    "fitted_v64_e0_before128",
    "fitted_v64_e32_before64",
    "fitted_v64_e0_lstm128",
    "fitted_v64_e32_lstm64",
    "fitted_v32_e0_lstm32_lstm64",
    "fitted_v64_e0_rnn128",
    "fitted_v64_e32_rnn64",
    "unseen_v65_e0_lstm96_lstm64",
    "unseen_v40_e0_lstm48_rnn80",
    "unseen_v65_e0_after200",
    "unseen_v65_e0_after96_after96",
    "unseen_v80_e24_before72_after72",
    SHIPPED,
];
/// A shape that there is a trained image of.
const SHIPPED: &str = "unseen_v65_e0_after128";
const SHIPPED_IMAGE: &str = "../../models/shakespeare/model.pip";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let write = |name: &str, bytes: &[u8]| {
        fs::write(out.join(name), bytes).expect("OUT_DIR is writable");
    };
    let write_image = |name: &str, bytes: &[u8]| {
        write(&format!("{name}.pip"), bytes);
        let image = Image::parse(bytes).expect("an image of this format");
        let mut workspace = vec![0; image.workspace_len()];
        let generator = Generator::new(&image, &mut workspace, Settings::default());
        let text: Vec<u8> = generator
            .expect("the workspace is large enough")
            .take(CHARACTERS)
            .flatten()
            .copied()
            .collect();
        write(&format!("{name}.txt"), &text);
    };
    for (name, cell, hidden) in [
        ("128", Cell::GruResetAfter, 128),
        ("256", Cell::GruResetAfter, 256),
        ("lstm", Cell::Lstm, 128),
    ] {
        let words = random(u64::from(hidden), 64, 0, &[Layer::new(cell, hidden)]);
        write_image(name, encode::bytes(&words));
    }
    for name in SHAPES {
        if name == SHIPPED {
            let file = fs::read(SHIPPED_IMAGE).expect("a shipped model");
            write_image(name, encode::bytes(&encode::aligned(&file)));
        } else {
            write_image(name, encode::bytes(&shape(name)));
        }
    }
    write(
        "shapes.rs",
        format!("shapes!({});\n", SHAPES.join(" ")).as_bytes(),
    );
    println!("cargo:rerun-if-changed={SHIPPED_IMAGE}");
    let (code, ram) = match env::var("TARGET").expect("cargo sets TARGET").as_str() {
        // What the RP2040 can address as flash, and its RAM.
        "thumbv6m-none-eabi" => ("0x10000000, LENGTH = 16M", "0x20000000, LENGTH = 256K"),
        // QEMU's mps2-an386; and mps2-an385, where the kernel of a Cortex-M3 can be tried by hand.
        "thumbv7em-none-eabihf" | "thumbv7m-none-eabi" => {
            ("0x00000000, LENGTH = 4M", "0x20000000, LENGTH = 256K")
        }
        // QEMU's mps2-an505, where that of a Cortex-M33 can.
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

fn random(seed: u64, tokens: usize, embedding: usize, layers: &[Layer]) -> Vec<u32> {
    let parts = encode::Parts::random(seed, tokens, embedding, layers);
    encode::encode(&parts).expect("random parts can be encoded")
}

/// An untrained image of the shape that `name` says.
fn shape(name: &str) -> Vec<u32> {
    let mut words = name.split('_').skip(1);
    let mut number = |letter| -> usize {
        let word = words.next().and_then(|word| word.strip_prefix(letter));
        word.and_then(|digits| digits.parse().ok()).expect(name)
    };
    let (tokens, embedding) = (number('v'), number('e'));
    let cells = [
        ("after", Cell::GruResetAfter),
        ("before", Cell::GruResetBefore),
        ("lstm", Cell::Lstm),
        ("rnn", Cell::Rnn),
    ];
    let layer = |word: &str| {
        let known = |&(start, cell)| Some((word.strip_prefix(start)?, cell));
        let (hidden, cell) = cells.iter().find_map(known).expect(name);
        let hidden = hidden.parse().expect(name);
        Layer::new(cell, hidden)
    };
    let layers: Vec<Layer> = words.map(layer).collect();
    random(tokens as u64, tokens, embedding, &layers)
}
