//! The integer kernels of `pipsqueak`: what runs for every token.
//!
//! ```text
//! cell   dense   softmax      layers and sampling
//!         gemv                 rows of any format times a vector
//!       dispatch               chooses per kernel:
//!   arch  ->  generic          one architecture's kernel, or the specification
//!        packed                the layout of weights and parameters that they share
//!   activation   fixed         tables, fixed-point numbers
//! ```
//!
//! Every module uses only those below it. A kernel in `arch` gives the same bits as the function of the same name in
//! [`generic`]. `unsafe` and assembly are only there.
//!
//! It is a separate crate so that a firmware can compile the kernels for speed and the rest for size.
//! `pipsqueak` and its benchmarks are its only users, and the interface may change with it.
//!
//! # Features
//! `gru`, `lstm`, `rnn`: the recurrent cells. `int4`: 4-bit weights. All are on by default. `generic` compiles only the generic
//! kernels.
#![no_std]
#![cfg_attr(not(test), warn(clippy::float_arithmetic))]

#[cfg(test)]
extern crate std;

#[cfg(test)]
mod testing;

#[cfg(target_endian = "big")]
compile_error!("packed weights and activations are little-endian");

pub mod activation;
mod arch;
pub mod cell;
pub mod dense;
pub mod dispatch;
pub mod fixed;
pub mod gemv;
pub mod generic;
pub mod packed;
pub mod softmax;
