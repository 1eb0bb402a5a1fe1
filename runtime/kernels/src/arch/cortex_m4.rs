//! The kernel of cores with the DSP extension: per pair of columns and two rows, one SXTB16 and two SMLAD.
use crate::activation::EXP2_INTERVALS;
use crate::generic::SoftmaxTerm;
use crate::packed::{GruParams, I16x4, LstmParams};
use core::arch::naked_asm;

pub(super) const NAME: &str = "Cortex-M SMLAD";

/// Writes the accumulators of `count` blocks to `out`; `count` is not 0. `end - x` is a multiple of 8 bytes and not 0.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn gemv_int8(
    out: *mut [i32; 4],
    weights: *const u32,
    x: *const [u32; 2],
    end: *const [u32; 2],
    correction: i32,
    count: usize,
) {
    // r1 and r2 point to the word before the weights and the activations to come, so that the last load of a round can
    // move them on; r8 is where r2 ends, r9 `out`.
    // r10 and r11 hold S and B of rows 0 and 1, r12 and lr those of rows 2 and 3. S begins with what even rows subtract.
    naked_asm!(
        // A naked function of ARMv8-M does not have the DSP extension by itself.
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
        "ldrd r10, r5, [sp, #36]",
        "rsb r10, r10, #0",
        "muls r5, r4, r5",
        "add r7, r1, r5, lsl #1",
        // Up to where whole rounds of 32 columns are all there is: the end of the weights, else an address before them.
        "ands r3, r4, #63",
        "it eq",
        "moveq r3, r7",
        "push {{r2, r3, r7, r10}}",
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
        "FOUR_COLUMNS 0, !",
        "sub r3, r8, r2",
        "lsls r3, r3, #26",
        "bne 4b",
        "cmp r2, r8",
        "bne 1b",
        "b 2b",
        ".purgem FOUR_COLUMNS",
    )
}

/// Adds to the accumulators from `out` to `out_end`, which are not none, the products with rows of 4 bits, `words` a block.
/// `end - x` is a multiple of 8 bytes and not 0.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn gemv_int4(
    out: *mut [i32; 4],
    weights: *const u32,
    x: *const [u32; 2],
    end: *const [u32; 2],
    out_end: *const [i32; 4],
    words: usize,
) {
    // Group by group through all blocks, so that the sum of a group's activations is found once. A group of fewer columns
    // enters what is unrolled later: r1 and r2 point as many bytes before its scales and its activations as it lacks, r5 to
    // begin with. Then r0 is `out`, r3 where a block's group enters, r8 the nibbles that AND keeps.
    // r9 is P_0 of the specification. r10, r11 and r12 are the sums with b + 8, c + 8 and the high byte, c + 8 + 16 d, so
    // that a SXTB16 gives the last one. All four begin with what takes 8 off a, b and c in the end.
    // On the stack: what r9 and the others begin with, r5, bytes of a block, `out_end`, `out`, r1 of the first block, `end`.
    naked_asm!(
        // As for products.
        #[cfg(armv8m)]
        ".cpu cortex-m33",
        // A pair of columns.
        ".macro TWO_COLUMNS w, x",
        "smlad r9, \\w, \\x, r9",
        "and lr, r8, \\w, lsr #4",
        "smlad r10, lr, \\x, r10",
        "and lr, r8, \\w, lsr #8",
        "smlad r11, lr, \\x, r11",
        "sxtb16 \\w, \\w, ror #8",
        "smlad r12, \\w, \\x, r12",
        ".endm",
        // The sum of a row, times its scale, the lowest byte of lr.
        ".macro SCALE out, sum, byte",
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
        // The sum of its activations: four columns are 12 bytes.
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
        // -8 sum(x), and 273 times that: 1 + 16 + 256.
        "rsb r9, r9, #0",
        "lsl r10, r9, #3",
        "add r9, r10, r10, lsl #4",
        "add r9, r9, r10, lsl #8",
        "strd r9, r10, [sp]",
        // Four columns are 64 bytes.
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
        // The loads come together, as for products.
        "ldr r4, [r1, #8 * \\n + 4]",
        "ldr r5, [r1, #8 * \\n + 8]",
        "ldr r6, [r2, #8 * \\n]",
        "ldr r7, [r2, #8 * \\n + 4]",
        "TWO_COLUMNS r4, r6",
        "TWO_COLUMNS r5, r7",
        ".endr",
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
        "SCALE r4, r9, 0",
        "SCALE r5, r10, 1",
        "SCALE r6, r11, 2",
        "SCALE r7, r12, 3",
        "stm r0!, {{r4, r5, r6, r7}}",
        // The next block.
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
        ".purgem SCALE",
        ".purgem TWO_COLUMNS",
    )
}

/// A naked function's assembly with macros of rounding and activations. They use r6 to r9, and expect the table of the
/// activations in r4, 2^14, which rounds a product of two Q15 numbers, in r5, and 2^16 + 2, which rounds a sigmoid, in r10.
macro_rules! with_activations {
    ($($line:literal,)*) => {
        naked_asm!(
            // As for products.
            #[cfg(armv8m)]
            ".cpu cortex-m33",
            // The accumulator r6 and its scale r8 to the output r6.
            ".macro REQUANTIZE",
            "lsr r7, r8, #27",
            "asr r6, r6, r7",
            "ssat r6, #18, r6",
            "uxth r8, r8",
            "mla r6, r6, r8, r5",
            "ssat r6, #16, r6, asr #15",
            ".endm",
            // 65536 tanh(|r6|) in r9, the sign of r6 in r7.
            ".macro TANH_MAGNITUDE",
            "asr r7, r6, #31",
            "eor r6, r6, r7",
            "sub r6, r6, r7",
            "lsr r8, r6, #6",
            "ldr r8, [r4, r8, lsl #1]",
            "and r6, r6, #63",
            "uxth r9, r8",
            "rsb r8, r9, r8, lsr #16",
            "mul r6, r8, r6",
            "add r6, r6, #32",
            "add r9, r9, r6, lsr #6",
            ".endm",
            // r9 with the sign r7.
            ".macro SIGNED",
            "eor r9, r9, r7",
            "sub r9, r9, r7",
            ".endm",
            // The sigmoid of r6.
            ".macro SIGMOID to",
            "TANH_MAGNITUDE",
            "SIGNED",
            "add r9, r9, r10",
            "usat \\to, #15, r9, asr #2",
            ".endm",
            // The tanh of r6, Q4.11, in r9, of which r6 has 16 bits.
            ".macro TANH",
            "ssat r6, #16, r6, lsl #1",
            "TANH_MAGNITUDE",
            "add r9, r9, #1",
            "usat r9, #15, r9, asr #1",
            "SIGNED",
            ".endm",
            $($line,)*
            ".purgem TANH",
            ".purgem SIGMOID",
            ".purgem SIGNED",
            ".purgem TANH_MAGNITUDE",
            ".purgem REQUANTIZE",
        )
    };
}

/// The new state of four units: [`crate::generic::gru_gates`]. `table` is that of the activations.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn gru_gates(
    params: *const GruParams,
    gate_row: *const [[i8; 4]; 3],
    products: *const [[i32; 4]; 3],
    h: *const I16x4,
    h_next: *mut I16x4,
    table: *const u16,
) {
    with_activations!(
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "ldrd r12, r4, [sp, #36]",
        "mov r5, #0x4000",
        "movw r10, #2",
        "movt r10, #1",
        "movs r6, #4",
        "mov lr, r6",
        // One unit. The reset gate.
        "1:",
        "ldr r6, [r2, #16]",
        "ldr r7, [r0, #48]",
        "ldr r8, [r0, #64]",
        "ldr r9, [r0, #80]",
        "ldrsb r11, [r1, #4]",
        "add r6, r6, r7",
        "mla r6, r9, r11, r6",
        "REQUANTIZE",
        "SIGMOID r11",
        // The candidate.
        "ldr r6, [r2, #32]",
        "ldr r7, [r0, #96]",
        "ldr r8, [r0, #112]",
        "add r6, r6, r7",
        "REQUANTIZE",
        "ldr r7, [r0, #128]",
        "ldr r8, [r0, #144]",
        "ldrsb r9, [r1, #8]",
        "mla r7, r8, r9, r7",
        "mla r6, r6, r11, r7",
        "add r6, r6, r5",
        "ssat r6, #16, r6, asr #15",
        "TANH",
        "mov r11, r9",
        // The update gate.
        "ldr r6, [r2], #4",
        "ldr r7, [r0, #16]",
        "ldr r8, [r0, #32]",
        "ldrsb r9, [r1], #1",
        "mla r6, r8, r9, r6",
        "mov r8, r7",
        "ldr r7, [r0], #4",
        "add r6, r6, r7",
        "REQUANTIZE",
        "SIGMOID r6",
        // Between the candidate and the old state.
        "ldrsh r7, [r3], #2",
        "sub r7, r7, r11",
        "mla r6, r6, r7, r5",
        "add r6, r11, r6, asr #15",
        "strh r6, [r12], #2",
        "subs lr, #1",
        "bne 1b",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
    )
}

/// The new states of four units of an LSTM: [`crate::generic::lstm_gates`]. `table` is that of the activations.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn lstm_gates(
    params: *const LstmParams,
    gate_row: *const [[i8; 4]; 4],
    products: *const [[i32; 4]; 4],
    cell: *mut [i32; 4],
    h_next: *mut I16x4,
    table: *const u16,
) {
    with_activations!(
        // The sum of a gate in r6.
        ".macro SUM gate",
        "ldr r6, [r2, #16 * \\gate]",
        "ldr r7, [r0, #48 * \\gate]",
        "ldr r8, [r0, #48 * \\gate + 32]",
        "ldrsb r9, [r1, #4 * \\gate]",
        "add r6, r6, r7",
        "mla r6, r8, r9, r6",
        "ldr r8, [r0, #48 * \\gate + 16]",
        "REQUANTIZE",
        ".endm",
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "ldrd r12, r4, [sp, #36]",
        "mov r5, #0x4000",
        "movw r10, #2",
        "movt r10, #1",
        "movs r6, #4",
        "mov lr, r6",
        // One unit. What is new, Q30 to Q23.
        "1:",
        "SUM 0",
        "SIGMOID r11",
        "SUM 3",
        "TANH",
        "mul r11, r11, r9",
        "add r11, r11, #64",
        "asr r11, r11, #7",
        // What is kept: the high and the low half of the cell state.
        "SUM 2",
        "SIGMOID r6",
        "ldr r7, [r3]",
        "asr r8, r7, #16",
        "uxth r7, r7",
        "mul r8, r8, r6",
        "mla r7, r7, r6, r5",
        "asr r7, r7, #15",
        "add r7, r7, r8, lsl #1",
        "qadd r7, r7, r11",
        "str r7, [r3], #4",
        // Q8.23 to Q4.11.
        "mov r8, #2048",
        "qadd r6, r7, r8",
        "ssat r6, #16, r6, asr #12",
        "TANH",
        "mov r11, r9",
        "SUM 1",
        "SIGMOID r6",
        "mla r6, r6, r11, r5",
        "asr r6, r6, #15",
        "strh r6, [r12], #2",
        "adds r0, #4",
        "adds r1, #1",
        "adds r2, #4",
        "subs lr, #1",
        "bne 1b",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        ".purgem SUM",
    )
}

/// [`crate::generic::cumulative_search`]: how many logits it passed in the lower half, what is left in the upper one.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn cumulative_search(
    term: *const SoftmaxTerm,
    logits: *const i16,
    count: usize,
    cutoff: u32,
    remaining: u32,
    table: *const [u32; EXP2_INTERVALS],
) -> u64 {
    naked_asm!(
        // As for products.
        #[cfg(armv8m)]
        ".cpu cortex-m33",
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "ldrd r8, r9, [sp, #36]",
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
        // lr: how far below the high end; r11: whole exponents.
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
        // Not this one.
        "4:",
        "add r8, r8, r12",
        "b 3b",
    )
}

/// The largest of the logits at even places in the lower half, of those at odd places in the upper one.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn max_i16(logits: *const [i16; 4], count: usize) -> i32 {
    naked_asm!(
        // As for products.
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
