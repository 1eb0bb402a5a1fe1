//! Matrix-vector products.

use super::registers::{pop_callee_saved_and_return, push_callee_saved};
use crate::arch::assert_size::assert_size;
use core::arch::naked_asm;

/// [`crate::generic::gemv_int8`]: writes the accumulators of `count` panels to `out`; `count` is not 0. The activations are those
/// from `x` to `end`, which are not none.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn gemv_int8(
    out: *mut [i32; 4],
    weights: *const u32,
    x: *const [u32; 2],
    end: *const [u32; 2],
    correction: i32,
    count: usize,
) {
    // | register | content |
    // |---|---|
    // | r0, r1 | the next weights and activations |
    // | r2, r3; r4, r5 | two words of weights; two pairs of activations |
    // | r6, r7 | a product; the second activation of a pair |
    // | r8, r9 | S and B of rows 0 and 1 (see `packed`); S starts with what even rows subtract |
    // | r10, r11 | S and B of rows 2 and 3 |
    // | r12 | `end` |
    // | lr | `out` of the panel |
    //
    // | sp + | content |
    // |---|---|
    // | 0 | `x` |
    // | 4 | minus the correction |
    // | 8 | where a panel enters the unrolled round of 16 columns, if their number is no multiple of that |
    // | 12 | the end of the weights |
    // | 52, 56 | the arguments `correction`, `count` |
    naked_asm!(
        // Two rows times the second column of a pair, r7.
        ".macro MAC_SECOND w, s, b",
        "asrs r6, \\w, #16",
        "muls r6, r7, r6",
        "add \\s, \\s, r6",
        "asrs r6, \\w, #24",
        "muls r6, r7, r6",
        "add \\b, \\b, r6",
        ".endm",
        // Two rows times the first column of a pair, x. Destroys w.
        ".macro MAC_FIRST w, x, s, b",
        "sxth \\w, \\w",
        "asrs r6, \\w, #8",
        "muls r6, \\x, r6",
        "add \\b, \\b, r6",
        "muls \\w, \\x, \\w",
        "add \\s, \\s, \\w",
        ".endm",
        // Four rows times a pair of columns.
        ".macro MAC_TWO_COLUMNS x",
        "ldmia r0!, {{r2, r3}}",
        "asrs r7, \\x, #16",
        "MAC_SECOND r2, r8, r9",
        "MAC_SECOND r3, r10, r11",
        "sxth \\x, \\x",
        "MAC_FIRST r2, \\x, r8, r9",
        "MAC_FIRST r3, \\x, r10, r11",
        ".endm",
        push_callee_saved!(),
        "mov lr, r0",
        "mov r12, r3",
        "movs r0, r1",
        "movs r1, r2",
        // The end of the weights.
        "subs r3, r3, r2",
        "ldr r4, [sp, #40]",
        "muls r4, r3, r4",
        "lsls r4, r4, #1",
        "adds r4, r0, r4",
        // Where a panel enters a round: 110 bytes of code per four columns.
        "rsbs r3, r3, #0",
        "lsls r3, r3, #27",
        "lsrs r3, r3, #30",
        "movs r2, #110",
        "muls r2, r3, r2",
        "adr r3, 2f",
        "adds r3, r3, r2",
        "ldr r2, [sp, #36]",
        "rsbs r2, r2, #0",
        "push {{r1, r2, r3, r4}}",
        "b 5f",
        ".balign 4",
        "2:",
        ".rept 4",
        "ldmia r1!, {{r4, r5}}",
        "MAC_TWO_COLUMNS r4",
        "MAC_TWO_COLUMNS r5",
        ".endr",
        assert_size!("2b", "4 * 110"),
        "cmp r1, r12",
        "beq 4f",
        "b 2b",
        "4:",
        "mov r3, r9",
        "lsls r6, r3, #8",
        "mov r2, r8",
        "subs r2, r2, r6",
        "mov r5, r11",
        "lsls r6, r5, #8",
        "mov r4, r10",
        "subs r4, r4, r6",
        "mov r7, lr",
        "stmia r7!, {{r2, r3, r4, r5}}",
        "mov lr, r7",
        // The next panel.
        "mov r6, sp",
        "ldmia r6!, {{r1, r2, r3, r4}}",
        "cmp r0, r4",
        "beq 6f",
        "5:",
        "movs r5, #0",
        "mov r8, r2",
        "mov r9, r5",
        "mov r10, r2",
        "mov r11, r5",
        "mov pc, r3",
        "6:",
        "add sp, #16",
        pop_callee_saved_and_return!(),
        ".purgem MAC_TWO_COLUMNS",
        ".purgem MAC_FIRST",
        ".purgem MAC_SECOND",
    )
}

/// [`crate::generic::gemv_int4`]: adds to the accumulators from `out` to `out_end`, which are not none, the products with panels
/// of `words` words. The activations are those from `x` to `end`, which are not none.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn gemv_int4(
    out: *mut [i32; 4],
    weights: *const u32,
    x: *const [u32; 2],
    end: *const [u32; 2],
    out_end: *const [i32; 4],
    words: usize,
) {
    // Group by group through all panels, so that the sum of a group's activations is computed once.
    //
    // | register | content, within a panel |
    // |---|---|
    // | r0, r1 | the next weights and activations |
    // | r2, r3; r4, r5 | two words of weights; two pairs of activations |
    // | r6, r7 | a product; the second activation of a pair |
    // | r8 to r11 | P_0 to P_3 (see `packed`), which start with what removes the offset 8 of a, b and c in the end |
    // | r12 | the end of the group's activations |
    // | lr | the group's scales |
    //
    // | sp + | content |
    // |---|---|
    // | 0, 4, 8 | what r8, r9 and r10 start with |
    // | 12 | where a panel's group enters the unrolled round of 16 columns |
    // | 16 | `out` of the next panel |
    // | 20 | bytes of the group's activations |
    // | 24 | bytes from the end of the group's weights to the same group of the next panel |
    // | 28 | the group's weights in the first panel |
    // | 32, 36 | `out`, `end` |
    // | 40 | bytes of a panel |
    // | 80, 84 | the arguments `out_end`, `words` |
    naked_asm!(
        // Four rows times a pair of columns: the second column, then the first. Destroys w and x.
        ".macro MAC_TWO_COLUMNS w, x",
        "asrs r7, \\x, #16",
        "asrs r6, \\w, #16",
        "muls r6, r7, r6",
        "add r8, r8, r6",
        "asrs r6, \\w, #20",
        "muls r6, r7, r6",
        "add r9, r9, r6",
        "asrs r6, \\w, #24",
        "muls r6, r7, r6",
        "add r10, r10, r6",
        "asrs r6, \\w, #28",
        "muls r6, r7, r6",
        "add r11, r11, r6",
        "sxth \\w, \\w",
        "sxth \\x, \\x",
        "asrs r6, \\w, #12",
        "muls r6, \\x, r6",
        "add r11, r11, r6",
        "asrs r6, \\w, #8",
        "muls r6, \\x, r6",
        "add r10, r10, r6",
        "asrs r6, \\w, #4",
        "muls r6, \\x, r6",
        "add r9, r9, r6",
        "muls \\w, \\x, \\w",
        "add r8, r8, \\w",
        ".endm",
        // Adds a row's sum times its scale, the highest byte of r7: P less r2, 16 times the P above. Rows from the last one on.
        ".macro ADD_SCALED row, p",
        "mov r3, \\p",
        "subs r2, r3, r2",
        "lsrs r4, r7, #24",
        "lsls r7, r7, #8",
        "muls r2, r4, r2",
        "ldr r4, [r6, #4 * \\row]",
        "adds r4, r4, r2",
        "str r4, [r6, #4 * \\row]",
        "lsls r2, r3, #4",
        ".endm",
        push_callee_saved!(),
        "sub sp, #44",
        "str r0, [sp, #32]",
        "str r3, [sp, #36]",
        "ldr r4, [sp, #84]",
        "lsls r4, r4, #2",
        "str r4, [sp, #40]",
        // A group.
        "1:",
        "ldr r3, [sp, #36]",
        "subs r3, r3, r2",
        "cmp r3, #64",
        "bls 2f",
        "movs r3, #64",
        "2:",
        "str r3, [sp, #20]",
        "ldr r4, [sp, #40]",
        "subs r4, r4, r3",
        "subs r4, #4",
        "str r4, [sp, #24]",
        "str r1, [sp, #28]",
        "ldr r4, [sp, #32]",
        "str r4, [sp, #16]",
        "movs r0, r1",
        "movs r1, r2",
        "adds r4, r2, r3",
        "mov r12, r4",
        // Where a group enters a round: 108 bytes of code per four columns.
        "rsbs r3, r3, #0",
        "lsls r3, r3, #27",
        "lsrs r3, r3, #30",
        "movs r4, #108",
        "muls r3, r4, r3",
        "adr r4, 5f",
        "adds r3, r3, r4",
        "str r3, [sp, #12]",
        "movs r3, #0",
        "3:",
        "ldmia r2!, {{r4, r5}}",
        "asrs r6, r4, #16",
        "sxth r4, r4",
        "adds r3, r3, r6",
        "adds r3, r3, r4",
        "asrs r6, r5, #16",
        "sxth r5, r5",
        "adds r3, r3, r6",
        "adds r3, r3, r5",
        "cmp r2, r12",
        "bne 3b",
        // -8 sum(x); 16 times that more; 16 times this and -8 sum(x).
        "rsbs r3, r3, #0",
        "lsls r5, r3, #3",
        "lsls r4, r5, #4",
        "adds r4, r4, r5",
        "lsls r3, r4, #4",
        "adds r3, r3, r5",
        "mov r2, sp",
        "stmia r2!, {{r3, r4, r5}}",
        // A panel.
        "4:",
        "mov r7, sp",
        "ldmia r7!, {{r2, r3, r4, r5}}",
        "ldmia r0!, {{r6}}",
        "movs r7, #0",
        "mov r8, r2",
        "mov r9, r3",
        "mov r10, r4",
        "mov r11, r7",
        "mov lr, r6",
        "mov pc, r5",
        ".balign 4",
        "5:",
        ".rept 4",
        "ldmia r1!, {{r4, r5}}",
        "ldmia r0!, {{r2, r3}}",
        "MAC_TWO_COLUMNS r2, r4",
        "MAC_TWO_COLUMNS r3, r5",
        ".endr",
        assert_size!("5b", "4 * 108"),
        "cmp r1, r12",
        "beq 6f",
        "b 5b",
        "6:",
        "ldr r6, [sp, #16]",
        "mov r7, lr",
        "movs r2, #0",
        "ADD_SCALED 3, r11",
        "ADD_SCALED 2, r10",
        "ADD_SCALED 1, r9",
        "ADD_SCALED 0, r8",
        "adds r6, #16",
        "str r6, [sp, #16]",
        "ldr r2, [sp, #20]",
        "subs r1, r1, r2",
        "ldr r2, [sp, #24]",
        "adds r0, r0, r2",
        "ldr r2, [sp, #80]",
        "cmp r6, r2",
        "beq 7f",
        "b 4b",
        "7:",
        "ldr r1, [sp, #28]",
        "ldr r3, [sp, #20]",
        "adds r1, r1, r3",
        "adds r1, #4",
        "mov r2, r12",
        "ldr r3, [sp, #36]",
        "cmp r2, r3",
        "beq 8f",
        "b 1b",
        "8:",
        "add sp, #44",
        pop_callee_saved_and_return!(),
        ".purgem ADD_SCALED",
        ".purgem MAC_TWO_COLUMNS",
    )
}
