//! Pipsqueak on the BBC micro:bit v1: console on the USB serial port, activity on the LED at the top left.
#![no_std]
#![no_main]

use nrf51_hal::{
    clocks::Clocks,
    gpio::{Level, p0},
    pac::{Interrupt, Peripherals, UART0, interrupt, uart0::RegisterBlock},
    timer::Timer,
    uart::{Baudrate, Parity, Pins, Uart},
};

include!(concat!(env!("OUT_DIR"), "/board.rs"));

/// How often to look for the transmitter's first event: twice the time of a byte at 115,200 baud are 2,800 cycles, and each
/// look takes at least 5.
const TRANSMITTER_POLLS: u32 = 600;

#[cortex_m_rt::entry]
fn main() -> ! {
    let (Some(peripherals), Some(workspace)) = (
        Peripherals::take(),
        cortex_m::singleton!(: [u32; WORKSPACE_WORDS] = [0; WORKSPACE_WORDS]),
    ) else {
        unreachable!("main runs once")
    };
    // The crystal: the internal oscillator is too coarse for a UART.
    Clocks::new(peripherals.CLOCK).enable_ext_hfosc();

    let port = p0::Parts::new(peripherals.GPIO);
    // The LED lights where its row is high and its column low.
    let _column = port.p0_04.into_push_pull_output(Level::Low);
    let row = port.p0_13.into_push_pull_output(Level::Low);
    let pins = Pins {
        txd: port.p0_24.into_push_pull_output(Level::High).degrade(),
        rxd: port.p0_25.into_floating_input().degrade(),
        cts: None,
        rts: None,
    };
    Uart::new(
        peripherals.UART0,
        pins,
        Parity::EXCLUDED,
        Baudrate::BAUD115200,
    );
    discard_first_event();
    uart().intenset.write(|w| w.rxdrdy().set());
    let Some((input, output)) = pipsqueak_bsp::open_console(send, Interrupt::UART0) else {
        unreachable!("main runs once")
    };

    pipsqueak_firmware::run(pipsqueak_firmware::Peripherals {
        name: NAME,
        clock_hz: 16_000_000,
        input,
        output,
        delay: Timer::new(peripherals.TIMER0),
        led: row,
        slot: pipsqueak_bsp::model_slot(),
        model_copy: &mut [],
        workspace,
        stack: pipsqueak_bsp::stack_usage,
    })
}

/// The registers of the UART.
fn uart() -> &'static RegisterBlock {
    // SAFETY: the address is that of the registers, and each is read and written as a whole. The HAL has set the UART up and
    // is not used afterwards: only `send` uses the registers of the transmitter, and only the interrupt handler those of the
    // receiver.
    unsafe { &*UART0::ptr() }
}

/// Waits for the event of the NUL that the HAL has sent while it set the UART up, so that it is not taken for the event of
/// the first byte of `send`. QEMU drops that byte: there, no event comes.
fn discard_first_event() {
    if (0..TRANSMITTER_POLLS).any(|_| uart().events_txdrdy.read().bits() != 0) {
        uart().events_txdrdy.reset();
    }
}

/// Sends a byte and waits until it has left.
fn send(byte: u8) {
    uart().txd.write(|w| w.txd().variant(byte));
    while uart().events_txdrdy.read().bits() == 0 {}
    uart().events_txdrdy.reset();
}

#[interrupt]
fn UART0() {
    let uart = uart();
    // The receiver holds up to 6 bytes. The event must be cleared before a byte is read: the next byte sets it again.
    while uart.events_rxdrdy.read().bits() != 0 {
        uart.events_rxdrdy.reset();
        pipsqueak_bsp::receive(Some(uart.rxd.read().rxd().bits()));
    }
    if uart.errorsrc.read().overrun().is_present() {
        uart.errorsrc.write(|w| w.overrun().clear());
        pipsqueak_bsp::receive(None);
    }
}
