//! Start and end of the program, and its peak stack.
//!
//! The emulator loads the program and its plugin watches the program counter. Only the stack is set up, and there is no console.
//! The plugin knows the addresses of [`failure`], [`finish`] and [`peak_stack`]; their bodies differ, because the linker merges
//! equal functions.

use core::arch::{asm, global_asm};

#[cfg(target_arch = "arm")]
global_asm!(
    ".section .start, \"ax\"",
    ".word _stack_top",
    ".word start",
    ".global start",
    ".type start, %function",
    ".thumb_func",
    "start:",
    "ldr r0, =_stack_top",
    "mov sp, r0",
    "bl enable_fpu",
    "bl main",
    ".pool",
    ".previous",
);

#[cfg(target_arch = "riscv32")]
global_asm!(
    ".section .start, \"ax\"",
    ".global start",
    "start:",
    "la sp, _stack_top",
    "call main",
    ".previous",
);

/// Enables the FPU, where the core has one: the compiler uses its registers.
#[cfg(target_arch = "arm")]
#[unsafe(no_mangle)]
extern "C" fn enable_fpu() {
    #[cfg(target_abi = "eabihf")]
    // SAFETY: the coprocessor access register of every core with an FPU; full access for CP10 and CP11.
    unsafe {
        (0xE000_ED88 as *mut u32).write_volatile(0xf << 20);
        asm!("dsb", "isb");
    }
}

/// The end of the program: the emulator stops here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn finish() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// A panic: the counts are invalid.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn failure() {
    core::hint::black_box("failure");
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    failure();
    finish()
}

/// Reports one byte of stack by being called: the plugin counts the calls.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn peak_stack() {
    core::hint::black_box("peak_stack");
}

unsafe extern "C" {
    static mut _stack_low: u32;
}

const PAINT: u32 = 0x5aa5_c33c;

#[inline(always)]
fn stack_pointer() -> *mut u32 {
    let pointer: *mut u32;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "arm")]
        asm!("mov {}, sp", out(reg) pointer);
        #[cfg(target_arch = "riscv32")]
        asm!("mv {}, sp", out(reg) pointer);
    };
    pointer
}

/// Paints the stack below the caller.
#[inline(never)]
pub fn paint_stack() {
    let (mut word, end) = (&raw mut _stack_low, stack_pointer());
    while word < end {
        // SAFETY: below the stack pointer of the only thread nothing lives, and no interrupt is on.
        unsafe {
            word.write_volatile(PAINT);
            word = word.add(1);
        }
    }
}

/// Reports how far the stack has grown below the caller since it was painted.
#[inline(never)]
pub fn report_peak_stack() {
    let (mut word, end) = (&raw mut _stack_low, stack_pointer());
    // SAFETY: as above.
    while word < end && unsafe { word.read_volatile() } == PAINT {
        word = word.wrapping_add(1);
    }
    for _ in 0..end.addr() - word.addr() {
        peak_stack();
    }
}
