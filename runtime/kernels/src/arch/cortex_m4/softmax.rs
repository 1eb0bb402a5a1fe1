//! Sampling.

use crate::activation::EXP2_INTERVALS;
use crate::generic::SoftmaxTerm;
use core::arch::naked_asm;
use core::mem::offset_of;

// One LDM loads the whole term.
const _: () = assert!(
    offset_of!(SoftmaxTerm, max) == 0
        && offset_of!(SoftmaxTerm, inverse_temperature) == 4
        && offset_of!(SoftmaxTerm, shift) == 8
        && offset_of!(SoftmaxTerm, weight_shift) == 12
);

/// [`crate::generic::cumulative_search`]: the index in the lower half of the result, what remains in the upper one. `table` is that
/// of powers of two.
// r0 to r3 are the arguments, r8 what remains, r9 the table, r10 1023, r11 the distance and then the exponent, r12 the weight.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn cumulative_search(
    term: *const SoftmaxTerm,
    logits: *const i16,
    count: usize,
    cutoff: u32,
    remaining: u32,
    table: *const [u32; EXP2_INTERVALS],
) -> u64 {
    naked_asm!(
        #[cfg(armv8m)]
        ".cpu cortex-m33",
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "ldrd r8, r9, [sp, #36]",
        // max, inverse temperature, shift, weight shift.
        "ldm r0, {{r4, r5, r6, r7}}",
        "movw r10, #1023",
        "push {{r2}}",
        "cbz r2, 3f",
        "1:",
        "ldrsh r11, [r1], #2",
        "sub r11, r4, r11",
        "cmp r11, r3",
        "bhs 2f",
        "mul r11, r11, r5",
        "lsr r11, r11, r6",
        "ubfx r12, r11, #10, #6",
        "ldr r12, [r9, r12, lsl #2]",
        // lr: the distance below the interval's high end; r11: the whole part of the exponent.
        "bic lr, r10, r11",
        "lsr r11, r11, #16",
        "and r0, r12, r10",
        "mla r12, r0, lr, r12",
        "lsr r12, r12, r11",
        // The carry is the bit that rounds.
        "lsrs r12, r12, r7",
        "adc r12, r12, #0",
        "subs r8, r8, r12",
        "blo 4f",
        "2:",
        "subs r2, #1",
        "bne 1b",
        "3:",
        "pop {{r0}}",
        "sub r0, r0, r2",
        "mov r1, r8",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        // The weight is larger than what remains.
        "4:",
        "add r8, r8, r12",
        "b 3b",
    )
}

/// [`crate::generic::max_i16`] of the logits at even indices in the lower half, of those at odd indices in the upper half.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn max_i16(logits: *const [i16; 4], count: usize) -> i32 {
    naked_asm!(
        #[cfg(armv8m)]
        ".cpu cortex-m33",
        "push {{r4, lr}}",
        "mov r2, #0x80008000",
        "cbz r1, 2f",
        "1:",
        "ldr r3, [r0], #4",
        "ldr r12, [r0], #4",
        // SEL takes its first where the difference is not negative.
        "ssub16 r4, r3, r2",
        "sel r2, r3, r2",
        "ssub16 r4, r12, r2",
        "sel r2, r12, r2",
        "subs r1, #1",
        "bne 1b",
        "2:",
        "mov r0, r2",
        "pop {{r4, pc}}",
    )
}
