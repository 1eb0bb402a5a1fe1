//! The gates of a GRU that reads gate rows.

use super::registers::{pop_callee_saved_and_return, push_callee_saved};
use crate::packed::{GruParams, I16x4, TokenScale};
use core::arch::naked_asm;
use core::mem::offset_of;

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
    // | register | content |
    // |---|---|
    // | r0 to r3 | the arguments, moved on by one unit at a time |
    // | r4 to r7 | temporary |
    // | r8 | 2^14, which rounds a product of two Q15 numbers |
    // | r9 | 2^16 + 2, which rounds a sigmoid |
    // | r10 | the table |
    // | r11 | the reset gate, then the candidate |
    // | r12 | `h_next` |
    // | lr | the end of the products of gate z |
    //
    // The arguments `h_next` and `table` are at sp + 36 and sp + 40.
    naked_asm!(
        // Saturates r4 to this many bits.
        ".macro SATURATE bits",
        "asrs r6, r4, #(\\bits - 1)",
        "adds r6, #1",
        "lsrs r6, r6, #1",
        "beq 8f",
        "asrs r4, r4, #31",
        "movs r6, #0",
        "mvns r6, r6",
        "lsrs r6, r6, #(33 - \\bits)",
        "eors r4, r6",
        "8:",
        ".endm",
        // r4, an accumulator, to its output by the scale r5.
        ".macro REQUANTIZE",
        "lsrs r6, r5, #27",
        "asrs r4, r6",
        "SATURATE 18",
        "uxth r5, r5",
        "muls r4, r5, r4",
        "add r4, r8",
        "asrs r4, r4, #15",
        "SATURATE 16",
        ".endm",
        // r4 = 65536 tanh(|r4|), r5 = the sign of r4.
        ".macro TANH_MAGNITUDE",
        "asrs r5, r4, #31",
        "eors r4, r5",
        "subs r4, r4, r5",
        "lsrs r6, r4, #6",
        "lsls r6, r6, #1",
        "add r6, r10",
        "ldrh r7, [r6]",
        "ldrh r6, [r6, #2]",
        "subs r6, r6, r7",
        "lsls r4, r4, #26",
        "lsrs r4, r4, #26",
        "muls r4, r6, r4",
        "adds r4, #32",
        "lsrs r4, r4, #6",
        "adds r4, r4, r7",
        ".endm",
        // Gives r4 the sign r5.
        ".macro APPLY_SIGN",
        "eors r4, r5",
        "subs r4, r4, r5",
        ".endm",
        // Clamps r4, 0 to 2^15, to 2^15 - 1.
        ".macro CLAMP_BELOW_ONE",
        "lsrs r6, r4, #15",
        "subs r4, r4, r6",
        ".endm",
        // r4 = the gate with this index, whose parameters are at this offset.
        ".macro GATE gate, params",
        "ldr r4, [r2, #(\\gate * 16)]",
        "ldr r5, [r0, #(\\params + {bias})]",
        "adds r4, r4, r5",
        "ldr r5, [r0, #(\\params + {token_scale})]",
        "ldrb r6, [r1, #(\\gate * 4)]",
        "sxtb r6, r6",
        "muls r5, r6, r5",
        "adds r4, r4, r5",
        "ldr r5, [r0, #(\\params + {scale})]",
        "REQUANTIZE",
        "TANH_MAGNITUDE",
        "APPLY_SIGN",
        "add r4, r9",
        "asrs r4, r4, #2",
        "CLAMP_BELOW_ONE",
        ".endm",
        push_callee_saved!(),
        "ldr r4, [sp, #36]",
        "mov r12, r4",
        "ldr r4, [sp, #40]",
        "mov r10, r4",
        "movs r4, #1",
        "lsls r5, r4, #14",
        "mov r8, r5",
        "lsls r4, r4, #16",
        "adds r4, #2",
        "mov r9, r4",
        "movs r4, #16",
        "adds r4, r2, r4",
        "mov lr, r4",
        // One unit. The reset gate.
        "1:",
        "GATE 1, {reset}",
        "mov r11, r4",
        // The candidate.
        "ldr r4, [r2, #32]",
        "ldr r5, [r0, #{candidate_bias}]",
        "adds r4, r4, r5",
        "ldr r5, [r0, #{candidate_scale}]",
        "REQUANTIZE",
        // A load's offset is at most 124.
        "movs r7, #{input_bias}",
        "adds r7, r0, r7",
        "ldr r5, [r7]",
        "ldr r6, [r7, #({candidate_token_scale} - {input_bias})]",
        "ldrb r7, [r1, #8]",
        "sxtb r7, r7",
        "muls r6, r7, r6",
        "adds r5, r5, r6",
        "mov r6, r11",
        "muls r4, r6, r4",
        "adds r4, r4, r5",
        "add r4, r8",
        "asrs r4, r4, #15",
        "SATURATE 16",
        "lsls r4, r4, #1",
        "SATURATE 16",
        "TANH_MAGNITUDE",
        "adds r4, #1",
        "lsrs r4, r4, #1",
        "CLAMP_BELOW_ONE",
        "APPLY_SIGN",
        "mov r11, r4",
        // The update gate.
        "GATE 0, {update}",
        // Between the candidate and the old state.
        "movs r5, #0",
        "ldrsh r5, [r3, r5]",
        "mov r6, r11",
        "subs r5, r5, r6",
        "muls r4, r5, r4",
        "add r4, r8",
        "asrs r4, r4, #15",
        "adds r4, r4, r6",
        "mov r5, r12",
        "strh r4, [r5]",
        "adds r5, #2",
        "mov r12, r5",
        "adds r0, #4",
        "adds r1, #1",
        "adds r2, #4",
        "adds r3, #2",
        "cmp r2, lr",
        "beq 2f",
        "b 1b",
        "2:",
        pop_callee_saved_and_return!(),
        ".purgem GATE",
        ".purgem CLAMP_BELOW_ONE",
        ".purgem APPLY_SIGN",
        ".purgem TANH_MAGNITUDE",
        ".purgem REQUANTIZE",
        ".purgem SATURATE",
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
