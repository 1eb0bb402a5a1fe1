//! Says which kernels in assembly the core has. It goes by the target's name: stable Rust has no
//! `cfg(target_feature = "dsp")`.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let kernels = r#""cortex_m0", "cortex_m4", "riscv32""#;
    println!("cargo:rustc-check-cfg=cfg(assembly, values(none(), {kernels}))");
    println!("cargo:rustc-check-cfg=cfg(armv8m)");
    let target = var("TARGET").unwrap_or_default();
    let features = var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let kernel = match target.split('-').next().unwrap_or_default() {
        "thumbv7em" => "cortex_m4",
        // Cortex-M33 and later: the DSP extension, which is an option, is taken for granted.
        "thumbv8m.main" => {
            println!("cargo:rustc-cfg=armv8m");
            "cortex_m4"
        }
        "thumbv6m" | "thumbv7m" | "thumbv8m.base" => "cortex_m0",
        // Other instructions than M's are not used.
        name if name.starts_with("riscv32")
            // E has half of the registers.
            && !name.starts_with("riscv32e")
            && features.split(',').any(|name| name == "m") =>
        {
            "riscv32"
        }
        _ => return,
    };
    println!("cargo:rustc-cfg=assembly");
    println!("cargo:rustc-cfg=assembly={kernel:?}");
}
