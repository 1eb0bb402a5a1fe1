//! How a network's file names what goes in and what comes out.

use super::{Layer, Network};
use serde::{Deserialize, Serialize};

/// One of a layer's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateId {
    /// The layer, from the first at 0.
    pub layer: usize,
    /// The cell state rather than the hidden state.
    pub cell: bool,
}

/// What an array of a graph is to the network. Arrays hold their values in this order, whatever their shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Role {
    /// In: a token's id for every step.
    Tokens,
    /// In: a vector for every step, `[T][width]`.
    Vectors,
    /// In: the feature vector, `[width]`.
    Features,
    /// In: states before the first step; out: states after the last. One after the other, `[H]` each.
    States(Vec<StateId>),
    /// Out: what the head gives, `[T][V]` or `[V]`.
    Head,
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

/// A named array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// As in the graph.
    pub name: String,
    /// As in the graph.
    pub element: ElementType,
    /// As in the graph.
    pub shape: Vec<Dim>,
    /// What it is to the network.
    pub role: Role,
}

/// The arrays that go in and come out, in the graph's order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// What goes in. Those of an encoder are in the encoder.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
}

impl Interface {
    /// The interfaces of an image's networks as it holds them, the encoder's first.
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
    pub fn language_model(tokens: usize, layers: &[Layer]) -> Self {
        let port = |name: String, element, shape, role| Port {
            name,
            element,
            shape,
            role,
        };
        let float = ElementType::Float;
        let one = Dim::Fixed(1);
        let states = |at: &str| -> Vec<Port> {
            let ids = layers.iter().enumerate().flat_map(|(layer, kind)| {
                let both = [false, true].map(|cell| StateId { layer, cell });
                both.into_iter().take(1 + usize::from(kind.has_cell()))
            });
            ids.map(|id| {
                let letter = if id.cell { 'c' } else { 'h' };
                let shape = vec![one, one, Dim::Fixed(layers[id.layer].hidden())];
                port(
                    format!("{letter}{at}_{}", id.layer),
                    float,
                    shape,
                    Role::States(vec![id]),
                )
            })
            .collect()
        };
        let ids = port(
            "tokens".into(),
            ElementType::Int64,
            vec![one, Dim::Steps],
            Role::Tokens,
        );
        let shape = vec![one, Dim::Steps, Dim::Fixed(tokens)];
        let logits = port("logits".into(), float, shape, Role::Head);
        Self {
            inputs: [vec![ids], states("0")].concat(),
            outputs: [vec![logits], states("n")].concat(),
        }
    }
}

impl Network {
    /// The network without a batch, as its own file has it: every array is of one sequence.
    pub fn one_sequence(&self) -> Self {
        let mut network = self.clone();
        let encoder = network
            .encoder
            .as_mut()
            .map(|encoder| &mut encoder.interface);
        for interface in std::iter::once(&mut network.interface).chain(encoder) {
            for port in interface.inputs.iter_mut().chain(&mut interface.outputs) {
                let batches = port.shape.iter_mut().filter(|dim| **dim == Dim::Batch);
                batches.for_each(|dim| *dim = Dim::Fixed(1));
            }
        }
        network
    }

    /// Every input of the graph: the encoder's, then its own.
    pub fn inputs(&self) -> impl Iterator<Item = &Port> {
        let encoder = self
            .encoder
            .iter()
            .flat_map(|encoder| &encoder.interface.inputs);
        encoder.chain(&self.interface.inputs)
    }

    /// Every output of the graph: the encoder's, then its own.
    pub fn outputs(&self) -> impl Iterator<Item = &Port> {
        let encoder = self
            .encoder
            .iter()
            .flat_map(|encoder| &encoder.interface.outputs);
        encoder.chain(&self.interface.outputs)
    }
}
