//! Tells the linker where the program starts: it has no memory map, since it never runs.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-estart");
}
