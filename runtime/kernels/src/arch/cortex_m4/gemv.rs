//! Matrix-vector products.

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
    // | r0, r3 | two pairs of activations |
    // | r1 | the word before the next weights, so that the last load of a round can move it on |
    // | r2 | the word before the next activations |
    // | r4 to r7 | four words of weights |
    // | r8 | r2 at the end of a panel |
    // | r9 | `out` of the panel |
    // | r10, r11 | S and B of rows 0 and 1 (see `packed`); S starts with what even rows subtract |
    // | r12, lr | S and B of rows 2 and 3 |
    //
    // | sp + | content |
    // |---|---|
    // | 0 | r2 at the start of a panel |
    // | 4 | panels that start below this address are whole rounds of 32 columns: the end of the weights, or an address before them |
    // | 8 | r1 at the end of the last panel |
    // | 12 | minus the correction |
    naked_asm!(
        // The Armv8-M target does not include the DSP extension; this core has it.
        #[cfg(armv8m)]
        ".cpu cortex-m33",
        // Columns 4 n to 4 n + 3 after r1 and r2. `move` is `!` for a load that moves the pointers on.
        ".macro MAC_FOUR_COLUMNS n, move=",
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
        "ldrd r10, r5, [sp, #36]",
        "rsb r10, r10, #0",
        "muls r5, r4, r5",
        "add r7, r1, r5, lsl #1",
        "ands r3, r4, #63",
        "it eq",
        "moveq r3, r7",
        "push {{r2, r3, r7, r10}}",
        "b 3f",
        // A round.
        "1:",
        ".irp n, 0, 1, 2, 3, 4, 5, 6",
        "MAC_FOUR_COLUMNS \\n",
        ".endr",
        "MAC_FOUR_COLUMNS 7, !",
        "cmp r2, r8",
        "bne 1b",
        "2:",
        "sub r10, r10, r11, lsl #8",
        "sub r12, r12, lr, lsl #8",
        "stm r9!, {{r10, r11, r12, lr}}",
        // The next panel.
        "ldr r2, [sp]",
        "ldr r3, [sp, #4]",
        "ldr r10, [sp, #12]",
        "3:",
        "mov r11, #0",
        "mov r12, r10",
        "mov lr, #0",
        "cmp r1, r3",
        "blo 1b",
        "ldr r3, [sp, #8]",
        "cmp r1, r3",
        "bne 4f",
        "add sp, #16",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        // Fours of columns before whole rounds.
        "4:",
        "MAC_FOUR_COLUMNS 0, !",
        "sub r3, r8, r2",
        "lsls r3, r3, #26",
        "bne 4b",
        "cmp r2, r8",
        "bne 1b",
        "b 2b",
        ".purgem MAC_FOUR_COLUMNS",
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
    // Group by group through all panels, so that the sum of a group's activations is computed once. A group with fewer than 32
    // columns enters the unrolled code later: r1 and r2 point as many bytes before its scales and its activations as it lacks.
    //
    // | register | content |
    // |---|---|
    // | r0 | `out` of the panel |
    // | r1, r2 | the group's weights (scales first) and activations, less the bytes that the group lacks |
    // | r3 | where a panel's group enters the unrolled code |
    // | r4, r5; r6, r7 | two words of weights; two pairs of activations |
    // | r8 | 0x000f000f: the nibbles that AND keeps |
    // | r9 | P_0 (see `packed`) |
    // | r10, r11, r12 | sums with b + 8, with c + 8 and with the high byte, c + 8 + 16 d, which SXTB16 extracts |
    // | lr | a product's nibbles, then the scales |
    //
    // r9 to r12 start with what removes the offset 8 of a, b and c in the end.
    //
    // | sp + | content |
    // |---|---|
    // | 0, 4 | what r9, and what r10 to r12 start with |
    // | 8 | the bytes that the group lacks |
    // | 12 | bytes of a panel |
    // | 16, 20 | `out_end`, `out` |
    // | 24 | r1 of the first panel |
    // | 28 | `end` |
    // | 68, 72 | the arguments `out_end`, `words` |
    naked_asm!(
        #[cfg(armv8m)]
        ".cpu cortex-m33",
        // A pair of columns of four rows.
        ".macro MAC_TWO_COLUMNS w, x",
        "smlad r9, \\w, \\x, r9",
        "and lr, r8, \\w, lsr #4",
        "smlad r10, lr, \\x, r10",
        "and lr, r8, \\w, lsr #8",
        "smlad r11, lr, \\x, r11",
        "sxtb16 \\w, \\w, ror #8",
        "smlad r12, \\w, \\x, r12",
        ".endm",
        // Adds a row's sum times its scale, a byte of lr.
        ".macro ADD_SCALED out, sum, byte",
        "uxtb r8, lr, ror #(8 * \\byte)",
        "mla \\out, r8, \\sum, \\out",
        ".endm",
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "sub sp, #32",
        "ldrd r4, r5, [sp, #68]",
        "lsl r5, r5, #2",
        "strd r5, r4, [sp, #12]",
        "str r0, [sp, #20]",
        "str r3, [sp, #28]",
        // A group.
        "1:",
        "sub r5, r3, r2",
        "rsbs r5, r5, #64",
        "it mi",
        "movmi r5, #0",
        "sub r1, r1, r5",
        "sub r2, r2, r5",
        "str r5, [sp, #8]",
        "str r1, [sp, #24]",
        // The sum of its activations: 12 bytes of code, 8 of activations per four columns.
        "adr r3, 2f",
        "add r3, r3, r5",
        "add r3, r3, r5, lsr #1",
        "mov r8, #0x00010001",
        "mov r9, #0",
        "mov pc, r3",
        ".balign 4",
        "2:",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
        "ldr r6, [r2, #8 * \\n]",
        "ldr r7, [r2, #8 * \\n + 4]",
        "smlad r9, r6, r8, r9",
        "smlad r9, r7, r8, r9",
        ".endr",
        assert_size!("2b", "8 * 12"),
        // -8 sum(x), and 273 times that: 1 + 16 + 256.
        "rsb r9, r9, #0",
        "lsl r10, r9, #3",
        "add r9, r10, r10, lsl #4",
        "add r9, r9, r10, lsl #8",
        "strd r9, r10, [sp]",
        // 64 bytes of code per four columns.
        "adr r3, 4f",
        "add r3, r3, r5, lsl #3",
        "3:",
        "mov r8, #0x000f000f",
        "mov r11, r10",
        "mov r12, r10",
        "mov pc, r3",
        ".balign 4",
        "4:",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
        "ldr r4, [r1, #8 * \\n + 4]",
        "ldr r5, [r1, #8 * \\n + 8]",
        "ldr r6, [r2, #8 * \\n]",
        "ldr r7, [r2, #8 * \\n + 4]",
        "MAC_TWO_COLUMNS r4, r6",
        "MAC_TWO_COLUMNS r5, r7",
        ".endr",
        assert_size!("4b", "8 * 64"),
        "sub r9, r9, r10, lsl #4",
        "sub r9, r9, r12, lsl #8",
        "sub r12, r12, r11",
        "asr r12, r12, #4",
        "ldr r4, [sp, #8]",
        "ldr lr, [r1, r4]",
        "ldr r4, [r0]",
        "ldr r5, [r0, #4]",
        "ldr r6, [r0, #8]",
        "ldr r7, [r0, #12]",
        "ADD_SCALED r4, r9, 0",
        "ADD_SCALED r5, r10, 1",
        "ADD_SCALED r6, r11, 2",
        "ADD_SCALED r7, r12, 3",
        "stm r0!, {{r4, r5, r6, r7}}",
        // The next panel.
        "ldr r9, [sp]",
        "ldr r10, [sp, #4]",
        "ldr r4, [sp, #12]",
        "ldr r5, [sp, #16]",
        "add r1, r1, r4",
        "cmp r0, r5",
        "bne 3b",
        // The next group.
        "ldr r0, [sp, #20]",
        "ldr r1, [sp, #24]",
        "ldr r3, [sp, #28]",
        "adds r1, #68",
        "adds r2, #64",
        "cmp r2, r3",
        "bne 1b",
        "add sp, #32",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        ".purgem ADD_SCALED",
        ".purgem MAC_TWO_COLUMNS",
    )
}
