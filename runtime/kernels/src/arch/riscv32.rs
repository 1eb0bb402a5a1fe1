//! The kernels of 32-bit RISC-V with the M extension. Activations are loaded once for three panels.
//!
//! Every kernel follows the calling convention: arguments in a0 to a5, s0 to s11 are preserved.
use core::arch::naked_asm;

pub(super) const NAME: &str = "RV32IM";

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
    // | a0 | `out` of the panels |
    // | a1, a6, a7 | the next weights of three panels; of one panel a1 |
    // | a2, a3 | `x`, `end` |
    // | a4 | minus the correction, what even rows start with |
    // | a5 | the panels left, less 3 |
    // | t0, t1 | the next activations, one of them |
    // | t2 to t4 | weights and products |
    // | t5 | bytes of a panel |
    // | s0 to s3, s4 to s7, s8 to s11 | S and B of rows 0 and 1, then of rows 2 and 3, of three panels (see `packed`) |
    // | t5, t6, a6, a7 | the same of one panel |
    //
    // The stack frame of 48 bytes has s0 to s11. Halfwords are loaded, not shifted out of words: 12 instructions for four
    // weights instead of 14.
    naked_asm!(
        // In a naked function the assembler does not know the target's extensions.
        ".option push",
        ".option arch, +m",
        #[cfg(target_feature = "c")]
        ".option arch, +c",
        // Four rows of a panel times one column, t1.
        ".macro MAC_COLUMN panel, at, s0, b0, s1, b1",
        "lh t2, \\at(\\panel)",
        "lh t3, \\at + 4(\\panel)",
        "srai t4, t2, 8",
        "mul t2, t2, t1",
        "mul t4, t4, t1",
        "add \\s0, \\s0, t2",
        "srai t2, t3, 8",
        "add \\b0, \\b0, t4",
        "mul t3, t3, t1",
        "mul t2, t2, t1",
        "add \\s1, \\s1, t3",
        "add \\b1, \\b1, t2",
        ".endm",
        ".macro MAC_THREE_PANELS x, at",
        "lh t1, \\x(t0)",
        "MAC_COLUMN a1, \\at, s0, s1, s2, s3",
        "MAC_COLUMN a6, \\at, s4, s5, s6, s7",
        "MAC_COLUMN a7, \\at, s8, s9, s10, s11",
        ".endm",
        ".macro MAC_ONE_PANEL x, at",
        "lh t1, \\x(t0)",
        "MAC_COLUMN a1, \\at, t5, t6, a6, a7",
        ".endm",
        ".macro INIT_SUMS s0, b0, s1, b1",
        "mv \\s0, a4",
        "li \\b0, 0",
        "mv \\s1, a4",
        "li \\b1, 0",
        ".endm",
        ".macro STORE_ROWS at, s0, b0, s1, b1",
        "slli t1, \\b0, 8",
        "slli t2, \\b1, 8",
        "sub \\s0, \\s0, t1",
        "sub \\s1, \\s1, t2",
        "sw \\s0, \\at(a0)",
        "sw \\b0, \\at + 4(a0)",
        "sw \\s1, \\at + 8(a0)",
        "sw \\b1, \\at + 12(a0)",
        ".endm",
        "neg a4, a4",
        "addi a5, a5, -3",
        "bltz a5, 4f",
        "addi sp, sp, -48",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\n, 4 * \\n(sp)",
        ".endr",
        // Bytes of a panel.
        "sub t5, a3, a2",
        "slli t5, t5, 1",
        "2:",
        "add a6, a1, t5",
        "add a7, a6, t5",
        "mv t0, a2",
        "INIT_SUMS s0, s1, s2, s3",
        "INIT_SUMS s4, s5, s6, s7",
        "INIT_SUMS s8, s9, s10, s11",
        "3:",
        "MAC_THREE_PANELS 0, 0",
        "MAC_THREE_PANELS 2, 2",
        "MAC_THREE_PANELS 4, 8",
        "MAC_THREE_PANELS 6, 10",
        "addi t0, t0, 8",
        "addi a1, a1, 16",
        "addi a6, a6, 16",
        "addi a7, a7, 16",
        "bne t0, a3, 3b",
        "STORE_ROWS 0, s0, s1, s2, s3",
        "STORE_ROWS 16, s4, s5, s6, s7",
        "STORE_ROWS 32, s8, s9, s10, s11",
        "mv a1, a7",
        "addi a0, a0, 48",
        "addi a5, a5, -3",
        "bgez a5, 2b",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\n, 4 * \\n(sp)",
        ".endr",
        "addi sp, sp, 48",
        // The panels that are left.
        "4:",
        "addi a5, a5, 3",
        "beqz a5, 7f",
        "5:",
        "mv t0, a2",
        "INIT_SUMS t5, t6, a6, a7",
        "6:",
        "MAC_ONE_PANEL 0, 0",
        "MAC_ONE_PANEL 2, 2",
        "MAC_ONE_PANEL 4, 8",
        "MAC_ONE_PANEL 6, 10",
        "addi t0, t0, 8",
        "addi a1, a1, 16",
        "bne t0, a3, 6b",
        "STORE_ROWS 0, t5, t6, a6, a7",
        "addi a0, a0, 16",
        "addi a5, a5, -1",
        "bnez a5, 5b",
        "7:",
        "ret",
        ".purgem MAC_COLUMN",
        ".purgem MAC_THREE_PANELS",
        ".purgem MAC_ONE_PANEL",
        ".purgem INIT_SUMS",
        ".purgem STORE_ROWS",
        ".option pop",
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
    // | register | content |
    // |---|---|
    // | a0, a4 | `out` of the panels, `out_end` |
    // | a1, a6, a7 | the next weights of three panels; of one panel a1 |
    // | a2, a3 | `x`, `end` |
    // | a5 | bytes of a panel |
    // | t0, t1 | the next activations, one of them |
    // | t2, t3 | a column's weights, a product |
    // | t4 | the sum of the group's activations |
    // | t5, t6 | the end and the bytes of the group's activations |
    // | s0 to s3, s4 to s7, s8 to s11 | P_0 to P_3 of three panels (see `packed`) |
    //
    // The stack frame of 48 bytes has s0 to s11.
    naked_asm!(
        ".option push",
        ".option arch, +m",
        #[cfg(target_feature = "c")]
        ".option arch, +c",
        // Where the group that starts at t0 ends.
        ".macro START_GROUP",
        "addi t6, t0, 64",
        "mv t5, a3",
        "bgeu t6, a3, 8f",
        "mv t5, t6",
        "8:",
        "sub t6, t5, t0",
        "li t4, 0",
        ".endm",
        // Skips the scales.
        ".macro INIT_SUMS panel, p0, p1, p2, p3",
        "addi \\panel, \\panel, 4",
        ".irp p, \\p0, \\p1, \\p2, \\p3",
        "li \\p, 0",
        ".endr",
        ".endm",
        // Four rows of a panel times one column, t1.
        ".macro MAC_COLUMN panel, at, p0, p1, p2, p3",
        "lh t2, \\at(\\panel)",
        "mul t3, t2, t1",
        "add \\p0, \\p0, t3",
        "srai t3, t2, 4",
        "mul t3, t3, t1",
        "add \\p1, \\p1, t3",
        "srai t3, t2, 8",
        "mul t3, t3, t1",
        "add \\p2, \\p2, t3",
        "srai t2, t2, 12",
        "mul t2, t2, t1",
        "add \\p3, \\p3, t2",
        ".endm",
        // Adds a row's sum times its scale, a byte before t1.
        ".macro ADD_SCALED at, byte, p",
        "lbu t2, \\byte(t1)",
        "lw t3, \\at(a0)",
        "mul t2, t2, \\p",
        "add t3, t3, t2",
        "sw t3, \\at(a0)",
        ".endm",
        // Adds the rows of a panel's group; t4 is 8 times the sum of the activations.
        ".macro ADD_ROWS panel, at, p0, p1, p2, p3",
        "sub t1, \\panel, t6",
        "slli t2, \\p1, 4",
        "slli t3, \\p2, 4",
        "sub \\p0, \\p0, t2",
        "sub \\p1, \\p1, t3",
        "slli t2, \\p3, 4",
        "sub \\p2, \\p2, t2",
        "sub \\p0, \\p0, t4",
        "sub \\p1, \\p1, t4",
        "sub \\p2, \\p2, t4",
        "ADD_SCALED \\at, -4, \\p0",
        "ADD_SCALED \\at + 4, -3, \\p1",
        "ADD_SCALED \\at + 8, -2, \\p2",
        "ADD_SCALED \\at + 12, -1, \\p3",
        ".endm",
        "addi sp, sp, -48",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "sw s\\n, 4 * \\n(sp)",
        ".endr",
        "slli a5, a5, 2",
        // Three panels, group by group.
        "1:",
        "sub t1, a4, a0",
        "li t2, 48",
        "bltu t1, t2, 4f",
        "add a6, a1, a5",
        "add a7, a6, a5",
        "mv t0, a2",
        "2:",
        "START_GROUP",
        "INIT_SUMS a1, s0, s1, s2, s3",
        "INIT_SUMS a6, s4, s5, s6, s7",
        "INIT_SUMS a7, s8, s9, s10, s11",
        "3:",
        ".irp at, 0, 2, 4, 6",
        "lh t1, \\at(t0)",
        "add t4, t4, t1",
        "MAC_COLUMN a1, \\at, s0, s1, s2, s3",
        "MAC_COLUMN a6, \\at, s4, s5, s6, s7",
        "MAC_COLUMN a7, \\at, s8, s9, s10, s11",
        ".endr",
        "addi t0, t0, 8",
        "addi a1, a1, 8",
        "addi a6, a6, 8",
        "addi a7, a7, 8",
        "bne t0, t5, 3b",
        "slli t4, t4, 3",
        "ADD_ROWS a1, 0, s0, s1, s2, s3",
        "ADD_ROWS a6, 16, s4, s5, s6, s7",
        "ADD_ROWS a7, 32, s8, s9, s10, s11",
        "bne t0, a3, 2b",
        "mv a1, a7",
        "addi a0, a0, 48",
        "j 1b",
        // The panels that are left.
        "4:",
        "beq a0, a4, 7f",
        "mv t0, a2",
        "5:",
        "START_GROUP",
        "INIT_SUMS a1, s0, s1, s2, s3",
        "6:",
        ".irp at, 0, 2, 4, 6",
        "lh t1, \\at(t0)",
        "add t4, t4, t1",
        "MAC_COLUMN a1, \\at, s0, s1, s2, s3",
        ".endr",
        "addi t0, t0, 8",
        "addi a1, a1, 8",
        "bne t0, t5, 6b",
        "slli t4, t4, 3",
        "ADD_ROWS a1, 0, s0, s1, s2, s3",
        "bne t0, a3, 5b",
        "addi a0, a0, 16",
        "j 4b",
        "7:",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "lw s\\n, 4 * \\n(sp)",
        ".endr",
        "addi sp, sp, 48",
        "ret",
        ".purgem START_GROUP",
        ".purgem INIT_SUMS",
        ".purgem MAC_COLUMN",
        ".purgem ADD_SCALED",
        ".purgem ADD_ROWS",
        ".option pop",
    )
}
