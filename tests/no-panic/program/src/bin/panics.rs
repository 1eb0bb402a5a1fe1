//! Must not link: tries the test itself.
#![no_std]
#![no_main]

#[path = "../handler.rs"]
mod handler;

use core::hint::black_box;

#[unsafe(no_mangle)]
extern "C" fn _start() {
    out_of_bounds(black_box(&[0; 4]), black_box(4));
}

#[inline(never)]
fn out_of_bounds(values: &[u8], index: usize) {
    black_box(values[index]);
}
