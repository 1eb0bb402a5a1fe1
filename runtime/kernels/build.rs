//! Says which cores have the DSP extension: stable Rust has no `cfg(target_feature = "dsp")` for them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(dsp)");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.starts_with("thumbv7em") {
        println!("cargo:rustc-cfg=dsp");
    }
}
