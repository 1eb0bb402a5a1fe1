//! Pipsqueak on the Raspberry Pi Pico: console on UART0 (GPIO 0 and 1), activity on the green LED.
#![no_std]
#![no_main]

use rp2040_hal::{
    Clock, Sio, Timer, Watchdog,
    clocks::init_clocks_and_plls,
    fugit::RateExtU32,
    gpio::{FunctionUart, Pins},
    pac::{Interrupt, Peripherals, UART0, interrupt, uart0::RegisterBlock},
    uart::{DataBits, StopBits, UartConfig, UartPeripheral},
};

include!(concat!(env!("OUT_DIR"), "/board.rs"));

/// The second stage of the boot, which makes the flash readable as memory.
#[unsafe(link_section = ".boot2")]
#[used]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

/// The crystal, in Hz.
const CRYSTAL_HZ: u32 = 12_000_000;

#[rp2040_hal::entry]
fn main() -> ! {
    let (Some(mut peripherals), Some(workspace), Some(model_copy)) = (
        Peripherals::take(),
        cortex_m::singleton!(: [u32; WORKSPACE_WORDS] = [0; WORKSPACE_WORDS]),
        // The flash is a separate chip, and reading it stalls the core.
        cortex_m::singleton!(: [u32; MODEL_COPY_WORDS] = [0; MODEL_COPY_WORDS]),
    ) else {
        unreachable!("main runs once")
    };
    let mut watchdog = Watchdog::new(peripherals.WATCHDOG);
    let Ok(clocks) = init_clocks_and_plls(
        CRYSTAL_HZ,
        peripherals.XOSC,
        peripherals.CLOCKS,
        peripherals.PLL_SYS,
        peripherals.PLL_USB,
        &mut peripherals.RESETS,
        &mut watchdog,
    ) else {
        unreachable!("the PLLs generate these clocks from this crystal")
    };

    let sio = Sio::new(peripherals.SIO);
    let pins = Pins::new(
        peripherals.IO_BANK0,
        peripherals.PADS_BANK0,
        sio.gpio_bank0,
        &mut peripherals.RESETS,
    );
    let uart_pins = (
        pins.gpio0.into_function::<FunctionUart>(),
        pins.gpio1.into_function::<FunctionUart>(),
    );
    let config = UartConfig::new(115_200.Hz(), DataBits::Eight, None, StopBits::One);
    let Ok(mut port) = UartPeripheral::new(peripherals.UART0, uart_pins, &mut peripherals.RESETS)
        .enable(config, clocks.peripheral_clock.freq())
    else {
        unreachable!("the UART generates this rate from this clock")
    };
    port.enable_rx_interrupt();
    let Some((input, output)) = pipsqueak_bsp::open_console(send, Interrupt::UART0_IRQ) else {
        unreachable!("main runs once")
    };

    pipsqueak_firmware::run(pipsqueak_firmware::Peripherals {
        name: NAME,
        clock_hz: clocks.system_clock.freq().to_Hz(),
        input,
        output,
        delay: Timer::new(peripherals.TIMER, &mut peripherals.RESETS, &clocks),
        led: pins.gpio25.into_push_pull_output(),
        slot: pipsqueak_bsp::model_slot(),
        model_copy: bytemuck::cast_slice_mut(model_copy),
        workspace,
        stack: pipsqueak_bsp::stack_usage,
    })
}

/// The registers of the UART.
fn uart() -> &'static RegisterBlock {
    // SAFETY: the address is that of the registers, and each is read and written as a whole. The HAL has set the UART up and
    // is not used afterwards; only `send` writes the data register, and only the interrupt handler reads it.
    unsafe { &*UART0::ptr() }
}

/// Sends a byte as soon as the transmitter's queue has a place.
fn send(byte: u8) {
    while uart().uartfr().read().txff().bit_is_set() {}
    // SAFETY: any byte may be sent; the PAC does not know that the field is a whole byte.
    uart().uartdr().write(|w| unsafe { w.data().bits(byte) });
}

#[interrupt]
fn UART0_IRQ() {
    // Reading the last byte of the receiver's queue clears the interrupt.
    while uart().uartfr().read().rxfe().bit_is_clear() {
        let received = uart().uartdr().read();
        // Bytes were lost before this one.
        if received.oe().bit_is_set() {
            pipsqueak_bsp::receive(None);
        }
        pipsqueak_bsp::receive(Some(received.data().bits()));
    }
}
