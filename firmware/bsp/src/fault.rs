//! A panic, a hard fault or an unexpected interrupt prints a message on the console, and the core stops.

use core::{cell::Cell, panic::PanicInfo};

use cortex_m::asm;
use cortex_m_rt::{ExceptionFrame, exception};
use critical_section::Mutex;

/// Sends a byte to the console.
type SendByte = fn(u8);

/// `None` until the console is open.
static SEND: Mutex<Cell<Option<SendByte>>> = Mutex::new(Cell::new(None));

/// Has reports sent with `send`. Before, there is no port to send them to.
pub(crate) fn report_with(send: SendByte) {
    critical_section::with(|cs| SEND.borrow(cs).set(Some(send)));
}

const CALLED_FROM: &str = ", called from ";

/// A part of a report. Numbers are formatted without `core::fmt`, which is large and might panic again.
enum Part<'a> {
    Text(&'a str),
    Hex(u32),
    /// Below 100,000.
    #[cfg(feature = "panic-messages")]
    Decimal(u32),
}

/// Prints a report and stops the core.
fn stop(report: &[Part]) -> ! {
    cortex_m::interrupt::disable();
    if let Some(send) = critical_section::with(|cs| SEND.borrow(cs).get()) {
        let print = |text: &str| text.bytes().for_each(send);
        print("\r\n\x07");
        for part in report {
            match *part {
                Part::Text(text) => print(text),
                Part::Hex(number) => (0..8)
                    .rev()
                    .map(|place| (number >> (4 * place)) as usize & 15)
                    .for_each(|digit| send(b"0123456789ABCDEF"[digit])),
                #[cfg(feature = "panic-messages")]
                Part::Decimal(number) => [10_000, 1000, 100, 10, 1]
                    .map(|one| number / one)
                    .iter()
                    .skip_while(|&&rest| rest == 0)
                    .for_each(|rest| send(b'0' + (rest % 10) as u8)),
            }
        }
        print(". Stopped\r\n");
    }
    loop {
        asm::wfi();
    }
}

/// Prints the message, if it is a constant, and its place in the source.
#[cfg(feature = "panic-messages")]
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let message = info.message().as_str().unwrap_or("");
    match info.location() {
        Some(location) => stop(&[
            Part::Text("PANIC at "),
            Part::Text(location.file()),
            Part::Text(":"),
            Part::Decimal(location.line()),
            Part::Text(": "),
            Part::Text(message),
        ]),
        None => stop(&[Part::Text("PANIC: "), Part::Text(message)]),
    }
}

/// Prints the return addresses on the stack, the innermost first: `addr2line` finds the places in the source. The messages
/// and the names of source files would take 5 KB of flash.
#[cfg(not(feature = "panic-messages"))]
#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    let [a, b, c, d] = crate::memory::return_addresses();
    stop(&[
        Part::Text("PANIC"),
        Part::Text(CALLED_FROM),
        Part::Hex(a),
        Part::Text(" "),
        Part::Hex(b),
        Part::Text(" "),
        Part::Hex(c),
        Part::Text(" "),
        Part::Hex(d),
    ])
}

/// Reports an access outside memory or an undefined instruction. After a stack overflow the core has no stack for the report
/// and locks up.
// SAFETY: the core calls it after a fault, and it does not return.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    stop(&[
        Part::Text("HARD FAULT at "),
        Part::Hex(frame.pc()),
        Part::Text(CALLED_FROM),
        Part::Hex(frame.lr()),
    ])
}

/// Reports an interrupt without a handler.
// SAFETY: it does not return.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    stop(&[Part::Text("INTERRUPT "), Part::Hex(number as u32)])
}
