//! Makes the model files and the text that each must give, and passes the memory map to the linker.

mod shape;

use pipsqueak::encode::{self, ModelConfig, ModelParams};
use pipsqueak::{Cell, Generator, Model, RecurrentLayerConfig, SamplingParams};
use std::{env, fs, path::PathBuf};

/// Characters of the text that every core must make.
const CHARACTERS: usize = 16;

/// Shapes whose characters are counted, named as `shape.rs` says. The prediction of what a character costs is fitted to the
/// first ones and tried on the others. In those of 4 bits some last
/// groups of columns are not full, or what a group costs could not be told from what its columns do.
const SHAPES: [&str; 40] = [
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
    "fitted_v64_e16_after128four",
    "fitted_v96four_e32_after200four",
    "fitted_v64four_e0_after96four",
    "fitted_v40_e0_after164four",
    "fitted_v64_e0_after64four_after72four",
    "fitted_v96four_e32_after200mixed",
    "fitted_v48four_e16_s2_after64mixed",
    "fitted_v64_e0_after64mixed_after100mixed",
    "fitted_v64four_e24_lstm64four",
    "fitted_v32_e0_lstm128four",
    "fitted_v64four_e32_s3_lstm48mixed",
    "fitted_v64four_e0_before96four",
    "fitted_v40_e20_rnn100four",
    "unseen_v65_e0_lstm96_lstm64",
    "unseen_v40_e0_lstm48_rnn80",
    "unseen_v65_e0_after200",
    "unseen_v65_e0_after96_after96",
    "unseen_v80_e24_before72_after72",
    "unseen_v72four_e0_after152four",
    "unseen_v80_e16_before88mixed",
    "unseen_v65four_e24_s2_lstm80four_lstm56mixed",
    "unseen_v65_e0_after128",
    "unseen_v65four_e16_s2_after164mixed",
    "unseen_v65four_e16_s2_after364mixed",
];
/// Shapes that there are trained images of.
const SHIPPED: [(&str, &str); 3] = [
    ("unseen_v65_e0_after128", "shakespeare"),
    ("unseen_v65four_e16_s2_after164mixed", "shakespeare-64k"),
    ("unseen_v65four_e16_s2_after364mixed", "shakespeare-256k"),
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let write = |name: &str, bytes: &[u8]| {
        fs::write(out.join(name), bytes).expect("OUT_DIR is writable");
    };
    let write_model = |name: &str, bytes: &[u8]| {
        write(&format!("{name}.pip"), bytes);
        let model = Model::parse(bytes).expect("a model of this format");
        let mut workspace = vec![0; model.workspace_len()];
        let generator = Generator::new(&model, &mut workspace, SamplingParams::default());
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
        let layers = [RecurrentLayerConfig::new(cell, hidden)];
        let words = random(hidden.into(), &encode::language_model(64, 0, &layers));
        write_model(name, encode::as_bytes(&words));
    }
    for name in SHAPES {
        if let Some((_, model)) = SHIPPED.iter().find(|(shape, _)| *shape == name) {
            let path = format!("../../models/{model}/model.pip");
            let file = fs::read(&path).expect("a shipped model");
            write_model(name, encode::as_bytes(&encode::to_words(&file)));
            println!("cargo:rerun-if-changed={path}");
        } else {
            write_model(name, encode::as_bytes(&untrained(name)));
        }
    }
    write(
        "shapes.rs",
        format!("shapes!({});\n", SHAPES.join(" ")).as_bytes(),
    );
    let (code, ram) = match env::var("TARGET").expect("cargo sets TARGET").as_str() {
        // QEMU's mps2-an385 and mps2-an386.
        "thumbv6m-none-eabi" | "thumbv7m-none-eabi" | "thumbv7em-none-eabihf" => {
            ("0x00000000, LENGTH = 4M", "0x20000000, LENGTH = 256K")
        }
        // QEMU's mps2-an505.
        "thumbv8m.main-none-eabi" | "thumbv8m.main-none-eabihf" => {
            ("0x10000000, LENGTH = 4M", "0x38000000, LENGTH = 256K")
        }
        // QEMU's virt.
        "riscv32imc-unknown-none-elf" | "riscv32imac-unknown-none-elf" => {
            ("0x80000000, LENGTH = 4M", "0x80400000, LENGTH = 256K")
        }
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

fn random(seed: u64, config: &ModelConfig) -> Vec<u32> {
    let params = ModelParams::random(seed, config);
    encode::encode(&params).expect("random parameters can be encoded")
}

/// An untrained model of the shape that `name` says.
fn untrained(name: &str) -> Vec<u32> {
    let config = shape::parse(name).expect(name);
    random(config.metadata.vocabularies[1].tokens.into(), &config)
}
