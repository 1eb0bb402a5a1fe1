//! Passes the program's entry point to the linker. The program is measured and never run, so it needs no memory map.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-estart");
}
