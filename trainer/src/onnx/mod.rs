//! The canonical network as an ONNX file, and back. This is the only place that knows tract.
//!
//! What is written, and what is read, is one plain graph (opset 17, batch 1, any length `T`):
//!
//! ```text
//! tokens int64 [1, T]      OneHot or Gather -> Transpose -> (GRU -> Squeeze) per layer -> Transpose -> MatMul -> Add
//! h0_K   float [1, 1, H]   state of layer K before the first token
//! logits float [1, T, V]
//! hn_K   float [1, 1, H]   state of layer K after the last token
//! ```
//!
//! The file's metadata holds the tokens' texts under [`VOCABULARY_KEY`] (a JSON list of strings, by id) and the
//! model's origin under [`PROVENANCE_KEY`] (a JSON object with the fields of [`Provenance`](crate::network::Provenance)).

mod graph;
mod interface;
mod limits;
mod node;
mod read;
mod reference;
mod tensor;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use limits::MAX_FILE_BYTES;
pub use read::{ReadError, read};
pub use reference::{CheckError, Reference, ReferenceError, check};
pub use write::write;

/// Metadata key of the vocabulary: a JSON list of the tokens' texts, by id.
pub const VOCABULARY_KEY: &str = "pipsqueak.vocabulary";

/// Metadata key of the provenance: a JSON object with corpus, split, steps, seed and losses.
pub const PROVENANCE_KEY: &str = "pipsqueak.provenance";

/// The operator set that is written.
const OPSET: i64 = 17;
