//! Recurrent layers among expressions: chains of steps, each from the state that the one before left.

use super::Lowering;
use crate::network::{RecurrentCell, StateId};
use crate::onnx::cell::{CellKey, Kind, Rows};
use crate::onnx::fault::{AGAIN, Fault};
use crate::onnx::read::ReadError;
use crate::onnx::symbol::{Form, Id, MatrixTerm, Node, Part, Real};
use std::collections::HashMap;
use std::rc::Rc;

#[derive(Clone)]
pub(super) struct Step {
    pub key: Rc<CellKey>,
    pub operands: Vec<Part>,
    pub state: Option<usize>,
    pub cell: Option<Part>,
}

/// A recurrent layer over a whole sequence, step by step.
pub(super) struct UnrolledLayer {
    pub cell_kind: RecurrentCell,
    /// Hidden states after each step.
    pub hidden: Vec<Part>,
    /// Inputs of each step.
    pub inputs: Vec<Part>,
    /// The cell state after the last step.
    pub cell: Option<Part>,
    /// The hidden state before the first step, and the cell state; none where they are zero.
    pub start: [Option<Part>; 2],
}

/// Recurrent layers over one sequence, the last one first.
pub(super) struct LayerStack {
    pub layers: Vec<UnrolledLayer>,
    /// What goes into the first layer, or into the head where there is none.
    pub inputs: Vec<Part>,
    /// Steps of each input, of which the last is read.
    pub repeat: usize,
}

impl Lowering<'_> {
    /// The formula of a part that is a sum.
    pub(super) fn sum(&self, part: Part) -> Option<&Form> {
        self.symbols.full(part)?;
        match self.symbols.node(part.node) {
            Node::Form(form) => Some(form),
            _ => None,
        }
    }

    /// The last hidden state and the last cell state, or other values that are only states.
    pub(super) fn are_states(&self, parts: &[Part]) -> bool {
        let state = |&part: &Part| self.step(part).is_some() || self.cell_of(part).is_some();
        // A whole sequence is an output of its own: each step is the state before the next.
        let sequence = parts.windows(2).any(|two| match self.step(two[1]) {
            Some(step) => step.operands.contains(&two[0]),
            None => false,
        });
        parts.iter().all(state) && !sequence
    }

    /// The step whose cell state a part is.
    pub(super) fn cell_of(&self, part: Part) -> Option<Id> {
        self.symbols.full(part)?;
        match self.symbols.node(part.node) {
            Node::CellState { step } => Some(*step),
            _ => self.symbols.cell_states.get(&part.node).copied(),
        }
    }

    /// A part as a step: a step of any cell, or a function of two matrices times two vectors, which is one of a plain RNN.
    pub(super) fn step(&self, part: Part) -> Option<Step> {
        self.symbols.full(part)?;
        match self.symbols.node(part.node) {
            Node::Step {
                key,
                operands,
                state,
                cell,
            } => {
                let (key, operands) = (key.clone(), operands.clone());
                Some(Step {
                    key,
                    operands,
                    state: *state,
                    cell: *cell,
                })
            }
            &Node::Applied { function, of } => {
                let form = self.sum(of)?;
                let [a, b] = &form.matrices[..] else {
                    return None;
                };
                // In one order for all steps of a layer.
                let (a, b) = if (a.matrix, a.row) <= (b.matrix, b.row) {
                    (a, b)
                } else {
                    (b, a)
                };
                if !form.products.is_empty() || a.operand == b.operand {
                    return None;
                }
                let rows = |term: &MatrixTerm| {
                    vec![Rows {
                        matrix: term.matrix,
                        row: term.row,
                    }]
                };
                let key = CellKey {
                    kind: Kind::Rnn,
                    gate: function,
                    candidate: function,
                    hidden: form.len(),
                    weights: vec![rows(a), rows(b)],
                    wb: form.bias.clone(),
                    rb: vec![Real::new(0.0); form.len()],
                };
                Some(Step {
                    key: Rc::new(key),
                    operands: vec![a.operand, b.operand],
                    state: None,
                    cell: None,
                })
            }
            _ => None,
        }
    }

    /// Which operand of a step is the state before.
    pub(super) fn state_index(&self, step: &Step) -> Option<usize> {
        if let Some(state) = step.state {
            return Some(state);
        }
        let units = step.key.hidden;
        let square = |i: &usize| {
            let rows = step.key.weights[*i][0];
            self.symbols.matrix(rows.matrix).columns == units
        };
        let fits: Vec<usize> = (0..step.operands.len()).filter(square).collect();
        let before = |i: &usize| match self.step(step.operands[*i]) {
            Some(before) => same_cell(&before.key, &step.key),
            None => false,
        };
        // The step before, or one from zeros, or a state that comes in: the later of two inputs.
        let from_zero = |i: &usize| {
            let x = self
                .symbols
                .operand_of(step.key.weights[1 - *i][0], step.operands[*i]);
            x.is_some() && self.step(step.operands[*i]).is_none()
        };
        let given = |i: &usize| match self.symbols.node(step.operands[*i].node) {
            Node::Input { port, .. } => Some((*port, *i)),
            _ => None,
        };
        fits.iter()
            .copied()
            .find(before)
            .or_else(|| fits.iter().copied().find(from_zero))
            .or_else(|| {
                let constant = |i: &usize| {
                    matches!(self.symbols.node(step.operands[*i].node), Node::Constant(_))
                };
                fits.iter().copied().find(constant)
            })
            .or_else(|| fits.iter().filter_map(given).max().map(|(_, i)| i))
            .or(if fits.len() == 1 { Some(fits[0]) } else { None })
    }

    /// The steps that led to `last`, all of one cell.
    pub(super) fn chain(&mut self, last: Part) -> Result<Option<UnrolledLayer>, ReadError> {
        let Some(step) = self.step(last) else {
            return Ok(None);
        };
        let Some(state) = self.state_index(&step).filter(|_| step.operands.len() == 2) else {
            return Ok(None);
        };
        let Some(layer) = step.key.layer(self.symbols, state) else {
            return Ok(None);
        };
        let cell = if layer.has_cell() {
            self.symbols.cell_state(last.node)
        } else {
            None
        };
        let (mut hidden, mut inputs) = (vec![last], vec![step.operands[1 - state]]);
        let mut current = step;
        let start = loop {
            let before = current.operands[state];
            let cell_before = current.cell;
            match self.step(before) {
                Some(step) if same_cell(&step.key, &current.key) => {
                    if let Some(cell) = cell_before
                        && self.cell_of(cell) != Some(before.node)
                    {
                        return Err(self.refused(
                            cell,
                            "a cell state of another step",
                            "that of the step before",
                            AGAIN,
                        ));
                    }
                    hidden.push(before);
                    inputs.push(step.operands[1 - state]);
                    current = step;
                    continue;
                }
                _ => {}
            }
            // Exporters leave zeros out of the first step.
            let key = current.key.clone();
            if let Some(x) = self.symbols.operand_of(key.weights[1 - state][0], before)
                && x.len as usize == layer.inputs()
            {
                let (h, c) = {
                    let first = self.symbols.step_from_zero(&key, state, x);
                    self.inside(before, first)?
                };
                let cells = match (c, cell_before) {
                    (Some(c), Some(found)) => self.symbols.alike(c, found),
                    (None, None) => true,
                    _ => false,
                };
                if cells && self.symbols.alike(h, before) {
                    hidden.push(before);
                    inputs.push(x);
                    break [None, None];
                }
            }
            let zero = |part: Part| match self.symbols.node(part.node) {
                Node::Constant(values) => values.iter().all(|&v| v == Real::new(0.0)),
                Node::Zeros { .. } => true,
                _ => false,
            };
            break [Some(before), cell_before].map(|part| part.filter(|&part| !zero(part)));
        };
        hidden.reverse();
        inputs.reverse();
        Ok(Some(UnrolledLayer {
            cell_kind: layer,
            hidden,
            inputs,
            cell,
            start,
        }))
    }

    /// The layers that a sequence comes out of, down to what goes into the first.
    pub(super) fn stack(&mut self, mut tops: Vec<Part>) -> Result<LayerStack, ReadError> {
        let mut layers: Vec<UnrolledLayer> = Vec::new();
        let mut repeat = 1;
        while let Some(&last) = tops.last() {
            let Some(chain) = self.chain(last)? else {
                break;
            };
            let every = chain.hidden.len() / tops.len();
            let read = |parts: &[Part]| -> Vec<Part> {
                parts
                    .iter()
                    .skip(every - 1)
                    .step_by(every)
                    .copied()
                    .collect()
            };
            if layers.is_empty()
                && every > 1
                && every * tops.len() == chain.hidden.len()
                && read(&chain.hidden) == tops
            {
                repeat = every;
            } else if chain.hidden != tops {
                let found = format!(
                    "{} steps of a layer, of which {} are read",
                    chain.hidden.len(),
                    tops.len()
                );
                return Err(self.refused(
                    last,
                    found,
                    "all steps in their order, the last step, or their mean",
                    AGAIN,
                ));
            }
            tops.clone_from(&chain.inputs);
            layers.push(chain);
        }
        if repeat > 1 {
            if !tops
                .chunks(repeat)
                .all(|same| same.iter().all(|part| *part == same[0]))
            {
                let found = format!("one of {repeat} steps read, and an input of its own in each");
                return Err(self.refused(tops[0], found, "the same token in all of them", AGAIN));
            }
            tops = tops.into_iter().step_by(repeat).collect();
        }
        Ok(LayerStack {
            layers,
            inputs: tops,
            repeat,
        })
    }

    /// Of several states, the hidden states over all steps of the layer that is the last of the stack.
    pub(super) fn top_layer(&mut self, parts: &[Part]) -> Result<Vec<Part>, ReadError> {
        let mut best: Option<(usize, Vec<Part>)> = None;
        for &part in parts {
            let hidden = match self.cell_of(part) {
                Some(step) => self.symbols.whole(step),
                None => part,
            };
            let Some(chain) = self.chain(hidden)? else {
                return Err(self.refused(
                    part,
                    "a vector of no recurrent layer",
                    "a last state",
                    AGAIN,
                ));
            };
            let tops = chain.hidden;
            let depth = self.stack(tops.clone())?.layers.len();
            if best.as_ref().is_none_or(|(most, _)| depth > *most) {
                best = Some((depth, tops));
            }
        }
        best.map(|(_, tops)| tops)
            .ok_or_else(|| Fault::new("no outputs", "at least one", AGAIN).at("graph"))
    }
}

/// Whether two steps are of one layer. A formula's operands may stand in another order.
fn same_cell(a: &Rc<CellKey>, b: &Rc<CellKey>) -> bool {
    Rc::ptr_eq(a, b) || a == b
}

/// The last states of layers, the last layer first in `layers`.
pub(super) fn last_states(layers: &[UnrolledLayer]) -> HashMap<Part, StateId> {
    let mut states = HashMap::new();
    for (layer, chain) in layers.iter().rev().enumerate() {
        states.insert(
            *chain.hidden.last().expect("a chain has a step"),
            StateId { layer, cell: false },
        );
        if let Some(cell) = chain.cell {
            states.insert(cell, StateId { layer, cell: true });
        }
    }
    states
}
