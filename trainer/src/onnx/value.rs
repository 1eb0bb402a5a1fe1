//! What the values of a graph mean.

use super::read::show;
use std::fmt;
use tract_onnx::pb::TensorProto;

/// What a name stands for.
#[derive(Clone, Copy)]
pub enum Value<'m> {
    /// Known numbers.
    Constant(&'m TensorProto),
    /// The token ids, `[1, T]`.
    Tokens,
    /// A layer's state before the first token, `[1, 1, units]`.
    InitialState { layer: usize, units: usize },
    /// A layer's state after the last token, `[1, 1, units]`.
    FinalState { layer: usize },
    /// One vector for each token.
    Sequence { vectors: Vectors, axes: Axes },
}

/// The vectors of a sequence.
#[derive(Clone, Copy, PartialEq)]
pub enum Vectors {
    /// What goes into layer `layers`, or into the head after the last.
    Features { layers: usize, width: usize },
    /// The head's product, without bias.
    Product,
    /// The result.
    Logits,
}

/// The order of a sequence's dimensions. The batch is 1 everywhere.
#[derive(Clone, Copy, PartialEq)]
pub enum Axes {
    /// `[1, T, width]`
    BatchFirst,
    /// `[T, 1, width]`
    TimeFirst,
    /// `[T, 1, 1, width]`: time, direction, batch.
    WithDirection,
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Constant(tensor) => write!(f, "constant {}", show(&tensor.name)),
            Value::Tokens => write!(f, "the tokens [1, T]"),
            Value::InitialState { layer, .. } => write!(f, "the initial state of layer {layer}"),
            Value::FinalState { layer } => write!(f, "the last state of layer {layer}"),
            Value::Sequence { vectors, axes } => {
                match vectors {
                    Vectors::Features { layers: 0, .. } => write!(f, "the input of layer 0")?,
                    Vectors::Features { layers, .. } => {
                        write!(f, "the output of layer {}", layers - 1)?
                    }
                    Vectors::Product => write!(f, "the logits before their bias")?,
                    Vectors::Logits => write!(f, "the logits")?,
                }
                f.write_str(match axes {
                    Axes::BatchFirst => " as [1, T, width]",
                    Axes::TimeFirst => " as [T, 1, width]",
                    Axes::WithDirection => " as [T, 1, 1, width]",
                })
            }
        }
    }
}
