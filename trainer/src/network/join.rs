//! One network of an encoder and a decoder from two graphs.

use super::{Network, Reads, Role, Start, StateId};

/// Why two networks are no encoder and its decoder.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JoinError {
    /// One of them is a pair already.
    #[error("the {0} has an encoder itself: expected two graphs of one network each")]
    Nested(&'static str),
    /// There is no state to hand over.
    #[error(
        "the encoder's outputs are {}: expected its last states, or nothing but its last hidden state", .0.join(", ")
    )]
    NoState(Vec<String>),
    /// The decoder begins at zero.
    #[error(
        "the decoder's inputs are {}: expected initial states, which the encoder's last states become; is the order encoder, decoder?", .0.join(", ")
    )]
    NoStart(Vec<String>),
    /// As many states on both sides are needed.
    #[error(
        "the encoder gives {found} {kind} states, but the decoder takes {expected}: expected as many"
    )]
    Count {
        /// Hidden or cell states.
        kind: &'static str,
        /// Of the encoder.
        found: usize,
        /// Of the decoder.
        expected: usize,
    },
    /// A state of another size.
    #[error(
        "the encoder's {kind} state {index} has {found} units, but the decoder's has {expected}"
    )]
    Size {
        /// Hidden or cell states.
        kind: &'static str,
        /// Which one, from 0 in the order of the graphs.
        index: usize,
        /// Of the encoder.
        found: usize,
        /// Of the decoder.
        expected: usize,
    },
    /// A name that both graphs have.
    #[error("both graphs have an input {0:?}: rename one of them")]
    Name(String),
}

impl Network {
    /// The network that `self`, a decoder whose states are given, makes with its encoder: the encoder's last states, in the
    /// order of its graph, become the decoder's initial ones. Of the encoder's outputs no other is kept.
    ///
    /// # Errors
    /// If the states of the two do not fit.
    pub fn with_encoder(mut self, mut encoder: Network) -> Result<Self, JoinError> {
        for (which, network) in [("encoder", &encoder), ("decoder", &self)] {
            if network.encoder.is_some() {
                return Err(JoinError::Nested(which));
            }
        }
        let given = states(self.interface.inputs.iter().map(|port| &port.role));
        let mut made = states(encoder.interface.outputs.iter().map(|port| &port.role));
        let head = &encoder.head;
        if made.is_empty() && head.reads == Reads::LastStep && head.dense.is_empty() {
            // The last step's output of the top layer is its hidden state.
            let top = encoder.layers.len().checked_sub(1);
            made.extend(top.map(|layer| StateId { layer, cell: false }));
        }
        let names = |ports: &[super::Port]| ports.iter().map(|port| port.name.clone()).collect();
        if made.is_empty() {
            return Err(JoinError::NoState(names(&encoder.interface.outputs)));
        }
        if given.is_empty() {
            return Err(JoinError::NoStart(names(&self.interface.inputs)));
        }
        for (kind, cell) in [("hidden", false), ("cell", true)] {
            let of = |all: &[StateId]| -> Vec<StateId> {
                all.iter().copied().filter(|id| id.cell == cell).collect()
            };
            let (from, to) = (of(&made), of(&given));
            let (found, expected) = (from.len(), to.len());
            if found != expected {
                return Err(JoinError::Count {
                    kind,
                    found,
                    expected,
                });
            }
            for (index, (from, to)) in from.into_iter().zip(to).enumerate() {
                let found = encoder.layers[from.layer].hidden();
                let expected = self.layers[to.layer].hidden();
                if found != expected {
                    return Err(JoinError::Size {
                        kind,
                        index,
                        found,
                        expected,
                    });
                }
                let starts = &mut self.starts[to.layer];
                let start = if cell {
                    &mut starts.cell
                } else {
                    &mut starts.hidden
                };
                *start = Start::Encoder(from, Vec::new());
            }
        }
        self.interface
            .inputs
            .retain(|port| !matches!(port.role, Role::States(_)));
        encoder.interface.outputs.clear();
        let mut shared = encoder.interface.inputs.iter().map(|port| &port.name);
        if let Some(name) =
            shared.find(|name| self.interface.inputs.iter().any(|p| p.name == **name))
        {
            return Err(JoinError::Name(name.clone()));
        }
        self.encoder = Some(Box::new(encoder));
        Ok(self)
    }
}

/// The states of arrays, in their order.
fn states<'a>(roles: impl Iterator<Item = &'a Role>) -> Vec<StateId> {
    let of = |role: &Role| match role {
        Role::States(ids) => ids.clone(),
        _ => vec![],
    };
    roles.flat_map(of).collect()
}
