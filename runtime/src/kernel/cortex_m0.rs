//! The kernel of cores without the DSP extension, in the instructions that every Cortex-M has.
#![allow(unsafe_code)]

use super::ROWS;
use core::arch::naked_asm;

/// Writes the accumulators of blocks of as many words as there are activations, a multiple of 4 and not 0.
pub(super) fn products(
    weights: &[u32],
    pairs: &[u32],
    correction: i32,
    accumulators: &mut [[i32; ROWS]],
) {
    debug_assert_eq!(weights.len(), 2 * pairs.len() * accumulators.len());
    let (x, count) = (pairs.as_ptr_range(), accumulators.len());
    let out = accumulators.as_mut_ptr();
    // SAFETY: `Operand::products`, the only caller, has checked that there are as many weights as `count` blocks need.
    // All is aligned by its type. The kernel reads those weights and the pairs, and writes `count` blocks to `out`.
    unsafe { kernel(out, weights.as_ptr(), x.start, x.end, correction, count) };
}

/// Writes the accumulators of `count` blocks to `out`. `end - x` is a multiple of 8 bytes and not 0.
#[unsafe(naked)]
unsafe extern "C" fn kernel(
    out: *mut [i32; ROWS],
    weights: *const u32,
    x: *const u32,
    end: *const u32,
    correction: i32,
    count: usize,
) {
    // r8 and r9 hold S and B of rows 0 and 1, r10 and r11 those of rows 2 and 3.
    naked_asm!(
        // Two columns of two rows: the activations in r4 and r5.
        ".macro TWO_ROWS w, s, b",
        "sxth r6, \\w",
        "asrs r7, r6, #8",
        "muls r6, r4, r6",
        "add \\s, \\s, r6",
        "muls r7, r4, r7",
        "add \\b, \\b, r7",
        "asrs r6, \\w, #16",
        "asrs \\w, \\w, #24",
        "muls r6, r5, r6",
        "add \\s, \\s, r6",
        "muls \\w, r5, \\w",
        "add \\b, \\b, \\w",
        ".endm",
        ".macro TWO_COLUMNS",
        "ldmia r0!, {{r2, r3}}",
        "ldmia r1!, {{r5}}",
        "sxth r4, r5",
        "asrs r5, r5, #16",
        "TWO_ROWS r2, r8, r9",
        "TWO_ROWS r3, r10, r11",
        ".endm",
        "push {{r4, r5, r6, r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4, r5, r6, r7}}",
        "sub sp, #8",
        "str r0, [sp]",
        "str r2, [sp, #4]",
        "mov r12, r3",
        // lr: where rounds of 16 columns begin; before it, fours of columns.
        "subs r4, r3, r2",
        "movs r5, #31",
        "ands r4, r5",
        "adds r4, r2, r4",
        "mov lr, r4",
        "movs r0, r1",
        // One block.
        "1:",
        "movs r4, #0",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r4",
        "mov r11, r4",
        "ldr r1, [sp, #4]",
        "cmp r1, lr",
        "beq 3f",
        "2:",
        "TWO_COLUMNS",
        "TWO_COLUMNS",
        "cmp r1, lr",
        "bne 2b",
        "3:",
        "cmp r1, r12",
        "bne 4f",
        "b 5f",
        "4:",
        ".rept 8",
        "TWO_COLUMNS",
        ".endr",
        "cmp r1, r12",
        "beq 5f",
        "b 4b",
        "5:",
        "ldr r6, [sp, #44]",
        "mov r3, r9",
        "lsls r5, r3, #8",
        "mov r2, r8",
        "subs r2, r2, r5",
        "subs r2, r2, r6",
        "mov r5, r11",
        "lsls r7, r5, #8",
        "mov r4, r10",
        "subs r4, r4, r7",
        "subs r4, r4, r6",
        "ldr r7, [sp]",
        "stmia r7!, {{r2, r3, r4, r5}}",
        "str r7, [sp]",
        "ldr r7, [sp, #48]",
        "subs r7, #1",
        "str r7, [sp, #48]",
        "beq 6f",
        "b 1b",
        "6:",
        "add sp, #8",
        "pop {{r4, r5, r6, r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4, r5, r6, r7, pc}}",
        ".purgem TWO_COLUMNS",
        ".purgem TWO_ROWS",
    )
}
