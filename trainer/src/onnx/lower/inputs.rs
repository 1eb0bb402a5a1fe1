//! What recurrent layers read, and what their states begin as.

use super::build::{Input, Start};
use super::unrolled::LayerStack;
use super::{InputUse, Lowering, Side};
use crate::network::{Dense, Matrix, StateId, TensorRole};
use crate::onnx::fault::{AGAIN, show};
use crate::onnx::read::ReadError;
use crate::onnx::symbol::{Node, Part};

impl Lowering<'_> {
    /// What comes in at every step of a stack.
    pub(super) fn input(&mut self, stack: &LayerStack, side: Side) -> Result<Input, ReadError> {
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
            self.bind_input(
                port.expect("there is a step"),
                TensorRole::Tokens,
                side,
                first,
            )?;
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
            self.bind_input(port, TensorRole::Features, side, first)?;
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
        self.bind_input(port, TensorRole::Frames, side, first)?;
        Ok(Input::Frames { width, dense })
    }

    /// Notes what an input of the graph is.
    pub(super) fn bind_input(
        &mut self,
        port: usize,
        role: TensorRole,
        side: Side,
        part: Part,
    ) -> Result<(), ReadError> {
        let used = InputUse::As(role, side);
        if self.uses[port] != InputUse::None && self.uses[port] != used {
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
    pub(super) fn starts(
        &mut self,
        stack: &LayerStack,
        side: Side,
        encoder: &mut Vec<(StateId, Part)>,
    ) -> Result<Vec<[Start; 2]>, ReadError> {
        let mut all = Vec::new();
        for (layer, unrolled) in stack.layers.iter().rev().enumerate() {
            let mut both = [Start::Zero, Start::Zero];
            for (cell, start) in unrolled.start.iter().enumerate() {
                if let Some(part) = *start {
                    let id = StateId {
                        layer,
                        cell: cell == 1,
                    };
                    both[cell] = self.start(part, id, side, encoder)?;
                }
            }
            all.push(both);
        }
        Ok(all)
    }

    /// Where a state comes from.
    pub(super) fn start(
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
            && !matches!(self.uses[port], InputUse::As(..))
        {
            let entry = (part.start, id, part.len);
            match &mut self.uses[port] {
                InputUse::States(entries, of)
                    if *of == side && entries.iter().all(|e| e.0 != part.start) =>
                {
                    entries.push(entry)
                }
                none @ InputUse::None => *none = InputUse::States(vec![entry], side),
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
            self.bind_input(port, TensorRole::Features, side, part)?;
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

    pub(super) fn describe(&self, part: Part) -> String {
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
