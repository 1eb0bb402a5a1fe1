//! The kernels of 64-bit ARM in NEON, which every core that runs an operating system has.

mod int4;
mod int8;

pub use int4::gemv_int4;
pub use int8::gemv_int8;

/// The name of the kernels: the core and its instructions.
pub fn kernel_name() -> &'static str {
    "aarch64 NEON"
}
