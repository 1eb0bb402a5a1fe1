//! The call of a kernel in assembly.
#![allow(unsafe_code)]

use super::ROWS;
#[cfg(assembly = "cortex_m0")]
use super::cortex_m0::{NAME, gates_kernel, grouped_kernel, kernel};
#[cfg(assembly = "cortex_m4")]
use super::cortex_m4::{
    NAME, gates_kernel, grouped_kernel, kernel, largest_kernel, lstm_kernel, walk_kernel,
};
use super::groups::grouped_words;
#[cfg(assembly = "riscv32")]
pub use super::portable::gates;
#[cfg(not(assembly = "cortex_m4"))]
pub use super::portable::{largest, walk};
#[cfg(assembly = "riscv32")]
use super::riscv32::{NAME, grouped_kernel, kernel};
#[cfg(assembly = "cortex_m4")]
use crate::{
    activation::EXP2,
    cell::{LSTM_GATES, LSTM_RECORDS},
    draw::Weight,
};
#[cfg(not(assembly = "riscv32"))]
use crate::{
    activation::TANH,
    cell::{GATES, RECORDS},
};

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

/// Adds to the accumulators the products with blocks of 4 bits, each of [`grouped_words`] of as many columns as there are
/// activations, a multiple of 4 and not 0.
pub(super) fn add_grouped(weights: &[u32], pairs: &[u32], accumulators: &mut [[i32; ROWS]]) {
    let words = grouped_words(2 * pairs.len());
    debug_assert_eq!(weights.len(), words * accumulators.len());
    if accumulators.is_empty() {
        return;
    }
    let (x, out) = (pairs.as_ptr_range(), accumulators.as_mut_ptr_range());
    // SAFETY: `Operand::add_grouped`, the only caller, has checked that there are as many weights as the blocks of `out`
    // need. All is aligned by its type. The kernel reads those weights and the pairs, and writes `out`.
    unsafe { grouped_kernel(out.start, weights.as_ptr(), x.start, x.end, out.end, words) };
}

/// The new state of four units: [`crate::cell::gates_portable`].
#[cfg(not(assembly = "riscv32"))]
#[inline(always)]
pub fn gates(
    records: &[u32; RECORDS],
    token: &[i8; GATES],
    products: &[[i32; ROWS]; 3],
    old: &[i16; ROWS],
    new: &mut [i16; ROWS],
) {
    // SAFETY: the kernel reads and writes these arrays, whole, and the table.
    unsafe { gates_kernel(records, token, products, old, new, TANH.as_ptr()) };
}

/// The new states of four units of an LSTM: [`crate::cell::lstm_gates_portable`].
#[cfg(assembly = "cortex_m4")]
#[inline(always)]
pub fn lstm_gates(
    records: &[u32; LSTM_RECORDS],
    token: &[i8; LSTM_GATES],
    products: &[[i32; ROWS]; 4],
    cell: &mut [i32; ROWS],
    new: &mut [i16; ROWS],
) {
    // SAFETY: the kernel reads and writes these arrays, whole, and the table.
    unsafe { lstm_kernel(records, token, products, cell, new, TANH.as_ptr()) };
}

/// [`Weight::walk_portable`].
#[cfg(assembly = "cortex_m4")]
#[inline(always)]
pub fn walk(weight: &Weight, logits: &[i16], end: u32, rest: u32) -> (usize, u32) {
    // SAFETY: the kernel reads the weight, `logits.len()` logits and the table.
    let both = unsafe { walk_kernel(weight, logits.as_ptr(), logits.len(), end, rest, &EXP2) };
    (both as u32 as usize, (both >> 32) as u32)
}

/// [`crate::draw::largest_portable`].
#[cfg(assembly = "cortex_m4")]
pub fn largest(fours: &[[i16; 4]]) -> i32 {
    // SAFETY: the kernel reads those logits, in words: at multiples of 2, which these cores can unless a firmware forbids it.
    let both = unsafe { largest_kernel(fours.as_ptr(), fours.len()) };
    (both >> 16).max(i32::from(both as i16))
}
