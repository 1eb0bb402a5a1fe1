//! Pipsqueak on the BBC micro:bit v1: console on the USB serial port, activity on the LED at the top left.
#![no_std]
#![no_main]

use nrf51_hal::{
    clocks::Clocks,
    gpio::{Level, p0},
    pac::Peripherals,
    timer::Timer,
    uart::{Baudrate, Parity, Pins, Uart},
};
use panic_halt as _;
use pipsqueak_firmware::Board;

/// For the model's states; the other half of the RAM is the stack's.
const WORKSPACE_WORDS: usize = 8 * 1024 / 4;

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
    let serial = Uart::new(
        peripherals.UART0,
        pins,
        Parity::EXCLUDED,
        Baudrate::BAUD115200,
    );
    prime_transmitter();

    pipsqueak_firmware::run(Board {
        name: "microbit",
        clock_hz: 16_000_000,
        serial,
        delay: Timer::new(peripherals.TIMER0),
        led: row,
        slot: model_slot(),
        workspace,
    })
}

/// Sends a NUL. The HAL waits for the byte before to have left, and primes that with a byte of its own; but it does so
/// before the transmitter is started, and QEMU drops it.
fn prime_transmitter() {
    // SAFETY: the HAL owns the UART and is not in use meanwhile; any byte may be sent.
    unsafe { (*nrf51_hal::pac::UART0::ptr()).txd.write(|w| w.bits(0)) };
}

/// The model's slot.
fn model_slot() -> &'static [u8] {
    unsafe extern "C" {
        static _model_start: u8;
        static _model_end: u8;
    }
    let (start, end) = (&raw const _model_start, &raw const _model_end);
    // SAFETY: memory.x makes these symbols the ends of a region of flash that holds nothing of the program. Flash is
    // always readable, any byte is a u8, and nothing writes there while the program runs.
    unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) }
}
