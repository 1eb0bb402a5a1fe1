//! What the boards with a Cortex-M share: the queue behind the serial port's receive interrupt, the report of a panic or a
//! fault, the model's slot, and the measured stack.
//!
//! A board sets its serial port up, calls [`open_console`], and has its receive interrupt call [`receive`] for each byte.
//! With this crate linked, a panic or a fault prints what happened and where on the console, and stops.
#![no_std]

mod console;
mod fault;
mod memory;

pub use console::{ConsoleInput, ConsoleOutput, open_console, receive};
pub use memory::{model_slot, stack_usage};
