//! The kernel of cores with the DSP extension: per pair of columns and two rows, one SXTB16 and two SMLAD.
#![allow(unsafe_code)]

use super::ROWS;
use core::arch::naked_asm;

pub(super) const NAME: &str = "Cortex-M4 SMLAD";

/// Writes the accumulators of `count` blocks to `out`. `end - x` is a multiple of 8 bytes and not 0.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn kernel(
    out: *mut [i32; ROWS],
    weights: *const u32,
    x: *const u32,
    end: *const u32,
    correction: i32,
    count: usize,
) {
    // r10 and r11 hold S and B of rows 0 and 1, r12 and lr those of rows 2 and 3.
    // The loads come first and together: single loads in a row take one cycle each after the first.
    naked_asm!(
        ".macro FOUR_COLUMNS",
        "ldr r5, [r1], #4",
        "ldr r6, [r1], #4",
        "ldr r7, [r1], #4",
        "ldr r9, [r1], #4",
        "ldr r8, [r2], #4",
        "ldr r3, [r2], #4",
        "smlad r10, r5, r8, r10",
        "sxtb16 r5, r5, ror #8",
        "smlad r11, r5, r8, r11",
        "smlad r12, r6, r8, r12",
        "sxtb16 r6, r6, ror #8",
        "smlad lr, r6, r8, lr",
        "smlad r10, r7, r3, r10",
        "sxtb16 r7, r7, ror #8",
        "smlad r11, r7, r3, r11",
        "smlad r12, r9, r3, r12",
        "sxtb16 r9, r9, ror #8",
        "smlad lr, r9, r3, lr",
        ".endm",
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "sub sp, #16",
        // Rounds of 32 columns, and fours of columns before them.
        "subs r4, r3, r2",
        "lsrs r5, r4, #6",
        "and r4, r4, #63",
        "lsrs r4, r4, #3",
        "strd r0, r2, [sp]",
        "strd r5, r4, [sp, #8]",
        // One block.
        "1:",
        "ldrd r0, r4, [sp, #8]",
        "ldr r2, [sp, #4]",
        "mov r10, #0",
        "mov r11, #0",
        "mov r12, #0",
        "mov lr, #0",
        "cbz r4, 3f",
        "2:",
        "FOUR_COLUMNS",
        "subs r4, #1",
        "bne 2b",
        "3:",
        "cmp r0, #0",
        "beq 5f",
        "4:",
        ".rept 8",
        "FOUR_COLUMNS",
        ".endr",
        "subs r0, #1",
        "bne 4b",
        "5:",
        "ldr r0, [sp]",
        "ldrd r3, r4, [sp, #52]",
        "sub r10, r10, r11, lsl #8",
        "sub r12, r12, lr, lsl #8",
        "sub r10, r10, r3",
        "sub r12, r12, r3",
        "strd r10, r11, [r0], #8",
        "strd r12, lr, [r0], #8",
        "str r0, [sp]",
        "subs r4, #1",
        "str r4, [sp, #56]",
        "bne 1b",
        "add sp, #16",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        ".purgem FOUR_COLUMNS",
    )
}
