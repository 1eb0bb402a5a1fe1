//! From formulas to the canonical network: what the graph's outputs are, traced back to what comes in.
//!
//! A sequence is a list of vectors, one for each step. A dense layer over a sequence is the same matrix over each of its
//! vectors; a recurrent layer is a chain of steps, each from the state that the one before left.

use super::cell::{CellKey, Kind, Rows};
use super::fault::{AGAIN, Fault, show};
use super::interface::Declared;
use super::read::ReadError;
use super::symbol::{Elements, Form, Function, Id, Node, Part, Real, Symbols};
use crate::network::{
    Activation, Dense, Dim, ElementType, Head, Input, Interface, Layer, Matrix, Network,
    Normalization, Port, Provenance, Reads, Role, Start, Starts, StateId,
};
use std::collections::HashMap;
use std::rc::Rc;

/// An output of the graph.
pub struct Output {
    pub name: String,
    pub elements: Rc<Elements>,
}

/// Makes a network of what is known of the outputs, of one sequence of the batch. `places` are the graph's nodes in words;
/// `shapes` are those of the inputs, and the ports' shapes those of this walk.
pub fn assemble(
    symbols: &mut Symbols,
    places: &[String],
    inputs: &[Declared],
    shapes: &[Vec<usize>],
    outputs: &[Output],
) -> Result<Network, ReadError> {
    let ports = inputs.len();
    let mut assembly = Assembly {
        symbols,
        places,
        inputs,
        shapes,
        uses: vec![Use::None; ports],
    };
    assembly.network(outputs)
}

/// What an input of the graph is used as.
#[derive(Clone, PartialEq)]
enum Use {
    None,
    /// By the network itself or by its encoder.
    As(Role, Side),
    /// Places in the array with the states that they are.
    States(Vec<(u32, StateId, u32)>, Side),
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Encoder,
    Own,
}

struct Assembly<'w> {
    symbols: &'w mut Symbols,
    places: &'w [String],
    inputs: &'w [Declared],
    shapes: &'w [Vec<usize>],
    uses: Vec<Use>,
}

/// A step, from a node or from a formula.
#[derive(Clone)]
struct Step {
    key: Rc<CellKey>,
    operands: Vec<Part>,
    state: Option<usize>,
    cell: Option<Part>,
}

/// A recurrent layer over a whole sequence.
struct Chain {
    layer: Layer,
    /// Hidden states after each step.
    hidden: Vec<Part>,
    /// Inputs of each step.
    inputs: Vec<Part>,
    /// The cell state after the last step.
    cell: Option<Part>,
    /// The hidden state before the first step, and the cell state; none where they are zero.
    start: [Option<Part>; 2],
}

/// Layers over one sequence, the last one first.
struct Stack {
    chains: Vec<Chain>,
    /// What goes into the first layer, or into the head where there is none.
    inputs: Vec<Part>,
    /// Steps of each input, of which the last is read.
    repeat: usize,
}

impl Assembly<'_> {
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
                    reads: Reads::LastStep,
                    ..Head::default()
                };
                let deepest = self.deepest(&parts.concat())?;
                (head, deepest)
            }
        };
        let stack = self.stack(tops)?;
        let input = self.input(&stack, Side::Own)?;
        let mut encoder_states = Vec::new();
        let mut starts = self.starts(&stack, Side::Own, &mut encoder_states)?;
        let (encoder, encoder_chains) = match &encoder_states[..] {
            [] => (None, vec![]),
            states => {
                let (network, chains) = self.encoder(states, &mut starts)?;
                (Some(Box::new(network)), chains)
            }
        };
        let steps_per_token = stack.repeat;
        if steps_per_token > 1 && !matches!(input, Input::Tokens { .. }) {
            let found = format!("{steps_per_token} steps for each vector");
            return Err(Fault::new(found, "one; only tokens may have several", AGAIN).at("graph"));
        }
        let states = last_states(&stack.chains);
        let encoder_last = last_states(&encoder_chains);
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
                ports.push(port(Role::Head));
            } else if let Some(ids) = ids(&states) {
                ports.push(port(Role::States(ids)));
            } else if let Some(ids) = ids(&encoder_last) {
                encoder_ports.push(port(Role::States(ids)));
            } else {
                let found = "another output than the head's and the last states";
                let advice = "export the model with one output besides its states";
                return Err(Fault::new(found, "one head", advice)
                    .at(format!("output {}", show(&output.name))));
            }
        }
        let layers = stack
            .chains
            .into_iter()
            .rev()
            .map(|chain| chain.layer)
            .collect();
        let mut network = Network {
            vocabulary: None,
            labels: None,
            channels: Vec::new(),
            input,
            layers,
            starts,
            steps_per_token,
            grids: Default::default(),
            head,
            encoder,
            interface: Interface {
                inputs: self.input_ports(Side::Own)?,
                outputs: ports,
            },
            provenance: Provenance::default(),
        };
        if let Some(encoder) = &mut network.encoder {
            encoder.interface = Interface {
                inputs: self.input_ports(Side::Encoder)?,
                outputs: encoder_ports,
            };
        }
        for (input, used) in self.inputs.iter().zip(&self.uses) {
            if *used == Use::None {
                let advice = "export the model without the input";
                return Err(
                    Fault::new("no use of it", "an input of the network", advice)
                        .at(format!("input {}", show(&input.name))),
                );
            }
        }
        Ok(network)
    }

    /// The formula of a part that is a sum.
    fn sum(&self, part: Part) -> Option<&Form> {
        self.symbols.full(part)?;
        match self.symbols.node(part.node) {
            Node::Form(form) => Some(form),
            _ => None,
        }
    }

    /// The last hidden state and the last cell state, or other values that are only states.
    fn are_states(&self, parts: &[Part]) -> bool {
        let state = |&part: &Part| self.step(part).is_some() || self.cell_of(part).is_some();
        // A whole sequence is an output of its own: each step is the state before the next.
        let sequence = parts.windows(2).any(|two| match self.step(two[1]) {
            Some(step) => step.operands.contains(&two[0]),
            None => false,
        });
        parts.iter().all(state) && !sequence
    }

    /// The step whose cell state a part is.
    fn cell_of(&self, part: Part) -> Option<Id> {
        self.symbols.full(part)?;
        match self.symbols.node(part.node) {
            Node::CellState { step } => Some(*step),
            _ => self.symbols.cell_states.get(&part.node).copied(),
        }
    }

    /// A part as a step: a step of any cell, or a function of two matrices times two vectors, which is one of a plain RNN.
    fn step(&self, part: Part) -> Option<Step> {
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
                let rows = |term: &super::symbol::MatrixTerm| {
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
    fn state_index(&self, step: &Step) -> Option<usize> {
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
    fn chain(&mut self, last: Part) -> Result<Option<Chain>, ReadError> {
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
        Ok(Some(Chain {
            layer,
            hidden,
            inputs,
            cell,
            start,
        }))
    }

    /// The layers that a sequence comes out of, down to what goes into the first.
    fn stack(&mut self, mut tops: Vec<Part>) -> Result<Stack, ReadError> {
        let mut chains: Vec<Chain> = Vec::new();
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
            if chains.is_empty()
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
            chains.push(chain);
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
        Ok(Stack {
            chains,
            inputs: tops,
            repeat,
        })
    }

    /// Of several states, the hidden states over all steps of the layer that is the last of the stack.
    fn deepest(&mut self, parts: &[Part]) -> Result<Vec<Part>, ReadError> {
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
            let depth = self.stack(tops.clone())?.chains.len();
            if best.as_ref().is_none_or(|(most, _)| depth > *most) {
                best = Some((depth, tops));
            }
        }
        best.map(|(_, tops)| tops)
            .ok_or_else(|| Fault::new("no outputs", "at least one", AGAIN).at("graph"))
    }

    /// A dense layer that is the same over all `parts`: the layer and what goes in.
    fn dense(&self, parts: &[Part]) -> Option<(Dense, Vec<Part>)> {
        let first = *parts.first()?;
        let (function, sum) = match self.symbols.node(first.node) {
            &Node::Applied { function, of } if self.symbols.full(first).is_some() => {
                (Some(function), of)
            }
            _ => (None, first),
        };
        let activation = function.map_or(Some(Activation::Linear), Function::activation)?;
        let inner = |part: &Part| match (function, self.symbols.node(part.node)) {
            (None, _) => Some(*part),
            (Some(f), &Node::Applied { function, of })
                if f == function && self.symbols.full(*part).is_some() =>
            {
                Some(of)
            }
            _ => None,
        };
        let sums: Vec<Part> = parts.iter().map(inner).collect::<Option<_>>()?;
        let shape = self
            .sum(sum)
            .filter(|form| form.products.is_empty() && form.matrices.len() == 1);
        let Some(form) = shape else {
            // A function alone is a dense layer that changes nothing before it.
            function?;
            let units = sum.len as usize;
            let same = sums.iter().all(|s| s.len == sum.len) && self.sum(sum).is_none();
            if !same || units > 4096 {
                return None;
            }
            let unit = (0..units * units).map(|i| f32::from(u8::from(i % (units + 1) == 0)));
            let w = Matrix::new(units, units, unit.collect());
            let b = vec![0.0; units];
            return Some((Dense { w, b, activation }, sums));
        };
        let term = &form.matrices[0];
        let operand = |part: &Part| {
            let other = self.sum(*part)?;
            let [one] = &other.matrices[..] else {
                return None;
            };
            let same = (one.matrix, one.row) == (term.matrix, term.row) && other.bias == form.bias;
            (same && other.products.is_empty()).then_some(one.operand)
        };
        let operands = sums.iter().map(operand).collect::<Option<_>>()?;
        let matrix = self.symbols.matrix(term.matrix);
        let rows = (0..form.len()).flat_map(|j| matrix.row(term.row as usize + j).iter().copied());
        let w = Matrix::new(form.len(), matrix.columns, rows.collect());
        let b = form.bias.iter().map(|b| b.get()).collect();
        Some((Dense { w, b, activation }, operands))
    }

    /// The dense layers that `parts` come out of, the first one first, and what goes in.
    fn dense_layers(&self, mut parts: Vec<Part>) -> (Vec<Dense>, Vec<Part>) {
        let mut layers = Vec::new();
        while let Some((dense, inner)) = self.dense(&parts) {
            layers.push(dense);
            parts = inner;
        }
        layers.reverse();
        (layers, parts)
    }

    /// What an output makes of the last layer's hidden states, and these.
    fn head(&mut self, parts: &[Part]) -> Result<(Head, Vec<Part>), ReadError> {
        let mut parts = parts.to_vec();
        let soft = |part: &Part| match self.symbols.node(part.node) {
            &Node::Softmax { log, of } if self.symbols.full(*part).is_some() => Some((log, of)),
            _ => None,
        };
        let mut normalization = Normalization::None;
        if let Some(softs) = parts.iter().map(soft).collect::<Option<Vec<_>>>() {
            let log = softs[0].0;
            normalization = if log {
                Normalization::LogSoftmax
            } else {
                Normalization::Softmax
            };
            if softs.iter().any(|soft| soft.0 != log) {
                return Err(self.refused(parts[0], "Softmax and LogSoftmax", "one of them", AGAIN));
            }
            parts = softs.into_iter().map(|soft| soft.1).collect();
        }
        // A plain RNN's step looks like a dense layer of two inputs, and is none: a dense layer has one.
        let (dense, tops) = self.dense_layers(parts);
        let (reads, tops) = match tops[..] {
            [one] => match self.mean(one) {
                Some(all) => (Reads::Mean, all),
                None => match self.chain(one)? {
                    Some(chain) if chain.hidden.len() > 1 => (Reads::LastStep, chain.hidden),
                    _ => (Reads::EveryStep, tops),
                },
            },
            _ => (Reads::EveryStep, tops),
        };
        Ok((
            Head {
                reads,
                dense,
                normalization,
            },
            tops,
        ))
    }

    /// The vectors of which a part is the mean, in the order in which they were made.
    fn mean(&self, part: Part) -> Option<Vec<Part>> {
        let form = self.sum(part)?;
        let count = form.products.len();
        let share = Real::new(1.0 / count as f32);
        let even = |p: &super::symbol::Product| {
            p.factors.len() == 1 && p.coefficient.iter().all(|&c| c == share)
        };
        if !form.matrices.is_empty()
            || form.has_bias()
            || count < 2
            || !form.products.iter().all(even)
        {
            return None;
        }
        let mut all: Vec<Part> = form.products.iter().map(|p| p.factors[0]).collect();
        // The last step is the one that no other follows.
        let last = *all.iter().find(|&&part| {
            !all.iter().any(|&other| {
                self.step(other)
                    .is_some_and(|step| step.operands.contains(&part))
            })
        })?;
        let mut order = vec![last];
        all.retain(|&part| part != last);
        while !all.is_empty() {
            let step = self.step(*order.last()?)?;
            let next = *all.iter().find(|part| step.operands.contains(part))?;
            all.retain(|&part| part != next);
            order.push(next);
        }
        order.reverse();
        Some(order)
    }

    /// What comes in at every step of a stack.
    fn input(&mut self, stack: &Stack, side: Side) -> Result<Input, ReadError> {
        let steps = stack.inputs.len();
        let (dense, sources) = self.dense_layers(stack.inputs.clone());
        let first = sources[0];
        let refused = |this: &Self| {
            let found = this.describe(first);
            this.refused(
                first,
                found,
                "tokens, a vector for each step, or one vector for all",
                "feed the sequence as it comes in, from its first step to its last",
            )
        };
        let token = |part: &Part| match *self.symbols.node(part.node) {
            Node::Embedded { table, token } if self.symbols.full(*part).is_some() => {
                Some((Some(table), token))
            }
            Node::OneHot { token, .. } if self.symbols.full(*part).is_some() => Some((None, token)),
            _ => None,
        };
        if let Some(tokens) = sources.iter().map(token).collect::<Option<Vec<_>>>() {
            let (table, _) = tokens[0];
            let mut port = None;
            for (t, &(other, token)) in tokens.iter().enumerate() {
                let &Node::Token {
                    port: of, position, ..
                } = self.symbols.node(token)
                else {
                    return Err(refused(self));
                };
                let whole = self.shapes[of].iter().product::<usize>() == steps;
                if other != table
                    || position as usize != t
                    || *port.get_or_insert(of) != of
                    || !whole
                {
                    return Err(self.refused(
                        first,
                        "tokens in another order, or some of them",
                        "all tokens in their order",
                        AGAIN,
                    ));
                }
            }
            self.claim(port.expect("there is a step"), Role::Tokens, side, first)?;
            let count = match table {
                Some(table) => self.symbols.matrix(table).rows,
                None => self.symbols.len(first.node) as usize,
            };
            let mut embedding = table.map(|table| (**self.symbols.matrix(table)).clone());
            // Dense layers of a token are a table.
            for Dense { w, b, activation } in &dense {
                let row = |token: usize, j: usize| {
                    let product = match &embedding {
                        None => w.row(j)[token],
                        Some(table) => table
                            .row(token)
                            .iter()
                            .zip(w.row(j))
                            .map(|(x, w)| x * w)
                            .sum(),
                    };
                    activation.of(product + b[j])
                };
                let data = (0..count)
                    .flat_map(|token| (0..w.rows).map(move |j| (token, j)))
                    .map(|(t, j)| row(t, j));
                embedding = Some(Matrix::new(count, w.rows, data.collect()));
            }
            return Ok(Input::Tokens { count, embedding });
        }
        let &Node::Input { port, len, .. } = self.symbols.node(first.node) else {
            return Err(refused(self));
        };
        let width = first.len as usize;
        let same = sources.iter().all(|&part| part == first);
        if same && first.len == len && steps > 1 {
            self.claim(port, Role::Features, side, first)?;
            return Ok(Input::Features {
                width,
                dense,
                steps,
            });
        }
        let in_order = sources.iter().enumerate().all(|(t, part)| {
            part.node == first.node && part.len == first.len && part.start as usize == t * width
        });
        if !in_order || steps * width != len as usize {
            return Err(refused(self));
        }
        self.claim(port, Role::Vectors, side, first)?;
        Ok(Input::Vectors { width, dense })
    }

    /// Notes what an input of the graph is.
    fn claim(&mut self, port: usize, role: Role, side: Side, part: Part) -> Result<(), ReadError> {
        let used = Use::As(role, side);
        if self.uses[port] != Use::None && self.uses[port] != used {
            let found = format!("a second use of input {}", show(&self.inputs[port].name));
            return Err(self.refused(
                part,
                found,
                "one",
                "give each part of the model its own input",
            ));
        }
        self.uses[port] = used;
        Ok(())
    }

    /// Where the states of a stack's layers come from, the first layer first.
    fn starts(
        &mut self,
        stack: &Stack,
        side: Side,
        encoder: &mut Vec<(StateId, Part)>,
    ) -> Result<Vec<Starts>, ReadError> {
        let mut all = Vec::new();
        for (layer, chain) in stack.chains.iter().rev().enumerate() {
            let mut both = [Start::Zero, Start::Zero];
            for (cell, start) in chain.start.iter().enumerate() {
                if let Some(part) = *start {
                    let id = StateId {
                        layer,
                        cell: cell == 1,
                    };
                    both[cell] = self.start(part, id, side, encoder)?;
                }
            }
            let [hidden, cell] = both;
            all.push(Starts { hidden, cell });
        }
        Ok(all)
    }

    /// Where a state comes from.
    fn start(
        &mut self,
        part: Part,
        id: StateId,
        side: Side,
        encoder: &mut Vec<(StateId, Part)>,
    ) -> Result<Start, ReadError> {
        if let Node::Constant(values) = self.symbols.node(part.node)
            && self.symbols.full(part).is_some()
        {
            return Ok(Start::Constant(values.iter().map(|v| v.get()).collect()));
        }
        if let &Node::Input { port, .. } = self.symbols.node(part.node)
            && !matches!(self.uses[port], Use::As(..))
        {
            let entry = (part.start, id, part.len);
            match &mut self.uses[port] {
                Use::States(entries, of)
                    if *of == side && entries.iter().all(|e| e.0 != part.start) =>
                {
                    entries.push(entry)
                }
                none @ Use::None => *none = Use::States(vec![entry], side),
                _ => {
                    let found = format!("a second use of input {}", show(&self.inputs[port].name));
                    return Err(self.refused(part, found, "one", "give each state its own input"));
                }
            }
            return Ok(Start::Given);
        }
        // A state of another network, or of dense layers over one, stands where no dense layer leads further.
        if side == Side::Own && (self.step(part).is_some() || self.cell_of(part).is_some()) {
            encoder.push((id, part));
            return Ok(Start::Encoder(id, vec![]));
        }
        let (dense, sources) = self.dense_layers(vec![part]);
        let source = sources[0];
        if let &Node::Input { port, len, .. } = self.symbols.node(source.node)
            && source.len == len
        {
            self.claim(port, Role::Features, side, part)?;
            return Ok(Start::Features(dense));
        }
        if side == Side::Own && (self.step(source).is_some() || self.cell_of(source).is_some()) {
            encoder.push((id, source));
            return Ok(Start::Encoder(id, dense));
        }
        let found = format!("an initial state that is {}", self.describe(source));
        Err(self.refused(
            part,
            found,
            "zeros, an input, dense layers of a feature vector, or an encoder's last state",
            AGAIN,
        ))
    }

    /// The encoder of which `states` are last states, and its layers. The starts get to know which states they are.
    fn encoder(
        &mut self,
        states: &[(StateId, Part)],
        starts: &mut [Starts],
    ) -> Result<(Network, Vec<Chain>), ReadError> {
        let parts: Vec<Part> = states.iter().map(|state| state.1).collect();
        let tops = self.deepest(&parts)?;
        let stack = self.stack(tops)?;
        let last = last_states(&stack.chains);
        for (id, part) in states {
            let Some(&from) = last.get(part) else {
                return Err(self.refused(
                    *part,
                    "a state of another layer, or not the last one",
                    "the encoder's last states",
                    AGAIN,
                ));
            };
            let start = &mut starts[id.layer];
            let start = if id.cell {
                &mut start.cell
            } else {
                &mut start.hidden
            };
            if let Start::Encoder(of, _) = start {
                *of = from;
            }
        }
        let input = self.input(&stack, Side::Encoder)?;
        let starts = self.starts(&stack, Side::Encoder, &mut vec![])?;
        let layers = stack
            .chains
            .iter()
            .rev()
            .map(|chain| chain.layer.clone())
            .collect();
        let network = Network {
            vocabulary: None,
            labels: None,
            channels: Vec::new(),
            input,
            layers,
            starts,
            steps_per_token: 1,
            grids: Default::default(),
            head: Head {
                reads: Reads::LastStep,
                ..Head::default()
            },
            encoder: None,
            interface: Interface::default(),
            provenance: Provenance::default(),
        };
        Ok((network, stack.chains))
    }

    /// The graph's inputs that one side uses.
    fn input_ports(&self, of: Side) -> Result<Vec<Port>, ReadError> {
        let mut ports = Vec::new();
        for ((input, shape), used) in self.inputs.iter().zip(self.shapes).zip(&self.uses) {
            let role = match used {
                Use::As(role, side) if *side == of => role.clone(),
                Use::States(entries, side) if *side == of => {
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
                    Role::States(entries.into_iter().map(|entry| entry.1).collect())
                }
                _ => continue,
            };
            ports.push(port(&input.name, input.element, shape, role));
        }
        Ok(ports)
    }

    fn describe(&self, part: Part) -> String {
        let whole = self.symbols.full(part).is_some();
        match self.symbols.node(part.node) {
            Node::Input { port, .. } if whole => {
                format!("all of input {} at once", show(&self.inputs[*port].name))
            }
            Node::Input { port, .. } => {
                format!("a part of input {}", show(&self.inputs[*port].name))
            }
            Node::Token { .. } => "a token's id".into(),
            Node::Embedded { .. } | Node::OneHot { .. } if whole => "a token".into(),
            Node::Embedded { .. } | Node::OneHot { .. } => "a part of a token's vector".into(),
            Node::Constant(_) | Node::Zeros { .. } => "a constant".into(),
            Node::Form(form) if form.matrices.is_empty() => {
                "a sum or product of vectors that is no step of a GRU or LSTM".into()
            }
            Node::Form(_) => "a sum of several dense layers".into(),
            Node::Applied { .. } => "a function of what is no dense layer or step of an RNN".into(),
            Node::Step { .. } if whole => "a hidden state".into(),
            Node::Step { .. } => "a part of a hidden state".into(),
            Node::CellState { .. } => "a cell state".into(),
            Node::Softmax { .. } => "probabilities".into(),
        }
    }
}

/// Whether two steps are of one layer. A formula's operands may stand in another order.
fn same_cell(a: &Rc<CellKey>, b: &Rc<CellKey>) -> bool {
    Rc::ptr_eq(a, b) || a == b
}

/// The last states of layers, the last layer first in `chains`.
fn last_states(chains: &[Chain]) -> HashMap<Part, StateId> {
    let mut states = HashMap::new();
    for (layer, chain) in chains.iter().rev().enumerate() {
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

fn port(name: &str, element: ElementType, shape: &[usize], role: Role) -> Port {
    let shape = shape.iter().map(|&size| Dim::Fixed(size)).collect();
    Port {
        name: name.into(),
        element,
        shape,
        role,
    }
}
