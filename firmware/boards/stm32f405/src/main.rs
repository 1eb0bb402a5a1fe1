//! Pipsqueak on the STM32F405, with the 8 MHz crystal and the LED of Olimex's STM32-P405: console on USART2.
#![no_std]
#![no_main]

mod serial;

use panic_halt as _;
use pipsqueak_firmware::Board;
use serial::Serial;
use stm32f4xx_hal::{
    pac::{CorePeripherals, Peripherals, RCC},
    prelude::*,
    rcc::{Config, Rcc},
    serial::{Serial as Usart, config},
};

/// The crystal, in MHz.
const CRYSTAL_MHZ: u32 = 8;
/// How often to look whether the crystal swings: it takes 2 ms, that is 32,000 cycles of the clock of the start.
const CRYSTAL_PATIENCE: u32 = 100_000;
/// For the model's states.
const WORKSPACE_WORDS: usize = 32 * 1024 / 4;

#[cortex_m_rt::entry]
fn main() -> ! {
    let (Some(core), Some(peripherals), Some(workspace)) = (
        CorePeripherals::take(),
        Peripherals::take(),
        cortex_m::singleton!(: [u32; WORKSPACE_WORDS] = [0; WORKSPACE_WORDS]),
    ) else {
        unreachable!("main runs once")
    };
    let mut rcc = start_clock(peripherals.RCC);
    let port_a = peripherals.GPIOA.split(&mut rcc);
    let port_c = peripherals.GPIOC.split(&mut rcc);
    // Not USART1: the HAL resets what it starts, and QEMU 10 crashes on a reset of anything on its bus, APB2.
    let Ok(usart) = Usart::new(
        peripherals.USART2,
        (port_a.pa2, port_a.pa3),
        config::Config::default().baudrate(115_200.bps()),
        &mut rcc,
    ) else {
        unreachable!("the USART makes this rate from either clock")
    };

    pipsqueak_firmware::run(Board {
        name: "stm32f405",
        clock_hz: rcc.clocks.sysclk().raw(),
        serial: Serial(usart),
        delay: core.SYST.delay(&rcc.clocks),
        led: port_c.pc12.into_push_pull_output(),
        slot: model_slot(),
        workspace,
    })
}

/// 168 MHz from the crystal if it swings, or else the 16 MHz that the chip starts with.
fn start_clock(rcc: RCC) -> Rcc {
    rcc.cr().modify(|_, w| w.hseon().on());
    let swings = (0..CRYSTAL_PATIENCE).any(|_| rcc.cr().read().hserdy().is_ready());
    if swings {
        rcc.freeze(Config::hse(CRYSTAL_MHZ.MHz()).sysclk(168.MHz()))
    } else {
        rcc.cr().modify(|_, w| w.hseon().off());
        rcc.constrain()
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
