//! Must link: tries the test itself.
#![no_std]
#![no_main]

#[path = "../handler.rs"]
mod handler;

use core::hint::black_box;

#[unsafe(no_mangle)]
extern "C" fn _start() {
    let values: &[u8] = black_box(&[0; 4]);
    black_box(values.get(black_box(4)));
}
