//! Runs small quantized recurrent networks on microcontrollers.
//!
//! No heap and no float where a text is computed: an [`Image`] borrows the model's bytes, a [`Generator`] borrows
//! [`Image::workspace_len`] words of memory, and the same image, seed and settings give the same bytes on every machine.
//!
//! ```
//! # use pipsqueak::{encode, Cell, Layer};
//! use pipsqueak::{Generator, Image, Settings};
//!
//! # let parts = encode::Parts::random(1, 20, 0, &[Layer::new(Cell::GruResetAfter, 16)]);
//! # let words = encode::encode(&parts).unwrap();
//! # let bytes: &[u8] = encode::bytes(&words);
//! let image = Image::parse(bytes)?; // `bytes`: a file, or the model's slot in a board's flash
//! let mut workspace = [0; 64];
//! let mut generator = Generator::new(&image, &mut workspace, Settings::default()).unwrap();
//! generator.prompt("ab").unwrap();
//! let text: Vec<u8> = generator.take(20).flatten().copied().collect();
//! assert_eq!(text.len(), 20);
//! # Ok::<(), pipsqueak::ImageError>(())
//! ```
//!
//! After [`Image::parse`] accepts an image, nothing that runs it can fail or panic. What it computes is specified bit by bit
//! in `pipsqueak_kernels`: `fixed` (rounding), `activation` (tables), `kernel` (products), `rows`, `cell` (steps), `draw`.
#![no_std]
#![cfg_attr(not(test), warn(clippy::float_arithmetic))]

#[cfg(any(test, feature = "encode"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!("images are little-endian and read in place: a big-endian target is not supported");

mod bits;
mod certificate;
mod decimal;
#[cfg(any(test, feature = "encode"))]
pub mod encode;
mod features;
mod generate;
pub mod image;
mod level;
mod sampler;
mod say;
mod score;
pub mod selftest;
mod state;
mod vocabulary;

pub use features::FeatureError;
pub use generate::{Generator, Settings, UnknownCharacter};
pub use image::{Cell, Image, ImageError, Layer, Provenance, Task};
pub use level::Level;
pub use pipsqueak_kernels::activation;
pub use pipsqueak_kernels::dispatch::kernel_name as kernel;
pub use pipsqueak_kernels::packed::{GROUP_SIZE as GROUP, INT4_RANGE as RANGE};
pub use rand_pcg::Pcg32;
pub use sampler::{Sampler, Temperature, TemperatureError};
pub use say::{Part, Say};
pub use score::surprise;
pub use state::{Feed, State, WorkspaceError};
pub use vocabulary::Vocabulary;

/// Fixed-point numbers.
pub mod fixed {
    pub use pipsqueak_kernels::fixed::{
        CANDIDATE_FRAC_BITS as CANDIDATE_BITS, CELL_FRAC_BITS as CELL_BITS, MAX_SHIFT,
        MULTIPLIER_LIMIT as MULTIPLIER_END, PRE_ACTIVATION_FRAC_BITS as PRE_ACTIVATION_BITS,
        QuantizedMultiplier as Scale, requantize, saturate_i16 as saturate,
    };
}

/// Bytes of RAM of a parsed [`Image`] on a 32-bit board.
pub const IMAGE_RAM: usize = 256;
/// Bytes of RAM of a [`Generator`] on a 32-bit board, its workspace apart.
pub const GENERATOR_RAM: usize = 72;

#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Image>() == IMAGE_RAM && size_of::<Generator>() == GENERATOR_RAM);
