//! The least program that generates text with a GRU language model. It is linked, and the bytes of the runtime in it are counted;
//! it never runs.
#![no_std]
#![no_main]

use core::hint::black_box;
use pipsqueak::{Generator, Layer, Model, SamplingParams};

/// A model of at most three layers: tokens, a recurrent layer and an output layer.
type Small<'a> = Model<'a, [Option<Layer<'a>>; 3]>;

#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    let bytes: &'static [u8] = black_box(&[]);
    let mut workspace = [0; 256];
    if let Ok(model) = Small::parse_with_capacity(bytes)
        && let Ok(mut generator) =
            Generator::new(&model, black_box(&mut workspace), SamplingParams::default())
        && generator.prompt(black_box("ROMEO:")).is_ok()
    {
        for piece in generator {
            black_box(piece);
        }
    }
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
