//! Memory that the linker script has set aside.

use core::slice;

use pipsqueak_firmware::StackUsage;

unsafe extern "C" {
    static _model_start: u32;
    static _model_end: u32;
    static _stack_end: u32;
    static _stack_start: u32;
    #[cfg(not(feature = "panic-messages"))]
    static __stext: u32;
    #[cfg(not(feature = "panic-messages"))]
    static __etext: u32;
}

/// The model's slot in flash.
#[must_use]
pub fn model_slot() -> &'static [u8] {
    let (start, end) = (&raw const _model_start, &raw const _model_end);
    // SAFETY: memory.x makes these symbols the ends of a region of flash that holds nothing of the program. Flash is always
    // readable, any byte is a u8, and nothing writes there while the program runs.
    unsafe { slice::from_raw_parts(start.cast(), end.addr() - start.addr()) }
}

/// Measures the stack: its first word, from the low end, that is not as it was painted at the start has been used.
#[must_use]
pub fn stack_usage() -> StackUsage {
    let (end, start) = (&raw const _stack_end, &raw const _stack_start);
    let size = start.addr() - end.addr();
    let words = size / size_of::<u32>();
    let is_painted = |&index: &usize| {
        // SAFETY: memory.x makes these symbols the ends of the stack, aligned RAM that is always readable. The program's
        // own writes to the stack do not happen at the same time; the read is volatile because no reference to this memory
        // may exist.
        let word = unsafe { end.add(index).read_volatile() };
        word == cortex_m_rt::STACK_PAINT_VALUE
    };
    let painted = (0..words).take_while(is_painted).count();
    let peak = size - painted * size_of::<u32>();
    StackUsage { peak, size }
}

/// The innermost words on the stack that look like return addresses: odd addresses within the code. 0 where there are no
/// more.
#[cfg(not(feature = "panic-messages"))]
pub(crate) fn return_addresses<const N: usize>() -> [u32; N] {
    let code = (&raw const __stext).addr()..(&raw const __etext).addr();
    let start = &raw const _stack_start;
    let mut next = cortex_m::register::msp::read() as *const u32;
    let mut found = [0; N];
    for address in &mut found {
        while next < start && *address == 0 {
            // SAFETY: from the stack pointer to its start, the stack is aligned RAM that is always readable.
            let word = unsafe { next.read_volatile() };
            if word & 1 == 1 && code.contains(&(word as usize)) {
                *address = word;
            }
            next = next.wrapping_add(1);
        }
    }
    found
}
