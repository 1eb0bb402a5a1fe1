//! The calls of the kernels in assembly.

#[cfg(kernels = "cortex_m0")]
use super::cortex_m0 as kernels;
#[cfg(kernels = "cortex_m4")]
use super::cortex_m4 as kernels;
use super::panels::num_panels;
#[cfg(kernels = "riscv32")]
use super::riscv32 as kernels;
use crate::packed::PackedActivations;
use crate::packed::WeightFormat;
#[cfg(kernels = "cortex_m4")]
use crate::{activation::EXP2, generic::SoftmaxTerm};
#[cfg(any(kernels = "cortex_m0", kernels = "cortex_m4"))]
use crate::{
    activation::TANH,
    packed::{GruParams, I16x4},
};

/// The name of the kernels: the core and its instructions.
pub fn kernel_name() -> &'static str {
    kernels::NAME
}

/// [`crate::generic::gemv_int8`]
#[inline(always)]
pub fn gemv_int8(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let count = num_panels(weights, x.num_columns(), accumulators);
    if count == 0 || x.pairs.is_empty() {
        return;
    }
    let pairs = x.pairs.as_ptr_range();
    // SAFETY: `num_panels` has compared the lengths: the kernel reads the weights of `count` panels and the pairs, which are
    // not empty, and writes `count` accumulators, at least one. All are aligned by their types.
    unsafe {
        kernels::gemv_int8(
            accumulators.as_mut_ptr(),
            weights.as_ptr(),
            pairs.start,
            pairs.end,
            x.zero_point_correction,
            count,
        )
    };
}

/// [`crate::generic::gemv_int4`]
pub fn gemv_int4(weights: &[u32], x: &PackedActivations, accumulators: &mut [[i32; 4]]) {
    let panel_len = WeightFormat::Int4.panel_len(x.num_columns());
    let count = num_panels(weights, panel_len, accumulators);
    if count == 0 || x.pairs.is_empty() {
        return;
    }
    let (pairs, out) = (x.pairs.as_ptr_range(), accumulators.as_mut_ptr());
    // SAFETY: as in `gemv_int8`; the end of `count` accumulators is within or at the end of theirs.
    unsafe {
        let out_end = out.add(count);
        kernels::gemv_int4(
            out,
            weights.as_ptr(),
            pairs.start,
            pairs.end,
            out_end,
            panel_len,
        )
    };
}

/// [`crate::generic::gru_gates`]
#[cfg(any(kernels = "cortex_m0", kernels = "cortex_m4"))]
#[inline(always)]
pub fn gru_gates(
    params: &GruParams,
    gate_row: &[[i8; 4]; 3],
    products: &[[i32; 4]; 3],
    h: &I16x4,
    h_next: &mut I16x4,
) {
    // SAFETY: the kernel reads and writes what these references point to, and reads the table.
    unsafe { kernels::gru_gates(params, gate_row, products, h, h_next, TANH.as_ptr()) };
}

/// [`crate::generic::lstm_gates`]
#[cfg(kernels = "cortex_m4")]
#[inline(always)]
pub fn lstm_gates(
    params: &crate::packed::LstmParams,
    gate_row: &[[i8; 4]; 4],
    products: &[[i32; 4]; 4],
    cell: &mut [i32; 4],
    h_next: &mut crate::packed::I16x4,
) {
    let table = crate::activation::TANH.as_ptr();
    // SAFETY: the kernel reads and writes what these references point to, and reads the table.
    unsafe { kernels::lstm_gates(params, gate_row, products, cell, h_next, table) };
}

/// [`crate::generic::cumulative_search`]
#[cfg(kernels = "cortex_m4")]
#[inline(always)]
pub fn cumulative_search(
    term: &SoftmaxTerm,
    logits: &[i16],
    cutoff: u32,
    remaining: u32,
) -> (usize, u32) {
    let (start, count) = (logits.as_ptr(), logits.len());
    // SAFETY: the kernel reads the term, `count` logits from `start` on, and the table.
    let both = unsafe { kernels::cumulative_search(term, start, count, cutoff, remaining, &EXP2) };
    (both as u32 as usize, (both >> 32) as u32)
}

/// [`crate::generic::max_i16`]
#[cfg(kernels = "cortex_m4")]
pub fn max_i16(logits: &[[i16; 4]]) -> i32 {
    // SAFETY: the kernel reads these logits as words at even addresses, which these cores can unless a firmware forbids it.
    let both = unsafe { kernels::max_i16(logits.as_ptr(), logits.len()) };
    (both >> 16).max(i32::from(both as i16))
}
