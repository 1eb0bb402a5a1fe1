//! Chooses the kernels for the target: `cfg(kernels = "...")`. It goes by the target's name, because stable Rust has no
//! `cfg(target_feature = "dsp")`.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!(
        r#"cargo:rustc-check-cfg=cfg(kernels, values("aarch64", "cortex_m0", "cortex_m4", "generic", "riscv32", "x86_64"))"#
    );
    println!("cargo:rustc-check-cfg=cfg(armv8m)");
    let target = var("TARGET").expect("cargo sets TARGET");
    let features = var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let has = |feature: &str| features.split(',').any(|name| name == feature);
    let kernels = match target.split('-').next().unwrap_or_default() {
        _ if var("CARGO_FEATURE_GENERIC").is_ok() => "generic",
        "thumbv7em" => "cortex_m4",
        // Cortex-M33 and later. The DSP extension is optional; a core without it needs the feature `generic`.
        "thumbv8m.main" => {
            println!("cargo:rustc-cfg=armv8m");
            "cortex_m4"
        }
        "thumbv6m" | "thumbv7m" | "thumbv8m.base" => "cortex_m0",
        // RV32E has half of the registers. No other extension than M is needed.
        name if name.starts_with("riscv32") && !name.starts_with("riscv32e") && has("m") => {
            "riscv32"
        }
        "x86_64" if has("sse2") => "x86_64",
        "aarch64" if has("neon") => "aarch64",
        _ => "generic",
    };
    println!("cargo:rustc-cfg=kernels={kernels:?}");
}
