//! The arithmetic of `pipsqueak`: what runs for every token.
//!
//! It is a crate of its own so that a firmware can compile it for speed and all else for size.
//! `pipsqueak` is its only user, and the interface may change with it.
#![no_std]
#![cfg_attr(not(test), warn(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

pub mod activation;
pub mod cell;
pub mod draw;
pub mod fixed;
pub mod kernel;
pub mod rows;
