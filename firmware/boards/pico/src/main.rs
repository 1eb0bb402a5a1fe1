//! Pipsqueak on the Raspberry Pi Pico: console on UART0 (GPIO 0 and 1), activity on the green LED.
#![no_std]
#![no_main]

use panic_halt as _;
use pipsqueak::Image;
use pipsqueak_firmware::Board;
use rp2040_hal::{
    Clock, Sio, Timer, Watchdog,
    clocks::init_clocks_and_plls,
    fugit::RateExtU32,
    gpio::{FunctionUart, Pins},
    pac::Peripherals,
    uart::{DataBits, StopBits, UartConfig, UartPeripheral},
};

/// The second stage of the boot, which makes the flash readable as memory.
#[unsafe(link_section = ".boot2")]
#[used]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

/// The crystal, in Hz.
const CRYSTAL_HZ: u32 = 12_000_000;
/// For the model's states.
const WORKSPACE_WORDS: usize = 32 * 1024 / 4;
/// For a copy of the model. The rest of the RAM, 32 KB, is the stack's.
const COPY_WORDS: usize = 192 * 1024 / 4;

#[rp2040_hal::entry]
fn main() -> ! {
    let (Some(mut peripherals), Some(workspace), Some(copy)) = (
        Peripherals::take(),
        cortex_m::singleton!(: [u32; WORKSPACE_WORDS] = [0; WORKSPACE_WORDS]),
        cortex_m::singleton!(: [u32; COPY_WORDS] = [0; COPY_WORDS]),
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
        unreachable!("the PLLs make these clocks from this crystal")
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
    let Ok(serial) = UartPeripheral::new(peripherals.UART0, uart_pins, &mut peripherals.RESETS)
        .enable(config, clocks.peripheral_clock.freq())
    else {
        unreachable!("the UART makes this rate from this clock")
    };

    pipsqueak_firmware::run(Board {
        name: "pico",
        clock_hz: clocks.system_clock.freq().to_Hz(),
        serial,
        delay: Timer::new(peripherals.TIMER, &mut peripherals.RESETS, &clocks),
        led: pins.gpio25.into_push_pull_output(),
        slot: copied(model_slot(), bytemuck::cast_slice_mut(copy)),
        workspace,
    })
}

/// The image in RAM, where it fits: the flash is a chip of its own, and reading it stalls the core.
fn copied(slot: &'static [u8], ram: &'static mut [u8]) -> &'static [u8] {
    let Ok(image) = Image::parse(slot) else {
        return slot;
    };
    match (slot.get(..image.len()), ram.get_mut(..image.len())) {
        (Some(image), Some(copy)) => {
            copy.copy_from_slice(image);
            copy
        }
        _ => slot,
    }
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
