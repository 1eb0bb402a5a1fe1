//! Runs small quantized recurrent networks on microcontrollers.
//!
//! No heap, no panic, and no float where a text is computed. A [`Model`] borrows the bytes of a model file, a [`Generator`] or a
//! [`Session`] borrows [`ModelView::workspace_len`] words of memory, and the same model, seed and parameters give the same bytes on
//! every machine.
//!
//! ```
//! # use pipsqueak::encode::{ModelParams, as_bytes, encode};
//! # use pipsqueak::{Cell, RecurrentLayerConfig};
//! use pipsqueak::{Generator, Model, SamplingParams};
//!
//! # let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, 16)];
//! # let words = encode(&ModelParams::random_language_model(1, 20, 0, &layers)).unwrap();
//! # let bytes: &[u8] = as_bytes(&words);
//! let model = Model::parse(bytes)?; // `bytes`: a model file, aligned to 4 bytes
//! let mut workspace = [0; 64];
//! let mut generator = Generator::new(&model, &mut workspace, SamplingParams::default()).unwrap();
//! generator.prompt("ab").unwrap();
//! let text: Vec<u8> = generator.take(20).flatten().copied().collect();
//! assert_eq!(text.len(), 20);
//! # Ok::<(), pipsqueak::ModelError>(())
//! ```
//!
//! A model is a list of layers in execution order; each reads the results of earlier ones and runs in one [`Phase`](format::Phase):
//!
//! ```text
//! prompt -> vocabulary -> token -> [ source | begin | step | output ] -> logits -> sampler -> token -> text
//!           (text)                 (session: layers, kernels)                      (text)
//! ```
//!
//! What each layer computes is specified bit by bit in `pipsqueak_kernels`: `fixed` (rounding), `activation` (tables), `packed`
//! (weights), `generic` (products, gates, softmax) and `cell` (steps). `FORMAT.md` describes the bytes of a model file.
#![no_std]
#![cfg_attr(not(test), warn(clippy::float_arithmetic))]

#[cfg(any(test, feature = "encode"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!("models are little-endian and read in place: big-endian targets are not supported");

#[cfg(feature = "text")]
mod decimal;
#[cfg(any(test, feature = "encode"))]
pub mod encode;
mod feature;
pub mod format;
mod message;
mod model;
#[cfg(feature = "text")]
mod sampler;
pub mod selftest;
mod session;
#[cfg(feature = "text")]
mod text;
mod tokenization;
#[cfg(feature = "text")]
mod vocabulary;

pub use format::{
    Feature, Field, Inconsistency, ModelError, RecurrentLayerConfig, SpecialTokens, TrainingInfo,
};
pub use message::{Fragment, Message};
#[cfg(feature = "text")]
pub use model::Task;
pub use model::{Layer, Model, ModelView, Output};
pub use pipsqueak_kernels::cell::{Cell, RecurrentConfig};
pub use pipsqueak_kernels::dense::{Activation, DenseConfig};
pub use pipsqueak_kernels::dispatch::kernel_name;
pub use pipsqueak_kernels::packed::{
    GROUP_SIZE, INT4_RANGE, INT8_RANGE, RowFormat, WeightFormat, round_up,
};
pub use pipsqueak_kernels::{activation, fixed};
#[cfg(feature = "text")]
pub use rand_pcg::Pcg32;
#[cfg(feature = "text")]
pub use sampler::{Sampler, SamplingParams, Temperature, TemperatureError, argmax};
pub use session::{InputKind, Outputs, Session, SessionError, StepInput};
#[cfg(feature = "text")]
pub use text::conditioning::FeatureError;
#[cfg(feature = "text")]
pub use text::generator::{Generator, TextError};
#[cfg(feature = "text")]
pub use text::surprisal::surprisal_bits;
pub use tokenization::Tokenization;
#[cfg(feature = "text")]
pub use vocabulary::{OutOfVocabulary, Vocabulary};

/// Bytes of RAM of a [`Model`] without its layers on a 32-bit board, with features as they are by default; 68 fewer with `gru` and
/// `text` only.
pub const MODEL_RAM: usize = 156;
/// Bytes of RAM of each layer that a [`Model`] has room for on a 32-bit board.
pub const LAYER_RAM: usize = 40;
/// Bytes of RAM of a [`Generator`] on a 32-bit board, without its workspace.
pub const GENERATOR_RAM: usize = 56;

#[cfg(target_pointer_width = "32")]
const _: () = {
    assert!(size_of::<Model<'static, [Option<Layer<'static>>; 0]>>() <= MODEL_RAM);
    assert!(size_of::<Option<Layer<'static>>>() <= LAYER_RAM);
    #[cfg(feature = "text")]
    assert!(size_of::<Generator>() <= GENERATOR_RAM);
};
