//! Pipsqueak on the STM32F405, with the 8 MHz crystal and the LED of Olimex's STM32-P405: console on USART2.
#![no_std]
#![no_main]

use stm32f4xx_hal::{
    interrupt,
    pac::{CorePeripherals, Interrupt, Peripherals, RCC, USART2, usart1::RegisterBlock},
    prelude::*,
    rcc::{Config, Rcc},
    serial::{Event, Serial, config},
};

include!(concat!(env!("OUT_DIR"), "/board.rs"));

/// The crystal, in MHz.
const CRYSTAL_MHZ: u32 = 8;
/// How often to look whether the crystal oscillates: that takes 2 ms, or 32,000 cycles of the clock after reset.
const HSE_STARTUP_POLLS: u32 = 100_000;

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
    // Not USART1: the HAL resets a peripheral before it starts it, and QEMU 10 crashes on a reset on the bus APB2.
    let Ok(mut usart) = Serial::<_, u8>::new(
        peripherals.USART2,
        (port_a.pa2, port_a.pa3),
        config::Config::default().baudrate(115_200.bps()),
        &mut rcc,
    ) else {
        unreachable!("the USART generates this rate from either clock")
    };
    usart.listen(Event::RxNotEmpty);
    let Some((input, output)) = pipsqueak_bsp::open_console(send, Interrupt::USART2) else {
        unreachable!("main runs once")
    };

    pipsqueak_firmware::run(pipsqueak_firmware::Peripherals {
        name: NAME,
        clock_hz: rcc.clocks.sysclk().raw(),
        input,
        output,
        delay: core.SYST.delay(&rcc.clocks),
        led: port_c.pc12.into_push_pull_output(),
        slot: pipsqueak_bsp::model_slot(),
        model_copy: &mut [],
        workspace,
        stack: pipsqueak_bsp::stack_usage,
    })
}

/// 168 MHz from the crystal if it oscillates, else the 16 MHz of the internal oscillator.
fn start_clock(rcc: RCC) -> Rcc {
    rcc.cr().modify(|_, w| w.hseon().on());
    let oscillates = (0..HSE_STARTUP_POLLS).any(|_| rcc.cr().read().hserdy().is_ready());
    if oscillates {
        rcc.freeze(Config::hse(CRYSTAL_MHZ.MHz()).sysclk(168.MHz()))
    } else {
        rcc.cr().modify(|_, w| w.hseon().off());
        rcc.constrain()
    }
}

/// The registers of the USART.
fn usart() -> &'static RegisterBlock {
    // SAFETY: the address is that of the registers, and each is read and written as a whole. The HAL has set the USART up
    // and is not used afterwards; only `send` writes the data register, and only the interrupt handler reads it.
    unsafe { &*USART2::ptr() }
}

/// Sends a byte as soon as the transmitter takes it.
fn send(byte: u8) {
    while usart().sr().read().txe().bit_is_clear() {}
    usart().dr().write(|w| w.dr().set(byte.into()));
}

#[interrupt]
fn USART2() {
    loop {
        // Reading the status and then the data clears both flags.
        let status = usart().sr().read();
        let (received, overrun) = (status.rxne().bit_is_set(), status.ore().bit_is_set());
        if !received && !overrun {
            return;
        }
        let byte = usart().dr().read().dr().bits() as u8;
        if received {
            pipsqueak_bsp::receive(Some(byte));
        }
        // The byte is good; bytes after it were lost.
        if overrun {
            pipsqueak_bsp::receive(None);
        }
    }
}
