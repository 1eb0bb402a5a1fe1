//! The gates of recurrent cells that read gate rows.

use crate::packed::{GruParams, I16x4, LstmParams, TokenScale};
use core::arch::naked_asm;
use core::mem::offset_of;

// The first load of a unit moves the pointer on.
const _: () = assert!(offset_of!(GruParams, update.bias) == 0);

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
pub(crate) unsafe extern "C" fn gru_gates(
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
pub(crate) unsafe extern "C" fn lstm_gates(
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
