//! The kernel of cores with the DSP extension: per pair of columns and two rows, one SXTB16 and two SMLAD.
#![allow(unsafe_code)]

use super::ROWS;
use core::arch::naked_asm;

pub(super) const NAME: &str = "Cortex-M4 SMLAD";

/// Writes the accumulators of `count` blocks to `out`; `count` is not 0. `end - x` is a multiple of 8 bytes and not 0.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn kernel(
    out: *mut [i32; ROWS],
    weights: *const u32,
    x: *const u32,
    end: *const u32,
    correction: i32,
    count: usize,
) {
    // r1 and r2 point to the word before the weights and the activations to come, so that the last load of a round can move
    // them on; r8 is where r2 ends, r9 `out`.
    // r10 and r11 hold S and B of rows 0 and 1, r12 and lr those of rows 2 and 3. S begins with what even rows subtract.
    naked_asm!(
        // A naked function of this target does not have the DSP extension by itself.
        #[cfg(armv8m)]
        ".cpu cortex-m33",
        // The loads come first and together: single loads in a row take one cycle each after the first.
        ".macro FOUR_COLUMNS n, move",
        "ldr r4, [r1, #16 * \\n + 4]",
        "ldr r5, [r1, #16 * \\n + 8]",
        "ldr r6, [r1, #16 * \\n + 12]",
        "ldr r7, [r1, #16 * \\n + 16]\\move",
        "ldr r0, [r2, #8 * \\n + 4]",
        "ldr r3, [r2, #8 * \\n + 8]\\move",
        "smlad r10, r4, r0, r10",
        "sxtb16 r4, r4, ror #8",
        "smlad r11, r4, r0, r11",
        "smlad r12, r5, r0, r12",
        "sxtb16 r5, r5, ror #8",
        "smlad lr, r5, r0, lr",
        "smlad r10, r6, r3, r10",
        "sxtb16 r6, r6, ror #8",
        "smlad r11, r6, r3, r11",
        "smlad r12, r7, r3, r12",
        "sxtb16 r7, r7, ror #8",
        "smlad lr, r7, r3, lr",
        ".endm",
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "mov r9, r0",
        "subs r4, r3, r2",
        "sub r8, r3, #4",
        "subs r1, #4",
        "subs r2, #4",
        "ldrd r5, r6, [sp, #36]",
        "rsbs r5, r5, #0",
        "muls r6, r4, r6",
        "add r7, r1, r6, lsl #1",
        // Where whole rounds of 32 columns stop being all there is: after the weights, or before them.
        "ands r6, r4, #63",
        "ite eq",
        "moveq r6, r7",
        "movne r6, #0",
        "push {{r2, r5, r6, r7}}",
        "b 3f",
        // A round.
        "1:",
        ".irp n, 0, 1, 2, 3, 4, 5, 6",
        "FOUR_COLUMNS \\n",
        ".endr",
        "FOUR_COLUMNS 7, !",
        "cmp r2, r8",
        "bne 1b",
        "2:",
        "sub r10, r10, r11, lsl #8",
        "sub r12, r12, lr, lsl #8",
        "stm r9!, {{r10, r11, r12, lr}}",
        // The next block.
        "3:",
        "ldr r2, [sp]",
        "ldr r10, [sp, #4]",
        "ldr r3, [sp, #8]",
        "mov r11, #0",
        "mov r12, r10",
        "mov lr, #0",
        "cmp r1, r3",
        "blo 1b",
        "ldr r3, [sp, #12]",
        "cmp r1, r3",
        "beq 5f",
        // Fours of columns before whole rounds.
        "4:",
        "FOUR_COLUMNS 0, !",
        "sub r3, r8, r2",
        "lsls r3, r3, #26",
        "bne 4b",
        "cmp r2, r8",
        "bne 1b",
        "b 2b",
        "5:",
        "add sp, #16",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        ".purgem FOUR_COLUMNS",
    )
}
