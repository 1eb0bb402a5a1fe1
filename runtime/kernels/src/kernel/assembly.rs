//! The call of a kernel in assembly.
#![allow(unsafe_code)]

use super::ROWS;
#[cfg(assembly = "cortex_m0")]
use super::cortex_m0::{NAME, kernel};
#[cfg(assembly = "cortex_m4")]
use super::cortex_m4::{NAME, kernel};
#[cfg(assembly = "riscv32")]
use super::riscv32::{NAME, kernel};

pub(super) fn name() -> &'static str {
    NAME
}

/// Writes the accumulators of blocks of as many words as there are activations, a multiple of 4 and not 0.
pub(super) fn products(
    weights: &[u32],
    pairs: &[u32],
    correction: i32,
    accumulators: &mut [[i32; ROWS]],
) {
    debug_assert_eq!(weights.len(), 2 * pairs.len() * accumulators.len());
    let (x, count) = (pairs.as_ptr_range(), accumulators.len());
    if count == 0 {
        return;
    }
    let out = accumulators.as_mut_ptr();
    // SAFETY: `Operand::products`, the only caller, has checked that there are as many weights as `count` blocks need.
    // All is aligned by its type. The kernel reads those weights and the pairs, and writes `count` blocks to `out`.
    unsafe { kernel(out, weights.as_ptr(), x.start, x.end, correction, count) };
}
