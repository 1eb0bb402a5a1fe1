//! The arithmetic of `pipsqueak`: what runs for every token.
//!
//! It is a crate of its own so that a firmware can compile it otherwise than the rest, which runs once.
//! `pipsqueak` and its benchmarks are its only users, and the interface may change with it.
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
