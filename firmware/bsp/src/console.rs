//! The console's serial port: bytes out by a function of the board, bytes in by its receive interrupt.

use core::{cell::RefCell, convert::Infallible};

use cortex_m::{asm, interrupt::InterruptNumber, peripheral::NVIC};
use critical_section::Mutex;
use embedded_io::{ErrorType, Write};
use pipsqueak_firmware::{
    Input,
    receive::{Consumer, Producer, ReceiveBuffer, Received},
};

use crate::fault;

/// Size of the queue of received bytes. The slowest board computes 17 ms for a token, in which 200 bytes arrive.
const RECEIVE_BYTES: usize = 1024;

/// The end of the queue that belongs to the receive interrupt.
static PRODUCER: Mutex<RefCell<Option<Producer<'static>>>> = Mutex::new(RefCell::new(None));

/// Opens the console on a serial port that has been set up, its receive interrupt included. `send` waits until the port
/// takes a byte; it may be called from a fault handler. `interrupt` is the port's interrupt, whose handler calls
/// [`receive`]. Returns `None` after the first call.
pub fn open_console(
    send: fn(u8),
    interrupt: impl InterruptNumber,
) -> Option<(ConsoleInput, ConsoleOutput)> {
    let buffer = cortex_m::singleton!(
        : ReceiveBuffer<RECEIVE_BYTES> = ReceiveBuffer::new()
    )?;
    let (producer, consumer) = buffer.split();
    critical_section::with(|cs| PRODUCER.borrow(cs).replace(Some(producer)));
    fault::report_with(send);
    // SAFETY: no critical section is open, and the handler finds its end of the queue in place.
    unsafe { NVIC::unmask(interrupt) };
    Some((ConsoleInput(consumer), ConsoleOutput(send)))
}

/// Takes what the serial port has received: a byte, or `None` if it has lost one because nobody took it in time. For the
/// interrupt handler.
#[inline(never)]
pub fn receive(byte: Option<u8>) {
    critical_section::with(|cs| {
        // Always free and full: nothing else borrows it, and the interrupt is enabled after it has been set.
        let Ok(mut shared) = PRODUCER.borrow(cs).try_borrow_mut() else {
            return;
        };
        match (shared.as_mut(), byte) {
            (Some(producer), Some(byte)) => producer.push(byte),
            (Some(producer), None) => producer.lose_byte(),
            (None, _) => {}
        }
    });
}

/// The receiving side of the console.
pub struct ConsoleInput(Consumer<'static>);

impl Input for ConsoleInput {
    /// Sleeps while there is nothing to read.
    fn read(&mut self) -> Option<Received> {
        loop {
            // With interrupts off, a byte cannot arrive between the look and the sleep; its interrupt ends the sleep.
            let received = cortex_m::interrupt::free(|_| {
                let received = self.0.pop();
                if received.is_none() {
                    asm::wfi();
                }
                received
            });
            if received.is_some() {
                return received;
            }
        }
    }

    fn take_interrupt(&mut self) -> bool {
        self.0.take_interrupt()
    }

    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

/// The sending side of the console.
pub struct ConsoleOutput(fn(u8));

impl ErrorType for ConsoleOutput {
    type Error = Infallible;
}

impl Write for ConsoleOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        bytes.iter().for_each(|&byte| (self.0)(byte));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
