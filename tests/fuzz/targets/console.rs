//! Fuzzes a board's console. The first byte of the input chooses the model; the others are typed.
#![no_main]

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{ErrorType as PinErrorType, OutputPin};
use embedded_io::{ErrorType, Write};
use libfuzzer_sys::fuzz_target;
use pipsqueak::Model;
use pipsqueak::encode::{as_bytes, to_words};
use pipsqueak_firmware::receive::{Input, Received};
use pipsqueak_firmware::{Peripherals, StackUsage, run_until_eof};
use std::cell::Cell;
use std::convert::Infallible;

/// Ctrl-C interrupts a text after this many bytes, because `length` accepts any number.
const MAX_TEXT: usize = 100;

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
    let words = to_words(MODELS[usize::from(choice) % MODELS.len()]);
    let slot = as_bytes(&words);
    let mut workspace = vec![0; Model::parse(slot).map_or(0, |model| model.workspace_len())];
    let printed = Cell::new(0);
    run_until_eof(Peripherals {
        name: "fuzzed",
        clock_hz: 16_000_000,
        input: Typist {
            typed,
            printed: &printed,
        },
        output: Counter(&printed),
        delay: NoDelay,
        led: NoLed,
        slot,
        model_copy: &mut [],
        workspace: &mut workspace,
        stack: || StackUsage { peak: 0, size: 0 },
    });
});

/// Types the bytes, and Ctrl-C during a long text.
struct Typist<'a> {
    typed: &'a [u8],
    /// Bytes printed since the last one was typed.
    printed: &'a Cell<usize>,
}

impl Input for Typist<'_> {
    fn read(&mut self) -> Option<Received> {
        self.printed.set(0);
        let (&byte, rest) = self.typed.split_first()?;
        self.typed = rest;
        Some(Received::Byte(byte))
    }

    fn take_interrupt(&mut self) -> bool {
        let is_interrupted = self.is_interrupted();
        if is_interrupted {
            self.printed.set(0);
        }
        is_interrupted
    }

    fn is_interrupted(&self) -> bool {
        self.printed.get() > MAX_TEXT
    }
}

/// Counts what is printed.
struct Counter<'a>(&'a Cell<usize>);

impl ErrorType for Counter<'_> {
    type Error = Infallible;
}

impl Write for Counter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.set(self.0.get() + bytes.len());
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
