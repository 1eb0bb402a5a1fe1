//! The registers that a caller expects back.

/// Pushes the registers that a caller expects back: 36 bytes.
macro_rules! push_callee_saved {
    () => {
        "push {{r4, r5, r6, r7, lr}}
        mov r4, r8
        mov r5, r9
        mov r6, r10
        mov r7, r11
        push {{r4, r5, r6, r7}}"
    };
}

/// Pops them and returns.
macro_rules! pop_callee_saved_and_return {
    () => {
        "pop {{r4, r5, r6, r7}}
        mov r8, r4
        mov r9, r5
        mov r10, r6
        mov r11, r7
        pop {{r4, r5, r6, r7, pc}}"
    };
}

pub(super) use {pop_callee_saved_and_return, push_callee_saved};
