//! The operators that are recurrent: GRU, LSTM, RNN, and loops, whose bodies are executed once for each step.

use super::array::{Array, concat, count};
use super::cell::{CellKey, Kind, Rows};
use super::fault::{AGAIN, Fault, show};
use super::graph::{Error, Scopes, Value, Walk, define, known, lookup};
use super::node::Node;
use super::symbol::{Elements, Function, Node as Formula, Part, Real};
use super::tensor::Tensor;
use crate::network::{LayerInput, Matrix};
use std::collections::HashMap;
use std::rc::Rc;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::attribute_proto::AttributeType;

/// The most times that a loop's body is executed.
const MAX_TRIPS: i64 = 4096;

impl<'m> Walk<'m, '_> {
    /// GRU, LSTM or RNN: `X [T, B, I]`, `W [1, G*H, I]`, `R [1, G*H, H]`, `B [1, 2*G*H]`, lengths, `h0 [1, B, H]` and, in an
    /// LSTM, `c0` and peepholes; gives `Y [T, 1, B, H]`, `Y_h [1, B, H]` and `Y_c`.
    pub fn recurrent(
        &mut self,
        node: &Node<'m>,
        operands: &[Option<Value>],
    ) -> Result<Vec<Option<Value>>, Fault> {
        let attributes = attributes(node)?;
        let operand = |index: usize| operands.get(index).cloned().flatten();
        let gates = attributes.kind.gates();
        let x = operand(0).ok_or_else(|| Fault::new("no input", "a sequence of vectors", AGAIN))?;
        let &[steps, batch, inputs] = x.shape() else {
            return Err(Fault::new(
                format!("an input of shape {:?}", x.shape()),
                "[T, batch, inputs]",
                AGAIN,
            ));
        };
        let weights = |index: usize, name: &str| match operand(index) {
            Some(Value::Known(tensor)) => Ok(tensor),
            Some(_) => Err(Fault::new(
                format!("{name} that are computed"),
                "constants",
                "weights must be constants of the file",
            )),
            None => Err(Fault::new(format!("no {name}"), "weights W and R", AGAIN)),
        };
        let (w, r) = (weights(1, "weights W")?, weights(2, "weights R")?);
        let hidden = match r.shape() {
            &[1, rows, hidden] if hidden > 0 && gates.checked_mul(hidden) == Some(rows) => hidden,
            other => {
                return Err(Fault::new(
                    format!("R of shape {other:?}"),
                    format!("[1, {gates} * H, H]"),
                    "export one direction only",
                ));
            }
        };
        if w.shape() != [1, gates * hidden, inputs] || inputs == 0 {
            return Err(Fault::new(
                format!("W of shape {:?}", w.shape()),
                format!("[1, {}, {inputs}]", gates * hidden),
                AGAIN,
            ));
        }
        if let Some(found) = attributes.hidden_size
            && usize::try_from(found) != Ok(hidden)
        {
            return Err(Fault::new(
                format!("hidden_size {found}"),
                format!("{hidden}, as the weights have"),
                AGAIN,
            ));
        }
        let biases = match operand(3) {
            None => vec![0.0; 2 * gates * hidden],
            Some(_) => {
                let b = weights(3, "biases B")?;
                if b.shape() != [1, 2 * gates * hidden] {
                    return Err(Fault::new(
                        format!("B of shape {:?}", b.shape()),
                        format!("[1, {}]", 2 * gates * hidden),
                        AGAIN,
                    ));
                }
                b.floats()?.data.clone()
            }
        };
        match operand(4) {
            None => {}
            Some(Value::Known(lengths))
                if lengths.doubles().data.iter().all(|&l| l == steps as f64) => {}
            Some(_) => {
                return Err(Fault::new(
                    "sequence_lens that are not the whole length",
                    "whole sequences",
                    "export without lengths or packed sequences: on a board a sequence ends when it ends",
                ));
            }
        }
        if let Some(peepholes) = operand(7) {
            let zero =
                matches!(&peepholes, Value::Known(p) if p.doubles().data.iter().all(|&p| p == 0.0));
            if !zero {
                return Err(Fault::new(
                    "peepholes",
                    "an LSTM without",
                    "train an LSTM without peephole connections",
                ));
            }
        }
        let matrix = |tensor: &Tensor| -> Result<Matrix, Fault> {
            let floats = tensor.floats()?;
            Ok(Matrix::new(
                floats.shape[1],
                floats.shape[2],
                floats.data.clone(),
            ))
        };
        let w = self.symbols.add_matrix(matrix(&w)?)?;
        let r = self.symbols.add_matrix(matrix(&r)?)?;
        let rows = |matrix| {
            (0..gates)
                .map(|gate| Rows {
                    matrix,
                    row: (gate * hidden) as u32,
                })
                .collect()
        };
        let mut reals = biases.iter().map(|&b| Real::new(b));
        let key = Rc::new(CellKey {
            kind: attributes.kind,
            gate: attributes.gate,
            candidate: attributes.candidate,
            hidden,
            weights: vec![rows(w), rows(r)],
            wb: reals.by_ref().take(gates * hidden).collect(),
            rb: reals.collect(),
        });
        if steps == 0 || batch == 0 {
            return Err(Fault::new(
                format!("an input of shape {:?}", x.shape()),
                "at least one step",
                AGAIN,
            ));
        }
        let x = match x {
            Value::Data(elements) => elements,
            Value::Known(tensor) => {
                let states = [operand(5), operand(6)];
                return self.run_cell(&key, tensor.floats()?, states);
            }
            Value::Ids(_) => {
                return Err(Fault::new(
                    "an input of token ids",
                    "a sequence of vectors",
                    AGAIN,
                ));
            }
        };
        let mut h = self.state(operand(5), batch, hidden)?;
        let mut c = if attributes.kind == Kind::Lstm {
            self.state(operand(6), batch, hidden)?
        } else {
            vec![]
        };
        let mut y = Vec::with_capacity(count(&[steps, batch, hidden])?);
        for step in x.data.chunks(batch * inputs) {
            for (b, row) in step.chunks(inputs).enumerate() {
                let [x] = self.symbols.row(row)?[..] else {
                    let advice = "join vectors after the recurrent layer, or feed one of them";
                    return Err(Fault::new(
                        "an input joined from several vectors",
                        "one vector a step",
                        advice,
                    ));
                };
                let operands = vec![x, h[b]];
                let formula = Formula::Step {
                    key: key.clone(),
                    operands,
                    state: Some(1),
                    cell: c.get(b).copied(),
                };
                let id = self.symbols.intern(formula)?;
                h[b] = self.symbols.whole(id);
                if let Some(c) = c.get_mut(b) {
                    let id = self.symbols.intern(Formula::CellState { step: id })?;
                    *c = self.symbols.whole(id);
                }
                y.extend(h[b].elements());
            }
        }
        let data =
            |shape: Vec<usize>, data: Vec<_>| Some(Value::Data(Rc::new(Array { shape, data })));
        let last = |state: &[Part]| super::symbol::Symbols::elements(state);
        let mut results = vec![
            data(vec![steps, 1, batch, hidden], y),
            data(vec![1, batch, hidden], last(&h)),
        ];
        if attributes.kind == Kind::Lstm {
            results.push(data(vec![1, batch, hidden], last(&c)));
        }
        Ok(results)
    }

    /// A cell over known numbers.
    fn run_cell(
        &mut self,
        key: &CellKey,
        x: &Array<f32>,
        states: [Option<Value>; 2],
    ) -> Result<Vec<Option<Value>>, Fault> {
        let layer = key.layer(&self.symbols, 1);
        let layer = layer.ok_or_else(|| Fault::new("other activations", "known ones", AGAIN))?;
        let (steps, batch, inputs) = (x.shape[0], x.shape[1], x.shape[2]);
        let units = key.hidden;
        let mut current = [vec![0.0; batch * units], vec![0.0; batch * units]];
        for (values, state) in current.iter_mut().zip(states) {
            match state {
                None => {}
                Some(Value::Known(tensor)) if tensor.shape() == [1, batch, units] => {
                    values.clone_from(&tensor.floats()?.data);
                }
                Some(other) => {
                    let found = format!("an initial state of shape {:?}", other.shape());
                    return Err(Fault::new(found, format!("[1, {batch}, {units}]"), AGAIN));
                }
            }
        }
        let mut y = Vec::with_capacity(count(&[steps, batch, units])?);
        for step in x.data.chunks(batch * inputs) {
            for (b, row) in step.chunks(inputs).enumerate() {
                let [mut h, mut c] = [0, 1].map(|i| current[i][b * units..][..units].to_vec());
                layer.step(LayerInput::Vector(row), &mut h, &mut c);
                current[0][b * units..][..units].copy_from_slice(&h);
                current[1][b * units..][..units].copy_from_slice(&c);
                y.extend(h);
            }
        }
        let value = |shape: Vec<usize>, data| Some(known(Tensor::Float(Array { shape, data })));
        let [h, c] = current.map(|state| value(vec![1, batch, units], state));
        let results = [value(vec![steps, 1, batch, units], y), h, c];
        let outputs = if key.kind == Kind::Lstm { 3 } else { 2 };
        Ok(results.into_iter().take(outputs).collect())
    }

    /// The states before the first step, one for each of the batch.
    fn state(
        &mut self,
        value: Option<Value>,
        batch: usize,
        hidden: usize,
    ) -> Result<Vec<Part>, Fault> {
        let elements = match value {
            None => self.opaque(&Array {
                shape: vec![1, batch, hidden],
                data: vec![0.0; count(&[batch, hidden])?],
            })?,
            Some(Value::Known(tensor)) => self.opaque(tensor.floats()?)?,
            Some(Value::Data(elements)) => elements,
            Some(Value::Ids(_)) => {
                return Err(Fault::new("an initial state of token ids", "floats", AGAIN));
            }
        };
        if elements.shape != [1, batch, hidden] {
            return Err(Fault::new(
                format!("an initial state of shape {:?}", elements.shape),
                format!("[1, {batch}, {hidden}]"),
                AGAIN,
            ));
        }
        let rows = elements
            .data
            .chunks(hidden)
            .map(|row| match self.symbols.row(row)?[..] {
                [one] => Ok(one),
                _ => Err(Fault::new(
                    "an initial state joined from several vectors",
                    "one vector",
                    AGAIN,
                )),
            });
        rows.collect()
    }

    /// Constants as a state: rows that no arithmetic folds away.
    pub fn opaque(&mut self, array: &Array<f32>) -> Result<Rc<Elements>, Fault> {
        let width = array.shape.last().copied().unwrap_or(1).max(1);
        let mut data = Vec::with_capacity(array.data.len());
        for row in array.data.chunks(width) {
            let id = self.symbols.intern(Formula::Constant(
                row.iter().map(|&x| Real::new(x)).collect(),
            ))?;
            data.extend(self.symbols.whole(id).elements());
        }
        Ok(Rc::new(Array {
            shape: array.shape.clone(),
            data,
        }))
    }

    /// A loop whose number of turns is known: its body is executed that often. What it computes is then a formula like any
    /// other, and a cell in it is recognized as in an unrolled graph.
    pub fn run_loop(
        &mut self,
        node: &Node<'m>,
        operands: &[Option<Value>],
        scopes: &mut Scopes<'m>,
    ) -> Result<Vec<Option<Value>>, Error> {
        node.only(&["body"])?;
        let body = node
            .get("body", AttributeType::Graph)?
            .and_then(|attribute| attribute.g.as_ref());
        let body: &'m GraphProto = body.ok_or_else(|| Fault::new("no body", "a graph", AGAIN))?;
        let states = operands.len().saturating_sub(2);
        if body.input.len() != states + 2 || body.output.len() < states + 1 || scopes.len() > 4 {
            let found = format!(
                "a body of {} inputs and {} outputs",
                body.input.len(),
                body.output.len()
            );
            return Err(Fault::new(found, format!("{} inputs", states + 2), AGAIN).into());
        }
        let fixed = |value: &Option<Value>, what: &str| match value {
            None => Ok(None),
            Some(Value::Known(tensor)) => tensor.scalar().map(Some),
            Some(_) => Err(Fault::new(
                format!("{what} that depends on what comes in"),
                "a loop over all steps",
                "feed whole sequences, without masks or lengths",
            )),
        };
        let trips = fixed(&operands.first().cloned().flatten(), "a number of turns")?;
        let mut go_on = fixed(&operands.get(1).cloned().flatten(), "a condition")?;
        let mut carried = Vec::with_capacity(states);
        for (index, operand) in operands.iter().skip(2).enumerate() {
            let operand = operand
                .clone()
                .ok_or_else(|| Fault::new("a missing state", "all states", AGAIN))?;
            carried.push(match operand {
                // A constant that changes from turn to turn is a state; one that stays is a weight.
                Value::Known(tensor) if !self.concrete && !passes(body, index) => match &*tensor {
                    Tensor::Float(array) if array.shape.len() > 1 => {
                        Value::Data(self.opaque(array)?)
                    }
                    _ => Value::Known(tensor),
                },
                other => other,
            });
        }
        let scans = body.output.len() - 1 - states;
        let mut scanned: Vec<Vec<Value>> = vec![Vec::new(); scans];
        let mut turn = 0;
        while go_on.is_none_or(|go_on| go_on != 0.0)
            && trips.is_none_or(|trips| (turn as f64) < trips)
        {
            if turn >= MAX_TRIPS {
                return Err(
                    Fault::new(format!("more than {MAX_TRIPS} turns"), "fewer", AGAIN).into(),
                );
            }
            scopes.push(HashMap::new());
            let result = self.turn(body, turn, go_on, &carried, scopes);
            let scope = scopes.pop().expect("pushed above");
            result?;
            scopes.push(scope);
            let mut outputs = body.output.iter().map(|output| {
                lookup(scopes, &output.name).ok_or_else(|| {
                    Fault::new(
                        format!("output {} of the body", show(&output.name)),
                        "a value",
                        AGAIN,
                    )
                })
            });
            let condition = outputs.next().expect("there is one more than states")?;
            go_on = fixed(&Some(condition), "a condition")?;
            for state in &mut carried {
                *state = outputs.next().expect("counted above")?;
            }
            for scan in &mut scanned {
                scan.push(outputs.next().expect("counted above")?);
            }
            drop(outputs);
            scopes.pop();
            turn += 1;
        }
        if turn == 0 {
            return Err(Fault::new("a loop of no turns", "at least one", AGAIN).into());
        }
        let mut results: Vec<Option<Value>> = carried.into_iter().map(Some).collect();
        for scan in scanned {
            let needed = node
                .proto
                .output
                .get(results.len())
                .is_some_and(|name| !name.is_empty());
            results.push(if needed { Some(stack(&scan)?) } else { None });
        }
        Ok(results)
    }

    fn turn(
        &mut self,
        body: &'m GraphProto,
        turn: i64,
        go_on: Option<f64>,
        carried: &[Value],
        scopes: &mut Scopes<'m>,
    ) -> Result<(), Error> {
        let turn = known(Tensor::Int(Array {
            shape: vec![],
            data: vec![turn],
        }));
        let go_on = known(Tensor::Bool(Array {
            shape: vec![],
            data: vec![go_on.is_none_or(|x| x != 0.0)],
        }));
        for (input, value) in body
            .input
            .iter()
            .zip([turn, go_on].into_iter().chain(carried.iter().cloned()))
        {
            define(scopes, &input.name, value)?;
        }
        Ok(self.graph(body, scopes)?)
    }
}

/// Whether a loop's body hands on state `index` as it is.
fn passes(body: &GraphProto, index: usize) -> bool {
    let mut name = &*body.output[index + 1].name;
    // A few Identity nodes may stand between.
    for _ in 0..4 {
        if name == body.input[index + 2].name {
            return true;
        }
        let same = body
            .node
            .iter()
            .find(|n| n.op_type == "Identity" && n.output.first().is_some_and(|o| o == name));
        match same.and_then(|node| node.input.first()) {
            Some(input) => name = input,
            None => return false,
        }
    }
    false
}

/// What the turns of a loop gave, one after the other along a new first axis.
fn stack(values: &[Value]) -> Result<Value, Fault> {
    if let Some(Value::Known(first)) = values.first() {
        let shape = [&[values.len()], first.shape()].concat();
        let mut data = Vec::with_capacity(count(&shape)?);
        for value in values {
            match value {
                Value::Known(tensor) if tensor.shape() == first.shape() => {
                    data.extend_from_slice(&tensor.floats()?.data)
                }
                _ => return Err(Fault::new("values of different kinds", "vectors", AGAIN)),
            }
        }
        return Ok(known(Tensor::Float(Array { shape, data })));
    }
    let parts: Option<Vec<Elements>> = values
        .iter()
        .map(|value| match value {
            Value::Data(elements) => {
                let shape = [&[1], &elements.shape[..]].concat();
                Some(Array {
                    shape,
                    data: elements.data.clone(),
                })
            }
            _ => None,
        })
        .collect();
    let parts = parts.ok_or_else(|| Fault::new("a list of constants", "vectors", AGAIN))?;
    let parts: Vec<&Elements> = parts.iter().collect();
    Ok(Value::Data(Rc::new(concat(&parts, 0)?)))
}

struct Attributes {
    kind: Kind,
    gate: Function,
    candidate: Function,
    hidden_size: Option<i64>,
}

/// What changes a cell's equations must be as usual, or is refused by name.
fn attributes(node: &Node) -> Result<Attributes, Fault> {
    node.only(&[
        "hidden_size",
        "linear_before_reset",
        "direction",
        "layout",
        "activations",
        "activation_alpha",
        "activation_beta",
        "clip",
        "input_forget",
        "output_sequence",
    ])?;
    if let Some(direction) = node.string("direction")?
        && direction != b"forward"
    {
        let found = format!("direction {}", show(&String::from_utf8_lossy(direction)));
        return Err(Fault::new(
            found,
            "forward",
            "train a network that reads from left to right: a board cannot look ahead",
        ));
    }
    if let Some(layout) = node.int("layout")?
        && layout != 0
    {
        return Err(Fault::new(
            format!("layout {layout}"),
            "layout 0",
            "export the model with time first",
        ));
    }
    if let Some(clip) = node.float("clip")?
        && clip != 0.0
    {
        return Err(Fault::new(
            format!("clip {clip}"),
            "none",
            "export the model without clipping of the cell",
        ));
    }
    if let Some(forget) = node.int("input_forget")?
        && forget != 0
    {
        return Err(Fault::new(
            "input_forget",
            "separate input and forget gates",
            "train a usual LSTM",
        ));
    }
    let linear = match node.int("linear_before_reset")? {
        None | Some(0) => false,
        Some(1) => true,
        Some(other) => {
            return Err(Fault::new(
                format!("linear_before_reset {other}"),
                "0 or 1",
                AGAIN,
            ));
        }
    };
    let (kind, usual): (Kind, &[&str]) = match &*node.proto.op_type {
        "GRU" => (
            Kind::Gru {
                linear_before_reset: linear,
            },
            &["Sigmoid", "Tanh"],
        ),
        "LSTM" => (Kind::Lstm, &["Sigmoid", "Tanh", "Tanh"]),
        _ => (Kind::Rnn, &["Tanh"]),
    };
    let mut names: Vec<String> = usual.iter().map(|&name| name.into()).collect();
    if let Some(found) = node.strings("activations")? {
        names = found
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
    }
    // Slopes belong to those activations that have some, in their order.
    let (mut alphas, mut betas) = (
        node.floats("activation_alpha")?.unwrap_or(&[]).iter(),
        node.floats("activation_beta")?.unwrap_or(&[]).iter(),
    );
    let mut functions = Vec::new();
    for name in &names {
        functions.push(match &*name.to_lowercase() {
            "sigmoid" => Function::Sigmoid,
            "tanh" => Function::Tanh,
            "relu" => Function::Relu,
            "hardsigmoid" => {
                let (alpha, beta) = (alphas.next().unwrap_or(&0.2), betas.next().unwrap_or(&0.5));
                Function::HardSigmoid(Real::new(*alpha), Real::new(*beta))
            }
            _ => return Err(unusual(name, usual)),
        });
    }
    let (gate, candidate) = match functions[..] {
        [only] if kind == Kind::Rnn => (only, only),
        [gate, candidate] if matches!(kind, Kind::Gru { .. }) => (gate, candidate),
        [gate, candidate, out] if kind == Kind::Lstm && candidate == out => (gate, candidate),
        _ => return Err(unusual(&names.join(", "), usual)),
    };
    Ok(Attributes {
        kind,
        gate,
        candidate,
        hidden_size: node.int("hidden_size")?,
    })
}

fn unusual(found: &str, usual: &[&str]) -> Fault {
    Fault::new(
        format!("activations {}", show(found)),
        usual.join(", "),
        "train with the usual activations",
    )
}
