//! The kernels of cores with the DSP extension. Two rows times a pair of columns are one SXTB16 and two SMLAD.
//!
//! Every kernel follows the procedure call standard: arguments in r0 to r3 and on the stack, r4 to r11 are preserved. A comment
//! before each one names its registers and its stack frame. Loads stand together: a load that follows a load takes one cycle.
use crate::activation::EXP2_INTERVALS;
use crate::generic::SoftmaxTerm;
use crate::packed::{GruParams, I16x4, LstmParams, TokenScale};
use core::arch::naked_asm;
use core::mem::offset_of;

use super::assembly::assert_size;

pub(super) const NAME: &str = "Cortex-M SMLAD";

// What the kernels take for granted: the first load of a unit moves the pointer on, and one LDM loads the whole term.
const _: () = assert!(
    offset_of!(GruParams, update.bias) == 0
        && offset_of!(SoftmaxTerm, max) == 0
        && offset_of!(SoftmaxTerm, inverse_temperature) == 4
        && offset_of!(SoftmaxTerm, shift) == 8
        && offset_of!(SoftmaxTerm, weight_shift) == 12
);

/// [`crate::generic::gemv_int8`]: writes the accumulators of `count` panels to `out`; `count` is not 0. The activations are those
/// from `x` to `end`, which are not none.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn gemv_int8(
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
        // The target does not have the DSP extension, so the assembler must be told.
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
pub(super) unsafe extern "C" fn gemv_int4(
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

/// A naked function's assembly with macros for requantization and activations. They use r6 to r9.
///
/// | register | content |
/// |---|---|
/// | r4 | the table of tanh |
/// | r5 | 2^14, which rounds a product of two Q15 numbers |
/// | r10 | 2^16 + 2, which rounds a sigmoid |
macro_rules! with_activations {
    ($($line:literal,)* ; $($operands:tt)*) => {
        naked_asm!(
                #[cfg(armv8m)]
            ".cpu cortex-m33",
            // r6, an accumulator, to its output by the scale r8.
            ".macro REQUANTIZE",
            "lsr r7, r8, #27",
            "asr r6, r6, r7",
            "ssat r6, #18, r6",
            "uxth r8, r8",
            "mla r6, r6, r8, r5",
            "ssat r6, #16, r6, asr #15",
            ".endm",
            // r9 = 65536 tanh(|r6|), r7 = the sign of r6. One load of a word gets both ends of the interval.
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
            // Gives r9 the sign r7.
            ".macro APPLY_SIGN",
            "eor r9, r9, r7",
            "sub r9, r9, r7",
            ".endm",
            // to = sigmoid(r6), r6 in Q4.11.
            ".macro SIGMOID to",
            "TANH_MAGNITUDE",
            "APPLY_SIGN",
            "add r9, r9, r10",
            "usat \\to, #15, r9, asr #2",
            ".endm",
            // r9 = tanh(r6), r6 in Q4.11.
            ".macro TANH",
            "ssat r6, #16, r6, lsl #1",
            "TANH_MAGNITUDE",
            "add r9, r9, #1",
            "usat r9, #15, r9, asr #1",
            "APPLY_SIGN",
            ".endm",
            $($line,)*
            ".purgem TANH",
            ".purgem SIGMOID",
            ".purgem APPLY_SIGN",
            ".purgem TANH_MAGNITUDE",
            ".purgem REQUANTIZE",
            $($operands)*
        )
    };
}

/// [`crate::generic::gru_gates`]. `table` is that of tanh.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn gru_gates(
    params: *const GruParams,
    gate_row: *const [[i8; 4]; 3],
    products: *const [[i32; 4]; 3],
    h: *const I16x4,
    h_next: *mut I16x4,
    table: *const u16,
) {
    // r0 to r3 are the arguments, moved on by one unit at a time; r12 is `h_next`, r11 the reset gate and then the candidate,
    // lr the units left.
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
        "ldr r7, [r0, #{reset} + {bias}]",
        "ldr r8, [r0, #{reset} + {scale}]",
        "ldr r9, [r0, #{reset} + {token_scale}]",
        "ldrsb r11, [r1, #4]",
        "add r6, r6, r7",
        "mla r6, r9, r11, r6",
        "REQUANTIZE",
        "SIGMOID r11",
        // The candidate.
        "ldr r6, [r2, #32]",
        "ldr r7, [r0, #{candidate_bias}]",
        "ldr r8, [r0, #{candidate_scale}]",
        "add r6, r6, r7",
        "REQUANTIZE",
        "ldr r7, [r0, #{input_bias}]",
        "ldr r8, [r0, #{candidate_token_scale}]",
        "ldrsb r9, [r1, #8]",
        "mla r7, r8, r9, r7",
        "mla r6, r6, r11, r7",
        "add r6, r6, r5",
        "ssat r6, #16, r6, asr #15",
        "TANH",
        "mov r11, r9",
        // The update gate.
        "ldr r6, [r2], #4",
        "ldr r7, [r0, #{update} + {scale}]",
        "ldr r8, [r0, #{update} + {token_scale}]",
        "ldrsb r9, [r1], #1",
        "mla r6, r8, r9, r6",
        "mov r8, r7",
        // The bias, at offset 0, moves the pointer on.
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
        ;
        update = const offset_of!(GruParams, update),
        reset = const offset_of!(GruParams, reset),
        bias = const offset_of!(TokenScale, bias),
        scale = const offset_of!(TokenScale, scale),
        token_scale = const offset_of!(TokenScale, token_scale),
        candidate_bias = const offset_of!(GruParams, candidate.bias),
        candidate_scale = const offset_of!(GruParams, candidate.scale),
        input_bias = const offset_of!(GruParams, candidate.input_bias),
        candidate_token_scale = const offset_of!(GruParams, candidate.token_scale),
    )
}

/// [`crate::generic::lstm_gates`]. `table` is that of tanh.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn lstm_gates(
    params: *const LstmParams,
    gate_row: *const [[i8; 4]; 4],
    products: *const [[i32; 4]; 4],
    cell: *mut [i32; 4],
    h_next: *mut I16x4,
    table: *const u16,
) {
    // r0 to r3 are the arguments, moved on by one unit at a time; r12 is `h_next`, r11 what is kept between gates, lr the units
    // left. Gates are in the order i, o, f, g.
    with_activations!(
        // r6 = the output of a gate, whose parameters are at this offset.
        ".macro GATE_OUTPUT gate, params",
        "ldr r6, [r2, #16 * \\gate]",
        "ldr r7, [r0, #\\params + {bias}]",
        "ldr r8, [r0, #\\params + {token_scale}]",
        "ldrsb r9, [r1, #4 * \\gate]",
        "add r6, r6, r7",
        "mla r6, r8, r9, r6",
        "ldr r8, [r0, #\\params + {scale}]",
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
        "GATE_OUTPUT 0, {input}",
        "SIGMOID r11",
        "GATE_OUTPUT 3, {candidate}",
        "TANH",
        "mul r11, r11, r9",
        "add r11, r11, #64",
        "asr r11, r11, #7",
        // What is kept: the high and the low half of the cell state.
        "GATE_OUTPUT 2, {forget}",
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
        "GATE_OUTPUT 1, {output}",
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
        ".purgem GATE_OUTPUT",
        ;
        input = const offset_of!(LstmParams, input),
        output = const offset_of!(LstmParams, output),
        forget = const offset_of!(LstmParams, forget),
        candidate = const offset_of!(LstmParams, candidate),
        bias = const offset_of!(TokenScale, bias),
        scale = const offset_of!(TokenScale, scale),
        token_scale = const offset_of!(TokenScale, token_scale),
    )
}

/// [`crate::generic::cumulative_search`]: the index in the lower half of the result, what remains in the upper one. `table` is that
/// of powers of two.
// r0 to r3 are the arguments, r8 what remains, r9 the table, r10 1023, r11 the distance and then the exponent, r12 the weight.
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
pub(super) unsafe extern "C" fn max_i16(logits: *const [i16; 4], count: usize) -> i32 {
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
