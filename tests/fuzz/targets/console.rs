//! Fuzzes a board's console. The first byte of the input chooses the model; the others are typed.
#![no_main]

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{ErrorType as PinErrorType, OutputPin};
use embedded_io::{ErrorType, Read, ReadReady, Write};
use libfuzzer_sys::fuzz_target;
use pipsqueak::Image;
use pipsqueak::encode::{aligned, bytes};
use pipsqueak_firmware::{Board, serve};
use std::convert::Infallible;

/// Ctrl-C interrupts a text after this many bytes, because `length` accepts any number.
const MAX_TEXT: usize = 100;
const CTRL_C: u8 = 3;

/// One of each task, and a slot without a model.
static MODELS: [&[u8]; 6] = [
    include_bytes!("../../golden/table-after.pip"),
    include_bytes!("../../golden/words.pip"),
    include_bytes!("../../golden/translator.pip"),
    include_bytes!("../../golden/features.pip"),
    include_bytes!("../../golden/sensors.pip"),
    &[0xff; 64],
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, typed)) = data.split_first() else {
        return;
    };
    let words = aligned(MODELS[usize::from(choice) % MODELS.len()]);
    let slot = bytes(&words);
    let mut workspace = vec![0; Image::parse(slot).map_or(0, |image| image.workspace_len())];
    serve(Board {
        name: "fuzzed",
        clock_hz: 16_000_000,
        serial: Typist { typed, printed: 0 },
        delay: NoDelay,
        led: NoLed,
        slot,
        workspace: &mut workspace,
    });
});

/// Types the bytes, and Ctrl-C during a long text.
struct Typist<'a> {
    typed: &'a [u8],
    /// Bytes since the last one was read.
    printed: usize,
}

impl ErrorType for Typist<'_> {
    type Error = Infallible;
}

impl Read for Typist<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        if self.printed > MAX_TEXT {
            self.printed = 0;
            buffer[0] = CTRL_C;
            return Ok(1);
        }
        self.printed = 0;
        self.typed.read(&mut buffer[..1]).or(Ok(0))
    }
}

impl ReadReady for Typist<'_> {
    /// Types nothing during a text: the console drops it.
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.printed > MAX_TEXT)
    }
}

impl Write for Typist<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.printed += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}

struct NoLed;

impl PinErrorType for NoLed {
    type Error = Infallible;
}

impl OutputPin for NoLed {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
