//! Names, types, shapes and roles of what an ONNX file reads and gives.

use super::RecurrentCell;
use serde::{Deserialize, Serialize};

/// A state of a recurrent layer, by the number of the layer among the recurrent ones of its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateId {
    /// The number of the layer, from 0.
    pub layer: usize,
    /// The cell state rather than the hidden state.
    pub cell: bool,
}

/// What an array of a graph is to the network. Its values are in this order, whatever its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TensorRole {
    /// In: a token's id for every step.
    Tokens,
    /// In: a frame for every step, `[T][size]`.
    Frames,
    /// In: the conditioning features, `[size]`.
    Features,
    /// In: states before the first step; out: states after the last. One after the other, `[H]` each.
    States(Vec<StateId>),
    /// Out: the first output, `[T][V]` or `[V]`.
    Output,
    /// Out: another output, by its index from 1.
    OtherOutput(usize),
}

/// A size of an array.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Dim {
    /// This number.
    Fixed(usize),
    /// The number of sequences that are run side by side. They do not know of each other.
    Batch,
    /// The number of steps, T.
    Steps,
}

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ElementType {
    /// 32-bit float.
    Float,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
}

/// An array of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// As in the graph.
    pub name: String,
    /// As in the graph.
    pub element: ElementType,
    /// As in the graph.
    pub shape: Vec<Dim>,
    /// What it is to the network.
    pub role: TensorRole,
}

/// The arrays that the source or the step reads and gives, in the graph's order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// Inputs.
    pub inputs: Vec<TensorSpec>,
    /// Outputs.
    pub outputs: Vec<TensorSpec>,
}

impl TensorRole {
    /// That of output `index` of a network.
    pub fn of_output(index: usize) -> Self {
        match index {
            0 => Self::Output,
            _ => Self::OtherOutput(index),
        }
    }
}

impl Signature {
    /// The signatures of the source, if there is one, and of the step, as a model file holds them.
    ///
    /// # Panics
    /// Never: memory alone sets a limit.
    pub fn to_bytes(all: &[&Self]) -> Vec<u8> {
        postcard::to_stdvec(all).expect("plain data")
    }

    /// What [`to_bytes`](Self::to_bytes) made bytes of.
    pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Self>> {
        postcard::from_bytes(bytes).ok()
    }

    /// `tokens`, `h0_K` and `c0_K` in; `logits`, `hn_K` and `cn_K` out, for every layer K.
    pub fn language_model(tokens: usize, layers: &[RecurrentCell]) -> Self {
        let spec = |name: String, element, shape, role| TensorSpec {
            name,
            element,
            shape,
            role,
        };
        let float = ElementType::Float;
        let one = Dim::Fixed(1);
        let states = |at: &str| -> Vec<TensorSpec> {
            let ids = layers.iter().enumerate().flat_map(|(layer, kind)| {
                let both = [false, true].map(|cell| StateId { layer, cell });
                both.into_iter().take(1 + usize::from(kind.has_cell()))
            });
            ids.map(|id| {
                let letter = if id.cell { 'c' } else { 'h' };
                let shape = vec![one, one, Dim::Fixed(layers[id.layer].hidden())];
                spec(
                    format!("{letter}{at}_{}", id.layer),
                    float,
                    shape,
                    TensorRole::States(vec![id]),
                )
            })
            .collect()
        };
        let ids = spec(
            "tokens".into(),
            ElementType::Int64,
            vec![one, Dim::Steps],
            TensorRole::Tokens,
        );
        let shape = vec![one, Dim::Steps, Dim::Fixed(tokens)];
        let logits = spec("logits".into(), float, shape, TensorRole::Output);
        Self {
            inputs: [vec![ids], states("0")].concat(),
            outputs: [vec![logits], states("n")].concat(),
        }
    }
}
