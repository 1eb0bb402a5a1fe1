//! Says which kernel in assembly the core has. It goes by the target: stable Rust has no `cfg(target_feature = "dsp")`.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let kernels = r#""cortex_m0", "cortex_m4", "riscv32""#;
    println!("cargo:rustc-check-cfg=cfg(assembly, values(none(), {kernels}))");
    println!("cargo:rustc-check-cfg=cfg(armv8m)");
    let [target, arch, os, features] = [
        "TARGET",
        "CARGO_CFG_TARGET_ARCH",
        "CARGO_CFG_TARGET_OS",
        "CARGO_CFG_TARGET_FEATURE",
    ]
    .map(|name| var(name).unwrap_or_default());
    // Cortex-M33 and later: the DSP extension, which is an option, is taken for granted.
    let armv8m = target.starts_with("thumbv8m.main");
    if armv8m {
        println!("cargo:rustc-cfg=armv8m");
    }
    let kernel = match arch.as_str() {
        "arm" if os == "none" && (target.starts_with("thumbv7em") || armv8m) => "cortex_m4",
        "arm" if os == "none" => "cortex_m0",
        // Other instructions than M's are not used.
        "riscv32" if features.split(',').any(|feature| feature == "m") => "riscv32",
        _ => return,
    };
    println!("cargo:rustc-cfg=assembly");
    println!("cargo:rustc-cfg=assembly={kernel:?}");
}
