//! The kernels of one architecture each, and all of the crate's `unsafe`.
#![allow(unsafe_code)]

#[cfg(kernels = "aarch64")]
pub mod aarch64;
#[cfg(any(kernels = "cortex_m0", kernels = "cortex_m4", kernels = "riscv32"))]
pub mod assembly;
#[cfg(any(kernels = "cortex_m0", kernels = "cortex_m4"))]
mod assert_size;
#[cfg(kernels = "cortex_m0")]
mod cortex_m0;
#[cfg(kernels = "cortex_m4")]
mod cortex_m4;
#[cfg(not(kernels = "generic"))]
mod panels;
mod pod;
#[cfg(kernels = "riscv32")]
mod riscv32;
#[cfg(kernels = "x86_64")]
pub mod x86_64;
