//! From expressions to layers: the graph's outputs, traced back to its inputs.
//!
//! A sequence is a list of vectors, one for each step. A dense layer over a sequence is the same matrix over each of its
//! vectors; a recurrent layer is a chain of steps, each from the state that the one before left.

use super::fault::{AGAIN, Fault, show};
use super::interface::Declared;
use super::read::ReadError;
use super::symbol::{Elements, Part, Symbols};
use crate::network::{
    Dim, ElementType, Network, Normalization, Signature, StateId, TensorRole, TensorSpec,
};
use build::{Head, Input, Pooling, Start, Subnet, build};
use std::collections::HashMap;
use std::rc::Rc;
use unrolled::{LayerStack, last_states};

mod build;
mod dense;
mod inputs;
mod unrolled;

/// An output of the graph.
pub struct Output {
    pub name: String,
    pub elements: Rc<Elements>,
}

/// Makes a network of what is known of the outputs, of one sequence of the batch. `places` are the graph's nodes in words;
/// `shapes` are those of the inputs, and the ports' shapes those of this walk.
pub fn lower(
    symbols: &mut Symbols,
    places: &[String],
    inputs: &[Declared],
    shapes: &[Vec<usize>],
    outputs: &[Output],
) -> Result<Network, ReadError> {
    let ports = inputs.len();
    let mut lowering = Lowering {
        symbols,
        places,
        inputs,
        shapes,
        uses: vec![InputUse::None; ports],
    };
    lowering.network(outputs)
}

/// What an input of the graph is used as.
#[derive(Clone, PartialEq)]
enum InputUse {
    None,
    /// By the network itself or by its encoder.
    As(TensorRole, Side),
    /// Places in the array with the states that they are.
    States(Vec<(u32, StateId, u32)>, Side),
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Encoder,
    Own,
}

struct Lowering<'w> {
    symbols: &'w mut Symbols,
    places: &'w [String],
    inputs: &'w [Declared],
    shapes: &'w [Vec<usize>],
    uses: Vec<InputUse>,
}

/// A step, from a node or from a formula.
impl Lowering<'_> {
    fn refused(
        &self,
        part: Part,
        found: impl Into<String>,
        expected: &str,
        advice: &str,
    ) -> ReadError {
        let place = self.places[self.symbols.origin(part.node) as usize].clone();
        Fault::new(found, expected, advice).at(place)
    }

    fn inside<T>(&self, part: Part, result: Result<T, Fault>) -> Result<T, ReadError> {
        result
            .map_err(|fault| fault.at(self.places[self.symbols.origin(part.node) as usize].clone()))
    }

    fn network(&mut self, outputs: &[Output]) -> Result<Network, ReadError> {
        let mut parts = Vec::new();
        for output in outputs {
            let place = || format!("output {}", show(&output.name));
            let width = output.elements.shape.last().copied().unwrap_or(1).max(1);
            let mut all = Vec::new();
            for row in output.elements.data.chunks(width) {
                all.extend(self.symbols.row(row).map_err(|fault| fault.at(place()))?);
            }
            if all.is_empty() {
                return Err(Fault::new("nothing", "values", AGAIN).at(place()));
            }
            parts.push(all);
        }
        // The head's output is the first that is not made of last states.
        let head_output = (0..outputs.len()).find(|&i| !self.are_states(&parts[i]));
        let (head, tops) = match head_output {
            Some(i) => self.head(&parts[i])?,
            None => {
                let head = Head {
                    pooling: Pooling::LastStep,
                    dense: Vec::new(),
                    normalization: Normalization::None,
                };
                let top_layer = self.top_layer(&parts.concat())?;
                (head, top_layer)
            }
        };
        let stack = self.stack(tops)?;
        let mut encoder_states = Vec::new();
        let mut own = self.subnet(&stack, Side::Own, &mut encoder_states)?;
        let encoder = match &encoder_states[..] {
            [] => None,
            states => Some(self.encoder(states, &mut own.starts)?),
        };
        let states = last_states(&stack.layers);
        let encoder_last = match &encoder {
            Some((_, stack)) => last_states(&stack.layers),
            None => HashMap::new(),
        };
        let mut ports = Vec::new();
        let mut encoder_ports = Vec::new();
        for (i, output) in outputs.iter().enumerate() {
            let port = |role| {
                port(
                    &output.name,
                    ElementType::Float,
                    &output.elements.shape,
                    role,
                )
            };
            let ids = |known: &HashMap<Part, StateId>| -> Option<Vec<StateId>> {
                parts[i]
                    .iter()
                    .map(|part| known.get(part).copied())
                    .collect()
            };
            let as_head = head_output.is_some_and(|head| parts[head] == parts[i]);
            if as_head {
                ports.push(port(TensorRole::Output));
            } else if let Some(ids) = ids(&states) {
                ports.push(port(TensorRole::States(ids)));
            } else if let Some(ids) = ids(&encoder_last) {
                encoder_ports.push(port(TensorRole::States(ids)));
            } else {
                let found = "another output than the head's and the last states";
                let advice = "export the model with one output besides its states";
                return Err(Fault::new(found, "one head", advice)
                    .at(format!("output {}", show(&output.name))));
            }
        }
        let name = ports.iter().find(|port| port.role == TensorRole::Output);
        let name = name.map_or(String::new(), |port| port.name.clone());
        let own_signature = Signature {
            inputs: self.input_ports(Side::Own)?,
            outputs: ports,
        };
        let signature = Signature {
            inputs: self.input_ports(Side::Encoder)?,
            outputs: encoder_ports,
        };
        for (input, used) in self.inputs.iter().zip(&self.uses) {
            if *used == InputUse::None {
                let advice = "export the model without the input";
                return Err(
                    Fault::new("no use of it", "an input of the network", advice)
                        .at(format!("input {}", show(&input.name))),
                );
            }
        }
        let encoder = encoder.map(|(encoder, _)| encoder);
        let network = build(encoder, own, head, &name)
            .and_then(|network| network.with_signatures([signature, own_signature]));
        network.map_err(|error| {
            let advice = "export the model in one of the forms that are read";
            Fault::new(error.to_string(), "a list of layers", advice).at("graph")
        })
    }

    /// What a stack of layers reads and begins with.
    fn subnet(
        &mut self,
        stack: &LayerStack,
        side: Side,
        encoder_states: &mut Vec<(StateId, Part)>,
    ) -> Result<Subnet, ReadError> {
        let input = self.input(stack, side)?;
        let starts = self.starts(stack, side, encoder_states)?;
        let steps_per_token = stack.repeat;
        if steps_per_token > 1 && !matches!(input, Input::Tokens { .. }) {
            let found = format!("{steps_per_token} steps for each vector");
            return Err(Fault::new(found, "one; only tokens may have several", AGAIN).at("graph"));
        }
        let cells = stack
            .layers
            .iter()
            .rev()
            .map(|layer| layer.cell_kind.clone());
        Ok(Subnet {
            input,
            cells: cells.collect(),
            starts,
            steps_per_token,
        })
    }

    /// The encoder of which `states` are last states, and its layers. The starts get to know which states they are.
    fn encoder(
        &mut self,
        states: &[(StateId, Part)],
        starts: &mut [[Start; 2]],
    ) -> Result<(Subnet, LayerStack), ReadError> {
        let parts: Vec<Part> = states.iter().map(|state| state.1).collect();
        let tops = self.top_layer(&parts)?;
        let stack = self.stack(tops)?;
        let last = last_states(&stack.layers);
        for (id, part) in states {
            let Some(&from) = last.get(part) else {
                return Err(self.refused(
                    *part,
                    "a state of another layer, or not the last one",
                    "the encoder's last states",
                    AGAIN,
                ));
            };
            if let Start::Encoder(of, _) = &mut starts[id.layer][usize::from(id.cell)] {
                *of = from;
            }
        }
        let subnet = self.subnet(&stack, Side::Encoder, &mut vec![])?;
        Ok((subnet, stack))
    }

    /// The graph's inputs that one side uses.
    fn input_ports(&self, of: Side) -> Result<Vec<TensorSpec>, ReadError> {
        let mut ports = Vec::new();
        for ((input, shape), used) in self.inputs.iter().zip(self.shapes).zip(&self.uses) {
            let role = match used {
                InputUse::As(role, side) if *side == of => role.clone(),
                InputUse::States(entries, side) if *side == of => {
                    let mut entries = entries.clone();
                    entries.sort_by_key(|entry| entry.0);
                    let mut end = 0;
                    for (start, _, len) in &entries {
                        if *start != end {
                            break;
                        }
                        end += len;
                    }
                    if end as usize != shape.iter().product::<usize>() {
                        let found =
                            format!("{end} of {} values used", shape.iter().product::<usize>());
                        return Err(Fault::new(found, "a state for each layer", AGAIN)
                            .at(format!("input {}", show(&input.name))));
                    }
                    TensorRole::States(entries.into_iter().map(|entry| entry.1).collect())
                }
                _ => continue,
            };
            ports.push(port(&input.name, input.element, shape, role));
        }
        Ok(ports)
    }
}

fn port(name: &str, element: ElementType, shape: &[usize], role: TensorRole) -> TensorSpec {
    let shape = shape.iter().map(|&size| Dim::Fixed(size)).collect();
    TensorSpec {
        name: name.into(),
        element,
        shape,
        role,
    }
}
