//! Imports ONNX files as networks, and writes a network as one plain ONNX file. This is the only place that knows tract.
//!
//! There is one way in, for what other frameworks export as for what is written here. A graph is executed on what is not yet
//! known: constants are folded, arrays of what comes in are carried through every operator that moves elements (`array`,
//! `layout`), and what is computed of them becomes formulas in a normal form (`symbol`), among which cells are recognized
//! (`cell`), also in loops and in unrolled graphs (`recurrent`). The outputs' formulas are then traced back to the inputs
//! (`lower`). What is accepted is proved for every input; whatever is not understood is refused by name.
//!
//! What is written is one plain graph (opset 17, batch 1). For a language model:
//!
//! ```text
//! tokens int64 [1, T]      OneHot or Gather -> Transpose -> (GRU -> Squeeze) per layer -> Transpose -> MatMul -> Add
//! h0_K   float [1, 1, H]   state of layer K before the first token; c0_K the cell state of an LSTM
//! logits float [1, T, V]
//! hn_K   float [1, 1, H]   state of layer K after the last token; cn_K the cell state of an LSTM
//! ```
//!
//! Where a token has several steps, its id is repeated before (Reshape -> Tile -> Reshape), and of the last layer's states each
//! token's last is read (Reshape -> Slice).
//!
//! The file's metadata holds the tokens' texts under [`VOCABULARY_KEY`] (a JSON list of strings, by id) and the
//! model's origin under [`PROVENANCE_KEY`] (a JSON object with the fields of [`Provenance`](crate::network::Provenance)).

mod arithmetic;
mod array;
mod cell;
mod fault;
mod fold;
mod graph;
mod interface;
mod layout;
mod limits;
mod lower;
mod node;
mod read;
mod recurrent;
mod reference;
mod symbol;
mod tensor;
#[cfg(test)]
mod tests;
mod tokens;
mod write;

pub use limits::MAX_FILE_BYTES;
pub use read::{ReadError, read, read_beside};
pub use reference::{CheckError, Reference, ReferenceError, check};
pub use write::write;

/// Metadata key of the vocabulary: a JSON list of the tokens' texts, by id.
pub const VOCABULARY_KEY: &str = "pipsqueak.vocabulary";

/// Metadata key of what the tokens are: a JSON object with `level`, a name out of [`NAMES`](crate::data::tokenizer::TokenizerMetadata::NAMES), and the ids
/// of special tokens, `start`, `eos`, `pad` and `unk`. Left out where they are pieces and none is special.
pub const LEVEL_KEY: &str = "pipsqueak.level";

/// Metadata key of the texts of an encoder's tokens, as under [`VOCABULARY_KEY`].
pub const ENCODER_VOCABULARY_KEY: &str = "pipsqueak.encoder_vocabulary";

/// Metadata key of what an encoder's tokens are, as under [`LEVEL_KEY`].
pub const ENCODER_LEVEL_KEY: &str = "pipsqueak.encoder_level";

/// Metadata key of the group scales of 4-bit weights: a JSON object of [`TensorScales`](crate::network::TensorScales)s by
/// their tensors' names.
pub const GRIDS_KEY: &str = "pipsqueak.grids";

/// Metadata key of the group scales of an encoder, as under [`GRIDS_KEY`].
pub const ENCODER_GRIDS_KEY: &str = "pipsqueak.encoder_grids";

/// Metadata key of the outputs' texts where they are not the input's tokens, as under [`VOCABULARY_KEY`].
pub const LABELS_KEY: &str = "pipsqueak.labels";

/// Metadata key of the names of the feature vector's values: a JSON list of strings.
pub const CHANNELS_KEY: &str = "pipsqueak.channels";

/// Metadata key of the provenance: a JSON object with corpus, split, steps, seed and losses.
pub const PROVENANCE_KEY: &str = "pipsqueak.provenance";

/// The operator set that is written.
const OPSET: i64 = 17;
