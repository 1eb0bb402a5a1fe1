//! The kernels of cores without the DSP extension, in ARMv6-M instructions, which every Cortex-M has.
//!
//! Every kernel follows the procedure call standard: arguments in r0 to r3 and on the stack, r4 to r11 are preserved. A comment
//! before each one names its registers and its stack frame. Most instructions reach r0 to r7 only; sums are in high registers,
//! to which ADD can add.
mod gates;
mod gemv;
mod registers;

pub(super) use gates::gru_gates;
pub(super) use gemv::{gemv_int4, gemv_int8};

pub(super) const NAME: &str = "ARMv6-M";
